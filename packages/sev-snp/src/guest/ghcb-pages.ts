import { PAGE_SIZE, Phys, type PhysAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { GuestContext } from '../cpu/platform.ts';
import { SnpError } from '../formats/snp-error.ts';
import { pageRegion } from './validated-pages.ts';

/** The GHCBs of each guest that are in use. */
const IN_USE: WeakMap<GuestContext, RegionSet<PhysAddr>> = /* @__PURE__ */ new WeakMap();

/** Notes that the page at `gpa` is a GHCB, or not any more. */
export function noteGhcb(guest: GuestContext, gpa: PhysAddr, isUsed: boolean): void {
  const pages = IN_USE.get(guest) ?? new RegionSet(Phys);
  IN_USE.set(guest, pages);
  if (isUsed) pages.add(pageRegion(gpa, PAGE_SIZE));
  else pages.remove(pageRegion(gpa, PAGE_SIZE));
}

/** Checks that no processor uses a GHCB in `region`. O(log n). @throws SnpError `GHCB_IN_USE` */
export function requireNoGhcb(guest: GuestContext, region: MemoryRegion<PhysAddr>): void {
  for (const { start } of IN_USE.get(guest)?.overlapping(region) ?? []) {
    const gpa = start > region.start ? start : region.start;
    throw new SnpError('GHCB_IN_USE', { gpa });
  }
}
