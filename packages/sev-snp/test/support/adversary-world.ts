import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import type { VcpuOptions } from '../../src/cpu/vcpu-options.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import type { Guest } from '../../src/guest/guest.ts';
import type { VisibilityOptions } from '../../src/guest/page-visibility.ts';
import type { CallingArea } from '../../src/guest/svsm-call.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import type { LaunchMemory } from '../../src/host/launch-options.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { GuestRegions } from '../../src/memory/guest-regions.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { gvaOf, MiB, WHOLE } from './world.ts';

/** The duties of a guest, which hardware does not do for it. */
export interface Duties {
  /** Consult its record before each PVALIDATE. */
  readonly record: boolean;
  /** Clear a page after validating it, before use. */
  readonly clear: boolean;
  /** Treat a PVALIDATE that changes nothing as an attack. */
  readonly carry: boolean;
  /** Rescind the validation of a page before it is shared. */
  readonly rescind: boolean;
  /** Flush a changed translation from the TLBs of its other processors. */
  readonly flush: boolean;
}

export const ALL_DUTIES: Duties = { record: true, clear: true, carry: true, rescind: true, flush: true };

/** A processor whose software leaves some duties undone. */
class CarelessVcpu extends Vcpu {
  readonly #duties: Duties;

  constructor(guest: Guest, options: VcpuOptions, duties: Duties) {
    super(guest, options);
    this.#duties = duties;
  }

  override clear(gva: VirtAddr, length: number): void {
    if (this.#duties.clear) super.clear(gva, length);
  }

  override pvalidate(gva: VirtAddr, pageSize: 0x1000 | 0x20_0000, validate: boolean) {
    if (!validate && !this.#duties.rescind) return { result: 0, unchanged: false } as const;
    const answer = super.pvalidate(gva, pageSize, validate);
    return this.#duties.carry ? answer : { ...answer, unchanged: false };
  }
}

/** One side's use of its guest's memory: some processors with one page table. */
export interface Party {
  readonly guest: Guest;
  /** The first one changes pages. */
  readonly vcpus: readonly Vcpu[];
  readonly table: PageTable;
  /** The options of calls that change pages: the record. */
  readonly options: VisibilityOptions;
  readonly isValidated: (gpa: PhysAddr) => boolean;
}

export interface Adversary {
  readonly machine: SnpMachine;
  readonly host: HostileHypervisor;
  /** A guest with two processors at VMPL0, which validates its own pages. */
  readonly alone: Party & { readonly ghcb: Ghcb };
  /** An operating system with two processors at VMPL2, for which an SVSM validates. */
  readonly above: Party & {
    readonly state: SvsmState;
    readonly svsm: SvsmCore;
    readonly svsmCpu: Vcpu;
    readonly areas: CallingArea[];
  };
}

/** The contested pages of both guests: the ends of a 2 MiB page, and two inside it. */
export const GPAS: readonly number[] = [0, 1, 2, 511].map((page) => 2 * MiB + page * PAGE_SIZE);
/** The end of the memory of the SVSM. {@link END}: of each guest. */
export const OWN_END = 2 * MiB;
const END = 4 * MiB;
/** A page of the SVSM, which nobody else may access. */
export const SECRET = 0x8000;

const TABLES = MiB;
const GHCB = MiB + 0x8_0000;
const CAA = 3 * MiB;
/** The calling areas of the second processor above the SVSM, and that of a processor that it makes. */
export const MOVED_CAA = [CAA + 0x1000, CAA + 0x2000] as const;
export const CREATED_CAA = CAA + 0x3000;
const TABLES_ABOVE = 3 * MiB + 0x1_0000;

/** A page that does not exist in a map with a hole. */
export const HOLE = 2 * MiB + 0x4_0000;

/** A map of 4 MiB with a hole, in which some of {@link GPAS} are unaccepted. */
export function mapWith(unaccepted: readonly number[]): readonly LaunchMemory[] {
  const part = (start: number, end: number, validated = true): LaunchMemory => ({
    region: physRegion(physAddr(start), end - start),
    validated,
  });
  const pages = [...GPAS, HOLE].toSorted((a, b) => a - b);
  const rest = pages.flatMap((gpa, k) => {
    const [start, end] = [gpa + PAGE_SIZE, pages[k + 1] ?? END];
    return start < end ? [part(start, end)] : [];
  });
  const contested = GPAS.map((gpa) => part(gpa, gpa + PAGE_SIZE, !unaccepted.includes(gpa)));
  return [part(0, GPAS[0]!), ...contested, ...rest];
}

/** A machine under attack, with two guests of 4 MiB that use the same addresses. All memory is validated without a map. */
export function adversary(
  duties: Duties = ALL_DUTIES,
  map: readonly LaunchMemory[] = [{ region: physRegion(physAddr(0), END), validated: true }],
): Adversary {
  const machine = new SnpMachine({ memorySize: 16 * MiB, hypervisor: (it) => new HostileHypervisor(it) });
  const host = machine.hypervisor as HostileHypervisor;
  const alone = host.launch({ memory: map });
  const accepted = map.flatMap(({ region, validated }) => (validated ? [region] : []));
  const cpu = (): Vcpu => new CarelessVcpu(alone, tlbs(), duties);
  const vcpus = [cpu(), cpu()] as const;
  const table = mapAll(alone, vcpus, TABLES);
  const validated = new ValidatedPages(alone.memory, accepted);
  const options = duties.record ? { validated } : {};
  const ghcb = Ghcb.create(vcpus[0], table, gvaOf(GHCB), options);
  return {
    machine,
    host,
    alone: {
      guest: alone,
      vcpus,
      table,
      options,
      ghcb,
      isValidated: (gpa) => !duties.record || validated.has(gpa),
    },
    above: withSvsm(host.launch({ memory: map }), accepted, duties),
  };
}

function withSvsm(
  guest: Guest,
  accepted: readonly MemoryRegion<PhysAddr>[],
  duties: Duties,
): Adversary['above'] {
  const svsmCpu = new CarelessVcpu(guest, tlbs(), duties);
  mapAll(guest, [svsmCpu], TABLES);
  const own = [physRegion(physAddr(0), OWN_END)];
  const state = new SvsmState({ memory: guest.memory, own, validated: accepted });
  const svsm = state.on(svsmCpu, WHOLE);
  for (const gpa of new GuestRegions(accepted).iterPages(PageSize.Regular)) {
    const size = guest.nested.lookup(gpa)?.size === PageSize.Huge ? PageSize.Huge : PageSize.Regular;
    if (gpa < OWN_END || gpa % BigInt(size) !== 0n) continue;
    for (const vmpl of [1, 2]) svsmCpu.rmpadjust(gvaOf(Number(gpa)), size, { vmpl, permissions: 0xf });
  }
  const vcpus = [CAA, MOVED_CAA[0]].map(() => guest.createVcpu({ vmpl: 2, ...tlbs() }));
  const table = mapAll(guest, vcpus, TABLES_ABOVE);
  const areas = [CAA, MOVED_CAA[0]].map((gpa) => ({ gva: gvaOf(gpa), gpa: physAddr(gpa) }));
  for (const [k, vcpu] of vcpus.entries()) svsm.register(vcpu, areas[k]!.gpa);
  guest.onEnter(0, (caller) => {
    svsm.enter(caller);
  });
  const record = state.validated;
  return {
    guest,
    vcpus,
    table,
    state,
    svsm,
    svsmCpu,
    options: {},
    areas,
    isValidated: (gpa) => record.has(gpa),
  };
}

/** The caches of a processor, which can be stale. */
function tlbs(): { tlb: Tlb; nestedTlb: NestedTlb } {
  return { tlb: new Tlb(), nestedTlb: new NestedTlb() };
}

/** A page table in the guest's memory from `at` on, which maps all of it with 2 MiB pages, on all of `vcpus`. */
function mapAll(guest: Guest, vcpus: readonly Vcpu[], at: number): PageTable {
  let frame = at - PAGE_SIZE;
  const allocateFrame = (): PhysAddr => {
    frame += PAGE_SIZE;
    return physAddr(frame);
  };
  const { memory } = vcpus[0]!;
  const frames = { allocateFrame, freeFrame: () => {} };
  const table = PageTable.create({ memory, frames, config: guest.paging });
  for (let gpa = 0; gpa < END; gpa += 2 * MiB) table.map2m(gvaOf(gpa), physAddr(gpa), PtePreset.Data);
  for (const vcpu of vcpus) vcpu.loadCr3(table.cr3);
  return table;
}
