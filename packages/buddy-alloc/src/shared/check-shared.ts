import { BuddyError, type Invariant } from '../pages/buddy-error.ts';
import { openCaches, recordsOf, touchedChunks } from './repair-shared.ts';
import {
  ALLOCATED_BLOCKS,
  CACHE_PAGES,
  CACHE_WORDS,
  CHECKSUM,
  CHUNK_ORDER,
  DIRTY,
  FILLED,
  FREE_BLOCKS,
  HEAD,
  headerProblem,
  LOCK,
  MAGIC,
  OPEN_CACHES,
  ORDER_WORDS,
  ORDERS,
  OWNERS,
  RESERVED_PAGES,
  SPARE,
} from './shared-layout.ts';
import {
  CACHED,
  FREE,
  isListed,
  isTouched,
  KIND,
  ORDER,
  RESERVED,
  type SharedTables,
} from './shared-tables.ts';

const RECORD_WORDS = 4;
/** How often to look for a page in the caches: its owner may move it at any time. */
const ATTEMPTS = 100;

/**
 * Checks that the tables agree with each other and with the header. The caller holds the lock. Ends, whatever the buffer
 * holds. O(blocks + pages of touched chunks).
 *
 * @throws BuddyError `BROKEN_INVARIANT`
 */
export function checkShared(tables: SharedTables): void {
  const word = headerProblem(tables.words, tables);
  if (word !== undefined) fail('metadata', `word ${word} of the header has changed`);
  const unused = unusedWords(tables).find((word) => tables.words[word] !== 0);
  if (unused !== undefined) fail('metadata', `word ${unused} of the header is unused, but not 0`);
  const seen = checkMarks(tables);
  let filled = 0;
  for (let order = 0; order <= tables.treeOrder; order += 1) {
    const free = seen.free[order] ?? 0;
    checkList(tables, order, free);
    if (free > 0) filled |= 1 << order;
    const allocated = seen.allocated[order] ?? 0;
    const count = tables.words[ALLOCATED_BLOCKS + ORDER_WORDS * order];
    if (count !== allocated) {
      fail(
        'block-counts',
        `${allocated} blocks of order ${order} are allocated, but the counter is ${count}`,
      );
    }
  }
  if (tables.words[FILLED] !== filled) {
    fail(
      'free-counts',
      `orders 0x${filled.toString(16)} have free blocks, not 0x${tables.words[FILLED]?.toString(16)}`,
    );
  }
  const reserved = tables.words[RESERVED_PAGES];
  if (reserved !== seen.reserved) {
    fail('block-counts', `${seen.reserved} pages are reserved, but the counter is ${reserved}`);
  }
  checkCaches(tables, seen.cached);
}

/** The blocks and pages found in the marks. */
interface Seen {
  /** The numbers of blocks, by order. */
  readonly free: number[];
  readonly allocated: number[];
  /** The indexes of pages in caches. */
  readonly cached: number[];
  /** The number of reserved pages. */
  reserved: number;
}

function fail(invariant: Invariant, problem: string): never {
  throw new BuddyError('BROKEN_INVARIANT', { invariant, problem });
}

function unusedWords({ treeOrder, cacheBase }: SharedTables): number[] {
  const used = [
    [MAGIC, CHECKSUM],
    [LOCK, OWNERS],
    [DIRTY, OPEN_CACHES],
    [ORDERS, ORDERS + ORDER_WORDS * (treeOrder + 1) - 1],
  ] as const;
  const words = Array.from({ length: cacheBase }, (_, word) => word);
  return words.filter((word) => !used.some(([first, last]) => word >= first && word <= last));
}

/** Checks that blocks cover the region without gap or overlap. */
function checkMarks(tables: SharedTables): Seen {
  const { marks, markBase, first, end } = tables;
  const seen: Seen = { free: [], allocated: [], cached: [], reserved: 0 };
  for (let index = first; index < end; ) {
    const mark = marks[markBase + index]!;
    const order = mark & ORDER;
    const size = 2 ** order;
    if (mark === 0) fail('partition', `page ${index} is in no block`);
    checkMark(tables, index, mark);
    if (index % size !== 0) fail('alignment', `page ${index} starts a block of ${size} pages`);
    if (index + size > end) fail('alignment', `the block at page ${index} ends outside the region`);
    checkInside(tables, index, index + size);
    count(seen, index, mark);
    index += size;
  }
  return seen;
}

function checkMark(tables: SharedTables, index: number, mark: number): void {
  const { marks, markBase, first, end, maxOrder, treeOrder } = tables;
  const kind = mark & KIND;
  const order = mark & ORDER;
  const limit = kind === FREE ? treeOrder : kind === CACHED ? 0 : maxOrder;
  if (kind < FREE || kind > CACHED || order > limit) {
    fail('metadata', `page ${index} has the mark 0x${mark.toString(16)}, which does not exist`);
  }
  if (order < CHUNK_ORDER && !isTouched(tables, index >> CHUNK_ORDER)) {
    fail('metadata', `page ${index} starts a small block, but its chunk is not touched`);
  }
  if (kind !== FREE) return;
  if (!isListed(tables, index >> order, order))
    fail('free-lists', `page ${index} is free, but in no free list`);
  const buddy = index ^ (1 << order);
  if (order < treeOrder && buddy >= first && buddy < end && marks[markBase + buddy] === mark) {
    fail('merging', `page ${index} and its buddy are both free`);
  }
}

/** Checks that no block starts inside the block from `start` to `end`. */
function checkInside(tables: SharedTables, start: number, end: number): void {
  const { marks, markBase } = tables;
  for (const chunk of touchedChunks(tables, { start, end })) {
    const last = Math.min(end, (chunk + 1) * 2 ** CHUNK_ORDER);
    for (let index = Math.max(start + 1, chunk * 2 ** CHUNK_ORDER); index < last; index += 1) {
      if (marks[markBase + index] !== 0) {
        fail('partition', `page ${index} starts a block inside the one at page ${start}`);
      }
    }
  }
}

function count(seen: Seen, index: number, mark: number): void {
  const order = mark & ORDER;
  const kind = mark & KIND;
  if (kind === RESERVED) {
    seen.reserved += 2 ** order;
    return;
  }
  const blocks = kind === FREE ? seen.free : seen.allocated;
  blocks[order] = (blocks[order] ?? 0) + 1;
  if (kind === CACHED) seen.cached.push(index);
}

/** Checks that the free list of `order` has `free` blocks, and that its links and bits are right. */
function checkList(tables: SharedTables, order: number, free: number): void {
  const { words, listStarts, listEnds } = tables;
  const at = ORDER_WORDS * order;
  const start = listStarts[order]!;
  const end = listEnds[order]!;
  const name = `the free list of order ${order}`;
  let linked = 0;
  let previous = 0;
  for (let record = words[HEAD + at]!; record !== 0; record = words[record + 2]!) {
    // Each record links back to the one before it, so none comes twice, and the loop ends.
    if (record < start || record >= end || record % RECORD_WORDS !== 0) {
      fail('free-lists', `${name}: a link leads to word ${record}`);
    }
    if (words[record + 3] !== previous) {
      fail('free-lists', `${name}: word ${record} does not link back to ${previous}`);
    }
    if (words[record] === 0 && words[record + 1] === 0) {
      fail('free-lists', `${name}: word ${record} is linked, but empty`);
    }
    previous = record;
    linked += 1;
  }
  let filled = 0;
  let blocks = words[SPARE + at] === 0 ? 0 : 1;
  for (const record of recordsOf(tables, order)) {
    const here = bitCount(words[record]!) + bitCount(words[record + 1]!);
    if (here > 0) filled += 1;
    blocks += here;
  }
  if (filled !== linked)
    fail('free-lists', `${name}: ${filled} records have blocks, but ${linked} are linked`);
  // Every free block was found in its list. If the list has as many, it has no others.
  if (blocks !== free) fail('free-counts', `${name} has ${blocks} blocks, but ${free} are free`);
  const count = words[FREE_BLOCKS + at];
  if (count !== free) fail('free-counts', `${name} has ${free} blocks, but its counter is ${count}`);
}

/** Checks that caches have only pages of the region, and that they have every page that is marked as cached. */
function checkCaches(tables: SharedTables, cached: readonly number[]): void {
  const { words, marks, markBase, first, end, caches, cacheBase } = tables;
  const cacheEnd = cacheBase + caches * CACHE_WORDS;
  for (let cache = cacheBase; cache < cacheEnd; cache += CACHE_WORDS) {
    if (words[cache]! < 0) fail('metadata', `the cache at word ${cache} has an invalid owner`);
    for (let word = cache + 1; word < cache + CACHE_WORDS; word += 1) {
      const value = words[word]!;
      const isPage = word >= cache + CACHE_PAGES && value > first && value <= end;
      if (value !== 0 && !isPage) fail('metadata', `word ${word} of a cache is not a page: ${value}`);
    }
  }
  const open = openCaches(tables);
  if (words[OPEN_CACHES] !== open) {
    fail('metadata', `${open} caches have an owner, but their counter is ${words[OPEN_CACHES]}`);
  }
  const isInCache = (index: number) => {
    for (let cache = cacheBase; cache < cacheEnd; cache += CACHE_WORDS) {
      for (let word = cache + CACHE_PAGES; word < cache + CACHE_WORDS; word += 1) {
        if (words[word] === index + 1) return true;
      }
    }
    return false;
  };
  for (const index of cached) {
    let attempt = 0;
    while (Atomics.load(marks, markBase + index) === CACHED && !isInCache(index)) {
      attempt += 1;
      if (attempt === ATTEMPTS) fail('metadata', `page ${index} is marked as cached, but is in no cache`);
    }
  }
}

function bitCount(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
