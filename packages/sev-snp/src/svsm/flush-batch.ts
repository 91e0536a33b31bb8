import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { holdingAll, type Operation, type PagesInUse } from './svsm-call-context.ts';

/**
 * Pages that have lost their rights, and whose flush is still to come. Until then they are claimed: a TLB can have the old
 * rights, so no other call may give the page another use.
 */
export class FlushBatch {
  readonly #call: Operation;
  #claims: (() => void)[] = [];

  constructor(call: Operation) {
    this.#call = call;
  }

  /**
   * Runs an action that takes the rights on a page and does not flush. If it throws, it has flushed or taken nothing.
   *
   * @throws SvsmRefusal as `using`
   */
  using(gpa: bigint, size: RmpPageSize, action: () => void): void {
    const page: PagesInUse = [gpa, size, 'change'];
    const end = this.#call.state.claim(this.#call, ...page);
    try {
      holdingAll(this.#call, [page], action);
    } catch (error) {
      end();
      throw error;
    }
    this.#claims.push(end);
  }

  /** Flushes, if a page waits for it, and ends the claims. */
  flush(): void {
    if (this.#claims.length === 0) return;
    const ends = this.#claims;
    this.#claims = [];
    try {
      this.#call.memory.rights.flush();
    } finally {
      for (const end of ends) end();
    }
  }
}
