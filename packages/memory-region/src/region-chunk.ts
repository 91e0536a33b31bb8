import type { Address } from '@svsm/address';
import { GapAlignment } from './gap-alignment.ts';
import type { MemoryRegion } from './memory-region.ts';
import type { RegionEntry } from './walk-ranges.ts';

// The index compares an address as two numbers that sort as it does: bits 63:11, exact in a double, and bits 10:0. A binary
// search over typed arrays of these numbers is fast, but each comparison of bigints is a call.

/** Splits an address into 32-bit halves: writing it here and reading {@link HALVES} costs less than shifting a bigint. */
const CELL = new BigUint64Array(1);
const HALVES = new Uint32Array(CELL.buffer);

/** Bits 63:11 of `address`. */
export function upperKey(address: bigint): number {
  CELL[0] = address;
  return HALVES[1]! * 0x20_0000 + (HALVES[0]! >>> 11);
}

/** Bits 10:0 of `address`. */
export function lowerKey(address: bigint): number {
  CELL[0] = address;
  return HALVES[0]! & 0x7ff;
}

/** Entries in a full chunk: few enough that an insertion moves little, enough that there are few chunks. */
export const CAPACITY = 256;
/** The room of a new chunk. Most sets have a few regions, and are made for one operation. */
const FIRST_ROOM = 4;

/** A sorted array of entries, stored by columns: a search reads only keys, and a lookup one value in addition. */
export class Chunk<A extends Address, V> {
  count = 0;
  readonly regions: MemoryRegion<A>[] = [];
  readonly values: V[] = [];
  /** The keys of the first and of the last address of each region. */
  uppers: Float64Array = new Float64Array(FIRST_ROOM);
  lowers: Uint16Array = new Uint16Array(FIRST_ROOM);
  #lastUppers: Float64Array = new Float64Array(FIRST_ROOM);
  #lastLowers: Uint16Array = new Uint16Array(FIRST_ROOM);
  /** By alignment: the largest room before an entry, as {@link room} has computed it. */
  rooms: Map<bigint, number> | undefined;

  entry(i: number): RegionEntry<A, V> {
    return [this.regions[i]!, this.values[i] as V];
  }

  lastAtOrBefore(upper: number, lower: number): number {
    return lastAtOrBefore(this.uppers, this.lowers, this.count, upper, lower);
  }

  /** The entry whose region holds the address with these keys, or −1. */
  holding(upper: number, lower: number): number {
    const i = this.lastAtOrBefore(upper, lower);
    return i >= 0 && this.endsAfter(i, upper, lower) ? i : -1;
  }

  /** Whether entry `i` ends after the address with these keys. */
  endsAfter(i: number, upper: number, lower: number): boolean {
    const last = this.#lastUppers[i]!;
    return upper < last || (upper === last && lower <= this.#lastLowers[i]!);
  }

  /** The largest room before one of the entries. O(1) if nothing has changed, else O(entries). */
  room(before: Chunk<A, V> | undefined, alignment: bigint): number {
    this.rooms ??= new Map();
    let room = this.rooms.get(alignment);
    if (room === undefined) {
      room = Number.NEGATIVE_INFINITY;
      const aligned = new GapAlignment(alignment);
      for (let i = 0; i < this.count; i += 1) room = Math.max(room, this.#roomBefore(i, before, aligned));
      this.rooms.set(alignment, room);
    }
    return room;
  }

  /** The first entry from `i` on with a room of at least `bound` before it, or the number of entries. */
  firstWithRoom(i: number, before: Chunk<A, V> | undefined, bound: number, alignment: bigint): number {
    const aligned = new GapAlignment(alignment);
    let at = i;
    while (at < this.count && this.#roomBefore(at, before, aligned) < bound) at += 1;
    return at;
  }

  /** The bytes between entry `i` and the entry before it, from a multiple of the alignment on, rounded as `Number` does. */
  #roomBefore(i: number, before: Chunk<A, V> | undefined, alignment: GapAlignment): number {
    const chunk = i > 0 ? this : before;
    if (chunk === undefined) return Number.NEGATIVE_INFINITY;
    const at = i > 0 ? i - 1 : chunk.count - 1;
    return alignment.room(chunk.#lastUppers[at]!, chunk.#lastLowers[at]!, this.uppers[i]!, this.lowers[i]!);
  }

  insert(at: number, region: MemoryRegion<A>, value: V): void {
    if (this.count === this.uppers.length) this.#grow();
    if (at === this.count) {
      this.regions.push(region);
      this.values.push(value);
    } else {
      this.#move(at + 1, at);
      this.regions.splice(at, 0, region);
      this.values.splice(at, 0, value);
    }
    this.count += 1;
    this.#setKeys(at, region);
  }

  replace(at: number, region: MemoryRegion<A>): void {
    this.regions[at] = region;
    this.#setKeys(at, region);
  }

  #setKeys(at: number, region: MemoryRegion<A>): void {
    const last = region.end - 1n;
    this.uppers[at] = upperKey(region.start);
    this.lowers[at] = lowerKey(region.start);
    this.#lastUppers[at] = upperKey(last);
    this.#lastLowers[at] = lowerKey(last);
  }

  #grow(): void {
    const room = Math.min(4 * this.uppers.length, CAPACITY);
    const [uppers, lastUppers] = [new Float64Array(room), new Float64Array(room)];
    const [lowers, lastLowers] = [new Uint16Array(room), new Uint16Array(room)];
    uppers.set(this.uppers);
    lastUppers.set(this.#lastUppers);
    lowers.set(this.lowers);
    lastLowers.set(this.#lastLowers);
    [this.uppers, this.#lastUppers] = [uppers, lastUppers];
    [this.lowers, this.#lastLowers] = [lowers, lastLowers];
  }

  delete(at: number): void {
    this.#move(at, at + 1);
    this.count -= 1;
    this.regions.splice(at, 1);
    this.values.splice(at, 1);
  }

  /** Moves the entries from `at` on into a new chunk. */
  splitOff(at: number): Chunk<A, V> {
    const rest = new Chunk<A, V>();
    for (let i = at; i < this.count; i += 1) {
      rest.insert(rest.count, this.regions[i]!, this.values[i] as V);
    }
    this.count = at;
    this.regions.length = at;
    this.values.length = at;
    return rest;
  }

  #move(to: number, from: number): void {
    for (const keys of [this.uppers, this.lowers, this.#lastUppers, this.#lastLowers]) {
      keys.copyWithin(to, from, this.count);
    }
  }
}

/** The last of the first `count` pairs of keys that is at most (`upper`, `lower`), or −1. */
export function lastAtOrBefore(
  uppers: Float64Array,
  lowers: Uint16Array,
  count: number,
  upper: number,
  lower: number,
): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const key = uppers[middle]!;
    if (key < upper || (key === upper && lowers[middle]! <= lower)) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
