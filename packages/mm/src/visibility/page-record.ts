import type { AddressKind, VirtAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { MmError } from '../formats/mm-error.ts';
import { PageStates } from './page-states.ts';

/** The state of a page. `changing`: a call changes it at the moment. */
export type PageVisibilityState = 'private' | 'shared' | 'lost' | 'changing';

/**
 * The states of pages, by virtual address. A page in no set is private. The record says what has been done: a page is in a set
 * after it has got there.
 */
export class PageRecord {
  readonly shared: RegionSet<VirtAddr>;
  readonly lost: RegionSet<VirtAddr>;
  /** The lost pages whose validation PVALIDATE could not rescind. */
  readonly validated: RegionSet<VirtAddr>;
  readonly #changing: RegionSet<VirtAddr>;
  readonly #kind: AddressKind<VirtAddr>;

  constructor(kind: AddressKind<VirtAddr>) {
    this.#kind = kind;
    this.shared = new RegionSet(kind);
    this.lost = new RegionSet(kind);
    this.validated = new RegionSet(kind);
    this.#changing = new RegionSet(kind);
  }

  /** The state of the page of `vaddr`. O(log n). */
  stateOf(vaddr: VirtAddr): PageVisibilityState {
    if (this.#changing.contains(vaddr)) return 'changing';
    if (this.lost.contains(vaddr)) return 'lost';
    return this.shared.contains(vaddr) ? 'shared' : 'private';
  }

  /** Whether all pages of a region are private, and no call changes one. O(log n). */
  isPrivate(region: MemoryRegion<VirtAddr>): boolean {
    return ![this.#changing, this.lost, this.shared].some((set) => set.overlaps(region));
  }

  /** Checks that all pages of a region are in a state. O(log n + parts). @throws MmError `WRONG_VISIBILITY` */
  require(region: MemoryRegion<VirtAddr>, expected: 'private' | 'shared'): void {
    const wrong: VirtAddr[] = [];
    const others = expected === 'private' ? [this.shared] : [];
    for (const set of [this.#changing, this.lost, ...others])
      for (const part of set.overlapping(region))
        wrong.push(part.start > region.start ? part.start : region.start);
    if (expected === 'shared') for (const gap of this.shared.gaps(region)) wrong.push(gap.start);
    const vaddr = wrong.sort((a, b) => (a < b ? -1 : 1))[0];
    if (vaddr !== undefined)
      throw new MmError('WRONG_VISIBILITY', { vaddr, expected, found: this.stateOf(vaddr) });
  }

  /** Runs `run` while the pages of a region are `changing`. They must not be so yet. */
  whileChanging<T>(region: MemoryRegion<VirtAddr>, run: () => T): T {
    this.#changing.add(region);
    try {
      return run();
    } finally {
      this.#changing.remove(region);
    }
  }

  /** The lost pages, as the states of a change. */
  lostStates(): PageStates {
    const states = new PageStates(this.#kind);
    for (const region of this.lost) states.lost.add(region);
    for (const region of this.validated) states.validated.add(region);
    return states;
  }

  /** Notes that pages are shared. */
  share(region: MemoryRegion<VirtAddr>): void {
    this.shared.add(region);
  }

  /** Notes that pages are private and validated. */
  settle(region: MemoryRegion<VirtAddr>): void {
    for (const set of [this.shared, this.lost, this.validated]) set.remove(region);
  }

  /** Notes that pages are lost, and whether their validation stands. */
  lose(region: MemoryRegion<VirtAddr>, validated: RegionSet<VirtAddr>): void {
    this.shared.remove(region);
    this.lost.add(region);
    this.validated.remove(region);
    for (const part of validated.overlapping(region))
      this.validated.add(part.intersect(region) as MemoryRegion<VirtAddr>);
  }
}
