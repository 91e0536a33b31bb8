import type { Address } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import type { PageMemory } from '../pages/page-memory.ts';
import { pageNumberOf } from '../pages/words.ts';
import { FILE } from '../tree/buddy-level.ts';
import type { PageSpace } from './page-space.ts';
import type { Trace } from './trace.ts';

/** The file pages of an allocator: single pages that count their references and are freed with the last one. */
export class FilePages<A extends Address> {
  readonly #space: PageSpace<A>;
  readonly #memory: PageMemory<A> | undefined;
  readonly #trace: Trace<A> | undefined;

  constructor(space: PageSpace<A>, memory: PageMemory<A> | undefined, trace: Trace<A> | undefined) {
    this.#space = space;
    this.#memory = memory;
    this.#trace = trace;
  }

  /**
   * Allocates a page with one reference, cleared if there is memory. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`; what `memory.clearPage` throws
   */
  allocate(): A {
    const page = this.#space.allocateCleared(this.#memory);
    this.#space.tree.markPage(page, FILE);
    this.#trace?.allocated(page);
    return page;
  }

  /**
   * Adds a reference: the number of references now. O(orders).
   *
   * @throws BuddyError `NOT_FILE_PAGE`, `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`; AddressError for an invalid address
   */
  get(page: A): number {
    const number = this.#numberOf(page);
    const references = this.#space.referencesOf(number) + 1;
    this.#space.references.set(number, references);
    return references;
  }

  /**
   * Removes a reference: the number of references now; at 0 the page is free. O(orders).
   *
   * @throws BuddyError and AddressError as `get`
   */
  put(page: A): number {
    const number = this.#numberOf(page);
    const { references, tree } = this.#space;
    const left = this.#space.referencesOf(number) - 1;
    if (left > 1) references.set(number, left);
    else references.delete(number);
    if (left > 0) return left;
    const freed = this.#trace?.toFree(page);
    tree.freeRange({ start: number, end: number + 1 });
    this.#trace?.freed(freed);
    return 0;
  }

  /** The number of the file page at `address`. */
  #numberOf(address: A): number {
    this.#space.kind.assertIsAddress(address);
    const page = pageNumberOf(address & ~0xfffn);
    const found = this.#space.blockAround(page);
    if (found === undefined) throw this.#space.outsideRegion(address);
    const { region: block, order, state, kind } = found;
    if ((address & 0xfffn) !== 0n) {
      throw new BuddyError('MISALIGNED_ADDRESS', { address, block, order, state });
    }
    if (kind !== 'file') throw new BuddyError('NOT_FILE_PAGE', { address, block, state, kind });
    return page;
  }
}
