import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import type { VcpuOptions } from '../../src/cpu/vcpu-options.ts';
import { VMEXIT_NPF } from '../../src/formats/exit-info.ts';
import { encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { type SysPhysAddr, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import type { Guest } from '../../src/guest/guest.ts';
import type { LaunchOptions } from '../../src/host/launch-options.ts';
import { SnpMachine, type SnpMachineOptions } from '../../src/host/snp-machine.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import { isSnpFault, SnpFault } from '../../src/rmp/snp-fault.ts';
import { type GuestPageAccess, permanentMap } from '../../src/svsm/guest-page-access.ts';

export const MiB = 1 << 20;
/** The address at which a world maps GPA 0. */
export const BASE = 0xffff_8000_0000_0000n;

/** The guest-virtual address that a world maps to `gpa`. */
export function gvaOf(gpa: number): VirtAddr {
  return virtAddr(BASE + BigInt(gpa));
}

/** The access of an SVSM that maps all memory of the guest, as a world does. */
export const WHOLE: GuestPageAccess = permanentMap((gpa) => gvaOf(Number(gpa)));

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

export interface World {
  readonly machine: SnpMachine;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  readonly table: PageTable;
  readonly tlb: Tlb;
  /** Events since the page table was made. */
  readonly events: MachineEvent[];
}

/** Frames for a guest's page tables: the pages from GPA 1 MiB on. */
export function tableFrames(count = 256): { allocateFrame(): PhysAddr; freeFrame(): void } {
  let used = 0;
  return {
    allocateFrame: () => {
      if (used === count) throw new Error('no frame left');
      used += 1;
      return physAddr(MiB + (used - 1) * PAGE_SIZE);
    },
    freeFrame: () => {},
  };
}

/** A machine with one guest of 8 MiB, if `launch` has no other memory, that maps all of it with 2 MiB pages from {@link BASE} on. */
export function world(
  options: Partial<SnpMachineOptions> = {},
  launch: Partial<LaunchOptions> = {},
  vcpuOptions: VcpuOptions = {},
): World {
  const events: MachineEvent[] = [];
  const machine = new SnpMachine({ memorySize: 32 * MiB, trace: (event) => events.push(event), ...options });
  const size = launch.memory === undefined ? { size: 8 * MiB } : {};
  const guest = machine.hypervisor.launch({ ...size, ...launch });
  const tlb = new Tlb();
  const vcpu = guest.createVcpu({ tlb, ...vcpuOptions });
  const table = mapAll(guest, vcpu, tlb);
  events.length = 0;
  return { machine, guest, vcpu, table, tlb, events };
}

/** A page table of the guest that maps its memory with 2 MiB pages, loaded into `vcpu`. */
export function mapAll(
  guest: Guest,
  vcpu: Vcpu,
  tlb?: Tlb,
  frames: ReturnType<typeof tableFrames> = tableFrames(),
): PageTable {
  const table = PageTable.create({
    memory: vcpu.memory,
    frames,
    config: guest.paging,
    ...(tlb === undefined ? {} : { tlb }),
  });
  for (const gpa of guest.memory.iterPages(PageSize.Huge)) {
    table.map2m(virtAddr(BASE + gpa), gpa, PtePreset.Data & ~0x8000_0000);
  }
  vcpu.loadCr3(table.cr3);
  return table;
}

/** The system page of a guest's page. */
export function spaOf({ guest }: World, gpa: number): SysPhysAddr {
  return (guest.nested.lookup(physAddr(gpa)) as { spa: SysPhysAddr }).spa;
}

/** An RMP over the first `mib` MiB. */
export function rmpOf(mib = 8): Rmp {
  return new Rmp(sysPhysRegion(sysPhysAddr(0), mib * MiB));
}

/** All entries of a table, bit for bit; an empty text for an entry that was never written. */
export function snapshot(rmp: Rmp): string {
  const slots = [...rmp.covered.iterPages(PageSize.Regular)].map((spa) => {
    const slot = rmp.rawEntry(spa) as RmpEntry;
    if (slot === HYPERVISOR_ENTRY) return '';
    const { low, high } = encodeRmpEntry(slot);
    return `${low.toString(16)}:${high.toString(16)}`;
  });
  return slots.join();
}

/** The code of the coded error that `action` throws, or `undefined`. */
export function codeOf(action: () => unknown): string | undefined {
  return thrownBy(action)?.code;
}

/** The coded error that `action` throws, or `undefined`. Other errors are thrown on. */
export function thrownBy(
  action: () => unknown,
): { code: string; details: Record<string, unknown>; message: string } | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (isSnpFault(error) || isSnpError(error)) return error as never;
    throw error;
  }
}

/** A nested page fault that the hypervisor does not resolve. */
export function unresolvedFault(): never {
  const at = { gpa: 0n, gva: 0n, spa: undefined, nestedSize: undefined };
  throw new SnpFault('NPF', { exitCode: VMEXIT_NPF, exitInfo1: 0n, check: 'nested-not-present', ...at });
}
