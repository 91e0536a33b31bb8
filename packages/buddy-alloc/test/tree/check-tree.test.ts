import { expect, test } from 'vitest';
import type { Invariant } from '../../src/pages/buddy-error.ts';
import { ALLOCATED, DIVIDED, FILE, FREE, REST, SLAB } from '../../src/tree/buddy-level.ts';
import { BuddyTree } from '../../src/tree/buddy-tree.ts';
import { checkTree } from '../../src/tree/check-tree.ts';
import { addBlock, removeBlock } from '../../src/tree/free-lists.ts';
import { buddyError } from '../support/allocators.ts';
import { corruptEveryWord, expectUnread, smallSample, type Word, wideSample } from '../support/corruption.ts';

const RESERVED = [{ start: 1000, end: 1010 }];

/**
 * Pages 7 to 4999, with pages 1000 to 1009 reserved and some blocks allocated. Node 0 of level 0 has pages 0 to 1023, of
 * which the first seven are outside. Level 1 has only the root.
 */
function sampleTree(): BuddyTree {
  const tree = new BuddyTree({ start: 7, end: 5000 });
  tree.addFreeRange({ start: 7, end: 1000 });
  tree.addFreeRange({ start: 1010, end: 5000 });
  tree.takeRange({ start: 8, end: 16 }, ALLOCATED, REST, 12);
  for (const order of [0, 0, 1, 9, 10]) tree.allocate(order);
  return tree;
}

test('a correct tree passes', () => {
  checkTree(sampleTree(), RESERVED);
  checkTree(new BuddyTree({ start: 7, end: 5000 }), [{ start: 7, end: 5000 }]);
});

/** The first unit of level `index` with this mark. */
function marked(tree: BuddyTree, index: number, mark: number): number {
  const unit = tree.levels[index]?.marks.indexOf(mark) ?? -1;
  if (unit < 0) throw new Error(`level ${index} has no mark ${mark}`);
  return unit;
}

/** Removes a free block from its list, but keeps its mark. */
function unlist(tree: BuddyTree, unit: number, order: number): void {
  if (tree.leaf.marks[unit] !== (FREE | order))
    throw new Error(`unit ${unit} is not a free block of order ${order}`);
  removeBlock(tree.leaf, unit, order);
}

const CORRUPTIONS: [name: string, invariant: Invariant, corrupt: (tree: BuddyTree) => void][] = [
  ['an unknown mark', 'metadata', (tree) => (tree.leaf.marks[3] = 0x90)],
  ['a block that continues no run', 'runs', (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED)] = REST)],
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
  ['a node at another offset', 'metadata', (tree) => (tree.leaf.offsets[1]! += 1)],
  [
    'a page that is in no block',
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
    'a block in reserved pages',
    'partition',
    (tree) => {
      tree.leaf.marks[1003] = ALLOCATED;
      tree.leaf.allocated[0]! += 1;
    },
  ],
  [
    'a block that reaches into reserved pages',
    'partition',
    (tree) => {
      unlist(tree, 992, 3);
      tree.leaf.marks[992] = ALLOCATED | 4;
      tree.leaf.allocated[4]! += 1;
    },
  ],
  [
    'a block that reaches out of reserved pages',
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
    'a block at an address that is not a multiple of its size',
    'alignment',
    (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED)] = ALLOCATED | 5),
  ],
  ['more nodes than there is room for', 'metadata', (tree) => (tree.leaf.nodes = 2 ** 31 - 1)],
  ['a negative number of nodes', 'metadata', (tree) => (tree.leaf.nodes = -1)],
  ['half a node', 'metadata', (tree) => (tree.leaf.nodes = 1.5)],
  ['a root that is missing', 'metadata', (tree) => (tree.aboveLeaf.nodes = 0)],
  ['a unit that names another one’s node', 'metadata', (tree) => (tree.aboveLeaf.children[9] = 1)],
  ['a unit that names a node that is not open', 'metadata', (tree) => (tree.aboveLeaf.children[9] = 3)],
  ['a block in a node that is not open', 'metadata', (tree) => (tree.leaf.nodes = 1)],
  [
    'a file page of two pages',
    'metadata',
    (tree) => (tree.leaf.marks[marked(tree, 0, ALLOCATED | 3)] = FILE | 3),
  ],
  ['a file page of 4 MiB', 'metadata', (tree) => (tree.aboveLeaf.marks[marked(tree, 1, ALLOCATED)] = FILE)],
  ['a list that the level does not have, as filled', 'free-counts', (tree) => (tree.leaf.filled |= 1 << 20)],
  [
    'a node without a block',
    'partition',
    (tree) => {
      tree.removeRange({ start: 4096, end: 5000 });
      tree.aboveLeaf.marks[4] = DIVIDED;
    },
  ],
  ['a count of allocated blocks', 'block-counts', (tree) => (tree.leaf.allocated[3]! += 1)],
  ['a count of allocated blocks above', 'block-counts', (tree) => (tree.aboveLeaf.allocated[0]! -= 1)],
  ['a bit of what lists are filled', 'free-counts', (tree) => (tree.leaf.filled ^= 1)],
  ['a block in a free list that is not free', 'free-counts', (tree) => (tree.leaf.counts[3]! += 1)],
  ['a free block that is in no list', 'free-lists', (tree) => (tree.leaf.heads[5] = -1)],
  [
    'a free block that is not counted',
    'free-counts',
    (tree) => removeBlock(tree.leaf, marked(tree, 0, FREE | 3), 3),
  ],
  [
    'two free buddies',
    'merging',
    (tree) => {
      const unit = marked(tree, 0, ALLOCATED | 3);
      tree.leaf.allocated[3]! -= 1;
      tree.leaf.marks[unit] = FREE | 2;
      tree.leaf.marks[unit + 4] = FREE | 2;
      addBlock(tree.leaf, unit, 2);
      addBlock(tree.leaf, unit + 4, 2);
    },
  ],
];

/** The problem that the check names for each corruption. */
const PROBLEMS: Readonly<Record<string, string>> = {
  'an unknown mark': 'unit 3 of order 0 has the mark 0x90, which does not exist',
  'a block that continues no run':
    'the block at 0x0000000000007000 continues a run, but follows no block of a run',
  'a slab of two pages': 'unit 8 of order 0 is a file page or slab, but has order 3',
  'an order that the level does not have': 'unit 3 of order 0 has the mark 0x1c, which does not exist',
  'a page that is divided': 'unit 8 of order 0 is divided, but has no node below',
  'a divided unit without a node below': 'unit 1 of order 10 is divided, but has no node below',
  'a node that is not its unit’s': 'unit 1024 of order 0 is not below unit 1023 of order 10',
  'a node at another address': 'unit 1024 of order 0 is not at the address of unit 4 of order 10',
  'a node at another offset': 'unit 1024 of order 0 is not at the address of unit 4 of order 10',
  'a page that is in no block': 'the page 0x0000000000008000 is in no block, but not reserved',
  'a block inside another': 'unit 13 of order 0 starts a block inside that of unit 8 of order 0',
  'a block in a node whose unit is one block':
    'unit 7 of order 0 is in a block, but its node lies in another one',
  'a block in reserved pages': 'blocks have 4983 pages of the region, but 4984 in all',
  'a block that reaches into reserved pages': 'the page 0x00000000003f0000 is in no block, but not reserved',
  'a block that reaches out of reserved pages': 'the page 0x00000000003f2000 is in two blocks',
  'a block outside the range': 'blocks have 4983 pages of the region, but 4984 in all',
  'a block that reaches over the end of the range': 'the block at 0x0000000001380000 ends outside the region',
  'a block at an address that is not a multiple of its size': 'unit 7 of order 0 starts a block of 32 units',
  'more nodes than there is room for': 'the level of order 0 has 2147483647 nodes',
  'a negative number of nodes': 'the level of order 0 has -1 nodes',
  'half a node': 'the level of order 0 has 1.5 nodes',
  'a root that is missing': 'the level of order 10 has 0 nodes',
  'a unit that names another one’s node': 'unit 9 of order 10 names node 0 below, which does not name it',
  'a unit that names a node that is not open':
    'unit 9 of order 10 names node 2 below, which does not name it',
  'a block in a node that is not open': 'unit 1024 of order 0 is in a node that is not open',
  'a file page of two pages': 'unit 8 of order 0 is a file page or slab, but has order 3',
  'a file page of 4 MiB': 'unit 1 of order 10 is a file page or slab, but has order 10',
  'a list that the level does not have, as filled':
    'the level of order 0 has lists 0x1fb filled, and its field is 1049083',
  'a node without a block': 'the node of unit 1024 of order 0 is open, but has no block',
  'a count of allocated blocks': '1 blocks of order 3 are allocated, but the counter is 2',
  'a count of allocated blocks above': '1 blocks of order 10 are allocated, but the counter is 0',
  'a bit of what lists are filled': 'the level of order 0 has lists 0x1fb filled, and its field is 506',
  'a block in a free list that is not free': 'the free list of order 3 has 4 blocks, but 3 are free',
  'a free block that is in no list': 'the free list of order 5: it has 0 blocks, not 2',
  'a free block that is not counted': 'the free list of order 3 has 2 blocks, but 3 are free',
  'two free buddies': 'unit 8 of order 0 and its buddy are both free',
};

test.each(CORRUPTIONS)('%s is found: %s', (name, invariant, corrupt) => {
  const tree = sampleTree();
  corrupt(tree);
  const error = buddyError('BROKEN_INVARIANT', () => checkTree(tree, RESERVED));
  expect(error.details.invariant).toBe(invariant);
  expect(error.details.problem).toBe(PROBLEMS[name]);
});

test.each([
  ['two nodes', smallSample],
  ['ten nodes', wideSample],
])('a wrong value in any word of %s is found, or does not matter', (_name, make) => {
  // Only some of the words that are zero, which are most. `test:deep` takes all.
  const isChosen = (word: Word, index: number) => word.get() !== 0 || index % 1009 === 0;
  const { found, harmless } = corruptEveryWord(make, isChosen, 8);
  expect(found).toBeGreaterThan(2000);
  expectUnread(harmless, make());
});

test('wrong links of a free list are found, and the check ends', () => {
  const tree = new BuddyTree({ start: 0, end: 4096 });
  tree.addFreeRange(tree.range);
  const pages = Array.from({ length: 1020 }, () => tree.allocate(0) as bigint);
  for (const page of pages) if (page % 8192n === 0n) tree.free(page, undefined);
  checkTree(tree, []);
  const { heads, links } = tree.leaf;
  const first = heads[0]!;
  const second = links[first & -2]!;
  const third = links[second & -2]!;
  for (const [corrupt, problem] of [
    [() => (links[first & -2] = first), `unit ${first} is not linked to the block before`],
    [() => (links[second & -2] = first), `unit ${first} is not linked to the block before`],
    [() => (links[first & -2] = -1), 'it has 1 blocks, not 510'],
    [() => (links[first & -2] = third), `unit ${third} is not linked to the block before`],
    [() => (links[third | 1] = first), `unit ${third} is not linked to the block before`],
    [() => (links[first & -2] = links.length), `it has unit ${links.length}, which is not a free block`],
    [() => (links[first & -2] = -5), 'it has unit -5, which is not a free block'],
    [() => (links[first & -2] = 1), 'it has unit 1, which is not a free block'],
    [() => (heads[0] = -1), 'it has 0 blocks, not 510'],
    [() => (heads[0] = second), 'it has 509 blocks, not 510'],
    [() => (heads[0] = 1), 'it has unit 1, which is not a free block'],
  ] as const) {
    const saved = { links: links.slice(), heads: heads.slice() };
    corrupt();
    const { details } = buddyError('BROKEN_INVARIANT', () => checkTree(tree, []));
    expect([details.invariant, details.problem]).toEqual([
      'free-lists',
      `the free list of order 0: ${problem}`,
    ]);
    links.set(saved.links);
    heads.set(saved.heads);
    checkTree(tree, []);
  }
});
