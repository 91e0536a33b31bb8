import { type PageSize, type PhysAddr, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import type { EntryFormat } from '../entry/entry-format.ts';
import { ANY, Fields, FUNCTION, optional } from '../entry/fields.ts';
import { invalidArgument } from '../entry/invalid-argument.ts';
import { addressOf, type PageRange, SPANS, type VirtBounds } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameAddress } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { LeafScan, OnListingFault } from './leaf-scan.ts';
import { isShadowStackPage, type MappedPage } from './walk.ts';

/** Options of a listing. */
export interface ListingOptions {
  /** The region to list; its bounds are multiples of 4096. The whole address space if not given. */
  readonly within?: VirtBounds;
  /** Receives each corrupted entry and each table outside memory. Without it, the first of them is thrown. */
  readonly onFault?: OnListingFault;
}

export const LISTING_OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  { within: ANY, onFault: /* @__PURE__ */ optional(FUNCTION) },
  invalidArgument,
);

/** A run of pages that are contiguous in virtual and in physical memory, with one page size and the same rights. */
export interface Mapping {
  /** The virtual addresses of the run. */
  readonly region: MemoryRegion<VirtAddr>;
  /** The physical address of the first byte. */
  readonly paddr: PhysAddr;
  /** The size of the pages in bytes. */
  readonly pageSize: PageSize;
  /** Whether the entries of all levels have R/W. */
  readonly writable: boolean;
  /** Whether the entries of all levels have U/S. */
  readonly user: boolean;
  /** Whether no entry of any level has NX. */
  readonly executable: boolean;
  /** Whether the pages are shared with the hypervisor. */
  readonly shared: boolean;
}

/** One page of a listing. */
export interface MappedLeaf extends Omit<MappedPage, 'paddr'> {
  /** The first virtual address of the page. */
  readonly vaddr: VirtAddr;
}

/**
 * Makes each `next` of a listing throw `BUSY` while a callback of the page table runs. The listing itself goes on afterwards. A
 * generator that is running would throw a TypeError.
 */
export function guardedListing<T>(
  listing: Generator<T, undefined, undefined>,
  guard: CallGuard,
): Generator<T, undefined, undefined> {
  const next = listing.next.bind(listing);
  const value = (): IteratorResult<T, undefined> => {
    guard.requireIdle();
    return next();
  };
  return Object.defineProperty(listing, 'next', { value, configurable: true, writable: true });
}

/** Every leaf that `scan` finds, one by one. */
export function* leavesOf(
  scan: LeafScan,
  format: EntryFormat,
  levels: 4 | 5,
): Generator<MappedLeaf, undefined, undefined> {
  while (scan.next()) {
    const { low, high, level } = scan;
    yield Object.freeze({
      vaddr: addressOf(scan.page, levels),
      frame: frameAddress(scan.frame),
      size: PAGE_SIZES[level]!,
      shared: format.isShared(high),
      flags: format.flags(low, high, level),
      writable: (scan.rights & PteFlags.Writable) !== 0,
      user: (scan.rights & PteFlags.User) !== 0,
      executable: scan.noExecute >= 0,
      shadowStack: isShadowStackPage(low, scan.rightsAbove),
    });
  }
}

/** The leaves that `scan` finds in `range`, coalesced into runs. */
export function* mappingsOf(
  scan: LeafScan,
  format: EntryFormat,
  levels: 4 | 5,
  range: PageRange,
): Generator<Mapping, undefined, undefined> {
  // As page numbers, the two halves of the space are neighbours, but the non-canonical hole separates their addresses.
  const upperHalf = SPANS[levels - 1]! * 256;
  let run: Run | undefined;
  while (scan.next()) {
    const { page, frame, level } = scan;
    const traits =
      (scan.rights & (PteFlags.Writable | PteFlags.User)) |
      (scan.noExecute & PteFlags.NoExecute) |
      (format.isShared(scan.high) ? 1 : 0);
    if (
      run === undefined ||
      page !== run.end ||
      page === upperHalf ||
      frame - run.frame !== page - run.first ||
      level !== run.level ||
      traits !== run.traits
    ) {
      if (run !== undefined) yield mappingOf(run, range, levels);
      run = { first: page, end: page, frame, level, traits };
    }
    run.end = page + SPANS[level]!;
  }
  if (run !== undefined) yield mappingOf(run, range, levels);
}

/** A run of leaves that continue each other. */
interface Run {
  /** Its first page. */
  readonly first: number;
  /** The page after its last one. */
  end: number;
  /** The frame that its first page is mapped to. */
  readonly frame: number;
  /** The level of its leaves. */
  readonly level: number;
  /** The rights of all levels, as {@link PteFlags}, and bit 0 if it is shared. */
  readonly traits: number;
}

function mappingOf({ first, end, frame, level, traits }: Run, range: PageRange, levels: 4 | 5): Mapping {
  // A large page can begin before the range and end after it.
  const from = Math.max(first, range.first);
  const pages = Math.min(end, range.end) - from;
  return Object.freeze({
    region: new MemoryRegion(levels === 5 ? Virt57 : Virt, addressOf(from, levels), BigInt(pages) * 4096n),
    paddr: frameAddress(frame + (from - first)),
    pageSize: PAGE_SIZES[level]!,
    writable: (traits & PteFlags.Writable) !== 0,
    user: (traits & PteFlags.User) !== 0,
    executable: traits >= 0,
    shared: (traits & 1) !== 0,
  });
}
