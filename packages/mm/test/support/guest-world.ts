/** A booted SVSM with a guest above it: processors at VMPL2, with page tables and calling areas of their own. */
import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { PageTable, PtePreset } from '@svsm/pagetable';
import { type CallingArea, encodeSvsmListEntry, encodeSvsmListHeader, type Vcpu, Vmpl } from '@svsm/sev-snp';
import { bootWorld, MIB } from './world.ts';

/** The guest's memory: what the launch has validated, without the SVSM. */
export const GUEST_START = 32 * MIB;
export const GUEST_END = 64 * MIB;

export interface Caller {
  readonly vcpu: Vcpu;
  readonly area: CallingArea;
  /** A page for lists. */
  readonly list: PhysAddr;
  readonly table: PageTable;
  /** A page that the caller does not use yet. */
  readonly spare: PhysAddr;
}

/** An entry of a list for PVALIDATE. */
export interface ListEntry {
  readonly gpa: number;
  readonly huge?: boolean;
  readonly validate?: boolean;
  readonly ignoreUnchanged?: boolean;
}

export type GuestWorld = ReturnType<typeof guestWorld>;

/** The first 2 MiB from {@link GUEST_START} on are the guest's tables, calling areas and lists. */
export function guestWorld(options: Parameters<typeof bootWorld>[0] = {}, callers = 2) {
  const world = bootWorld({ cpus: 2, ...options });
  const { svsm, guest } = world;
  for (let gpa = GUEST_START; gpa < GUEST_END; gpa += PAGE_SIZE_2M) {
    const result = svsm.guestMemory.grant(BigInt(gpa), PageSize.Huge, Vmpl.Vmpl2);
    if (result !== 0) throw new Error(`grant of 0x${gpa.toString(16)}: 0x${result.toString(16)}`);
  }
  const made = Array.from({ length: callers }, (_, k): Caller => {
    const vcpu = guest.createVcpu({ vmpl: Vmpl.Vmpl2 });
    let frame = GUEST_START + k * 64 * PAGE_SIZE;
    const next = (): PhysAddr => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    };
    const table = PageTable.create({
      memory: vcpu.memory,
      frames: { allocateFrame: next, freeFrame() {} },
      config: guest.paging,
    });
    for (let gpa = GUEST_START; gpa < GUEST_END; gpa += PAGE_SIZE_2M)
      table.map2m(virtAddr(gpa), physAddr(gpa), PtePreset.Data);
    vcpu.loadCr3(table.cr3);
    const caa = next();
    svsm.service.register(vcpu, caa, { cpu: k % svsm.cpus.length });
    return { vcpu, area: { gva: virtAddr(caa), gpa: caa }, list: next(), table, spare: next() };
  });
  return Object.assign(world, { callers: made });
}

/** Writes a list for PVALIDATE, as the guest does. Returns its address. */
export function writeList(
  { vcpu, list }: Pick<Caller, 'vcpu' | 'list'>,
  entries: readonly ListEntry[],
  next = 0,
): bigint {
  const bytes = new Uint8Array(8 * (entries.length + 1));
  bytes.set(encodeSvsmListHeader({ count: entries.length, next }));
  for (const [i, { gpa, huge = false, validate = true, ignoreUnchanged = false }] of entries.entries()) {
    const entry = { gpa: physAddr(gpa), size: huge ? 1 : 0, validate, ignoreUnchanged, reserved: 0 };
    bytes.set(encodeSvsmListEntry(entry), 8 * (i + 1));
  }
  vcpu.write(virtAddr(list), bytes);
  return list;
}
