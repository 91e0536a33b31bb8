import type { Address } from '@svsm/address';
import { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { requireKind } from './same-kind.ts';

/** A region and what is known of it. */
export type RegionEntry<A extends Address, V> = readonly [region: MemoryRegion<A>, value: V];

/** A stretch in which neither side begins or ends: what the left and the right side have there. */
export interface RangePiece<A extends Address, L, R> {
  readonly region: MemoryRegion<A>;
  /** The left entry that covers it, if one does. */
  readonly left: RegionEntry<A, L> | undefined;
  /** The right entry that covers it, if one does. */
  readonly right: RegionEntry<A, R> | undefined;
}

/**
 * One sweep over two sorted lists of disjoint regions: every stretch that at least one of them covers, ascending, with
 * what covers it. Intersection, union, difference and subtraction are filters over it.
 *
 * ```text
 * left      [---a---)    [--b--)
 * right         [---c------)
 * pieces    [ a )[ac)[ c)[bc)[b)
 * ```
 *
 * Lazy; O(left + right) for all of it. Empty regions are passed over.
 *
 * @param left - entries whose regions are sorted and disjoint
 * @param right - likewise, of the same kind of address
 * @throws RegionError `UNSORTED_REGIONS`, when the sweep gets there, with the side and the index; `KIND_MISMATCH`
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
    // Both sides are looked at from `at` on; the piece begins where the first of them does.
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

/** One of the two lists: hands out the entry at or after an address, and checks the order on the way. */
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
