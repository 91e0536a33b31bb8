import { PAGE_SIZE, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import { MemoryRegion, RegionMap, RegionSet } from '@svsm/memory-region';
import { requireGuest } from '../cpu/context-checks.ts';
import type { GuestContext } from '../cpu/platform.ts';
import { SnpError } from '../formats/snp-error.ts';
import { pageRegion } from './validated-pages.ts';

/** The use of a page by a processor. Meanwhile the page keeps its state. */
export type UseOfPage = 'GHCB' | 'VMSA' | 'CALLING_AREA';

/** A page in use: its use, or `CHANGE` while a call changes its state. */
export interface PageInUse {
  readonly gpa: PhysAddr;
  readonly use: UseOfPage | 'CHANGE';
}

/** The pages of a guest that keep their state. */
interface PagesInUse {
  readonly uses: RegionMap<PhysAddr, UseOfPage>;
  /** The pages that calls are changing: regions, and single pages by frame number. A call is one inside another. */
  readonly changing: RegionSet<PhysAddr>;
  readonly changingFrames: Set<number>;
}

const IN_USE: WeakMap<GuestContext, PagesInUse> = /* @__PURE__ */ new WeakMap();

function pagesOf(guest: GuestContext): PagesInUse {
  const held = IN_USE.get(guest);
  if (held !== undefined) return held;
  const pages = {
    uses: new RegionMap<PhysAddr, UseOfPage>(Phys),
    changing: new RegionSet(Phys),
    changingFrames: new Set<number>(),
  };
  IN_USE.set(guest, pages);
  return pages;
}

/** Notes the use of the page at `gpa`, or that it has none any more. */
export function noteUse(guest: GuestContext, gpa: PhysAddr, use: UseOfPage | undefined): void {
  const { uses } = pagesOf(guest);
  const page = pageRegion(gpa, PAGE_SIZE);
  if (uses.get(gpa) !== undefined) uses.delete(page);
  if (use !== undefined) uses.set(page, use);
}

/** The use of the page at `gpa`. O(log n). */
export function useOf(guest: GuestContext, gpa: PhysAddr): UseOfPage | undefined {
  return pagesOf(guest).uses.get(gpa);
}

/**
 * The first page of a region that a processor of the guest uses, as a GHCB, a VMSA or a calling area, or that a call changes;
 * `undefined` if there is none. Functions that change the state of pages refuse such a page with `PAGE_IN_USE`. The owner of memory
 * asks before it gives pages to another use. O(log n).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `guest` is not a guest; RegionError if `region` is not a region
 */
export function useOfPages(guest: GuestContext, region: MemoryRegion<PhysAddr>): PageInUse | undefined {
  requireGuest(guest);
  return firstInUse(guest, MemoryRegion.from(Phys, region));
}

/**
 * Checks that no processor uses a page in `region`, and that no call changes one. A VMSA keeps its bit in the RMP when its
 * validation is rescinded, so the hypervisor could still run it. O(log n).
 *
 * @throws SnpError `PAGE_IN_USE`
 */
export function requireUnused(guest: GuestContext, region: MemoryRegion<PhysAddr>): void {
  const found = firstInUse(guest, region);
  if (found !== undefined) throw new SnpError('PAGE_IN_USE', found);
}

/**
 * Runs `change` while the pages are its own. At each exit, the hypervisor can run another processor, whose changes of the same
 * pages are refused then. Nothing waits. O(regions · log n).
 *
 * @param regions - whole pages, which do not overlap
 * @throws SnpError `PAGE_IN_USE` if a page is in use, or another call changes it: `change` has not run
 */
export function changing<T>(
  guest: GuestContext,
  regions: Iterable<MemoryRegion<PhysAddr>>,
  change: () => T,
): T {
  const own = [...regions];
  for (const region of own) requireUnused(guest, region);
  const { changing } = pagesOf(guest);
  for (const region of own) changing.add(region);
  try {
    return change();
  } finally {
    for (const region of own) changing.remove(region);
  }
}

/**
 * As {@link changing}, of one page of 4 KiB. O(log n), and O(1) while no processor uses a page.
 *
 * @param gpa - a multiple of 4096
 * @throws SnpError `PAGE_IN_USE` as {@link changing}
 */
export function changingPage<T>(guest: GuestContext, gpa: PhysAddr, change: (gpa: PhysAddr) => T): T {
  const { uses, changing, changingFrames } = pagesOf(guest);
  const frame = pageNumber(gpa);
  const use = uses.get(gpa);
  if (use !== undefined) throw new SnpError('PAGE_IN_USE', { gpa, use });
  if (changingFrames.has(frame) || changing.contains(gpa)) {
    throw new SnpError('PAGE_IN_USE', { gpa, use: 'CHANGE' });
  }
  changingFrames.add(frame);
  try {
    return change(gpa);
  } finally {
    changingFrames.delete(frame);
  }
}

function firstInUse(guest: GuestContext, region: MemoryRegion<PhysAddr>): PageInUse | undefined {
  const { uses, changing, changingFrames } = pagesOf(guest);
  const within = ({ start }: MemoryRegion<PhysAddr>): PhysAddr =>
    start > region.start ? start : region.start;
  for (const [part, use] of uses.overlapping(region)) return { gpa: within(part), use };
  let first: bigint = region.end;
  for (const part of changing.overlapping(region)) {
    first = within(part);
    break;
  }
  for (const frame of changingFrames) {
    const gpa = BigInt(frame) * BigInt(PAGE_SIZE);
    if (gpa >= region.start && gpa < first) first = gpa;
  }
  return first < region.end ? { gpa: first as PhysAddr, use: 'CHANGE' } : undefined;
}
