import type { Address, AddressKind } from '@svsm/address';
import { MemoryRegion } from './memory-region.ts';
import { Side, Sweep } from './sweep.ts';

// The operations on two sets, over sorted lists and without making a set. Each reads its lists as far as the caller
// iterates, and one region of each ahead.

/**
 * The addresses that are in at least one of two sorted lists of disjoint regions: as few regions as possible, ascending. Lazy.
 * O(left + right) in total.
 *
 * @param left - regions that are sorted and disjoint; they may touch, and may be empty
 * @param right - regions of the same kind of address, also sorted and disjoint
 * @throws RegionError `INVALID_ARGUMENT` if a list is not iterable, at the call; when the sweep reaches the region,
 *   `UNSORTED_REGIONS`, with the side and the index, and `KIND_MISMATCH`
 */
export function unionRanges<A extends Address>(
  left: Iterable<MemoryRegion<A>>,
  right: Iterable<MemoryRegion<NoInfer<A>>>,
): Generator<MemoryRegion<A>, undefined, undefined> {
  return combined(left, right, () => true);
}

/**
 * The addresses that are in both of two sorted lists of disjoint regions: as few regions as possible, ascending. Lazy.
 * O(left + right) in total.
 *
 * @param left - as for {@link unionRanges}
 * @param right - as for {@link unionRanges}
 * @throws RegionError `INVALID_ARGUMENT` if a list is not iterable, at the call; when the sweep reaches the region,
 *   `UNSORTED_REGIONS`, with the side and the index, and `KIND_MISMATCH`
 */
export function intersectRanges<A extends Address>(
  left: Iterable<MemoryRegion<A>>,
  right: Iterable<MemoryRegion<NoInfer<A>>>,
): Generator<MemoryRegion<A>, undefined, undefined> {
  return combined(left, right, (inLeft, inRight) => inLeft && inRight);
}

/**
 * The addresses that are in the left and not in the right of two sorted lists of disjoint regions: as few regions as
 * possible, ascending. Lazy. O(left + right) in total.
 *
 * @param left - as for {@link unionRanges}
 * @param right - as for {@link unionRanges}
 * @throws RegionError `INVALID_ARGUMENT` if a list is not iterable, at the call; when the sweep reaches the region,
 *   `UNSORTED_REGIONS`, with the side and the index, and `KIND_MISMATCH`
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion, subtractRanges } from '@svsm/memory-region';
 *
 * const ram = [physRegion(physAddr(0), 0xa_0000), physRegion(physAddr(0x10_0000), 0x10_0000)];
 * const used = [physRegion(physAddr(0x9_0000), 0x8_0000)];
 * for (const free of subtractRanges(ram, used)) console.log(String(free));
 * // => [0x0000000000000000-0x0000000000090000)
 * // => [0x0000000000110000-0x0000000000200000)
 * ```
 */
export function subtractRanges<A extends Address>(
  left: Iterable<MemoryRegion<A>>,
  right: Iterable<MemoryRegion<NoInfer<A>>>,
): Generator<MemoryRegion<A>, undefined, undefined> {
  return combined(left, right, (inLeft, inRight) => inLeft && !inRight);
}

/**
 * The addresses that are in exactly one of two sorted lists of disjoint regions: as few regions as possible, ascending. Lazy.
 * O(left + right) in total.
 *
 * @param left - as for {@link unionRanges}
 * @param right - as for {@link unionRanges}
 * @throws RegionError `INVALID_ARGUMENT` if a list is not iterable, at the call; when the sweep reaches the region,
 *   `UNSORTED_REGIONS`, with the side and the index, and `KIND_MISMATCH`
 */
export function differenceRanges<A extends Address>(
  left: Iterable<MemoryRegion<A>>,
  right: Iterable<MemoryRegion<NoInfer<A>>>,
): Generator<MemoryRegion<A>, undefined, undefined> {
  return combined(left, right, (inLeft, inRight) => inLeft !== inRight);
}

function combined<A extends Address>(
  left: Iterable<MemoryRegion<A>>,
  right: Iterable<MemoryRegion<A>>,
  keeps: (inLeft: boolean, inRight: boolean) => boolean,
): Generator<MemoryRegion<A>, undefined, undefined> {
  const itself = (region: MemoryRegion<A>): unknown => region;
  const sideOf = (name: 'left' | 'right', list: Iterable<MemoryRegion<A>>): Side<A, MemoryRegion<A>> =>
    new Side(name, list, 'regions', itself);
  return keptOf(new Sweep(sideOf('left', left), sideOf('right', right)), keeps);
}

/** The stretches that are kept, joined where they touch. */
function* keptOf<A extends Address, Item>(
  sweep: Sweep<A, Item, Item>,
  keeps: (inLeft: boolean, inRight: boolean) => boolean,
): Generator<MemoryRegion<A>, undefined, undefined> {
  /** The kind of the run from `start` to `end` that is open, if one is. */
  let kind: AddressKind<A> | undefined;
  let start = 0n;
  let end = 0n;
  while (sweep.next()) {
    const isKept = keeps(sweep.inLeft, sweep.inRight);
    if (kind !== undefined && (!isKept || sweep.start !== end)) {
      yield MemoryRegion.unchecked(kind, start as A, end - start);
      kind = undefined;
    }
    if (!isKept) continue;
    if (kind === undefined) {
      kind = sweep.kind;
      start = sweep.start;
    }
    end = sweep.end;
  }
  if (kind !== undefined) yield MemoryRegion.unchecked(kind, start as A, end - start);
}
