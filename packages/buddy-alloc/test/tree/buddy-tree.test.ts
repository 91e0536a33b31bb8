import { expect, test } from 'vitest';
import { ALLOCATED, REST, RUN } from '../../src/tree/buddy-level.ts';
import { BuddyTree } from '../../src/tree/buddy-tree.ts';
import { checkTree } from '../../src/tree/check-tree.ts';

/** A tree of three levels whose level 0 can open only `nodes` nodes. */
function limited(nodes: number): BuddyTree {
  const tree = new BuddyTree({ start: 0, end: 2 ** 22 });
  const { leaf } = tree;
  const open = leaf.openNode.bind(leaf);
  leaf.openNode = (owner) => {
    const isNew = tree.aboveLeaf.children[owner] === 0;
    return isNew && leaf.nodes >= nodes ? fail() : open(owner);
  };
  return tree;
}

function fail(): never {
  throw new RangeError('no room');
}

const pictureOf = (tree: BuddyTree, end: number): string => {
  const blocks = [];
  for (let page = 0; page < end; ) {
    const block = tree.find(page);
    blocks.push(`${page}:${block?.order}:${block?.kind}`);
    page += 2 ** (block?.order ?? 0);
  }
  return blocks.join(' ');
};

test('takeRange takes the whole range or nothing', () => {
  for (const kind of [ALLOCATED, RUN, 0]) {
    const tree = limited(1);
    tree.addFreeRange(tree.range);
    const before = pictureOf(tree, 2 ** 22);
    // Both ends lie inside nodes, but there is room for only one node.
    const range = { start: 1000, end: 5000 };
    expect(() => tree.takeRange(range, kind, kind && REST, 22)).toThrow(RangeError);
    expect(pictureOf(tree, 2 ** 22)).toBe(before);
    checkTree(tree, []);
  }
});

test('addFreeRange adds the whole range or nothing', () => {
  const tree = limited(1);
  expect(() => tree.addFreeRange({ start: 1000, end: 5000 })).toThrow(RangeError);
  checkTree(tree, [tree.range]);
  expect(tree.find(1000)).toBeUndefined();
});

/** A tree in which all pages are free, except for these, which are allocated as single pages. */
function treeWith(end: number, pages: readonly number[]): BuddyTree {
  const tree = new BuddyTree({ start: 0, end });
  tree.addFreeRange(tree.range);
  for (const page of pages) tree.takeRange({ start: page, end: page + 1 }, ALLOCATED, REST, 0);
  return tree;
}

test('leafUnitAt refuses addresses outside the tree and in undivided units', () => {
  // Only unit 1 of level 1 has a node.
  const pages = [1024, 1025, 1026, 2047];
  const tree = treeWith(2 ** 22, pages);
  for (const page of pages) {
    const address = BigInt(page) * 4096n;
    for (const away of [2n ** 21n, 2n ** 30n, 2n ** 40n, 2n ** 51n].map((pages) => pages * 4096n)) {
      expect(tree.leafUnitAt(address + away)).toBe(-1);
      expect(tree.free(address + away, undefined)).toBe(false);
      expect(tree.freePage(address + away)).toBe(false);
    }
    expect(tree.find(page)?.kind).toBe(ALLOCATED);
  }
  checkTree(tree, []);
});

test('freeOffset finds the node of an offset, not the node with its number', () => {
  const pages = [1, 2 ** 20 + 1, 3 * 1024 + 5, 3 * 2 ** 20 + 5, 3 * 2 ** 20 + 1029];
  for (const victim of pages) {
    for (const free of ['freeSmall', 'freeOffset'] as const) {
      const tree = treeWith(2 ** 24, pages);
      expect(tree[free](victim)).toBe(true);
      expect(pages.filter((page) => tree.find(page)?.kind !== ALLOCATED)).toEqual([victim]);
      checkTree(tree, []);
    }
  }
});

test('freeSmall frees blocks of up to 512 pages, and nothing else', () => {
  const tree = new BuddyTree({ start: 5000, end: 2 ** 21 });
  tree.addFreeRange(tree.range);
  const [page, small, large] = [0, 9, 10].map((order) => tree.allocateOffset(order)) as [
    number,
    number,
    number,
  ];
  tree.takeRange({ start: 2 ** 20, end: 2 ** 20 + 3 }, RUN, REST, 21);
  for (const offset of [
    large,
    page + 0.5,
    small + 1,
    small - 0.1,
    2 ** 20,
    2 ** 20 + 2,
    -1,
    1,
    2 ** 31,
    2 ** 40,
    NaN,
    Infinity,
  ]) {
    expect(tree.freeSmall(offset), String(offset)).toBe(false);
  }
  expect([tree.freeSmall(small), tree.freeSmall(small), tree.freeSmall(page)]).toEqual([true, false, true]);
  expect([tree.freeOffset(large), tree.freeOffset(2 ** 20 + 1), tree.freeOffset(2 ** 20)]).toEqual([
    true,
    false,
    true,
  ]);
  checkTree(tree, []);
});

test('freeSmall leaves a tree of more than 2^31 pages to freeOffset', () => {
  const wide = new BuddyTree({ start: 2 ** 31 - 2 ** 21, end: 2 ** 31 + 2 ** 30 + 2 ** 21 });
  wide.addFreeRange(wide.range);
  const offset = wide.allocateOffset(0);
  expect([wide.isLow, wide.freeSmall(offset), wide.freeOffset(offset)]).toEqual([false, false, true]);
  const low = new BuddyTree({ start: 0, end: 2 ** 31 });
  low.addFreeRange(low.range);
  expect([low.isLow, low.freeSmall(low.allocateOffset(0))]).toEqual([true, true]);
});

test('allocateOffset and freeOffset agree with addresses in every root', () => {
  // Three levels, so a root has 2^30 pages. The range has the end of one root and a part of the next.
  const tree = new BuddyTree({ start: 2 ** 30 - 4096, end: 2 ** 30 + 2 ** 22 });
  expect(tree.rootUnits).toBe(2048);
  tree.addFreeRange(tree.range);
  const offsets: number[] = [];
  for (const order of [20, 11, 10, 10, 3, 0]) {
    for (;;) {
      const offset = tree.allocateOffset(order);
      if (offset < 0) break;
      expect(tree.find(tree.origin + offset)).toEqual({
        start: tree.origin + offset,
        order,
        kind: ALLOCATED,
      });
      offsets.push(offset);
      if (order === 0 && offsets.length > 200) break;
    }
  }
  expect(offsets.length).toBeGreaterThan(3);
  for (const offset of offsets) expect(tree.freeSmall(offset) || tree.freeOffset(offset)).toBe(true);
  const fresh = new BuddyTree(tree.range);
  fresh.addFreeRange(fresh.range);
  const counts = (tree: BuddyTree) => Array.from({ length: 23 }, (_, order) => tree.freeBlocks(order));
  expect(counts(tree)).toEqual(counts(fresh));
  checkTree(tree, []);
});

test('a node is closed with its last page, also at the end of a range', () => {
  const tree = treeWith(4096, []);
  tree.removeRange({ start: 2047, end: 2048 });
  tree.removeRange({ start: 1000, end: 2047 });
  // Pages 1024 to 2047 have been removed, and no node describes them.
  checkTree(tree, [{ start: 1000, end: 2048 }]);
  expect(tree.aboveLeaf.marks[1]).toBe(0);
  tree.removeRange({ start: 0, end: 0 });
  checkTree(tree, [{ start: 1000, end: 2048 }]);
});
