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
  offsetOf,
  placeInNode,
  REST,
  RUN,
} from './buddy-level.ts';

/** A block of the tree. */
export interface TreeBlock {
  /** Its first page, by number. */
  readonly start: number;
  /** log2 of its pages. */
  readonly order: number;
  /** The kind in its mark: `FREE`, or one of the allocated kinds. */
  readonly kind: number;
}

/**
 * Buddy allocation in a range of pages. The tables are a tree of nodes, as page tables are, and grow with use. A node has
 * 1024 units. A unit of level n is 2^(10·n) pages: it is a block, or part of a block, or *divided*, and then a node one
 * level below describes it. So a range of any size starts as a few large blocks, and only divided units cost tables.
 *
 * Free blocks merge up to the largest block that fits the range. A block of order n starts at a multiple of 2^n pages. Page
 * numbers count from address 0 and are at most 2^52, so they are exact in a `number`.
 */
export class BuddyTree {
  /** The pages that the tree can hold. */
  readonly range: PageRange;
  /** The order of the largest block that fits the range. */
  readonly maxOrder: number;
  /** The levels, from level 0, whose units are pages. There are at least two. */
  readonly levels: readonly BuddyLevel[];
  // The next fields are parts of `levels` and `origin`, in the form in which looking up an address needs them.
  /** Level 0. */
  readonly leaf: BuddyLevel;
  /** Level 1. */
  readonly aboveLeaf: BuddyLevel;
  /** The top level. */
  readonly root: BuddyLevel;
  /** The first page of the first root node: a multiple of the size of every block. */
  readonly origin: number;
  /** The number of units of the top level. */
  readonly rootUnits: number;
  /** The index of the top level: 1 for up to 4 GiB, 2 for up to 4 TiB, and so on. */
  readonly top: number;
  /** The number of leaf nodes if all were open. */
  readonly leafNodes: number;
  /** In a tree of more than two levels, the leaf node found last, from the origin, and its number plus one. Both stay valid. */
  lastLeaf = -1;
  lastNode = 0;
  /** Whether every page of the range is less than 2^31 pages from the origin. */
  readonly isLow: boolean;
  /** Bits 63:32 of the origin's address. Bits 31:0 are zero, because a root node has at least 4 GiB. */
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
    this.root = levels[top]!;
    this.origin = origin;
    this.rootUnits = roots * NODE_UNITS;
    this.top = top;
    this.leafNodes = roots * NODE_UNITS ** top;
    this.isLow = range.end - origin <= 2 ** 31;
    CELL[0] = addressOfPage(origin);
    this.originHigh = HALVES[HIGH]!;
  }

  /**
   * Makes the pages of `range`, which are in no block, free and merges them with their free buddies. O(orders) for each of
   * the largest blocks that fit, amortized.
   *
   * @throws BuddyError `METADATA_FULL`; nothing has changed then
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
      level.makeFree(unit, order - level.unitOrder);
      page += 2 ** order;
    }
  }

  /** Takes the pages of `range`, all of them free, out of the tree: afterwards they are in no block. As `takeRange`. */
  removeRange(range: PageRange): void {
    this.takeRange(range, 0, 0, this.maxOrder);
    this.#closeNodes(range);
  }

  /**
   * Allocates the pages of `range`, all of them free, as the largest blocks that fit, up to `maxOrder`. The first block gets
   * the mark `head`, the others get `rest`. O(orders) for each block, amortized.
   *
   * @throws BuddyError `METADATA_FULL`; nothing has changed then
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

  /** Frees the allocated blocks of which `range` consists. O(orders) for each block. */
  freeRange(range: PageRange): void {
    for (let page = range.start; page < range.end; ) {
      const block = this.find(page) as TreeBlock;
      this.#freeBlock(block);
      page += 2 ** block.order;
    }
  }

  /** The pages of the run that `block` belongs to; its own pages if it is not part of a run. O(orders) for each block. */
  runAround(block: TreeBlock): PageRange {
    let first = block;
    while (first.kind === REST) first = this.find(first.start - 1) as TreeBlock;
    let end = block.start + 2 ** block.order;
    if (block.kind !== RUN && block.kind !== REST && block.kind !== HEAP) return { start: block.start, end };
    for (let next = this.find(end); next?.kind === REST; next = this.find(end)) end += 2 ** next.order;
    return { start: first.start, end };
  }

  /**
   * Allocates a block of `order`, 0 to `maxOrder`. Returns its address, or `undefined` if no block is free. O(orders),
   * amortized.
   *
   * @throws BuddyError `METADATA_FULL`; nothing has changed then
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

  /** As {@link allocate}, but returns the block's first page, counted from the origin, or −1 if no block is free. */
  allocateOffset(order: number): number {
    if (order >= LEVEL_ORDERS || !this.isLow) return this.#allocateHigh(order);
    const { leaf } = this;
    const unit = leaf.allocate(order);
    return unit < 0 ? -1 : leaf.offsets[unit >> LEVEL_ORDERS]! + (unit & (NODE_UNITS - 1));
  }

  /** Changes the kind of the block of one page at `address`, which is allocated. O(levels). */
  markPage(address: bigint, kind: number): void {
    this.leaf.marks[this.leafUnitAt(address)] = kind;
  }

  /** Changes the kind of the allocated block of any order that starts at `page`. O(levels). */
  markBlock(page: number, kind: number): void {
    const index = this.#levelAround(page);
    const { marks } = this.levels[index]!;
    const unit = this.#unitAt(page, index);
    marks[unit] = kind | (marks[unit]! & ORDER);
  }

  /** Frees the block of one page at `address`; returns `false` if no such block is allocated there. O(orders). */
  freePage(address: bigint): boolean {
    const unit = this.leafUnitAt(address);
    if (unit < 0 || this.leaf.marks[unit] !== ALLOCATED) return false;
    this.leaf.free(unit, 0);
    return true;
  }

  /**
   * Frees the block that starts at `address`. Returns `false` if no block is allocated there, or if it does not have
   * `bytes` bytes, unless that is `undefined`. O(orders).
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

  /**
   * Frees the block of up to 512 pages that starts `offset` pages after the origin, any value. Returns `false` for anything
   * else that starts there, which {@link freeOffset} frees if it can. O(orders).
   */
  freeSmall(offset: number): boolean {
    if (typeof offset !== 'number' || (offset | 0) !== offset || !this.isLow) return false;
    const { leaf } = this;
    const number = offset >>> LEVEL_ORDERS;
    const node =
      this.top === 1
        ? this.aboveLeaf.children[number]
        : number === this.lastLeaf
          ? this.lastNode
          : nodeOf(this, number);
    if (!node) return false;
    const unit = ((node - 1) << LEVEL_ORDERS) + (offset & (NODE_UNITS - 1));
    const mark = leaf.marks[unit]!;
    if ((mark & KIND) !== ALLOCATED) return false;
    leaf.free(unit, mark & ORDER);
    return true;
  }

  /** As {@link free}, for the block or run that starts `offset` pages after the origin, inside the range. O(orders). */
  freeOffset(offset: number): boolean {
    return this.#freeAt(this.origin + offset, undefined);
  }

  /**
   * The unit of level 0 of the page that starts at `address`, any `bigint`. −1 if no page starts there, if the page is
   * outside the tree, or if no leaf node describes it. O(levels).
   */
  leafUnitAt(address: bigint): number {
    CELL[0] = address;
    const low = HALVES[LOW]!;
    if ((low & 0xfff) !== 0 || !fitsCell(address)) return -1;
    const high = HALVES[HIGH]! - this.originHigh;
    // Bits 63:22 are the leaf node, here counted from the origin; bits 21:12 are the page in it.
    const leaf = high >>> 11 === 0 ? (high << 10) + (low >>> 22) : (high >>> 0) * 1024 + (low >>> 22);
    // Past the end of the table this is `undefined`, which means the same as 0: the node was never opened.
    const node =
      this.top === 1
        ? this.aboveLeaf.children[leaf]
        : leaf === this.lastLeaf
          ? this.lastNode
          : nodeOf(this, leaf);
    return node ? ((node - 1) << 10) + ((low >>> 12) & 0x3ff) : -1;
  }

  /** The block that contains `page`, any integer; `undefined` if no block does. O(orders). */
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

  /** The number of free blocks of `order`, 0 to `maxOrder`. O(1). */
  freeBlocks(order: number): number {
    const level = this.levels[this.#indexOf(order)]!;
    return level.counts[order - level.unitOrder]!;
  }

  /** The number of allocated blocks of `order`, 0 to `maxOrder`. O(1). */
  allocatedBlocks(order: number): number {
    const level = this.levels[this.#indexOf(order)]!;
    return level.allocated[order - level.unitOrder]!;
  }

  /** As {@link allocateOffset}, for blocks above level 0, and for trees of more than 2^31 pages. */
  #allocateHigh(order: number): number {
    const level = this.levels[this.#indexOf(order)]!;
    const unit = level.allocate(order - level.unitOrder);
    return unit < 0 ? -1 : offsetOf(level, unit);
  }

  /** As {@link free}, for a page number: the slow path, for runs and for blocks above level 0. */
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
   * Takes the block of `order` at `page` out of the free block that contains it, and marks it as `kind`. With kind 0 its
   * pages are in no block afterwards. O(orders), amortized.
   *
   * @throws BuddyError `METADATA_FULL`; nothing has changed then
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
        // The parts that were split off merge again.
        level.makeFree(unit, 0);
        throw error;
      }
      level = below;
      unit = node * NODE_UNITS + placeInNode(offset, index);
      level.freeAround(node * NODE_UNITS, LEVEL_ORDERS, unit, Math.max(0, order - level.unitOrder));
    }
    if (kind !== 0) level.setAllocated(unit, order - level.unitOrder, kind);
  }

  /** Closes the nodes at the ends of `range` in which no block is left: the units above them are in no block then. */
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

  /** The lowest level with a unit for `page`. If a block contains `page`, it is a block of that level. O(levels). */
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

  /** The index of the level for blocks of `order`. The top level has one order more than the others. */
  #indexOf(order: number): number {
    return Math.min(Math.floor(order / LEVEL_ORDERS), this.levels.length - 1);
  }

  /** The unit of level `index` that contains `page`. Divides the units above it that are in no block. */
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

/** The leaf node with the number `leaf`, counted from the origin, plus one; 0 if it was never opened. Remembers it. O(levels). */
function nodeOf(tree: BuddyTree, leaf: number): number {
  const node = tree.aboveLeaf.children[ownerOf(tree, leaf)];
  if (!node) return 0;
  tree.lastLeaf = leaf;
  tree.lastNode = node;
  return node;
}

/** The unit of level 1 that leaf node `leaf`, counted from the origin, describes; −1 if no level has a table for it. */
function ownerOf(tree: BuddyTree, leaf: number): number {
  if (leaf >= tree.leafNodes) return -1;
  if (tree.top !== 2) return ownerFromRoot(tree, leaf);
  // The number of a leaf node has at most 31 bits here, and one table leads to its owner.
  const node = tree.root.children[leaf >>> LEVEL_ORDERS]!;
  return node === 0 ? -1 : ((node - 1) << LEVEL_ORDERS) + (leaf & (NODE_UNITS - 1));
}

/** As {@link ownerOf}, for a tree of any number of levels. */
function ownerFromRoot(tree: BuddyTree, leaf: number): number {
  let index = tree.top;
  let unit = Math.floor(leaf / NODE_UNITS ** (index - 1));
  while (index > 1) {
    const node = tree.levels[index]!.children[unit]!;
    if (node === 0) return -1;
    index -= 1;
    unit = (node - 1) * NODE_UNITS + placeInNode(leaf, index - 1);
  }
  return unit;
}
