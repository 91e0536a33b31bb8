import { type PhysAddr, pageNumber, type VirtAddr } from '@svsm/address';
import { type BitChange, ChangeEdit } from '../edit/change-edit.ts';
import { MapEdit, planRegion } from '../edit/map-edit.ts';
import { PageEdit } from '../edit/page-edit.ts';
import type {
  FlagChange,
  MapRegionOptions,
  PageTableOptions,
  UnmapRegionOptions,
} from '../edit/page-table-options.ts';
import { UnmapEdit } from '../edit/unmap-edit.ts';
import { EntryFormat } from '../entry/entry-format.ts';
import { requireChange } from '../entry/mapping-checks.ts';
import { addressOf, type PageRange, pagesOf, SPANS, type VirtBounds } from '../entry/page-range.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../entry/paging-config.ts';
import { CELL, HALVES, indexAt } from '../entry/words.ts';
import { TableFrames } from '../memory/table-frames.ts';
import { TableCursor } from '../walk/table-cursor.ts';
import type { TableSpace } from '../walk/table-space.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';

/**
 * The owner of each `PageTable` and `PageTablePart`. This is package-private access: another class cannot read a `#owner`
 * field, and a symbol-keyed field would appear in the declarations that users see.
 */
const OWNERS: WeakMap<object, TableOwner> = /* @__PURE__ */ new WeakMap();

/** The owner behind a page table or a part; `undefined` for other objects, also those of another copy of this package. */
export function ownerOf(mapper: object): TableOwner | undefined {
  return OWNERS.get(mapper);
}

/** Notes that `mapper` stands for the tables of `owner`. */
export function setOwner(mapper: object, owner: TableOwner): void {
  OWNERS.set(mapper, owner);
}

/** A part that is attached at a root entry, from the view of the page table. */
export interface PartSlot {
  /** The owner of the part's tables. */
  readonly owner: TableOwner;
  /** Attaches the part to another page table too. */
  join(table: object): void;
  /** Removes a page table that is destroyed from the page tables of the part. */
  forget(table: TableOwner): void;
}

/**
 * The owner of the tables of a `PageTable` or `PageTablePart`: it has their place in memory, a cursor in them, and the
 * edits. A change where a part is attached belongs to the owner of that part: {@link at} and {@link of} return that owner.
 */
export class TableOwner {
  readonly config: PagingConfig;
  readonly space: TableSpace;
  readonly cursor: TableCursor;
  readonly edit: PageEdit;
  /** Indexes of root entries whose tables have another owner: `TableSpace.foreign`. */
  readonly foreign: Set<number> = new Set();
  /** Indexes of root entries whose table is not freed when it is empty: `TableSpace.kept`. */
  readonly kept: Set<number> = new Set();
  readonly #freesEmpty: boolean;
  readonly #slots: Map<number, PartSlot> = new Map();
  #hasSlots = false;

  /**
   * @param root - the address of the top table
   * @param part - the index of the root entry, for a part; a whole page table if not given
   * @throws PageTableError `INVALID_FRAME`, `NO_FRAME_ALLOCATOR`
   */
  constructor(
    root: PhysAddr,
    options: PageTableOptions,
    frames: TableFrames,
    tlb: TlbListener | undefined,
    part?: number,
  ) {
    const { memory, config = pagingConfig(), freeEmptyTables = false } = options;
    const { levels } = config;
    if (freeEmptyTables) frames.requireAllocator('freeEmptyTables');
    frames.requireTable(root);
    this.config = config;
    this.#freesEmpty = freeEmptyTables;
    this.space = {
      ...{ memory, tlb, frames, levels, format: new EntryFormat(config), root: pageNumber(root) },
      top: part === undefined ? levels - 1 : levels - 2,
      base: (part ?? 0) * SPANS[levels - 1]!,
      foreign: this.foreign,
      kept: this.kept,
    };
    this.cursor = new TableCursor(this.space);
    this.edit = new PageEdit(this.space, this.cursor, config, freeEmptyTables);
  }

  /** The frames of a page table with these options. */
  static framesFor({ memory, frames, config = pagingConfig() }: PageTableOptions): TableFrames {
    return new TableFrames(memory, frames, new EntryFormat(config).physicalEnd);
  }

  /** The owner of the tables that map `vaddr`: the part's if a part is attached there. */
  at(vaddr: VirtAddr): TableOwner {
    if (!this.#hasSlots || typeof vaddr !== 'bigint') return this;
    CELL[0] = vaddr;
    const index = indexAt(HALVES[0]!, HALVES[1]!, this.space.levels - 1);
    return this.#slots.get(index)?.owner ?? this;
  }

  /**
   * The owner of the tables that map these pages: the part's if they lie in a part that is attached.
   *
   * @throws PageTableError `PART_BOUNDARY` if they lie only partly in a part
   */
  of({ first, end }: PageRange): TableOwner {
    if (!this.#hasSlots || first === end) return this;
    const { levels } = this.space;
    const span = SPANS[levels - 1]!;
    for (const [index, { owner }] of this.#slots) {
      const start = index * span;
      if (end <= start || first >= start + span) continue;
      if (first >= start && end <= start + span) return owner;
      throw new PageTableError('PART_BOUNDARY', { vaddr: addressOf(Math.max(first, start), levels), index });
    }
    return this;
  }

  /** The part that is attached at a root entry. */
  slot(index: number): PartSlot | undefined {
    return this.#slots.get(index);
  }

  /** Notes the part that is attached at a root entry; `undefined` if none is any more. */
  setSlot(index: number, slot: PartSlot | undefined): void {
    if (slot === undefined) this.#slots.delete(index);
    else this.#slots.set(index, slot);
    this.#hasSlots = this.#slots.size > 0;
    for (const entries of [this.foreign, this.kept]) {
      if (slot === undefined) entries.delete(index);
      else entries.add(index);
    }
  }

  /** Makes every later use throw `DESTROYED`, and removes this owner from the parts that are attached. */
  retire(): void {
    for (const slot of this.#slots.values()) slot.forget(this);
    this.#slots.clear();
    this.cursor.retire();
  }

  /** All pages that these tables can map. */
  get extent(): PageRange {
    const { base, top } = this.space;
    return { first: base, end: base + ENTRIES * SPANS[top]! };
  }

  /**
   * The pages of a region.
   *
   * @throws PageTableError `DESTROYED`, `NON_CANONICAL`, `MISALIGNED`, `OUTSIDE_PART`
   */
  pages(region: VirtBounds): PageRange {
    this.cursor.requireAlive();
    const { levels, base } = this.space;
    const range = pagesOf(region, levels);
    const { first, end } = this.extent;
    if (range.first >= first && range.end <= end && range.first < end) return range;
    const stray = range.first < first || range.first >= end ? range.first : end;
    const index = base / SPANS[levels - 1]!;
    throw new PageTableError('OUTSIDE_PART', { vaddr: addressOf(stray, levels), index });
  }

  /**
   * The 4 KiB page at `vaddr`.
   *
   * @throws PageTableError `DESTROYED`, `NON_CANONICAL`, `MISALIGNED`, `OUTSIDE_PART`
   */
  page(vaddr: VirtAddr): PageRange {
    // `pages` refuses a value that is not a bigint; adding to it would be a TypeError.
    return this.pages({ start: vaddr, end: typeof vaddr === 'bigint' ? vaddr + 4096n : vaddr });
  }

  /** Maps a region. */
  mapPages(range: PageRange, paddr: PhysAddr, flags: number, options: MapRegionOptions): void {
    if (options.shared === true) this.edit.requireEncryption('a shared mapping');
    const plan = planRegion(this.space, this.config, range, paddr, flags, options);
    new MapEdit(this.space, 'mapRegion', plan).run(range);
  }

  /** Unmaps a region. */
  unmapPages(range: PageRange, { allowHoles = false }: UnmapRegionOptions): void {
    new UnmapEdit(this.space, 'unmapRegion', allowHoles, this.#freesEmpty).run(range);
  }

  /** Changes flags of a region. @param operation - the public method, for flush requests */
  protectPages(operation: string, range: PageRange, { set = 0, clear = 0 }: FlagChange): void {
    requireChange(set, clear, this.space.format);
    this.#change(operation, range, {
      clearLow: clear & 0xfff,
      clearHigh: clear & 0xfff0_0000,
      setLow: set & 0xfff,
      setHigh: set & 0xfff0_0000,
    });
  }

  /** Makes a region shared or private. @param operation - the public method, for flush requests and errors */
  sharePages(operation: string, range: PageRange, shared: boolean): void {
    this.edit.requireEncryption(operation);
    const { privateHi, sharedHi } = this.space.format;
    this.#change(operation, range, {
      clearLow: 0,
      clearHigh: privateHi | sharedHi,
      setLow: 0,
      setHigh: shared ? sharedHi : privateHi,
      isVisibility: true,
    });
  }

  #change(operation: string, range: PageRange, change: BitChange): void {
    new ChangeEdit(this.space, operation, change).run(range);
  }
}
