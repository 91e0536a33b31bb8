import type { Address, AddressKind } from '@svsm/address';
import { describeValue } from '@svsm/address';
import { requireIterable } from './arguments.ts';
import { readRegion } from './foreign-region.ts';
import { MemoryRegion } from './memory-region.ts';
import { RegionError } from './region-error.ts';

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
  #kind: AddressKind<A> | undefined;

  constructor(left: Side<A, L>, right: Side<A, R>) {
    this.left = left;
    this.right = right;
  }

  /** The kind of all regions, once there is a stretch. */
  get kind(): AddressKind<A> {
    return this.#kind as AddressKind<A>;
  }

  /**
   * Moves to the next stretch, and returns whether there is one.
   *
   * @throws RegionError `UNSORTED_REGIONS`, `KIND_MISMATCH`, `INVALID_ARGUMENT`
   */
  next(): boolean {
    const left = this.left.regionAfter(this.end, this.#kind);
    this.#kind ??= left?.kind;
    const right = this.right.regionAfter(this.end, this.#kind);
    this.#kind ??= right?.kind;
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
  readonly #nameOf = (): string => `item ${this.#index} on the ${this.#name}`;
  readonly #list: Iterable<Item>;
  readonly #regionOf: (item: Item, nameOf: () => string) => unknown;
  #items: Iterator<Item> | undefined;
  #index = -1;

  /**
   * @param regionOf - the region of an item, which need not be one; or throws. The second argument names the item in messages
   * @throws RegionError `INVALID_ARGUMENT` if `list` is not iterable
   */
  constructor(
    name: 'left' | 'right',
    list: Iterable<Item>,
    expected: string,
    regionOf: (item: Item, nameOf: () => string) => unknown,
  ) {
    requireIterable(name, list, expected);
    this.#name = name;
    this.#list = list;
    this.#regionOf = regionOf;
  }

  /**
   * The first region that ends after `address`, which is at least that of the call before. Empty regions are skipped.
   *
   * @param kind - the kind that regions must have, if it is known
   */
  regionAfter(address: bigint, kind: AddressKind<A> | undefined): MemoryRegion<A> | undefined {
    if (this.#items === undefined) {
      this.#items = this.#list[Symbol.iterator]();
      this.#read(this.#items, kind);
    }
    while (this.region !== undefined && this.region.end <= address) this.#read(this.#items, kind);
    return this.region;
  }

  #read(items: Iterator<Item>, kind: AddressKind<A> | undefined): void {
    const before = this.region;
    do {
      const { done, value } = items.next();
      this.#index += 1;
      this.item = done === true ? undefined : value;
      this.region = done === true ? undefined : this.#checked(value, this.region?.kind ?? kind);
    } while (this.region?.isEmpty === true);
    if (before !== undefined && this.region !== undefined && this.region.start < before.end) {
      const { region } = this;
      throw new RegionError('UNSORTED_REGIONS', { side: this.#name, index: this.#index, before, region });
    }
  }

  #checked(item: Item, kind: AddressKind<A> | undefined): MemoryRegion<A> {
    const value = this.#regionOf(item, this.#nameOf);
    const known = kind ?? readRegion(value)?.kind;
    if (known !== undefined) return MemoryRegion.from(known as AddressKind<A>, value);
    throw new RegionError('KIND_MISMATCH', { expected: 'any', actual: describeValue(value) });
  }
}

function least(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  if (a === undefined) return b;
  return b === undefined || a < b ? a : b;
}
