import { PAGE_SIZE_1G, PAGE_SIZE_2M, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { isSnpError, PageOperation, SvsmResult } from '@svsm/sev-snp';
import { entryOf, Os } from './os.ts';
import { bootWorld, HOLE, OWN, type World } from './world.ts';

/** A step of the guest: its time, and what happened meanwhile. */
export interface StepRow {
  readonly step: string;
  /** The number of entries of its lists: pages of 2 MiB. */
  readonly entries: number;
  readonly ms: number;
  readonly usPerEntry: number;
  /** VMGEXITs for page state changes, and calls of the SVSM; of these, the ones that were INCOMPLETE. */
  readonly stateChanges: number;
  readonly calls: number;
  readonly incomplete: number;
  /** Flushes of the SVSM's own addresses on one processor, and of the guest on all of them. */
  readonly ownFlushes: number;
  readonly guestFlushes: number;
  /** The instructions and exits of the machine, by name. */
  readonly events: Readonly<Record<string, number>>;
}

/** A request that must be refused: the result, and the index of the entry in its list. */
interface RefusalRow {
  readonly what: string;
  readonly result: string;
  readonly entry: number | undefined;
}

/** The report on a guest that validates its memory. */
export interface StoryReport {
  readonly gib: number;
  readonly steps: readonly StepRow[];
  /** Validated memory, by the record of the SVSM, after the launch and after each step. */
  readonly validatedMib: readonly number[];
  /** The first byte of the last page: before the guest writes to it, and after. */
  readonly readBack: readonly number[];
  readonly refusals: readonly RefusalRow[];
}

const MIB = 1024 * 1024;

/** Lets a guest of `gib` GiB validate its memory, give some of it back, and ask for what must be refused. */
export function tellStory(gib: number): StoryReport {
  const world = bootWorld(gib);
  const { svsm, unaccepted } = world;
  const os = new Os(world);
  const last = unaccepted.at(-1) as MemoryRegion<PhysAddr>;
  const returned = physRegion(last.start, PAGE_SIZE_1G);
  const validatedMib = [Number(svsm.validated.size) / MIB];
  const steps: StepRow[] = [];
  const run = (
    step: string,
    regions: readonly MemoryRegion<PhysAddr>[],
    act: (region: MemoryRegion<PhysAddr>) => number,
  ): void => {
    steps.push(measured(world, step, regions, act));
    validatedMib.push(Number(svsm.validated.size) / MIB);
  };
  const pvalidate =
    (validate: boolean) =>
    (region: MemoryRegion<PhysAddr>): number => {
      os.pvalidate(region, validate);
      return 0;
    };
  run('make it private', unaccepted, (region) => os.changeState(region, PageOperation.Private));
  run('validate it', unaccepted, pvalidate(true));
  const readBack = useLastPage(os, last);
  run('rescind 1 GiB', [returned], pvalidate(false));
  run('share 1 GiB', [returned], (region) => os.changeState(region, PageOperation.Shared));
  return { gib, steps, validatedMib, readBack, refusals: refusalsOf(world, os, last, returned) };
}

/** Runs a step for each region. `act` returns the number of page state changes. */
function measured(
  { svsm, events, calls }: World,
  step: string,
  regions: readonly MemoryRegion<PhysAddr>[],
  act: (region: MemoryRegion<PhysAddr>) => number,
): StepRow {
  const entries = regions.reduce((sum, region) => sum + region.pageCount(PAGE_SIZE_2M), 0);
  const { shootDown } = svsm.processors;
  const before = { ...calls, own: shootDown.counts.local, events: new Map(events) };
  const counted = (type: string): number => (events.get(type) ?? 0) - (before.events.get(type) ?? 0);
  const own = shootDown.counts.instructions;
  const started = performance.now();
  let stateChanges = 0;
  for (const region of regions) stateChanges += act(region);
  const ms = performance.now() - started;
  const changed = [...events.keys()].map((type) => [type, counted(type)] as const);
  return {
    step,
    entries,
    ms,
    usPerEntry: (ms * 1000) / entries,
    stateChanges,
    calls: calls.all - before.all,
    incomplete: calls.incomplete - before.incomplete,
    ownFlushes: shootDown.counts.local - before.own,
    guestFlushes: counted('flush') - (shootDown.counts.instructions - own),
    events: Object.fromEntries(changed.filter(([, count]) => count > 0)),
  };
}

/** Reads the last page of a region, writes to it, and reads it again. */
function useLastPage(os: Os, region: MemoryRegion<PhysAddr>): number[] {
  const gva = os.map(physAddr(region.end - BigInt(PAGE_SIZE_2M)));
  const [before] = os.vcpu.read(gva, 1);
  os.vcpu.write(gva, Uint8Array.of(0x5a));
  const [after] = os.vcpu.read(gva, 1);
  return [before!, after!];
}

/** Requests that must be refused, each after an entry that is fine. */
function refusalsOf(
  world: World,
  os: Os,
  memory: MemoryRegion<PhysAddr>,
  returned: MemoryRegion<PhysAddr>,
): RefusalRow[] {
  const { hypervisor, guest } = world;
  const small = (gpa: bigint) => entryOf(physAddr(gpa), PageSize.Regular, true);
  const huge = (gpa: bigint) => entryOf(physAddr(gpa), PageSize.Huge, true);
  const top = memory.end - BigInt(PAGE_SIZE_2M);
  // 2 MiB that are private again, and validated in pages of 4 KiB: the first entry of each list.
  os.changeState(physRegion(returned.start, PAGE_SIZE_2M), PageOperation.Private);
  let fine: bigint = returned.start;
  const refused = (what: string, entry: ReturnType<typeof huge>): RefusalRow => {
    const list = [small(fine), entry];
    fine += BigInt(PageSize.Regular);
    return { what, ...refusalOf(() => os.call(list)) };
  };
  const rows = [
    refused('a page that is validated already', huge(top)),
    refused('a page of the SVSM', huge(OWN.start)),
    refused('an address in the hole', huge(HOLE.start)),
    refused('2 MiB at an address for 4 KiB', huge(top + BigInt(PageSize.Regular))),
    refused('a page that the hypervisor keeps', huge(returned.end - BigInt(PAGE_SIZE_2M))),
  ];
  hypervisor.substitute(guest, physAddr(top));
  rows.push(refused('a page that the hypervisor has replaced', huge(top)));
  return rows;
}

/** The result of a request by its name, and the entry at which it was refused. */
function refusalOf(request: () => void): Omit<RefusalRow, 'what'> {
  try {
    request();
    return { result: 'Success', entry: undefined };
  } catch (error) {
    if (!isSnpError(error, 'SVSM_REFUSED')) throw error;
    const { result, entry } = error.details;
    const name = Object.entries(SvsmResult).find(([, value]) => value === result)?.[0];
    return { result: name ?? `0x${result.toString(16)}`, entry };
  }
}
