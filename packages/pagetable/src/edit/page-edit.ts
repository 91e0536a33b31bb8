import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { EntryFormat, PageTableEntry } from '../entry/entry-format.ts';
import { refuseBeyondTop, requireFlags, requirePhysical } from '../entry/mapping-checks.ts';
import { pageOf, SPANS } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameHigh, frameLow } from '../entry/words.ts';
import { fillWithParts } from '../memory/leaf-parts.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import { Flip, type TableCursor } from '../walk/table-cursor.ts';
import { storeEntry, type TableSpace, tableHigh, tableLow } from '../walk/table-space.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';
import { collapseUpward } from './collapse.ts';
import { MapEdit } from './map-edit.ts';
import type { MapOptions } from './page-table-options.ts';
import { UnmapEdit } from './unmap-edit.ts';

/**
 * Changes to one page at a time, by way of the cursor: the page after the last one, in the same leaf table, needs no walk.
 */
export class PageEdit {
  readonly #space: TableSpace;
  readonly #cursor: TableCursor;
  readonly #config: PagingConfig;
  readonly #freesEmpty: boolean;
  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #tlb: TlbListener | undefined;

  constructor(space: TableSpace, cursor: TableCursor, config: PagingConfig, freesEmpty: boolean) {
    this.#space = space;
    this.#cursor = cursor;
    this.#config = config;
    this.#freesEmpty = freesEmpty;
    this.#memory = space.memory;
    this.#format = space.format;
    this.#tlb = space.tlb;
  }

  map(
    operation: string,
    level: number,
    vaddr: VirtAddr,
    paddr: PhysAddr,
    flags: number,
    options: MapOptions | undefined,
  ): void {
    const cursor = this.#cursor;
    const shared = options?.shared ?? false;
    if (shared) this.requireEncryption('a shared mapping');
    const bits = requireFlags(flags, level, this.#format, this.#config);
    const frame = requirePhysical(paddr, level, this.#format);
    cursor.seek(vaddr, level);
    this.#requireAligned(vaddr, level);
    const leafFlags = (bits & 0x1fff) | PteFlags.Present | (level > 0 ? PteFlags.Large : 0);
    const high = (bits & 0xfff0_0000) | this.#visibility(shared);
    if (cursor.isPresent) {
      const remap = options?.remap ?? false;
      if (!remap) {
        throw new PageTableError('ALREADY_MAPPED', { vaddr, level: cursor.level, entry: cursor.entry.raw });
      }
      const page = pageOf(vaddr, this.#config.levels);
      // A region's flags have PAT at bit 7 for any size.
      const low = level === 0 ? leafFlags : (leafFlags & 0xf7f) | ((leafFlags & PteFlags.PatLarge) >> 5);
      const plan = { page, frame, low, high, level, exact: true, remap };
      new MapEdit(this.#space, operation, plan).run({ first: page, end: page + SPANS[level]! });
    } else if (cursor.level === level) cursor.store(frameLow(frame) | leafFlags, frameHigh(frame) | high);
    else this.#mapInNewTables(level, frameLow(frame) | leafFlags, frameHigh(frame) | high);
  }

  /** Builds the tables that are missing between the entry found and `level`, the leaf in the last, and links them in. */
  #mapInNewTables(level: number, leafLow: number, leafHigh: number): void {
    const cursor = this.#cursor;
    let low = leafLow;
    let high = leafHigh;
    this.#takeTables(cursor.level - level).forEach((table, i) => {
      storeEntry(this.#memory, table, cursor.indexAt(level + i), low, high);
      low = tableLow(table);
      high = tableHigh(table, this.#format);
    });
    cursor.store(low, high);
  }

  unmap(operation: string, level: number, vaddr: VirtAddr): PageTableEntry {
    const cursor = this.#cursor;
    cursor.seek(vaddr);
    this.#requireAligned(vaddr, level);
    this.requirePresent(vaddr);
    const expected = PAGE_SIZES[level]!;
    if (cursor.level !== level) {
      const found = PAGE_SIZES[cursor.level]!;
      throw new PageTableError('PAGE_SIZE_MISMATCH', { vaddr, expected, found });
    }
    const { entry } = cursor;
    if (this.#freesEmpty) {
      const first = pageOf(vaddr, this.#config.levels);
      new UnmapEdit(this.#space, operation, false, true).run({
        first,
        end: first + SPANS[level]!,
      });
    } else {
      cursor.store(0, 0);
      this.#tlb?.needsFlush(vaddr, expected, operation);
    }
    return entry;
  }

  setVisibility(operation: string, vaddr: VirtAddr, shared: boolean): void {
    const done = this.#cursor.tryFlip(vaddr, shared);
    if (done === Flip.Idle) return;
    if (done === Flip.Unable && !this.#walkAndFlip(operation, vaddr, shared)) return;
    this.#tlb?.needsFlush(vaddr, PageSize.Regular, operation);
  }

  /** Returns whether it has changed anything. */
  #walkAndFlip(operation: string, vaddr: VirtAddr, shared: boolean): boolean {
    const cursor = this.#cursor;
    const { privateHi, sharedHi, beyondTopHi } = this.#format;
    this.requireEncryption(operation);
    cursor.seek(vaddr);
    this.#requireAligned(vaddr, 0);
    this.requirePresent(vaddr);
    if ((cursor.entryHigh & beyondTopHi) !== 0) {
      refuseBeyondTop(cursor.entryLow, cursor.entryHigh, cursor.level, this.#format);
    }
    const wanted = (cursor.entryHigh & ~(privateHi | sharedHi)) | (shared ? sharedHi : privateHi);
    if (wanted === cursor.entryHigh) return false;
    if (cursor.level > 0) this.#splitFound(operation, vaddr, 0);
    cursor.storeVisibility(wanted);
    return true;
  }

  /** Splits the page that maps `vaddr` until one of `level` or below does. */
  split(operation: string, vaddr: VirtAddr, level: number): void {
    this.#cursor.seek(vaddr);
    this.requirePresent(vaddr);
    this.#splitFound(operation, vaddr, level);
  }

  /** Collapses what maps `vaddr`. Returns the level of its page then. */
  collapse(vaddr: VirtAddr): number {
    this.#cursor.seek(vaddr);
    this.requirePresent(vaddr);
    const page = pageOf(vaddr, this.#config.levels);
    return collapseUpward(this.#space, this.#cursor, page, this.#config.giantPages);
  }

  /** Splits the page found, and leaves the cursor at its part that maps `vaddr`. */
  #splitFound(operation: string, vaddr: VirtAddr, level: number): void {
    const cursor = this.#cursor;
    if (cursor.level <= level) return;
    const size = PAGE_SIZES[cursor.level]!;
    const tables = this.#takeTables(cursor.level - level);
    while (cursor.level > level) {
      const table = tables.pop() as number;
      fillWithParts(this.#memory, table, cursor.entryLow, cursor.entryHigh, cursor.level);
      cursor.store(tableLow(table), tableHigh(table, this.#format));
      cursor.descend();
    }
    this.#tlb?.needsFlush((vaddr - (vaddr & BigInt(size - 1))) as VirtAddr, size, operation);
  }

  /** Takes and clears `count` frames, all or none; makes sure first that the entry found can be written. */
  #takeTables(count: number): number[] {
    this.#space.frames.requireAllocator('a new table');
    this.#cursor.claim();
    return this.#space.frames.take(count);
  }

  #requireAligned(vaddr: VirtAddr, level: number): void {
    const pageSize = PAGE_SIZES[level]!;
    if ((this.#cursor.low & (pageSize - 1)) !== 0) {
      throw new PageTableError('MISALIGNED', { what: 'virtual', address: vaddr, pageSize });
    }
  }

  requirePresent(vaddr: VirtAddr): void {
    if (!this.#cursor.isPresent) throw new PageTableError('NOT_MAPPED', { vaddr, level: this.#cursor.level });
  }

  requireEncryption(operation: string): void {
    if (!this.#format.hasEncryption) throw new PageTableError('NO_ENCRYPTION', { operation });
  }

  #visibility(shared: boolean): number {
    return shared ? this.#format.sharedHi : this.#format.privateHi;
  }
}
