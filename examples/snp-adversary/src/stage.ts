import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import {
  type CallingArea,
  Ghcb,
  type Guest,
  type GuestPageAccess,
  HostileHypervisor,
  type MachineEvent,
  makePagePrivate,
  makePageShared,
  NestedTlb,
  permanentMap,
  type RmpPageSize,
  SnpMachine,
  type SvsmCore,
  SvsmState,
  type SysPhysAddr,
  ValidatedPages,
  Vcpu,
  type VcpuOptions,
  Vmpl,
  VmplPermission,
} from '@svsm/sev-snp';

const MIB = 1024 * 1024;

/** Guest-physical addresses of the page tables, the calling area, the GHCB and a shared page. */
const TABLES = MIB;
const OS_TABLES = 3 * MIB;
const CALLING_AREA = 2 * MIB + 0x8000;
const GHCB = 2 * MIB + 0x9000;
const SHARED = 2 * MIB + 0xa000;

/** Two private pages of the guest, in a 2 MiB page that is already split. */
export const A: PhysAddr = physAddr(4 * MIB + 0x1000);
export const B: PhysAddr = physAddr(4 * MIB + 0x2000);
/** A private page in a 2 MiB page that is not split in any table. */
export const WHOLE: PhysAddr = physAddr(6 * MIB + 0x3000);
/** A page of the SVSM, if there is one. It owns everything below 2 MiB. */
export const OWN: PhysAddr = physAddr(0x5000);

/** One line of a scenario: a step that is described, or an event of the machine. */
export type Moment = string | MachineEvent;

/** A processor whose software does not clear pages after validating them. */
class UnclearedVcpu extends Vcpu {
  override clear(): void {}
}

/** The options of a {@link Stage}. */
export interface StageOptions {
  /** Whether the guest's software clears pages after validating them. Default: true. */
  readonly clears?: boolean;
  /** Called after each step and event of the scenario has been recorded. */
  readonly onMoment?: ((moment: Moment, stage: Stage) => void) | undefined;
}

/**
 * A machine with a hostile hypervisor and a guest of 8 MiB, all private and validated. The guest has written a text to
 * {@link A}, {@link B} and {@link WHOLE}. The stage records every step and every event of the machine.
 */
export class Stage {
  readonly moments: Moment[] = [];
  readonly machine: SnpMachine;
  readonly host: HostileHypervisor;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  readonly table: PageTable;
  /** Called at each event of the machine. Its errors go on to the software that has caused the event. */
  onEvent: ((event: MachineEvent) => void) | undefined;
  /** The guest's record of validated pages. */
  readonly validated: ValidatedPages;
  readonly #onMoment: StageOptions['onMoment'];

  constructor({ clears = true, onMoment }: StageOptions = {}) {
    this.machine = new SnpMachine({
      memorySize: 32 * MIB,
      hypervisor: (machine) => new HostileHypervisor(machine),
      trace: (event) => {
        this.#record(event);
        this.onEvent?.(event);
      },
    });
    this.host = this.machine.hypervisor as HostileHypervisor;
    this.guest = this.host.launch({ size: 8 * MIB });
    this.vcpu = this.processor({}, clears);
    this.table = this.map(this.vcpu, TABLES);
    this.validated = new ValidatedPages(this.guest.memory, this.guest.memory);
    this.host.splitPage(this.guest, A);
    this.put(A, 'attack at dawn');
    this.put(B, 'retreat');
    this.put(WHOLE, 'hold the line');
    this.moments.length = 0;
    this.#onMoment = onMoment;
  }

  /** The options of a guest that keeps its record. */
  get options(): { readonly validated: ValidatedPages } {
    return { validated: this.validated };
  }

  /** Records the description of the next step. */
  tell(what: string): void {
    this.#record(what);
  }

  #record(moment: Moment): void {
    this.moments.push(moment);
    this.#onMoment?.(moment, this);
  }

  /** Makes another processor of the guest, with its own TLBs. */
  processor(options: VcpuOptions = {}, clears = true): Vcpu {
    const all = { tlb: new Tlb(), nestedTlb: new NestedTlb(), ...options };
    return clears ? this.guest.createVcpu(all) : new UnclearedVcpu(this.guest, all);
  }

  /** Makes a page table with frames from `at` on that maps all of the guest's memory, and loads it into `vcpu`. */
  map(vcpu: Vcpu, at: number): PageTable {
    let frame = at - PAGE_SIZE;
    const allocateFrame = (): PhysAddr => {
      frame += PAGE_SIZE;
      return physAddr(frame);
    };
    const frames = { allocateFrame, freeFrame: () => {} };
    const table = PageTable.create({ memory: vcpu.memory, frames, config: this.guest.paging });
    for (const gpa of this.guest.memory.iterPages(PageSize.Huge)) {
      // The pages are also executable.
      table.map2m(gvaOf(gpa), gpa, PtePreset.Data & ~0x8000_0000);
    }
    vcpu.loadCr3(table.cr3);
    return table;
  }

  /** Makes the guest write a text to `gpa`. */
  put(gpa: PhysAddr, text: string, vcpu: Vcpu = this.vcpu): void {
    vcpu.write(gvaOf(gpa), bytesOf(text));
  }

  /** The text that the guest reads at `gpa`. */
  get(gpa: PhysAddr, vcpu: Vcpu = this.vcpu): string {
    return textOf(vcpu.read(gvaOf(gpa), TEXT));
  }

  /** The text that the host reads in the page that the guest has at `gpa`. */
  hostGets(gpa: PhysAddr): string {
    return textOf(this.host.read(this.spaOf(gpa), TEXT));
  }

  /** Makes the hypervisor flush the guest's translations, so that the guest uses the changed nested page table. */
  flushTlbs(): this {
    this.tell('the hypervisor flushes the guest’s translations');
    this.host.flushTlbs(this.guest);
    return this;
  }

  /** The system-physical address of the page at `gpa`. */
  spaOf(gpa: PhysAddr): SysPhysAddr {
    return this.guest.nested.lookup(gpa)!.spa;
  }

  /** Makes the guest share a page, by all the rules, and write a text to it. */
  share(text = '', gpa: PhysAddr = physAddr(SHARED)): PhysAddr {
    makePageShared(this.vcpu, this.table, gvaOf(gpa), { validated: this.validated });
    if (text !== '') this.put(gpa, text);
    return gpa;
  }

  /** Makes the guest take a shared page back, by all the rules. */
  takeBack(gpa: PhysAddr): void {
    makePagePrivate(this.vcpu, this.table, gvaOf(gpa), { validated: this.validated });
  }

  /** Makes a GHCB. */
  ghcb(): Ghcb {
    return Ghcb.create(this.vcpu, this.table, gvaOf(physAddr(GHCB)), { validated: this.validated });
  }

  /** Makes an SVSM in the first 2 MiB, and an operating system at VMPL2 in the rest, on another processor. */
  withSvsm(): { state: SvsmState; svsm: SvsmCore; os: Vcpu; osTable: PageTable; area: CallingArea } {
    const own = [physRegion(physAddr(0), 2 * MIB)];
    const { memory } = this.guest;
    const state = new SvsmState({ memory, own });
    const svsm = state.on(this.vcpu, MAP);
    const area = { gva: gvaOf(physAddr(CALLING_AREA)), gpa: physAddr(CALLING_AREA) };
    for (const gpa of memory.iterPages(PageSize.Huge)) if (gpa >= 2 * MIB) this.#grant(gpa);
    const os = this.processor({ vmpl: Vmpl.Vmpl2 });
    const osTable = this.map(os, OS_TABLES);
    svsm.register(os, area.gpa);
    this.guest.onEnter(Vmpl.Vmpl0, (caller) => {
      svsm.enter(caller);
    });
    this.moments.length = 0;
    return { state, svsm, os, osTable, area };
  }

  /** Grants VMPL1 and VMPL2 all access to a 2 MiB page, in the page sizes that the RMP has. */
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

/** The access of the SVSM, which maps all memory of the guest. */
export const MAP: GuestPageAccess = permanentMap(gvaOf);

/** The virtual address at which the guest maps `gpa`. */
export function gvaOf(gpa: PhysAddr): VirtAddr {
  return virtAddr(0xffff_8000_0000_0000n + gpa);
}

/** The size of a text in bytes. Unused bytes are zero. */
const TEXT = 16;

export function bytesOf(text: string): Uint8Array {
  const bytes = new Uint8Array(TEXT);
  bytes.set(new TextEncoder().encode(text));
  return bytes;
}

/** Bytes as text: `nothing` for zeros, `noise` for bytes that are not printable. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  const text = bytes.subarray(0, end < 0 ? bytes.length : end);
  if (bytes.every((byte) => byte === 0)) return 'nothing';
  return text.length > 0 && text.every((byte) => byte >= 0x20 && byte < 0x7f)
    ? String.fromCharCode(...text)
    : 'noise';
}
