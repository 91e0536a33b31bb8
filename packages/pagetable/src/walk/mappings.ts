import { type AddressKind, type PageSize, type PhysAddr, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import type { EntryFormat } from '../entry/entry-format.ts';
import { addressOf, type PageRange, SPANS, type VirtBounds } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameAddress } from '../entry/words.ts';
import type { LeafScan, OnListingFault } from './leaf-scan.ts';
import type { MappedPage } from './walk.ts';

/** What a listing of a page table lists, and how. */
export interface ListingOptions {
  /** Only what lies in here; its bounds are multiples of 4096. The whole space if not given. */
  readonly within?: VirtBounds;
  /** Told of each corrupted entry and each table outside memory, in place of the error that ends the listing else. */
  readonly onFault?: OnListingFault;
}

/** A run of pages that follow one another in virtual and in physical memory, of one size and with the same rights. */
export interface Mapping {
  /** Where it lies in virtual memory. */
  readonly region: MemoryRegion<VirtAddr>;
  /** What its first byte is mapped to. */
  readonly paddr: PhysAddr;
  /** The size of its pages in bytes. */
  readonly pageSize: PageSize;
  /** R/W of all levels. */
  readonly writable: boolean;
  /** U/S of all levels. */
  readonly user: boolean;
  /** No level has NX. */
  readonly executable: boolean;
  /** Whether it is shared with the hypervisor. */
  readonly shared: boolean;
}

/** One page of a listing: a leaf, and where it maps it. */
export interface MappedLeaf extends Omit<MappedPage, 'paddr'> {
  /** The page's first virtual address. */
  readonly vaddr: VirtAddr;
}

/** Every leaf that `scan` finds. */
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
    });
  }
}

/** The leaves that `scan` finds in `range`, coalesced. */
export function* mappingsOf(
  scan: LeafScan,
  format: EntryFormat,
  levels: 4 | 5,
  range: PageRange,
): Generator<Mapping, undefined, undefined> {
  const kind: AddressKind<VirtAddr> = levels === 5 ? Virt57 : Virt;
  // The run so far: where it begins, and what the next leaf must be to continue it.
  let first = 0;
  let firstFrame = 0;
  let page = -1;
  let frame = 0;
  let level = 0;
  let traits = 0;
  for (let more = scan.next(); more; more = scan.next()) {
    const found =
      (scan.rights & (PteFlags.Writable | PteFlags.User)) |
      (scan.noExecute & PteFlags.NoExecute) |
      (format.isShared(scan.high) ? 1 : 0);
    if (scan.page !== page || scan.frame !== frame || scan.level !== level || found !== traits) {
      if (page >= 0) yield run(kind, levels, range, first, page, firstFrame, level, traits);
      first = scan.page;
      firstFrame = scan.frame;
      level = scan.level;
      traits = found;
    }
    const span = SPANS[level]!;
    page = scan.page + span;
    frame = scan.frame + span;
    // The lower half of the space ends where the upper one begins, but for the hole between them.
    if (page === SPANS[levels - 1]! * 256) {
      yield run(kind, levels, range, first, page, firstFrame, level, traits);
      page = -1;
    }
  }
  if (page >= 0) yield run(kind, levels, range, first, page, firstFrame, level, traits);
}

function run(
  kind: AddressKind<VirtAddr>,
  levels: 4 | 5,
  range: PageRange,
  first: number,
  end: number,
  firstFrame: number,
  level: number,
  traits: number,
): Mapping {
  // A large page may reach beyond what was asked for.
  const from = Math.max(first, range.first);
  const pages = Math.min(end, range.end) - from;
  return Object.freeze({
    region: new MemoryRegion(kind, addressOf(from, levels), BigInt(pages) * 4096n),
    paddr: frameAddress(firstFrame + (from - first)),
    pageSize: PAGE_SIZES[level]!,
    writable: (traits & PteFlags.Writable) !== 0,
    user: (traits & PteFlags.User) !== 0,
    executable: traits >= 0,
    shared: (traits & 1) !== 0,
  });
}
