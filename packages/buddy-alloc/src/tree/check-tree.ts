import { formatAddress } from '@svsm/address';
import { BuddyError, type Invariant } from '../pages/buddy-error.ts';
import { type PageRange, rangeAt } from '../pages/page-range.ts';
import { addressOfPage } from '../pages/words.ts';
import {
  type BuddyLevel,
  DIVIDED,
  FILE,
  FREE,
  HEAP,
  KIND,
  NODE_UNITS,
  ORDER,
  REST,
  RUN,
  SLAB,
} from './buddy-level.ts';
import type { BuddyTree } from './buddy-tree.ts';
import { freeListProblem } from './free-lists.ts';

/**
 * Checks that the tables of `tree` agree with each other and with its range. Ends, whatever they hold.
 * O(units of all nodes + blocks).
 *
 * @param absent - the pages of the range that are in no block: ascending, disjoint, not touching
 * @throws BuddyError `BROKEN_INVARIANT`
 */
export function checkTree(tree: BuddyTree, absent: readonly PageRange[]): void {
  const seen = new SeenBlocks();
  for (const [index, level] of tree.levels.entries()) {
    const below = tree.levels[index - 1];
    const roots = index === tree.levels.length - 1 ? tree.rootUnits / NODE_UNITS : undefined;
    checkNodes(level, below, roots);
    for (let node = 0; node < level.nodes; node += 1) checkNode(level, below, node, seen);
    for (let order = 0; order < level.counts.length; order += 1) checkList(level, order, seen);
    checkFilled(level);
  }
  for (let order = 0; order <= tree.maxOrder; order += 1) {
    const found = seen.allocated[order] ?? 0;
    const count = tree.allocatedBlocks(order);
    if (found !== count) {
      fail('block-counts', `${found} blocks of order ${order} are allocated, but the counter is ${count}`);
    }
  }
  checkPartition(tree, absent, seen);
}

/** The kinds of block that a block marked REST may follow. */
const RUN_KINDS: ReadonlySet<number> = /* @__PURE__ */ new Set([RUN, REST, HEAP]);

/** The numbers of blocks found in the tables, by order. */
class SeenBlocks {
  readonly free: number[] = [];
  readonly allocated: number[] = [];
  pages = 0;

  add(order: number, isFree: boolean): void {
    const blocks = isFree ? this.free : this.allocated;
    blocks[order] = (blocks[order] ?? 0) + 1;
    this.pages += 2 ** order;
  }
}

function fail(invariant: Invariant, problem: string): never {
  throw new BuddyError('BROKEN_INVARIANT', { invariant, problem });
}

/**
 * Checks that the tables have room for the open nodes, that there are `roots` nodes at the top, that a unit names only a
 * node that names the unit, and that nodes that are not open hold nothing.
 */
function checkNodes(level: BuddyLevel, below: BuddyLevel | undefined, roots: number | undefined): void {
  const { nodes, marks, children } = level;
  const name = `level of order ${level.unitOrder}`;
  const isPossible = Number.isInteger(nodes) && nodes >= 0 && nodes * NODE_UNITS <= marks.length;
  if (!isPossible || nodes !== (roots ?? nodes)) fail('metadata', `the ${name} has ${nodes} nodes`);
  for (let unit = 0; unit < children.length; unit += 1) {
    const child = children[unit]!;
    if (child !== 0 && (child > (below?.nodes ?? 0) || below?.owners[child - 1] !== unit)) {
      fail('metadata', `${nameOf(level, unit)} names node ${child - 1} below, which does not name it`);
    }
  }
  for (let unit = nodes * NODE_UNITS; unit < marks.length; unit += 1) {
    if (marks[unit] !== 0) fail('metadata', `${nameOf(level, unit)} is in a node that is not open`);
  }
}

/** Checks that the marks of a node are blocks, one after another, and that the node is where it should be. */
function checkNode(level: BuddyLevel, below: BuddyLevel | undefined, node: number, seen: SeenBlocks): void {
  const isDivided = level.parent === undefined || checkOwner(level, level.parent, node);
  const end = (node + 1) * NODE_UNITS;
  let isBare = true;
  for (let unit = node * NODE_UNITS; unit < end; ) {
    const mark = level.marks[unit]!;
    if (mark === 0) {
      unit += 1;
      continue;
    }
    isBare = false;
    const name = nameOf(level, unit);
    if (!isDivided) fail('partition', `${name} is in a block, but its node lies in another one`);
    checkMark(level, below, unit, mark);
    const order = mark & ORDER;
    const next = unit + 2 ** order;
    for (unit += 1; unit < next; unit += 1) {
      if (level.marks[unit] !== 0) {
        fail('partition', `${nameOf(level, unit)} starts a block inside that of ${name}`);
      }
    }
    if ((mark & KIND) !== DIVIDED) seen.add(order + level.unitOrder, (mark & KIND) === FREE);
  }
  if (isDivided && isBare && level.parent !== undefined) {
    fail('partition', `the node of ${nameOf(level, node * NODE_UNITS)} is open, but has no block`);
  }
}

/** Checks that the node and the unit above name each other. Returns whether that unit is divided. */
function checkOwner(level: BuddyLevel, parent: BuddyLevel, node: number): boolean {
  const owner = level.owners[node]!;
  const name = nameOf(level, node * NODE_UNITS);
  if (parent.children[owner] !== node + 1) fail('metadata', `${name} is not below ${nameOf(parent, owner)}`);
  const isPlaced = level.unitOrder !== 0 || level.offsets[node] === level.offsetOf(node);
  if (level.bases[node] !== parent.addressOf(owner) || !isPlaced) {
    fail('metadata', `${name} is not at the address of ${nameOf(parent, owner)}`);
  }
  return parent.marks[owner] === DIVIDED;
}

function checkMark(level: BuddyLevel, below: BuddyLevel | undefined, unit: number, mark: number): void {
  const name = nameOf(level, unit);
  const kind = mark & KIND;
  const order = mark & ORDER;
  if (kind === DIVIDED) {
    const child = level.children[unit] ?? 0;
    if (order !== 0 || child < 1 || child > (below?.nodes ?? 0)) {
      fail('metadata', `${name} is divided, but has no node below`);
    }
    return;
  }
  if (kind < FREE || kind > HEAP || order >= level.counts.length) {
    fail('metadata', `${name} has the mark 0x${mark.toString(16)}, which does not exist`);
  }
  if ((kind === FILE || kind === SLAB) && order + level.unitOrder !== 0) {
    fail('metadata', `${name} is a file page or slab, but has order ${order + level.unitOrder}`);
  }
  if (unit % 2 ** order !== 0) fail('alignment', `${name} starts a block of ${2 ** order} units`);
  if (kind !== FREE) return;
  if (order < level.maxOrder && level.marks[unit ^ (1 << order)] === mark) {
    fail('merging', `${name} and its buddy are both free`);
  }
}

/** Checks that the list of `order` is linked both ways and has every free block of that order. */
function checkList(level: BuddyLevel, order: number, seen: SeenBlocks): void {
  const { marks, unitOrder } = level;
  const name = `the free list of order ${order + unitOrder}`;
  const count = level.counts[order]!;
  const found = seen.free[order + unitOrder] ?? 0;
  if (count !== found) fail('free-counts', `${name} has ${count} blocks, but ${found} are free`);
  const problem = freeListProblem(level, order, marks, FREE | order);
  if (problem !== undefined) fail('free-lists', `${name}: ${problem}`);
}

/** Checks that `filled` has a bit for each list that is not empty, and no other. */
function checkFilled(level: BuddyLevel): void {
  const filled = level.counts.reduce((bits, count, order) => bits | (count > 0 ? 1 << order : 0), 0);
  if (level.filled !== filled) {
    const name = `the level of order ${level.unitOrder}`;
    fail(
      'free-counts',
      `${name} has lists 0x${filled.toString(16)} filled, and its field is ${level.filled}`,
    );
  }
}

/** Checks that blocks and absent ranges cover the range without gap or overlap, and that no other block exists. */
function checkPartition(tree: BuddyTree, absent: readonly PageRange[], seen: SeenBlocks): void {
  const { start, end } = tree.range;
  let pages = 0;
  let before: number | undefined;
  for (let page = start; page < end; ) {
    const name = formatAddress(addressOfPage(page));
    const block = tree.find(page);
    if (block === undefined) {
      const range = rangeAt(absent, page);
      if (range?.start !== page) fail('partition', `the page ${name} is in no block, but not reserved`);
      page = range.end;
      before = undefined;
      continue;
    }
    const size = 2 ** block.order;
    if (block.start !== page) fail('partition', `the page ${name} is in two blocks`);
    if (block.kind === REST && !(before !== undefined && RUN_KINDS.has(before))) {
      fail('runs', `the block at ${name} continues a run, but follows no block of a run`);
    }
    before = block.kind;
    if (page + size > end) fail('alignment', `the block at ${name} ends outside the region`);
    page += size;
    pages += size;
  }
  if (pages !== seen.pages) {
    fail('partition', `blocks have ${pages} pages of the region, but ${seen.pages} in all`);
  }
}

function nameOf(level: BuddyLevel, unit: number): string {
  return `unit ${unit} of order ${level.unitOrder}`;
}
