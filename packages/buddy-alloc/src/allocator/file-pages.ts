import type { Address } from '@svsm/address';
import { BuddyError } from '../pages/buddy-error.ts';
import { pageNumberOf } from '../pages/words.ts';
import { FILE } from '../tree/buddy-level.ts';
import type { Callbacks } from './callbacks.ts';
import type { PageSpace } from './page-space.ts';

/** The file pages of an allocator: single pages that count their references and are freed with the last one. */
export class FilePages<A extends Address> {
  readonly #space: PageSpace<A>;
  readonly #callbacks: Callbacks<A> | undefined;

  constructor(space: PageSpace<A>, callbacks: Callbacks<A> | undefined) {
    this.#space = space;
    this.#callbacks = callbacks;
  }

  /**
   * Allocates a page with one reference, cleared if there is memory. O(orders), amortized.
   *
   * @throws BuddyError `OUT_OF_MEMORY`, `METADATA_FULL`, `CALLBACK_FAILED`; what `memory.clearPage` throws
   */
  allocate(): A {
    const page = this.#space.allocatePage();
    this.#callbacks?.clear(page);
    this.#space.tree.markPage(page, FILE);
    this.#callbacks?.reportAllocated(page, page);
    return page;
  }

  /**
   * Adds a reference: the number of references now. O(orders).
   *
   * @throws BuddyError `NOT_FILE_PAGE`, `OUTSIDE_REGION`, `MISALIGNED_ADDRESS`, `TOO_MANY_REFERENCES`; AddressError for an invalid address
   */
  get(page: A): number {
    const number = this.#numberOf(page);
    const present = this.#space.referencesOf(number);
    if (present === Number.MAX_SAFE_INTEGER) {
      throw new BuddyError('TOO_MANY_REFERENCES', { address: page, references: present });
    }
    const references = present + 1;
    this.#space.references.set(number, references);
    return references;
  }

  /**
   * Removes a reference: the number of references now; at 0 the page is free. O(orders).
   *
   * @throws BuddyError and AddressError as `get`, except `TOO_MANY_REFERENCES`, and `CALLBACK_FAILED`; what the memory throws
   */
  put(page: A): number {
    const number = this.#numberOf(page);
    const { references, tree } = this.#space;
    const left = this.#space.referencesOf(number) - 1;
    if (left > 0) {
      if (left > 1) references.set(number, left);
      else references.delete(number);
      return left;
    }
    const freed = this.#callbacks?.toFree(page, undefined, ['file']);
    tree.freeRange({ start: number, end: number + 1 });
    this.#callbacks?.freed(freed, 0);
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
