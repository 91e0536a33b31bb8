import { alignmentBytes, type Bytes, PageSize, showInConsoles, type VirtAddr } from '@svsm/address';
import { isBuddyError, PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion } from '@svsm/memory-region';
import {
  readArgument,
  refuseArgument,
  requireInteger,
  requireOneOf,
  requireOptions,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';

/** Options of a {@link VirtualRange}. */
export interface VirtualRangeOptions {
  /** The size of a page: 4 KiB if not given. */
  readonly pageSize?: PageSize;
  /** The pages after each allocation that are never mapped, so that an overrun faults: 1 if not given. */
  readonly guardPages?: number;
}

/**
 * Virtual addresses from which mappings take theirs. After each allocation some guard pages stay free of mappings. It maps
 * nothing itself. Allocating and freeing are O(log pages).
 *
 * @example
 * ```ts
 * import { COCONUT_LAYOUT, VirtualRange } from '@svsm/mm';
 *
 * const range = new VirtualRange(COCONUT_LAYOUT.perCpu.temp4k);
 * const [one, two] = [range.allocate(2), range.allocate(1)];
 * console.log(two.start - one.start); // => 16384n
 * range.free(one);
 * ```
 */
export class VirtualRange {
  static {
    showInConsoles(this, 'VirtualRange', ({ region, pageSize, guardPages, allocations }) => ({
      region,
      pageSize,
      guardPages,
      allocations,
    }));
  }

  readonly region: MemoryRegion<VirtAddr>;
  readonly pageSize: PageSize;
  readonly guardPages: number;
  readonly #addresses: PageAllocator<VirtAddr>;
  /** The runs that are allocated, with their guards, by their start. */
  readonly #runs: Map<
    VirtAddr,
    { readonly given: MemoryRegion<VirtAddr>; readonly whole: MemoryRegion<VirtAddr> }
  > = new Map();

  /** @throws MmError `INVALID_ARGUMENT` for a region that is not made of whole pages, or an option that does not exist */
  constructor(region: MemoryRegion<VirtAddr>, options: VirtualRangeOptions = {}) {
    requireOptions('options', options, ['pageSize', 'guardPages']);
    const { pageSize = PageSize.Regular, guardPages = 1 } = options;
    requireOneOf('the page size', pageSize, Object.values(PageSize));
    requireInteger('guardPages', guardPages, 0, 2 ** 30);
    const isWhole = readArgument('the range', region, 'pass a region of virtual addresses', () => {
      const size = BigInt(pageSize);
      return !region.isEmpty && region.start % size === 0n && region.size % size === 0n;
    });
    if (!isWhole) refuseArgument('the range', region, `pass whole pages of ${pageSize} bytes`);
    this.region = region;
    this.pageSize = pageSize;
    this.guardPages = guardPages;
    this.#addresses = new PageAllocator(region);
  }

  /** The number of allocations. */
  get allocations(): number {
    return this.#runs.size;
  }

  /**
   * Takes consecutive pages of addresses, and their guard pages.
   *
   * @param pages - the number of pages, at least 1
   * @param alignment - the start is a multiple of it: a power of two, at least the size of a page, which it is if not given
   * @throws MmError `INVALID_ARGUMENT`; `NO_VIRTUAL_RANGE` if there is no such gap
   */
  allocate(pages: number, alignment: Bytes = this.pageSize): MemoryRegion<VirtAddr> {
    requireInteger('the number of pages', pages, 1, 2 ** 40);
    const { pageSize, guardPages } = this;
    const at = alignmentOf(alignment, pageSize);
    const step = pageSize / PageSize.Regular;
    let whole: MemoryRegion<VirtAddr>;
    try {
      whole = this.#addresses.allocateRun((pages + guardPages) * step, at);
    } catch (cause) {
      if (!isBuddyError(cause)) throw cause;
      throw new MmError('NO_VIRTUAL_RANGE', { pages, alignment: at, range: String(this.region) }, { cause });
    }
    const given = new MemoryRegion(whole.kind, whole.start, BigInt(pages) * BigInt(pageSize));
    this.#runs.set(given.start, { given, whole });
    return given;
  }

  /**
   * Gives back addresses that {@link allocate} returned. No TLB may hold a translation of them any more.
   *
   * @throws MmError `INVALID_ARGUMENT`; `NOT_A_MAPPING` for another region
   */
  free(region: MemoryRegion<VirtAddr>): void {
    const run = readArgument('the region', region, 'pass a region that allocate has returned', () => {
      const found = this.#runs.get(region.start);
      return found?.given.equals(region) === true ? found : undefined;
    });
    if (run === undefined) throw new MmError('NOT_A_MAPPING', { vaddr: region.start });
    this.#runs.delete(region.start);
    this.#addresses.freePages(run.whole);
  }
}

/** @throws MmError `INVALID_ARGUMENT` */
function alignmentOf(value: Bytes, least: PageSize): number {
  try {
    const alignment = Number(alignmentBytes(value));
    if (alignment >= least) return alignment;
  } catch (cause) {
    refuseArgument('the alignment', value, 'pass a power of two, at most 2^47', cause);
  }
  return refuseArgument('the alignment', value, `pass a power of two, at least ${least}`);
}
