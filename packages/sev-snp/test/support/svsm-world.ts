import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import {
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  type SvsmListEntry,
  type SvsmRegisters,
} from '../../src/formats/svsm-protocol.ts';
import type { CallingArea } from '../../src/guest/svsm-call.ts';
import type { SnpMachineOptions } from '../../src/host/snp-machine.ts';
import type { GuestPageAccess } from '../../src/svsm/guest-page-access.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { SvsmRefusal } from '../../src/svsm/svsm-refusal.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { Window } from './window-world.ts';
import { gvaOf, MiB, WHOLE, type World, world } from './world.ts';

/** The calling area of the guest. `OWN_END`: the end of the SVSM's memory. */
export const CAA = 4 * MiB;
export const OWN_END = 2 * MiB;

export interface SvsmWorld extends World {
  readonly state: SvsmState;
  /** The SVSM on its first processor. */
  readonly svsm: SvsmCore;
  /** The guest's processor, at VMPL2, with a page table of its own. */
  readonly guestCpu: Vcpu;
  readonly area: CallingArea;
}

/** How the SVSM of a world reaches pages: it maps all of them, or each for a time in a window. A test file has one way. */
export const mapping: { way: 'whole' | 'windows' } = { way: 'whole' };
let windows = 0;

/** The access of a processor of the SVSM, in the way of the test file. */
export function accessOf(vcpu: Vcpu, table: PageTable): GuestPageAccess {
  if (mapping.way === 'whole') return WHOLE;
  windows += 1;
  return new Window(vcpu, table, windows % 2).access;
}

/**
 * A guest of 8 MiB, or of `size`: an SVSM in the first 2 MiB, at VMPL0, and an operating system at VMPL2 with the rest. Its first
 * processor reaches pages by `access`, if that is given.
 */
export function svsmWorld(
  options: Partial<SvsmStateOptions> = {},
  machine: Partial<SnpMachineOptions> = {},
  { size = 8 * MiB, access }: { readonly size?: number; readonly access?: GuestPageAccess } = {},
): SvsmWorld {
  const it = world(machine, { size });
  const own = [physRegion(physAddr(0), OWN_END)];
  const state = new SvsmState({ memory: it.guest.memory, own, ...options });
  const svsm = state.on(it.vcpu, access ?? accessOf(it.vcpu, it.table));
  for (let gpa = OWN_END; gpa < size; gpa += 2 * MiB) {
    for (const vmpl of [1, 2]) {
      it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl, permissions: 0xf });
    }
  }
  const tlb = new Tlb();
  const guestCpu = it.guest.createVcpu({ vmpl: 2, tlb });
  let frame = 3 * MiB;
  const frames = {
    allocateFrame: () => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    },
    freeFrame: () => {},
  };
  const table = PageTable.create({ memory: guestCpu.memory, frames, config: it.guest.paging, tlb });
  for (const gpa of it.guest.memory.iterPages(PageSize.Huge))
    table.map2m(gvaOf(Number(gpa)), gpa, PtePreset.Data);
  guestCpu.loadCr3(table.cr3);
  svsm.register(guestCpu, physAddr(CAA));
  it.guest.onEnter(0, (caller) => {
    svsm.enter(caller);
  });
  it.events.length = 0;
  return { ...it, state, svsm, guestCpu, area: { gva: gvaOf(CAA), gpa: physAddr(CAA) } };
}

export const entryOf = (gpa: number | bigint, fields: Partial<SvsmListEntry> = {}): SvsmListEntry => ({
  gpa: BigInt(gpa) as PhysAddr,
  size: 0,
  validate: true,
  ignoreUnchanged: false,
  reserved: 0,
  ...fields,
});

/** Writes a list as the guest does; at offset 8 of its calling area if `at` is not given. */
export function writeList(
  it: SvsmWorld,
  entries: readonly SvsmListEntry[],
  at: number = CAA + 8,
  next = 0,
): void {
  const bytes = [encodeSvsmListHeader({ count: entries.length, next }), ...entries.map(encodeSvsmListEntry)];
  it.guestCpu.write(gvaOf(at), Uint8Array.from(bytes.flatMap((part) => [...part])));
}

/** Makes a call without the hypervisor. Returns RAX afterwards, as a number. */
export function call(
  it: SvsmWorld,
  id: number,
  registers: Partial<SvsmRegisters> = {},
  vcpu = it.guestCpu,
): number {
  const all = { rax: BigInt(id), rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
  it.svsm.call(vcpu, all);
  Object.assign(registers, all);
  return Number(all.rax);
}

/** Calls PVALIDATE with a list. Returns the result, and the index of the next entry. */
export function pvalidateList(it: SvsmWorld, entries: readonly SvsmListEntry[], next = 0): [number, number] {
  writeList(it, entries, CAA + 8, next);
  const result = call(it, 1, { rcx: BigInt(CAA + 8) });
  return [result, new DataView(it.guestCpu.read(gvaOf(CAA + 8), 4).buffer).getUint16(2, true)];
}

/** The result of the `SvsmRefusal` that `action` throws, or `undefined`. Other errors are thrown on. */
export function refusedWith(action: () => unknown): number | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (error instanceof SvsmRefusal) return error.result;
    throw error;
  }
}
