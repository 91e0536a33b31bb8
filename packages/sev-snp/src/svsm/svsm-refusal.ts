/** A refusal within a call, with the result of the call. It never leaves `SvsmCore`. */
export class SvsmRefusal extends Error {
  readonly result: number;

  constructor(result: number) {
    super(`SVSM result 0x${result.toString(16)}`);
    this.result = result;
  }
}

/** The result of `access`, or `undefined` if it is refused. */
export function unlessRefused<T>(access: () => T): T | undefined {
  try {
    return access();
  } catch (error) {
    if (error instanceof SvsmRefusal) return undefined;
    throw error;
  }
}

/** Whether `action` ends without a refusal. */
export function isDone(action: () => void): boolean {
  return (
    unlessRefused(() => {
      action();
      return true;
    }) === true
  );
}

/**
 * Runs a step that undoes another one. Whatever it throws is dropped: the first failure is the one to report. Returns
 * whether the step has ended.
 */
export function attempt(step: () => void): boolean {
  try {
    step();
    return true;
  } catch {
    return false;
  }
}
