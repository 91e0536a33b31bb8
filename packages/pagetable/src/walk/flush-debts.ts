import type { AddressKind, VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import { raw } from '../entry/words.ts';
import type { HeldEntry } from './tlb-space.ts';

/** The scope of a change that concerns every PCID. */
export const ALL_PCIDS = -1;

/** The most separate regions that are noted, shared by the scopes that have some: with more, everything is due. */
const MAX_REGIONS = 1024;

/** Pages that are due for a scope, and that follow each other. */
interface Run {
  scope: number;
  first: number;
  end: number;
}

/**
 * The pages whose translations have changed and were not flushed since, for each PCID and for all of them. Pages are numbered
 * from address 0.
 *
 * A TLB that nobody flushes has a few thousand separate regions here at most: 1024 with one scope, and fewer for each of
 * several. With more, the whole address space is due: kernels flush everything much earlier.
 */
export class FlushDebts {
  readonly #kind: AddressKind<VirtAddr>;
  readonly #byScope: Map<number, RegionSet<VirtAddr>> = new Map();
  /**
   * The last runs of pages, which the next change often continues. They are in no set yet. There are two: with a self-map, a
   * change of a large page concerns its addresses and those of its entry.
   */
  readonly #runs: readonly [Run, Run] = [emptyRun(), emptyRun()];
  /** The index of the run that was begun first. */
  #oldest: 0 | 1 = 0;

  constructor(kind: AddressKind<VirtAddr>) {
    this.#kind = kind;
  }

  /** Notes that the pages `first` to `end` must be flushed for `scope`. O(1) for pages that continue one of two runs; else O(log n). */
  add(first: number, end: number, scope: number): void {
    for (const run of this.#runs) {
      if (scope !== run.scope || first < run.first || first > run.end) continue;
      run.end = Math.max(run.end, end);
      return;
    }
    const run = this.#runs[this.#oldest];
    this.#oldest = this.#oldest === 0 ? 1 : 0;
    this.#storeRun(run);
    run.scope = scope;
    run.first = first;
    run.end = end;
  }

  /** The regions that are due: by scope, in the order in which each was first used, ascending. */
  get regions(): MemoryRegion<VirtAddr>[] {
    this.#store();
    return [...this.#byScope.values()].flatMap((set) => [...set]);
  }

  /** The number of bytes that are due. */
  get bytes(): bigint {
    return this.regions.reduce((sum, { size }) => sum + size, 0n);
  }

  /** The regions that are due, with their scopes. */
  *entries(): Generator<[region: MemoryRegion<VirtAddr>, scope: number], void, undefined> {
    this.#store();
    for (const [scope, set] of this.#byScope) for (const region of set) yield [region, scope];
  }

  /** Notes that one page was flushed for `scope`. */
  pay(page: number, scope: number): void {
    for (const run of this.#runs)
      if (scope === run.scope && page >= run.first && page < run.end) this.#payIn(run, page);
    const due = this.#byScope.get(scope);
    if (due !== undefined && !due.isEmpty) due.remove(this.#regionOf(page, page + 1));
  }

  /** Takes a page out of a run: a page inside of it splits the run, whose parts go into the set. */
  #payIn(run: Run, page: number): void {
    if (page === run.end - 1) run.end = page;
    else if (page === run.first) run.first = page + 1;
    else this.#storeRun(run);
  }

  /** Keeps, of one scope, what overlaps one of these entries. */
  reduceTo(entries: Iterable<HeldEntry>, scope: number): void {
    this.#store();
    const due = this.#byScope.get(scope);
    if (due === undefined) return;
    const rest = new RegionSet(this.#kind);
    for (const { region } of entries) {
      for (const part of due.overlapping(region)) rest.add(part.intersect(region) ?? part);
    }
    if (rest.isEmpty) this.#byScope.delete(scope);
    else this.#byScope.set(scope, rest);
  }

  /** As {@link reduceTo}, of the pages `first` to `end`. The entries are those that overlap these pages. */
  reduceWithin(first: number, end: number, entries: Iterable<HeldEntry>, scope: number): void {
    this.#store();
    const due = this.#byScope.get(scope);
    if (due === undefined) return;
    const rest: MemoryRegion<VirtAddr>[] = [];
    for (const { region } of entries) {
      for (const part of due.overlapping(region)) rest.push(part.intersect(region) ?? part);
    }
    due.remove(this.#regionOf(first, end));
    for (const part of rest) due.add(part);
    if (due.isEmpty) this.#byScope.delete(scope);
  }

  /** Every scope that has something due. */
  get scopes(): number[] {
    this.#store();
    return [...this.#byScope.keys()];
  }

  clear(): void {
    this.#byScope.clear();
    for (const run of this.#runs) run.end = run.first;
  }

  /** Puts the last runs into their sets. */
  #store(): void {
    for (const run of this.#runs) this.#storeRun(run);
  }

  #storeRun(run: Run): void {
    const { scope, first, end } = run;
    if (first === end) return;
    const set = this.#byScope.get(scope) ?? new RegionSet(this.#kind);
    this.#byScope.set(scope, set.add(this.#regionOf(first, end)));
    run.end = first;
    if (set.regionCount > Math.max(1, MAX_REGIONS / this.#byScope.size))
      this.#byScope.set(scope, new RegionSet(this.#kind, halvesOf(this.#kind)));
  }

  #regionOf(first: number, end: number): MemoryRegion<VirtAddr> {
    const start = raw((first % 0x10_0000) << 12, Math.floor(first / 0x10_0000)) as VirtAddr;
    return MemoryRegion.unchecked(this.#kind, start, BigInt(end - first) * 4096n);
  }
}

function emptyRun(): Run {
  return { scope: ALL_PCIDS, first: 0, end: 0 };
}

/** The whole space: below the non-canonical hole, and above it. */
function halvesOf(kind: AddressKind<VirtAddr>): MemoryRegion<VirtAddr>[] {
  const lowerEnd = kind.runEnd(0n as VirtAddr);
  // Virtual addresses always have a hole.
  const upper = kind.hole!.end;
  return [
    MemoryRegion.unchecked(kind, 0n as VirtAddr, lowerEnd),
    MemoryRegion.unchecked(kind, upper as VirtAddr, kind.end - upper),
  ];
}
