import { BuddyError, isBuddyError } from './buddy-error.ts';

/** Refuses operations of an object while a callback runs that the object has called. Every method is O(1). */
export class CallGuard {
  #running: string | undefined;

  /** @throws BuddyError `BUSY` if a callback runs; `operation` is the operation that begins */
  enter(operation: string): void {
    if (this.#running !== undefined) throw new BuddyError('BUSY', { operation, running: this.#running });
  }

  /** Calls a callback of `operation` and returns its result. Throws what the callback throws. */
  call<T>(operation: string, callback: () => T): T {
    this.begin(operation);
    try {
      return callback();
    } finally {
      this.end();
    }
  }

  /** Refuses operations until {@link end}, for a callback that the caller calls itself. */
  begin(operation: string): void {
    this.#running = operation;
  }

  /** Allows operations again. */
  end(): void {
    this.#running = undefined;
  }
}

/**
 * The steps of an operation that consists of operations of an allocator. If a callback fails after a step, the step counts
 * as done, and {@link end} throws when all steps are done.
 */
export class Steps {
  #failure: BuddyError | undefined;

  /** Performs a step. Returns its result. */
  run<T>(step: () => T): T {
    try {
      return step();
    } catch (error) {
      if (!isBuddyError(error, 'CALLBACK_FAILED')) throw error;
      this.#failure ??= error;
      return error.details.result as T;
    }
  }

  /** Ends `operation`. @throws BuddyError `CALLBACK_FAILED` if a callback has failed, with the `cause` of the first one */
  end(operation: string, result?: unknown): void {
    if (this.#failure === undefined) return;
    const { cause } = this.#failure;
    throw new BuddyError('CALLBACK_FAILED', { operation, result }, { cause });
  }
}
