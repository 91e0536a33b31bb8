import { orderAround, type PageRange } from '../pages/page-range.ts';
import {
  ALLOCATED_BLOCKS,
  CACHE_PAGES,
  CACHE_WORDS,
  CHUNK_ORDER,
  DIRTY,
  FILLED,
  FREE_BLOCKS,
  HEAD,
  OPEN_CACHES,
  ORDER_WORDS,
  type SharedLayout,
  SPARE,
} from './shared-layout.ts';

// The mark of a page: the kind in the high three bits, the order of its block in the low five. Zero marks the rest of a
// block. So only the first page of a block is ever written, and a new buffer of zeros is valid.
/** A free block starts here. */
export const FREE = 0x20;
/** An allocated block starts here. */
export const ALLOCATED = 0x40;
/** A block that is never allocated starts here. */
export const RESERVED = 0x60;
/** A page in the cache of an owner. */
export const CACHED = 0x80;
/** The bits of the kind in a mark. */
export const KIND = 0xe0;
/** The bits of the order in a mark. */
export const ORDER = 0x1f;

// The links of a record to the next and the previous record with a block: their first words, or 0.
const NEXT = 2;
const PREVIOUS = 3;

/**
 * Buddy allocation in a shared buffer: one mark for each page, and a list of free blocks for each order. All tables exist for
 * the whole region from the start, and are zeros until used.
 *
 * Only the holder of the lock changes the tables, with one exception: the user of a page moves it between allocated and
 * cached without the lock, in one atomic step. `freePage` and `freeCached` change the mark of such a page in an atomic
 * step, too.
 *
 * A thread may end in the middle of a change. The marks of the blocks that are not free hold the whole state, and each
 * change takes effect when one of them is written. `repair` rebuilds the rest.
 */
export interface SharedTables extends SharedLayout {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly marks: Uint8Array<SharedArrayBuffer>;
}

/** The tables in a buffer that is large enough for them. */
export function sharedTables(layout: SharedLayout, buffer: SharedArrayBuffer): SharedTables {
  const words = new Int32Array(buffer, 0, layout.bytes / 4);
  return { ...layout, words, marks: new Uint8Array(buffer, 0, layout.bytes) };
}

/** Allocates a block of `order`, 0 to `maxOrder`. Returns the index of its first page, or −1 if no block is free. O(orders). */
export function allocate(tables: SharedTables, order: number): number {
  const { words, marks, markBase } = tables;
  const fitting = words[FILLED]! >>> order;
  if (fitting === 0) return -1;
  const from = order + 31 - Math.clz32(fitting & -fitting);
  words[DIRTY] = 1;
  const index = takeFree(tables, from) << from;
  if (from >= CHUNK_ORDER && order < CHUNK_ORDER) touch(tables, index >> CHUNK_ORDER);
  for (let half = from - 1; half >= order; half -= 1) addFree(tables, index + (1 << half), half);
  // Until this write, the mark says that the whole larger block is free.
  marks[markBase + index] = ALLOCATED | order;
  words[ALLOCATED_BLOCKS + ORDER_WORDS * order]! += 1;
  words[DIRTY] = 0;
  return index;
}

/** Frees the block of `order`, at least 1, at `index` and merges it with every free buddy. O(orders). */
export function freeBlock(tables: SharedTables, index: number, order: number): void {
  tables.words[DIRTY] = 1;
  tables.marks[tables.markBase + index] = 0;
  makeFree(tables, index, order);
  tables.words[DIRTY] = 0;
}

/**
 * Frees the single page at `index` if its mark is `mark`, which is `ALLOCATED` or `CACHED`. Otherwise returns `false`: an
 * owner without the lock may have changed the mark. O(orders).
 */
export function freePage(tables: SharedTables, index: number, mark: number): boolean {
  const { words, marks, markBase } = tables;
  const at = markBase + index;
  words[DIRTY] = 1;
  let isFreed = marks[at] === mark;
  // An atomic step would cost as much as the rest of the function.
  if (isFreed && words[OPEN_CACHES] === 0) marks[at] = 0;
  else isFreed &&= Atomics.compareExchange(marks, at, mark, 0) === mark;
  if (isFreed) makeFree(tables, index, 0);
  words[DIRTY] = 0;
  return isFreed;
}

/** Frees the cached pages of the cache at word `cache`. Returns their number. O(pages · orders). */
export function freeCached(tables: SharedTables, cache: number): number {
  const { words, marks, markBase, first, end } = tables;
  let freed = 0;
  for (let word = cache + CACHE_PAGES; word < cache + CACHE_WORDS; word += 1) {
    const index = words[word]! - 1;
    if (index < first || index >= end || marks[markBase + index] !== CACHED) continue;
    if (freePage(tables, index, CACHED)) freed += 1;
  }
  return freed;
}

/** Opens a cache for `owner`. Returns its first word, or −1 if all caches are in use. O(caches). */
export function openCache(tables: SharedTables, owner: number): number {
  const { words } = tables;
  for (const cache of cachesOf(tables)) {
    if (words[cache] !== 0) continue;
    words[DIRTY] = 1;
    words[OPEN_CACHES]! += 1;
    words[cache] = owner;
    words[DIRTY] = 0;
    return cache;
  }
  return -1;
}

/** Closes the cache at word `cache`, whose pages have been freed. O(1). */
export function closeCache({ words }: SharedTables, cache: number): void {
  words[DIRTY] = 1;
  words[cache] = 0;
  words[OPEN_CACHES]! -= 1;
  words[DIRTY] = 0;
}

/** The first word of each cache. */
export function* cachesOf({ cacheBase, caches }: SharedTables): Generator<number, undefined, undefined> {
  for (let cache = 0; cache < caches; cache += 1) yield cacheBase + cache * CACHE_WORDS;
}

/** The first page of the block that contains `index`, a page of the region. O(orders). */
export function headOf({ marks, markBase, first, treeOrder }: SharedTables, index: number): number {
  for (let order = 0; order <= treeOrder; order += 1) {
    const head = index & -(1 << order);
    // The nearest mark decides, because inside a block only its first page has one.
    if (head < first || marks[markBase + head] !== 0) return head;
  }
  return -1;
}

/** Whether `block` is in the free list of `order`. O(1). */
export function isListed({ words, listBases }: SharedTables, block: number, order: number): boolean {
  if (words[SPARE + ORDER_WORDS * order] === block + 1) return true;
  return (words[wordOf(listBases, block, order)]! & (1 << block)) !== 0;
}

/** Whether `chunk`, the 1024 pages from 1024·`chunk`, ever was in smaller blocks. If not, its tables are zeros. O(1). */
export function isTouched({ words, touchedBase }: SharedTables, chunk: number): boolean {
  return (words[touchedBase + (chunk >> 5)]! & (1 << chunk)) !== 0;
}

/** Records that `chunk` is in blocks smaller than a chunk. O(1). */
export function touch({ words, touchedBase }: SharedTables, chunk: number): void {
  words[touchedBase + (chunk >> 5)]! |= 1 << chunk;
}

/** Makes pages that are in no block free, as the largest blocks that fit. Their neighbours must not be free. O(orders²). */
export function addFreeRange(tables: SharedTables, range: PageRange): void {
  for (let page = range.start; page < range.end; ) {
    const order = orderAround(range, page, tables.treeOrder);
    if (order < CHUNK_ORDER) touch(tables, page >> CHUNK_ORDER);
    addFree(tables, page, order);
    page += 2 ** order;
  }
}

/** Makes the block of `order` at `index`, which has no mark, free and merges it with every free buddy. */
function makeFree(tables: SharedTables, index: number, order: number): void {
  const { words, marks, markBase, treeOrder, first, end } = tables;
  words[ALLOCATED_BLOCKS + ORDER_WORDS * order]! -= 1;
  let head = index;
  let merged = order;
  while (merged < treeOrder) {
    const buddy = head ^ (1 << merged);
    if (buddy < first || buddy >= end || marks[markBase + buddy] !== (FREE | merged)) break;
    marks[markBase + buddy] = 0;
    removeFree(tables, buddy >> merged, merged);
    head &= ~(1 << merged);
    merged += 1;
  }
  addFree(tables, head, merged);
}

function addFree({ words, marks, markBase, listBases }: SharedTables, index: number, order: number): void {
  marks[markBase + index] = FREE | order;
  const at = ORDER_WORDS * order;
  const block = index >> order;
  words[FREE_BLOCKS + at]! += 1;
  words[FILLED]! |= 1 << order;
  // Most blocks are taken or merged soon after they are added. The spare saves them the way into a record.
  if (words[SPARE + at] === 0) {
    words[SPARE + at] = block + 1;
    return;
  }
  const word = wordOf(listBases, block, order);
  const bits = words[word]!;
  words[word] = bits | (1 << block);
  if ((bits | words[word ^ 1]!) !== 0) return;
  const record = word & ~1;
  const head = words[HEAD + at]!;
  words[record + NEXT] = head;
  words[record + PREVIOUS] = 0;
  if (head !== 0) words[head + PREVIOUS] = record;
  words[HEAD + at] = record;
}

/** Removes `block`, which is in the list of `order`. */
function removeFree(tables: SharedTables, block: number, order: number): void {
  const { words, listBases } = tables;
  countDown(words, order);
  const spare = SPARE + ORDER_WORDS * order;
  if (words[spare] === block + 1) {
    words[spare] = 0;
  } else {
    const word = wordOf(listBases, block, order);
    putBits(words, word, words[word]! & ~(1 << block), order);
  }
}

/** Removes any block from the list of `order`, which must not be empty, and returns it. */
function takeFree(tables: SharedTables, order: number): number {
  const { words, listBases } = tables;
  countDown(words, order);
  const spare = SPARE + ORDER_WORDS * order;
  const block = words[spare]! - 1;
  if (block >= 0) {
    words[spare] = 0;
    return block;
  }
  let word = words[HEAD + ORDER_WORDS * order]!;
  if (words[word] === 0) word += 1;
  const bits = words[word]!;
  putBits(words, word, bits & (bits - 1), order);
  const offset = word - listBases[order]!;
  return ((offset >> 2) << 6) + ((offset & 1) << 5) + 31 - Math.clz32(bits & -bits);
}

function countDown(words: Int32Array<SharedArrayBuffer>, order: number): void {
  const count = FREE_BLOCKS + ORDER_WORDS * order;
  const left = words[count]! - 1;
  words[count] = left;
  if (left === 0) words[FILLED]! &= ~(1 << order);
}

/** Stores `bits` in `word`, which had one more bit set, and unlinks its record if that is empty now. */
function putBits(words: Int32Array<SharedArrayBuffer>, word: number, bits: number, order: number): void {
  words[word] = bits;
  if ((bits | words[word ^ 1]!) !== 0) return;
  const record = word & ~1;
  const next = words[record + NEXT]!;
  const previous = words[record + PREVIOUS]!;
  if (next !== 0) words[next + PREVIOUS] = previous;
  if (previous !== 0) words[previous + NEXT] = next;
  else words[HEAD + ORDER_WORDS * order] = next;
}

function wordOf(listBases: Int32Array<ArrayBuffer>, block: number, order: number): number {
  return listBases[order]! + ((block >> 6) << 2) + ((block >> 5) & 1);
}
