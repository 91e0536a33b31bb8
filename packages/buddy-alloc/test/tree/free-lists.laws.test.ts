import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ALLOCATED, FREE } from '../../src/tree/buddy-level.ts';
import {
  addBlock,
  addOnly,
  FreeLists,
  freeListProblem,
  removeBlock,
  takeBlock,
} from '../../src/tree/free-lists.ts';

const ORDERS = 4;

/** Free lists with the marks that a level would have, and what they should hold: for each order its blocks, the newest first. */
class Model {
  readonly lists = new FreeLists(ORDERS);
  readonly blocks: number[][] = Array.from({ length: ORDERS }, () => []);
  marks: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  constructor(units: number) {
    this.grow(units);
  }

  grow(units: number): void {
    const marks = new Uint8Array(units);
    marks.set(this.marks);
    this.marks = marks;
    this.lists.growLinks(units);
  }

  /** Whether a block may be added: its units, and those of its buddy, are in no block of the lists that would merge. */
  isFree(unit: number, order: number): boolean {
    const pair = unit & -2;
    const isPairUsed = this.blocks.some((list) => list.includes(pair) || list.includes(pair + 1));
    return unit % 2 ** order === 0 && !isPairUsed;
  }

  add(unit: number, order: number): void {
    const add = this.blocks[order]!.length === 0 && unit % 3 === 0 ? addOnly : addBlock;
    add(this.lists, unit, order);
    this.marks[unit] = FREE | order;
    this.blocks[order]!.unshift(unit);
  }

  remove(unit: number, order: number): void {
    removeBlock(this.lists, unit, order);
    this.marks[unit] = 0;
    this.blocks[order] = this.blocks[order]!.filter((other) => other !== unit);
  }

  check(): void {
    const { lists, blocks } = this;
    expect([...lists.counts]).toEqual(blocks.map(({ length }) => length));
    expect(lists.filled).toBe(
      blocks.reduce((bits, list, order) => bits | (list.length > 0 ? 1 << order : 0), 0),
    );
    expect([...lists.heads]).toEqual(blocks.map((list) => list[0] ?? -1));
    for (let order = 0; order < ORDERS; order += 1) {
      expect(freeListProblem(lists, order, this.marks, FREE | order)).toBeUndefined();
    }
  }
}

const steps = fc.array(
  fc.record({
    what: fc.constantFrom('add', 'add', 'add', 'remove', 'take', 'grow'),
    number: fc.nat(1000),
    order: fc.nat(ORDERS - 1),
  }),
  { maxLength: 120, size: 'max' },
);

test('the lists behave as arrays of blocks, the newest first', () => {
  fc.assert(
    fc.property(steps, (steps) => {
      let units = 64;
      const model = new Model(units);
      for (const { what, number, order } of steps) {
        const list = model.blocks[order]!;
        const unit = number % units;
        if (what === 'add' && model.isFree(unit, order)) {
          model.add(unit, order);
        } else if (what === 'remove' && list.length > 0) {
          model.remove(list[number % list.length]!, order);
        } else if (what === 'take' && list.length > 0) {
          const taken = takeBlock(model.lists, order);
          expect(taken).toBe(list.shift());
          model.marks[taken] = ALLOCATED | order;
        } else if (what === 'grow' && units < 256) {
          units += 64;
          model.grow(units);
        }
        model.check();
      }
      for (const [order, list] of model.blocks.entries()) {
        while (list.length > 0) expect(takeBlock(model.lists, order)).toBe(list.shift());
      }
      expect(model.lists.filled).toBe(0);
    }),
  );
});

test('a block is removed from every place of a list', () => {
  for (const victims of [
    [0, 2, 4, 6],
    [6, 4, 2, 0],
    [2, 4, 0, 6],
    [4, 6, 2, 0],
  ]) {
    const model = new Model(8);
    for (const unit of [0, 2, 4, 6]) model.add(unit, 0);
    for (const unit of victims) {
      model.remove(unit, 0);
      model.check();
    }
  }
});

test('a list of which unit 0 is left has a block', () => {
  const model = new Model(8);
  for (const unit of [0, 2]) model.add(unit, 1);
  expect(takeBlock(model.lists, 1)).toBe(2);
  model.marks[2] = ALLOCATED | 1;
  model.blocks[1] = [0];
  model.check();
});

test('either unit of a pair can be in a list', () => {
  const model = new Model(16);
  for (const unit of [1, 2, 5, 6, 9]) model.add(unit, 0);
  model.check();
  model.remove(5, 0);
  model.add(4, 1);
  model.remove(1, 0);
  model.check();
  expect(takeBlock(model.lists, 0)).toBe(9);
});

test('growing keeps the lists', () => {
  const model = new Model(2);
  model.add(1, 0);
  model.grow(64);
  model.add(62, 0);
  model.check();
});

test('freeListProblem names each contradiction', () => {
  const make = () => {
    const model = new Model(16);
    for (const unit of [0, 3, 4, 10]) model.add(unit, 0);
    model.add(8, 1);
    return model;
  };
  make().check();
  const cases: [problem: string, corrupt: (model: Model) => void][] = [
    ['it has unit 8, which is not a free block', ({ lists }) => (lists.links[10] = 8)],
    ['it has unit 10, which is not a free block', ({ marks }) => (marks[10] = ALLOCATED)],
    ['it has unit -2, which is not a free block', ({ lists }) => (lists.heads[0] = -2)],
    ['it has unit 99, which is not a free block', ({ lists }) => (lists.links[4] = 99)],
    ['it has more than 4 blocks', ({ lists }) => (lists.links[0] = 10)],
    ['unit 4 is not linked to the block before', ({ lists }) => (lists.links[0] = 4)],
    ['unit 3 is not linked to the block before', ({ lists }) => (lists.links[3] = 10)],
    ['it has more than 3 blocks', ({ lists }) => (lists.counts[0] = 3)],
    ['it has 4 blocks, not 5', ({ lists }) => (lists.counts[0] = 5)],
    ['it has 1 blocks, not 4', ({ lists }) => (lists.links[10] = -1)],
    ['it has 0 blocks, not 4', ({ lists }) => (lists.heads[0] = -1)],
  ];
  for (const [problem, corrupt] of cases) {
    const model = make();
    corrupt(model);
    expect(freeListProblem(model.lists, 0, model.marks, FREE)).toBe(problem);
  }
  expect(freeListProblem(make().lists, 1, make().marks, FREE | 1)).toBeUndefined();
});

test('the check ends if the links go round in a circle', () => {
  const model = new Model(16);
  for (const unit of [0, 2, 4]) model.add(unit, 0);
  // 4, 2, 4, 2, ..., with all links back as they should be.
  model.lists.links[2] = 4;
  model.lists.links[5] = 2;
  expect(freeListProblem(model.lists, 0, model.marks, FREE)).toBe('it has more than 3 blocks');
});
