import { addressOfPage, cell, HIGH, halves, LOW, pageNumberOf } from './address-cell.ts';
import { blockBytes } from './block.ts';
import {
  ALLOCATED,
  BuddyLevel,
  DIVIDED,
  FREE,
  KIND,
  LEVEL_ORDERS,
  NODE_UNITS,
  ORDER,
} from './buddy-level.ts';
import type { FreeList } from './free-list.ts';
import { largestOrderIn, orderAround, type PageRange } from './page-range.ts';

/** A block of the tree. */
export interface TreeBlock {
  /** Its first page, by number. */
  readonly start: number;
  /** log2 of its pages. */
  readonly order: number;
  /** Whether it is free; else it is allocated. */
  readonly isFree: boolean;
}

/**
 * Buddy allocation in a range of pages, in tables that grow with use: a tree of nodes, as page tables are. A node
 * has 1024 units; a unit of level n is 2^(10·n) pages, and is a block, or a part of one, or divided: then a node
 * one level down describes it. So a range of any size starts as a few large blocks, and only what is broken up
 * has tables.
 *
 * Free memory merges as far as the range goes. A block of order n starts at a multiple of 2^n pages. Pages are
 * numbered from address 0 on; a number is at most 2^52, so it is exact.
 */
export class BuddyTree {
  /** The pages that it may hold. */
  readonly range: PageRange;
  /** The order of the largest block that fits the range. */
  readonly maxOrder: number;
  /** Level 0, whose units are pages, first; there are two at least. */
  readonly levels: readonly BuddyLevel[];
  // What follows are parts of `levels` and of the origin in the form that looking an address up needs.
  /** Level 0. */
  readonly leaf: BuddyLevel;
  /** Level 1. */
  readonly aboveLeaf: BuddyLevel;
  /** The first page of the first root: a multiple of every block's size. */
  readonly origin: number;
  /** Units of the top level. */
  readonly rootUnits: number;
  /** Leaf nodes, if all were open. */
  readonly leafNodes: number;
  /** Bits 63:32 of the origin's address; the others are zero, because a root has 4 GiB at least. */
  readonly originHigh: number;

  constructor(range: PageRange) {
    this.range = range;
    this.maxOrder = largestOrderIn(range);
    const top = Math.max(1, Math.ceil(this.maxOrder / LEVEL_ORDERS) - 1);
    const rootPages = NODE_UNITS ** (top + 1);
    const origin = Math.floor(range.start / rootPages) * rootPages;
    const roots = Math.ceil((range.end - origin) / rootPages);

    const levels: BuddyLevel[] = [];
    for (let index = top; index >= 0; index -= 1) {
      const maxOrder = index === top ? Math.max(0, this.maxOrder - LEVEL_ORDERS * top) : LEVEL_ORDERS;
      levels.unshift(
        new BuddyLevel({ index, parent: levels[0], maxOrder, maxNodes: roots * NODE_UNITS ** (top - index) }),
      );
    }
    for (let root = 0; root < roots; root += 1) {
      (levels[top] as BuddyLevel).openRoot(addressOfPage(origin + root * rootPages));
    }
    this.levels = levels;
    this.leaf = levels[0] as BuddyLevel;
    this.aboveLeaf = levels[1] as BuddyLevel;
    this.origin = origin;
    this.rootUnits = roots * NODE_UNITS;
    this.leafNodes = roots * NODE_UNITS ** top;
    cell[0] = addressOfPage(origin);
    this.originHigh = halves[HIGH] as number;
  }

  /**
   * Adds the pages of `range`, which are in no block so far and touch none, as free blocks, the largest that
   * fit. O(orders · levels).
   */
  addFreeRange(range: PageRange): void {
    for (let page = range.start; page < range.end; ) {
      const order = orderAround(range, page, this.maxOrder);
      const index = this.#indexOf(order);
      const level = this.levels[index] as BuddyLevel;
      level.addFree(this.#unitAt(page, index), order - level.unitOrder);
      page += 2 ** order;
    }
  }

  /**
   * Allocates a block of `order`, 0 to `maxOrder`: its address; `undefined`, and nothing changed, if there is none.
   * O(orders), amortized.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  allocate(order: number): bigint | undefined {
    if (order < LEVEL_ORDERS) {
      const unit = this.leaf.allocate(order);
      return unit < 0 ? undefined : this.leaf.pageAddress(unit);
    }
    const level = this.levels[this.#indexOf(order)] as BuddyLevel;
    const unit = level.allocate(order - level.unitOrder);
    return unit < 0 ? undefined : level.addressOf(unit);
  }

  /** Frees the page at `address`; `false`, and nothing changed, unless it is an allocated block. O(orders). */
  freePage(address: bigint): boolean {
    const unit = this.leafUnitAt(address);
    if (unit < 0 || this.leaf.marks[unit] !== ALLOCATED) return false;
    this.leaf.free(unit, 0);
    return true;
  }

  /**
   * Frees the block at `address`; `false`, and nothing changed, unless an allocated one starts there, and has
   * `bytes` bytes if they are given. O(orders).
   */
  free(address: bigint, bytes: bigint | undefined): boolean {
    const unit = this.leafUnitAt(address);
    const mark = unit < 0 ? 0 : (this.leaf.marks[unit] as number);
    if ((mark & KIND) === ALLOCATED) {
      const order = mark & ORDER;
      if (bytes !== undefined && bytes !== blockBytes(order)) return false;
      this.leaf.free(unit, order);
      return true;
    }
    const page = pageNumberOf(address);
    const block = this.find(page);
    if (block === undefined || block.isFree || block.start !== page) return false;
    if (bytes !== undefined && bytes !== blockBytes(block.order)) return false;
    const index = this.#indexOf(block.order);
    const level = this.levels[index] as BuddyLevel;
    level.free(this.#unitAt(page, index), block.order - level.unitOrder);
    return true;
  }

  /**
   * The unit of level 0 that is the page at `address`, any `bigint`; −1 if there is none: no page starts there, or
   * none of the tree, or no leaf node describes it. O(levels).
   */
  leafUnitAt(address: bigint): number {
    cell[0] = address;
    const low = halves[LOW] as number;
    // The cell keeps 64 bits: it gives back another value if there were more, or a sign.
    if ((low & 0xfff) !== 0 || cell[0] !== address) return -1;
    // Bits 63:22 are the leaf node, counted here from the origin on; bits 21:12 are the page in it.
    const leaf = (((halves[HIGH] as number) - this.originHigh) >>> 0) * 1024 + (low >>> 22);
    if (leaf >= this.leafNodes) return -1;
    const owner = this.levels.length === 2 ? leaf : ownerOf(this, leaf);
    const node = owner < 0 ? 0 : (this.aboveLeaf.children[owner] as number);
    return node === 0 ? -1 : ((node - 1) << 10) + ((low >>> 12) & 0x3ff);
  }

  /** The block that `page`, any integer, is in, or `undefined` if it is in none. O(orders). */
  find(page: number): TreeBlock | undefined {
    const offset = page - this.origin;
    const top = this.levels.length - 1;
    let unit = Math.floor(offset / NODE_UNITS ** top);
    if (unit < 0 || unit >= this.rootUnits) return undefined;
    for (let index = top; ; ) {
      const level = this.levels[index] as BuddyLevel;
      const head = level.headOf(unit);
      if (head < 0) return undefined;
      const mark = level.marks[head] as number;
      if (mark !== DIVIDED) {
        return {
          start: pageNumberOf(level.addressOf(head)),
          order: (mark & ORDER) + level.unitOrder,
          isFree: (mark & KIND) === FREE,
        };
      }
      index -= 1;
      unit = ((level.children[head] as number) - 1) * NODE_UNITS + placeInNode(offset, index);
    }
  }

  /** How many free blocks of `order`, 0 to `maxOrder`, there are. O(1). */
  freeBlocks(order: number): number {
    const level = this.levels[this.#indexOf(order)] as BuddyLevel;
    return (level.lists[order - level.unitOrder] as FreeList).count;
  }

  /** How many allocated blocks of `order`, 0 to `maxOrder`, there are. O(1). */
  allocatedBlocks(order: number): number {
    const level = this.levels[this.#indexOf(order)] as BuddyLevel;
    return level.allocated[order - level.unitOrder] as number;
  }

  /** The level that has the blocks of `order`: the top one has one order more than the others. */
  #indexOf(order: number): number {
    return Math.min(Math.floor(order / LEVEL_ORDERS), this.levels.length - 1);
  }

  /** The unit of level `index` that `page` is in; those above it, if they were in no block so far, are divided. */
  #unitAt(page: number, index: number): number {
    const offset = page - this.origin;
    let at = this.levels.length - 1;
    let unit = Math.floor(offset / NODE_UNITS ** at);
    while (at > index) {
      at -= 1;
      unit = (this.levels[at] as BuddyLevel).openNode(unit) * NODE_UNITS + placeInNode(offset, at);
    }
    return unit;
  }
}

/** The unit of level 1 that the leaf node `leaf`, counted from the origin, describes; −1 if there is none. */
function ownerOf(tree: BuddyTree, leaf: number): number {
  let index = tree.levels.length - 1;
  let unit = Math.floor(leaf / NODE_UNITS ** (index - 1));
  while (index > 1) {
    const node = (tree.levels[index] as BuddyLevel).children[unit] as number;
    if (node === 0) return -1;
    index -= 1;
    unit = (node - 1) * NODE_UNITS + placeInNode(leaf, index - 1);
  }
  return unit;
}

/** Which unit of its node at level `index` the page is in that is `offset` pages from the origin. */
function placeInNode(offset: number, index: number): number {
  return Math.floor(offset / NODE_UNITS ** index) % NODE_UNITS;
}
