import { PAGE_SIZE, Phys, type PhysAddr } from '@svsm/address';
import type { GuestContext } from '../cpu/platform.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import { noteUse, useOf } from './pages-in-use.ts';

/** The calling areas of each guest that its software knows, by the VMSA of the processor, or by the processor. */
const AREAS: WeakMap<GuestContext, Map<bigint | Vcpu, PhysAddr>> = /* @__PURE__ */ new WeakMap();

/** Notes the calling area through which `vcpu` calls. The area that it had before becomes an ordinary page. */
export function noteCallingArea(vcpu: Vcpu, gpa: PhysAddr): void {
  setArea(vcpu.guest, vcpu.vmsa?.gpa ?? vcpu, (gpa & -BigInt(PAGE_SIZE)) as PhysAddr);
}

/** Notes the pages of a processor that the SVSM makes. Returns the function that takes the note back. */
export function noteProcessor(guest: GuestContext, vmsa: PhysAddr, caa: PhysAddr): () => void {
  const arePages = [vmsa, caa].every((gpa) => Phys.isAddress(gpa) && gpa % BigInt(PAGE_SIZE) === 0n);
  // The pages of a processor that exists keep their notes.
  if (!arePages || useOf(guest, vmsa) !== undefined) return () => {};
  noteUse(guest, vmsa, 'VMSA');
  setArea(guest, vmsa, caa);
  return () => forgetProcessor(guest, vmsa);
}

/** Notes that a processor is gone: its pages are ordinary ones. */
export function forgetProcessor(guest: GuestContext, vmsa: PhysAddr): void {
  if (!Phys.isAddress(vmsa)) return;
  if (useOf(guest, vmsa) === 'VMSA') noteUse(guest, vmsa, undefined);
  setArea(guest, vmsa, undefined);
}

function setArea(guest: GuestContext, key: bigint | Vcpu, gpa: PhysAddr | undefined): void {
  const areas = AREAS.get(guest) ?? new Map<bigint | Vcpu, PhysAddr>();
  AREAS.set(guest, areas);
  const before = areas.get(key);
  if (before === gpa) return;
  if (before !== undefined && useOf(guest, before) === 'CALLING_AREA') noteUse(guest, before, undefined);
  areas.delete(key);
  if (gpa === undefined) return;
  areas.set(key, gpa);
  if (useOf(guest, gpa) === undefined) noteUse(guest, gpa, 'CALLING_AREA');
}
