import { type EntryAt, entryIn, type TableImages } from './table-images.ts';

/** A row of the tree: an entry, or a run of entries that are not present. */
export interface TreeRow {
  /** `0-256/1`: the indexes from the root down. */
  readonly id: string;
  readonly depth: number;
  readonly table: bigint;
  /** 0 (PT) to 4 (PML5). */
  readonly level: number;
  readonly isPresent: boolean;
  /** The first index, and the number of entries: more than one only for entries that are not present. */
  readonly index: number;
  readonly count: number;
  /** The first virtual address. */
  readonly vaddr: bigint;
  readonly isOpen: boolean;
}

/**
 * The visible rows of a page table.
 *
 * @param open - the ids of entries whose tables are shown
 */
export function treeRows(images: TableImages, open: ReadonlySet<string>): TreeRow[] {
  const rows: TreeRow[] = [];
  const addTable = (table: bigint, level: number, prefix: string, base: bigint): void => {
    const words = images.tables.get(table);
    if (words === undefined) return;
    const common = { depth: images.levels - 1 - level, table, level };
    const span = 1n << BigInt(12 + 9 * level);
    for (let index = 0; index < 512; ) {
      const vaddr = canonical(base + BigInt(index) * span, images.levels);
      const id = prefix === '' ? String(index) : `${prefix}-${index}`;
      if ((words[index]! & 1n) === 0n) {
        let end = index + 1;
        while (end < 512 && (words[end]! & 1n) === 0n) end += 1;
        rows.push({ ...common, id, isPresent: false, index, count: end - index, vaddr, isOpen: false });
        index = end;
        continue;
      }
      // Entries are decoded when they are drawn, which most are not.
      const next = open.has(id) ? entryIn(images, table, index, level).entry : undefined;
      const isOpen = next?.leaf === false;
      rows.push({ ...common, id, isPresent: true, index, count: 1, vaddr, isOpen });
      if (isOpen) addTable(next!.address, level - 1, id, base + BigInt(index) * span);
      index += 1;
    }
  };
  addTable(images.root, images.levels - 1, '', 0n);
  return rows;
}

/** The entry of a row; `undefined` for entries that are not present. */
export function entryOf(
  images: TableImages,
  { isPresent, table, index, level }: TreeRow,
): EntryAt | undefined {
  return isPresent ? entryIn(images, table, index, level) : undefined;
}

/** The ids of the entries that lead to a virtual address, from the root down. */
export function idsTo(levels: number, vaddr: bigint): string[] {
  const ids: string[] = [];
  for (let level = levels - 1; level >= 0; level -= 1) {
    const index = Number((vaddr >> BigInt(12 + 9 * level)) & 511n);
    ids.push(ids.length === 0 ? String(index) : `${ids.at(-1)}-${index}`);
  }
  return ids;
}

function canonical(vaddr: bigint, levels: number): bigint {
  return BigInt.asUintN(64, BigInt.asIntN(9 * levels + 12, vaddr));
}

/** The entry of a row as it stands in its table; 0 for entries that are not present. */
export function wordOf(images: TableImages, { isPresent, table, index }: TreeRow): bigint {
  return isPresent ? images.tables.get(table)![index]! : 0n;
}

/** The letters of an entry's bits, `-` for those that are 0. */
export function bitsText(word: bigint, level: number): string {
  const bit = (at: bigint, letter: string): string => ((word >> at) & 1n ? letter : '-');
  return [
    bit(0n, 'P'),
    bit(1n, 'W'),
    bit(2n, 'U'),
    bit(5n, 'A'),
    bit(6n, 'D'),
    level > 0 ? bit(7n, 'L') : '',
    bit(8n, 'G'),
    bit(63n, 'X'),
  ].join('');
}
