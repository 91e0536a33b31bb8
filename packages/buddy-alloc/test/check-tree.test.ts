import { expect, test } from 'vitest';
import type { Invariant } from '../src/buddy-error.ts';
import { ALLOCATED, DIVIDED, FREE, REST, SLAB } from '../src/buddy-level.ts';
import { BuddyTree } from '../src/buddy-tree.ts';
import { checkTree } from '../src/check-tree.ts';
import { buddyError } from './support.ts';

const RESERVED = [{ start: 1000, end: 1010 }];

/**
 * Pages 7 to 4999, of which 1000 to 1009 are reserved, with some blocks allocated. Pages 0 to 1023, the first
 * seven of them outside, are node 0 of level 0; level 1 has the root only.
 */
function sampleTree(): BuddyTree {
  const tree = new BuddyTree({ start: 7, end: 5000 });
  tree.addFreeRange({ start: 7, end: 1000 });
  tree.addFreeRange({ start: 1010, end: 5000 });
  for (const order of [0, 0, 3, 1, 9, 10]) tree.allocate(order);
  return tree;
}

test('a tree in order passes', () => {
  checkTree(sampleTree(), RESERVED);
  checkTree(new BuddyTree({ start: 7, end: 5000 }), [{ start: 7, end: 5000 }]);
});

/** The first unit of level `index` that is marked so. */
function marked(tree: BuddyTree, index: number, mark: number): number {
  const unit = tree.levels[index]?.marks.indexOf(mark) ?? -1;
  if (unit < 0) throw new Error(`level ${index} has no mark ${mark}`);
  return unit;
}

/** Takes a free block off its list, and leaves its mark. */
function unlist(tree: BuddyTree, unit: number, order: number): void {
  if (tree.leaf.marks[unit] !== (FREE | order))
    throw new Error(`unit ${unit} is no free block of order ${order}`);
  const list = tree.leaf.lists[order]!;
  list.remove(unit >> order);
  if (list.count === 0) tree.leaf.filled &= ~(1 << order);
}

const CORRUPTIONS: [name: string, invariant: Invariant, corrupt: (tree: BuddyTree) => void][] = [
  ['a mark that means nothing', 'metadata', (tree) => (tree.leaf.marks[3] = 0x90)],
  ['a run that does not start', 'runs', (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED)] = REST)],
  ['a slab of two pages', 'metadata', (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED | 3)] = SLAB | 3)],
  ['an order that the level does not have', 'metadata', (tree) => (tree.leaf.marks[3] = FREE | 12)],
  [
    'a page that is divided',
    'metadata',
    (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED | 3)] = DIVIDED),
  ],
  [
    'a divided unit without a node below',
    'metadata',
    (tree) => (tree.aboveLeaf.marks[marked(tree, 1, ALLOCATED)] = DIVIDED),
  ],
  ['a node that is not its unit’s', 'metadata', (tree) => (tree.leaf.owners[1] = 1023)],
  ['a node at another address', 'metadata', (tree) => (tree.leaf.bases[1]! += 4096n)],
  [
    'a block that is in none',
    'partition',
    (tree) => {
      tree.leaf.marks[marked(tree, 0, ALLOCATED | 3)] = 0;
      tree.leaf.allocated[3]! -= 1;
    },
  ],
  [
    'a block inside another',
    'partition',
    (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED | 3) + 5] = ALLOCATED),
  ],
  ['a block in a node whose unit is one block', 'partition', (tree) => (tree.aboveLeaf.marks[0] = ALLOCATED)],
  [
    'a block in what is reserved',
    'partition',
    (tree) => {
      tree.leaf.marks[1003] = ALLOCATED;
      tree.leaf.allocated[0]! += 1;
    },
  ],
  [
    'a block that reaches into what is reserved',
    'partition',
    (tree) => {
      unlist(tree, 992, 3);
      tree.leaf.marks[992] = ALLOCATED | 4;
      tree.leaf.allocated[4]! += 1;
    },
  ],
  [
    'a block that reaches out of what is reserved',
    'partition',
    (tree) => {
      expect(tree.leaf.marks[1010]).toBe(ALLOCATED);
      unlist(tree, 1011, 0);
      tree.leaf.marks.fill(0, 1010, 1012);
      tree.leaf.allocated[0]! -= 1;
      tree.leaf.marks[1008] = ALLOCATED | 2;
      tree.leaf.allocated[2]! += 1;
    },
  ],
  [
    'a block outside the range',
    'partition',
    (tree) => {
      tree.leaf.marks[3] = ALLOCATED;
      tree.leaf.allocated[0]! += 1;
    },
  ],
  [
    'a block that reaches over the end of the range',
    'alignment',
    (tree) => {
      // The last block is pages 4992 to 4999, in the node that starts at page 4096.
      const unit = tree.leafUnitAt(4992n * 4096n);
      unlist(tree, unit, 3);
      tree.leaf.marks[unit] = ALLOCATED | 4;
      tree.leaf.allocated[4]! += 1;
    },
  ],
  [
    'a block at an address that is no multiple of its size',
    'alignment',
    (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED)] = ALLOCATED | 5),
  ],
  ['a count of allocated blocks', 'block-counts', (tree) => (tree.leaf.allocated[3]! += 1)],
  ['a count of allocated blocks above', 'block-counts', (tree) => (tree.aboveLeaf.allocated[0]! -= 1)],
  ['a bit of what lists are filled', 'free-counts', (tree) => (tree.leaf.filled ^= 1)],
  [
    'a block in a free list that is not free',
    'free-counts',
    (tree) => tree.leaf.lists[3]?.add(marked(tree, 0, ALLOCATED | 3) >> 3),
  ],
  [
    'a free block that is in no list',
    'free-lists',
    (tree) => tree.leaf.lists[5]?.remove(marked(tree, 0, FREE | 5) >> 5),
  ],
  ['a count of free blocks', 'free-lists', (tree) => (tree.leaf.lists[2]!.count += 1)],
  [
    'two free buddies',
    'merging',
    (tree) => {
      const unit = marked(tree, 0, ALLOCATED | 3);
      tree.leaf.allocated[3]! -= 1;
      tree.leaf.marks[unit] = FREE | 2;
      tree.leaf.marks[unit + 4] = FREE | 2;
      tree.leaf.lists[2]?.add(unit >> 2);
      tree.leaf.lists[2]?.add((unit >> 2) + 1);
      tree.leaf.filled |= 4;
    },
  ],
];

test.each(CORRUPTIONS)('%s is found: %s', (_name, invariant, corrupt) => {
  const tree = sampleTree();
  corrupt(tree);
  const error = buddyError('BROKEN_INVARIANT', () => checkTree(tree, RESERVED));
  expect(error.details.invariant).toBe(invariant);
});

test('links of a free list that lead astray are found, and not followed for ever', () => {
  const tree = new BuddyTree({ start: 0, end: 4096 });
  tree.addFreeRange(tree.range);
  const pages = Array.from({ length: 1024 }, () => tree.allocate(0) as bigint);
  // Every second page: 16 records of 32 blocks each, but for the spare one.
  for (const page of pages) if (page % 8192n === 0n) tree.free(page, undefined);
  checkTree(tree, []);
  const list = tree.leaf.lists[0]!;
  const { words } = list;
  for (const corrupt of [
    () => (words[list.head + 2] = list.head), // to itself
    () => (words[words[list.head + 2]! + 2] = list.head), // in a circle of two
    () => (words[list.head + 2] = -1), // nowhere
    () => (words[list.head + 2] = words.length), // outside
    () => (words[list.head + 2] = -4), // before the start
    () => (words[list.head + 2] = 2), // not a record
    () => (words[list.head + 3] = 0), // back to another
    () => (list.head = -1),
    () => words.fill(0, list.head, list.head + 2), // to an empty record
    () => (words[list.head] = words[list.head]! | 2), // a block too many
    () => (list.spare = -1),
  ]) {
    const saved = { words: words.slice(), head: list.head, spare: list.spare };
    corrupt();
    const error = buddyError('BROKEN_INVARIANT', () => checkTree(tree, []));
    expect(['free-lists', 'free-counts']).toContain(error.details.invariant);
    words.set(saved.words);
    list.head = saved.head;
    list.spare = saved.spare;
    checkTree(tree, []);
  }
});
