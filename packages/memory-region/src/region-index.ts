import type { Address } from '@svsm/address';
import { GapTree } from './gap-tree.ts';
import { MemoryRegion } from './memory-region.ts';
import { CAPACITY, Chunk, lastAtOrBefore, lowerKey, upperKey } from './region-chunk.ts';
import type { RegionEntry } from './walk-ranges.ts';

/** The end of every space. It has one bit more than a key. */
const SPACE_END = 1n << 64n;

/** Entries in a chunk that is filled at once. It has room for some insertions. */
const FILL = 192;
/** The keys of an index without chunks. */
const NO_UPPERS = new Float64Array(0);
const NO_LOWERS = new Uint16Array(0);

/**
 * Disjoint regions with values, sorted by address: a list of chunks, each a sorted array. `RegionSet` and `RegionMap` keep
 * their regions in it. A search is O(log n). An insertion or deletion moves part of one chunk and, once in
 * {@link CAPACITY} / 2 times, the list of chunks.
 */
export class RegionIndex<A extends Address, V> {
  /** Changes with every insertion and deletion. */
  version = 0;
  #chunks: Chunk<A, V>[] = [];
  /** The keys of the first entry of each chunk. */
  #uppers: Float64Array = NO_UPPERS;
  #lowers: Uint16Array = NO_LOWERS;
  #size = 0;
  /** By alignment, once it has been asked for: the room in the gaps of each chunk. */
  #gapTrees: Map<bigint, GapTree> | undefined;

  /** The number of entries. */
  get size(): number {
    return this.#size;
  }

  /** Replaces all entries by `entries`, which are sorted and disjoint. O(n). */
  fill(entries: readonly RegionEntry<A, V>[]): void {
    this.#chunks = [];
    for (let i = 0; i < entries.length; i += FILL) {
      const chunk = new Chunk<A, V>();
      for (const [region, value] of entries.slice(i, i + FILL)) chunk.insert(chunk.count, region, value);
      this.#chunks.push(chunk);
    }
    this.#size = entries.length;
    this.#chunksChanged();
  }

  /** The value of the entry whose region holds `address`. O(log n). */
  valueAt(address: bigint): V | undefined {
    const upper = upperKey(address);
    const lower = lowerKey(address);
    const chunk = this.#chunks[this.#chunkOf(upper, lower)];
    if (chunk === undefined) return undefined;
    const i = chunk.holding(upper, lower);
    return i < 0 ? undefined : chunk.values[i];
  }

  /** The entry whose region holds `address`. O(log n). */
  at(address: bigint): RegionEntry<A, V> | undefined {
    const upper = upperKey(address);
    const lower = lowerKey(address);
    const chunk = this.#chunks[this.#chunkOf(upper, lower)];
    if (chunk === undefined) return undefined;
    const i = chunk.holding(upper, lower);
    return i < 0 ? undefined : chunk.entry(i);
  }

  /** A cursor that is not yet at any entry. */
  cursor(): RegionCursor<A, V> {
    return new RegionCursor(this);
  }

  /**
   * The parts of `within` that no entry covers, ascending. After a change, it goes on at the end of the last part that it
   * returned. O(log n) for the first part and after a change, else O(1) for each entry.
   */
  *gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined> {
    const cursor = this.cursor();
    let reached: bigint = within.start;
    while (reached < within.end) {
      let region = cursor.isStale ? cursor.find(reached) : cursor.region;
      while (region !== undefined && region.start <= reached) {
        reached = region.end;
        region = cursor.next();
      }
      const end = region === undefined || region.start > within.end ? within.end : region.start;
      if (end <= reached) return;
      yield MemoryRegion.unchecked(within.kind, reached as A, end - reached);
      reached = end;
    }
  }

  /**
   * The lowest multiple of `alignment` from which on `size` bytes of `within` are in no entry, or `undefined`. O(log n) for
   * each alignment, once O(n) for its first search.
   */
  firstFit(within: MemoryRegion<A>, size: bigint, alignment: bigint): bigint | undefined {
    const last = within.end - size;
    let reached: bigint = within.start;
    let [c, i] = this.placeAfter(reached) ?? [this.#chunks.length, 0];
    for (;;) {
      const region = this.#chunks[c]?.regions[i];
      const start = alignUp(reached, alignment);
      if (start > last) return undefined;
      if (region === undefined || start + size <= region.start) return start;
      [c, i] = this.#nextWithRoom(c, i + 1, size, alignment);
      reached = this.#endBefore(c, i);
    }
  }

  /** The first entry from entry `i` of chunk `c` on with the room for `size` bytes before it; the end if there is none. */
  #nextWithRoom(c: number, i: number, size: bigint, alignment: bigint): readonly [c: number, i: number] {
    const bound = Number(size);
    const chunk = this.#chunks[c]!;
    const at = chunk.firstWithRoom(i, this.#chunks[c - 1], bound, alignment);
    if (at < chunk.count) return [c, at];
    const next = this.#gapTree(alignment).firstFrom(c + 1, bound);
    if (next < 0) return [this.#chunks.length, 0];
    return [next, this.#chunks[next]!.firstWithRoom(0, this.#chunks[next - 1], bound, alignment)];
  }

  /** The end of the entry before entry `i` of chunk `c`. */
  #endBefore(c: number, i: number): bigint {
    if (i > 0) return this.#chunks[c]!.regions[i - 1]!.end;
    const { regions, count } = this.#chunks[c - 1]!;
    return regions[count - 1]!.end;
  }

  #gapTree(alignment: bigint): GapTree {
    this.#gapTrees ??= new Map();
    let tree = this.#gapTrees.get(alignment);
    if (tree === undefined) {
      tree = new GapTree(this.#chunks.map((chunk, c) => chunk.room(this.#chunks[c - 1], alignment)));
      this.#gapTrees.set(alignment, tree);
    }
    for (const c of tree.stale) tree.set(c, this.#chunks[c]!.room(this.#chunks[c - 1], alignment));
    tree.stale.clear();
    return tree;
  }

  /** Forgets the rooms that a change in chunk `c` makes wrong: the first gap of the next chunk begins in it. */
  #roomsChanged(c: number): void {
    for (let at = c; at <= c + 1 && at < this.#chunks.length; at += 1) {
      this.#chunks[at]!.rooms = undefined;
      if (this.#gapTrees !== undefined) for (const tree of this.#gapTrees.values()) tree.stale.add(at);
    }
  }

  /** The chunk of the first entry that ends after `address`, and its place in it; `undefined` if none does. O(log n). */
  placeAfter(address: bigint): readonly [c: number, i: number] | undefined {
    if (address >= SPACE_END) return undefined;
    const upper = upperKey(address);
    const lower = lowerKey(address);
    const c = Math.max(this.#chunkOf(upper, lower), 0);
    const chunk = this.#chunks[c];
    if (chunk === undefined) return undefined;
    let i = chunk.lastAtOrBefore(upper, lower);
    if (i < 0 || !chunk.endsAfter(i, upper, lower)) i += 1;
    if (i < chunk.count) return [c, i];
    return c + 1 < this.#chunks.length ? [c + 1, 0] : undefined;
  }

  /** The chunk with number `c`, or `undefined` if there is none. */
  chunkAt(c: number): Chunk<A, V> | undefined {
    return this.#chunks[c];
  }

  /** Adds an entry. Its region is not empty and overlaps no other. */
  insert(region: MemoryRegion<A>, value: V): void {
    const upper = upperKey(region.start);
    const lower = lowerKey(region.start);
    const c = Math.max(this.#chunkOf(upper, lower), 0);
    const chunk = this.#chunks[c] ?? new Chunk<A, V>();
    const at = chunk.lastAtOrBefore(upper, lower) + 1;
    chunk.insert(at, region, value);
    this.version += 1;
    this.#size += 1;
    if (chunk.count === CAPACITY) {
      this.#chunks.splice(c + 1, 0, chunk.splitOff(CAPACITY / 2));
      this.#chunksChanged();
    } else if (this.#chunks.length === 0) {
      this.#chunks.push(chunk);
      this.#chunksChanged();
    } else if (at === 0) {
      this.#firstChanged(c);
    }
    this.#roomsChanged(c);
  }

  /** Removes the entry whose region starts at `start`. The entry must exist. */
  delete(start: A): void {
    const upper = upperKey(start);
    const lower = lowerKey(start);
    const c = this.#chunkOf(upper, lower);
    const chunk = this.#chunks[c]!;
    const at = chunk.lastAtOrBefore(upper, lower);
    chunk.delete(at);
    this.version += 1;
    this.#size -= 1;
    // The only chunk stays, without entries: a set that has one region all the time makes no other.
    if (chunk.count === 0 && this.#chunks.length > 1) {
      this.#chunks.splice(c, 1);
      this.#chunksChanged();
    } else if (at === 0 && chunk.count > 0) {
      this.#firstChanged(c);
    }
    this.#roomsChanged(c);
  }

  /** Puts `region`, which is not empty and overlaps no other, in the place of the entry at `start`, which must exist. */
  replace(start: A, region: MemoryRegion<A>): void {
    const upper = upperKey(start);
    const lower = lowerKey(start);
    const c = this.#chunkOf(upper, lower);
    const chunk = this.#chunks[c]!;
    const at = chunk.lastAtOrBefore(upper, lower);
    chunk.replace(at, region);
    this.version += 1;
    if (at === 0) this.#firstChanged(c);
    this.#roomsChanged(c);
  }

  /** The last chunk that starts at or before the address with these keys, or −1. */
  #chunkOf(upper: number, lower: number): number {
    return lastAtOrBefore(this.#uppers, this.#lowers, this.#chunks.length, upper, lower);
  }

  #firstChanged(c: number): void {
    const chunk = this.#chunks[c]!;
    this.#uppers[c] = chunk.uppers[0]!;
    this.#lowers[c] = chunk.lowers[0]!;
  }

  #chunksChanged(): void {
    const count = this.#chunks.length;
    this.#uppers = new Float64Array(count);
    this.#lowers = new Uint16Array(count);
    for (let c = 0; c < count; c += 1) this.#firstChanged(c);
    this.#gapTrees = undefined;
  }
}

/**
 * A place in a {@link RegionIndex}: an entry, or the end. The index may change between two calls. Then the place is stale,
 * and only {@link find} may be called: with the end of the last region that the caller has used.
 */
export class RegionCursor<A extends Address, V> {
  readonly #index: RegionIndex<A, V>;
  /** The version of the index when the place was found. An index never has version −1. */
  #version = -1;
  #chunk: Chunk<A, V> | undefined;
  #c = -1;
  #i = 0;

  constructor(index: RegionIndex<A, V>) {
    this.#index = index;
  }

  /** Whether the index has changed since the place was found, or no place has been found yet. */
  get isStale(): boolean {
    return this.#version !== this.#index.version;
  }

  /** The region at the place, or `undefined` at the end. */
  get region(): MemoryRegion<A> | undefined {
    return this.#chunk?.regions[this.#i];
  }

  /** The value at the place, which must not be the end. */
  get value(): V {
    return this.#chunk!.values[this.#i] as V;
  }

  /** Moves to the first region that ends after `address`. O(log n). */
  find(address: bigint): MemoryRegion<A> | undefined {
    this.#version = this.#index.version;
    const [c, i] = this.#index.placeAfter(address) ?? [-1, 0];
    this.#go(c, i);
    return this.region;
  }

  /** Moves to the next region. The place must not be the end. O(1). */
  next(): MemoryRegion<A> | undefined {
    this.#i += 1;
    if (this.#i >= this.#chunk!.count) this.#go(this.#c + 1, 0);
    return this.region;
  }

  #go(c: number, i: number): void {
    this.#chunk = this.#index.chunkAt(c);
    this.#c = c;
    this.#i = i;
  }
}

function alignUp(address: bigint, alignment: bigint): bigint {
  return (address + alignment - 1n) & -alignment;
}
