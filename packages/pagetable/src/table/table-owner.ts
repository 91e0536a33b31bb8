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

/** A part that is attached at an entry of the root, as the page table that leads to it sees it. */
export interface PartSlot {
  readonly owner: TableOwner;
  /** Attaches it to another page table too. */
  join(table: object): void;
  /** The page table is being destroyed. */
  forget(table: TableOwner): void;
}

/**
 * What a page table is made of, or a part of one: where its tables are, a cursor in them, and what changes them. Changes
 * where a part is attached are that part's: {@link at} and {@link of} say whose.
 */
export class TableOwner {
  readonly config: PagingConfig;
  readonly space: TableSpace;
  readonly cursor: TableCursor;
  readonly edit: PageEdit;
  /** Entries of the root whose tables belong to somebody else, and those with them whose table stays when it is empty. */
  readonly foreign: Set<number> = new Set();
  readonly kept: Set<number> = new Set();
  readonly #freesEmpty: boolean;
  readonly #slots: Map<number, PartSlot> = new Map();
  #hasSlots = false;

  /**
   * @param root - where its top table lies
   * @param part - the entry of a root that it is the part of; a whole page table if not given
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

  /** Where a table of these options takes its frames from. */
  static framesFor({ memory, frames, config = pagingConfig() }: PageTableOptions): TableFrames {
    return new TableFrames(memory, frames, new EntryFormat(config).physicalEnd);
  }

  /** Whose tables a change at `vaddr` changes. */
  at(vaddr: VirtAddr): TableOwner {
    if (!this.#hasSlots || typeof vaddr !== 'bigint') return this;
    CELL[0] = vaddr;
    const index = indexAt(HALVES[0]!, HALVES[1]!, this.space.levels - 1);
    return this.#slots.get(index)?.owner ?? this;
  }

  /**
   * Whose tables a change of these pages changes.
   *
   * @throws PageTableError `PART_BOUNDARY`
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

  /** The part that is attached at an entry of the root. */
  slot(index: number): PartSlot | undefined {
    return this.#slots.get(index);
  }

  /** Notes that a part is attached there, or no longer. */
  setSlot(index: number, slot: PartSlot | undefined): void {
    if (slot === undefined) this.#slots.delete(index);
    else this.#slots.set(index, slot);
    this.#hasSlots = this.#slots.size > 0;
    for (const entries of [this.foreign, this.kept]) {
      if (slot === undefined) entries.delete(index);
      else entries.add(index);
    }
  }

  /** Every later use is an error, and parts know nothing of it any more. */
  retire(): void {
    for (const slot of this.#slots.values()) slot.forget(this);
    this.#slots.clear();
    this.cursor.retire();
  }

  /** All pages that it can map. */
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

  mapPages(range: PageRange, paddr: PhysAddr, flags: number, options: MapRegionOptions): void {
    if (options.shared === true) this.edit.requireEncryption('a shared mapping');
    const plan = planRegion(this.space, this.config, range, paddr, flags, options);
    new MapEdit(this.space, 'mapRegion', plan).run(range);
  }

  unmapPages(range: PageRange, { allowHoles = false }: UnmapRegionOptions): void {
    new UnmapEdit(this.space, 'unmapRegion', allowHoles, this.#freesEmpty).run(range);
  }

  protectPages(operation: string, range: PageRange, { set = 0, clear = 0 }: FlagChange): void {
    requireChange(set, clear, this.space.format);
    this.#change(operation, range, {
      clearLow: clear & 0xfff,
      clearHigh: clear & 0xfff0_0000,
      setLow: set & 0xfff,
      setHigh: set & 0xfff0_0000,
    });
  }

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
