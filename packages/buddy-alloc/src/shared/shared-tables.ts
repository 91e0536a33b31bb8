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

// The mark of a page: its kind in the high three bits, the order of its block in the low five. Zero is the rest of a
// block, so only the first page of a block is ever written, and a new buffer is right as it is.
/** A free block starts here. */
export const FREE = 0x20;
/** An allocated block starts here. */
export const ALLOCATED = 0x40;
/** A block starts here that is never handed out. */
export const RESERVED = 0x60;
/** A page that is in an owner's cache. */
export const CACHED = 0x80;
/** The bits of a mark that are its kind. */
export const KIND = 0xe0;
/** The bits of a mark that are its order. */
export const ORDER = 0x1f;

// Links of a record to others with a block in them: the words at which these start, or 0.
const NEXT = 2;
const PREVIOUS = 3;

/**
 * Buddy allocation in a shared buffer: one mark a page, and for each order a list of free blocks, all in place for the
 * whole region from the start, and zeros until used.
 *
 * Who changes tables holds the lock; but a page goes between allocated and cached by whoever has it, in one atomic step,
 * and only `freePage` and `giveBackCached` take that away from others, in such a step too.
 *
 * Nothing is lost where a thread ends in the middle of a change: marks of blocks that are not free say all, and each
 * change comes down to writing one of them. `repair` makes the rest anew.
 */
export interface SharedTables extends SharedLayout {
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly marks: Uint8Array<SharedArrayBuffer>;
}

/** The tables of a buffer, which is large enough for them. */
export function sharedTables(layout: SharedLayout, buffer: SharedArrayBuffer): SharedTables {
  const words = new Int32Array(buffer, 0, layout.bytes / 4);
  return { ...layout, words, marks: new Uint8Array(buffer, 0, layout.bytes) };
}

/** Allocates a block of `order`, 0 to `maxOrder`: the index of its first page; −1 if there is none. O(orders). */
export function allocate(tables: SharedTables, order: number): number {
  const { words, marks, markBase } = tables;
  const fitting = words[FILLED]! >>> order;
  if (fitting === 0) return -1;
  const have = order + 31 - Math.clz32(fitting & -fitting);
  words[DIRTY] = 1;
  const index = takeFree(tables, have) << have;
  if (have >= CHUNK_ORDER && order < CHUNK_ORDER) touch(tables, index >> CHUNK_ORDER);
  for (let half = have - 1; half >= order; half -= 1) addFree(tables, index + (1 << half), half);
  // Until now the mark says that all of the larger block is free.
  marks[markBase + index] = ALLOCATED | order;
  words[ALLOCATED_BLOCKS + ORDER_WORDS * order]! += 1;
  words[DIRTY] = 0;
  return index;
}

/** Frees the block of `order`, more than 0, at `index`, merged with every buddy that is free. O(orders). */
export function freeBlock(tables: SharedTables, index: number, order: number): void {
  tables.words[DIRTY] = 1;
  tables.marks[tables.markBase + index] = 0;
  giveBack(tables, index, order);
  tables.words[DIRTY] = 0;
}

/**
 * Frees the single page at `index` if its mark is `mark`, `ALLOCATED` or `CACHED`; `false`, and nothing changed, if not:
 * somebody without the lock may just have changed it. O(orders).
 */
export function freePage(tables: SharedTables, index: number, mark: number): boolean {
  const { words, marks, markBase } = tables;
  const at = markBase + index;
  words[DIRTY] = 1;
  let isFreed = marks[at] === mark;
  // An atomic step costs as much as all the rest.
  if (isFreed && words[OPEN_CACHES] === 0) marks[at] = 0;
  else isFreed &&= Atomics.compareExchange(marks, at, mark, 0) === mark;
  if (isFreed) giveBack(tables, index, 0);
  words[DIRTY] = 0;
  return isFreed;
}

/** Makes free what of the pages of the cache at word `cache` is in it. O(pages · orders). */
export function giveBackCached(tables: SharedTables, cache: number): number {
  const { words, marks, markBase, first, end } = tables;
  let given = 0;
  for (let word = cache + CACHE_PAGES; word < cache + CACHE_WORDS; word += 1) {
    const index = words[word]! - 1;
    if (index < first || index >= end || marks[markBase + index] !== CACHED) continue;
    if (freePage(tables, index, CACHED)) given += 1;
  }
  return given;
}

/** Gives a cache to `owner`: the word at which it starts, or −1 if all are in use. O(caches). */
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

/** Lets others have the cache at word `cache`, whose pages are given back. O(1). */
export function closeCache({ words }: SharedTables, cache: number): void {
  words[DIRTY] = 1;
  words[cache] = 0;
  words[OPEN_CACHES]! -= 1;
  words[DIRTY] = 0;
}

/** The words at which caches start. */
export function* cachesOf({ cacheBase, caches }: SharedTables): Generator<number, undefined, undefined> {
  for (let cache = 0; cache < caches; cache += 1) yield cacheBase + cache * CACHE_WORDS;
}

/** The first page of the block that `index`, one of the region, is in. O(orders). */
export function headOf({ marks, markBase, first, treeOrder }: SharedTables, index: number): number {
  for (let order = 0; order <= treeOrder; order += 1) {
    const head = index & -(1 << order);
    // The nearest mark decides: between the first page of a block and its last one there is none.
    if (head < first || marks[markBase + head] !== 0) return head;
  }
  return -1;
}

/** Whether `block` is in the free list of `order`. O(1). */
export function isListed({ words, listBases }: SharedTables, block: number, order: number): boolean {
  if (words[SPARE + ORDER_WORDS * order] === block + 1) return true;
  return (words[wordOf(listBases, block, order)]! & (1 << block)) !== 0;
}

/** Whether `chunk`, pages 1024·`chunk` and on, ever was in blocks of less: if not, its tables are zeros. O(1). */
export function isTouched({ words, touchedBase }: SharedTables, chunk: number): boolean {
  return (words[touchedBase + (chunk >> 5)]! & (1 << chunk)) !== 0;
}

/** Says that `chunk` is in blocks of less than its size. O(1). */
export function touch({ words, touchedBase }: SharedTables, chunk: number): void {
  words[touchedBase + (chunk >> 5)]! |= 1 << chunk;
}

/** Makes pages free that are in no block, as the largest blocks that fit. Nothing beside them is free. O(orders²). */
export function addFreeRange(tables: SharedTables, range: PageRange): void {
  for (let page = range.start; page < range.end; ) {
    const order = orderAround(range, page, tables.treeOrder);
    if (order < CHUNK_ORDER) touch(tables, page >> CHUNK_ORDER);
    addFree(tables, page, order);
    page += 2 ** order;
  }
}

/** Makes the pages of `order` at `index`, which have no mark, free, merged with every buddy that is. */
function giveBack(tables: SharedTables, index: number, order: number): void {
  const { words, marks, markBase, treeOrder, first, end } = tables;
  words[ALLOCATED_BLOCKS + ORDER_WORDS * order]! -= 1;
  let head = index;
  let have = order;
  while (have < treeOrder) {
    const buddy = head ^ (1 << have);
    if (buddy < first || buddy >= end || marks[markBase + buddy] !== (FREE | have)) break;
    marks[markBase + buddy] = 0;
    removeFree(tables, buddy >> have, have);
    head &= ~(1 << have);
    have += 1;
  }
  addFree(tables, head, have);
}

function addFree({ words, marks, markBase, listBases }: SharedTables, index: number, order: number): void {
  marks[markBase + index] = FREE | order;
  const at = ORDER_WORDS * order;
  const block = index >> order;
  words[FREE_BLOCKS + at]! += 1;
  words[FILLED]! |= 1 << order;
  // Most blocks are split off to be taken next, or freed to be merged next: they get no further than here.
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

/** Removes a block that is in the list of `order`. */
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

/** Removes a block from the list of `order`, which has one, and returns it. */
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

/** Puts `bits` into `word`, which had one bit more. */
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
