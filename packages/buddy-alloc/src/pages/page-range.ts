import { MAX_ORDER } from './block.ts';

/** Consecutive pages, by number: from `start` up to, not including, `end`. Page 0 starts at address 0; `end` may be 2^52. */
export interface PageRange {
  readonly start: number;
  readonly end: number;
}

/** The order of the largest aligned block inside `range`, which must not be empty. O(orders). */
export function largestOrderIn({ start, end }: PageRange): number {
  let order = MAX_ORDER;
  while (Math.ceil(start / 2 ** order) * 2 ** order + 2 ** order > end) order -= 1;
  return order;
}

/** The order of the largest aligned block, up to `maxOrder`, that contains `page` and lies inside `range`. O(orders). */
export function orderAround({ start, end }: PageRange, page: number, maxOrder: number): number {
  let order = 0;
  while (order < maxOrder) {
    const size = 2 ** (order + 1);
    const head = Math.floor(page / size) * size;
    if (head < start || head + size > end) break;
    order += 1;
  }
  return order;
}

/** The parts of `range` between `holes`, which lie inside it, ascending and disjoint. No part is empty. O(holes). */
export function rangesBetween(range: PageRange, holes: readonly PageRange[]): PageRange[] {
  const between: PageRange[] = [];
  let { start } = range;
  for (const hole of holes) {
    if (start < hole.start) between.push({ start, end: hole.start });
    start = hole.end;
  }
  if (start < range.end) between.push({ start, end: range.end });
  return between;
}

/** The first range that ends after `page`; `ranges` are ascending and disjoint. O(log ranges). */
export function rangeFrom(ranges: readonly PageRange[], page: number): PageRange | undefined {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.end <= page) low = middle + 1;
    else high = middle;
  }
  return ranges[low];
}

/** The range that contains `page`; `ranges` are ascending and disjoint. O(log ranges). */
export function rangeAt(ranges: readonly PageRange[], page: number): PageRange | undefined {
  const range = rangeFrom(ranges, page);
  return range !== undefined && range.start <= page ? range : undefined;
}

/** `ranges`, ascending and disjoint, with `range` added, which overlaps none; ranges that touch become one. O(ranges). */
export function withRange(ranges: readonly PageRange[], range: PageRange): PageRange[] {
  const before = ranges.filter(({ end }) => end < range.start);
  const after = ranges.filter(({ start }) => start > range.end);
  const touching = ranges.slice(before.length, ranges.length - after.length);
  const start = Math.min(range.start, touching.at(0)?.start ?? range.start);
  const end = Math.max(range.end, touching.at(-1)?.end ?? range.end);
  return [...before, { start, end }, ...after];
}

/** `ranges`, ascending and disjoint, without the pages of `range`. O(ranges). */
export function withoutRange(ranges: readonly PageRange[], range: PageRange): PageRange[] {
  return ranges.flatMap(({ start, end }) => [
    ...(start < range.start ? [{ start, end: Math.min(end, range.start) }] : []),
    ...(end > range.end ? [{ start: Math.max(start, range.end), end }] : []),
  ]);
}

/** The number of pages in `ranges`. O(ranges). */
export function pagesIn(ranges: readonly PageRange[]): number {
  return ranges.reduce((sum, { start, end }) => sum + end - start, 0);
}
