import { orderAround, type PageRange } from '../pages/page-range.ts';
import {
  ALLOCATED_BLOCKS,
  CHUNK_ORDER,
  DIRTY,
  FILLED,
  HEAD,
  OPEN_CACHES,
  ORDER_WORDS,
  RESERVED_PAGES,
} from './shared-layout.ts';
import {
  addFreeRange,
  CACHED,
  cachesOf,
  FREE,
  isTouched,
  KIND,
  ORDER,
  RESERVED,
  type SharedTables,
  touch,
} from './shared-tables.ts';

/** Lays out a new buffer: the pages of `reserved`, ascending and disjoint, are reserved, the others free. O(orders) for each. */
export function layBlocks(tables: SharedTables, reserved: readonly PageRange[]): void {
  const { words, marks, markBase, maxOrder, first, end } = tables;
  let page = first;
  for (const hole of reserved) {
    addFreeRange(tables, { start: page, end: hole.start });
    for (page = hole.start; page < hole.end; ) {
      const order = orderAround(hole, page, maxOrder);
      if (order < CHUNK_ORDER) touch(tables, page >> CHUNK_ORDER);
      marks[markBase + page] = RESERVED | order;
      page += 2 ** order;
    }
    words[RESERVED_PAGES]! += hole.end - hole.start;
  }
  addFreeRange(tables, { start: page, end });
}

/**
 * Rebuilds the free lists and counters from the marks of the blocks that are not free. O(blocks + pages of touched chunks).
 * If a mark is invalid, it changes nothing and returns the problem.
 */
export function repair(tables: SharedTables): string | undefined {
  const { words, marks, markBase, first, end } = tables;
  for (let page = first; page < end; page = next(tables, page)) {
    const mark = marks[markBase + page]!;
    const size = 2 ** (mark & ORDER);
    const isMark = mark >= FREE && mark <= CACHED && page % size === 0 && page + size <= end;
    if (mark !== 0 && !isMark) return `page ${page} has the mark 0x${mark.toString(16)}, which is invalid`;
  }
  words[DIRTY] = 1;
  clearLists(tables);
  words[FILLED] = 0;
  words[RESERVED_PAGES] = 0;
  words[OPEN_CACHES] = openCaches(tables);
  let freeFrom = first;
  for (let page = first; page < end; ) {
    const mark = marks[markBase + page]!;
    const order = mark & ORDER;
    // Without a mark, the block was about to become part of a free one. A free block may have been split already, with marks
    // on its halves, but no part of it has been allocated.
    if (mark === 0 || (mark & KIND) === FREE) {
      const after = next(tables, page);
      for (let half = CHUNK_ORDER; half < order; half += 1) marks[markBase + page + 2 ** half] = 0;
      marks[markBase + page] = 0;
      page = after;
      continue;
    }
    addFreed(tables, { start: freeFrom, end: page });
    if ((mark & KIND) === RESERVED) words[RESERVED_PAGES]! += 2 ** order;
    else words[ALLOCATED_BLOCKS + ORDER_WORDS * order]! += 1;
    page += 2 ** order;
    freeFrom = page;
  }
  addFreed(tables, { start: freeFrom, end });
  words[DIRTY] = 0;
  return undefined;
}

/** The number of caches that have an owner. */
export function openCaches(tables: SharedTables): number {
  let open = 0;
  for (const cache of cachesOf(tables)) if (tables.words[cache] !== 0) open += 1;
  return open;
}

/**
 * The records of the free list of `order` that may have been used, by their first words, ascending. For an order below the
 * order of a chunk, these are the records of touched chunks.
 */
export function* recordsOf(tables: SharedTables, order: number): Generator<number, undefined, undefined> {
  const { first, end, listBases, listStarts, listEnds } = tables;
  let word = listStarts[order]!;
  if (order >= CHUNK_ORDER) {
    for (const last = listEnds[order]!; word < last; word += 4) yield word;
    return;
  }
  for (const chunk of touchedChunks(tables, { start: first, end })) {
    const start = Math.max(first, chunk << CHUNK_ORDER);
    const last = Math.min(end, (chunk + 1) * 2 ** CHUNK_ORDER) - 1;
    // In a high order, one record has the blocks of several chunks.
    word = Math.max(word, listBases[order]! + (((start >> order) >> 6) << 2));
    for (const until = listBases[order]! + (((last >> order) >> 6) << 2); word <= until; word += 4) {
      yield word;
    }
  }
}

/** The touched chunks with pages of `range`, ascending. O(chunks). */
export function* touchedChunks(
  tables: SharedTables,
  { start, end }: PageRange,
): Generator<number, undefined, undefined> {
  const last = (end - 1) >> CHUNK_ORDER;
  for (let chunk = start >> CHUNK_ORDER; chunk <= last; chunk += 1) {
    if (tables.words[tables.touchedBase + (chunk >> 5)] === 0) chunk |= 31;
    else if (isTouched(tables, chunk)) yield chunk;
  }
}

/** The next page after `page` at which a block may start. At `page` a block starts, or there is no mark. */
function next(tables: SharedTables, page: number): number {
  const mark = tables.marks[tables.markBase + page]!;
  if (mark !== 0) return page + 2 ** (mark & ORDER);
  const chunk = page >> CHUNK_ORDER;
  return isTouched(tables, chunk) ? page + 1 : (chunk + 1) * 2 ** CHUNK_ORDER;
}

/** Empties all lists. It writes only words that are not zero, so that untouched parts of the buffer take no memory. */
function clearLists(tables: SharedTables): void {
  const { words, treeOrder } = tables;
  for (let order = 0; order <= treeOrder; order += 1) {
    words.fill(0, HEAD + ORDER_WORDS * order, HEAD + ORDER_WORDS * (order + 1));
    for (const record of recordsOf(tables, order)) {
      for (let word = record; word < record + 4; word += 1) if (words[word] !== 0) words[word] = 0;
    }
  }
}

/** Makes the pages of `range` free and clears the marks of small blocks that are left in it. */
function addFreed(tables: SharedTables, range: PageRange): void {
  const { marks, markBase } = tables;
  if (range.start === range.end) return;
  for (const chunk of touchedChunks(tables, range)) {
    const start = Math.max(range.start, chunk << CHUNK_ORDER);
    const end = Math.min(range.end, (chunk + 1) * 2 ** CHUNK_ORDER);
    for (let byte = markBase + start; byte < markBase + end; byte += 1)
      if (marks[byte] !== 0) marks[byte] = 0;
  }
  addFreeRange(tables, range);
}
