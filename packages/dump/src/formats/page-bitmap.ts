import { DumpError } from '../source/dump-error.ts';
import { readBytes, type Source } from '../source/source.ts';

/** The bytes of a block of the bitmap: 32,768 pages, or 128 MiB of memory. */
const BLOCK = 4096;
const PAGES = BLOCK * 8;
const MAX_BLOCKS = 64;

/**
 * A bitmap of pages in a file: bit n, counted from the lowest bit of the first byte, is page n. It keeps a count for each 128 MiB of
 * memory, and a few blocks.
 */
export class PageBitmap {
  readonly pages: number;
  readonly #source: Source;
  readonly #start: number;
  /** The number of set bits before each block, as far as they have been counted. */
  readonly #ranks: number[] = [0];
  readonly #blocks: Map<number, Uint8Array> = new Map();

  /** @throws DumpError if the file ends before the bitmap does */
  constructor(source: Source, start: number, pages: number) {
    const end = start + Math.ceil(pages / 8);
    if (end > source.size) {
      throw new DumpError('TRUNCATED_FILE', {
        reason: `its bitmap of pages ends at byte ${end}, beyond the end of the file at ${source.size}`,
      });
    }
    this.#source = source;
    this.#start = start;
    this.pages = pages;
  }

  has(page: number): boolean {
    if (page >= this.pages) return false;
    const bytes = this.#block(Math.floor(page / PAGES));
    const bit = page % PAGES;
    return ((bytes[bit >> 3]! >> (bit & 7)) & 1) === 1;
  }

  /** The number of set bits before `page`. O(1), once all blocks before have been counted. */
  rank(page: number): number {
    const index = Math.floor(page / PAGES);
    while (this.#ranks.length <= index) {
      const last = this.#ranks.length - 1;
      const bytes = this.#read(last);
      this.#ranks.push(this.#ranks[last]! + countBits(bytes, bytes.length * 8));
    }
    return this.#ranks[index]! + countBits(this.#block(index), page % PAGES);
  }

  /** The runs of set bits, ascending: the first page and the page after the last one. */
  *runs(): Generator<readonly [first: number, end: number], undefined, undefined> {
    let first = -1;
    for (let index = 0; index * PAGES < this.pages; index += 1) {
      const bytes = this.#read(index);
      const base = index * PAGES;
      for (let i = 0; i < bytes.length; i += 1) {
        const byte = bytes[i]!;
        if ((byte === 0 && first < 0) || (byte === 0xff && first >= 0)) continue;
        for (let bit = 0; bit < 8; bit += 1) {
          const isSet = ((byte >> bit) & 1) === 1;
          const page = base + i * 8 + bit;
          if (isSet && first < 0) first = page;
          if (isSet || first < 0) continue;
          yield [first, page];
          first = -1;
        }
      }
    }
    if (first >= 0) yield [first, this.pages];
  }

  #block(index: number): Uint8Array {
    const known = this.#blocks.get(index);
    if (known !== undefined) return known;
    const bytes = this.#read(index);
    if (this.#blocks.size >= MAX_BLOCKS) this.#blocks.clear();
    this.#blocks.set(index, bytes);
    return bytes;
  }

  /** A block, in which the bits from the last page on are zero. */
  #read(index: number): Uint8Array {
    const pages = Math.min(PAGES, this.pages - index * PAGES);
    const bytes = readBytes(this.#source, this.#start + index * BLOCK, Math.ceil(pages / 8));
    if (pages % 8 !== 0) bytes[bytes.length - 1]! &= (1 << (pages % 8)) - 1;
    return bytes;
  }
}

/** The number of set bits among the first `bits`. */
function countBits(bytes: Uint8Array, bits: number): number {
  const whole = bits >> 3;
  let count = 0;
  for (let i = 0; i < whole; i += 1) count += COUNTS[bytes[i]!]!;
  const rest = bits & 7;
  return rest === 0 ? count : count + COUNTS[bytes[whole]! & ((1 << rest) - 1)]!;
}

const COUNTS: Uint8Array = Uint8Array.from({ length: 256 }, (_, byte) => {
  let count = 0;
  for (let rest = byte; rest > 0; rest >>= 1) count += rest & 1;
  return count;
});
