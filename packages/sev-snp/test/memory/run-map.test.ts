import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RunMap } from '../../src/memory/run-map.ts';

const write = fc.record({ start: fc.nat(20), count: fc.nat(8), value: fc.nat(2) });

test('does what an array does, and joins neighbours of equal values', () => {
  fc.assert(
    fc.property(fc.array(write, { maxLength: 30 }), (writes) => {
      const map = new RunMap(0);
      const model = Array<number>(32).fill(0);
      for (const { start, count, value } of writes) {
        map.set(start, start + count, value);
        model.fill(value, start, start + count);
        expect(model.map((_, at) => map.get(at))).toEqual(model);
        const borders = model.flatMap((one, at) => (at > 0 && one !== model[at - 1] ? [at] : []));
        expect(map.runs).toBe(borders.length + 1);
        const ends = model.map((_, at) => borders.find((border) => border > at) ?? Number.POSITIVE_INFINITY);
        expect(model.map((_, at) => map.endOf(at))).toEqual(ends);
        const starts = model.map((_, at) => borders.findLast((border) => border <= at) ?? 0);
        expect(model.map((_, at) => map.startOf(at))).toEqual(starts);
      }
    }),
  );
});

test('compares values as it is told', () => {
  const map = new RunMap('a', (left, right) => left.toLowerCase() === right.toLowerCase());
  map.set(3, 5, 'A');
  expect([map.runs, map.get(4)]).toEqual([1, 'a']);
  map.set(3, 5, 'b');
  map.set(5, 7, 'B');
  expect([map.runs, map.get(6), map.endOf(4)]).toEqual([3, 'b', 7]);
});

test('a run can be set up to infinity', () => {
  const map = new RunMap(0);
  map.set(3, 5, 1);
  map.set(4, Number.POSITIVE_INFINITY, 2);
  expect([0, 3, 4, 5, 2 ** 52].map((at) => map.get(at))).toEqual([0, 1, 2, 2, 2]);
  expect([map.runs, map.endOf(4)]).toEqual([3, Number.POSITIVE_INFINITY]);
});
