import { refuseArgument } from './arguments.ts';
import { nameOfResult, type RmpResult } from './rmp-result.ts';

/**
 * The name of a result, such as `FAIL_OVERLAP`.
 *
 * @throws SnpError `INVALID_ARGUMENT` if it is not an `RmpResult`
 */
export function rmpResultName(result: RmpResult): keyof typeof RmpResult {
  return nameOfResult(result) ?? refuseArgument('the result of an instruction', result, 'pass an RmpResult');
}
