import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import {
  type Guest,
  HostileHypervisor,
  type MachineEvent,
  NestedTlb,
  pageStateOf,
  SnpMachine,
} from '@svsm/sev-snp';
import type { BootOptions } from '../../src/boot/boot-options.ts';
import type { Svsm } from '../../src/boot/svsm.ts';
import { forbidStale, watchedTlb } from './forbid-stale.ts';
import { MIB, mib } from './world.ts';

const FIRST: MemoryRegion<PhysAddr> = physRegion(physAddr(0), 8 * MIB - 0x6000);

/** The kinds of points at which something can fail. */
const POINTS = ['event', 'msr', 'page', 'pageState', 'fault', 'trace'] as const;
export type Point = (typeof POINTS)[number];

/** A point: the n-th of its kind, from 0. */
export interface Failure {
  readonly kind: Point;
  readonly n: number;
  /** Whether all later points of the kind fail too. */
  readonly forEver?: boolean;
}

/**
 * A small machine in which each instruction, exit, answer of the hypervisor and event of the memory management is a point that
 * can fail: an event throws, the answer in the MSR or the GHCB is a refusal, a page state is not changed, a nested fault stays.
 */
export class FailingWorld {
  readonly machine: SnpMachine;
  readonly hypervisor: HostileHypervisor;
  readonly guest: Guest;
  readonly options: BootOptions;
  readonly stale: string[] = [];
  /** The number of points that were passed, by kind, since the last {@link arm}. */
  readonly passed: Map<Point, number> = new Map();
  #failure: Failure | undefined;
  #isArmed = false;

  /** A guest of 12 MiB. Its SVSM has 4 MiB from 4 MiB on, of which the launch has not validated the last 6 pages. */
  constructor(options: Partial<BootOptions> = {}) {
    forbidStale(this.stale);
    this.machine = new SnpMachine({
      memorySize: 64 * MIB,
      hypervisor: (it) => new HostileHypervisor(it),
      trace: (event: MachineEvent) => {
        if (this.#fails('event')) throw new Error(`injected at ${event.type}`);
      },
    });
    this.hypervisor = this.machine.hypervisor as HostileHypervisor;
    const guest = this.hypervisor.launch({
      memory: [
        { region: FIRST, validated: true },
        { region: physRegion(physAddr(FIRST.end), 0x6000), validated: false },
        { region: mib(8, 4), validated: true },
      ],
    });
    this.guest = guest;
    this.hypervisor.answers = {
      msr: () => (this.#fails('msr') ? 0xfff_0000_0000n : undefined),
      page: () => (this.#fails('page') ? { info1: 0n, info2: 1n } : undefined),
      pageState: () => (this.#fails('pageState') ? 1 : undefined),
      fault: () => (this.#fails('fault') ? false : undefined),
    };
    this.options = {
      guest,
      memory: [[mib(0, 12), 'guest']],
      own: mib(4, 4),
      validated: [FIRST, mib(8, 4)],
      cpus: 2,
      trace: ({ type }) => {
        if (this.#fails('trace')) throw new Error(`injected at mm's ${type}`);
      },
      createVcpu: () =>
        guest.createVcpu({ vmpl: 0, tlb: watchedTlb(this.stale), nestedTlb: new NestedTlb() }),
      ...options,
    };
  }

  /** Counts points from now on, and makes one fail. */
  arm(failure?: Failure): void {
    this.passed.clear();
    this.#failure = failure;
    this.#isArmed = true;
  }

  /** Counts nothing, and makes nothing fail. */
  disarm(): void {
    this.#isArmed = false;
  }

  #fails(kind: Point): boolean {
    if (!this.#isArmed) return false;
    const at = this.passed.get(kind) ?? 0;
    this.passed.set(kind, at + 1);
    const failure = this.#failure;
    if (failure?.kind !== kind) return false;
    return failure.forEver === true ? at >= failure.n : at === failure.n;
  }

  /** The state of each page of the guest in the RMP, as runs. */
  rmpState(): string[] {
    const stateOf = (gpa: PhysAddr): string => {
      const nested = this.guest.nested.lookup(gpa);
      return nested === undefined ? 'none' : pageStateOf(this.machine.rmp.entry(nested.spa));
    };
    return runsOf(Array.from(mib(0, 12).iterPages(PAGE_SIZE), (gpa) => [gpa, stateOf(gpa)] as const));
  }

  /** The rights of the lower levels on each page of the guest that has a page of the host, as runs. */
  rights(): string[] {
    const masksOf = (gpa: PhysAddr): string => {
      const nested = this.guest.nested.lookup(gpa);
      const entry = nested === undefined ? undefined : this.machine.rmp.entry(nested.spa);
      return entry === undefined ? 'none' : entry.vmplMasks.slice(1).join();
    };
    return runsOf(Array.from(mib(0, 12).iterPages(PAGE_SIZE), (gpa) => [gpa, masksOf(gpa)] as const));
  }

  /** Everything that an operation must leave as it was if it fails. */
  stateOf(svsm: Svsm): Record<string, unknown> {
    const { pages, processors, kernel, cpus, validated, memoryMap } = svsm;
    return {
      rmp: this.rmpState(),
      record: [...validated].map(String),
      pages: JSON.stringify(pages.memoryInfo()),
      blocks: [...pages.blocks()].map(({ region }) => String(region)).length,
      kernel: [...kernel.leaves()].map(
        ({ vaddr, size, flags, shared }) => `${vaddr} ${size} ${flags & ~0x60} ${shared}`,
      ),
      tables: [kernel.countTables(), ...cpus.map(({ pageTable }) => pageTable.countTables())],
      cpus: cpus.map((cpu) => [
        cpu.apicId,
        cpu.temp4k.allocations,
        cpu.temp2m.allocations,
        cpu.part.countTables(),
        [...cpu.part.mappings()].length,
      ]),
      current: processors.thisCpu().apicId,
      map: [...memoryMap].map(String),
    };
  }
}

function runsOf(pages: readonly (readonly [bigint, string])[]): string[] {
  const runs: string[] = [];
  let last = '';
  for (const [gpa, state] of pages) {
    if (state !== last) runs.push(`${gpa.toString(16)} ${state}`);
    last = state;
  }
  return runs;
}

/** A point, the number of which is in `passed`, one after another. */
export function* failuresOf(passed: ReadonlyMap<Point, number>): Generator<Failure> {
  for (const [kind, count] of passed) for (let n = 0; n < count; n += 1) yield { kind, n };
}
