import { PAGE_SIZE, Phys, type PhysAddr } from '@svsm/address';
import { type MemoryRegion, RegionMap } from '@svsm/memory-region';
import type { GuestContext } from '../cpu/platform.ts';
import { SnpError } from '../formats/snp-error.ts';
import { pageRegion } from './validated-pages.ts';

/** The use of a page by a processor. Meanwhile the page keeps its state. */
export type UseOfPage = 'GHCB' | 'VMSA';

/** The pages of each guest that are in use. */
const IN_USE: WeakMap<GuestContext, RegionMap<PhysAddr, UseOfPage>> = /* @__PURE__ */ new WeakMap();

/** Notes the use of the page at `gpa`, or that it has none any more. */
export function noteUse(guest: GuestContext, gpa: PhysAddr, use: UseOfPage | undefined): void {
  const pages = IN_USE.get(guest) ?? new RegionMap(Phys);
  IN_USE.set(guest, pages);
  const page = pageRegion(gpa, PAGE_SIZE);
  if (pages.get(gpa) !== undefined) pages.delete(page);
  if (use !== undefined) pages.set(page, use);
}

/**
 * Checks that no processor uses a page in `region`. A VMSA keeps its bit in the RMP when its validation is rescinded, so the
 * hypervisor could still run it. O(log n).
 *
 * @throws SnpError `PAGE_IN_USE`
 */
export function requireUnused(guest: GuestContext, region: MemoryRegion<PhysAddr>): void {
  for (const [{ start }, use] of IN_USE.get(guest)?.overlapping(region) ?? []) {
    const gpa = start > region.start ? start : region.start;
    throw new SnpError('PAGE_IN_USE', { gpa, use });
  }
}
