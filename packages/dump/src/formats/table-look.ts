import { PAGE_SIZE } from '@svsm/address';
import type { MemoryEncryption } from '@svsm/pagetable';

/** Reads the frame at `frame` × 4096. Returns whether it exists. */
export type ReadFrame = (frame: number, bytes: Uint8Array) => boolean;

/** A top table, and how to read it. */
export interface TableShape {
  /** The physical address of the top table, without the C-bit. */
  readonly root: bigint;
  readonly levels: 4 | 5;
  /** The bit of an address that is not part of it (C-bit or vTOM). */
  readonly addressBit: number | undefined;
}

/** The look of page tables, from a sample of them. */
export interface TableLook {
  /** Whether the frame of the top table exists. */
  readonly exists: boolean;
  /** The number of present entries in the top table. */
  readonly topEntries: number;
  /** The part of the sampled entries that lead to a table or a page as they should, from 0 to 1. */
  readonly sane: number;
  /** The same without the entries that lead to an empty frame: a kernel allocates some tables before it needs them. */
  readonly filled: number;
  /** The part of the sampled 4 KiB pages that look like page tables or entries of large pages, from 0 to 1. */
  readonly deeper: number;
}

const ADDRESS_BITS = 0xf_ffff_ffff_f000n;
const ENTRIES = 512;
const PRESENT = 1;
const LARGE = 0x80;
/** A sample has at most this many tables, and at most this many entries of each. */
const MAX_TABLES = 96;
const CHILDREN = 8;
const LEAVES = 4;
/** Bits 51..32 of an entry, in its upper word. */
const ADDRESS_HIGH = 0xf_ffff;

/** The ways to read a page table whose levels are not known. */
export function shapesOf(
  cr3: bigint,
  levels: 4 | 5 | undefined,
  encryption: MemoryEncryption | undefined,
): TableShape[] {
  return (levels === undefined ? ([4, 5] as const) : [levels]).map((one) =>
    shapeOf(cr3, one, encryption?.bit),
  );
}

/** The table at `cr3`, of which bit `bit` is not part of the address. */
export function shapeOf(cr3: bigint, levels: 4 | 5, bit: number | undefined): TableShape {
  const mask = bit === undefined ? ADDRESS_BITS : ADDRESS_BITS & ~(1n << BigInt(bit));
  return { root: cr3 & mask, levels, addressBit: bit };
}

/** Looks at a sample of the tables under a top table, breadth first. Reads at most a few hundred frames. */
export function lookAt(readFrame: ReadFrame, shape: TableShape): TableLook {
  const sample = new Sample(readFrame, shape);
  return sample.take(Number(shape.root >> 12n), shape.levels - 1);
}

/** The bits from 32 to 51 that are set in nearly all present entries of a top table: maybe its C-bit. */
export function commonHighBits(readFrame: ReadFrame, root: bigint): number[] {
  const words = new Uint32Array(PAGE_SIZE / 4);
  if (!readFrame(Number(root >> 12n), new Uint8Array(words.buffer))) return [];
  const counts = new Array<number>(52).fill(0);
  let present = 0;
  for (let i = 0; i < ENTRIES; i += 1) {
    if ((words[2 * i]! & PRESENT) === 0) continue;
    present += 1;
    for (let bit = 32; bit < 52; bit += 1)
      if (((words[2 * i + 1]! >>> (bit - 32)) & 1) === 1) counts[bit]! += 1;
  }
  return counts.flatMap((count, bit) => (present > 0 && count >= 0.9 * present ? [bit] : []));
}

class Sample {
  readonly #readFrame: ReadFrame;
  readonly #addressHigh: number;
  #good = 0;
  #bad = 0;
  /** The number of bad ones that lead to an empty frame. */
  #empty = 0;
  #pages = 0;
  #deeperPages = 0;

  constructor(readFrame: ReadFrame, { addressBit }: TableShape) {
    this.#readFrame = readFrame;
    this.#addressHigh = addressBit === undefined ? ADDRESS_HIGH : ADDRESS_HIGH & ~(2 ** (addressBit - 32));
  }

  take(root: number, topLevel: number): TableLook {
    const top = this.#read(root);
    if (top === undefined) return { exists: false, topEntries: 0, sane: 0, filled: 0, deeper: 0 };
    let queue = [top];
    let tables = 1;
    for (let level = topLevel; level >= 0; level -= 1) {
      const next: Uint32Array[] = [];
      const share = Math.max(1, Math.floor(MAX_TABLES / topLevel / Math.max(1, queue.length)));
      for (const table of queue) {
        if (level === 0) this.#lookAtPages(table);
        else if (tables < MAX_TABLES) next.push(...this.#lookBelow(table, level, Math.min(share, CHILDREN)));
      }
      tables += next.length;
      queue = next;
    }
    const seen = this.#good + this.#bad;
    return {
      exists: true,
      topEntries: presentEntries(top).length,
      sane: seen === 0 ? 0 : this.#good / seen,
      filled: seen === this.#empty ? 0 : this.#good / (seen - this.#empty),
      deeper: this.#pages === 0 ? 0 : this.#deeperPages / this.#pages,
    };
  }

  /** Judges the present entries of a table, and returns some of the tables below. */
  #lookBelow(table: Uint32Array, level: number, most: number): Uint32Array[] {
    const below: Uint32Array[] = [];
    for (const i of spread(presentEntries(table), 2 * CHILDREN)) {
      const [low, high] = [table[2 * i]!, table[2 * i + 1]!];
      if (level <= 2 && (low & LARGE) !== 0) {
        // The address of a large page has zeros below. Bit 12 is its PAT.
        const isAligned = (low & (level === 1 ? 0x1f_e000 : 0x3fff_e000)) === 0;
        this.#count(isAligned && (high & this.#addressHigh) < 2 ** 16);
        continue;
      }
      const isPlausible = level <= 2 || (low & LARGE) === 0;
      const next = isPlausible ? this.#read(this.#frameOf(low, high)) : undefined;
      this.#count(next !== undefined && hasTableBits(next, level === 1 ? 0.3 : 0.7));
      if (next?.every((word) => word === 0) === true) this.#empty += 1;
      if (next !== undefined && below.length < most) below.push(next);
    }
    return below;
  }

  /** Judges the pages of a table of the last level: page tables among them suggest that there is one more level. */
  #lookAtPages(table: Uint32Array): void {
    for (const i of spread(presentEntries(table), LEAVES)) {
      const [low, high] = [table[2 * i]!, table[2 * i + 1]!];
      this.#pages += 1;
      // The entry of a 2 MiB page has bit 7, which is a seldom used bit of the memory type in the entry of a 4 KiB page.
      if ((low & LARGE) !== 0) {
        if ((low & 0x1f_e000) === 0) this.#deeperPages += 1;
        continue;
      }
      const page = this.#read(this.#frameOf(low, high));
      if (page !== undefined && hasTableBits(page, 0.7)) this.#deeperPages += 1;
    }
  }

  #count(isGood: boolean): void {
    if (isGood) this.#good += 1;
    else this.#bad += 1;
  }

  #frameOf(low: number, high: number): number {
    return (high & this.#addressHigh) * 0x10_0000 + (low >>> 12);
  }

  #read(frame: number): Uint32Array | undefined {
    const words = new Uint32Array(PAGE_SIZE / 4);
    return this.#readFrame(frame, new Uint8Array(words.buffer)) ? words : undefined;
  }
}

/**
 * Whether a page looks like a table: at least `part` of its entries that are not zero are present, without odd bits. Tables of
 * user memory also have entries of pages that were swapped out. An empty page does not look like a table: kernels keep few
 * empty tables.
 */
function hasTableBits(words: Uint32Array, part: number): boolean {
  let [used, like] = [0, 0];
  for (let i = 0; i < ENTRIES; i += 1) {
    const [low, high] = [words[2 * i]!, words[2 * i + 1]!];
    if (low === 0 && high === 0) continue;
    used += 1;
    // Bits 58..52 are free for software, and seldom used.
    if ((low & PRESENT) !== 0 && (high & 0x07f0_0000) === 0) like += 1;
  }
  return used > 0 && like >= part * used;
}

function presentEntries(words: Uint32Array): number[] {
  const present: number[] = [];
  for (let i = 0; i < ENTRIES; i += 1) if ((words[2 * i]! & PRESENT) !== 0) present.push(i);
  return present;
}

/** At most `count` of the items, evenly spread, with the first and the last. */
function spread<Item>(items: readonly Item[], count: number): Item[] {
  if (items.length <= count) return [...items];
  return Array.from({ length: count }, (_, i) => items[Math.floor((i * (items.length - 1)) / (count - 1))]!);
}
