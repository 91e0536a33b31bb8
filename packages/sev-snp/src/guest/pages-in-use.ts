import { PAGE_SIZE, Phys, type PhysAddr } from '@svsm/address';
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
  /** The pages that a call is changing. */
  readonly changing: RegionSet<PhysAddr>;
}

const IN_USE: WeakMap<GuestContext, PagesInUse> = /* @__PURE__ */ new WeakMap();

function pagesOf(guest: GuestContext): PagesInUse {
  const pages = IN_USE.get(guest) ?? { uses: new RegionMap(Phys), changing: new RegionSet(Phys) };
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

function firstInUse(guest: GuestContext, region: MemoryRegion<PhysAddr>): PageInUse | undefined {
  const { uses, changing } = pagesOf(guest);
  const within = ({ start }: MemoryRegion<PhysAddr>): PhysAddr =>
    start > region.start ? start : region.start;
  for (const [part, use] of uses.overlapping(region)) return { gpa: within(part), use };
  for (const part of changing.overlapping(region)) return { gpa: within(part), use: 'CHANGE' };
  return undefined;
}
