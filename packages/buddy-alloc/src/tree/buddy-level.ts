import { BuddyError } from '../pages/buddy-error.ts';
import { addBlock, addOnly, FreeLists, removeBlock, takeBlock } from './free-lists.ts';

/** The number of orders in a level: a unit of the level above is 2^10 units of this level. */
export const LEVEL_ORDERS = 10;
/** The number of units in a node. */
export const NODE_UNITS = 1024;

// The mark of a unit: the kind in the high four bits, and in the low four bits the order of the block in units of the
// level. Zero marks the rest of a block, or a unit in no block. So only the first unit of a block is ever written, and a
// new table of zeros is valid.
/** A free block starts here. */
export const FREE = 0x10;
/** An allocated block starts here. */
export const ALLOCATED = 0x20;
/** A unit that a node of the level below describes. Its order is 0. */
export const DIVIDED = 0x30;
/** A run starts here: an allocated block, and those marked {@link REST} that follow it. */
export const RUN = 0x40;
/** A block that continues a run starts here. */
export const REST = 0x50;
/** A file page: an allocated page that is freed with its last reference. */
export const FILE = 0x60;
/** A page of a slab. */
export const SLAB = 0x70;
/** A block or a run of a heap. */
export const HEAP = 0x80;
/** The bits of the kind in a mark. */
export const KIND = 0xf0;
/** The bits of the order in a mark. */
export const ORDER = 0x0f;

/** The most nodes of a level: unit numbers are computed in signed 32 bits. */
const MAX_NODES = 0x20_0000;

/** The parameters of a {@link BuddyLevel}. */
export interface BuddyLevelSpec {
  /** 0 for the level whose units are pages, 1 for the level above it, and so on. */
  readonly index: number;
  /** The level above, of which each node of this level is a unit; `undefined` for the top level. */
  readonly parent: BuddyLevel | undefined;
  /** The greatest order to which blocks merge: 10, or less for the top level. */
  readonly maxOrder: number;
  /** The most nodes that the level can have. */
  readonly maxNodes: number;
}

/**
 * One level of the tree: buddy allocation of orders 0 to 10, in units of 2^(10·index) pages. The tables grow by nodes of
 * 1024 units. A node is opened when a unit of the level above is divided. The number of a unit is `node * 1024 + offset`.
 * A block never crosses a node, so the number of its buddy differs in one bit, and all arithmetic is on 32 bits.
 *
 * Nothing is checked here: callers look at the mark first.
 */
export class BuddyLevel extends FreeLists {
  /** The level above. */
  readonly parent: BuddyLevel | undefined;
  /** The order of a unit, in pages. The orders of this level are relative to it. */
  readonly unitOrder: number;
  /** The greatest order to which blocks merge. */
  readonly maxOrder: number;
  /** The number of allocated blocks of each order. */
  readonly allocated: Int32Array<ArrayBuffer>;
  /** The number of open nodes. */
  nodes = 0;
  /** One mark for each unit. */
  marks: Uint8Array<ArrayBuffer>;
  /** For each unit, the node below that describes it, plus one; 0 if the unit never was divided. Empty at level 0. */
  children: Int32Array<ArrayBuffer>;
  /** For each node, the unit of the level above that the node describes. */
  owners: Int32Array<ArrayBuffer>;
  /** For each node, its start address. */
  bases: BigUint64Array<ArrayBuffer>;
  /** For each node, its first page, counted from the start of the tree: bits 31:0, signed. Empty above level 0. */
  offsets: Int32Array<ArrayBuffer>;
  readonly #unitBytes: bigint;
  readonly #maxNodes: number;
  #capacity = 0;

  constructor({ index, parent, maxOrder, maxNodes }: BuddyLevelSpec) {
    // A block of order 10 is a unit of the level above, unless this is the top level.
    const orders = parent === undefined ? maxOrder + 1 : LEVEL_ORDERS;
    super(orders);
    this.parent = parent;
    this.unitOrder = LEVEL_ORDERS * index;
    this.maxOrder = maxOrder;
    this.allocated = new Int32Array(orders);
    this.marks = new Uint8Array(0);
    this.children = new Int32Array(0);
    this.owners = new Int32Array(0);
    this.bases = new BigUint64Array(0);
    this.offsets = new Int32Array(0);
    this.#unitBytes = 0x1000n << BigInt(this.unitOrder);
    this.#maxNodes = Math.min(maxNodes, MAX_NODES);
  }

  /**
   * Allocates a block of `order`. Returns its unit, or −1 if no block is free. May open a node. O(orders), amortized.
   *
   * @throws BuddyError `METADATA_FULL`; nothing has changed then
   */
  allocate(order: number): number {
    const unit = this.take(order);
    if (unit < 0) return -1;
    this.marks[unit] = ALLOCATED | order;
    this.allocated[order]! += 1;
    return unit;
  }

  /** Frees the block of `order` that is allocated at `unit`. O(orders). */
  free(unit: number, order: number): void {
    this.allocated[order]! -= 1;
    this.makeFree(unit, order);
  }

  /** Takes a block of `order` off the free lists, as {@link allocate}, but leaves its mark to the caller. */
  take(order: number): number {
    const fitting = this.filled >>> order;
    if (fitting === 0) return takeFromParent(this, order);
    const from = order + 31 - Math.clz32(fitting & -fitting);
    const unit = takeBlock(this, from);
    split(this, unit, from, order);
    return unit;
  }

  /** Makes the block of `order` at `unit` free and merges it with every free buddy. O(orders). */
  makeFree(unit: number, order: number): void {
    const { marks, maxOrder } = this;
    marks[unit] = 0;
    let head = unit;
    let merged = order;
    while (merged < maxOrder) {
      const buddy = head ^ (1 << merged);
      if (marks[buddy] !== (FREE | merged)) break;
      marks[buddy] = 0;
      removeBlock(this, buddy, merged);
      head &= buddy;
      merged += 1;
    }
    if (merged === LEVEL_ORDERS && this.parent !== undefined) {
      // The node stays open, all zeros, for the next time that its unit is divided.
      this.parent.makeFree(this.owners[head >> LEVEL_ORDERS]!, 0);
    } else {
      this.addFree(head, merged);
    }
  }

  /** Makes units that are in no block a free block of `order`, without merging. O(1). */
  addFree(unit: number, order: number): void {
    this.marks[unit] = FREE | order;
    addBlock(this, unit, order);
  }

  /**
   * Takes the free block of order `headOrder` at `head` off its list and splits it until the block of `order` at `unit`
   * inside it is left. Leaves the mark of that block to the caller. O(orders).
   */
  takeAt(head: number, headOrder: number, unit: number, order: number): void {
    this.marks[head] = 0;
    removeBlock(this, head, headOrder);
    this.freeAround(head, headOrder, unit, order);
  }

  /**
   * Makes the block of order `headOrder` at `head`, which is in no list, free except for the block of `order` at `unit`
   * inside it. O(orders).
   */
  freeAround(head: number, headOrder: number, unit: number, order: number): void {
    let lower = head;
    for (let half = headOrder - 1; half >= order; half -= 1) {
      const upper = lower + (1 << half);
      if (unit < upper) {
        this.addFree(upper, half);
      } else {
        this.addFree(lower, half);
        lower = upper;
      }
    }
  }

  /** Marks units that are in no block as an allocated block of `order`, and counts it. O(1). */
  setAllocated(unit: number, order: number, kind: number): void {
    this.marks[unit] = kind | order;
    this.allocated[order]! += 1;
  }

  /** Whether no block starts in `node`. O(1024), the units of a node. */
  isBare(node: number): boolean {
    return this.marks.subarray(node * NODE_UNITS, (node + 1) * NODE_UNITS).every((mark) => mark === 0);
  }

  /** Opens the next node of the top level at the address `base`. Its units are in no block. */
  openRoot(base: bigint): void {
    if (this.nodes === this.#capacity) this.#grow();
    this.bases[this.nodes] = base;
    this.nodes += 1;
  }

  /**
   * Marks `owner` as divided: a unit of the level above that is in no block, or divided already. Returns the node that
   * describes it, and opens that node if necessary. O(1), amortized.
   *
   * @throws BuddyError `METADATA_FULL`; nothing has changed then
   */
  openNode(owner: number): number {
    const parent = this.parent as BuddyLevel;
    let node = parent.children[owner]! - 1;
    if (node < 0) {
      if (this.nodes === this.#capacity) this.#grow();
      node = this.nodes;
      this.bases[node] = parent.addressOf(owner);
      this.owners[node] = owner;
      if (this.unitOrder === 0) this.offsets[node] = this.offsetOf(node);
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

  /** The value that belongs in `offsets` for `node`. O(levels). */
  offsetOf(node: number): number {
    let top: BuddyLevel = this;
    while (top.parent !== undefined) top = top.parent;
    return Number(BigInt.asIntN(32, (this.bases[node]! - top.bases[0]!) >> 12n));
  }

  /** As {@link addressOf}, for level 0 only. Engines compile this form to 64-bit arithmetic. O(1). */
  pageAddress(unit: number): bigint {
    const offset = (unit & (NODE_UNITS - 1)) << 12;
    return BigInt.asUintN(64, this.bases[unit >> LEVEL_ORDERS]! + BigInt(offset));
  }

  /** The first unit of the block, of any kind, that contains `unit`; −1 if no block does. O(orders). */
  headOf(unit: number): number {
    for (let order = 0; order <= LEVEL_ORDERS; order += 1) {
      const head = unit & -(1 << order);
      const mark = this.marks[head]!;
      // The nearest mark decides, because inside a block only its first unit has one.
      if (mark !== 0) return head + (1 << (mark & ORDER)) > unit ? head : -1;
    }
    return -1;
  }

  #grow(): void {
    if (this.#capacity === this.#maxNodes) {
      throw new BuddyError('METADATA_FULL', { pages: this.#maxNodes * NODE_UNITS });
    }
    // Half as much again: copying amounts to ten bytes a page in all, and unused room to at most half of the tables.
    const capacity = Math.min(this.#capacity + 1 + (this.#capacity >> 1), this.#maxNodes);
    const units = capacity * NODE_UNITS;
    const marks = new Uint8Array(units);
    const children = new Int32Array(this.unitOrder === 0 ? 0 : units);
    const owners = new Int32Array(capacity);
    const bases = new BigUint64Array(capacity);
    const offsets = new Int32Array(this.unitOrder === 0 ? capacity : 0);
    marks.set(this.marks);
    children.set(this.children);
    owners.set(this.owners);
    bases.set(this.bases);
    offsets.set(this.offsets);
    this.growLinks(units);
    this.marks = marks;
    this.children = children;
    this.owners = owners;
    this.bases = bases;
    this.offsets = offsets;
    this.#capacity = capacity;
  }
}

// These are functions, not private methods: engines check the receiver of a private method at every call, which costs as
// much as the work itself.

/** Splits the block of order `from` at `unit`, the smallest that fits, down to `order`, and makes the upper halves free. */
function split(level: BuddyLevel, unit: number, from: number, order: number): void {
  const { marks } = level;
  for (let half = order; half < from; half += 1) {
    const upper = unit + (1 << half);
    marks[upper] = FREE | half;
    addOnly(level, upper, half);
  }
}

/** Divides a unit of the level above, and takes a block of `order` from it: its unit, or −1 if no block is free. */
function takeFromParent(level: BuddyLevel, order: number): number {
  const owner = level.parent === undefined ? -1 : level.parent.take(0);
  if (owner < 0) return -1;
  let node: number;
  try {
    node = level.openNode(owner);
  } catch (error) {
    // The tables cannot grow, and nothing has been written.
    level.parent?.makeFree(owner, 0);
    throw error;
  }
  split(level, node * NODE_UNITS, LEVEL_ORDERS, order);
  return node * NODE_UNITS;
}

/** The first page of `unit` of `level`, counted from the origin. O(levels). */
export function offsetOf(level: BuddyLevel, unit: number): number {
  let offset = unit & (NODE_UNITS - 1);
  let at = level;
  let above = unit;
  // A node of the top level is a root, and roots are numbered in the order of their addresses.
  for (let scale = NODE_UNITS; ; scale *= NODE_UNITS) {
    if (at.parent === undefined) return (offset + (above >> LEVEL_ORDERS) * scale) * 2 ** level.unitOrder;
    above = at.owners[above >> LEVEL_ORDERS]!;
    at = at.parent;
    offset += (above & (NODE_UNITS - 1)) * scale;
  }
}

/** The position, in its node of level `index`, of the unit that contains the page `offset` pages from the origin. */
export function placeInNode(offset: number, index: number): number {
  return Math.floor(offset / NODE_UNITS ** index) % NODE_UNITS;
}
