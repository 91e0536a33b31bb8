import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { decodeEntry, type PageTable, type PageTableEntry, type PagingConfig } from '@svsm/pagetable';
import { failedRmpCheck, type Guest, type SnpMachine, type Vcpu } from '@svsm/sev-snp';

/** The tables of a page table at one moment. Tables that have not changed are the same arrays as in the moment before. */
export interface TableImages {
  readonly root: PhysAddr;
  /** 4 or 5. */
  readonly levels: number;
  readonly config: PagingConfig;
  /** The 512 entries of each table, by its address. */
  readonly tables: ReadonlyMap<bigint, BigUint64Array>;
}

/** The entry of a table that leads to an address. */
export interface EntryAt {
  readonly table: bigint;
  readonly index: number;
  /** 0 (PT) to 4 (PML5). */
  readonly level: number;
  readonly entry: PageTableEntry;
}

/** The parts of a world that have its tables. */
export interface TableSource {
  readonly machine: SnpMachine;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  readonly table: PageTable;
}

/**
 * Reads all tables that the root leads to. A table that the guest cannot read at this moment, since the hypervisor has changed the
 * page below it, is shown as it was. O(tables).
 */
export function captureTables(source: TableSource, previous?: TableImages): TableImages {
  const { table } = source;
  const { config } = table;
  const root = decodeEntry(table.cr3 | 1n, config.levels - 1, config).address;
  const tables = new Map<bigint, BigUint64Array>();
  const queue: [bigint, number][] = [[root, config.levels - 1]];
  for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
    const [at, level] = next;
    if (tables.has(at)) continue;
    const before = previous?.tables.get(at);
    const read = readTable(source, at as PhysAddr) ?? before;
    if (read === undefined) continue;
    const words = before !== undefined && same(read, before) ? before : read;
    tables.set(at, words);
    if (level > 0) for (const next of tablesBelow(words, level, config)) queue.push([next, level - 1]);
  }
  const isSame = previous?.root === root && tables.size === previous.tables.size;
  if (isSame && [...tables].every(([at, words]) => previous.tables.get(at) === words)) return previous;
  return { root, levels: config.levels, config, tables };
}

/** The tables that entries of a table lead to: an array of entries never changes. */
const BELOW = new WeakMap<BigUint64Array, readonly bigint[]>();

function tablesBelow(words: BigUint64Array, level: number, config: PagingConfig): readonly bigint[] {
  const known = BELOW.get(words);
  if (known !== undefined) return known;
  const below: bigint[] = [];
  for (const word of words) {
    if ((word & 1n) === 0n) continue;
    const entry = decodeEntry(word, level, config);
    if (!entry.leaf) below.push(entry.address);
  }
  BELOW.set(words, below);
  return below;
}

/** The entries that a walk to `vaddr` uses, from the root down. The last one is a leaf, or not present. */
export function walkImages(images: TableImages, vaddr: bigint): EntryAt[] {
  const path: EntryAt[] = [];
  let table: bigint = images.root;
  for (let level = images.levels - 1; level >= 0; level -= 1) {
    if (!images.tables.has(table)) return path;
    const at = entryIn(images, table, Number((vaddr >> BigInt(12 + 9 * level)) & 511n), level);
    const { entry } = at;
    path.push(at);
    if (!entry.present || entry.leaf) return path;
    table = entry.address;
  }
  return path;
}

/** An entry of a table that the images have. */
export function entryIn(images: TableImages, table: bigint, index: number, level: number): EntryAt {
  const entry = decodeEntry(images.tables.get(table)![index]!, level, images.config);
  return { table, index, level, entry };
}

/**
 * The entries of a table, if a walk of the guest could read it. The bytes come from memory itself: an attempt of the guest that
 * fails would exit, and the hypervisor would act.
 */
function readTable({ machine, guest, vcpu }: TableSource, gpa: PhysAddr): BigUint64Array | undefined {
  const nested = guest.nested.lookup(gpa);
  if (nested === undefined) return undefined;
  const { spa, size: translationSize } = nested;
  const { vmpl, cpl } = vcpu;
  const access = { spa, gpa, translationSize, vmpl, cpl, asid: guest.asid } as const;
  const failed = failedRmpCheck(machine.rmp, { ...access, accessor: 'snp-guest-private', kind: 'table' });
  // A guest that has ended has no key.
  if (failed !== undefined || !isRunning(guest)) return undefined;
  return wordsOf(machine.memory.read(spa, PAGE_SIZE, guest.key));
}

function isRunning(guest: Guest): boolean {
  try {
    return guest.key !== undefined;
  } catch {
    return false;
  }
}

function wordsOf(bytes: Uint8Array): BigUint64Array {
  return new BigUint64Array(bytes.slice().buffer);
}

/** Compares halves of entries: a bigint each would cost more. */
function same(a: BigUint64Array, b: BigUint64Array): boolean {
  if (a === b) return true;
  const [x, y] = [new Uint32Array(a.buffer), new Uint32Array(b.buffer)];
  for (let i = 0; i < x.length; i += 1) if (x[i] !== y[i]) return false;
  return true;
}
