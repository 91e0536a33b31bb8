import type { EntryFormat } from '../entry/entry-format.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameHigh, frameLow } from '../entry/words.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import type { TableFrames } from '../memory/table-frames.ts';
import type { TlbListener } from './tlb-listener.ts';

/** The tables below one root, or below one entry of it, and all that it takes to change them. */
export interface TableSpace {
  readonly memory: PhysMemory;
  readonly format: EntryFormat;
  readonly frames: TableFrames;
  readonly tlb: TlbListener | undefined;
  readonly levels: 4 | 5;
  /** The frame number of the root: the top table, to which the walk goes first. */
  readonly root: number;
  /** Its level: levels - 1, or one less for the part of one entry of a root. */
  readonly top: number;
  /** The first page that it maps. */
  readonly base: number;
  /** Entries of the root whose tables belong to somebody else. */
  readonly foreign: ReadonlySet<number>;
  /** Entries of the root, those and shared ones, whose table is not freed when it is empty. */
  readonly kept: ReadonlySet<number>;
}

// A table must never restrict what its leaves allow: present, writable, user, accessed.
const TABLE_FLAGS = PteFlags.Present | PteFlags.Writable | PteFlags.User | PteFlags.Accessed;

/** The low word of an entry that leads to a table. */
export function tableLow(table: number): number {
  return frameLow(table) | TABLE_FLAGS;
}

/** Its high word: tables are private. */
export function tableHigh(table: number, format: EntryFormat): number {
  return frameHigh(table) | format.privateHi;
}

/** Writes one entry; the low word, with its present bit, last. */
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

/**
 * The entry of the root that leads to a table which can be shared.
 *
 * @throws PageTableError `INVALID_ROOT_ENTRY` if it is none, or is not present
 */
export function readRootEntry(
  { memory, root }: TableSpace,
  index: number,
): { readonly index: number; readonly low: number; readonly high: number } {
  requireRootIndex(index);
  const words = memory.words(root, false);
  const at = memory.wordOffset(root) + 2 * index;
  const low = words[at]!;
  if ((low & PteFlags.Present) === 0) {
    throw new PageTableError('INVALID_ROOT_ENTRY', {
      index,
      problem: 'it leads to no table: map something there first',
    });
  }
  return { index, low, high: words[at + 1]! };
}

/** @throws PageTableError `INVALID_ROOT_ENTRY` for what is no index of an entry */
export function requireRootIndex(index: number): void {
  if (Number.isInteger(index) && index >= 0 && index < ENTRIES) return;
  throw new PageTableError('INVALID_ROOT_ENTRY', { index, problem: 'pass an index from 0 to 511' });
}
