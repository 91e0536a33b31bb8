import { type AddressKind, alignDown, PageSize, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { TlbListener } from './tlb-listener.ts';
import type { MappedPage } from './walk.ts';

/** A translation that the TLB holds. */
export interface TlbEntry {
  /** The virtual page. */
  readonly region: MemoryRegion<VirtAddr>;
  /** What it was found to be mapped to when it was filled in. */
  readonly page: MappedPage;
  /** The address space that it was filled in for. */
  readonly pcid: number;
  /** Whether it is for every address space. */
  readonly isGlobal: boolean;
  /** Whether the tables have changed since, so that a processor must not rely on it. */
  readonly isStale: boolean;
  /** If so, the method that has changed them first. */
  readonly staleBy: string | undefined;
}

/** How a {@link Tlb} is made. */
export interface TlbOptions {
  /** Called for each {@link Tlb.lookup} that a stale entry has answered: a flush was forgotten. */
  readonly onStaleUse?: (entry: TlbEntry, vaddr: VirtAddr) => void;
  /** More 4 KiB pages than this make {@link Tlb.flushPending} a full flush, as kernels do. No limit if not given. */
  readonly fullFlushThreshold?: number;
  /** CR4.PGE: whether entries can be global. `true` if not given. */
  readonly globalPages?: boolean;
  /** Levels of the tables that it caches; 4 if not given. */
  readonly levels?: 4 | 5;
}

/** What a broadcast invalidation is for. */
export interface FlushRange {
  /** A virtual address in the first page. */
  readonly start: VirtAddr;
  /** How many pages. */
  readonly pages: number;
  /** How far apart they are: 4 KiB if not given, or 2 MiB. */
  readonly stride?: PageSize;
  /** The only address space concerned; all of them if not given. */
  readonly pcid?: number;
  /** Whether global entries are concerned too. `false` if not given. */
  readonly includeGlobal?: boolean;
}

/** ECX[15:0] of INVLPGB counts the pages after the first (AMD64 APM vol. 3, INVLPGB). */
const MAX_FLUSH_PAGES = 0x1_0000;

/** What a change has left to flush. Without a PCID, in every address space. */
interface Pending {
  readonly region: MemoryRegion<VirtAddr>;
  readonly pcid: number | undefined;
}

type Held = { -readonly [Key in keyof TlbEntry]: TlbEntry[Key] };
type BySize = readonly Map<VirtAddr, Held>[];

/**
 * A TLB that keeps what it was given until it is told to drop it, as hardware may (AMD64 APM vol. 2, §5.5.2). Given to a
 * page table as its `tlb`, it learns which entries have gone stale, goes on answering with them, and reports each use.
 *
 * Address spaces are told apart by PCID (§5.5.1); global entries are for all of them. No capacity limit.
 */
export class Tlb implements TlbListener {
  readonly #spaces: Map<number, BySize> = new Map();
  readonly #global: BySize = emptySpace();
  readonly #onStaleUse: TlbOptions['onStaleUse'];
  readonly #fullFlushThreshold: number;
  readonly #kind: AddressKind<VirtAddr>;
  #globalPages: boolean;
  #pcid = 0;
  #pending: Pending[] = [];

  constructor(options: TlbOptions = {}) {
    const { fullFlushThreshold } = options;
    if (fullFlushThreshold !== undefined && !(fullFlushThreshold >= 0)) {
      throw invalid('fullFlushThreshold', fullFlushThreshold, 'pass a number of pages, 0 or more');
    }
    this.#onStaleUse = options.onStaleUse;
    this.#fullFlushThreshold = options.fullFlushThreshold ?? Number.POSITIVE_INFINITY;
    this.#globalPages = options.globalPages ?? true;
    this.#kind = options.levels === 5 ? Virt57 : Virt;
  }

  /** The address space that is current: what {@link loadCr3} was told, 0 at first. */
  get pcid(): number {
    return this.#pcid;
  }

  /** What it holds for `vaddr` in the current address space, the smallest page first; stale or not. O(1). */
  lookup(vaddr: VirtAddr): TlbEntry | undefined {
    const own = this.#spaces.get(this.#pcid);
    for (const [i, size] of PAGE_SIZES.entries()) {
      const start = alignDown(vaddr, size);
      const held = own?.[i]?.get(start) ?? this.#global[i]?.get(start);
      if (held !== undefined) {
        if (held.isStale) this.#onStaleUse?.(held, vaddr);
        return held;
      }
    }
    return undefined;
  }

  /**
   * Fills in what a walk for `vaddr` has found, in place of what it holds for that page. A leaf with the global bit is
   * filled in for every address space. O(1).
   */
  insert(vaddr: VirtAddr, page: MappedPage): void {
    const start = alignDown(vaddr, page.size);
    const isGlobal = this.#globalPages && (page.flags & PteFlags.Global) !== 0;
    const level = PAGE_SIZES.indexOf(page.size);
    this.#spaces.get(this.#pcid)?.[level]?.delete(start);
    this.#global[level]?.delete(start);
    const space = isGlobal ? this.#global : this.#spaceOf(this.#pcid);
    space[level]!.set(start, {
      region: new MemoryRegion(this.#kind, start, page.size),
      page,
      pcid: this.#pcid,
      isGlobal,
      isStale: false,
      staleBy: undefined,
    });
  }

  /** What has changed and was not flushed yet, in the order of the changes; neighbours are one region. */
  get pending(): readonly MemoryRegion<VirtAddr>[] {
    return this.#pending.map(({ region }) => region);
  }

  /**
   * Marks what it holds of these bytes as stale, in every address space. It is kept, and used, until it is flushed.
   * O(entries).
   */
  needsFlush(start: VirtAddr, bytes: number, operation?: string): void {
    this.#mark(start, bytes, operation, undefined);
  }

  /** The listener for a page table that only the address space `pcid` uses: what it reports is stale there, or global. */
  forPcid(pcid: number): TlbListener {
    requirePcid(pcid);
    return { needsFlush: (start, bytes, operation) => this.#mark(start, bytes, operation, pcid) };
  }

  /**
   * INVLPG: drops every page that holds `vaddr`, of any size, of the current address space and global ones (AMD64 APM
   * vol. 3, INVLPG), and takes its 4 KiB off what is {@link pending} there, unless another address space holds something
   * stale of it. Does nothing for an address that is not canonical (Intel SDM vol. 2A, INVLPG). O(pending × entries).
   */
  flushPage(vaddr: VirtAddr): void {
    if (!this.#kind.isAddress(vaddr)) return;
    this.#drop(this.#spaces.get(this.#pcid), vaddr);
    this.#drop(this.#global, vaddr);
    const page = new MemoryRegion(this.#kind, alignDown(vaddr, PageSize.Regular), PageSize.Regular);
    this.#pending = this.#pending.flatMap((pending) => {
      const { region, pcid } = pending;
      if (pcid !== undefined && pcid !== this.#pcid) return [pending];
      if (!region.overlaps(page) || this.#holdsStale({ region: page, pcid })) return [pending];
      return region.subtract(page).map((region) => ({ region, pcid }));
    });
  }

  /**
   * INVLPGB: drops the pages that hold one of the addresses (AMD64 APM vol. 3, INVLPGB). What is {@link pending} stays
   * so, where something stale is left. O(pages + pending × entries).
   *
   * @throws PageTableError `INVALID_FLUSH` for what the instruction cannot be told
   */
  flushRange({ start, pages, stride = PageSize.Regular, pcid, includeGlobal = false }: FlushRange): void {
    if (!this.#kind.isAddress(start)) throw invalid('start', start, 'pass a canonical address');
    if (!Number.isInteger(pages) || pages < 0 || pages > MAX_FLUSH_PAGES) {
      throw invalid('pages', pages, `pass an integer from 0 to ${MAX_FLUSH_PAGES}`);
    }
    if (stride !== PageSize.Regular && stride !== PageSize.Huge) {
      throw invalid('stride', stride, 'pass PageSize.Regular or PageSize.Huge');
    }
    if (pcid !== undefined) requirePcid(pcid);
    for (let i = 0; i < pages; i += 1) {
      const vaddr = BigInt.asUintN(64, start + BigInt(i) * BigInt(stride)) as VirtAddr;
      for (const [own, space] of this.#spaces) {
        if (pcid === undefined || own === pcid) this.#drop(space, vaddr);
      }
      if (includeGlobal) this.#drop(this.#global, vaddr);
    }
    this.#settle(() => true);
  }

  /**
   * MOV to CR3: makes `pcid` current and drops its entries, but for global ones; without a PCID (CR4.PCIDE is 0), those of
   * every address space. With `keep` (bit 63 of the source) nothing is dropped (AMD64 APM vol. 2, §5.5.1). What is
   * {@link pending} there is done with, where nothing stale is left. O(pending × entries).
   */
  loadCr3({ pcid, keep = false }: { readonly pcid?: number; readonly keep?: boolean } = {}): void {
    if (pcid !== undefined) requirePcid(pcid);
    this.#pcid = pcid ?? 0;
    if (pcid !== undefined && keep) return;
    if (pcid === undefined) this.#spaces.clear();
    else this.#spaces.delete(pcid);
    this.#settle((pending) => pcid === undefined || pending.pcid === pcid);
  }

  /** MOV to CR4 that sets PGE: a change of it drops everything, global entries too (AMD64 APM vol. 2, §5.5.2). */
  setGlobalPages(enabled: boolean): void {
    if (enabled !== this.#globalPages) this.flushAll();
    this.#globalPages = enabled;
  }

  /**
   * Drops what it holds of everything that is {@link pending}, whole pages in the address spaces concerned, and forgets
   * that; past the threshold, everything. Returns whether it was everything. O(pending × entries).
   */
  flushPending(): boolean {
    const bytes = this.#pending.reduce((sum, { region }) => sum + region.size, 0n);
    if (Number(bytes) > this.#fullFlushThreshold * PageSize.Regular) {
      this.flushAll();
      return true;
    }
    for (const pending of this.#pending) {
      for (const [map, held] of [...this.#heldIn(pending)]) map.delete(held.region.start);
    }
    this.#pending = [];
    return false;
  }

  /** Drops everything. */
  flushAll(): void {
    this.#spaces.clear();
    for (const entries of this.#global) entries.clear();
    this.#pending = [];
  }

  #mark(start: VirtAddr, bytes: number, operation: string | undefined, pcid: number | undefined): void {
    const region = new MemoryRegion(this.#kind, start, bytes);
    for (const [, held] of this.#heldIn({ region, pcid })) {
      if (!held.isStale) held.staleBy = operation;
      held.isStale = true;
    }
    const before = this.#pending.at(-1);
    if (before !== undefined && before.pcid === pcid && before.region.contiguous(region)) {
      this.#pending.splice(-1, 1, { region: before.region.merge(region), pcid });
    } else this.#pending.push({ region, pcid });
  }

  /** Forgets what is pending, of those that `concerns` names, where no stale entry is left. */
  #settle(concerns: (pending: Pending) => boolean): void {
    this.#pending = this.#pending.filter((pending) => !concerns(pending) || this.#holdsStale(pending));
  }

  #holdsStale(pending: Pending): boolean {
    for (const [, held] of this.#heldIn(pending)) if (held.isStale) return true;
    return false;
  }

  #drop(space: BySize | undefined, vaddr: VirtAddr): void {
    for (const [i, size] of PAGE_SIZES.entries()) space?.[i]?.delete(alignDown(vaddr, size));
  }

  #spaceOf(pcid: number): BySize {
    const space = this.#spaces.get(pcid) ?? emptySpace();
    this.#spaces.set(pcid, space);
    return space;
  }

  /** What it holds of a region in one address space, or in all; and global entries in any case. */
  *#heldIn({ region, pcid }: Pending): Generator<[Map<VirtAddr, Held>, Held], void, undefined> {
    const spaces = pcid === undefined ? [...this.#spaces.values()] : [this.#spaces.get(pcid) ?? []];
    for (const space of [...spaces, this.#global]) {
      for (const map of space) {
        for (const held of map.values()) if (held.region.overlaps(region)) yield [map, held];
      }
    }
  }
}

function requirePcid(pcid: number): void {
  // CR3[11:0] (AMD64 APM vol. 2, §5.5.1).
  if (!Number.isInteger(pcid) || pcid < 0 || pcid > 0xfff) {
    throw invalid('pcid', pcid, 'pass an integer from 0 to 4095');
  }
}

function invalid(field: string, value: unknown, expected: string): PageTableError {
  return new PageTableError('INVALID_FLUSH', { field, value, expected });
}

function emptySpace(): BySize {
  return PAGE_SIZES.map(() => new Map());
}
