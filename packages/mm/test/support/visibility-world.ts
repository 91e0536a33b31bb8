/** A heap on several processors whose pages are shared and taken back. Each step of a change can fail. */
import { PAGE_SIZE, PageSize, Phys, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, RegionSet, virtRegion } from '@svsm/memory-region';
import { PageTable, PageTablePart, type PhysMemory, PtePreset, type Tlb } from '@svsm/pagetable';
import {
  Ghcb,
  type GhcbAnswer,
  type Guest,
  HostileHypervisor,
  type MachineEvent,
  NestedTlb,
  SnpMachine,
  type SysPhysAddr,
  ValidatedPages,
  type Vcpu,
} from '@svsm/sev-snp';
import { PageUses } from '../../src/cpu/page-uses.ts';
import { ShootDown } from '../../src/cpu/shoot-down.ts';
import type { MmEvent } from '../../src/formats/mm-event.ts';
import { DirectMap } from '../../src/layout/direct-map.ts';
import { PageVisibility } from '../../src/visibility/page-visibility.ts';
import { hookInstructions, type SteppingWorld } from './failing-steps.ts';
import { forbidStale, watchedTlb } from './forbid-stale.ts';

export const MiB = 1 << 20;
/** Root entry 511. GPA 0 is mapped here. */
const BASE = 0xffff_ff80_0000_0000n;
/** The heap starts at this GPA. */
export const HEAP = 4 * MiB;

export const gvaOf = (gpa: number): VirtAddr => virtAddr(BASE + BigInt(gpa));

/** The instructions of a processor that a change uses. */
const INSTRUCTIONS = ['read', 'write', 'clear', 'pvalidate', 'vmgexit'] as const;
/** A step: an instruction, an access to a page table, a frame for one, a flush, or an event of the machine. */
export type Step = (typeof INSTRUCTIONS)[number] | 'table' | 'frame' | 'shootdown' | 'event';

export interface Cpu {
  readonly vcpu: Vcpu;
  readonly tlb: Tlb;
  readonly pageTable: PageTable;
  readonly ghcb: Ghcb;
}

export interface VisibilityWorld extends SteppingWorld<Step> {
  readonly machine: SnpMachine;
  readonly host: HostileHypervisor;
  readonly guest: Guest;
  readonly cpus: readonly Cpu[];
  readonly kernel: PageTablePart;
  readonly pages: PageAllocator<VirtAddr>;
  readonly directMap: DirectMap;
  readonly validated: ValidatedPages;
  readonly uses: PageUses;
  readonly shootDown: ShootDown;
  readonly visibility: PageVisibility;
  readonly events: MmEvent[];
  /** The tables in use. */
  readonly frames: ReadonlySet<bigint>;
  /** The uses of stale translations. */
  readonly stale: string[];
  /** The processor on whose behalf code runs. */
  current: number;
  /** Called with each event of the machine. */
  onEvent: (event: MachineEvent) => void;
  /** The answer to the next exit through a GHCB. */
  answer: GhcbAnswer | undefined;
  /** The number of exits. */
  exits: number;
}

/** A world of `cpus` processors, with a heap of `mib` MiB in pages of 2 MiB. */
export function visibilityWorld({ cpus: count = 2, mib = 12 } = {}): VisibilityWorld {
  const hooks = {
    current: 0,
    exits: 0,
    before: (_: Step): unknown => undefined,
    after: (_: Step): void => {},
    onEvent: (_: MachineEvent): void => {},
    answer: undefined as GhcbAnswer | undefined,
  };
  const machine = new SnpMachine({
    memorySize: (mib + 32) * MiB,
    hypervisor: (it) => new HostileHypervisor(it),
    trace: (event: MachineEvent) => {
      if (event.type === 'vmgexit') hooks.exits += 1;
      hooks.onEvent(event);
      hooks.before('event');
    },
  });
  const host = machine.hypervisor as HostileHypervisor;
  const guest = host.launch({ size: HEAP + mib * MiB });
  host.answers = {
    page: () => {
      const { answer } = hooks;
      hooks.answer = undefined;
      return answer;
    },
  };
  const stale: string[] = [];
  forbidStale(stale);
  const vcpus = Array.from({ length: count }, () =>
    guest.createVcpu({ tlb: watchedTlb(stale), nestedTlb: new NestedTlb() }),
  );
  const { frames, inUse } = framesOf(hooks);
  const { memory } = vcpus[0]!;
  const hooked: PhysMemory = {
    epoch: Number.NaN,
    words: (number, write) => {
      hooks.before('table');
      return memory.words(number, write);
    },
    wordOffset: memory.wordOffset,
  };
  const source = { memory: hooked, frames, config: guest.paging };
  const kernel = PageTablePart.create(511, source);
  for (const gpa of guest.memory.iterPages(PageSize.Huge))
    kernel.map2m(virtAddr(BASE + gpa), gpa, PtePreset.Data);
  const shootDown = new ShootDown();
  const heap = physRegion(physAddr(HEAP), mib * MiB);
  const directMap = new DirectMap(virtRegion(gvaOf(HEAP), mib * MiB), heap);
  const validated = new ValidatedPages(guest.memory, guest.memory);
  const flush = (region: MemoryRegion<VirtAddr>, pageSize?: PageSize): void => {
    hooks.before('shootdown');
    shootDown.broadcast(region, pageSize);
    hooks.after('shootdown');
  };
  const cpus = vcpus.map((vcpu, index): Cpu => {
    const tlb = vcpu.tlb as Tlb;
    const pageTable = PageTable.create({ ...source, tlb });
    kernel.attach(pageTable);
    shootDown.add({ vcpu, tlb });
    vcpu.loadCr3(pageTable.cr3);
    const ghcb = Ghcb.create(vcpu, pageTable, gvaOf(2 * MiB + index * PAGE_SIZE), { validated, flush });
    return { vcpu, tlb, pageTable, ghcb };
  });
  for (const vcpu of vcpus) hookInstructions(vcpu, INSTRUCTIONS, hooks);
  const uses = new PageUses();
  const events: MmEvent[] = [];
  let visibility: PageVisibility | undefined;
  const pages = new PageAllocator(directMap.virt, {
    beforeFree: (block) => visibility?.requirePrivate(block),
  });
  const world = Object.assign(hooks, {
    ...{ machine, host, guest, cpus, kernel, pages, directMap, validated, uses, shootDown, events, stale },
    frames: inUse,
  });
  const cpu = (): Cpu => cpus[world.current]!;
  const trace = (event: MmEvent): void => void events.push(event);
  visibility = new PageVisibility({ guest, pages, directMap, cpu, validated, flush, uses, trace });
  return Object.assign(world, { visibility });
}

type Hooks = SteppingWorld<Step>;

/** Frames of page tables: the pages from GPA 1 MiB on, those that came back first. */
function framesOf(hooks: Hooks) {
  const inUse = new Set<bigint>();
  const free: PhysAddr[] = Array.from({ length: 200 }, (_, k) => physAddr(MiB + (199 - k) * PAGE_SIZE));
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

/** Runs without hooks. */
export function quietly<T>(it: VisibilityWorld, run: () => T): T {
  const { before, after, answer } = it;
  it.before = () => undefined;
  it.after = () => {};
  it.answer = undefined;
  try {
    return run();
  } finally {
    Object.assign(it, { before, after, answer });
  }
}

export function spaOf({ guest }: VisibilityWorld, gpa: bigint): SysPhysAddr {
  return guest.nested.lookup(gpa as PhysAddr)!.spa;
}

/** The pages of a set, by number. */
const pagesOf = (set: Iterable<MemoryRegion<PhysAddr> | MemoryRegion<VirtAddr>>): Set<bigint> =>
  new Set(
    Array.from(set, ({ start, end }) =>
      Array.from({ length: Number((end - start) / 4096n) }, (_, k) => start + 4096n * BigInt(k)),
    ).flat(),
  );

/**
 * Law 1: each page of the heap is exactly one of private and validated, shared and allocated, or lost and allocated; and the
 * records have what the RMP and the page tables have. Returns what contradicts it.
 */
export function brokenLaw(it: VisibilityWorld, looked = everyPage(it)): string | undefined {
  const { visibility, directMap, validated, pages, machine, cpus } = it;
  const lost = pagesOf(visibility.lost);
  const shared = pagesOf(visibility.sharedIn(directMap.virt));
  for (const gpa of looked) {
    const gva = directMap.toVirt(gpa);
    const name = `GPA 0x${gpa.toString(16)}`;
    const isAllocated = pages.blockOf(gva)!.state === 'allocated';
    const isShared = shared.has(gva);
    const mapped = cpus.map(({ pageTable }) => pageTable.lookup(gva)?.shared);
    if (lost.has(gpa)) {
      if (isShared || !isAllocated) return `${name} is lost, and ${isShared ? 'shared' : 'free'}`;
      continue;
    }
    const entry = machine.rmp.entry(spaOf(it, gpa))!;
    if (isShared !== visibility.isShared(gva)) return `${name}: sharedIn and isShared differ`;
    if (mapped.some((is) => is !== isShared))
      return `${name}: is mapped ${mapped.join()}, shared ${isShared}`;
    if (validated.has(gpa) === isShared) return `${name}: shared ${isShared}, and in the record ${!isShared}`;
    if (isShared && !isAllocated) return `${name} is shared and free`;
    if (isShared ? entry.assigned : !(entry.assigned && entry.validated))
      return `${name}: shared ${isShared}, and in the RMP assigned ${entry.assigned}, validated ${entry.validated}`;
  }
  return undefined;
}

/** All pages of the heap. */
export function everyPage({ directMap }: VisibilityWorld): PhysAddr[] {
  return [...directMap.phys.iterPages(PageSize.Regular)];
}

/** The pages at the edges of regions, those next to them, and one of 16 others: a change treats the others as one of these. */
export function somePages(it: VisibilityWorld, ...regions: readonly MemoryRegion<VirtAddr>[]): PhysAddr[] {
  const edges = regions.flatMap(({ start, end }) =>
    [start, end].map((at) => it.directMap.toPhys(start) + (at - start)),
  );
  return everyPage(it).filter(
    (gpa) => (gpa >> 12n) % 64n === 3n || edges.some((edge) => gpa >= edge - 0x4000n && gpa < edge + 0x4000n),
  );
}

/** Law 2: all processors read all pages that are not lost, and no translation is stale. Returns the stale uses. */
export function staleUses(it: VisibilityWorld, looked = everyPage(it)): string[] {
  it.stale.length = 0;
  const lost = it.visibility.lost;
  for (const { vcpu } of it.cpus)
    for (const gpa of looked) if (!lost.contains(gpa)) vcpu.read(it.directMap.toVirt(gpa), 1);
  return it.stale;
}

/** The bytes of DRAM of the heap, as the host sees them. */
export function hostView(
  it: VisibilityWorld,
  region: MemoryRegion<PhysAddr> = it.directMap.phys,
): Uint8Array[] {
  return Array.from(region.iterPages(PageSize.Regular), (gpa) => it.host.read(spaOf(it, gpa), PAGE_SIZE));
}

/** Everything that a change must not leave behind. */
export function pictureOf(it: VisibilityWorld): string {
  const { kernel, cpus, frames, pages, visibility, validated, directMap } = it;
  return JSON.stringify({
    tables: [kernel.countTables(), ...cpus.map(({ pageTable }) => pageTable.countTables()), frames.size],
    mappings: Array.from(
      kernel.mappings({ within: directMap.virt }),
      ({ region, shared, pageSize }) => `${region} ${shared} ${pageSize}`,
    ),
    blocks: Array.from(pages.blocks(), ({ region, state }) => `${region} ${state}`),
    shared: visibility.sharedIn(directMap.virt).map(String),
    lost: String(visibility.lost),
    validated: String(new RegionSet(Phys, validated)),
  });
}
