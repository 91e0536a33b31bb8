import { PAGE_SHIFT, PAGE_SIZE } from '@svsm/address';
import { decodeRmpEntry, type RmpEntry } from '@svsm/sev-snp/formats';
import { refuseArgument, requireInteger, requireOptional, requireOptions } from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';
import { requireSource, type Source } from '../source/source.ts';

/** Where a Reverse Map Table lies in system memory. */
export interface RmpPlace {
  /** RMP_BASE: the physical address of its first byte, a multiple of 4096. */
  readonly base: bigint;
  /** The end of a flat table: RMP_END, the address of its last byte, or the address after it. */
  readonly end?: bigint | undefined;
  /** RmpSegSize of a segmented table: the binary logarithm of the bytes that a segment covers, 30 to 51. */
  readonly segmentShift?: number | undefined;
  /** The number of segments that the processor uses. Default: 512. */
  readonly segments?: number | undefined;
}

/** Pages of system memory, by frame number, whose RMP entries are alike. */
interface RmpRun {
  readonly first: number;
  readonly count: number;
  /**
   * The entry that decides for the first page. The GPAs of the others follow. `undefined`: the table does not cover the pages, which
   * are the hypervisor's. `null`: the entry is in memory that the dump does not have.
   */
  readonly entry: RmpEntry | undefined | null;
}

/** A Reverse Map Table (AMD64 APM vol. 2, §15.36.4 and §15.36.22), read when an entry is needed. */
export interface RmpTable {
  /** Its format and place, in words. */
  readonly kind: string;
  /**
   * The longest run of at most `most` pages from frame `first` on. O(pages).
   *
   * @throws DumpError `INVALID_ARGUMENT`
   */
  runFrom(first: number, most: number): RmpRun;
  /** All pages that the table covers, as runs, ascending. */
  runs(): Iterable<RmpRun>;
}

/** Reads the frame at `frame` × 4096 of the memory that has the table. Returns whether it exists. */
export type ReadTableFrame = (frame: number, bytes: Uint8Array) => boolean;

const BOOKKEEPING = 0x4000;
const ENTRY_SIZE = 16;
const PER_FRAME = PAGE_SIZE / ENTRY_SIZE;
/** The number of 4 KiB pages in a 2 MiB page. */
export const HUGE_FRAMES = 512;
const SEGMENTS = 512;
const ADDRESS_END = 2n ** 52n;
const LAST_FRAME = 2 ** 40 - 1;
const GIB_FRAMES = 2 ** 18;
const CACHED_FRAMES = 256;

const ASSIGNED = 1;
const HUGE = 2;
/** Bits 11:3 of an aligned entry count the other pages of its region. They are not part of the state of the page. */
const SUBPAGE_COUNT = 0xff8;
const ASID_OF_HIGH = 0x1ff8_0000;

/** Consecutive pages whose entries lie one after another. */
interface Part {
  readonly first: number;
  /** Exclusive. */
  readonly end: number;
  /** The address of the entry of the first page. */
  readonly at: number;
}

/**
 * Opens a Reverse Map Table that lies in memory: flat if `place` has an end, segmented if it has a segment size.
 *
 * @throws DumpError `INVALID_ARGUMENT`; `NO_RMP` if the memory does not exist; `INVALID_FILE` for a segment with reserved bits;
 *   `TRUNCATED_FILE`, `READ_FAILED`, `UNSUPPORTED_FORMAT`
 */
export function openRmp(readFrame: ReadTableFrame, place: RmpPlace): RmpTable {
  if (typeof readFrame !== 'function') refuseArgument('readFrame', readFrame, 'pass a function');
  return openAt(readFrame, place, '');
}

function openAt(readFrame: ReadTableFrame, place: RmpPlace, prefix: string): RmpTable {
  requireOptions('place', place, ['base', 'end', 'segmentShift', 'segments']);
  const { base, end, segmentShift, segments } = place;
  requireOptional('the end of the RMP', end, 'bigint');
  if (segments !== undefined) requireInteger('the number of segments of the RMP', segments, 0, SEGMENTS);
  const isFlat = segmentShift === undefined;
  if (typeof base !== 'bigint' || base < 0n || base >= ADDRESS_END || base % BigInt(PAGE_SIZE) !== 0n) {
    refuseArgument('the base of the RMP', base, 'pass a multiple of 4096 below 2^52 as a bigint');
  }
  const memory = new TableMemory(readFrame);
  if (!memory.exists(Number(base))) throw new DumpError('NO_RMP', { paddr: base });
  const [from, to] = [`0x${base.toString(16)}`, `0x${(end ?? 0n).toString(16)}`];
  if (isFlat) return new EntryTable(memory, flatParts(base, end), `${prefix}flat RMP at ${from}-${to}`);
  return new EntryTable(memory, segmentParts(memory, place), `${prefix}segmented RMP at ${from}`);
}

/**
 * Opens a Reverse Map Table whose bytes, from RMP_BASE on, are those of a source. Of a segmented table, it has to have the segments too, at
 * their distance from RMP_BASE: a sparse file can.
 *
 * @param place - where the table was in system memory: needed for a segmented one. Default: a flat one, up to the end of the source
 * @throws DumpError `TRUNCATED_FILE` if it is smaller than the first entry and what comes before; {@link openRmp}
 */
export function openSavedRmp(source: Source, place?: RmpPlace): RmpTable {
  requireSource('source', source);
  const { size } = source;
  if (size < BOOKKEEPING + ENTRY_SIZE) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `it has ${size} bytes; an RMP has its first entry at byte ${BOOKKEEPING}`,
    });
  }
  const readFrame: ReadTableFrame = (frame, bytes) => {
    const first = place === undefined ? 0 : Math.floor(Number(place.base) / PAGE_SIZE);
    const at = (frame - first) * PAGE_SIZE;
    if (at < 0 || at >= size) return false;
    const length = Math.min(PAGE_SIZE, size - at);
    bytes.fill(0, length);
    source.read(at, bytes.subarray(0, length));
    return true;
  };
  if (place === undefined) {
    return new EntryTable(new TableMemory(readFrame), flatParts(0n, BigInt(size)), 'saved flat RMP');
  }
  return openAt(readFrame, place, 'saved ');
}

function flatParts(base: bigint, end: bigint | undefined): Part[] {
  const isSound = typeof end === 'bigint' && end > base + BigInt(BOOKKEEPING) && end <= ADDRESS_END;
  if (!isSound) {
    refuseArgument(
      'the end of the RMP',
      end,
      'pass an address more than 0x4000 above the base, at most 2^52',
    );
  }
  // RMP_END is the last byte. Entries have 16 bytes, so the address after it gives the same number.
  const count = Math.floor(Number(end + 1n - base - BigInt(BOOKKEEPING)) / ENTRY_SIZE);
  return [{ first: 0, end: count, at: Number(base) + BOOKKEEPING }];
}

/** The segments that have entries: AMD64 APM vol. 2, §15.36.22. */
function segmentParts(memory: TableMemory, { base, segmentShift, segments = SEGMENTS }: RmpPlace): Part[] {
  const shift = segmentShift as number;
  if (!Number.isInteger(shift) || shift < 30 || shift > 51) {
    refuseArgument('the segment size of the RMP', segmentShift, 'pass its binary logarithm, from 30 to 51');
  }
  if (base % 0x10_0000n !== 0n)
    refuseArgument('the base of the RMP', base, 'pass a multiple of 1 MiB if it is segmented');
  const table = Number(base) + BOOKKEEPING;
  if (!memory.exists(table)) throw new DumpError('NO_RMP', { paddr: base + BigInt(BOOKKEEPING) });
  const each = 2 ** (shift - PAGE_SHIFT);
  const parts: Part[] = [];
  for (let i = 0; i < segments && (i + 1) * each <= 2 ** 40; i += 1) {
    const low = memory.word(table + 8 * i)!;
    const high = memory.word(table + 8 * i + 4)!;
    if (high >>> 20 !== 0) {
      throw new DumpError('INVALID_FILE', {
        reason: `segment ${i} of the RMP has reserved bits set: 0x${((BigInt(high) << 32n) | BigInt(low)).toString(16)}`,
      });
    }
    const frames = Math.min(each, (low & 0xf_ffff) * GIB_FRAMES);
    const at = high * 2 ** 32 + (low >>> 20) * 2 ** 20;
    if (frames > 0) parts.push({ first: i * each, end: i * each + frames, at });
  }
  return parts;
}

/** The words of the memory that has the table. The last frames stay in a cache. */
class TableMemory {
  readonly #readFrame: ReadTableFrame;
  readonly #cache: Map<number, Uint32Array | undefined> = new Map();
  #frame = -1;
  #words: Uint32Array | undefined;

  constructor(readFrame: ReadTableFrame) {
    this.#readFrame = readFrame;
  }

  exists(at: number): boolean {
    return this.words(Math.floor(at / PAGE_SIZE)) !== undefined;
  }

  /** The word at an address, or `undefined` if its frame does not exist. */
  word(at: number): number | undefined {
    return this.words(Math.floor(at / PAGE_SIZE))?.[(at % PAGE_SIZE) / 4];
  }

  words(frame: number): Uint32Array | undefined {
    if (frame === this.#frame) return this.#words;
    this.#frame = frame;
    this.#words = this.#cache.get(frame);
    if (this.#words !== undefined || this.#cache.has(frame)) return this.#words;
    const words = new Uint32Array(PAGE_SIZE / 4);
    this.#words = this.#readFrame(frame, new Uint8Array(words.buffer)) ? words : undefined;
    if (this.#cache.size >= CACHED_FRAMES) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(frame, this.#words);
    return this.#words;
  }
}

class EntryTable implements RmpTable {
  readonly kind: string;
  readonly #memory: TableMemory;
  /** Ascending. */
  readonly #parts: readonly Part[];

  constructor(memory: TableMemory, parts: readonly Part[], kind: string) {
    this.#memory = memory;
    this.#parts = parts;
    this.kind = kind;
  }

  runFrom(first: number, most: number): RmpRun {
    requireInteger('first', first, 0, LAST_FRAME);
    requireInteger('most', most, 1, LAST_FRAME + 1);
    const part = this.#partFrom(first);
    if (part === undefined) return { first, count: most, entry: undefined };
    if (part.first > first) return { first, count: Math.min(most, part.first - first), entry: undefined };
    const end = Math.min(first + most, part.end);
    const region = first - (first % HUGE_FRAMES);
    const aligned = this.#at(part, region);
    if (aligned !== undefined && (aligned.low & HUGE) !== 0) {
      const entry = aligned.decode();
      // The pages of a 2 MiB page of a guest are at consecutive GPAs.
      const gpa = (entry.gpa + BigInt(first - region) * BigInt(PAGE_SIZE)) as RmpEntry['gpa'];
      const isOfGuest = entry.assigned && entry.asid !== 0;
      const count = Math.min(end, region + HUGE_FRAMES) - first;
      return { first, count, entry: isOfGuest ? Object.freeze({ ...entry, gpa }) : entry };
    }
    const own = this.#at(part, first);
    if (own === undefined) return { first, count: this.#missing(part, first, end) - first, entry: null };
    return { first, count: this.#alike(part, first, end) - first, entry: own.decode() };
  }

  *runs(): Generator<RmpRun, undefined, undefined> {
    for (const { first, end } of this.#parts) {
      for (let at = first; at < end; ) {
        const run = this.runFrom(at, end - at);
        yield run;
        at += run.count;
      }
    }
  }

  /** The first part that ends after a frame. */
  #partFrom(frame: number): Part | undefined {
    let [low, high] = [0, this.#parts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#parts[middle]!.end <= frame) low = middle + 1;
      else high = middle;
    }
    return this.#parts[low];
  }

  #at(part: Part, frame: number): { readonly low: number; decode(): RmpEntry } | undefined {
    const at = part.at + (frame - part.first) * ENTRY_SIZE;
    const words = this.#memory.words(Math.floor(at / PAGE_SIZE));
    if (words === undefined) return undefined;
    const index = (at % PAGE_SIZE) / 4;
    const quadword = (i: number): bigint =>
      (BigInt(words[index + i + 1]!) << 32n) | BigInt(words[index + i]!);
    return { low: words[index]!, decode: () => decodeRmpEntry({ low: quadword(0), high: quadword(2) }) };
  }

  /** The end of the frames whose entries do not exist. */
  #missing(part: Part, first: number, end: number): number {
    let next = first;
    while (next < end && this.#at(part, next) === undefined) next += PER_FRAME - (next % PER_FRAME);
    return Math.min(next, end);
  }

  /**
   * The end of the 4 KiB pages whose entries are like that of `first`, with consecutive GPAs if they are a guest's. A run ends before a
   * 2 MiB page.
   */
  #alike(part: Part, first: number, end: number): number {
    let words: Uint32Array | undefined;
    let [low, high, masks, upper, step] = [0, 0, 0, 0, 0];
    for (let frame = first; frame < end; frame += 1) {
      const at = part.at + (frame - part.first) * ENTRY_SIZE;
      const index = (at % PAGE_SIZE) / 4;
      if (words === undefined || index === 0) words = this.#memory.words(Math.floor(at / PAGE_SIZE));
      if (words === undefined) return frame;
      const isAligned = frame % HUGE_FRAMES === 0;
      const now = isAligned ? words[index]! & ~SUBPAGE_COUNT : words[index]!;
      if (frame === first) {
        [low, high, masks, upper] = [now, words[index + 1]!, words[index + 2]!, words[index + 3]!];
        step = (low & ASSIGNED) !== 0 && (high & ASID_OF_HIGH) !== 0 ? PAGE_SIZE : 0;
        continue;
      }
      if (isAligned && (now & HUGE) !== 0) return frame;
      const gpa = (high & 0x7_ffff) * 2 ** 32 + ((low & ~0xfff) >>> 0) + (frame - first) * step;
      const isSame =
        (now & 0xfff) === (low & 0xfff) &&
        ((now & ~0xfff) >>> 0) + (words[index + 1]! & 0x7_ffff) * 2 ** 32 === gpa &&
        words[index + 1]! >>> 19 === high >>> 19 &&
        words[index + 2] === masks &&
        words[index + 3] === upper;
      if (!isSame) return frame;
    }
    return end;
  }
}
