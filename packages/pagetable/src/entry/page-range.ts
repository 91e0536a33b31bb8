import { Phys, type VirtAddr } from '@svsm/address';
import { ANY, Fields } from './fields.ts';
import { invalidArgument } from './invalid-argument.ts';
import { PageTableError } from './page-table-error.ts';
import { CELL, HALVES, is64Bit, isCanonical, raw } from './words.ts';

/**
 * A range of virtual pages as numbers. The number of a page is bits 47:12 of its address with 4 levels, 56:12 with 5,
 * unsigned. As numbers, the two halves of the space are neighbours, and a double holds every one exactly.
 */
export interface PageRange {
  /** The first page. */
  readonly first: number;
  /** The page after the last one. */
  readonly end: number;
}

/** The bounds of a region of virtual memory. A `MemoryRegion` of any kind of virtual address has them. */
export interface VirtBounds {
  /** The first address. */
  readonly start: VirtAddr;
  /** The exclusive end. */
  readonly end: bigint;
}

/** The number of 4 KiB pages that an entry spans, by level. */
export const SPANS: readonly number[] = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36];

/**
 * The pages of `region`, which must start and end at multiples of 4096.
 *
 * @throws PageTableError `INVALID_ARGUMENT`, `NON_CANONICAL`, `MISALIGNED`
 */
export function pagesOf(region: VirtBounds, levels: 4 | 5): PageRange {
  BOUNDS.require(region);
  const { start, end } = region;
  const first = pageOf(start, levels);
  if ((HALVES[0]! & 0xfff) !== 0) throw misaligned(start);
  if (end === start) return { first, end: first };
  const half = HALVES[1]! >>> 31;
  const last = end - 1n;
  const lastPage = pageOf(last, levels);
  // A region of a kind without a hole could start in one half and end in the other.
  if (last < start || HALVES[1]! >>> 31 !== half)
    throw new PageTableError('NON_CANONICAL', { vaddr: end, levels });
  if ((HALVES[0]! & 0xfff) !== 0xfff) throw misaligned(end);
  return { first, end: lastPage + 1 };
}

/** The number of the page that holds an address, which must be canonical. */
export function pageAt(low: number, high: number, levels: 4 | 5): number {
  return (high & (levels === 5 ? 0x1ff_ffff : 0xffff)) * 0x10_0000 + (low >>> 12);
}

/** The number of the page that holds `vaddr`, whose words are in {@link HALVES} then. @throws PageTableError `NON_CANONICAL` */
function pageOf(vaddr: bigint, levels: 4 | 5): number {
  if (!is64Bit(vaddr)) throw new PageTableError('NON_CANONICAL', { vaddr, levels });
  CELL[0] = vaddr;
  if (!isCanonical(HALVES[1]! | 0, levels)) throw new PageTableError('NON_CANONICAL', { vaddr, levels });
  return pageAt(HALVES[0]!, HALVES[1]!, levels);
}

/** The first address of `page`. */
export function addressOf(page: number, levels: 4 | 5): VirtAddr {
  const unused = levels === 5 ? 7 : 16;
  // Sign-extends the high word: bits 63:57, with 4 levels 63:48, repeat the bit below them.
  const high = (Math.floor(page / 0x10_0000) << unused) >> unused;
  return raw((page % 0x10_0000) << 12, high) as VirtAddr;
}

function misaligned(address: bigint): PageTableError {
  return new PageTableError('MISALIGNED', { what: 'virtual', address, pageSize: 0x1000 });
}

/** A `MemoryRegion` has more fields. */
const BOUNDS: Fields = /* @__PURE__ */ new Fields(
  'region',
  {
    start: ANY,
    end: { accepts: (end) => typeof end === 'bigint', expected: 'pass a bigint as the end of a region' },
    // Types refuse it; plain JavaScript would map a physical region as a virtual one.
    kind: {
      accepts: (kind) => (kind as { readonly name?: unknown } | undefined)?.name !== Phys.name,
      expected: 'pass a region of virtual addresses',
    },
  },
  invalidArgument,
  true,
);
