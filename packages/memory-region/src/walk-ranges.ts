import type { Address } from '@svsm/address';
import { pairOf } from './arguments.ts';
import { MemoryRegion } from './memory-region.ts';
import { Side, Sweep } from './sweep.ts';

/** A region with a value. */
export type RegionEntry<A extends Address, V> = readonly [region: MemoryRegion<A>, value: V];

/** A stretch in which no entry begins or ends, with the entries that cover it. */
export interface RangePiece<A extends Address, L, R> {
  readonly region: MemoryRegion<A>;
  /** The left entry that covers the stretch, if there is one. */
  readonly left: RegionEntry<A, L> | undefined;
  /** The right entry that covers the stretch, if there is one. */
  readonly right: RegionEntry<A, R> | undefined;
}

/**
 * One sweep over two sorted lists of disjoint regions. It yields every stretch that at least one list covers, ascending,
 * with the entries that cover it. Intersection, union, difference and subtraction are filters over it.
 *
 * ```text
 * left      [---a---)    [--b--)
 * right         [---c------)
 * pieces    [ a )[ac)[ c)[bc)[b)
 * ```
 *
 * Lazy: it reads the lists as far as the caller iterates, and one entry of each ahead. If a list changes, an entry that has
 * been read counts as it was. O(left + right) in total. Empty regions are skipped.
 *
 * @param left - entries whose regions are sorted and disjoint
 * @param right - entries of the same kind of address, also sorted and disjoint
 * @throws RegionError `INVALID_ARGUMENT` if a list is not iterable, at the call, or if an entry is not a pair, when the sweep
 *   reaches it; then also `UNSORTED_REGIONS`, with the side and the index, and `KIND_MISMATCH`
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion, walkRanges } from '@svsm/memory-region';
 *
 * const left = [[physRegion(physAddr(0x0000), 0x2000), 'a']] as const;
 * const right = [[physRegion(physAddr(0x1000), 0x2000), 'c']] as const;
 * for (const piece of walkRanges(left, right)) console.log(piece.region.start, piece.left?.[1], piece.right?.[1]);
 * // => 0n a undefined
 * // => 4096n a c
 * // => 8192n undefined c
 * ```
 */
export function walkRanges<A extends Address, L, R>(
  left: Iterable<RegionEntry<A, L>>,
  right: Iterable<RegionEntry<NoInfer<A>, R>>,
): Generator<RangePiece<A, L, R>, undefined, undefined> {
  const expected = 'pairs [region, value]';
  return piecesOf(
    new Sweep(new Side('left', left, expected, regionOf), new Side('right', right, expected, regionOf)),
  );
}

function* piecesOf<A extends Address, L, R>(
  sweep: Sweep<A, RegionEntry<A, L>, RegionEntry<A, R>>,
): Generator<RangePiece<A, L, R>, undefined, undefined> {
  while (sweep.next()) {
    const { start, end } = sweep;
    yield {
      region: MemoryRegion.unchecked(sweep.kind, start as A, end - start),
      left: sweep.inLeft ? sweep.left.item : undefined,
      right: sweep.inRight ? sweep.right.item : undefined,
    };
  }
}

function regionOf(entry: RegionEntry<Address, unknown>, nameOf: () => string): unknown {
  return pairOf(entry, nameOf)[0];
}
