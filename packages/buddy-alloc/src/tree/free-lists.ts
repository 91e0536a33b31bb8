/** Ends a list. */
const NONE = -1;

const NO_LINKS: Int32Array<ArrayBuffer> = /* @__PURE__ */ new Int32Array(0);

/**
 * The free blocks of a level: a list for each order, linked both ways. A block is named by its first unit. The block that
 * was added last is taken first. No function looks at a mark.
 *
 * Each pair of units, 2n and 2n + 1, shares the two words of its links. At most one of them starts a free block: two would
 * be buddies, and free buddies merge. A pair without a free block has no use for its words, so new ones may hold anything.
 */
export class FreeLists {
  /** Bit n is set if a block of order n is free. */
  filled = 0;
  /** For each order, the first block, or NONE. */
  readonly heads: Int32Array<ArrayBuffer>;
  /** The number of free blocks of each order. */
  readonly counts: Int32Array<ArrayBuffer>;
  /** For each pair of units: the next block, or NONE, and the block before, which the first block of a list does not set. */
  links: Int32Array<ArrayBuffer> = NO_LINKS;

  /** @param orders - the number of orders */
  constructor(orders: number) {
    this.heads = new Int32Array(orders).fill(NONE);
    this.counts = new Int32Array(orders);
  }

  /** Makes room for the links of `units` units, an even number. O(units). */
  growLinks(units: number): void {
    const links = new Int32Array(units);
    links.set(this.links);
    this.links = links;
  }
}

// These are functions, not methods, and short: so an engine can compile all of them into a loop that allocates or frees.

/** Adds the block of `order` at `unit`. O(1). */
export function addBlock(lists: FreeLists, unit: number, order: number): void {
  const { heads, links } = lists;
  const next = heads[order]!;
  links[unit & -2] = next;
  if (next >= 0) links[next | 1] = unit;
  heads[order] = unit;
  lists.counts[order]! += 1;
  lists.filled |= 1 << order;
}

/** As {@link addBlock}, if no block of this order is free. O(1). */
export function addOnly(lists: FreeLists, unit: number, order: number): void {
  lists.links[unit & -2] = NONE;
  lists.heads[order] = unit;
  lists.counts[order] = 1;
  lists.filled |= 1 << order;
}

/** Removes the block of `order` that was added last, and returns it. There must be one. O(1). */
export function takeBlock(lists: FreeLists, order: number): number {
  const { heads } = lists;
  const unit = heads[order]!;
  const next = lists.links[unit & -2]!;
  heads[order] = next;
  if (next < 0) lists.filled ^= 1 << order;
  lists.counts[order]! -= 1;
  return unit;
}

/** Removes the block of `order` at `unit`, which must be free. O(1). */
export function removeBlock(lists: FreeLists, unit: number, order: number): void {
  const { heads, links } = lists;
  const next = links[unit & -2]!;
  lists.counts[order]! -= 1;
  if (heads[order] !== unit) {
    const before = links[unit | 1]!;
    links[before & -2] = next;
    if (next >= 0) links[next | 1] = before;
    return;
  }
  heads[order] = next;
  if (next < 0) lists.filled ^= 1 << order;
}

/**
 * The first contradiction in the list of `order`, or `undefined`. `marks` has the mark of each unit; the first unit of a
 * free block of this order has the mark `mark`. O(blocks), whatever the words hold.
 */
export function freeListProblem(
  lists: FreeLists,
  order: number,
  marks: Uint8Array,
  mark: number,
): string | undefined {
  const { links } = lists;
  const count = lists.counts[order]!;
  let before = NONE;
  let blocks = 0;
  for (let unit = lists.heads[order]!; unit !== NONE; unit = links[unit & -2]!) {
    if (marks[unit] !== mark) return `it has unit ${unit}, which is not a free block`;
    if (before !== NONE && links[unit | 1] !== before)
      return `unit ${unit} is not linked to the block before`;
    blocks += 1;
    if (blocks > count) return `it has more than ${count} blocks`;
    before = unit;
  }
  return blocks === count ? undefined : `it has ${blocks} blocks, not ${count}`;
}
