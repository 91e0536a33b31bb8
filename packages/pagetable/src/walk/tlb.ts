import { type AddressKind, PageSize, showInConsoles, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion, pageAddress, type VirtPage } from '@svsm/memory-region';
import { PAGE_SIZES } from '../entry/page-sizes.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { highOf, lowOf } from '../entry/page-words.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { frameAddress } from '../entry/words.ts';
import { ALL_PCIDS, FlushDebts } from './flush-debts.ts';
import { noteTlb } from './is-tlb.ts';
import { ALL_PAGES, runsOf } from './page-runs.ts';
import type { TlbListener } from './tlb-listener.ts';
import {
  CR3_LOAD,
  FLUSH_RANGE,
  type FlushRange,
  invalidFlush as invalid,
  requireBoolean,
  requireFlushCount,
  TLB_OPTIONS,
  type TlbOptions,
} from './tlb-options.ts';
import { type TlbEntry, TlbSpace } from './tlb-space.ts';
import { type MappedPage, requirePage } from './walk.ts';

/**
 * A model of a TLB. It keeps a translation until it is flushed, as hardware may (AMD64 APM vol. 2, §5.5.2). Passed to a
 * page table as `tlb`, it marks the entries that a change makes stale, continues to return them, and reports each use.
 *
 * Entries are tagged with a PCID (§5.5.1); global entries match every PCID. The capacity is unlimited. The cost of a flush
 * depends on the pages that it names, not on the number of entries.
 *
 * While `onStaleUse` runs, every method throws `BUSY` but `needsFlush`.
 * @example
 * ```ts
 * import { physAddr, virtAddr } from '@svsm/address';
 * import { createPhysMemory, PageTable, Tlb, writePhys64 } from '@svsm/pagetable';
 * const tlb = new Tlb({ onStaleUse: ({ staleBy }) => console.log(`stale since ${staleBy}`) });
 * const memory = createPhysMemory({ size: 0x2000 });
 * writePhys64(memory, physAddr(0), 0x1027n); // PML4[0] leads to the PDPT
 * writePhys64(memory, physAddr(0x1000), 0x83n); // PDPT[0] maps 1 GiB
 * const table = PageTable.open(physAddr(0), { memory, tlb });
 * table.access(virtAddr(0x1234), 'read', undefined, { fill: tlb }); // the processor caches the translation
 * table.unmap1g(virtAddr(0));
 * tlb.lookup(virtAddr(0x1234)); // => stale since unmap1g
 * ```
 */
export class Tlb implements TlbListener {
  static {
    showInConsoles(this, 'Tlb', ({ levels, pcid, pcids, pending }) => ({ levels, pcid, pcids, pending }));
  }

  readonly #spaces: Map<number, TlbSpace> = new Map();
  readonly #global: TlbSpace = new TlbSpace();
  readonly #debts: FlushDebts;
  readonly #onStaleUse: TlbOptions['onStaleUse'];
  readonly #fullFlushThreshold: number;
  readonly #kind: AddressKind<VirtAddr>;
  /** The number of pages in the lower half of the address space; the upper half has as many. */
  readonly #lowerEnd: number;
  #globalPages: boolean;
  #smep: boolean;
  #pcids: boolean;
  #pcid = 0;
  #changes = 0;
  /** Whether `onStaleUse` runs. */
  #isReporting = false;

  /** @throws PageTableError `INVALID_FLUSH` */
  constructor(options: TlbOptions = {}) {
    TLB_OPTIONS.require(options);
    noteTlb(this);
    const { fullFlushThreshold } = options;
    if (
      fullFlushThreshold !== undefined &&
      !(typeof fullFlushThreshold === 'number' && fullFlushThreshold >= 0)
    ) {
      throw invalid('fullFlushThreshold', fullFlushThreshold, 'pass a number of pages, 0 or more');
    }
    this.#onStaleUse = options.onStaleUse;
    this.#fullFlushThreshold = fullFlushThreshold ?? Number.POSITIVE_INFINITY;
    this.#globalPages = options.globalPages ?? true;
    this.#smep = options.smep ?? true;
    this.#pcids = options.pcids ?? true;
    this.#kind = options.levels === 5 ? Virt57 : Virt;
    this.#lowerEnd = options.levels === 5 ? 2 ** 44 : 2 ** 35;
    this.#debts = new FlushDebts(this.#kind);
  }

  /** The number of levels of the page tables. */
  get levels(): 4 | 5 {
    return this.#kind === Virt57 ? 5 : 4;
  }

  /** A count that grows whenever {@link lookup} may answer differently from then on, and with each use of a stale entry. O(1). */
  get changes(): number {
    return this.#changes;
  }

  /** The current PCID: that of the last {@link loadCr3}, 0 before. */
  get pcid(): number {
    return this.#pcid;
  }

  /**
   * The entry for `vaddr` under the current PCID, stale or not; `undefined` if there is none. If entries of several page
   * sizes hold the address, the one with the smallest page. O(1).
   *
   * @throws PageTableError `NON_CANONICAL` if `vaddr` is not a 64-bit value; `BUSY`; the errors of `onStaleUse`
   */
  lookup(vaddr: VirtPage): TlbEntry | undefined {
    this.#requireIdle();
    const page = this.#pageOf(vaddr);
    const own = this.#spaces.get(this.#pcid);
    for (let level = 0; level < PAGE_SIZES.length; level += 1) {
      const held = own?.at(level, page) ?? this.#global.at(level, page);
      if (held === undefined) continue;
      if (held.isStale) {
        this.#changes += 1;
        this.#report(held, pageAddress(vaddr));
      }
      return held;
    }
    return undefined;
  }

  /**
   * Fills in the page that a walk for `vaddr` found. It replaces the entry for the same virtual page. A page with the
   * global bit is filled in for every PCID. O(1).
   *
   * @throws PageTableError `INVALID_ARGUMENT`; `NON_CANONICAL` if `vaddr` is not a 64-bit value; `BUSY`
   */
  insert(vaddr: VirtPage, page: MappedPage): void {
    this.#beginChange();
    const number = this.#pageOf(vaddr);
    requirePage(page);
    const isGlobal = this.#globalPages && (page.flags & PteFlags.Global) !== 0;
    const level = PAGE_SIZES.indexOf(page.size);
    const own = this.#spaceOf(this.#pcid);
    own.remove(level, number);
    this.#global.remove(level, number);
    const start: bigint = frameAddress(number - (number % (page.size / PageSize.Regular)));
    (isGlobal ? this.#global : own).set(level, number, {
      region: MemoryRegion.unchecked(this.#kind, start as VirtAddr, BigInt(page.size)),
      page,
      pcid: this.#pcid,
      isGlobal,
      isStale: false,
      staleBy: undefined,
    });
  }

  /**
   * The regions that have changed and were not flushed since: of each PCID, ascending and merged. After a load of CR3, only
   * those parts remain of which a stale entry is held; after a broadcast too, of the pages that it names. If a TLB is not
   * flushed at all, this becomes the whole address space after 1024 separate regions, and earlier for each of several PCIDs.
   */
  get pending(): readonly MemoryRegion<VirtAddr>[] {
    return this.#debts.regions;
  }

  /**
   * Marks all entries that overlap these bytes as stale, for every PCID. They stay until they are flushed. O(pages), or
   * O(entries) if there are fewer, for each PCID in use.
   *
   * @throws PageTableError `INVALID_FLUSH`; `NON_CANONICAL` if `start` is not a 64-bit value
   */
  needsFlush(start: VirtAddr, bytes: number, operation?: string): void {
    if (operation !== undefined && typeof operation !== 'string') {
      throw invalid('operation', operation, 'pass the name of a method, or nothing');
    }
    this.#mark(start, bytes, operation, ALL_PCIDS);
  }

  /**
   * A listener for a page table that only the address space `pcid` uses. Its reports make entries of that PCID and global
   * entries stale.
   *
   * @param pcid - 0 to 4095
   * @throws PageTableError `INVALID_FLUSH`
   */
  forPcid(pcid: number): TlbListener {
    this.#requirePcid(pcid);
    return { needsFlush: (start, bytes, operation) => this.#mark(start, bytes, operation, pcid) };
  }

  /**
   * INVLPG: drops the entries of every page size that hold `vaddr`, those of the current PCID and global ones (AMD64 APM vol. 3,
   * INVLPG). Removes the 4 KiB page of `vaddr` from {@link pending}, unless another PCID still has a stale entry for it. Does nothing
   * for an address that is not canonical (Intel SDM vol. 2A, INVLPG). O(1), and O(PCIDs in use) if there are stale entries.
   *
   * @throws PageTableError `NON_CANONICAL` if `vaddr` is not a 64-bit value; `BUSY`
   */
  flushPage(vaddr: VirtPage): void {
    this.#beginChange();
    const page = this.#pageOf(vaddr);
    if (page >= this.#lowerEnd && page < ALL_PAGES - this.#lowerEnd) return;
    const own = this.#spaces.get(this.#pcid);
    own?.drop(page);
    this.#global.drop(page);
    this.#debts.pay(page, this.#pcid);
    if (!this.#isStaleAnywhere(page)) this.#debts.pay(page, ALL_PCIDS);
  }

  /**
   * INVLPGB: drops the entries that hold one of the addresses (AMD64 APM vol. 3, INVLPGB). Of what is {@link pending} for
   * these pages, in units of the stride, those parts remain of which a stale entry is held. O(pages), or O(entries) if there
   * are fewer, for each PCID in use.
   *
   * @throws PageTableError `INVALID_FLUSH` if the instruction cannot express an operand; `BUSY`
   */
  flushRange(range: FlushRange): void {
    this.#beginChange();
    FLUSH_RANGE.require(range);
    const { start, pages = 1, stride = PageSize.Regular, pcid, includeGlobal = false } = range;
    if (start !== undefined && !this.#kind.isAddress(start)) {
      throw invalid('start', start, 'pass a canonical address');
    }
    requireFlushCount(pages, stride);
    if (pcid !== undefined) this.#requirePcid(pcid);
    const step = stride / PageSize.Regular;
    for (const space of this.#spacesOf(pcid ?? ALL_PCIDS, includeGlobal)) {
      if (start === undefined) space.clear();
      else
        for (const [first, count] of runsOf(this.#pageOf(start), pages, step))
          space.dropEach(first, count, step);
    }
    const scopes = pcid === undefined ? this.#debts.scopes : [pcid, ALL_PCIDS];
    if (start === undefined) for (const scope of scopes) this.#settle(scope);
    else
      for (const [first, count] of runsOf(this.#pageOf(start), pages, step)) {
        const from = Math.floor(first / step) * step;
        for (const scope of scopes) this.#settleWithin(from, from + count * step, scope);
      }
  }

  /**
   * MOV to CR3: makes `pcid` current and drops its entries that are not global. Without `pcid` (CR4.PCIDE is 0), drops the
   * entries of all PCIDs that are not global, and PCID 0 becomes current. With `keep`, bit 63 of the source, nothing is
   * dropped (AMD64 APM vol. 2, §5.5.1). Of what is {@link pending} for the PCIDs concerned, those parts remain of which a
   * stale entry is held. O(stale entries).
   *
   * @throws PageTableError `INVALID_FLUSH`, `BUSY`
   */
  loadCr3(load: { readonly pcid?: number; readonly keep?: boolean } = {}): void {
    this.#beginChange();
    CR3_LOAD.require(load);
    const { pcid, keep = false } = load;
    if (pcid !== undefined) this.#requirePcid(pcid);
    this.#pcid = pcid ?? 0;
    if (pcid !== undefined && keep) return;
    this.#dropNonGlobal(pcid);
  }

  /**
   * INVPCID of type 0: drops the entries of `pcid` that hold `vaddr` and are not global (Intel SDM vol. 2A, INVPCID). Removes
   * the 4 KiB page of `vaddr` from what is {@link pending} for that PCID. O(1), and O(PCIDs in use) if there are stale entries.
   *
   * @param pcid - 0 to 4095
   * @throws PageTableError `INVALID_FLUSH`; `NON_CANONICAL` if `vaddr` is not a 64-bit value; `BUSY`
   */
  flushPageOf(pcid: number, vaddr: VirtPage): void {
    this.#beginChange();
    this.#requirePcid(pcid);
    const page = this.#pageOf(vaddr);
    const space = this.#spaces.get(pcid);
    space?.drop(page);
    if (!this.#global.isStale(page)) this.#debts.pay(page, pcid);
    if (!this.#isStaleAnywhere(page)) this.#debts.pay(page, ALL_PCIDS);
  }

  /**
   * INVPCID of type 1 and 3: drops the entries of `pcid`, or of all PCIDs if it is not given, that are not global (Intel SDM
   * vol. 2A, INVPCID). Of what is {@link pending} for the PCIDs concerned, those parts remain of which a stale entry is held.
   * O(stale entries).
   *
   * @param pcid - 0 to 4095
   * @throws PageTableError `INVALID_FLUSH`, `BUSY`
   */
  flushNonGlobal(pcid?: number): void {
    this.#beginChange();
    if (pcid !== undefined) this.#requirePcid(pcid);
    this.#dropNonGlobal(pcid);
  }

  /** MOV to CR4 that sets or clears PGE: a change drops all entries, global ones too (AMD64 APM vol. 2, §5.5.2). @throws PageTableError `INVALID_FLUSH`, `BUSY` */
  setGlobalPages(enabled: boolean): void {
    this.#beginChange();
    requireBoolean('enabled', enabled);
    if (enabled !== this.#globalPages) this.flushAll();
    this.#globalPages = enabled;
  }

  /**
   * MOV to CR4 that sets or clears SMEP. Setting it drops the entries of the current PCID that are not global (Intel SDM
   * vol. 3A, §4.10.4.1).
   * @throws PageTableError `INVALID_FLUSH`, `BUSY`
   */
  setSmep(enabled: boolean): void {
    this.#beginChange();
    requireBoolean('enabled', enabled);
    if (enabled && !this.#smep) this.#dropNonGlobal(this.#pcid);
    this.#smep = enabled;
  }

  /**
   * MOV to CR4 that sets or clears PCIDE. Clearing it drops all entries, and PCID 0 becomes current (Intel SDM vol. 3A, §4.10.4.1).
   * @throws PageTableError `INVALID_FLUSH`, `BUSY`
   */
  setPcids(enabled: boolean): void {
    this.#beginChange();
    requireBoolean('enabled', enabled);
    if (!enabled && this.#pcids) {
      this.flushAll();
      this.#pcid = 0;
    }
    this.#pcids = enabled;
  }

  /** CR4.PCIDE: whether there are PCIDs other than 0. */
  get pcids(): boolean {
    return this.#pcids;
  }

  /**
   * Drops every entry that overlaps a {@link pending} region, for the PCIDs of that region, and empties `pending`. Above
   * the threshold, drops all entries. Returns whether it dropped all. O(pages that are pending), or O(entries) if there are
   * fewer, for each PCID in use.
   *
   * @throws PageTableError `BUSY`
   */
  flushPending(): boolean {
    this.#beginChange();
    if (Number(this.#debts.bytes) > this.#fullFlushThreshold * PageSize.Regular) {
      this.flushAll();
      return true;
    }
    for (const [region, scope] of this.#debts.entries()) {
      const first = this.#pageOf(region.start);
      const end = first + Number(region.size / 4096n);
      for (const space of this.#spacesOf(scope, true)) space.dropAll(first, end);
    }
    this.#debts.clear();
    return false;
  }

  /** Drops all entries, and empties {@link pending}. @throws PageTableError `BUSY` */
  flushAll(): void {
    this.#beginChange();
    this.#spaces.clear();
    this.#global.clear();
    this.#debts.clear();
  }

  #report(held: TlbEntry, vaddr: VirtAddr): void {
    if (this.#onStaleUse === undefined) return;
    this.#isReporting = true;
    try {
      this.#onStaleUse(held, vaddr);
    } finally {
      this.#isReporting = false;
    }
  }

  /** @throws PageTableError `BUSY` while `onStaleUse` runs */
  #requireIdle(): void {
    if (this.#isReporting) throw new PageTableError('BUSY', { during: 'onStaleUse' });
  }

  /** @throws PageTableError `BUSY` while `onStaleUse` runs */
  #beginChange(): void {
    this.#requireIdle();
    this.#changes += 1;
  }

  /** Marks entries as stale and notes the pages as due, for one PCID or for all. */
  #mark(start: VirtAddr, bytes: number, operation: string | undefined, scope: number): void {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes % PageSize.Regular !== 0) {
      throw invalid('bytes', bytes, 'pass a multiple of 4096, 0 or more');
    }
    const first = this.#pageOf(start);
    const end = first + bytes / PageSize.Regular;
    // The page that holds `start` tells whether it is canonical: the two halves begin and end with whole pages.
    if (
      first < this.#lowerEnd ? end > this.#lowerEnd : first < ALL_PAGES - this.#lowerEnd || end > ALL_PAGES
    ) {
      throw invalid('start', start, 'pass a canonical address that these bytes follow');
    }
    if (first === end) return;
    this.#changes += 1;
    for (const [pcid, space] of this.#spaces) {
      if (scope === ALL_PCIDS || pcid === scope) space.mark(first, end, operation);
    }
    this.#global.mark(first, end, operation);
    this.#debts.add(first, end, scope);
  }

  /** Keeps, of what is due for a scope, the parts of which a stale entry is held. O(stale entries of the scope). */
  #settle(scope: number): void {
    this.#debts.reduceTo(
      this.#spacesOf(scope, true).flatMap((space) => [...space.stale]),
      scope,
    );
  }

  /** As {@link #settle}, of the pages `first` to `end`. O(pages), or O(entries of the scope) if there are fewer. */
  #settleWithin(first: number, end: number, scope: number): void {
    const stale = this.#spacesOf(scope, true).flatMap((space) => space.staleWithin(first, end));
    this.#debts.reduceWithin(first, end, stale, scope);
  }

  #isStaleAnywhere(page: number): boolean {
    if (this.#global.isStale(page)) return true;
    for (const space of this.#spaces.values()) if (space.isStale(page)) return true;
    return false;
  }

  #dropNonGlobal(pcid: number | undefined): void {
    if (pcid === undefined) this.#spaces.clear();
    else this.#spaces.delete(pcid);
    for (const scope of pcid === undefined ? this.#debts.scopes : [pcid]) this.#settle(scope);
  }

  #spaceOf(pcid: number): TlbSpace {
    const space = this.#spaces.get(pcid) ?? new TlbSpace();
    this.#spaces.set(pcid, space);
    return space;
  }

  #spacesOf(scope: number, includeGlobal: boolean): TlbSpace[] {
    const own = this.#spaces.get(scope);
    const spaces = scope === ALL_PCIDS ? [...this.#spaces.values()] : own === undefined ? [] : [own];
    return includeGlobal ? [...spaces, this.#global] : spaces;
  }

  /** CR3[11:0] is the PCID while CR4.PCIDE is 1 (AMD64 APM vol. 2, §5.5.1). */
  #requirePcid(pcid: number): void {
    if (!Number.isInteger(pcid) || pcid < 0 || pcid > 0xfff) {
      throw invalid('pcid', pcid, 'pass an integer from 0 to 4095');
    }
    if (pcid !== 0 && !this.#pcids) throw invalid('pcid', pcid, 'pass 0 while CR4.PCIDE is 0');
  }

  /** The number of the page that holds `vaddr`, from address 0. */
  #pageOf(vaddr: VirtPage): number {
    const low = lowOf(vaddr, this);
    return (highOf() >>> 0) * 0x10_0000 + (low >>> 12);
  }
}
