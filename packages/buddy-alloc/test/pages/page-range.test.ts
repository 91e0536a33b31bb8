import { describe, expect, test } from 'vitest';
import {
  largestOrderIn,
  orderAround,
  type PageRange,
  pagesIn,
  rangeAt,
  rangesBetween,
  withoutRange,
  withRange,
} from '../../src/pages/page-range.ts';

const range = (start: number, end: number): PageRange => ({ start, end });

test.each([
  [0, 1, 0],
  [1, 2, 0],
  [1, 3, 0],
  [2, 4, 1],
  [1, 4, 1],
  [3, 9, 2],
  [1, 8, 2],
  [0, 8, 3],
  [2 ** 52 - 1, 2 ** 52, 0],
  [2 ** 52 - 3, 2 ** 52, 1],
  [1, 2 ** 52, 51],
  [0, 2 ** 52 - 1, 51],
  [0, 2 ** 52, 52],
])('the largest block in [%i, %i) has order %i', (start, end, order) => {
  expect(largestOrderIn(range(start, end))).toBe(order);
});

describe('orderAround', () => {
  test.each([
    [3, 12, 3, 0],
    [3, 12, 4, 2],
    [3, 12, 7, 2],
    [3, 12, 8, 2],
    [3, 11, 8, 1],
    [3, 11, 10, 0],
    [0, 2 ** 52, 12345, 52],
    [2 ** 52 - 4, 2 ** 52, 2 ** 52 - 1, 2],
  ])('in [%i, %i), page %i is in a block of order %i', (start, end, page, order) => {
    expect(orderAround(range(start, end), page, 52)).toBe(order);
  });

  test('stops at its limit', () => {
    expect(orderAround(range(0, 16), 5, 3)).toBe(3);
    expect(orderAround(range(0, 16), 5, 0)).toBe(0);
  });

  test('returns blocks that tile the range and are as large as possible', () => {
    for (let start = 0; start < 16; start += 1) {
      for (let end = start + 1; end <= 33; end += 1) {
        let page = start;
        while (page < end) {
          const order = orderAround(range(start, end), page, 52);
          const size = 2 ** order;
          expect(page % size).toBe(0);
          expect(page + size).toBeLessThanOrEqual(end);
          const parent = Math.floor(page / (2 * size)) * 2 * size;
          expect(parent >= start && parent + 2 * size <= end).toBe(false);
          for (let inside = page; inside < page + size; inside += 1) {
            expect(orderAround(range(start, end), inside, 52)).toBe(order);
          }
          page += size;
        }
        expect(page).toBe(end);
      }
    }
  });
});

test('rangesBetween leaves out the holes', () => {
  expect(rangesBetween(range(3, 9), [])).toEqual([range(3, 9)]);
  expect(rangesBetween(range(3, 9), [range(3, 9)])).toEqual([]);
  expect(rangesBetween(range(3, 9), [range(3, 4), range(8, 9)])).toEqual([range(4, 8)]);
  expect(rangesBetween(range(3, 9), [range(4, 5), range(7, 8)])).toEqual([
    range(3, 4),
    range(5, 7),
    range(8, 9),
  ]);
});

test('rangeAt finds the range of a page', () => {
  const ranges = [range(2, 4), range(4, 5), range(8, 12)];
  const found = Array.from({ length: 14 }, (_, page) => ranges.indexOf(rangeAt(ranges, page) as PageRange));
  expect(found).toEqual([-1, -1, 0, 0, 1, -1, -1, -1, 2, 2, 2, 2, -1, -1]);
});

/** Each subset of 7 pages as ranges; bit n is page n. */
const rangesOf = (bits: number): PageRange[] => {
  const ranges: { start: number; end: number }[] = [];
  for (let page = 0; page < 7; page += 1) {
    if (((bits >> page) & 1) === 0) continue;
    const last = ranges.at(-1);
    if (last?.end === page) last.end += 1;
    else ranges.push({ start: page, end: page + 1 });
  }
  return ranges;
};

test('withRange and withoutRange agree with sets of pages', () => {
  for (let bits = 0; bits < 128; bits += 1) {
    const pages = Array.from({ length: 7 }, (_, page) => (bits >> page) & 1).reduce((sum, bit) => sum + bit);
    expect(pagesIn(rangesOf(bits))).toBe(pages);
    for (let start = 0; start < 7; start += 1) {
      for (let end = start + 1; end <= 7; end += 1) {
        const other = 2 ** end - 2 ** start;
        if ((bits & other) === 0) {
          expect(withRange(rangesOf(bits), range(start, end))).toEqual(rangesOf(bits | other));
        }
        expect(withoutRange(rangesOf(bits), range(start, end))).toEqual(rangesOf(bits & ~other));
      }
    }
  }
});
