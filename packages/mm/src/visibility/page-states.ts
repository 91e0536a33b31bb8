import { type AddressKind, PAGE_SIZE_2M, PageSize, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import type { RegionState } from '@svsm/sev-snp';

const LISTS = ['private', 'shared', 'lost'] as const;

/** The states of pages in the middle of a change: a `RegionState` as sets. */
export class PageStates {
  readonly private: RegionSet<VirtAddr>;
  readonly shared: RegionSet<VirtAddr>;
  readonly lost: RegionSet<VirtAddr>;
  /** The lost pages whose validation stands. */
  readonly validated: RegionSet<VirtAddr>;
  readonly #kind: AddressKind<VirtAddr>;

  constructor(kind: AddressKind<VirtAddr>) {
    this.#kind = kind;
    this.private = new RegionSet(kind);
    this.shared = new RegionSet(kind);
    this.lost = new RegionSet(kind);
    this.validated = new RegionSet(kind);
  }

  /** The states of a report. */
  static of(kind: AddressKind<VirtAddr>, state: RegionState): PageStates {
    const states = new PageStates(kind);
    for (const list of LISTS) for (const region of state[list]) states[list].add(region);
    for (const region of state.validated ?? []) states.validated.add(region);
    return states;
  }

  /** All pages. */
  get whole(): RegionSet<VirtAddr> {
    return this.private.union(this.shared).union(this.lost);
  }

  get isEmpty(): boolean {
    return LISTS.every((list) => this[list].isEmpty);
  }

  /** Whether all of `region` is in a list. */
  has(list: (typeof LISTS)[number], region: MemoryRegion<VirtAddr>): boolean {
    return this[list].containsRegion(region);
  }

  /** Adds the pages of others. */
  addAll(others: PageStates): void {
    for (const list of [...LISTS, 'validated'] as const)
      for (const region of others[list]) this[list].add(region);
  }

  /** The pages in some regions. */
  within(regions: Iterable<MemoryRegion<VirtAddr>>): PageStates {
    const bounds = new RegionSet(this.#kind, regions);
    return this.#each((set) => set.intersect(bounds));
  }

  /** All pages but those of one list. */
  without(list: (typeof LISTS)[number]): PageStates {
    const dropped = this[list];
    return this.#each((set) => set.subtract(dropped));
  }

  /** All pages, in one list. */
  allIn(list: 'private' | 'shared'): PageStates {
    const states = new PageStates(this.#kind);
    for (const region of this.whole) states[list].add(region);
    return states;
  }

  toState(): RegionState {
    const { lost, validated } = this;
    return {
      private: [...this.private],
      shared: [...this.shared],
      lost: [...lost],
      validated: [...validated.intersect(lost)],
    };
  }

  #each(change: (set: RegionSet<VirtAddr>) => RegionSet<VirtAddr>): PageStates {
    const states = new PageStates(this.#kind);
    for (const list of [...LISTS, 'validated'] as const)
      for (const region of change(this[list])) states[list].add(region);
    return states;
  }
}

/**
 * The pages of regions in the sizes in which they change: 2 MiB where a page of the table and the region allow it, else 4 KiB.
 * Ascending. O(units).
 */
export function unitsOf(
  table: PageTable,
  regions: Iterable<MemoryRegion<VirtAddr>>,
): MemoryRegion<VirtAddr>[] {
  const units: MemoryRegion<VirtAddr>[] = [];
  const huge = BigInt(PAGE_SIZE_2M);
  for (const { kind, start, end } of regions) {
    for (let at: bigint = start; at < end; ) {
      const isAligned = at % huge === 0n && end - at >= huge;
      const isHuge = isAligned && (table.lookup(at as VirtAddr)?.size ?? 0) >= PAGE_SIZE_2M;
      const unit = new MemoryRegion(kind, at as VirtAddr, isHuge ? PageSize.Huge : PageSize.Regular);
      units.push(unit);
      at = unit.end;
    }
  }
  return units;
}
