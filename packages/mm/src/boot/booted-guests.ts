import type { PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { Guest } from '@svsm/sev-snp';
import { MmError } from '../formats/mm-error.ts';

/** The memory of the SVSM that runs in a guest, or that has run there and could not be undone. */
const BOOTED: WeakMap<Guest, MemoryRegion<PhysAddr>> = /* @__PURE__ */ new WeakMap();

/** Notes that an SVSM boots in a guest: it has one record of validated pages, so it has one SVSM. @throws MmError `ALREADY_BOOTED` */
export function claimGuest(guest: Guest, own: MemoryRegion<PhysAddr>): void {
  const before = BOOTED.get(guest);
  if (before !== undefined) throw new MmError('ALREADY_BOOTED', { own: String(before) });
  BOOTED.set(guest, own);
}

/** Notes that no SVSM runs in the guest any more. */
export function releaseGuest(guest: Guest): void {
  BOOTED.delete(guest);
}
