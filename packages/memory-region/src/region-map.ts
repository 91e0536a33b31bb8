import {
  type Address,
  type AddressKind,
  alignmentBytes,
  assertIsAddressKind,
  type Bytes,
  byteCount,
  showInConsoles,
} from '@svsm/address';
import { pairOf, requireIterable } from './arguments.ts';
import { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { type RegionCursor, RegionIndex } from './region-index.ts';
import type { RegionEntry } from './walk-ranges.ts';

/**
 * Disjoint regions of one kind of address, each with a value, sorted by address: a memory map. The map keeps regions as
 * they were added: two that touch stay two, even if their values are equal. {@link coalesced} joins them.
 *
 * n is the number of entries.
 *
 * @example
 * ```ts
 * import { Phys, type PhysAddr, physAddr } from '@svsm/address';
 * import { physRegion, RegionMap } from '@svsm/memory-region';
 *
 * const map = new RegionMap<PhysAddr, string>(Phys);
 * map.set(physRegion(physAddr(0), 0x10_0000), 'RAM');
 * map.overlay(physRegion(physAddr(0xa_0000), 0x2_0000), 'VGA'); // `set` would refuse this overlap
 * console.log(map.get(physAddr(0xb_8000)), map.get(physAddr(0xc_0000)), map.size); // => VGA RAM 3
 * ```
 */
export class RegionMap<A extends Address, V> implements Iterable<RegionEntry<A, V>> {
  static {
    showInConsoles(this, 'RegionMap', (map) => ({ kind: map.kind.name, entries: [...map] }));
  }

  /** The kind of the addresses. */
  readonly kind: AddressKind<A>;
  readonly #index: RegionIndex<A, V> = new RegionIndex();

  /**
   * Makes a map of `entries`, which may be in any order. O(n log n).
   *
   * @throws AddressError `INVALID_KIND`; RegionError `INVALID_ARGUMENT` if `entries` are not iterable or one is not a pair;
   *   `KIND_MISMATCH`; `EMPTY_REGION`; `REGION_OVERLAP`, with both regions, if two entries overlap
   */
  constructor(kind: AddressKind<A>, entries: Iterable<RegionEntry<A, V>> = []) {
    assertIsAddressKind(kind);
    requireIterable('entries', entries, 'pairs [region, value]');
    this.kind = kind;
    const sorted: RegionEntry<A, V>[] = [];
    const nameOf = (): string => `entry ${sorted.length}`;
    for (const entry of entries) {
      const [region, value] = pairOf(entry, nameOf);
      sorted.push([this.#require(region), value]);
    }
    sorted.sort(([a], [b]) => (a.start < b.start ? -1 : 1));
    sorted.forEach(([region], i) => {
      const before = sorted[i - 1]?.[0];
      if (before?.overlaps(region) === true)
        throw new RegionError('REGION_OVERLAP', { region, existing: before });
    });
    this.#index.fill(sorted);
  }

  /** The number of entries. */
  get size(): number {
    return this.#index.size;
  }

  /**
   * Adds an entry. O(log n). Returns the map.
   *
   * @throws RegionError `KIND_MISMATCH`; `EMPTY_REGION`; `REGION_OVERLAP`, with both regions, if an entry overlaps `region`
   */
  set(region: MemoryRegion<A>, value: V): this {
    const added = this.#require(region);
    const existing = this.#index.cursor().find(added.start);
    if (existing?.overlaps(added) === true)
      throw new RegionError('REGION_OVERLAP', { region: added, existing });
    this.#index.insert(added, value);
    return this;
  }

  /**
   * Adds an entry in place of everything that `region` covers: other entries lose these addresses and keep the rest.
   * O(log n), and again for each entry that it cuts. Returns the map.
   *
   * @throws RegionError `KIND_MISMATCH`; `EMPTY_REGION`
   */
  overlay(region: MemoryRegion<A>, value: V): this {
    const added = this.#require(region);
    const cut = [...this.#entries(added.start, added.end)];
    for (const [other, held] of cut) {
      this.#index.delete(other.start);
      for (const rest of other.subtract(added)) this.#index.insert(rest, held);
    }
    this.#index.insert(added, value);
    return this;
  }

  /**
   * Removes the entry with exactly this region. O(log n). Returns its value.
   *
   * @throws RegionError `KIND_MISMATCH`; `NO_SUCH_REGION` if no entry has the same start and end
   */
  delete(region: MemoryRegion<A>): V {
    const wanted = MemoryRegion.from(this.kind, region);
    const found = this.#index.at(wanted.start);
    if (found === undefined || !found[0].equals(wanted)) {
      throw new RegionError('NO_SUCH_REGION', { region: wanted });
    }
    this.#index.delete(wanted.start);
    return found[1];
  }

  /**
   * The value of the entry whose region holds `address`, or `undefined`. O(log n).
   *
   * @throws AddressError as {@link AddressKind.assertIsAddress}
   */
  get(address: A): V | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.valueAt(address);
  }

  /**
   * The entry whose region holds `address`, or `undefined`. O(log n).
   *
   * @throws AddressError as {@link AddressKind.assertIsAddress}
   */
  entryAt(address: A): RegionEntry<A, V> | undefined {
    this.kind.assertIsAddress(address);
    return this.#index.at(address);
  }

  /**
   * The entries whose regions overlap `region`, uncut, ascending. O(log n), and O(1) for each. The map may change during
   * the iteration, as during one over the map.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  overlapping(region: MemoryRegion<A>): Generator<RegionEntry<A, V>, undefined, undefined> {
    const { isEmpty, start, end } = MemoryRegion.from(this.kind, region);
    return this.#entries(start, isEmpty ? 0n : end);
  }

  /**
   * The parts of `within` that no entry covers, ascending. O(log n), and O(1) for each entry in `within`. If the map
   * changes during the iteration, it goes on at the end of the last part that it returned, with what is uncovered then.
   *
   * @throws RegionError `KIND_MISMATCH`
   */
  gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    return this.#index.gaps(MemoryRegion.from(this.kind, within));
  }

  /**
   * The first `size` bytes of `within` that no entry covers and that start at a multiple of `alignment`, or `undefined`. To
   * search from an address on, begin `within` there. O(log n); the first search with an alignment is O(n).
   *
   * @param size - bytes, at least 0
   * @param alignment - bytes, a power of two from 1 to 2^47; 1 if not given
   * @throws AddressError `INVALID_BYTE_COUNT` for `size`, `INVALID_ALIGNMENT`; RegionError `KIND_MISMATCH`
   * @example
   * ```ts
   * import { PAGE_SIZE, PAGE_SIZE_2M, Virt, virtAddr } from '@svsm/address';
   * import { RegionMap, virtRegion } from '@svsm/memory-region';
   *
   * const user = virtRegion(virtAddr(0x40_0000), 0x100_0000);
   * const map = new RegionMap(Virt, [[virtRegion(virtAddr(0x40_0000), PAGE_SIZE), 'code']]);
   * console.log(String(map.findGap(user, PAGE_SIZE))); // => [0x0000000000401000-0x0000000000402000)
   * console.log(String(map.findGap(user, PAGE_SIZE, PAGE_SIZE_2M))); // => [0x0000000000600000-0x0000000000601000)
   * ```
   */
  findGap(within: MemoryRegion<A>, size: Bytes, alignment: Bytes = 1): MemoryRegion<A> | undefined {
    const searched = MemoryRegion.from(this.kind, within);
    const bytes = byteCount(size);
    const multiple = alignmentBytes(alignment);
    const start = this.#index.firstFit(searched, bytes, multiple);
    return start === undefined ? undefined : MemoryRegion.unchecked(this.kind, start as A, bytes);
  }

  /**
   * The entries, ascending. Entries that touch and have equal values are joined. O(n). If the map changes during the
   * iteration, it goes on after the last region that it returned, with the entries that begin there or later.
   *
   * @param equal - whether two values are equal; `Object.is` if not given
   * @throws RegionError `INVALID_ARGUMENT` if `equal` is not a function
   */
  coalesced(
    equal: (left: V, right: V) => boolean = Object.is,
  ): Generator<RegionEntry<A, V>, undefined, undefined> {
    if (typeof equal === 'function') return this.#coalesced(equal);
    throw new RegionError('INVALID_ARGUMENT', { what: 'equal', value: equal, expected: 'pass a function' });
  }

  /**
   * The entries, ascending. The map may change during the iteration: it goes on at the end of the last region that it
   * returned, with the first entry that begins there or later. O(1) for each entry, and O(log n) after a change.
   *
   * @example
   * ```ts
   * import { Phys, physAddr } from '@svsm/address';
   * import { physRegion, RegionMap } from '@svsm/memory-region';
   *
   * const map = new RegionMap(Phys, [
   *   [physRegion(physAddr(0x0000), 0x1000), 'free'],
   *   [physRegion(physAddr(0x1000), 0x1000), 'used'],
   *   [physRegion(physAddr(0x2000), 0x1000), 'free'],
   * ]);
   * for (const [region, value] of map) if (value === 'free') map.delete(region);
   * console.log(map.size); // => 1
   * ```
   */
  [Symbol.iterator](): Generator<RegionEntry<A, V>, undefined, undefined> {
    return this.#entries(0n, undefined);
  }

  /** The entries that end after `from` and begin before `end`, or all of these if no `end` is given. */
  *#entries(from: bigint, end: bigint | undefined): Generator<RegionEntry<A, V>, undefined, undefined> {
    const cursor = this.#index.cursor();
    let region = cursor.find(from);
    while (region !== undefined && (end === undefined || region.start < end)) {
      yield [region, cursor.value];
      region = cursor.isStale ? findFrom(cursor, region.end) : cursor.next();
    }
  }

  *#coalesced(equal: (left: V, right: V) => boolean): Generator<RegionEntry<A, V>, undefined, undefined> {
    const cursor = this.#index.cursor();
    let first = cursor.find(0n);
    while (first !== undefined) {
      const value = cursor.value;
      let reached = first.end;
      let region = cursor.next();
      while (region?.start === reached && equal(value, cursor.value)) {
        reached = region.end;
        region = cursor.isStale ? findFrom(cursor, reached) : cursor.next();
      }
      yield [reached === first.end ? first : first.expand(reached - first.end), value];
      first = cursor.isStale ? findFrom(cursor, reached) : region;
    }
  }

  #require(value: MemoryRegion<A>): MemoryRegion<A> {
    const region = MemoryRegion.from(this.kind, value);
    if (region.isEmpty) throw new RegionError('EMPTY_REGION', { region });
    return region;
  }
}

/** Moves to the first region that begins at `address` or later. */
function findFrom<A extends Address, V>(
  cursor: RegionCursor<A, V>,
  address: bigint,
): MemoryRegion<A> | undefined {
  const region = cursor.find(address);
  return region !== undefined && region.start < address ? cursor.next() : region;
}
