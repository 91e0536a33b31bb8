import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FREE } from '../../src/tree/buddy-level.ts';
import { FreeList, freeListProblem, HINTS } from '../../src/tree/free-list.ts';

const ORDER = 1;
const MARK = FREE | ORDER;
/** Units for ten words of bits, of which the last is not full. */
const BLOCKS = 300;

/** A list of blocks of order 1, named by number, and the marks that it reads. */
class Blocks {
  readonly list = new FreeList(ORDER, MARK);
  #marks = new Uint8Array(0);

  constructor(blocks: number = BLOCKS) {
    this.grow(blocks);
  }

  grow(blocks: number): void {
    const marks = new Uint8Array(blocks << ORDER);
    marks.set(this.#marks);
    this.#marks = marks;
    this.list.grow(marks);
  }

  add(block: number): void {
    this.#marks[block << ORDER] = MARK;
    this.list.add(block << ORDER);
  }

  /** Removes a block that the list does not choose, as when a buddy merges. */
  remove(block: number): void {
    this.#marks[block << ORDER] = 0;
    this.list.remove(block << ORDER);
  }

  take(): number {
    const unit = this.list.take();
    expect(this.#marks[unit]).toBe(MARK);
    this.#marks[unit] = 0;
    return unit >> ORDER;
  }

  /** The number of linked words. */
  get links(): number {
    return this.list.words.subarray(HINTS).filter((word, index) => index % 2 === 0 && word !== 0).length;
  }
}

test('a free list behaves like a set: add, remove, take, grow', () => {
  const step = fc.record({
    // More blocks are added than taken, so that words fill.
    what: fc.constantFrom('add', 'add', 'add', 'remove', 'take', 'grow'),
    block: fc.nat(BLOCKS - 1),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
      const blocks = new Blocks();
      let size = BLOCKS;
      const model = new Set<number>();
      for (const { what, block } of steps) {
        if (what === 'add' && !model.has(block)) {
          blocks.add(block);
          model.add(block);
        } else if (what === 'remove' && model.has(block)) {
          blocks.remove(block);
          model.delete(block);
        } else if (what === 'take' && model.size > 0) {
          expect(model.delete(blocks.take())).toBe(true);
        } else if (what === 'grow' && size < 2 * BLOCKS) {
          size += 1;
          blocks.grow(size);
        }
        expect(blocks.list.count).toBe(model.size);
        expect(freeListProblem(blocks.list)).toBeUndefined();
      }
      for (const block of model) expect(blocks.list.knows(block << ORDER)).toBe(true);
      while (model.size > 0) expect(model.delete(blocks.take())).toBe(true);
    }),
  );
});

test('every block is taken once', () => {
  const blocks = new Blocks();
  for (let block = 0; block < BLOCKS; block += 1) blocks.add(block);
  const taken = Array.from({ length: BLOCKS }, () => blocks.take());
  expect(new Set(taken).size).toBe(BLOCKS);
  expect(blocks.list.count).toBe(0);
  expect(blocks.list.hinted).toBe(0);
  expect(blocks.list.words.subarray(HINTS).every((word, index) => index % 2 === 0 || word === 0)).toBe(true);
});

test('the block that was added last is taken first, if it is still free', () => {
  const blocks = new Blocks();
  for (const block of [7, 250, 31, 32, 90]) blocks.add(block);
  blocks.remove(90);
  blocks.remove(31);
  expect([blocks.take(), blocks.take(), blocks.take()]).toEqual([32, 250, 7]);
});

test('a block that is removed and added again has two hints, and is taken once', () => {
  const blocks = new Blocks();
  blocks.add(5);
  blocks.remove(5);
  blocks.add(5);
  blocks.add(6);
  expect(blocks.list.hinted).toBe(3);
  expect([blocks.take(), blocks.take()]).toEqual([6, 5]);
  expect(blocks.list.count).toBe(0);
  blocks.add(8);
  expect([blocks.take(), blocks.list.hinted]).toEqual([8, 1]);
});

test('full hints become bits, except for stale ones', () => {
  const blocks = new Blocks(64 * HINTS);
  // Each block but the last has a word of its own. Every fourth block is removed again.
  for (let index = 0; index < HINTS - 1; index += 1) blocks.add(64 * index + 3);
  for (let index = 0; index < HINTS - 1; index += 4) blocks.remove(64 * index + 3);
  expect([blocks.links, blocks.list.hinted]).toEqual([0, HINTS - 1]);
  blocks.add(68);
  expect([blocks.links, blocks.list.hinted]).toEqual([(HINTS * 3) / 4 - 1, 0]);
  expect(blocks.list.knows(3 << ORDER)).toBe(false);
  expect(blocks.list.knows(67 << ORDER)).toBe(true);
  blocks.add(1);
  // The hint comes first, then the word that was linked last. Words of lower blocks come later.
  expect([blocks.take(), blocks.take(), blocks.take()]).toEqual([
    1,
    64 * (HINTS - 2) + 3,
    64 * (HINTS - 3) + 3,
  ]);
});

test('empty words are unlinked when a request reaches them', () => {
  const blocks = new Blocks(64 * HINTS);
  const firsts = Array.from({ length: HINTS }, (_, index) => 64 * index);
  for (const block of firsts) blocks.add(block);
  for (const block of firsts.slice(1)) blocks.remove(block);
  expect(blocks.links).toBe(HINTS);
  expect(blocks.take()).toBe(0);
  expect(blocks.links).toBe(1);
  // An empty word that is still linked is not linked again.
  for (const block of firsts) blocks.add(block);
  expect(blocks.links).toBe(HINTS);
  expect(freeListProblem(blocks.list)).toBeUndefined();
});

test('freeListProblem names each contradiction', () => {
  const make = () => {
    const blocks = new Blocks();
    // Words 1, 5 and 17 are linked, from the last to the first. One hint is left, for a block of word 9.
    for (const block of [1, 2, 70, 260]) blocks.add(block);
    for (let index = 4; index < HINTS; index += 1) {
      blocks.remove(2);
      blocks.add(2);
    }
    blocks.add(130);
    return blocks.list;
  };
  expect(freeListProblem(make())).toBeUndefined();
  expect(make().first).toBe(HINTS + 17);
  expect(make().hinted).toBe(1);
  const cases: [problem: string, corrupt: (list: FreeList) => void][] = [
    ['a link leads to -4', (list) => (list.words[HINTS + 16] = -4)],
    ['a link leads to 6', (list) => (list.words[HINTS + 16] = 6)],
    ['a link leads to 2147483647', (list) => (list.words[HINTS + 16] = 2147483647)],
    [`a link leads to ${HINTS + 21}`, (list) => (list.words[HINTS + 16] = HINTS + 21)],
    ['a link leads to 63', (list) => (list.words[HINTS + 16] = 63)],
    ['a link leads to 0', (list) => (list.first = 0)],
    [`word ${HINTS + 9} is linked, but has no link`, (list) => (list.words[HINTS + 16] = HINTS + 9)],
    [`word ${HINTS + 17} is linked, but has no link`, (list) => (list.words[HINTS + 16] = 0)],
    ['the links go round in a circle', (list) => (list.words[HINTS + 16] = HINTS + 17)],
    ['the links go round in a circle', (list) => (list.words[HINTS] = HINTS + 17)],
    ['3 words have links, 1 are linked', (list) => (list.words[HINTS + 16] = -1)],
    ['3 words have links, 0 are linked', (list) => (list.first = -1)],
    ['4 words have links, 3 are linked', (list) => (list.words[HINTS + 8] = 1)],
    [`word ${HINTS + 9} has blocks, but is not linked`, (list) => (list.words[HINTS + 9] = 8)],
    [
      'unit 142 has a bit, but is not a free block',
      (list) => (list.words[HINTS + 5] = list.words[HINTS + 5]! | (1 << 7)),
    ],
    ['unit 140 has a bit, and is hinted', (list) => (list.words[0] = 140)],
    ['it has -1 hints', (list) => (list.hinted = -1)],
    [`it has ${HINTS} hints`, (list) => (list.hinted = HINTS)],
  ];
  for (const [problem, corrupt] of cases) {
    const list = make();
    corrupt(list);
    expect(freeListProblem(list)).toBe(problem);
  }
});

test('a block with a stale hint is not found twice', () => {
  const blocks = new Blocks();
  blocks.add(5);
  blocks.remove(5);
  for (let block = 10; block < 8 + HINTS; block += 1) blocks.add(block);
  expect(blocks.list.hinted).toBe(HINTS - 1);
  // The block has two hints when the hints become bits.
  blocks.add(5);
  expect(blocks.list.hinted).toBe(0);
  expect(freeListProblem(blocks.list)).toBeUndefined();
  const taken = Array.from({ length: blocks.list.count }, () => blocks.take());
  expect(new Set(taken).size).toBe(HINTS - 1);
});

test('knows tells whether the list can find a block', () => {
  const blocks = new Blocks();
  blocks.add(40);
  expect(blocks.list.knows(40 << ORDER)).toBe(true);
  blocks.list.words[0] = 41 << ORDER;
  expect(blocks.list.knows(40 << ORDER)).toBe(false);
  blocks.list.words[0] = 40 << ORDER;
  blocks.list.hinted = 0;
  expect(blocks.list.knows(40 << ORDER)).toBe(false);
  blocks.list.words[HINTS + 3] = 1 << 8;
  expect(blocks.list.knows(40 << ORDER)).toBe(true);
});
