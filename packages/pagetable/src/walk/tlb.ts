import { type AddressKind, alignDown, PageSize, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import type { TlbListener } from './tlb-listener.ts';
import type { MappedPage } from './walk.ts';

/** A translation in a TLB. */
export interface TlbEntry {
  /** The virtual page. */
  readonly region: MemoryRegion<VirtAddr>;
  /** The page as the walk found it when the entry was filled. */
  readonly page: MappedPage;
  /** The PCID that was current when the entry was filled. */
  readonly pcid: number;
  /** Whether the entry matches every PCID. */
  readonly isGlobal: boolean;
  /** Whether the tables have changed since, so that a processor must not rely on the entry. */
  readonly isStale: boolean;
  /** The method whose change made the entry stale; `undefined` if it is not stale. */
  readonly staleBy: string | undefined;
}

/** Options of a {@link Tlb}. */
export interface TlbOptions {
  /** Called for each {@link Tlb.lookup} that returns a stale entry: a flush was forgotten. */
  readonly onStaleUse?: (entry: TlbEntry, vaddr: VirtAddr) => void;
  /**
   * The number of pending 4 KiB pages above which {@link Tlb.flushPending} flushes everything, as kernels do. No limit if
   * not given.
   */
  readonly fullFlushThreshold?: number;
  /** CR4.PGE: whether entries can be global. `true` if not given. */
  readonly globalPages?: boolean;
  /** The number of levels of the page tables, which decides the addresses that are canonical. 4 if not given. */
  readonly levels?: 4 | 5;
}

/** The range of a broadcast invalidation. */
export interface FlushRange {
  /** A virtual address in the first page. */
  readonly start: VirtAddr;
  /** The number of pages: 0 to 65536. */
  readonly pages: number;
  /** The distance from one page to the next in bytes: 4 KiB or 2 MiB. 4 KiB if not given. */
  readonly stride?: PageSize;
  /** The PCID whose entries are dropped, 0 to 4095. All PCIDs if not given. */
  readonly pcid?: number;
  /** Whether global entries are dropped too. `false` if not given. */
  readonly includeGlobal?: boolean;
}

/** ECX[15:0] of INVLPGB counts the pages after the first (AMD64 APM vol. 3, INVLPGB). */
const MAX_FLUSH_PAGES = 0x1_0000;

/** A region that must be flushed: for one PCID, or for all if it is `undefined`. */
interface Pending {
  readonly region: MemoryRegion<VirtAddr>;
  readonly pcid: number | undefined;
}

type Held = { -readonly [Key in keyof TlbEntry]: TlbEntry[Key] };
type BySize = readonly Map<VirtAddr, Held>[];

/**
 * A model of a TLB. It keeps a translation until it is flushed, as hardware may (AMD64 APM vol. 2, §5.5.2). Passed to a
 * page table as `tlb`, it marks the entries that a change makes stale, continues to return them, and reports each use.
 *
 * Entries are tagged with a PCID (§5.5.1); global entries match every PCID. The capacity is unlimited.
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

  /** @throws PageTableError `INVALID_FLUSH` if `fullFlushThreshold` is negative or not a number */
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

  /** The current PCID: that of the last {@link loadCr3}, 0 before. */
  get pcid(): number {
    return this.#pcid;
  }

  /**
   * The entry for `vaddr` under the current PCID, stale or not; `undefined` if there is none. If entries of several page
   * sizes hold the address, the one with the smallest page. O(1).
   */
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
   * Fills in the page that a walk for `vaddr` found. It replaces the entry for the same virtual page. A page with the
   * global bit is filled in for every PCID. O(1).
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

  /** The regions that have changed and were not flushed yet, in the order of the changes. Adjacent ones are merged. */
  get pending(): readonly MemoryRegion<VirtAddr>[] {
    return this.#pending.map(({ region }) => region);
  }

  /** Marks all entries that overlap these bytes as stale, for every PCID. They stay until they are flushed. O(entries). */
  needsFlush(start: VirtAddr, bytes: number, operation?: string): void {
    this.#mark(start, bytes, operation, undefined);
  }

  /**
   * A listener for a page table that only the address space `pcid` uses. Its reports make entries of that PCID and global
   * entries stale.
   *
   * @param pcid - 0 to 4095
   * @throws PageTableError `INVALID_FLUSH`
   */
  forPcid(pcid: number): TlbListener {
    requirePcid(pcid);
    return { needsFlush: (start, bytes, operation) => this.#mark(start, bytes, operation, pcid) };
  }

  /**
   * INVLPG: drops the entries of every page size that hold `vaddr`, those of the current PCID and global ones (AMD64 APM
   * vol. 3, INVLPG). Removes the 4 KiB page of `vaddr` from {@link pending}, unless another PCID still has a stale entry
   * for it. Does nothing for an address that is not canonical (Intel SDM vol. 2A, INVLPG). O(pending × entries).
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
   * INVLPGB: drops the entries that hold one of the addresses (AMD64 APM vol. 3, INVLPGB). Regions of which no stale entry
   * is left are removed from {@link pending}. O(pages + pending × entries).
   *
   * @throws PageTableError `INVALID_FLUSH` if the instruction cannot express an operand
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
   * MOV to CR3: makes `pcid` current and drops its entries that are not global. Without `pcid` (CR4.PCIDE is 0), drops the
   * entries of all PCIDs that are not global, and PCID 0 becomes current. With `keep`, bit 63 of the source, nothing is
   * dropped (AMD64 APM vol. 2, §5.5.1). Of the PCIDs concerned, regions of which no stale entry is left are removed from
   * {@link pending}. O(pending × entries).
   *
   * @throws PageTableError `INVALID_FLUSH`
   */
  loadCr3({ pcid, keep = false }: { readonly pcid?: number; readonly keep?: boolean } = {}): void {
    if (pcid !== undefined) requirePcid(pcid);
    this.#pcid = pcid ?? 0;
    if (pcid !== undefined && keep) return;
    if (pcid === undefined) this.#spaces.clear();
    else this.#spaces.delete(pcid);
    this.#settle((pending) => pcid === undefined || pending.pcid === pcid);
  }

  /** MOV to CR4 that sets or clears PGE: a change drops all entries, global ones too (AMD64 APM vol. 2, §5.5.2). */
  setGlobalPages(enabled: boolean): void {
    if (enabled !== this.#globalPages) this.flushAll();
    this.#globalPages = enabled;
  }

  /**
   * Drops every entry that overlaps a {@link pending} region, for the PCIDs of that region, and empties `pending`. Above
   * the threshold, drops all entries. Returns whether it dropped all. O(pending × entries).
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

  /** Drops all entries, and empties {@link pending}. */
  flushAll(): void {
    this.#spaces.clear();
    for (const entries of this.#global) entries.clear();
    this.#pending = [];
  }

  /** Marks entries as stale and notes the region as pending, for one PCID or for all. */
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

  /** Removes the pending regions that `concerns` selects and of which no stale entry is left. */
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

  /** The entries that overlap a region: those of its PCID, or of all, and the global ones. */
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
