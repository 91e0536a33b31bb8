import { type AddressKind, PAGE_SIZE, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import { requireOptions } from '../formats/options.ts';
import { SnpError } from '../formats/snp-error.ts';
import { arrayOf } from './argument-checks.ts';
import { virtRegionOf } from './virt-kind.ts';

/**
 * The state of each page of a region: whole 4 KiB pages, each in one of the first three lists. The `details` of
 * `REGION_CHANGE_FAILED` are a state.
 */
export interface RegionState {
  /** Pages that are validated and mapped private. */
  readonly private: readonly MemoryRegion<VirtAddr>[];
  /** Pages that the hypervisor has taken, by its own report; mapped shared, or still private after `releaseRegion`. */
  readonly shared: readonly MemoryRegion<VirtAddr>[];
  /** Pages that are in neither state. Do not use them: accesses can fault, and translations can be stale. */
  readonly lost: readonly MemoryRegion<VirtAddr>[];
  /**
   * The pages of `lost` whose validation stands: PVALIDATE could not rescind it, because the hypervisor hides the page, or
   * has put another one there. If the guest has a record, that decides.
   */
  readonly validated?: readonly MemoryRegion<VirtAddr>[] | undefined;
}

/** One of the lists of a {@link RegionState}. */
export type RegionList = 'private' | 'shared' | 'lost';

const LISTS: readonly RegionList[] = ['private', 'shared', 'lost'];

/** A copy of one of the lists. @throws SnpError `INVALID_ARGUMENT`; RegionError if an element is not a region */
function regionsOf(
  kind: AddressKind<VirtAddr>,
  name: string,
  list: readonly MemoryRegion<VirtAddr>[],
): readonly MemoryRegion<VirtAddr>[] {
  return arrayOf(`the list ${name} of a region`, list).map((region) => virtRegionOf(kind, region));
}

/** The state of the pages of a region while they change. */
export class RegionTracker {
  /** All pages of the region. */
  readonly whole: RegionSet<VirtAddr>;
  /** The pages whose validation stands: private pages, and some of the lost ones. */
  readonly validated: RegionSet<VirtAddr>;
  readonly #lists: Readonly<Record<RegionList, RegionSet<VirtAddr>>>;

  /** @throws SnpError `INVALID_ARGUMENT` if a region is not made of whole pages, or a page is in two lists */
  constructor(kind: AddressKind<VirtAddr>, state: RegionState) {
    this.whole = new RegionSet(kind);
    this.#lists = { private: new RegionSet(kind), shared: new RegionSet(kind), lost: new RegionSet(kind) };
    requireOptions('the state of a region', state, [...LISTS, 'validated', 'to']);
    for (const list of LISTS) {
      for (const region of regionsOf(kind, list, state[list])) this.#lists[list].add(this.#take(region));
    }
    this.validated = new RegionSet(kind, this.#lists.private);
    if (state.validated === undefined) return;
    const stands = new RegionSet(kind, regionsOf(kind, 'validated', state.validated));
    for (const region of this.#lists.lost.intersect(stands)) this.validated.add(region);
  }

  /** Whether all of `region` is in a list. O(log n). */
  has(list: RegionList, region: MemoryRegion<VirtAddr>): boolean {
    return this.#lists[list].containsRegion(region);
  }

  /** The parts of `region` that are in a list. O(log n + parts). */
  partsIn(list: RegionList, region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr>[] {
    return partsOf(this.#lists[list], region);
  }

  /** Puts `region` into a list, and takes it out of the others. */
  put(list: RegionList, region: MemoryRegion<VirtAddr>): void {
    for (const other of LISTS) if (other !== list) this.#lists[other].remove(region);
    this.#lists[list].add(region);
  }

  /** The state as it is now. */
  toState(): RegionState & { readonly validated: readonly MemoryRegion<VirtAddr>[] } {
    const { private: own, shared, lost } = this.#lists;
    const stands = lost.intersect(this.validated);
    return { private: [...own], shared: [...shared], lost: [...lost], validated: [...stands] };
  }

  #take(region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr> {
    const isWhole = region.start % BigInt(PAGE_SIZE) === 0n && region.end % BigInt(PAGE_SIZE) === 0n;
    if (!isWhole || this.whole.overlaps(region)) {
      const expected = isWhole ? 'pass each page once' : 'pass whole pages of 4096 bytes';
      throw new SnpError('INVALID_ARGUMENT', { what: 'the region', value: region.toString(), expected });
    }
    this.whole.add(region);
    return region;
  }
}

/** The parts of `region` that are in a set. O(log n + parts). */
export function partsOf(set: RegionSet<VirtAddr>, region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr>[] {
  return Array.from(set.overlapping(region), (part) => part.intersect(region) as MemoryRegion<VirtAddr>);
}
