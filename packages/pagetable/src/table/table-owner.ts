import { type PhysAddr, pageNumber, type VirtAddr } from '@svsm/address';
import type { PhysPage } from '@svsm/memory-region';
import { planRegion } from '../edit/map-edit.ts';
import { PageEdit } from '../edit/page-edit.ts';
import type {
  FlagChange,
  MapRegionOptions,
  PageTableOptions,
  UnmapRegionOptions,
} from '../edit/page-table-options.ts';
import { EntryFormat } from '../entry/entry-format.ts';
import { requireChange } from '../entry/mapping-checks.ts';
import { addressOf, type PageRange, pagesOf, SPANS, type VirtBounds } from '../entry/page-range.ts';
import { ENTRIES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../entry/paging-config.ts';
import { indexAt, isCanonical, raw } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import { TableFrames } from '../memory/table-frames.ts';
import { guardedListener, reportFlush } from '../walk/flush-report.ts';
import { tablesOf } from '../walk/table-census.ts';
import { TableCursor } from '../walk/table-cursor.ts';
import type { TableSpace } from '../walk/table-space.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';
import { Translator } from '../walk/translator.ts';
import { SharedSubtree } from './shared-subtree.ts';

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

/** The place of a part in the page tables to which it is attached. It reports flushes to the listeners of all of them. */
export interface PartPlace extends TlbListener {
  /** The index of the root entry. */
  readonly index: number;
  /** As {@link TableSpace.upperChanged}, for each of the page tables. */
  upperChanged(page: number, level: number, operation: string): void;
}

/**
 * The owner of the tables of a `PageTable` or `PageTablePart`: it has their place in memory, a cursor in them, and the
 * edits. A change where a part is attached belongs to the owner of that part: {@link at} and {@link of} return that owner.
 */
export class TableOwner {
  /** Refuses operations while a callback runs. */
  readonly guard: CallGuard;
  /** The memory as the caller passed it. That of `space` is guarded. */
  readonly givenMemory: PhysMemory;
  /** The listener as the caller passed it; `undefined` for a part. */
  readonly listener: TlbListener | undefined;
  readonly config: PagingConfig;
  readonly space: TableSpace;
  readonly cursor: TableCursor;
  /** Translates addresses, from the page directory of the cursor's last walk on. */
  readonly translator: Translator;
  readonly edit: PageEdit;
  /** Indexes of root entries whose tables have another owner: `TableSpace.foreign`. */
  readonly foreign: Set<number> = new Set();
  /** Indexes of root entries whose table is not freed when it is empty: `TableSpace.kept`. */
  readonly kept: Set<number> = new Set();
  /** The subtrees that it shares with clones, by the index of their root entry. */
  readonly shares: Map<number, SharedSubtree> = new Map();
  readonly #slots: Map<number, PartSlot> = new Map();
  /** The index of the root entry that leads back to the root; -1 if none is known. */
  readonly #selfMap: number;
  /** Whether every address belongs to this owner: no part is attached, and no self-map is known. */
  #isPlain: boolean;

  /**
   * @param root - the address of the top table
   * @param part - its place in page tables, for a part; a whole page table if not given
   * @throws PageTableError `INVALID_FRAME`, `NO_FRAME_ALLOCATOR`
   */
  constructor(root: PhysAddr, options: PageTableOptions, frames: TableFrames, part?: PartPlace) {
    const { config = pagingConfig(), freeEmptyTables = false, selfMap = -1 } = options;
    const { levels } = config;
    this.#selfMap = part === undefined ? selfMap : -1;
    this.#isPlain = this.#selfMap < 0;
    if (freeEmptyTables) frames.requireAllocator('freeEmptyTables');
    frames.requireTable(root);
    this.guard = frames.guard;
    this.givenMemory = frames.givenMemory;
    this.listener = part === undefined ? options.tlb : undefined;
    const tlb = part ?? (this.listener && guardedListener(this.guard, this.listener));
    this.config = config;
    this.space = {
      ...{
        memory: frames.memory,
        tlb,
        frames,
        levels,
        format: new EntryFormat(config),
        root: pageNumber(root),
      },
      top: part === undefined ? levels - 1 : levels - 2,
      base: (part?.index ?? 0) * SPANS[levels - 1]!,
      foreign: this.foreign,
      kept: this.kept,
      upperChanged: part?.upperChanged ?? ((...change) => this.upperChanged(...change)),
    };
    this.cursor = new TableCursor(this.space);
    this.translator = new Translator(this.space.memory, this.guard, this.cursor, this.space.format);
    this.cursor.writer.serve(this.#isPlain, this.#isPlain && tlb === undefined);
    this.edit = new PageEdit(this.space, this.cursor, config, freeEmptyTables);
  }

  /** The frames of a page table with these options. */
  static framesFor({ memory, frames, config = pagingConfig() }: PageTableOptions): TableFrames {
    return new TableFrames(memory, frames, new EntryFormat(config).physicalEnd);
  }

  /** The owner of the tables that map an address: the part's if a part is attached there. @throws PageTableError `BUSY` */
  at(low: number, high: number): TableOwner {
    if (this.guard.during !== undefined) this.guard.requireIdle();
    if (this.#isPlain) return this;
    const index = indexAt(low, high, this.space.levels - 1);
    if (index === this.#selfMap && isCanonical(high, this.space.levels)) refuseSelfMap(raw(low, high));
    return this.#slots.get(index)?.owner ?? this;
  }

  /**
   * The owner of the tables that map these pages: the part's if they lie in a part that is attached.
   *
   * @throws PageTableError `PART_BOUNDARY` if they lie only partly in a part; `INVALID_SELF_MAP` if some lie in the self-map
   */
  of({ first, end }: PageRange): TableOwner {
    if (this.#isPlain || first === end) return this;
    const { levels } = this.space;
    const span = SPANS[levels - 1]!;
    const shown = this.#selfMap * span;
    if (this.#selfMap >= 0 && first < shown + span && end > shown) {
      refuseSelfMap(addressOf(Math.max(first, shown), levels));
    }
    for (const [index, { owner }] of this.#slots) {
      const start = index * span;
      if (end <= start || first >= start + span) continue;
      if (first >= start && end <= start + span) return owner;
      throw new PageTableError('PART_BOUNDARY', { vaddr: addressOf(Math.max(first, start), levels), index });
    }
    return this;
  }

  /**
   * Reports that a present entry at `level` 1 or above has changed, the one for `page`. Through a self-map, it appears as an
   * entry of each lower level too, and maps there what it leads to.
   *
   * @param guard - of the page table or part whose operation it is
   */
  upperChanged(page: number, level: number, operation: string, guard: CallGuard = this.guard): void {
    const { levels } = this.space;
    const listener = this.listener;
    if (this.#selfMap < 0 || listener === undefined) return;
    let prefix = 0;
    for (let seen = level - 1; seen >= 0; seen -= 1) {
      prefix = prefix * ENTRIES + this.#selfMap;
      const above = prefix * SPANS[levels - (level - seen)]!;
      const first = above + Math.floor(page / SPANS[level]!) * SPANS[seen]!;
      reportFlush(guard, listener, addressOf(first, levels), SPANS[seen]! * 4096, operation);
    }
  }

  /** @throws PageTableError `BUSY`, `DESTROYED` */
  requireReady(): void {
    this.guard.requireIdle();
    this.cursor.requireAlive();
  }

  /** The subtree below a root entry, to be shared with a clone. */
  share(index: number): SharedSubtree {
    return this.shares.get(index) ?? new SharedSubtree(index, this);
  }

  /** The tables that only this owner has. @throws PageTableError `BUS_ERROR` */
  ownTables(): number[] {
    const shared = [...this.shares].filter(([, subtree]) => subtree.isSharedBy(this));
    return tablesOf({
      ...this.space,
      foreign: new Set([...this.foreign, ...shared.map(([index]) => index)]),
    });
  }

  /** The part that is attached at a root entry. */
  slot(index: number): PartSlot | undefined {
    return this.#slots.get(index);
  }

  /** Notes the part that is attached at a root entry; `undefined` if none is any more. */
  setSlot(index: number, slot: PartSlot | undefined): void {
    if (slot === undefined) this.#slots.delete(index);
    else this.#slots.set(index, slot);
    this.#isPlain = this.#slots.size === 0 && this.#selfMap < 0;
    this.cursor.writer.serve(this.#isPlain, this.#isPlain && this.space.tlb === undefined);
    for (const entries of [this.foreign, this.kept]) {
      if (slot === undefined) entries.delete(index);
      else entries.add(index);
    }
  }

  /** Makes every later use throw `DESTROYED`, and removes this owner from the parts that are attached. */
  retire(): void {
    for (const slot of this.#slots.values()) slot.forget(this);
    for (const subtree of [...this.shares.values()]) subtree.leave(this);
    this.#slots.clear();
    this.cursor.retire();
    this.translator.close();
  }

  /** All pages that these tables can map. */
  get extent(): PageRange {
    const { base, top } = this.space;
    return { first: base, end: base + ENTRIES * SPANS[top]! };
  }

  /**
   * The pages of a region.
   *
   * @throws PageTableError `BUSY`, `DESTROYED`, `NON_CANONICAL`, `MISALIGNED`, `OUTSIDE_PART`
   */
  pages(region: VirtBounds): PageRange {
    this.guard.requireIdle();
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
   * The 4 KiB page at an address.
   *
   * @throws PageTableError as {@link pages}
   */
  page(low: number, high: number): PageRange {
    const start = raw(low, high) as VirtAddr;
    return this.pages({ start, end: start + 4096n });
  }

  /** Maps a region. */
  mapPages(range: PageRange, paddr: PhysPage, flags: number, options: MapRegionOptions): void {
    if (options.shared === true) this.edit.requireEncryption('a shared mapping');
    const plan = planRegion(this.space, this.config, range, paddr, flags, options);
    this.edit.regions.map.map('mapRegion', range, plan);
  }

  /** Unmaps a region. */
  unmapPages(range: PageRange, { allowHoles = false }: UnmapRegionOptions): void {
    this.edit.regions.unmap.unmap('unmapRegion', range, allowHoles);
  }

  /** Changes flags of a region. @param operation - the public method, for flush requests */
  protectPages(operation: string, range: PageRange, { set = 0, clear = 0 }: FlagChange): void {
    requireChange(set, clear, this.space.format);
    this.edit.regions.change.change(operation, range, {
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
    this.edit.regions.change.change(operation, range, {
      clearLow: 0,
      clearHigh: privateHi | sharedHi,
      setLow: 0,
      setHigh: shared ? sharedHi : privateHi,
      isVisibility: true,
    });
  }
}

function refuseSelfMap(vaddr: bigint): never {
  const problem = 'it lies in the self-map, which shows the tables: change the address that they map';
  throw new PageTableError('INVALID_SELF_MAP', { value: vaddr, problem });
}
