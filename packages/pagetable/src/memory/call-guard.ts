import { PageTableError } from '../entry/page-table-error.ts';

/** The callbacks of this package that run during an operation of a page table or part. */
export type Callback =
  | 'allocateFrame'
  | 'freeFrame'
  | 'needsFlush'
  | 'words'
  | 'wordOffset'
  | 'epoch'
  | 'readFrame'
  | 'insert'
  | 'onFault';

/** An error that a callback threw after the change was made. */
interface Failure {
  readonly callback: Callback;
  readonly cause: unknown;
}

const ALONE: readonly CallGuard[] = [];

/**
 * Knows whether a callback of a page table or part is running. Operations read {@link during} first and are refused while it
 * is set: so nothing changes between the check of an entry and its use. Each page table and part has one.
 *
 * A callback that runs after the change cannot undo it. Its error is kept by {@link fail}, the rest of the work is done, and
 * {@link settle} throws it at the end.
 */
export class CallGuard {
  /** The callback that is running; `undefined` while none is. */
  during: Callback | undefined;
  /** The guards of other objects that are busy too while a callback of this one runs, because they have the same tables. */
  others: readonly CallGuard[] = ALONE;
  /** The number of callbacks that are running, one inside another. */
  #depth = 0;
  #failure: Failure | undefined;

  /** @throws PageTableError `BUSY` while a callback runs */
  requireIdle(): void {
    if (this.during !== undefined) throw new PageTableError('BUSY', { during: this.during });
  }

  /** Notes that `callback` begins. {@link leave} must follow, whatever it throws. */
  enter(callback: Callback): void {
    this.#enter(callback);
    for (let i = 0; i < this.others.length; i += 1) this.others[i]!.#enter(callback);
  }

  /** Notes that the callback has ended. */
  leave(): void {
    this.#leave();
    for (let i = 0; i < this.others.length; i += 1) this.others[i]!.#leave();
  }

  /** Keeps the error of a callback that ran after the change, unless there is an earlier one. */
  fail(callback: Callback, cause: unknown): void {
    this.#failure ??= { callback, cause };
  }

  /** Ends an operation. @throws PageTableError `CALLBACK_FAILED` if a callback has failed */
  settle(operation: string): void {
    if (this.#failure === undefined) return;
    const { callback, cause } = this.#failure;
    this.#failure = undefined;
    throw new PageTableError('CALLBACK_FAILED', { operation, callback }, { cause });
  }

  /** Ends an operation that throws an error of its own: that error came first. */
  dismiss(): void {
    this.#failure = undefined;
  }

  #enter(callback: Callback): void {
    if (this.#depth === 0) this.during = callback;
    this.#depth += 1;
  }

  #leave(): void {
    this.#depth -= 1;
    if (this.#depth === 0) this.during = undefined;
  }
}
