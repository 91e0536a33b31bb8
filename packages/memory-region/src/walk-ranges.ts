import type { Address } from '@svsm/address';
import { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { requireKind } from './same-kind.ts';

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
 * @throws RegionError `UNSORTED_REGIONS`, with the side and the index, when the sweep reaches the entry; `KIND_MISMATCH`
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
export function* walkRanges<A extends Address, L, R>(
  left: Iterable<RegionEntry<A, L>>,
  right: Iterable<RegionEntry<NoInfer<A>, R>>,
): Generator<RangePiece<A, L, R>, undefined, undefined> {
  const lefts = new Side('left', left);
  const rights = new Side('right', right);
  let at = 0n;
  for (;;) {
    const l = lefts.entryFrom(at);
    const r = rights.entryFrom(at);
    const start = least(l?.[0].start, r?.[0].start);
    if (start === undefined) return;
    // Both entries end after `at`. The piece begins at `at`, or where the first of them begins.
    if (start > at) at = start;
    const inLeft = l !== undefined && l[0].start <= at;
    const inRight = r !== undefined && r[0].start <= at;
    const end = least(
      l && (inLeft ? l[0].end : l[0].start),
      r && (inRight ? r[0].end : r[0].start),
    ) as bigint;
    const kind = ((inLeft ? l : r) as RegionEntry<A, L | R>)[0].kind;
    if (l !== undefined && r !== undefined) requireKind(l[0].kind, r[0]);
    yield {
      region: new MemoryRegion(kind, at as A, end - at),
      left: inLeft ? l : undefined,
      right: inRight ? r : undefined,
    };
    at = end;
  }
}

/** One of the two lists. It returns the entry at or after an address, and checks the order as it advances. */
class Side<A extends Address, V> {
  readonly #name: 'left' | 'right';
  readonly #entries: Iterator<RegionEntry<A, V>>;
  #current: RegionEntry<A, V> | undefined;
  #index = -1;

  constructor(name: 'left' | 'right', entries: Iterable<RegionEntry<A, V>>) {
    this.#name = name;
    this.#entries = entries[Symbol.iterator]();
    this.#advance();
  }

  entryFrom(at: bigint): RegionEntry<A, V> | undefined {
    while (this.#current !== undefined && this.#current[0].end <= at) this.#advance();
    return this.#current;
  }

  #advance(): void {
    const before = this.#current?.[0];
    for (;;) {
      const { done, value } = this.#entries.next();
      this.#index += 1;
      this.#current = done === true ? undefined : value;
      const region = this.#current?.[0];
      if (region?.isEmpty === true) continue;
      if (region !== undefined && before !== undefined && region.start < before.end) {
        throw new RegionError('UNSORTED_REGIONS', { side: this.#name, index: this.#index, before, region });
      }
      return;
    }
  }
}

function least(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined) return b;
  return b === undefined || a < b ? a : b;
}
