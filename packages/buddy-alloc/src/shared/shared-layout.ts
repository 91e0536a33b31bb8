import { MAX_ORDER } from '../pages/block.ts';
import { largestOrderIn, type PageRange } from '../pages/page-range.ts';

/** Pages that one shared allocator may have, 4 TiB: their indexes, and offsets of their tables, fit in 31 bits. */
export const MAX_SHARED_PAGES = 0x4000_0000;
/** Orders that there are room for: 0 to 30. */
export const SHARED_ORDERS = 31;

// The header, in words of 32 bits. What never changes first; then, on a cache line of its own, what is waited for; then
// what only the holder of the lock writes.
export const MAGIC = 0;
export const VERSION = 1;
/** Bits 31:0 of the number of the region's first page, and bits 51:32. */
export const START_LOW = 2;
export const START_HIGH = 3;
export const PAGES = 4;
export const LIMIT = 5;
export const CACHES = 6;
/** A hash of the name of the address kind. */
export const KIND_HASH = 7;
/** A hash of the words above. */
export const CHECKSUM = 8;
/** Who holds the lock, or 0; the sign bit is set if somebody waits for it. */
export const LOCK = 16;
/** How many owners there have been: they are numbered from 1. */
export const OWNERS = 17;
/** 1 while tables are being changed: whoever finds it so puts them right. */
export const DIRTY = 32;
/** Bit n is set if there is a free block of order n. */
export const FILLED = 33;
/** Pages that are reserved. */
export const RESERVED_PAGES = 34;
/** Caches that owners have. While there is none, only the holder of the lock changes marks. */
export const OPEN_CACHES = 35;
/** For each order four words: see {@link HEAD}. */
export const ORDERS = 48;
/** Words for each order. */
export const ORDER_WORDS = 4;
/** The word at which the first record of the order's free list starts; 0 if none is linked. */
export const HEAD: number = ORDERS;
/** The free block that is in no record, plus one, or 0. */
export const SPARE: number = ORDERS + 1;
/** Free blocks. */
export const FREE_BLOCKS: number = ORDERS + 2;
/** Allocated blocks; of order 0, the pages in caches too. */
export const ALLOCATED_BLOCKS: number = ORDERS + 3;
/** The first word after the header. */
export const HEADER_WORDS: number = ORDERS + 4 * SHARED_ORDERS + 4;

/** Words of a cache: its owner, or 0 if nobody has it, three unused, and pages. */
export const CACHE_WORDS = 256;
/** The first word of a cache that is a page: its index plus one. */
export const CACHE_PAGES = 4;
/** Pages that a cache may have. */
export const MAX_CACHE_PAGES: number = CACHE_WORDS - CACHE_PAGES;
/** Caches that there may be. */
export const MAX_CACHES = 1024;

/** The order of a chunk, 4 MiB: what never was in blocks of less has tables that nobody has touched. */
export const CHUNK_ORDER = 10;

const MAGIC_VALUE = 0x4d565353;
const LAYOUT_VERSION = 1;

// A free list has a record for each 64 blocks: two words of bits, then links to the next and the previous record that has
// one set.
const RECORD_BLOCKS_SHIFT = 6;
const RECORD_WORDS_SHIFT = 2;

/** What a shared allocator is made for: all else about its buffer follows from it. */
export interface SharedSpec {
  /** Its pages, by number. */
  readonly range: PageRange;
  /** The greatest order that it hands out. */
  readonly maxOrder: number;
  /** How many caches there may be at a time. */
  readonly caches: number;
  /** {@link hashOf} the name of its kind of address. */
  readonly kindHash: number;
}

/**
 * Where everything lies in the buffer. Pages have indexes here: numbers counted from `origin`, a multiple of every
 * block's size. An offset of tables may lie before the buffer, where what it is added to begins later.
 */
export interface SharedLayout extends SharedSpec {
  /** The order of the largest block that fits the region: free blocks merge as far. */
  readonly treeOrder: number;
  /** The number of the page with index 0. */
  readonly origin: number;
  /** The index of the first page, and of the one after the last. */
  readonly first: number;
  readonly end: number;
  /** The first word of the caches. */
  readonly cacheBase: number;
  /** The word whose bits say of chunks 0 to 31 whether they were ever in smaller blocks. */
  readonly touchedBase: number;
  /** For each order, the word at which the record of block 0 would start. */
  readonly listBases: Int32Array<ArrayBuffer>;
  /** For each order, the first word of its records, and the one after the last. */
  readonly listStarts: Int32Array<ArrayBuffer>;
  readonly listEnds: Int32Array<ArrayBuffer>;
  /** The byte at which the mark of index 0 would be. */
  readonly markBase: number;
  /** Bytes of it all. */
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
    // Whole words, so that what is between blocks can be looked at four pages at a time.
    bytes: word * 4 + Math.ceil((end - first) / 4) * 4,
  };
}

/** Writes what never changes; the magic number last, so that nobody finds half of it. */
export function writeHeader(words: Int32Array<SharedArrayBuffer>, spec: SharedSpec): void {
  for (const [word, value] of headerOf(spec).entries()) if (word !== MAGIC) words[word] = value;
  Atomics.store(words, MAGIC, MAGIC_VALUE);
}

/** The number of the first word that is not as the header of `spec` has it, or `undefined`. */
export function headerProblem(words: Int32Array<SharedArrayBuffer>, spec: SharedSpec): number | undefined {
  const word = headerOf(spec).findIndex((value, word) => words[word] !== value);
  return word < 0 ? undefined : word;
}

/** What the header says; or what is wrong with it. The buffer has a header at least. */
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
  // The checksum is no secret: what follows must be safe to lay out, whoever wrote it.
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

/** A hash of text: FNV-1a, 32 bits. */
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
  // The magic number is not yet there when the others are written.
  return words
    .subarray(VERSION)
    .reduce((hash, word) => Math.imul(hash ^ word, 0x01000193) ^ (hash >>> 15), 0x5eed);
}
