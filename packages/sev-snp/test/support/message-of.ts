import { isCodedError } from '@svsm/address';

/** The message of the coded error that `call` throws, or a text that tells what came in its place. */
export function messageOf(call: () => unknown): string {
  try {
    call();
    return 'no error';
  } catch (error) {
    return isCodedError(error, (error as Error).name) ? error.message : `another error: ${error}`;
  }
}
