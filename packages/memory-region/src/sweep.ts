import type { Address, AddressKind } from '@svsm/address';
import type { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';
import { requireKind } from './same-kind.ts';

/**
 * Two sorted lists of disjoint regions, read together. {@link next} moves to the next stretch that at least one list covers
 * and in which no region begins or ends. The lists are read as far as this needs: one item of each ahead.
 *
 * @typeParam L - the items of the left list: regions, or entries that have one
 * @typeParam R - the items of the right list
 */
export class Sweep<A extends Address, L, R> {
  /** The bounds of the stretch. */
  start = 0n;
  end = 0n;
  /** Whether the list covers the stretch: with its {@link Side.item}. */
  inLeft = false;
  inRight = false;
  readonly left: Side<A, L>;
  readonly right: Side<A, R>;

  constructor(left: Side<A, L>, right: Side<A, R>) {
    this.left = left;
    this.right = right;
  }

  /** The kind of all regions, once there is a stretch. */
  get kind(): AddressKind<A> {
    return (this.left.region ?? this.right.region)!.kind;
  }

  /**
   * Moves to the next stretch, and returns whether there is one.
   *
   * @throws RegionError `UNSORTED_REGIONS`, `KIND_MISMATCH`
   */
  next(): boolean {
    const left = this.left.regionAfter(this.end);
    const right = this.right.regionAfter(this.end);
    if (left !== undefined && right !== undefined) requireKind(left.kind, right);
    const first = least(left?.start, right?.start);
    if (first === undefined) return false;
    // Both regions end after the last stretch. The next one begins at its end, or where the first of them begins.
    this.start = first > this.end ? first : this.end;
    this.inLeft = left !== undefined && left.start <= this.start;
    this.inRight = right !== undefined && right.start <= this.start;
    const leftEdge = this.inLeft ? left?.end : left?.start;
    const rightEdge = this.inRight ? right?.end : right?.start;
    this.end = least(leftEdge, rightEdge) as bigint;
    return true;
  }
}

/** One of the two lists of a {@link Sweep}. */
export class Side<A extends Address, Item> {
  /** The item that has been read last, and its region. */
  item: Item | undefined;
  region: MemoryRegion<A> | undefined;
  readonly #name: 'left' | 'right';
  readonly #list: Iterable<Item>;
  readonly #regionOf: (item: Item) => MemoryRegion<A>;
  #items: Iterator<Item> | undefined;
  #index = -1;

  constructor(name: 'left' | 'right', list: Iterable<Item>, regionOf: (item: Item) => MemoryRegion<A>) {
    this.#name = name;
    this.#list = list;
    this.#regionOf = regionOf;
  }

  /** The first region that ends after `address`, which is at least that of the call before. Empty regions are skipped. */
  regionAfter(address: bigint): MemoryRegion<A> | undefined {
    if (this.#items === undefined) {
      this.#items = this.#list[Symbol.iterator]();
      this.#read(this.#items);
    }
    while (this.region !== undefined && this.region.end <= address) this.#read(this.#items);
    return this.region;
  }

  #read(items: Iterator<Item>): void {
    const before = this.region;
    do {
      const { done, value } = items.next();
      this.#index += 1;
      this.item = done === true ? undefined : value;
      this.region = done === true ? undefined : this.#regionOf(value);
    } while (this.region?.isEmpty === true);
    if (before === undefined || this.region === undefined) return;
    requireKind(before.kind, this.region);
    if (this.region.start < before.end) {
      const { region } = this;
      throw new RegionError('UNSORTED_REGIONS', { side: this.#name, index: this.#index, before, region });
    }
  }
}

function least(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined) return b;
  return b === undefined || a < b ? a : b;
}
