import { PageSize, type VirtAddr } from '@svsm/address';
import type { PhysPage } from '@svsm/memory-region';
import type { EntryFormat, PageTableEntry } from '../entry/entry-format.ts';
import { refuseBeyondTop, requireFlags, requireFrame } from '../entry/mapping-checks.ts';
import { pageAt, SPANS } from '../entry/page-range.ts';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { highOf, lowOfFrame } from '../entry/page-words.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { raw } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import { fillWithParts, partLow } from '../memory/leaf-parts.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import { IDLE, type LeafWriter, UNABLE } from '../walk/leaf-writer.ts';
import type { TableCursor } from '../walk/table-cursor.ts';
import { storeEntry, type TableSpace, tableHigh, tableLow } from '../walk/table-space.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';
import { collapseUpward } from './collapse.ts';
import { type MapOptions, requireMapOptions } from './page-table-options.ts';
import { RegionEdits } from './region-edits.ts';

/** The methods that map and unmap a page, by its level: the names that flush requests carry. */
const MAP = ['map4k', 'map2m', 'map1g'];
const UNMAP = ['unmap4k', 'unmap2m', 'unmap1g'];

/**
 * Changes to one page at a time, through the cursor: the page after the last one, in the same leaf table, needs no walk.
 *
 * ```text
 * setShared4k(vaddr)
 *   flip    same leaf table as the last flip ──────────────────────▶ store, flush
 *   check   the configuration has encryption                         else NO_ENCRYPTION
 *   seek    walk to the entry for vaddr                              NON_CANONICAL, RESERVED_BITS, BUS_ERROR …
 *   check   aligned, present, not always shared                      MISALIGNED, NOT_MAPPED, OUTSIDE_PHYSICAL_RANGE
 *   split   a large page: take frames, 512 parts each                NO_FRAME_ALLOCATOR, OUT_OF_MEMORY, INVALID_FRAME
 *   store   the high word, with the encryption bit; link in a split  READ_ONLY
 *   flush   report the page, and the large page if it was split      CALLBACK_FAILED
 * ```
 */
export class PageEdit {
  /** The edits of regions in the same tables. */
  readonly regions: RegionEdits;
  readonly #space: TableSpace;
  readonly #cursor: TableCursor;
  readonly #writer: LeafWriter;
  readonly #config: PagingConfig;
  readonly #freesEmpty: boolean;
  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #tlb: TlbListener | undefined;
  readonly #guard: CallGuard;

  constructor(space: TableSpace, cursor: TableCursor, config: PagingConfig, freesEmpty: boolean) {
    this.regions = new RegionEdits(space, freesEmpty);
    this.#space = space;
    this.#cursor = cursor;
    this.#writer = cursor.writer;
    this.#config = config;
    this.#freesEmpty = freesEmpty;
    this.#memory = space.memory;
    this.#format = space.format;
    this.#tlb = space.tlb;
    this.#guard = space.frames.guard;
  }

  /** Maps the page of `level` at an address. */
  map(level: number, low: number, high: number, paddr: PhysPage, flags: number, options?: MapOptions): void {
    if (options !== undefined) requireMapOptions(options);
    const shared = options?.shared ?? false;
    if (shared) this.requireEncryption('a shared mapping');
    const bits = requireFlags(flags, level, this.#format, this.#config);
    if (level === 0 && !shared) this.#writer.allow(flags);
    const paddrLow = lowOfFrame(paddr, this.#format);
    this.#mapTo(level, low, high, paddrLow, highOf(), bits, shared, options?.remap ?? false);
  }

  /** Maps the 4 KiB page at an address after {@link LeafWriter.tryMap} has failed, with flags that it allows. */
  mapAllowed(low: number, high: number, paddrLow: number, paddrHigh: number, flags: number): void {
    this.#mapTo(0, low, high, paddrLow, paddrHigh, flags, false, false);
  }

  /** Maps the page of `level` at an address to a physical one, with flags that are checked. */
  #mapTo(
    level: number,
    low: number,
    high: number,
    paddrLow: number,
    paddrHigh: number,
    bits: number,
    shared: boolean,
    remap: boolean,
  ): void {
    requireFrame(paddrLow, paddrHigh, level, this.#format);
    const entryLow = paddrLow | (bits & 0x1fff) | PteFlags.Present | (level > 0 ? PteFlags.Large : 0);
    const entryHigh = paddrHigh | (bits & 0xfff0_0000) | this.#visibility(shared);
    if (level === 0 && this.#writer.tryFill(low, high, entryLow, entryHigh)) return;
    this.#walkAndMap(level, low, high, entryLow, entryHigh, remap);
  }

  /** Everything after a failed fill. */
  #walkAndMap(
    level: number,
    low: number,
    high: number,
    entryLow: number,
    entryHigh: number,
    remap: boolean,
  ): void {
    const cursor = this.#cursor;
    cursor.seek(low, high, level);
    this.#requireAligned(level);
    if (cursor.isPresent) {
      if (!remap) {
        const vaddr = this.#vaddr;
        throw new PageTableError('ALREADY_MAPPED', { vaddr, level: cursor.level, entry: cursor.entry.raw });
      }
      const page = this.#page;
      const frame = this.#format.frame(entryLow, entryHigh, level);
      // In the plan of a region, PAT is bit 7 for every page size.
      const planLow =
        level === 0 ? entryLow & 0xfff : (entryLow & 0xf7f) | ((entryLow & PteFlags.PatLarge) >> 5);
      const planHigh = entryHigh & ~this.#format.addressHi;
      const plan = { page, frame, low: planLow, high: planHigh, level, exact: true, remap };
      this.regions.map.map(MAP[level]!, { first: page, end: page + SPANS[level]! }, plan);
    } else if (cursor.level === level) cursor.store(entryLow, entryHigh);
    else this.#mapInNewTables(level, entryLow, entryHigh);
  }

  /** Takes the tables that are missing between the entry and `level`, stores the leaf in the lowest, and links them in. */
  #mapInNewTables(level: number, leafLow: number, leafHigh: number): void {
    const cursor = this.#cursor;
    const tables = this.#takeTables(cursor.level - level);
    this.#space.frames.linked(tables, () => {
      let low = leafLow;
      let high = leafHigh;
      tables.forEach((table, i) => {
        storeEntry(this.#memory, table, cursor.indexAt(level + i), low, high);
        low = tableLow(table);
        high = tableHigh(table, this.#format);
      });
      cursor.store(low, high);
    });
  }

  /** Unmaps the page of `level` at an address. Returns the entry that mapped it. */
  unmap(level: number, low: number, high: number): PageTableEntry {
    const operation = UNMAP[level]!;
    const cursor = this.#cursor;
    cursor.seek(low, high);
    this.#requireAligned(level);
    this.#requirePresent();
    const expected = PAGE_SIZES[level]!;
    if (cursor.level !== level) {
      const found = PAGE_SIZES[cursor.level]!;
      throw new PageTableError('PAGE_SIZE_MISMATCH', { vaddr: this.#vaddr, expected, found });
    }
    const { entry } = cursor;
    if (this.#freesEmpty) {
      const first = this.#page;
      this.regions.unmap.unmap(operation, { first, end: first + SPANS[level]! }, false);
    } else {
      cursor.store(0, 0);
      this.#tlb?.needsFlush(this.#vaddr, expected, operation);
      if (level > 0) this.#space.upperChanged(this.#page, level, operation);
      this.#guard.settle(operation);
    }
    return entry;
  }

  /** Makes the 4 KiB page at an address shared or private, as the picture above shows. */
  setVisibility(operation: string, low: number, high: number, shared: boolean): void {
    const done = this.#writer.flip(low, high, shared);
    if (done === IDLE) return;
    if (done === UNABLE && !this.#walkAndFlip(operation, low, high, shared)) return;
    if (this.#tlb === undefined) return;
    this.#tlb.needsFlush(raw(low, high) as VirtAddr, PageSize.Regular, operation);
    this.#guard.settle(operation);
  }

  /** Everything after a failed flip. Returns whether the entry has changed. */
  #walkAndFlip(operation: string, low: number, high: number, shared: boolean): boolean {
    const cursor = this.#cursor;
    const { privateHi, sharedHi, beyondTopHi } = this.#format;
    this.requireEncryption(operation);
    cursor.seek(low, high);
    this.#requireAligned(0);
    this.#requirePresent();
    if ((cursor.entryHigh & beyondTopHi) !== 0) {
      refuseBeyondTop(cursor.entryLow, cursor.entryHigh, cursor.level, this.#format);
    }
    const wanted = (cursor.entryHigh & ~(privateHi | sharedHi)) | (shared ? sharedHi : privateHi);
    if (wanted === cursor.entryHigh) return false;
    if (cursor.level > 0) this.#splitFound(operation, 0, wanted);
    else cursor.storeVisibility(wanted);
    return true;
  }

  /** Splits the page that maps an address until a page of `level` or below maps it. */
  split(operation: string, low: number, high: number, level: number): void {
    this.#cursor.seek(low, high);
    this.#requirePresent();
    if (this.#cursor.level > level) this.#splitFound(operation, level);
    this.#guard.settle(operation);
  }

  /**
   * Collapses the tables that map an address, up to a page of the size `largest`, any value. Returns the level of the page that maps
   * it afterwards.
   *
   * @throws PageTableError `INVALID_PAGE_SIZE`
   */
  collapse(low: number, high: number, largest: PageSize): number {
    this.#cursor.seek(low, high);
    this.#requirePresent();
    const { giantPages } = this.#config;
    const limit = PAGE_SIZES.indexOf(largest);
    if (limit < 0) throw new PageTableError('INVALID_PAGE_SIZE', { pageSize: largest, giantPages });
    const level = collapseUpward(this.#space, this.#cursor, this.#page, Math.min(limit, giantPages ? 2 : 1));
    this.#guard.settle('collapse');
    return level;
  }

  /**
   * Splits the page of the cursor's entry down to `level`. The new tables are complete before one store makes an entry lead to
   * them, so a processor sees the page before or after.
   *
   * @param partHigh - the high word of the part that maps the address; as in the other parts if not given
   */
  #splitFound(operation: string, level: number, partHigh?: number): void {
    const cursor = this.#cursor;
    const found = cursor.level;
    const tables = this.#takeTables(found - level);
    this.#space.frames.linked(tables, () => {
      this.#fillSplit(tables, level, partHigh);
      const top = tables.at(-1) as number;
      cursor.store(tableLow(top), tableHigh(top, this.#format));
    });
    const size = PAGE_SIZES[found]!;
    this.#tlb?.needsFlush(raw(cursor.low & -size, cursor.high) as VirtAddr, size, operation);
    this.#space.upperChanged(this.#page, found, operation);
  }

  /** Fills new tables with the parts of the cursor's page. The last one of `tables` is the highest. */
  #fillSplit(tables: readonly number[], level: number, partHigh: number | undefined): void {
    const cursor = this.#cursor;
    const memory = this.#memory;
    const { entryHigh: high } = cursor;
    let { entryLow: low } = cursor;
    for (let at = tables.length - 1; at >= 0; at -= 1) {
      const above = level + at + 1;
      fillWithParts(memory, tables[at]!, low, high, above);
      low = partLow(low, above, cursor.indexAt(above - 1));
      const upper = tables[at + 1];
      if (upper === undefined) continue;
      storeEntry(
        memory,
        upper,
        cursor.indexAt(above),
        tableLow(tables[at]!),
        tableHigh(tables[at]!, this.#format),
      );
    }
    if (partHigh !== undefined) storeEntry(memory, tables[0]!, cursor.indexAt(level), low, partHigh);
  }

  /** Takes and clears `count` frames, all or none. Asks for write access to the cursor's entry first. */
  #takeTables(count: number): number[] {
    this.#space.frames.requireAllocator('a new table');
    this.#cursor.claim();
    return this.#space.frames.take(count);
  }

  #requireAligned(level: number): void {
    const pageSize = PAGE_SIZES[level]!;
    if ((this.#cursor.low & (pageSize - 1)) !== 0) {
      throw new PageTableError('MISALIGNED', { what: 'virtual', address: this.#vaddr, pageSize });
    }
  }

  /** Requires that the cursor's entry is present. @throws PageTableError `NOT_MAPPED` */
  #requirePresent(): void {
    const { isPresent, level } = this.#cursor;
    if (!isPresent) throw new PageTableError('NOT_MAPPED', { vaddr: this.#vaddr, level });
  }

  /** The address of the cursor's last walk. */
  get #vaddr(): VirtAddr {
    return raw(this.#cursor.low, this.#cursor.high) as VirtAddr;
  }

  /** The number of the page of the cursor's last walk. */
  get #page(): number {
    return pageAt(this.#cursor.low, this.#cursor.high, this.#config.levels);
  }

  /** Requires memory encryption. @throws PageTableError `NO_ENCRYPTION` */
  requireEncryption(operation: string): void {
    if (!this.#format.hasEncryption) throw new PageTableError('NO_ENCRYPTION', { operation });
  }

  /** The encryption bit of an entry, in its high word. */
  #visibility(shared: boolean): number {
    return shared ? this.#format.sharedHi : this.#format.privateHi;
  }
}
