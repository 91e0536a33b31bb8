import { pageNumber } from '@svsm/address';
import { isPageTableError, type PagingConfig, type PhysMemory, type VirtBounds } from '@svsm/pagetable';
import type { DumpView } from './dump-view.ts';

/** The size of a listing, counted without making it. */
export interface Census {
  /** The number of pages; a page counts each time that it is reached. Corrupted entries can make it slightly too high. */
  readonly pages: number;
  /** The number of entries that map a page, each counted once for each level of its table. */
  readonly entries: number;
  /** The number of faults in a listing, as `pages`. */
  readonly faults: number;
  /** The cost of the tables that a listing reads, in pages. A table counts each time that it is reached. */
  readonly visits: number;
  /** The sum of all of these if no table is reached more than once. */
  readonly once: number;
  /** The number of tables, each counted once. */
  readonly tables: number;
  /** For each table by its frame number, the levels at which it is reached. */
  readonly levelsOf: ReadonlyMap<number, ReadonlySet<number>>;
  /** The frame numbers of tables that are reached at more than one level (a self-map or a loop), ascending. */
  readonly selfMapped: readonly number[];
}

const PRESENT = 1;
const LARGE = 0x80;
const ENTRIES = 512;
/** Reading a table takes as long as listing this many pages. */
const TABLE_COST = 8;
const SPANS = [1, 2 ** 9, 2 ** 18, 2 ** 27, 2 ** 36, 2 ** 45] as const;

/**
 * Counts the pages that a page table maps. It reads each table once for each level at which the table is reached, so the count
 * is fast even if a corrupted table, or one that leads to itself, maps 2^36 pages or more.
 */
export function takeCensus(view: DumpView, within: VirtBounds | undefined): Census {
  const { levels } = view.config;
  const count = new Count(view.memory, view.config);
  const { pages, faults, visits } =
    within === undefined
      ? count.whole(pageNumber(view.table.root), levels - 1)
      : count.within(pageNumber(view.table.root), levels - 1, 0, pageRange(within, levels));
  return {
    pages,
    faults,
    visits,
    once: count.once,
    entries: count.entries,
    tables: count.levelsOf.size,
    levelsOf: count.levelsOf,
    selfMapped: [...count.levelsOf]
      .filter(([, seen]) => seen.size > 1)
      .map(([table]) => table)
      .sort((a, b) => a - b),
  };
}

interface Range {
  readonly first: number;
  readonly end: number;
}

/** The length of a listing of a table. */
interface Sum {
  readonly pages: number;
  readonly faults: number;
  readonly visits: number;
}

class Count {
  entries = 0;
  once = 0;
  readonly levelsOf: Map<number, Set<number>> = new Map();
  readonly #memory: PhysMemory;
  readonly #addressHigh: number;
  readonly #reservedHigh: number;
  readonly #known: Map<number, Sum> = new Map();

  constructor(memory: PhysMemory, { encryption, physicalBits, noExecute }: PagingConfig) {
    const encryptionHigh = encryption === undefined ? 0 : 2 ** (encryption.bit - 32);
    this.#memory = memory;
    this.#addressHigh = 0xf_ffff & ~encryptionHigh;
    const beyondWidth = 0xf_ffff & ~(2 ** (physicalBits - 32) - 1) & ~encryptionHigh;
    this.#reservedHigh = beyondWidth | (noExecute ? 0 : 0x8000_0000);
  }

  /** The length of a listing of the table. */
  whole(table: number, level: number): Sum {
    const key = table * 8 + level;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const sum = this.#sum(table, level, 0, ENTRIES, (next) => this.whole(next, level - 1));
    this.#known.set(key, sum);
    return sum;
  }

  /** Like {@link whole}, for the part in `range`. `page` is the first page of the table. */
  within(table: number, level: number, page: number, range: Range): Sum {
    const span = SPANS[level as 0];
    if (page >= range.first && page + ENTRIES * span <= range.end) return this.whole(table, level);
    const first = Math.max(0, Math.floor((range.first - page) / span));
    const end = Math.min(ENTRIES, Math.ceil((range.end - page) / span));
    return this.#sum(table, level, first, end, (next, i) =>
      this.within(next, level - 1, page + i * span, range),
    );
  }

  #sum(
    table: number,
    level: number,
    first: number,
    end: number,
    below: (table: number, index: number) => Sum,
  ): Sum {
    this.once += TABLE_COST;
    const words = this.#words(table);
    if (words === undefined) return { pages: 0, faults: 1, visits: TABLE_COST };
    this.#note(table, level);
    const base = this.#memory.wordOffset(table);
    let [pages, faults, visits] = [0, 0, TABLE_COST];
    for (let i = first; i < end; i += 1) {
      const low = words[base + 2 * i]!;
      const high = words[base + 2 * i + 1]!;
      if ((low & PRESENT) === 0) continue;
      if ((high & this.#reservedHigh) !== 0) {
        faults += 1;
        this.once += 1;
      } else if (level === 0 || (level <= 2 && (low & LARGE) !== 0)) {
        pages += 1;
        this.once += 1;
        this.entries += 1;
      } else {
        const sum = below((high & this.#addressHigh) * 0x10_0000 + (low >>> 12), i);
        pages += sum.pages;
        faults += sum.faults;
        visits += sum.visits;
      }
    }
    return { pages, faults, visits };
  }

  #words(table: number): Uint32Array | undefined {
    try {
      return this.#memory.words(table, false);
    } catch (error) {
      if (isPageTableError(error, 'BUS_ERROR')) return undefined;
      throw error;
    }
  }

  #note(table: number, level: number): void {
    const seen = this.levelsOf.get(table);
    if (seen === undefined) this.levelsOf.set(table, new Set([level]));
    else seen.add(level);
  }
}

function pageRange({ start, end }: VirtBounds, levels: 4 | 5): Range {
  const page = (address: bigint): number => Number(BigInt.asUintN(levels === 5 ? 45 : 36, address >> 12n));
  return { first: page(start), end: end === start ? page(start) : page(end - 1n) + 1 };
}
