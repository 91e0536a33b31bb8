import { BuddyError } from '../pages/buddy-error.ts';
import { FreeList } from './free-list.ts';

/** Orders that a level has: a unit of the level above is 2^10 units of this one. */
export const LEVEL_ORDERS = 10;
/** Units that a node describes. */
export const NODE_UNITS = 1024;

// The mark of a unit: its kind in the high four bits, the order of its block in the low four, counted from the
// level's. Zero is the rest of a block, or nothing: so only the first unit of a block is ever written, and a new
// table is right as it is.
/** A free block starts here. */
export const FREE = 0x10;
/** An allocated block starts here. */
export const ALLOCATED = 0x20;
/** A unit, order 0, that a node of the level below describes. */
export const DIVIDED = 0x30;
/** A run starts here: an allocated block, and those marked {@link REST} that follow it. */
export const RUN = 0x40;
/** A block starts here that goes on a run. */
export const REST = 0x50;
/** A file page: allocated, and freed with its last reference. */
export const FILE = 0x60;
/** A page of a slab. */
export const SLAB = 0x70;
/** A block, or a run, of a heap. */
export const HEAP = 0x80;
/** The bits of a mark that are its kind. */
export const KIND = 0xf0;
/** The bits of a mark that are its order. */
export const ORDER = 0x0f;

/** Past this, unit numbers would not fit in the signed 32 bits that they are calculated in. */
const MAX_NODES = 0x20_0000;

/** What a {@link BuddyLevel} is made from. */
export interface BuddyLevelSpec {
  /** 0 for the level whose units are pages, and so on up. */
  readonly index: number;
  /** The level above, of which each node of this one is a unit; the top level has none. */
  readonly parent: BuddyLevel | undefined;
  /** The greatest order to merge to: 10, but for the top level, where it may be less. */
  readonly maxOrder: number;
  /** How many nodes there can be. */
  readonly maxNodes: number;
}

/**
 * One level of the tree: buddy allocation of orders 0 to 10, in units of 2^(10·index) pages. Its tables grow by
 * nodes of 1024 units, opened when a unit of the level above is divided; a unit is named by `node * 1024 + offset`.
 * A block never crosses a node: so its buddy is one bit away, and all is arithmetic on 32 bits.
 *
 * Nothing is checked here: callers look at the mark first.
 */
export class BuddyLevel {
  /** The level above. */
  readonly parent: BuddyLevel | undefined;
  /** The order of a unit: what the orders of this level count from. */
  readonly unitOrder: number;
  /** The greatest order to merge to. */
  readonly maxOrder: number;
  /** The free blocks of each order. One of order 10 is a unit of the level above, where there is one. */
  readonly lists: readonly FreeList[];
  /** How many blocks of each order are allocated. */
  readonly allocated: Int32Array<ArrayBuffer>;
  /** Bit n is set if `lists[n]` is not empty. */
  filled = 0;
  /** Nodes that are open. */
  nodes = 0;
  /** One mark for each unit. */
  marks: Uint8Array<ArrayBuffer>;
  /** For each unit, the node below that describes it, plus one; 0 if it never was divided. Empty at level 0. */
  children: Int32Array<ArrayBuffer>;
  /** For each node, the unit of the level above that it describes. */
  owners: Int32Array<ArrayBuffer>;
  /** For each node, the address that it starts at. */
  bases: BigUint64Array<ArrayBuffer>;
  readonly #unitBytes: bigint;
  readonly #maxNodes: number;
  #capacity = 0;

  constructor({ index, parent, maxOrder, maxNodes }: BuddyLevelSpec) {
    this.parent = parent;
    this.unitOrder = LEVEL_ORDERS * index;
    this.maxOrder = maxOrder;
    const orders = parent === undefined ? maxOrder + 1 : LEVEL_ORDERS;
    this.lists = Array.from({ length: orders }, (_, order) => new FreeList(order, FREE | order));
    this.allocated = new Int32Array(orders);
    this.marks = new Uint8Array(0);
    this.children = new Int32Array(0);
    this.owners = new Int32Array(0);
    this.bases = new BigUint64Array(0);
    this.#unitBytes = 0x1000n << BigInt(this.unitOrder);
    this.#maxNodes = Math.min(maxNodes, MAX_NODES);
  }

  /**
   * Allocates a block of `order`: its unit; −1, and nothing changed, if there is none. O(orders), amortized: it may
   * open a node.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  allocate(order: number): number {
    const unit = this.take(order);
    if (unit < 0) return -1;
    this.marks[unit] = ALLOCATED | order;
    this.allocated[order] = this.allocated[order]! + 1;
    return unit;
  }

  /** Frees the block of `order` that is allocated at `unit`. O(orders). */
  free(unit: number, order: number): void {
    this.allocated[order] = this.allocated[order]! - 1;
    this.giveBack(unit, order);
  }

  /**
   * Takes a block of `order` off the free lists and leaves its mark to the caller; else as {@link allocate}.
   */
  take(order: number): number {
    const fitting = this.filled >>> order;
    if (fitting === 0) return takeFromParent(this, order);
    const have = order + 31 - Math.clz32(fitting & -fitting);
    const list = this.lists[have]!;
    const unit = list.take();
    if (list.count === 0) this.filled ^= 1 << have;
    split(this, unit, have, order);
    return unit;
  }

  /** Makes the block of `order` at `unit` free, merged with every buddy that is. O(orders). */
  giveBack(unit: number, order: number): void {
    const { marks, maxOrder } = this;
    marks[unit] = 0;
    let head = unit;
    let have = order;
    while (have < maxOrder) {
      const buddy = head ^ (1 << have);
      if (marks[buddy] !== (FREE | have)) break;
      marks[buddy] = 0;
      const list = this.lists[have]!;
      list.remove(buddy);
      if (list.count === 0) this.filled ^= 1 << have;
      head &= ~(1 << have);
      have += 1;
    }
    if (have === LEVEL_ORDERS && this.parent !== undefined) {
      // The node stays open, all zeros: it is there when its unit is divided again.
      this.parent.giveBack(this.owners[head >> LEVEL_ORDERS]!, 0);
    } else {
      this.addFree(head, have);
    }
  }

  /** Makes units free that are in no block so far: a block of `order`, merged with nothing. O(1). */
  addFree(unit: number, order: number): void {
    this.marks[unit] = FREE | order;
    this.lists[order]!.add(unit);
    this.filled |= 1 << order;
  }

  /**
   * Takes the free block of order `have` at `head` off its list and splits it, until a block of `order` starts at
   * `unit`, which lies in it; leaves that block's mark to the caller. O(orders).
   */
  takeAt(head: number, have: number, unit: number, order: number): void {
    const list = this.lists[have]!;
    this.marks[head] = 0;
    list.remove(head);
    if (list.count === 0) this.filled ^= 1 << have;
    this.narrow(head, have, unit, order);
  }

  /** Gives back what of the block of order `have` at `head` is not the block of `order` at `unit`. O(orders). */
  narrow(head: number, have: number, unit: number, order: number): void {
    let lower = head;
    for (let half = have - 1; half >= order; half -= 1) {
      const upper = lower + (1 << half);
      if (unit < upper) {
        this.addFree(upper, half);
      } else {
        this.addFree(lower, half);
        lower = upper;
      }
    }
  }

  /** Puts a mark on the block of `order` at `unit`, which is in no block, and counts it as allocated. O(1). */
  setAllocated(unit: number, order: number, kind: number): void {
    this.marks[unit] = kind | order;
    this.allocated[order] = this.allocated[order]! + 1;
  }

  /** Whether no block starts in `node`. O(1024). */
  isBare(node: number): boolean {
    return this.marks.subarray(node * NODE_UNITS, (node + 1) * NODE_UNITS).every((mark) => mark === 0);
  }

  /** Opens the next node at the top; it starts at `base`. No unit of it is in a block. */
  openRoot(base: bigint): void {
    if (this.nodes === this.#capacity) this.#grow();
    this.bases[this.nodes] = base;
    this.nodes += 1;
  }

  /**
   * Marks `owner`, a unit of the level above that is in no block or divided already, as divided; returns the node
   * that describes it, opened if need be. O(1), amortized.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  openNode(owner: number): number {
    const parent = this.parent as BuddyLevel;
    let node = parent.children[owner]! - 1;
    if (node < 0) {
      if (this.nodes === this.#capacity) this.#grow();
      node = this.nodes;
      this.bases[node] = parent.addressOf(owner);
      this.owners[node] = owner;
      this.nodes += 1;
      parent.children[owner] = node + 1;
    }
    parent.marks[owner] = DIVIDED;
    return node;
  }

  /** The address of `unit`. O(1). */
  addressOf(unit: number): bigint {
    return this.bases[unit >> LEVEL_ORDERS]! + BigInt(unit & (NODE_UNITS - 1)) * this.#unitBytes;
  }

  /** As {@link addressOf}, at level 0 only: in a form that engines compile to 64-bit arithmetic. O(1). */
  pageAddress(unit: number): bigint {
    const offset = (unit & (NODE_UNITS - 1)) << 12;
    return BigInt.asUintN(64, this.bases[unit >> LEVEL_ORDERS]! + BigInt(offset));
  }

  /** The first unit of the block, of any kind, that `unit` is in; −1 if it is in none. O(orders). */
  headOf(unit: number): number {
    for (let order = 0; order <= LEVEL_ORDERS; order += 1) {
      const head = unit & -(1 << order);
      const mark = this.marks[head]!;
      // The nearest mark decides: between the first unit of a block and its last one there is none.
      if (mark !== 0) return head + (1 << (mark & ORDER)) > unit ? head : -1;
    }
    return -1;
  }

  #grow(): void {
    if (this.#capacity === this.#maxNodes) {
      throw new BuddyError('METADATA_FULL', { pages: this.#maxNodes * NODE_UNITS });
    }
    // An eighth more: copying comes to a dozen bytes a page, room not in use to a fifth of a byte at most.
    const capacity = Math.min(this.#capacity + 1 + (this.#capacity >> 3), this.#maxNodes);
    const units = capacity * NODE_UNITS;
    const marks = new Uint8Array(units);
    const children = new Int32Array(this.unitOrder === 0 ? 0 : units);
    const owners = new Int32Array(capacity);
    const bases = new BigUint64Array(capacity);
    marks.set(this.marks);
    children.set(this.children);
    owners.set(this.owners);
    bases.set(this.bases);
    for (const list of this.lists) list.grow(marks);
    this.marks = marks;
    this.children = children;
    this.owners = owners;
    this.bases = bases;
    this.#capacity = capacity;
  }
}

// Functions and not private methods: engines check the receiver of those at every call, which costs as much again
// as the work.

/** Gives the upper halves of the block of order `have` at `unit` back, until its order is `order`. */
function split(level: BuddyLevel, unit: number, have: number, order: number): void {
  for (let half = have - 1; half >= order; half -= 1) level.addFree(unit + (1 << half), half);
}

function takeFromParent(level: BuddyLevel, order: number): number {
  const owner = level.parent === undefined ? -1 : level.parent.take(0);
  if (owner < 0) return -1;
  let node: number;
  try {
    node = level.openNode(owner);
  } catch (error) {
    // No room for its tables: nothing has been written.
    level.parent?.giveBack(owner, 0);
    throw error;
  }
  split(level, node * NODE_UNITS, LEVEL_ORDERS, order);
  return node * NODE_UNITS;
}
