import { type PhysAddr, showInConsoles, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { type PageTableOptions, TABLE_OPTIONS } from '../edit/page-table-options.ts';
import { addressOf, SPANS } from '../entry/page-range.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { pagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameAddress, raw } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { TableFrames } from '../memory/table-frames.ts';
import { reportFlush } from '../walk/flush-report.ts';
import { tablesOf } from '../walk/table-census.ts';
import { requireRootIndex, storeEntry, tableHigh, tableLow } from '../walk/table-space.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';
import { PageMapper } from './page-mapper.ts';
import type { PageTable } from './page-table.ts';
import { ownerOf, type PartSlot, TableOwner } from './table-owner.ts';

/** Options of a part: those of a page table without `tlb`. The page tables to which the part is attached have the TLBs. */
export type PageTablePartOptions = Omit<PageTableOptions, 'tlb' | 'selfMap'>;

/**
 * The part of a page table below one root entry: 512 GiB of addresses with 4 levels. Page tables of several CPUs can share
 * it. The part owns its tables, attached or not; a page table to which it is attached never frees them.
 *
 * A change through the part, or through one of the page tables to which it is attached, is visible in all of them, and the
 * TLB of each receives the flush request.
 *
 * @example
 * ```ts
 * import { physAddr, virtAddr } from '@svsm/address';
 * import { createPhysMemory, PageTable, PageTablePart, PtePreset } from '@svsm/pagetable';
 *
 * const memory = createPhysMemory({ size: 0x10_0000 });
 * let next = 0;
 * const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
 * const [one, two] = [PageTable.create({ memory, frames }), PageTable.create({ memory, frames })];
 *
 * const kernel = PageTablePart.create(511, { memory, frames });
 * kernel.attach(one);
 * kernel.attach(two);
 * one.map4k(virtAddr(0xffff_ff80_0000_0000n), physAddr(0x8000_0000), PtePreset.Data);
 * console.log(two.translate(virtAddr(0xffff_ff80_0000_0010n))); // => 2147483664n
 * ```
 */
export class PageTablePart extends PageMapper {
  static {
    showInConsoles(this, 'PageTablePart', ({ index, root, region, tables }) => ({
      index,
      root,
      region,
      tables: tables.length,
    }));
  }

  /** The index of the root entry whose addresses it maps. */
  readonly index: number;
  /** The physical address of its top table. */
  readonly root: PhysAddr;
  /** The addresses that it can map. */
  readonly region: MemoryRegion<VirtAddr>;
  readonly #owner: TableOwner;
  readonly #attached: Map<TableOwner, PageTable>;
  /** Those of the page tables, each once. */
  readonly #listeners: Set<TlbListener>;
  readonly #slot: PartSlot;

  private constructor(index: number, root: PhysAddr, options: PageTableOptions, frames: TableFrames) {
    const attached = new Map<TableOwner, PageTable>();
    const listeners = new Set<TlbListener>();
    const { guard } = frames;
    const owner = new TableOwner(root, options, frames, {
      index,
      needsFlush: (...request) => {
        for (const one of listeners) reportFlush(guard, one, ...request);
      },
      upperChanged: (...change) => {
        for (const table of attached.keys()) table.upperChanged(...change, guard);
      },
    });
    super(owner);
    const { levels, base } = owner.space;
    const kind = levels === 5 ? Virt57 : Virt;
    const bytes = BigInt(SPANS[levels - 1]!) * 4096n;
    this.index = index;
    this.root = root;
    this.region = new MemoryRegion(kind, addressOf(base, levels), bytes);
    this.#owner = owner;
    this.#attached = attached;
    this.#listeners = listeners;
    this.#slot = {
      owner,
      join: (table) => this.attach(table as PageTable),
      forget: (table) => {
        attached.delete(table);
        this.#link();
      },
    };
  }

  /**
   * Makes a part with nothing mapped, attached to no page table. It takes one frame for the top table, and clears it.
   *
   * @param index - the index of the root entry, 0 to 511
   * @throws PageTableError `INVALID_ARGUMENT`, `INVALID_CONFIG`; `INVALID_ROOT_ENTRY`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`,
   *   `INVALID_FRAME`, `READ_ONLY`
   */
  static create(index: number, options: PageTablePartOptions): PageTablePart {
    TABLE_OPTIONS.require(options);
    requireRootIndex(index);
    const frames = TableOwner.framesFor(options);
    const [root] = frames.take(1);
    // `this`: a class that names itself is renamed by the bundler.
    const make = (): PageTablePart => new this(index, frameAddress(root as number), options, frames);
    return frames.linked([root as number], make);
  }

  /** The page tables to which it is attached, in the order of {@link attach}. */
  get tables(): readonly PageTable[] {
    return [...this.#attached.values()];
  }

  /**
   * Makes the root entry of `table` lead to this part: every page that is mapped here, now or later, is mapped there. O(1).
   *
   * @throws PageTableError `PART_MISMATCH` if the table is in another memory or has another configuration; `ALREADY_MAPPED`
   *   if its root entry is in use; `BUS_ERROR`; `DESTROYED`; `BUSY`
   */
  attach(table: PageTable): void {
    const owner = this.#ownerOf(table);
    try {
      this.#link(owner.guard);
      this.#enterInto(owner);
      owner.setSlot(this.index, this.#slot);
      this.#attached.set(owner, table);
    } finally {
      this.#link();
    }
  }

  /** Makes the root entry lead here, through the memory of the part: its guard makes both busy. */
  #enterInto({ space: { root, levels, format } }: TableOwner): void {
    const { memory, root: own } = this.#owner.space;
    const words = memory.words(root, false);
    const at = memory.wordOffset(root) + 2 * this.index;
    const low = words[at]!;
    if ((low & PteFlags.Present) !== 0) {
      const entry = raw(low, words[at + 1]!);
      throw new PageTableError('ALREADY_MAPPED', { vaddr: this.region.start, level: levels - 1, entry });
    }
    storeEntry(memory, root, this.index, tableLow(own), tableHigh(own, format));
  }

  /**
   * Clears the root entry of `table` that leads to this part, and reports a flush of the whole region to the TLB of `table`.
   * The mappings of the part stay. O(1).
   *
   * @throws PageTableError `PART_NOT_ATTACHED`, `BUS_ERROR`, `BUSY`, `CALLBACK_FAILED`
   */
  detach(table: PageTable): void {
    const { guard, space } = this.#owner;
    guard.requireIdle();
    const owner = ownerOf(table);
    if (owner === undefined || !this.#attached.has(owner))
      throw new PageTableError('PART_NOT_ATTACHED', { index: this.index });
    owner.guard.requireIdle();
    storeEntry(space.memory, owner.space.root, this.index, 0, 0);
    owner.setSlot(this.index, undefined);
    this.#attached.delete(owner);
    // The guards stay linked until the flush is reported: both are busy meanwhile.
    const { start, size } = this.region;
    if (owner.listener !== undefined) reportFlush(guard, owner.listener, start, Number(size), 'detach');
    owner.upperChanged(space.base, owner.space.top, 'detach', guard);
    this.#link();
    guard.settle('detach');
  }

  /**
   * Gives all its tables back. Every later use throws `DESTROYED`. Mapped pages are not touched, and no flush is reported.
   * O(tables × 512).
   *
   * @throws PageTableError `PART_IN_USE` if it is attached; `DESTROYED`, `BUSY`; `CALLBACK_FAILED`, and it is destroyed all the
   *   same; `BUS_ERROR` if a table is outside memory: then nothing has been given back
   */
  destroy(): void {
    const { guard, space } = this.#owner;
    this.#owner.requireReady();
    const tables = this.#attached.size;
    if (tables > 0) throw new PageTableError('PART_IN_USE', { index: this.index, tables });
    space.frames.giveBack(tablesOf(space));
    this.#owner.retire();
    guard.settle('destroy');
  }

  /**
   * Notes the page tables to which it is attached: their TLBs hear of changes, and they are busy while one of its callbacks runs.
   * Those of `more` are busy too.
   */
  #link(...more: readonly CallGuard[]): void {
    const owners = [...this.#attached.keys()];
    this.#owner.guard.others = [...owners.map(({ guard }) => guard), ...more];
    this.#listeners.clear();
    for (const { listener } of owners) if (listener !== undefined) this.#listeners.add(listener);
  }

  /** The owner behind `table`. Refuses a page table to which this part cannot be attached. */
  #ownerOf(table: PageTable): TableOwner {
    this.#owner.requireReady();
    const owner = ownerOf(table);
    if (owner === undefined || owner.space.top < owner.space.levels - 1) {
      throw mismatch('it is not a page table of this copy of the package');
    }
    owner.requireReady();
    if (owner.givenMemory !== this.#owner.givenMemory) throw mismatch('its tables are in another memory');
    if (shapeOf(owner) !== shapeOf(this.#owner)) throw mismatch('its paging configuration differs');
    return owner;
  }
}

function mismatch(problem: string): PageTableError {
  return new PageTableError('PART_MISMATCH', { problem });
}

/** The paging configuration as a string, to compare. */
function shapeOf({ config }: TableOwner): string {
  return JSON.stringify(pagingConfig(config));
}
