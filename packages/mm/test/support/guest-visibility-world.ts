/** A guest at VMPL2, above an SVSM that serves it, that shares its own pages. Each step on both sides can fail. */
import {
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  physAddr,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { PageTable, type PhysMemory, PtePreset } from '@svsm/pagetable';
import {
  type CallingArea,
  Ghcb,
  type GhcbAnswer,
  isSnpError,
  NestedTlb,
  querySvsmProtocol,
  svsmValidator,
  type Vcpu,
  Vmpl,
  VmplPermission,
} from '@svsm/sev-snp';
import { ShootDown } from '../../src/cpu/shoot-down.ts';
import { GuestVisibility } from '../../src/visibility/guest-visibility.ts';
import { hookInstructions, type SteppingWorld } from './failing-steps.ts';
import { watchedTlb } from './forbid-stale.ts';
import { bootWorld, MIB, mib, type World } from './world.ts';

/** The memory that the SVSM gives the guest. The first 2 MiB are its tables, its calling area and its GHCB. */
const START = 8 * MIB;
const END = 16 * MIB;
const BASE = 0xffff_8000_0000_0000n;
const gvaOf = (gpa: number): VirtAddr => virtAddr(BASE + BigInt(gpa));
const gpaOf = (gva: bigint): PhysAddr => physAddr(gva - BASE);

/** Three pages of 4 KiB, of a page of 2 MiB that the region cuts, and then one of 2 MiB. */
export const REGION: MemoryRegion<VirtAddr> = virtRegion(
  gvaOf(12 * MIB - 3 * PAGE_SIZE),
  2 * MIB + 3 * PAGE_SIZE,
);
/** Eight pages of 4 KiB. */
export const SMALL: MemoryRegion<VirtAddr> = virtRegion(gvaOf(11 * MIB), 8 * PAGE_SIZE);

const GUEST_STEPS = ['read', 'write', 'clear', 'exchange', 'vmgexit'] as const;
const SVSM_STEPS = ['read', 'write', 'clear', 'pvalidate', 'rmpadjust', 'rmpquery', 'invlpgb'] as const;

/** A step: an instruction of the guest or of the SVSM, a use of the guest's tables, a flush, or an event of the machine. */
export type GuestStep =
  | (typeof GUEST_STEPS)[number]
  | `svsm ${(typeof SVSM_STEPS)[number]}`
  | 'table'
  | 'frame'
  | 'shootdown'
  | 'event';

export interface GuestVisibilityWorld extends SteppingWorld<GuestStep>, World {
  readonly svsm: ReturnType<typeof bootWorld>['svsm'];
  readonly vcpu: Vcpu;
  readonly table: PageTable;
  readonly area: CallingArea;
  readonly visibility: GuestVisibility;
  /** The tables of the guest in use. */
  readonly frames: ReadonlySet<bigint>;
  /** The answer to the next exit through the GHCB. */
  answer: GhcbAnswer | undefined;
}

/** @param entriesPerCall - how many entries of a list the SVSM processes in a call */
export function guestVisibilityWorld(entriesPerCall?: number): GuestVisibilityWorld {
  const world = bootWorld({
    memory: [[mib(0, 16), 'guest']],
    own: mib(4, 4),
    size: 16 * MIB,
    ...(entriesPerCall === undefined ? {} : { entriesPerCall }),
  });
  const { svsm, guest, hypervisor, hook, stale } = world;
  svsm.launchFirmware([mib(8, 8)], Vmpl.Vmpl2);
  const hooks = {
    before: (_: GuestStep): unknown => undefined,
    after: (_: GuestStep): void => {},
    answer: undefined as GhcbAnswer | undefined,
  };
  hook.onEvent = () => void hooks.before('event');
  hypervisor.answers = {
    page: () => {
      const { answer } = hooks;
      hooks.answer = undefined;
      return answer;
    },
  };
  const tlb = watchedTlb(stale);
  const vcpu = guest.createVcpu({ vmpl: Vmpl.Vmpl2, tlb, nestedTlb: new NestedTlb() });
  const { frames, inUse } = framesOf(hooks);
  const memory: PhysMemory = {
    epoch: Number.NaN,
    words: (number, write) => {
      hooks.before('table');
      return vcpu.memory.words(number, write);
    },
    wordOffset: vcpu.memory.wordOffset,
  };
  const table = PageTable.create({ memory, frames, config: guest.paging, tlb });
  for (let gpa = START; gpa < END; gpa += PAGE_SIZE_2M)
    table.map2m(gvaOf(gpa), physAddr(gpa), PtePreset.Data);
  vcpu.loadCr3(table.cr3);
  const area = { gva: gvaOf(9 * MIB), gpa: physAddr(9 * MIB) };
  svsm.service.register(vcpu, area.gpa);
  const ghcb = Ghcb.create(vcpu, table, gvaOf(9 * MIB + PAGE_SIZE), { validator: svsmValidator(area) });
  const shootDown = new ShootDown();
  const flush = (region: MemoryRegion<VirtAddr>, pageSize?: PageSize): void => {
    hooks.before('shootdown');
    shootDown.local({ vcpu }, region, pageSize === PageSize.Huge ? pageSize : PageSize.Regular);
    hooks.after('shootdown');
  };
  hookInstructions<GuestStep>(vcpu, GUEST_STEPS, hooks);
  hookInstructions<GuestStep>(svsm.thisCpu().vcpu, SVSM_STEPS, hooks, 'svsm ');
  const visibility = new GuestVisibility(vcpu, table, ghcb, area, { flush });
  return Object.assign(hooks, { ...world, vcpu, table, area, visibility, frames: inUse });
}

/** Frames of the guest's tables: the first pages of its memory. */
function framesOf(hooks: SteppingWorld<GuestStep>) {
  const inUse = new Set<bigint>();
  const free: PhysAddr[] = Array.from({ length: 64 }, (_, k) => physAddr(START + (63 - k) * PAGE_SIZE));
  const frames = {
    allocateFrame: () => {
      hooks.before('frame');
      const frame = free.pop();
      if (frame === undefined) throw new Error('no frame left');
      inUse.add(frame);
      return frame;
    },
    freeFrame: (frame: PhysAddr) => {
      if (!inUse.delete(frame)) throw new Error('the frame is free');
      free.push(frame);
    },
  };
  return { frames, inUse };
}

/** Whether the SVSM has stopped the processor, as it does if it cannot deliver a result. */
export function isStopped({ vcpu, area }: GuestVisibilityWorld): boolean {
  try {
    querySvsmProtocol(vcpu, area, 0, 1);
    return false;
  } catch (error) {
    if (isSnpError(error, 'SVSM_NOT_RUN')) return true;
    throw error;
  }
}

/** The pages at the edges of the regions, and some others. */
const LOOKED: readonly bigint[] = [
  ...[REGION.start - 0x1000n, REGION.start, REGION.start + 0x2000n, REGION.start + 0x3000n],
  ...[REGION.start + 0x4000n, REGION.end - 0x1000n, REGION.end],
  ...[SMALL.start - 0x1000n, ...SMALL.iterPages(PageSize.Regular), SMALL.end as bigint],
];

/**
 * Each page is exactly one of private, validated and the guest's; shared; or lost. The record of the SVSM has what the RMP has, for
 * all of them. Returns what contradicts it.
 */
export function brokenGuestLaw(it: GuestVisibilityWorld): string | undefined {
  const { svsm, guest, machine, table, visibility, vcpu, stale } = it;
  const { lost } = visibility;
  for (const at of LOOKED) {
    const gva = virtAddr(at);
    const gpa = gpaOf(at);
    const name = `GPA 0x${gpa.toString(16)}`;
    const { assigned, validated, vmplMasks } = machine.rmp.entry(guest.nested.lookup(gpa)!.spa)!;
    if (svsm.validated.has(gpa) !== validated)
      return `${name}: validated ${validated} in the RMP, and ${!validated} in the record of the SVSM`;
    if (lost.contains(gva)) continue;
    const shared = visibility.isShared(gva);
    if (table.lookup(gva)?.shared !== shared) return `${name}: shared ${shared}, and mapped ${!shared}`;
    if (assigned === shared || validated === shared)
      return `${name}: shared ${shared}, and in the RMP assigned ${assigned}, validated ${validated}`;
    if (!shared && (vmplMasks[Vmpl.Vmpl2]! & VmplPermission.Rwx) !== VmplPermission.Rwx)
      return `${name}: the guest has no rights`;
    vcpu.read(gva, 1);
  }
  if (stale.length > 0) return `stale: ${stale.join()}`;
  return undefined;
}

/** Everything that a change must not leave behind. */
export function guestPictureOf({ table, frames, svsm, visibility }: GuestVisibilityWorld): string {
  const { pages, cpus, kernel, validated } = svsm;
  return JSON.stringify({
    tables: [table.countTables(), frames.size, kernel.countTables()],
    mappings: Array.from(
      table.mappings(),
      ({ region, shared, pageSize }) => `${region} ${shared} ${pageSize}`,
    ),
    shared: [...REGION.iterPages(PageSize.Regular)].some((page) => visibility.isShared(page)),
    lost: String(visibility.lost),
    validated: [...validated].map(String),
    svsm: [
      pages.memoryInfo(),
      cpus.map(({ temp4k, temp2m, part }) => [
        temp4k.allocations,
        temp2m.allocations,
        [...part.leaves()].length,
      ]),
    ],
  });
}

/** The first bytes of a page in DRAM, as the hypervisor sees them. */
export function hostBytes(
  { guest, hypervisor }: GuestVisibilityWorld,
  at: bigint,
  length: number,
): Uint8Array {
  return hypervisor.read(guest.nested.lookup(gpaOf(at))!.spa, length);
}
