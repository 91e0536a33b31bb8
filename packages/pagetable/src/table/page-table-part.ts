import { type PhysAddr, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import type { PageTableOptions } from '../edit/page-table-options.ts';
import { addressOf, SPANS } from '../entry/page-range.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { pagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameAddress, raw } from '../entry/words.ts';
import type { TableFrames } from '../memory/table-frames.ts';
import { tablesOf } from '../walk/table-census.ts';
import { requireRootIndex, storeEntry, tableHigh, tableLow } from '../walk/table-space.ts';
import type { TlbListener } from '../walk/tlb-listener.ts';
import { PageMapper } from './page-mapper.ts';
import type { PageTable } from './page-table.ts';
import { ownerOf, type PartSlot, TableOwner } from './table-owner.ts';

/** What a part works on: as for a page table, but who is to flush is told by the page tables that it is attached to. */
export type PageTablePartOptions = Omit<PageTableOptions, 'tlb'>;

/**
 * The part of a page table below one entry of its root, 512 GiB of addresses with 4 levels: an object of its own, which
 * page tables of several CPUs share. It owns its tables, attached or not; no page table that it is attached to frees them.
 *
 * A change of it, through itself or through a page table that it is attached to, is seen by all of them, and the TLB of
 * each is told what to flush.
 */
export class PageTablePart extends PageMapper {
  /** The entry of the root that it is for. */
  readonly index: number;
  /** The physical address of its first table. */
  readonly root: PhysAddr;
  /** The addresses that it maps. */
  readonly region: MemoryRegion<VirtAddr>;
  readonly #owner: TableOwner;
  readonly #attached: Map<TableOwner, PageTable>;
  readonly #slot: PartSlot;

  private constructor(index: number, root: PhysAddr, options: PageTableOptions, frames: TableFrames) {
    const attached = new Map<TableOwner, PageTable>();
    const owner = new TableOwner(root, options, frames, toAll(attached), index);
    super(owner);
    const { levels, base } = owner.space;
    const kind = levels === 5 ? Virt57 : Virt;
    const bytes = BigInt(SPANS[levels - 1]!) * 4096n;
    this.index = index;
    this.root = root;
    this.region = new MemoryRegion(kind, addressOf(base, levels), bytes);
    this.#owner = owner;
    this.#attached = attached;
    this.#slot = {
      owner,
      join: (table) => this.attach(table as PageTable),
      forget: (table) => attached.delete(table),
    };
  }

  /**
   * A new part with nothing mapped, attached to nothing. Takes one frame, which it clears.
   *
   * @param index - the entry of the root that it is for, 0 to 511
   * @throws PageTableError `INVALID_ROOT_ENTRY`, `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`, `INVALID_FRAME`
   */
  static create(index: number, options: PageTablePartOptions): PageTablePart {
    requireRootIndex(index);
    const frames = TableOwner.framesFor(options);
    const [root] = frames.take(1);
    // `this`: a class that names itself is renamed by the bundler.
    return new this(index, frameAddress(root as number), options, frames);
  }

  /** The page tables that it is attached to, in the order of {@link attach}. */
  get tables(): readonly PageTable[] {
    return [...this.#attached.values()];
  }

  /**
   * Makes the entry of `table`'s root lead to this part: all that is mapped here is mapped there, now and later. O(1).
   *
   * @throws PageTableError `PART_MISMATCH` for a table in another memory or of another configuration; `ALREADY_MAPPED` if its
   *   entry is in use
   */
  attach(table: PageTable): void {
    const owner = this.#ownerOf(table);
    const { memory, root, levels, format } = owner.space;
    const words = memory.words(root, false);
    const at = memory.wordOffset(root) + 2 * this.index;
    const low = words[at]!;
    if ((low & PteFlags.Present) !== 0) {
      const entry = raw(low, words[at + 1]!);
      throw new PageTableError('ALREADY_MAPPED', { vaddr: this.region.start, level: levels - 1, entry });
    }
    const { root: own } = this.#owner.space;
    storeEntry(memory, root, this.index, tableLow(own), tableHigh(own, format));
    owner.setSlot(this.index, this.#slot);
    this.#attached.set(owner, table);
  }

  /**
   * Clears the entry of `table`'s root that leads to this part, and reports all its addresses to be flushed there. What is
   * mapped here stays. O(1).
   *
   * @throws PageTableError `PART_NOT_ATTACHED`
   */
  detach(table: PageTable): void {
    const owner = ownerOf(table);
    if (owner === undefined || !this.#attached.has(owner))
      throw new PageTableError('PART_NOT_ATTACHED', { index: this.index });
    storeEntry(owner.space.memory, owner.space.root, this.index, 0, 0);
    owner.setSlot(this.index, undefined);
    this.#attached.delete(owner);
    owner.space.tlb?.needsFlush(this.region.start, Number(this.region.size), 'detach');
  }

  /**
   * Gives all its tables back; every later use is an error. What was mapped is not touched, and nothing is flushed.
   * O(tables × 512).
   *
   * @throws PageTableError `PART_IN_USE` while it is attached; `NO_FRAME_ALLOCATOR`; `BUS_ERROR` if a table lies outside
   *   memory, and nothing is given back then
   */
  destroy(): void {
    const { cursor, space } = this.#owner;
    cursor.requireAlive();
    const tables = this.#attached.size;
    if (tables > 0) throw new PageTableError('PART_IN_USE', { index: this.index, tables });
    space.frames.giveBack(tablesOf(space));
    this.#owner.retire();
  }

  #ownerOf(table: PageTable): TableOwner {
    this.#owner.cursor.requireAlive();
    const owner = ownerOf(table);
    if (owner === undefined || owner.space.top < owner.space.levels - 1) {
      throw mismatch('it is no page table of this copy of the package');
    }
    owner.cursor.requireAlive();
    if (owner.space.memory !== this.#owner.space.memory) throw mismatch('its tables lie in another memory');
    if (shapeOf(owner) !== shapeOf(this.#owner)) throw mismatch('its paging configuration is another');
    return owner;
  }
}

/** Tells the TLB of each page table, once if several have the same. */
function toAll(attached: ReadonlyMap<TableOwner, PageTable>): TlbListener {
  return {
    needsFlush: (start, bytes, operation) => {
      const listeners = new Set<TlbListener>();
      for (const { space } of attached.keys()) if (space.tlb !== undefined) listeners.add(space.tlb);
      for (const listener of listeners) listener.needsFlush(start, bytes, operation);
    },
  };
}

function mismatch(problem: string): PageTableError {
  return new PageTableError('PART_MISMATCH', { problem });
}

function shapeOf({ config }: TableOwner): string {
  return JSON.stringify(pagingConfig(config));
}
