import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import {
  type CallingArea,
  Ghcb,
  type Guest,
  HostileHypervisor,
  type MachineEvent,
  makePageShared,
  NestedTlb,
  type RmpPageSize,
  SnpMachine,
  SvsmCore,
  type SysPhysAddr,
  ValidatedPages,
  Vcpu,
  type VcpuOptions,
  Vmpl,
  VmplPermission,
} from '@svsm/sev-snp';

const MIB = 1024 * 1024;

/** Where everything lies, guest-physical. */
const TABLES = MIB;
const OS_TABLES = 3 * MIB;
const CALLING_AREA = 2 * MIB + 0x8000;
const GHCB = 2 * MIB + 0x9000;
const SHARED = 2 * MIB + 0xa000;

/** Two private pages of the guest's, in a 2 MiB page that is split already. */
export const A: PhysAddr = physAddr(4 * MIB + 0x1000);
export const B: PhysAddr = physAddr(4 * MIB + 0x2000);
/** One in a 2 MiB page that is whole, in all tables. */
export const WHOLE: PhysAddr = physAddr(6 * MIB + 0x3000);
/** One of the SVSM's own, where there is an SVSM: everything below 2 MiB. */
export const OWN: PhysAddr = physAddr(0x5000);

/** What happens in a scenario, in order: what somebody does, or an event of the machine. */
export type Moment = string | MachineEvent;

/** A processor whose software does not clear a page that it has validated. */
class UnclearedVcpu extends Vcpu {
  override write(gva: VirtAddr, bytes: Uint8Array): void {
    const isClearing = bytes.length >= PAGE_SIZE && bytes.every((byte) => byte === 0);
    if (!isClearing) super.write(gva, bytes);
  }
}

/** How a guest is set up. */
export interface StageOptions {
  /** Whether its software clears what it has validated: yes if not given. */
  readonly clears?: boolean;
}

/**
 * A machine with a guest of 8 MiB, all private and validated, which has written a text to {@link A}, {@link B} and
 * {@link WHOLE}; and a hypervisor that may do anything. Every step is told, and every event of the machine noted.
 */
export class Stage {
  readonly moments: Moment[] = [];
  readonly machine: SnpMachine;
  readonly host: HostileHypervisor;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  readonly table: PageTable;
  /** The guest's own record. */
  readonly validated: ValidatedPages;

  constructor({ clears = true }: StageOptions = {}) {
    this.machine = new SnpMachine({
      memorySize: 32 * MIB,
      hypervisor: (machine) => new HostileHypervisor(machine),
      trace: (event) => this.moments.push(event),
    });
    this.host = this.machine.hypervisor as HostileHypervisor;
    this.guest = this.host.launch({ size: 8 * MIB });
    this.vcpu = this.processor({}, clears);
    this.table = this.map(this.vcpu, TABLES);
    this.validated = new ValidatedPages(this.guest.memory, [this.guest.memory]);
    this.host.splitPage(this.guest, A);
    this.put(A, 'attack at dawn');
    this.put(B, 'retreat');
    this.put(WHOLE, 'hold the line');
    this.moments.length = 0;
  }

  /** Tells what is done next. */
  tell(what: string): void {
    this.moments.push(what);
  }

  /** Another processor of the guest's, with TLBs of its own. */
  processor(options: VcpuOptions = {}, clears = true): Vcpu {
    const all = { tlb: new Tlb(), nestedTlb: new NestedTlb(), ...options };
    return clears ? this.guest.createVcpu(all) : new UnclearedVcpu(this.guest, all);
  }

  /** A page table from `at` on that maps all of the guest's memory, loaded into `vcpu`. */
  map(vcpu: Vcpu, at: number): PageTable {
    let frame = at - PAGE_SIZE;
    const allocateFrame = (): PhysAddr => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    };
    const frames = { allocateFrame, freeFrame: () => {} };
    const table = PageTable.create({ memory: vcpu.memory, frames, config: this.guest.paging });
    for (const gpa of this.guest.memory.iterPages(PageSize.Huge)) {
      // Executable too.
      table.map2m(gvaOf(gpa), gpa, PtePreset.Data & ~0x8000_0000);
    }
    vcpu.loadCr3(table.cr3);
    return table;
  }

  /** The guest writes a text. */
  put(gpa: PhysAddr, text: string, vcpu: Vcpu = this.vcpu): void {
    vcpu.write(gvaOf(gpa), bytesOf(text));
  }

  /** What the guest reads, as text. */
  get(gpa: PhysAddr, vcpu: Vcpu = this.vcpu): string {
    return textOf(vcpu.read(gvaOf(gpa), TEXT));
  }

  /** What the host reads where the guest has `gpa`, as text. */
  hostGets(gpa: PhysAddr): string {
    return textOf(this.host.read(this.spaOf(gpa), TEXT));
  }

  /** The hypervisor flushes the guest's translations, so that a change of the nested page table is used. */
  flush(): this {
    this.tell('the hypervisor flushes the guest’s translations');
    this.host.flushTlbs(this.guest);
    return this;
  }

  /** Where the hypervisor has a page. */
  spaOf(gpa: PhysAddr): SysPhysAddr {
    return this.guest.nested.lookup(gpa)!.spa;
  }

  /** The guest makes a page shared, by all the rules, and writes a text there. */
  share(text = '', gpa: PhysAddr = physAddr(SHARED)): PhysAddr {
    makePageShared(this.vcpu, this.table, gvaOf(gpa), this);
    if (text !== '') this.put(gpa, text);
    return gpa;
  }

  /** A GHCB. */
  ghcb(): Ghcb {
    return Ghcb.create(this.vcpu, this.table, gvaOf(physAddr(GHCB)), this);
  }

  /** An SVSM in the first 2 MiB, and an operating system at VMPL2 with the rest, on a processor of its own. */
  withSvsm(): { svsm: SvsmCore; os: Vcpu; osTable: PageTable; area: CallingArea } {
    const own = [physRegion(physAddr(0), 2 * MIB)];
    const { memory } = this.guest;
    const svsm = new SvsmCore({ vcpu: this.vcpu, gvaOf, memory, own });
    const area = { gva: gvaOf(physAddr(CALLING_AREA)), gpa: physAddr(CALLING_AREA) };
    for (const gpa of memory.iterPages(PageSize.Huge)) if (gpa >= 2 * MIB) this.#grant(gpa);
    const os = this.processor({ vmpl: Vmpl.Vmpl2 });
    const osTable = this.map(os, OS_TABLES);
    svsm.register(os, area.gpa);
    this.guest.onEnter(Vmpl.Vmpl0, (caller) => {
      svsm.enter(caller);
    });
    this.moments.length = 0;
    return { svsm, os, osTable, area };
  }

  /** Gives the levels below all access to a page, in the size that the RMP has it. */
  #grant(gpa: PhysAddr): void {
    const adjust = (at: PhysAddr, size: RmpPageSize): boolean =>
      [Vmpl.Vmpl1, Vmpl.Vmpl2].every(
        (vmpl) => this.vcpu.rmpadjust(gvaOf(at), size, { vmpl, permissions: VmplPermission.Rwx }) === 0,
      );
    if (adjust(gpa, PageSize.Huge)) return;
    for (const part of physRegion(gpa, PageSize.Huge).iterPages(PageSize.Regular))
      adjust(part, PageSize.Regular);
  }
}

/** Where the guest has `gpa` mapped. */
export function gvaOf(gpa: PhysAddr): VirtAddr {
  return virtAddr(0xffff_8000_0000_0000n + gpa);
}

/** Bytes of a text; what is left of them is zero. */
const TEXT = 16;

export function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(TEXT);
  bytes.set(new TextEncoder().encode(text));
  return bytes;
}

/** Bytes as text; `nothing` for zeros, `noise` for what is no text. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = bytes.subarray(0, end < 0 ? bytes.length : end);
  if (bytes.every((byte) => byte === 0)) return 'nothing';
  return text.length > 0 && text.every((byte) => byte >= 0x20 && byte < 0x7f)
    ? String.fromCharCode(...text)
    : 'noise';
}
