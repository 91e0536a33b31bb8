import type { EntryFormat } from '../entry/entry-format.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameHigh, frameLow } from '../entry/words.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableFrames } from '../memory/table-frames.ts';
import type { TlbListener } from './tlb-listener.ts';

/** The tables below one root, or below one entry of it, and everything that a change to them needs. */
export interface TableSpace {
  readonly memory: PhysMemory;
  readonly format: EntryFormat;
  readonly frames: TableFrames;
  readonly tlb: TlbListener | undefined;
  readonly levels: 4 | 5;
  /** The frame number of the top table, at which every walk starts. */
  readonly root: number;
  /** The level of the top table: levels - 1; one less for a part. */
  readonly top: number;
  /** The first page that the top table maps, as a page number. */
  readonly base: number;
  /** Indexes of root entries whose tables have another owner. */
  readonly foreign: ReadonlySet<number>;
  /** Indexes of root entries whose table is not freed when it is empty: the foreign ones, and those that a clone shares. */
  readonly kept: ReadonlySet<number>;
  /**
   * Reports that a present entry at `level` 1 or above has changed, the one for `page`: where a self-map shows that entry, a
   * cached translation of the table or page behind it is stale.
   */
  upperChanged(page: number, level: number, operation: string): void;
}

// A table must never restrict what its leaves allow: present, writable, user, accessed.
const TABLE_FLAGS = PteFlags.Present | PteFlags.Writable | PteFlags.User | PteFlags.Accessed;

/** The low word of an entry that leads to a table. */
export function tableLow(table: number): number {
  return frameLow(table) | TABLE_FLAGS;
}

/** The high word of an entry that leads to a table. Tables are private. */
export function tableHigh(table: number, format: EntryFormat): number {
  return frameHigh(table) | format.privateHi;
}

/** Writes one entry. The low word, which has the present bit, is written last. */
export function storeEntry(
  memory: PhysMemory,
  table: number,
  index: number,
  low: number,
  high: number,
): void {
  const words = memory.words(table, true);
  const at = memory.wordOffset(table) + 2 * index;
  words[at + 1] = high;
  words[at] = low;
}

/** Whether no entry of `table` is present. O(512). */
export function isEmptyTable(memory: PhysMemory, table: number): boolean {
  const words = memory.words(table, false);
  const start = memory.wordOffset(table);
  for (let at = start; at < start + 2 * ENTRIES; at += 2) {
    if ((words[at]! & PteFlags.Present) !== 0) return false;
  }
  return true;
}

/** An entry of the root. */
export interface RootEntry {
  readonly index: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Reads the entry of the root at `index`, which must lead to a table.
 *
 * @throws PageTableError `INVALID_ROOT_ENTRY` if `index` is not 0 to 511, or the entry is not present
 */
export function readRootEntry({ memory, root }: TableSpace, index: number): RootEntry {
  requireRootIndex(index);
  const words = memory.words(root, false);
  const at = memory.wordOffset(root) + 2 * index;
  const low = words[at]!;
  if ((low & PteFlags.Present) === 0) {
    throw new PageTableError('INVALID_ROOT_ENTRY', {
      index,
      problem: 'the entry is not present: map something below it first',
    });
  }
  return { index, low, high: words[at + 1]! };
}

/** Requires an index of an entry. @throws PageTableError `INVALID_ROOT_ENTRY` */
export function requireRootIndex(index: number): void {
  if (Number.isInteger(index) && index >= 0 && index < ENTRIES) return;
  throw new PageTableError('INVALID_ROOT_ENTRY', { index, problem: 'pass an index from 0 to 511' });
}
