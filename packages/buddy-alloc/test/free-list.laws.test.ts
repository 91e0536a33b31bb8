import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FreeList, freeListProblem } from '../src/free-list.ts';

const CAPACITY = 300;

test('a free list is a set: add, remove, take, has, grow', () => {
  const step = fc.record({
    // More adding than taking, so that records fill.
    what: fc.constantFrom('add', 'add', 'add', 'remove', 'take', 'grow'),
    block: fc.nat(CAPACITY - 1),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
      const list = new FreeList();
      let capacity = CAPACITY;
      list.grow(capacity);
      const model = new Set<number>();
      for (const { what, block } of steps) {
        if (what === 'add' && !model.has(block)) {
          list.add(block);
          model.add(block);
        } else if (what === 'remove' && model.has(block)) {
          list.remove(block);
          model.delete(block);
        } else if (what === 'take' && model.size > 0) {
          const taken = list.take();
          expect(model.delete(taken)).toBe(true);
        } else if (what === 'grow' && capacity < 2 * CAPACITY) {
          capacity += 1;
          list.grow(capacity);
        }
        expect(list.count).toBe(model.size);
        expect(freeListProblem(list)).toBeUndefined();
      }
      for (let block = 0; block < CAPACITY; block += 1) expect(list.has(block)).toBe(model.has(block));
    }),
  );
});

test('every block comes out once', () => {
  const list = new FreeList();
  list.grow(CAPACITY);
  for (let block = 0; block < CAPACITY; block += 1) list.add(block);
  const taken = Array.from({ length: CAPACITY }, () => list.take());
  expect(new Set(taken).size).toBe(CAPACITY);
  expect(list.count).toBe(0);
  expect(list.words.every((word, index) => word === 0 || index % 4 > 1)).toBe(true);
});

test('what is wrong with a list is said', () => {
  const make = () => {
    const list = new FreeList();
    list.grow(CAPACITY);
    // The first is the spare; then records 0, 4 and 16 are linked, the last of them first.
    for (const block of [299, 1, 40, 70, 260]) list.add(block);
    return list;
  };
  expect(freeListProblem(make())).toBeUndefined();
  expect(make().head).toBe(16);
  const cases: [problem: string, corrupt: (list: FreeList) => void][] = [
    ['a link leads to -4', (list) => (list.words[18] = -4)],
    ['a link leads to 20', (list) => (list.words[18] = 20)],
    ['a link leads to 2147483647', (list) => (list.words[18] = 2147483647)],
    ['a link leads to 6', (list) => (list.words[18] = 6)],
    ['record 4 does not link back to 16', (list) => (list.words[7] = -1)],
    ['record 16 does not link back to -1', (list) => (list.words[19] = 4)],
    ['record 16 does not link back to 4', (list) => (list.words[6] = 16)],
    ['record 4 is linked, but empty', (list) => list.words.fill(0, 4, 6)],
    ['3 records have blocks, 1 are linked', (list) => (list.words[18] = -1)],
    ['3 records have blocks, 0 are linked', (list) => (list.head = -1)],
    ['4 records have blocks, 3 are linked', (list) => (list.words[8] = 1)],
    ['it has 6 blocks, and its count is 5', (list) => (list.words[17] = -(2 ** 31) | list.words[17]!)],
    ['it has 4 blocks, and its count is 5', (list) => (list.spare = -1)],
    ['it has 5 blocks, and its count is -1', (list) => (list.count = -1)],
  ];
  for (const [problem, corrupt] of cases) {
    const list = make();
    corrupt(list);
    expect(freeListProblem(list)).toBe(problem);
  }
});
