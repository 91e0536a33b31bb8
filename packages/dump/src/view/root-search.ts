import { PAGE_SIZE, physAddr } from '@svsm/address';
import { type MemoryEncryption, pagingConfig } from '@svsm/pagetable';
import type { Dump } from '../formats/dump.ts';
import { atLayoutOf } from '../formats/raw-image.ts';
import { requireDump } from '../formats/require-dump.ts';
import { lookAt, type TableLook, type TableShape } from '../formats/table-look.ts';
import { refuseArgument, requireChoice, requireOptional, requireOptions } from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import { Runs } from '../source/runs.ts';
import { readerOf } from './reader-of.ts';
import type { EndRecord, FileRecord, RootRecord } from './record.ts';

/** How to search for top tables. */
export interface RootSearchOptions {
  /** The levels of the tables. Default: those that the dump names, else both are tried. */
  readonly levels?: 4 | 5 | undefined;
  /** The bit of an entry that is not part of an address. Default: the C-bit in VMCOREINFO, else none. */
  readonly encryption?: MemoryEncryption | undefined;
  /** Read all frames, however many there are. */
  readonly all?: boolean | undefined;
  readonly onProgress?: OnProgress | undefined;
}

const ENTRIES = 512;
const HALF = 256;
const PRESENT = 1;
const LARGE = 0x80;
/** Bits 62..52 of an entry, in its upper word: kernels leave them 0 in a top table. */
const ODD_HIGH = 0x7ff0_0000;
const ADDRESS_BITS = 0xf_ffff_ffff_f000n;
const LA57 = 12n;
/** A table is listed if this part of the sampled entries makes sense. */
const SANE = 0.8;
const DEEPER = 0.6;
/** 256 GiB: minutes. */
const MAX_FRAMES = 2 ** 26;
const MAX_ROOTS = 2 ** 13;
/** A search stops after so many frames that the dump lists and that cannot be read: a truncated file can have millions. */
const MAX_UNREADABLE = 2 ** 16;
/** The number of tables that may be read to find out whether the roots map themselves. */
const MAX_TABLES = 2 ** 16;
const MAX_TABLES_EACH = 2 ** 10;
/** The raw image is laid out by this many candidates. */
const LAYOUT_BY = 64;

/**
 * Finds the top tables in the memory of a dump: those of the kernel and of each process. It reads each frame once, and a sample of
 * the tables below each that may be a top table. The records come by score, from 100 for a table that surely is one.
 *
 * A raw image whose hole below 4 GiB is not known is laid out so that the tables make most sense.
 *
 * @throws DumpError `INVALID_ARGUMENT`; `OUTSIDE_LIMITS` for more than 256 GiB of memory, unless `all` is given; `READ_FAILED`,
 *   `TRUNCATED_FILE`, `UNSUPPORTED_FORMAT`
 * @throws PageTableError `INVALID_CONFIG` for a memory encryption that does not exist
 */
export function* findRoots(
  dump: Dump,
  options: RootSearchOptions = {},
): Generator<FileRecord | RootRecord | EndRecord, undefined, undefined> {
  requireDump('dump', dump);
  requireOptions('options', options, ['levels', 'encryption', 'all', 'onProgress']);
  const { levels, encryption, all, onProgress } = options;
  requireChoice('levels', levels, [4, 5]);
  requireOptional('all', all, 'boolean');
  requireOptional('onProgress', onProgress, 'function');
  if (encryption !== undefined) pagingConfig({ encryption });
  const { dump: laidOut, roots } = rootsIn(dump, options);
  const { name, kind, source, cpus } = laidOut;
  yield { type: 'file', file: name, kind, size: source.size, cpus: cpus.length };
  yield* roots;
  yield { type: 'end', what: 'roots', count: roots.length, bytes: null, faults: 0 };
}

/** The roots by score, and the dump as it is laid out by them. */
export function rootsIn(dump: Dump, options: RootSearchOptions): { dump: Dump; roots: RootRecord[] } {
  const frames = candidatesIn(dump, options);
  const shapes = frames
    .slice(0, LAYOUT_BY)
    .flatMap((frame) => shapesOf(frame, options.levels ?? levelsOf(dump), bitOf(dump, options)));
  const laidOut = atLayoutOf(dump, shapes);
  return { dump: laidOut, roots: judged(laidOut, frames, options) };
}

/** The frames that may be top tables by their own content, and those that the dump names. */
function candidatesIn(dump: Dump, { all = false, onProgress }: RootSearchOptions): number[] {
  const runs = searchedIn(dump);
  let total = 0;
  for (let i = 0; i < runs.length; i += 1) total += Math.ceil((runs.end(i) - runs.start(i)) / PAGE_SIZE);
  if (total > MAX_FRAMES && !all) {
    throw new DumpError(
      'OUTSIDE_LIMITS',
      { reason: `it has ${total} frames; a search reads at most ${MAX_FRAMES}, unless --all is passed` },
      { file: dump.name },
    );
  }
  const readFrame = readerOf(dump);
  const words = new Uint32Array(PAGE_SIZE / 4);
  const bytes = new Uint8Array(words.buffer);
  const found = new Set<number>(namedFrames(dump));
  let [done, unreadable] = [0, 0];
  for (let i = 0; i < runs.length && found.size < MAX_ROOTS; i += 1) {
    for (const frame of framesWithData(dump, runs, i)) {
      if (!readFrame(frame, bytes)) unreadable += 1;
      else if (isTopLike(words)) found.add(frame);
      done += 1;
      onProgress?.(done, total, 'frames');
      if (found.size >= MAX_ROOTS) break;
      if (unreadable < MAX_UNREADABLE) continue;
      dump.notices?.add(
        'damaged-page',
        `the search stopped at 0x${(frame * PAGE_SIZE).toString(16)}: ${unreadable} pages before it cannot be read. Is the file truncated?`,
      );
      return [...found].sort((a, b) => a - b);
    }
  }
  return [...found].sort((a, b) => a - b);
}

/**
 * The memory to search, as physical addresses with the way to their place in the file. Memory without a place has NaN. Each place in the
 * file is searched once, however often a hostile file, or a nested page table, lists it.
 */
function searchedIn({ memory = [] }: Dump): Runs {
  const [searched, places] = [new Runs(), new Runs()];
  for (const { start, end, offset, isZero } of memory) {
    if (isZero) continue;
    const [from, to] = [Number(start), Number(end)];
    if (offset === undefined) searched.add(from, to, Number.NaN);
    else places.add(offset, offset + (to - from), from - offset);
  }
  let reached = 0;
  for (const { start, end, delta } of places.sorted()) {
    // Whole frames, as the memory has them.
    const from = reached > start ? Math.ceil((reached + delta) / PAGE_SIZE) * PAGE_SIZE : start + delta;
    searched.add(from, end + delta, -delta);
    reached = Math.max(reached, end);
  }
  return searched;
}

/** The whole frames of a run, without those that are known to be zero. */
function* framesWithData(
  { source }: Dump,
  runs: Runs,
  index: number,
): Generator<number, undefined, undefined> {
  const [end, delta] = [runs.end(index), runs.delta(index)];
  for (
    let at = Math.ceil(runs.start(index) / PAGE_SIZE) * PAGE_SIZE;
    at + PAGE_SIZE <= end;
    at += PAGE_SIZE
  ) {
    const place = at + delta;
    const next: unknown = source.dataFrom?.(place) ?? place;
    if (typeof next !== 'number') refuseArgument('the result of dataFrom', next, 'return a position');
    // Memory without a place compares as false.
    if (next >= place + PAGE_SIZE) at += Math.floor((next - place) / PAGE_SIZE) * PAGE_SIZE;
    if (at + PAGE_SIZE <= end) yield at / PAGE_SIZE;
  }
}

function* namedFrames({ cpus, kernel }: Dump): Generator<number, undefined, undefined> {
  const named = cpus.map(({ cr3 }) => cr3);
  if (kernel?.cr3 !== undefined) named.push(kernel.cr3);
  for (const cr3 of named) yield Number((cr3 & ADDRESS_BITS) >> 12n);
}

/** Whether a page has present entries without odd bits, and else only zeros, as a top table has. */
function isTopLike(words: Uint32Array): boolean {
  let present = 0;
  for (let i = 0; i < 2 * ENTRIES; i += 2) {
    const low = words[i]!;
    const high = words[i + 1]!;
    if (low === 0 && high === 0) continue;
    if ((low & (PRESENT | LARGE)) !== PRESENT || (high & ODD_HIGH) !== 0) return false;
    present += 1;
  }
  return present > 0;
}

interface Candidate {
  readonly frame: number;
  readonly levels: 4 | 5;
  readonly look: TableLook;
  readonly words: Uint32Array;
}

/** The candidates that make sense, by score, then by address. */
function judged(dump: Dump, frames: readonly number[], options: RootSearchOptions): RootRecord[] {
  const levels = options.levels ?? levelsOf(dump);
  const bit = bitOf(dump, options);
  const frameOf = frameReader(bit);
  const sensible = frames.flatMap((frame) => candidateOf(dump, frame, levels, bit) ?? []);
  // A table of the second level of five is a sound top table of four.
  const below = new Set(
    sensible
      .filter((one) => one.levels === 5)
      .flatMap(({ words }) => presentIn(words).map((i) => frameOf(words, i))),
  );
  const roots = sensible.filter((one) => one.levels === 5 || !below.has(one.frame));
  const score = new Scores(dump, roots, frameOf);
  const records = roots.map((root) => ({ root, record: recordOf(dump, root, score) }));
  records.sort((a, b) => b.record.score - a.record.score || a.root.frame - b.root.frame);
  return topmost(records, frameOf);
}

/** The records without those of tables that a better one leads to: these are of a lower level. */
function topmost(
  sorted: readonly { readonly root: Candidate; readonly record: RootRecord }[],
  frameOf: FrameOf,
): RootRecord[] {
  const lower = new Set<number>();
  return sorted.flatMap(({ root: { frame, words }, record }) => {
    if (lower.has(frame)) return [];
    for (const i of presentIn(words)) if (frameOf(words, i) !== frame) lower.add(frameOf(words, i));
    return [record];
  });
}

function candidateOf(
  dump: Dump,
  frame: number,
  levels: 4 | 5 | undefined,
  bit: number | undefined,
): Candidate | undefined {
  const readFrame = readerOf(dump);
  const words = new Uint32Array(PAGE_SIZE / 4);
  if (!readFrame(frame, new Uint8Array(words.buffer))) return undefined;
  const looks = shapesOf(frame, levels, bit).map((shape) => ({
    levels: shape.levels,
    look: lookAt(readFrame, shape),
  }));
  const sane = looks.filter(
    ({ levels: one, look }) =>
      look.topEntries > 0 && look.filled >= SANE && (one === 5 || levels === 4 || look.deeper <= DEEPER),
  );
  const [best] = sane.sort((a, b) => b.look.filled - a.look.filled);
  return best && { frame, words, ...best };
}

class Scores {
  readonly #readFrame: (frame: number, bytes: Uint8Array) => boolean;
  /** The number of roots for each content of the kernel's half. */
  readonly #halves: Map<string, number> = new Map();
  readonly #words: Uint32Array = new Uint32Array(PAGE_SIZE / 4);
  readonly #frameOf: FrameOf;
  #tables = 0;

  constructor(dump: Dump, roots: readonly Candidate[], frameOf: FrameOf) {
    this.#readFrame = readerOf(dump);
    this.#frameOf = frameOf;
    for (const { words } of roots) {
      const half = halfOf(words);
      if (half !== '') this.#halves.set(half, (this.#halves.get(half) ?? 0) + 1);
    }
  }

  /** Whether other roots have the same kernel's half, as those of all processes have. */
  isShared({ words }: Candidate): boolean {
    return (this.#halves.get(halfOf(words)) ?? 0) > 1;
  }

  /** Whether one of the pages that the table maps is the table itself: a kernel can change its own tables. */
  mapsItself({ frame, levels, words }: Candidate): boolean {
    this.#words.set(words);
    let budget = Math.min(MAX_TABLES_EACH, MAX_TABLES - this.#tables);
    const before = budget;
    const seen = new Set<number>();
    const isBelow = (table: Uint32Array, level: number): boolean => {
      for (const i of presentIn(table)) {
        const next = this.#frameOf(table, i);
        const isLeaf = level === 0 || (level <= 2 && (table[2 * i]! & LARGE) !== 0);
        if (isLeaf) {
          const pages = 512 ** level;
          if (frame >= next - (next % pages) && frame < next - (next % pages) + pages) return true;
          continue;
        }
        if (next === frame) return true;
        const key = next * 8 + level;
        if (budget <= 0 || seen.has(key)) continue;
        seen.add(key);
        budget -= 1;
        const child = new Uint32Array(PAGE_SIZE / 4);
        if (this.#readFrame(next, new Uint8Array(child.buffer)) && isBelow(child, level - 1)) return true;
      }
      return false;
    };
    const found = isBelow(words, levels - 1);
    this.#tables += before - budget;
    return found;
  }
}

function recordOf(dump: Dump, root: Candidate, scores: Scores): RootRecord {
  const { frame, levels, look, words } = root;
  const cr3 = physAddr(frame * PAGE_SIZE);
  const present = presentIn(words);
  const cpus = dump.cpus.flatMap((cpu, i) => ((cpu.cr3 & ADDRESS_BITS) === cr3 ? [i] : []));
  const isKernel = dump.kernel?.cr3 === cr3;
  const mapsItself = scores.mapsItself(root);
  const isShared = scores.isShared(root);
  const score =
    Math.round(look.filled * 50) +
    (mapsItself ? 20 : 0) +
    (isShared || isKernel ? 20 : 0) +
    (cpus.length > 0 || isKernel ? 10 : 0);
  return {
    type: 'root',
    cr3,
    levels,
    score,
    lowerEntries: present.filter((i) => i < HALF).length,
    upperEntries: present.filter((i) => i >= HALF).length,
    mapsItself,
    isShared,
    isKernel,
    cpus,
  };
}

function levelsOf({ cpus, kernel, levels }: Dump): 4 | 5 | undefined {
  const cr4 = cpus[0]?.cr4;
  const byCpu = cr4 === undefined ? undefined : ((cr4 >> LA57) & 1n) === 1n ? 5 : 4;
  return levels ?? kernel?.levels ?? byCpu;
}

/** The bit of an entry that is not part of an address. */
function bitOf({ kernel }: Dump, { encryption }: RootSearchOptions): number | undefined {
  return encryption?.bit ?? kernel?.cBit;
}

function shapesOf(frame: number, levels: 4 | 5 | undefined, addressBit: number | undefined): TableShape[] {
  const root = BigInt(frame) << 12n;
  return (levels === undefined ? ([4, 5] as const) : [levels]).map((one) => ({
    root,
    levels: one,
    addressBit,
  }));
}

function presentIn(words: Uint32Array): number[] {
  const present: number[] = [];
  for (let i = 0; i < ENTRIES; i += 1) if ((words[2 * i]! & PRESENT) !== 0) present.push(i);
  return present;
}

/** The frame to which an entry of a table leads. */
type FrameOf = (words: Uint32Array, index: number) => number;

function frameReader(bit: number | undefined): FrameOf {
  const high = 0xf_ffff & ~(bit === undefined ? 0 : 2 ** (bit - 32));
  return (words, index) => (words[2 * index + 1]! & high) * 0x10_0000 + (words[2 * index]! >>> 12);
}

/** The entries of the kernel's half as text, without the accessed bit, which processors set; empty if it has none. */
function halfOf(words: Uint32Array): string {
  const entries: string[] = [];
  for (const i of presentIn(words)) {
    if (i >= HALF)
      entries.push(`${i}:${(words[2 * i]! & ~0x20).toString(16)}:${words[2 * i + 1]!.toString(16)}`);
  }
  return entries.join();
}
