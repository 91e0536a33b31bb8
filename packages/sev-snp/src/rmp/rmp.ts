import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber, showInConsoles } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import {
  refuseArgument,
  requireBoolean,
  requireFunction,
  requireInteger,
  requireRmpPageSize,
  requireWhole,
} from '../formats/arguments.ts';
import { type Assumptions, assumptionsOf } from '../formats/assumptions.ts';
import { requireOptions } from '../formats/options.ts';
import { requireRmpEntry } from '../formats/raw-rmp-entry.ts';
import {
  decodeWords,
  encodeWords,
  isAssignedWord,
  isHugeWord,
  isImmutableWord,
  RMP_ENTRY_WORDS,
  type RmpEntry,
  type RmpPageSize,
  type VmplMasks,
} from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { PAGES_PER_REGION } from './alike-entries.ts';
import { EntryTable, regionOf } from './entry-table.ts';

/** Options of an {@link Rmp}. */
export interface RmpOptions {
  /** Behaviours that no source settles. The others are as in `DEFAULT_ASSUMPTIONS`. */
  readonly assumptions?: Partial<Assumptions>;
}

/** Scratch: the words of one entry, and of the others of its region. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);
const OTHERS = new Uint32Array(RMP_ENTRY_WORDS);

/**
 * The entry of every page after the firmware has initialized the table: hypervisor-owned (AMD64 APM vol. 2, §15.36.4).
 */
export const HYPERVISOR_ENTRY: RmpEntry = /* @__PURE__ */ Object.freeze({
  assigned: false,
  pageSize: PageSize.Regular,
  immutable: false,
  subpageCount: 0,
  gpa: 0n as PhysAddr,
  asid: 0,
  vmsa: false,
  validated: false,
  vmplMasks: /* @__PURE__ */ Object.freeze([0, 0, 0, 0] as const),
  lock: false,
  upper: 0,
});

/**
 * The reverse map table: an entry of 16 bytes for each 4 KiB page of system memory. It names the owner of the page and
 * the one guest-physical address at which the page may appear (AMD64 APM vol. 2, §15.36.3).
 *
 * Sparse: regions of 2 MiB are kept in runs of equal ones, as long as all entries of a region but the first are alike. From
 * the first other change on, a region costs 10 KiB: 8 KiB of raw entries and 2 KiB of versions. Entries have the bits of Zen
 * 3 and Zen 4. Software cannot write the table; only the instructions and the firmware can: `rmpupdate`, `psmash`,
 * `pvalidate` and others.
 */
export class Rmp {
  static {
    showInConsoles(this, 'Rmp', ({ covered }) => ({ covered }));
  }

  /** The memory that it covers. All other memory always belongs to the hypervisor. */
  readonly covered: MemoryRegion<SysPhysAddr>;
  /** The behaviours that no source settles. */
  readonly assumptions: Assumptions;
  readonly #first: number;
  readonly #end: number;
  readonly #entries: EntryTable = new EntryTable();
  /** How many users each page in use has, by page number: two processors can run with one VMCB. */
  readonly #inUse: Map<number, number> = new Map();

  /**
   * A table with every page hypervisor-owned. O(1).
   *
   * @param covered - whole 2 MiB regions
   * @throws SnpError `INVALID_RMP_RANGE`; `INVALID_ARGUMENT` for an unknown option, assumption or choice; RegionError if
   *   `covered` is not a region of system-physical addresses
   */
  constructor(covered: MemoryRegion<SysPhysAddr>, options: RmpOptions = {}) {
    const region = MemoryRegion.from(SysPhys, covered);
    if (region.isEmpty || region.alignInward(PAGE_SIZE_2M)?.equals(region) !== true) {
      throw new SnpError('INVALID_RMP_RANGE', { start: region.start, end: region.end });
    }
    requireOptions('the options of an RMP', options, ['assumptions']);
    const { assumptions = {} } = options;
    this.covered = region;
    this.assumptions = assumptionsOf(assumptions);
    this.#first = pageNumber(region.start);
    this.#end = this.#first + region.pageCount();
  }

  /** Whether the page of `spa` has an entry. O(1). */
  covers(spa: SysPhysAddr): boolean {
    SysPhys.assertIsAddress(spa);
    return this.#covers(pageNumber(spa));
  }

  /**
   * The entry that decides for the page of `spa`: the entry of its 2 MiB page if it is part of one, else its own entry;
   * `undefined` if the page is not covered. O(1).
   *
   * @throws AddressError if `spa` is not an address
   */
  entry(spa: SysPhysAddr): RmpEntry | undefined {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    if (!this.#covers(page)) return undefined;
    if (this.#entries.isUntouched(page)) return HYPERVISOR_ENTRY;
    this.#entries.readDeciding(page, ENTRY);
    return decodeWords(ENTRY, 0);
  }

  /**
   * The page's own 16 bytes, decoded. Inside a 2 MiB page, all entries but the first only have `assigned` set.
   * `undefined` if the page is not covered. O(1).
   */
  rawEntry(spa: SysPhysAddr): RmpEntry | undefined {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    if (!this.#covers(page)) return undefined;
    if (this.#entries.isUntouched(page)) return HYPERVISOR_ENTRY;
    this.#entries.read(page, ENTRY);
    return decodeWords(ENTRY, 0);
  }

  /**
   * Writes the words of the entry that {@link entry} decodes, by page number: for checks on every access. Returns whether
   * the page is covered; if not, all words are 0. O(1), without an allocation.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `page` is not an integer, or `into` is not a `Uint32Array` of at least 4 words
   */
  readWords(page: number, into: Uint32Array): boolean {
    requireWords(into);
    into.fill(0);
    if (!this.#covers(page)) return false;
    this.#entries.readDeciding(page, into);
    return true;
  }

  /**
   * Writes the words of the page's own 16 bytes, as {@link rawEntry} decodes them, by page number. Returns whether the page is
   * covered; if not, all words are 0. O(1), without an allocation.
   *
   * @throws SnpError `INVALID_ARGUMENT` as {@link readWords}
   */
  readRawWords(page: number, into: Uint32Array): boolean {
    requireWords(into);
    into.fill(0);
    if (!this.#covers(page)) return false;
    this.#entries.read(page, into);
    return true;
  }

  /**
   * As {@link setRawEntry}, by page number, from the first four words of `words`: any words are an entry. O(1); O(512) as there.
   *
   * @throws SnpError `OUTSIDE_RMP`; `INVALID_ARGUMENT` if `page` is not an integer from 0 on, or `words` is not a `Uint32Array`
   *   of at least 4 words; nothing has changed then
   */
  writeWords(page: number, words: Uint32Array): void {
    requireInteger('the page number', page, 0);
    requireWords(words);
    if (!this.#covers(page)) throw new SnpError('OUTSIDE_RMP', { spa: addressOf(page) });
    this.#entries.setWords(page, words);
  }

  /**
   * Whether a page, by its number, belongs to a guest or to the firmware. O(1), without an allocation.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `page` is not an integer
   */
  isAssigned(page: number): boolean {
    if (!this.#covers(page)) return false;
    this.#entries.read(page, ENTRY);
    return isAssignedWord(ENTRY[0]!);
  }

  /** Whether the page of `spa` is part of a 2 MiB page. `false` if it is not covered. O(1). */
  isHuge(spa: SysPhysAddr): boolean {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    if (!this.#covers(page)) return false;
    this.#entries.readDeciding(page, ENTRY);
    return isHugeWord(ENTRY[0]!);
  }

  /** Whether no page of the 2 MiB region around `spa` is assigned, or the region is not covered. O(1). */
  isRegionUnassigned(spa: SysPhysAddr): boolean {
    SysPhys.assertIsAddress(spa);
    const first = this.rawEntry((spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr);
    return first === undefined || (!first.assigned && !this.hasSubpages(spa));
  }

  /**
   * Whether a page of the 2 MiB region around `spa`, other than the first, is assigned as 4 KiB. O(1) if the sub-page
   * count is maintained, else O(512).
   */
  hasSubpages(spa: SysPhysAddr): boolean {
    SysPhys.assertIsAddress(spa);
    const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
    const entry = this.rawEntry(first);
    if (entry === undefined || entry.pageSize === PageSize.Huge) return false;
    if (this.assumptions.subpageCount === 'maintained') return entry.subpageCount !== 0;
    return this.#entries.hasWord(pageNumber(first), 1, isAssignedWord);
  }

  /**
   * The masks of an entry after its validation: its own, or the defaults if validation is what resets them.
   *
   * @throws SnpError `INVALID_MESSAGE` if a field of the entry does not fit
   */
  masksOnceValidated(entry: RmpEntry): VmplMasks {
    const { vmplMasks } = requireRmpEntry(entry);
    const { assumptions } = this;
    return validationResetsMasks(assumptions, vmplMasks[0])
      ? [assumptions.resetMaskOfVmpl0, 0, 0, 0]
      : vmplMasks;
  }

  /**
   * The number of entries with an ASID that is not 0: of 4 KiB and of 2 MiB pages. The firmware keeps these counts next
   * to the table (AMD-ASPFW `sev_rmp.c`, `check_rmp_for_asid`). O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if `asid` is not an integer
   */
  entriesOf(asid: number): number {
    requireWhole('the ASID', asid);
    return this.#entries.countOf(asid);
  }

  /** Whether a page of the 2 MiB region around `spa` is immutable by its own 16 bytes. O(512). */
  hasImmutable(spa: SysPhysAddr): boolean {
    return this.#entries.hasWord(pageNumber(spa), 0, isImmutableWord);
  }

  /**
   * Replaces the entries of the 2 MiB region that begins at `first`: the first one, and 511 equal ones. Like
   * {@link setRawEntry}, it checks no rule. O(1) if the entries of the region were alike and the 511 have no ASID, else
   * O(512).
   *
   * @throws SnpError `OUTSIDE_RMP`, `INVALID_MESSAGE` if a field of an entry does not fit; nothing has changed then
   */
  setRegion(first: SysPhysAddr, entry: RmpEntry, others: RmpEntry): void {
    requireRmpEntry(entry);
    requireRmpEntry(others);
    const page = this.#require(first);
    encodeWords(entry, ENTRY, 0);
    encodeWords(others, OTHERS, 0);
    this.#entries.setRegion(page, ENTRY, OTHERS);
  }

  /**
   * As {@link setRegion}, by page number, from the words of the entries, as {@link writeWords} takes them.
   *
   * @throws SnpError `OUTSIDE_RMP`, `INVALID_ARGUMENT` as {@link writeWords}; nothing has changed then
   */
  setRegionWords(first: number, entry: Uint32Array, others: Uint32Array): void {
    requireInteger('the page number', first, 0);
    requireWords(entry);
    requireWords(others);
    if (!this.#covers(first)) throw new SnpError('OUTSIDE_RMP', { spa: addressOf(first) });
    this.#entries.setRegion(first, entry, others);
  }

  /**
   * Calls `change` for `count` consecutive pages of a size from `spa` on, in their order, up to the first for which it returns
   * `false`. It changes the entry of the page that it gets, in the same way for each page, relative to its address. Pages of
   * regions that are equal before are equal after it, so it is called for one such region, and the others get the outcome.
   * It is called for the first page without an entry, and for none after that. O(512) for each run of equal regions.
   *
   * @param count - the number of pages
   * @returns the number of pages before the first `false`
   * @throws SnpError `INVALID_ARGUMENT` for an argument of another type; the errors of `change`
   */
  changePages(
    spa: SysPhysAddr,
    count: number,
    pageSize: RmpPageSize,
    change: (page: SysPhysAddr) => boolean,
  ): number {
    requireInteger('the number of pages', count, 0);
    requireRmpPageSize(pageSize);
    requireFunction('change', change);
    const size = pageSize / PAGE_SIZE;
    const first = pageNumber(spa);
    // The first page without an entry is the last one, so that a huge count ends.
    const end = Math.min(first + count * size, Math.max(this.#end, first) + size);
    let page = first;
    const changeUpTo = (limit: number): boolean => {
      for (; page < limit; page += size) if (!change(addressOf(page))) return false;
      return true;
    };
    while (page < end) {
      const region = regionOf(page);
      const next = (region + 1) * PAGES_PER_REGION;
      const isWhole = page % PAGES_PER_REGION === 0 && next <= end;
      const equal = this.#endOfEqual(region, regionOf(end));
      if (!changeUpTo(Math.min(next, end))) break;
      if (isWhole) page = this.#entries.spread(region, equal) * PAGES_PER_REGION;
    }
    return (page - first) / size;
  }

  /** The end of the regions that equal a region and can change with it: they are covered, and no page of them is in use. */
  #endOfEqual(region: number, limit: number): number {
    let end = Math.min(limit, this.#entries.endOfEqual(region), Math.max(regionOf(this.#end), region + 1));
    for (const page of this.#inUse.keys()) {
      const used = regionOf(page);
      if (used > region && used < end) end = used;
    }
    return end;
  }

  /**
   * Replaces the page's own 16 bytes, and checks no rule: for instructions, for the firmware, and for tests that need a
   * state that no program reaches. O(1); O(512) when the first page of a region gets an entry that is not like its
   * neighbours'.
   *
   * @throws SnpError `OUTSIDE_RMP`, `INVALID_MESSAGE` if a field of the entry does not fit; nothing has changed then
   */
  setRawEntry(spa: SysPhysAddr, entry: RmpEntry): void {
    requireRmpEntry(entry);
    this.#entries.set(this.#require(spa), entry);
  }

  /** The page number of an address that is covered. */
  #require(spa: SysPhysAddr): number {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    if (!this.#covers(page)) throw new SnpError('OUTSIDE_RMP', { spa });
    return page;
  }

  /**
   * A count that grows whenever a {@link version} changes. While it stays, no version has to be compared. O(1).
   */
  get changes(): number {
    return this.#entries.changes;
  }

  /**
   * A version that changes with every change to the page's RMP entry or, for 2 MiB, to any entry of the region; except to
   * VMPL masks. A TLB compares versions to find stale verdicts. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if the page size is not 4096 or 2097152
   */
  version(spa: SysPhysAddr, pageSize: RmpPageSize): number {
    requireRmpPageSize(pageSize);
    return this.versionOfPage(pageNumber(spa), pageSize === PageSize.Huge);
  }

  /**
   * As {@link version}, by page number; with `huge`, of the 2 MiB region around the page.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `page` is not an integer, or `huge` is not a boolean
   */
  versionOfPage(page: number, huge: boolean): number {
    requireInteger('the page number', page, 0);
    requireBoolean('huge', huge);
    return this.#entries.version(page, huge);
  }

  /**
   * Marks the page of `spa` as in use by a processor, or not, as a VMSA, VMCB or AVIC backing page is while a guest runs.
   * RMPUPDATE and PSMASH of a page in use return FAIL_INUSE (AMD64 APM vol. 2, §15.36.12). The uses are counted: the page
   * is in use until each `true` has had its `false`. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if `inUse` is not a boolean
   */
  setInUse(spa: SysPhysAddr, inUse: boolean): void {
    SysPhys.assertIsAddress(spa);
    requireBoolean('inUse', inUse);
    const page = pageNumber(spa);
    const users = (this.#inUse.get(page) ?? 0) + (inUse ? 1 : -1);
    if (users > 0) this.#inUse.set(page, users);
    else this.#inUse.delete(page);
  }

  /**
   * Whether a page of the `pageSize` bytes around `spa` is in use. O(pages in use).
   *
   * @throws SnpError `INVALID_ARGUMENT` if the page size is not 4096 or 2097152
   */
  isInUse(spa: SysPhysAddr, pageSize: RmpPageSize): boolean {
    requireRmpPageSize(pageSize);
    const pages = pageSize / PAGE_SIZE;
    const unit = Math.floor(pageNumber(spa) / pages);
    for (const page of this.#inUse.keys()) if (Math.floor(page / pages) === unit) return true;
    return false;
  }

  #covers(page: number): boolean {
    requireWhole('the page number', page);
    return page >= this.#first && page < this.#end;
  }
}

/** Whether a validation resets the masks of an entry, in which VMPL0 has this mask. */
export function validationResetsMasks({ defaultMasks }: Assumptions, maskOfVmpl0: number): boolean {
  return defaultMasks === 'PVALIDATE' && maskOfVmpl0 === 0;
}

function addressOf(page: number): SysPhysAddr {
  return (BigInt(page) * BigInt(PAGE_SIZE)) as SysPhysAddr;
}

function requireWords(into: Uint32Array): void {
  let isSound = false;
  try {
    isSound = into instanceof Uint32Array && into.length >= RMP_ENTRY_WORDS;
  } catch {
    // A proxy that throws, or is revoked.
  }
  if (!isSound) refuseArgument('the words of an entry', into, 'pass a Uint32Array of at least 4 words');
}
