import { blockBytes } from '../pages/block.ts';
import { largestOrderIn, orderAround, type PageRange } from '../pages/page-range.ts';
import { addressOfPage, CELL, fitsCell, HALVES, HIGH, LOW, pageNumberOf } from '../pages/words.ts';
import {
  ALLOCATED,
  BuddyLevel,
  DIVIDED,
  HEAP,
  KIND,
  LEVEL_ORDERS,
  NODE_UNITS,
  ORDER,
  REST,
  RUN,
} from './buddy-level.ts';

/** A block of the tree. */
export interface TreeBlock {
  /** Its first page, by number. */
  readonly start: number;
  /** log2 of its pages. */
  readonly order: number;
  /** What its mark says: `FREE`, or what it is allocated as. */
  readonly kind: number;
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
  /** Whether level 1 is the top one: then its units are counted as leaf nodes are. */
  readonly isFlat: boolean;
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
      levels[top]!.openRoot(addressOfPage(origin + root * rootPages));
    }
    this.levels = levels;
    this.leaf = levels[0]!;
    this.aboveLeaf = levels[1]!;
    this.origin = origin;
    this.rootUnits = roots * NODE_UNITS;
    this.isFlat = top === 1;
    this.leafNodes = roots * NODE_UNITS ** top;
    CELL[0] = addressOfPage(origin);
    this.originHigh = HALVES[HIGH]!;
  }

  /**
   * Makes the pages of `range`, which are in no block so far, free, merged with what is around them. O(orders) for
   * each of the largest blocks that fit, amortized.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  addFreeRange(range: PageRange): void {
    for (let page = range.start; page < range.end; ) {
      const order = orderAround(range, page, this.maxOrder);
      const index = this.#indexOf(order);
      const level = this.levels[index]!;
      let unit: number;
      try {
        unit = this.#unitAt(page, index);
      } catch (error) {
        this.#closeNodes({ start: page, end: page + 1 });
        this.removeRange({ start: range.start, end: page });
        throw error;
      }
      level.giveBack(unit, order - level.unitOrder);
      page += 2 ** order;
    }
  }

  /** Takes the pages of `range`, all of them free, out of the tree: they are in no block then. As `takeRange`. */
  removeRange(range: PageRange): void {
    this.takeRange(range, 0, 0, this.maxOrder);
    this.#closeNodes(range);
  }

  /**
   * Allocates the pages of `range`, all of them free, as the largest blocks that fit, up to `maxOrder`: the first is
   * marked `head`, the others `rest`. O(orders) for each of them, amortized.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  takeRange(range: PageRange, head: number, rest: number, maxOrder: number): void {
    let kind = head;
    for (let page = range.start; page < range.end; ) {
      const order = orderAround(range, page, maxOrder);
      try {
        this.#takeAt(page, order, kind);
      } catch (error) {
        const taken = { start: range.start, end: page };
        if (head === 0) this.addFreeRange(taken);
        else this.freeRange(taken);
        throw error;
      }
      kind = rest;
      page += 2 ** order;
    }
  }

  /** Frees the blocks that together are `range`, all of them allocated. O(orders) for each. */
  freeRange(range: PageRange): void {
    for (let page = range.start; page < range.end; ) {
      const block = this.find(page) as TreeBlock;
      this.#freeBlock(block);
      page += 2 ** block.order;
    }
  }

  /** The pages of the run that `block` belongs to; of another block, its own. O(orders) for each block of the run. */
  runAround(block: TreeBlock): PageRange {
    let first = block;
    while (first.kind === REST) first = this.find(first.start - 1) as TreeBlock;
    let end = block.start + 2 ** block.order;
    if (block.kind !== RUN && block.kind !== REST && block.kind !== HEAP) return { start: block.start, end };
    for (let next = this.find(end); next?.kind === REST; next = this.find(end)) end += 2 ** next.order;
    return { start: first.start, end };
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
    const level = this.levels[this.#indexOf(order)]!;
    const unit = level.allocate(order - level.unitOrder);
    return unit < 0 ? undefined : level.addressOf(unit);
  }

  /**
   * As {@link allocate}, but gives the block's first page, counted from the origin; −1, and nothing changed, if there is
   * none.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  allocateOffset(order: number): number {
    const level = order < LEVEL_ORDERS ? this.leaf : this.levels[this.#indexOf(order)]!;
    const unit = level.allocate(order - level.unitOrder);
    if (unit < 0) return -1;
    if (level !== this.leaf || !this.isFlat) return offsetOf(level, unit);
    return (level.owners[unit >> LEVEL_ORDERS]! << LEVEL_ORDERS) + (unit & (NODE_UNITS - 1));
  }

  /** Changes what the single page at `address`, which is allocated, is marked as. O(levels). */
  markPage(address: bigint, kind: number): void {
    this.leaf.marks[this.leafUnitAt(address)] = kind;
  }

  /** The same for the block of any order that starts at `page`. O(levels). */
  markBlock(page: number, kind: number): void {
    const index = this.#levelAround(page);
    const { marks } = this.levels[index]!;
    const unit = this.#unitAt(page, index);
    marks[unit] = kind | (marks[unit]! & ORDER);
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
    const mark = unit < 0 ? 0 : this.leaf.marks[unit]!;
    if ((mark & KIND) === ALLOCATED) {
      const order = mark & ORDER;
      if (bytes !== undefined && bytes !== blockBytes(order)) return false;
      this.leaf.free(unit, order);
      return true;
    }
    return this.#freeAt(pageNumberOf(address), bytes);
  }

  /** As {@link free}, for the page `offset`, one of the range, counted from the origin. O(orders). */
  freeOffset(offset: number): boolean {
    const owner = this.isFlat ? offset >>> LEVEL_ORDERS : ownerOf(this, Math.floor(offset / NODE_UNITS));
    const node = this.aboveLeaf.children[owner];
    if (node) {
      const unit = ((node - 1) << 10) + (offset & 0x3ff);
      const mark = this.leaf.marks[unit]!;
      if ((mark & KIND) === ALLOCATED) {
        this.leaf.free(unit, mark & ORDER);
        return true;
      }
    }
    return this.#freeAt(this.origin + offset, undefined);
  }

  /**
   * The unit of level 0 that is the page at `address`, any `bigint`; −1 if there is none: no page starts there, or
   * none of the tree, or no leaf node describes it. O(levels).
   */
  leafUnitAt(address: bigint): number {
    CELL[0] = address;
    const low = HALVES[LOW]!;
    if ((low & 0xfff) !== 0 || !fitsCell(address)) return -1;
    // Bits 63:22 are the leaf node, counted here from the origin on; bits 21:12 are the page in it.
    const leaf = ((HALVES[HIGH]! - this.originHigh) >>> 0) * 1024 + (low >>> 22);
    const owner = this.isFlat ? leaf : ownerOf(this, leaf);
    // Past the last of them there is none, as for one that was never opened.
    const node = this.aboveLeaf.children[owner];
    return node ? ((node - 1) << 10) + ((low >>> 12) & 0x3ff) : -1;
  }

  /** The block that `page`, any integer, is in, or `undefined` if it is in none. O(orders). */
  find(page: number): TreeBlock | undefined {
    const offset = page - this.origin;
    const top = this.levels.length - 1;
    let unit = Math.floor(offset / NODE_UNITS ** top);
    if (unit < 0 || unit >= this.rootUnits) return undefined;
    for (let index = top; ; ) {
      const level = this.levels[index]!;
      const head = level.headOf(unit);
      if (head < 0) return undefined;
      const mark = level.marks[head]!;
      if (mark !== DIVIDED) {
        return {
          start: pageNumberOf(level.addressOf(head)),
          order: (mark & ORDER) + level.unitOrder,
          kind: mark & KIND,
        };
      }
      index -= 1;
      unit = (level.children[head]! - 1) * NODE_UNITS + placeInNode(offset, index);
    }
  }

  /** How many free blocks of `order`, 0 to `maxOrder`, there are. O(1). */
  freeBlocks(order: number): number {
    const level = this.levels[this.#indexOf(order)]!;
    return level.lists[order - level.unitOrder]!.count;
  }

  /** How many allocated blocks of `order`, 0 to `maxOrder`, there are. O(1). */
  allocatedBlocks(order: number): number {
    const level = this.levels[this.#indexOf(order)]!;
    return level.allocated[order - level.unitOrder]!;
  }

  /** As {@link free}, for the page with this number: what is no plain block of level 0. */
  #freeAt(page: number, bytes: bigint | undefined): boolean {
    const block = this.find(page);
    if (block === undefined || block.start !== page) return false;
    if (block.kind === RUN) {
      const run = this.runAround(block);
      if (bytes !== undefined && bytes !== addressOfPage(run.end - run.start)) return false;
      this.freeRange(run);
      return true;
    }
    if (block.kind !== ALLOCATED || (bytes !== undefined && bytes !== blockBytes(block.order))) return false;
    this.#freeBlock(block);
    return true;
  }

  /** Frees an allocated block. O(orders). */
  #freeBlock({ start, order }: TreeBlock): void {
    const index = this.#indexOf(order);
    const level = this.levels[index]!;
    level.free(this.#unitAt(start, index), order - level.unitOrder);
  }

  /**
   * Takes the block of `order` at `page`, all of it free, from the free block that it lies in, and marks it as
   * `kind`; 0 leaves it in no block. O(orders), amortized.
   *
   * @throws BuddyError `METADATA_FULL`, and nothing has changed
   */
  #takeAt(page: number, order: number, kind: number): void {
    const offset = page - this.origin;
    let index = this.#levelAround(page);
    let level = this.levels[index]!;
    let unit = this.#unitAt(page, index);
    const head = level.headOf(unit);
    level.takeAt(head, level.marks[head]! & ORDER, unit, Math.max(0, order - level.unitOrder));
    while (order < level.unitOrder) {
      index -= 1;
      const below = this.levels[index]!;
      let node: number;
      try {
        node = below.openNode(unit);
      } catch (error) {
        // What was split off on the way down merges again.
        level.giveBack(unit, 0);
        throw error;
      }
      level = below;
      unit = node * NODE_UNITS + placeInNode(offset, index);
      level.narrow(node * NODE_UNITS, LEVEL_ORDERS, unit, Math.max(0, order - level.unitOrder));
    }
    if (kind !== 0) level.setAllocated(unit, order - level.unitOrder, kind);
  }

  /** Closes the nodes at the ends of `range` in which no block is left: their units are in no block either. */
  #closeNodes({ start, end }: PageRange): void {
    for (const page of start < end ? [start, end - 1] : []) {
      let index = this.#levelAround(page);
      let unit = this.#unitAt(page, index);
      for (; index < this.levels.length - 1; index += 1) {
        const level = this.levels[index]!;
        const node = unit >> LEVEL_ORDERS;
        if (!level.isBare(node)) break;
        unit = level.owners[node]!;
        this.levels[index + 1]!.marks[unit] = 0;
      }
    }
  }

  /** The lowest level that has a unit for `page`: that of the block it is in, if it is in one. O(levels). */
  #levelAround(page: number): number {
    const offset = page - this.origin;
    let index = this.levels.length - 1;
    let unit = Math.floor(offset / NODE_UNITS ** index);
    for (;;) {
      const level = this.levels[index]!;
      if (level.marks[unit] !== DIVIDED) return index;
      index -= 1;
      unit = (level.children[unit]! - 1) * NODE_UNITS + placeInNode(offset, index);
    }
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
      unit = this.levels[at]!.openNode(unit) * NODE_UNITS + placeInNode(offset, at);
    }
    return unit;
  }
}

/** The unit of level 1 that the leaf node `leaf`, counted from the origin, describes; −1 if there is none. */
function ownerOf(tree: BuddyTree, leaf: number): number {
  if (leaf >= tree.leafNodes) return -1;
  let index = tree.levels.length - 1;
  let unit = Math.floor(leaf / NODE_UNITS ** (index - 1));
  while (index > 1) {
    const node = tree.levels[index]!.children[unit]!;
    if (node === 0) return -1;
    index -= 1;
    unit = (node - 1) * NODE_UNITS + placeInNode(leaf, index - 1);
  }
  return unit;
}

/** The first page of `unit` of `level`, counted from the origin: {@link ownerOf} backward, down to pages. */
function offsetOf(level: BuddyLevel, unit: number): number {
  let offset = unit & (NODE_UNITS - 1);
  let at = level;
  let above = unit;
  // A node of the top level is a root, and roots are numbered as they lie.
  for (let scale = NODE_UNITS; ; scale *= NODE_UNITS) {
    if (at.parent === undefined) return (offset + (above >> LEVEL_ORDERS) * scale) * 2 ** level.unitOrder;
    above = at.owners[above >> LEVEL_ORDERS]!;
    at = at.parent;
    offset += (above & (NODE_UNITS - 1)) * scale;
  }
}

/** Which unit of its node at level `index` the page is in that is `offset` pages from the origin. */
function placeInNode(offset: number, index: number): number {
  return Math.floor(offset / NODE_UNITS ** index) % NODE_UNITS;
}
