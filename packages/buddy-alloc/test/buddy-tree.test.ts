import { expect, test } from 'vitest';
import { ALLOCATED, REST, RUN } from '../src/buddy-level.ts';
import { BuddyTree } from '../src/buddy-tree.ts';
import { checkTree } from '../src/check-tree.ts';

/** A tree of three levels whose level 0 opens `nodes` nodes and no more. */
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

test('when a range cannot be taken whole, nothing of it is', () => {
  for (const kind of [ALLOCATED, RUN, 0]) {
    const tree = limited(1);
    tree.addFreeRange(tree.range);
    const before = pictureOf(tree, 2 ** 22);
    // Both ends lie inside nodes, and there is room for one.
    const range = { start: 1000, end: 5000 };
    expect(() => tree.takeRange(range, kind, kind && REST, 22)).toThrow(RangeError);
    expect(pictureOf(tree, 2 ** 22)).toBe(before);
    checkTree(tree, []);
  }
});

test('when a range cannot be added whole, nothing of it is', () => {
  const tree = limited(1);
  expect(() => tree.addFreeRange({ start: 1000, end: 5000 })).toThrow(RangeError);
  checkTree(tree, [tree.range]);
  expect(tree.find(1000)).toBeUndefined();
});
