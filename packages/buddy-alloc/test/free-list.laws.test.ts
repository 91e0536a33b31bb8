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
