import type { Address, PhysAddr } from '@svsm/address';
import type { PageAllocator } from '@svsm/buddy-alloc';
import { requireMethods } from '../formats/arguments.ts';

/** Pages of 4 KiB that count their references. The last reference frees the page. */
export interface PageStore {
  /** A page of zeros with one reference. */
  allocate(): PhysAddr;
  /** A page with one reference and the content of `page`. */
  copy(page: PhysAddr): PhysAddr;
  /** Adds a reference. Returns their number. */
  reference(page: PhysAddr): number;
  /** Removes a reference. Returns the number of the others; at 0, the page is free. */
  release(page: PhysAddr): number;
}

/** The memory behind the pages of an allocator. */
export interface PageContents<A extends Address> {
  /** The physical address of a page. */
  toPhys(page: A): PhysAddr;
  /** The address at which the allocator has a physical page. */
  fromPhys(paddr: PhysAddr): A;
  /** Fills the page with zeros. */
  clear(page: A): void;
  /** Copies the content of one page to another. */
  copy(from: A, to: A): void;
}

/**
 * A store over the file pages of an allocator. If `clear` or `copy` throws, the page is free again.
 *
 * @throws MmError `INVALID_ARGUMENT`
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { PageAllocator } from '@svsm/buddy-alloc';
 * import { physRegion } from '@svsm/memory-region';
 * import { pageStore } from '@svsm/mm';
 * import { createPhysMemory, readPhys, writePhys } from '@svsm/pagetable';
 *
 * const memory = createPhysMemory({ size: 0x10_0000 });
 * const pages = new PageAllocator(physRegion(physAddr(0), 0x10_0000));
 * const store = pageStore(pages, {
 *   toPhys: (page) => page,
 *   fromPhys: (paddr) => paddr,
 *   clear: (page) => writePhys(memory, page, new Uint8Array(4096)),
 *   copy: (from, to) => writePhys(memory, to, readPhys(memory, from, 4096)),
 * });
 * console.log(store.reference(store.allocate())); // => 2
 * ```
 */
export function pageStore<A extends Address>(pages: PageAllocator<A>, contents: PageContents<A>): PageStore {
  requireMethods('the allocator', pages, ['allocateFilePage', 'getFilePage', 'putFilePage']);
  requireMethods('the contents', contents, ['toPhys', 'fromPhys', 'clear', 'copy']);
  const filled = (fill: (page: A) => void): PhysAddr => {
    const page = pages.allocateFilePage();
    try {
      fill(page);
      return contents.toPhys(page);
    } catch (error) {
      pages.putFilePage(page);
      throw error;
    }
  };
  return {
    allocate: () => filled((page) => contents.clear(page)),
    copy: (from) => filled((page) => contents.copy(contents.fromPhys(from), page)),
    reference: (page) => pages.getFilePage(contents.fromPhys(page)),
    release: (page) => pages.putFilePage(contents.fromPhys(page)),
  };
}
