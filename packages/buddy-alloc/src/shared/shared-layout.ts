import { MAX_ORDER } from '../pages/block.ts';
import { largestOrderIn, type PageRange } from '../pages/page-range.ts';

/** The most pages of a shared allocator, 4 TiB: indexes of pages and offsets into the tables fit in 31 bits. */
export const MAX_SHARED_PAGES = 0x4000_0000;
/** The number of orders for which the header has room: 0 to 30. */
const SHARED_ORDERS = 31;

// The header, in words of 32 bits. First come the words that never change; then, in a separate cache line, the lock; then
// the words that only the holder of the lock writes.
export const MAGIC = 0;
export const VERSION = 1;
/** Bits 31:0 of the number of the region's first page; `START_HIGH` has bits 51:32. */
export const START_LOW = 2;
const START_HIGH = 3;
export const PAGES = 4;
const LIMIT = 5;
const CACHES = 6;
/** A hash of the name of the address kind. */
const KIND_HASH = 7;
/** A hash of the words above. */
export const CHECKSUM = 8;
/** The number of the owner that holds the lock, or 0. The sign bit is set while another owner waits for it. */
export const LOCK = 16;
/** The number of owners so far: they are numbered from 1. */
export const OWNERS = 17;
/** 1 while the tables are being changed. The next holder of the lock that finds it set repairs them. */
export const DIRTY = 32;
/** Bit n is set if there is a free block of order n. */
export const FILLED = 33;
/** The number of reserved pages. */
export const RESERVED_PAGES = 34;
/** The number of open caches. While it is 0, only the holder of the lock changes marks. */
export const OPEN_CACHES = 35;
/** Four words for each order, from {@link HEAD}. */
export const ORDERS = 48;
/** The number of words for each order. */
export const ORDER_WORDS = 4;
/** The word at which the first linked record of the order's free list starts, or 0. */
export const HEAD: number = ORDERS;
/** The number of the free block that is in no record, plus one; or 0. */
export const SPARE: number = ORDERS + 1;
/** The number of free blocks. */
export const FREE_BLOCKS: number = ORDERS + 2;
/** The number of allocated blocks. For order 0 it includes the pages in caches. */
export const ALLOCATED_BLOCKS: number = ORDERS + 3;
/** The first word after the header. */
export const HEADER_WORDS: number = ORDERS + 4 * SHARED_ORDERS + 4;

/** The number of words of a cache: its owner, or 0 while it is closed; three unused words; and pages. */
export const CACHE_WORDS = 256;
/** The offset of the first page in a cache. A word holds the index of the page plus one. */
export const CACHE_PAGES = 4;
/** The most pages of a cache. */
export const MAX_CACHE_PAGES: number = CACHE_WORDS - CACHE_PAGES;
/** The most caches of an allocator. */
export const MAX_CACHES = 1024;

/** The order of a chunk, 4 MiB. The tables of a chunk that never was in smaller blocks are untouched. */
export const CHUNK_ORDER = 10;

const MAGIC_VALUE = 0x4d565353;
const LAYOUT_VERSION = 1;

// A free list has a record for each 64 blocks: two words of bits, and links to the next and the previous record with a bit
// set.
const RECORD_BLOCKS_SHIFT = 6;
const RECORD_WORDS_SHIFT = 2;

/** The parameters of a shared allocator. The layout of its buffer follows from them. */
export interface SharedSpec {
  /** The pages, by number. */
  readonly range: PageRange;
  /** The greatest order of a request. */
  readonly maxOrder: number;
  /** The most caches at a time. */
  readonly caches: number;
  /** {@link hashOf} the name of the kind of address. */
  readonly kindHash: number;
}

/**
 * The places of all tables in the buffer. Pages are named by their index: the page number counted from `origin`, a multiple
 * of the size of every block. A base may lie before the start of its table, or of the buffer, if the first index is not 0.
 */
export interface SharedLayout extends SharedSpec {
  /** The order of the largest block that fits the region: free blocks merge up to it. */
  readonly treeOrder: number;
  /** The number of the page with index 0. */
  readonly origin: number;
  /** The index of the first page; `end` is the index after the last page. */
  readonly first: number;
  readonly end: number;
  /** The first word of the caches. */
  readonly cacheBase: number;
  /** The word with a bit for each of chunks 0 to 31, set once the chunk has been in smaller blocks. */
  readonly touchedBase: number;
  /** For each order, the word at which the record of block 0 would start. */
  readonly listBases: Int32Array<ArrayBuffer>;
  /** For each order, the first word of its records; `listEnds` has the word after the last. */
  readonly listStarts: Int32Array<ArrayBuffer>;
  readonly listEnds: Int32Array<ArrayBuffer>;
  /** The byte at which the mark of index 0 would be. */
  readonly markBase: number;
  /** The size of the tables in bytes. */
  readonly bytes: number;
}

/** Lays the buffer out. The range has 1 to {@link MAX_SHARED_PAGES} pages. O(orders). */
export function layoutOf(spec: SharedSpec): SharedLayout {
  const { range, caches } = spec;
  const treeOrder = largestOrderIn(range);
  const origin = range.start - (range.start % 2 ** treeOrder);
  const first = range.start - origin;
  const end = range.end - origin;
  const listBases = new Int32Array(treeOrder + 1);
  const listStarts = new Int32Array(treeOrder + 1);
  const listEnds = new Int32Array(treeOrder + 1);
  const cacheBase = Math.ceil(HEADER_WORDS / 16) * 16;
  const touched = cacheBase + caches * CACHE_WORDS;
  const firstTouched = first >> (CHUNK_ORDER + 5);
  let word = touched + (((((end - 1) >> (CHUNK_ORDER + 5)) - firstTouched) | 3) + 1);
  for (let order = 0; order <= treeOrder; order += 1) {
    const firstRecord = (first >> order) >> RECORD_BLOCKS_SHIFT;
    const lastRecord = ((end - 1) >> order) >> RECORD_BLOCKS_SHIFT;
    listStarts[order] = word;
    listBases[order] = word - (firstRecord << RECORD_WORDS_SHIFT);
    word += (lastRecord - firstRecord + 1) << RECORD_WORDS_SHIFT;
    listEnds[order] = word;
  }
  return {
    ...spec,
    treeOrder,
    origin,
    first,
    end,
    cacheBase,
    touchedBase: touched - firstTouched,
    listBases,
    listStarts,
    listEnds,
    markBase: word * 4 - first,
    // A whole number of words, because an Int32Array covers all of it.
    bytes: word * 4 + Math.ceil((end - first) / 4) * 4,
  };
}

/** Writes the words that never change. The magic number comes last, so that no owner finds a part of them. */
export function writeHeader(words: Int32Array<SharedArrayBuffer>, spec: SharedSpec): void {
  for (const [word, value] of headerOf(spec).entries()) if (word !== MAGIC) words[word] = value;
  Atomics.store(words, MAGIC, MAGIC_VALUE);
}

/** The first word that differs from the header of `spec`, or `undefined`. */
export function headerProblem(words: Int32Array<SharedArrayBuffer>, spec: SharedSpec): number | undefined {
  const word = headerOf(spec).findIndex((value, word) => words[word] !== value);
  return word < 0 ? undefined : word;
}

/** The parameters in the header, or what is wrong with it. The buffer must have room for a header. */
export function readHeader(
  words: Int32Array<SharedArrayBuffer>,
): SharedSpec | 'uninitialized' | 'version' | 'corrupted' {
  if (Atomics.load(words, MAGIC) !== MAGIC_VALUE) return 'uninitialized';
  if (words[VERSION] !== LAYOUT_VERSION) return 'version';
  if (words[CHECKSUM] !== checksum(words.subarray(0, CHECKSUM))) return 'corrupted';
  const start = (words[START_HIGH]! >>> 0) * 2 ** 32 + (words[START_LOW]! >>> 0);
  const pages = words[PAGES]!;
  const caches = words[CACHES]!;
  const maxOrder = words[LIMIT]!;
  const range = { start, end: start + pages };
  // Anyone can compute the checksum, so the values are checked before a layout is computed from them.
  const isSane =
    pages >= 1 &&
    pages <= MAX_SHARED_PAGES &&
    range.end <= 2 ** MAX_ORDER &&
    caches >= 0 &&
    caches <= MAX_CACHES &&
    maxOrder >= 0 &&
    maxOrder <= largestOrderIn(range);
  return isSane ? { range, maxOrder, caches, kindHash: words[KIND_HASH]! } : 'corrupted';
}

/** The 32-bit FNV-1a hash of text. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ (character.codePointAt(0) as number), 0x01000193);
  return hash | 0;
}

function headerOf({ range, maxOrder, caches, kindHash }: SharedSpec): number[] {
  const words = new Int32Array(CHECKSUM + 1);
  words[MAGIC] = MAGIC_VALUE;
  words[VERSION] = LAYOUT_VERSION;
  words[START_LOW] = range.start % 2 ** 32;
  words[START_HIGH] = Math.floor(range.start / 2 ** 32);
  words[PAGES] = range.end - range.start;
  words[LIMIT] = maxOrder;
  words[CACHES] = caches;
  words[KIND_HASH] = kindHash;
  words[CHECKSUM] = checksum(words.subarray(0, CHECKSUM));
  return [...words];
}

function checksum(words: Int32Array): number {
  // Without the magic number, which is written after the others.
  return words
    .subarray(VERSION)
    .reduce((hash, word) => Math.imul(hash ^ word, 0x01000193) ^ (hash >>> 15), 0x5eed);
}
