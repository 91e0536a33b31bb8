import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { type Assumptions, assumptionsOf } from '../formats/assumptions.ts';
import {
  asidOfWord,
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

/** Options of an {@link Rmp}. */
export interface RmpOptions {
  /** Behaviours that no source settles. The others are as in `DEFAULT_ASSUMPTIONS`. */
  readonly assumptions?: Partial<Assumptions>;
}

/** An ASID has 10 bits. */
const ASID_COUNT = 1 << 10;
const PAGES_PER_REGION = PAGE_SIZE_2M / PAGE_SIZE;
/** The places of a region's own counts, after the counts of its pages. */
const WHOLE = PAGES_PER_REGION;
const ANY = PAGES_PER_REGION + 1;

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
 * Sparse: a 2 MiB region costs memory from its first change on: 8 KiB of raw entries and 2 KiB of versions. Entries have
 * the bits of Zen 3 and Zen 4. Software cannot write the table; only the instructions and the firmware can: `rmpupdate`,
 * `psmash`, `pvalidate` and others.
 */
export class Rmp {
  /** The memory that it covers. All other memory always belongs to the hypervisor. */
  readonly covered: MemoryRegion<SysPhysAddr>;
  /** The behaviours that no source settles. */
  readonly assumptions: Assumptions;
  readonly #first: number;
  readonly #end: number;
  /** The raw entries of a 2 MiB region, by region number. */
  readonly #regions: Map<number, Uint32Array> = new Map();
  /**
   * Counts of changes, by region number: of the entry of each page, then of the region as one page, then of any entry.
   */
  readonly #versions: Map<number, Uint32Array> = new Map();
  /** The number of entries of each ASID. */
  readonly #asids: Uint32Array = new Uint32Array(ASID_COUNT);
  /** How many users each page in use has, by page number: two processors can run with one VMCB. */
  readonly #inUse: Map<number, number> = new Map();

  /**
   * A table with every page hypervisor-owned. O(1).
   *
   * @param covered - whole 2 MiB regions
   * @throws SnpError `INVALID_RMP_RANGE`; `INVALID_ARGUMENT` for an unknown assumption or choice
   */
  constructor(covered: MemoryRegion<SysPhysAddr>, { assumptions = {} }: RmpOptions = {}) {
    if (covered.isEmpty || covered.alignInward(PAGE_SIZE_2M)?.equals(covered) !== true) {
      throw new SnpError('INVALID_RMP_RANGE', { start: covered.start, end: covered.end });
    }
    this.covered = covered;
    this.assumptions = assumptionsOf(assumptions);
    this.#first = pageNumber(covered.start);
    this.#end = this.#first + covered.pageCount();
  }

  /** Whether the page of `spa` has an entry. O(1). */
  covers(spa: SysPhysAddr): boolean {
    SysPhys.assertIsAddress(spa);
    return this.#covers(pageNumber(spa));
  }

  /**
   * The entry that decides for the page of `spa`: the entry of its 2 MiB page if it is part of one, else its own entry;
   * `undefined` if the page is not covered. O(1).
   */
  entry(spa: SysPhysAddr): RmpEntry | undefined {
    const first = this.rawEntry((spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr);
    return first?.pageSize === PageSize.Huge ? first : this.rawEntry(spa);
  }

  /**
   * The page's own 16 bytes, decoded. Inside a 2 MiB page, all entries but the first only have `assigned` set.
   * `undefined` if the page is not covered. O(1).
   */
  rawEntry(spa: SysPhysAddr): RmpEntry | undefined {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    if (!this.#covers(page)) return undefined;
    const words = this.#regions.get(Math.floor(page / PAGES_PER_REGION));
    return words === undefined
      ? HYPERVISOR_ENTRY
      : decodeWords(words, RMP_ENTRY_WORDS * (page % PAGES_PER_REGION));
  }

  /**
   * Writes the words of the entry that {@link entry} decodes, by page number: for checks on every access. Returns whether
   * the page is covered; if not, all words are 0. O(1), without an allocation.
   */
  readWords(page: number, into: Uint32Array): boolean {
    into.fill(0);
    if (!this.#covers(page)) return false;
    const words = this.#regions.get(Math.floor(page / PAGES_PER_REGION));
    if (words === undefined) return true;
    const at = isHugeWord(words[0]!) ? 0 : RMP_ENTRY_WORDS * (page % PAGES_PER_REGION);
    for (let k = 0; k < RMP_ENTRY_WORDS; k += 1) into[k] = words[at + k]!;
    return true;
  }

  /** Whether a page, by its number, belongs to a guest or to the firmware. O(1), without an allocation. */
  isAssigned(page: number): boolean {
    const words = this.#covers(page) ? this.#regions.get(Math.floor(page / PAGES_PER_REGION)) : undefined;
    return words !== undefined && isAssignedWord(words[RMP_ENTRY_WORDS * (page % PAGES_PER_REGION)]!);
  }

  /** Whether no page of the 2 MiB region around `spa` is assigned, or the region is not covered. O(1). */
  isRegionUnassigned(spa: SysPhysAddr): boolean {
    const first = this.rawEntry((spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr);
    return first === undefined || (!first.assigned && !this.hasSubpages(spa));
  }

  /**
   * Whether a page of the 2 MiB region around `spa`, other than the first, is assigned as 4 KiB. O(1) if the sub-page
   * count is maintained, else O(512).
   */
  hasSubpages(spa: SysPhysAddr): boolean {
    const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
    const entry = this.rawEntry(first);
    if (entry === undefined || entry.pageSize === PageSize.Huge) return false;
    if (this.assumptions.subpageCount === 'maintained') return entry.subpageCount !== 0;
    return this.#hasWord(first, 1, isAssignedWord);
  }

  /** The masks of an entry after its validation: its own, or the defaults if validation is what resets them. */
  masksOnceValidated({ vmplMasks }: RmpEntry): VmplMasks {
    const { defaultMasks, resetMaskOfVmpl0 } = this.assumptions;
    const isFirst = defaultMasks === 'PVALIDATE' && vmplMasks[0] === 0;
    return isFirst ? [resetMaskOfVmpl0, 0, 0, 0] : vmplMasks;
  }

  /**
   * The number of entries with an ASID that is not 0: of 4 KiB and of 2 MiB pages. The firmware keeps these counts next
   * to the table (AMD-ASPFW `sev_rmp.c`, `check_rmp_for_asid`). O(1).
   */
  entriesOf(asid: number): number {
    return this.#asids[asid] ?? 0;
  }

  /** Whether a page of the 2 MiB region around `spa` is immutable by its own 16 bytes. O(512). */
  hasImmutable(spa: SysPhysAddr): boolean {
    return this.#hasWord(spa, 0, isImmutableWord);
  }

  /**
   * Whether `is` holds for the first word of an entry of the region around `spa`, from the entry with index `from` on.
   */
  #hasWord(spa: SysPhysAddr, from: number, is: (word: number) => boolean): boolean {
    const words = this.#regions.get(Math.floor(pageNumber(spa) / PAGES_PER_REGION));
    if (words === undefined) return false;
    for (let at = from * RMP_ENTRY_WORDS; at < words.length; at += RMP_ENTRY_WORDS)
      if (is(words[at]!)) return true;
    return false;
  }

  /**
   * Replaces the entries of the 2 MiB region that begins at `first`: the first one, and 511 equal ones. Like
   * {@link setRawEntry}, it checks nothing. O(512).
   *
   * @throws SnpError `OUTSIDE_RMP`
   */
  setRegion(first: SysPhysAddr, entry: RmpEntry, others: RmpEntry): void {
    const region = Math.floor(pageNumber(first) / PAGES_PER_REGION);
    const isNew = !this.#regions.has(region);
    this.setRawEntry((first + BigInt(PAGE_SIZE)) as SysPhysAddr, others);
    const words = this.#regions.get(region) as Uint32Array;
    if (!isNew || others.asid !== 0) this.#countAsids(words, others.asid);
    for (let from = 1; from < PAGES_PER_REGION; from *= 2) {
      // Doubles the entries that are there, from the second one on.
      words.copyWithin((from + 1) * RMP_ENTRY_WORDS, RMP_ENTRY_WORDS, (from + 1) * RMP_ENTRY_WORDS);
    }
    this.setRawEntry(first, entry);
  }

  /** Counts that all entries of a region but the first two get an ASID. */
  #countAsids(words: Uint32Array, asid: number): void {
    for (let at = 2 * RMP_ENTRY_WORDS; at < words.length; at += RMP_ENTRY_WORDS) {
      this.#asids[asidOfWord(words[at + 1]!)]! -= 1;
      this.#asids[asid]! += 1;
    }
  }

  /**
   * Replaces the page's own 16 bytes, and checks nothing: for instructions, for the firmware, and for tests that need a
   * state that no program reaches. O(1).
   *
   * @throws SnpError `OUTSIDE_RMP`
   */
  setRawEntry(spa: SysPhysAddr, entry: RmpEntry): void {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    if (!this.#covers(page)) throw new SnpError('OUTSIDE_RMP', { spa });
    const region = Math.floor(page / PAGES_PER_REGION);
    let words = this.#regions.get(region);
    if (words === undefined) {
      words = new Uint32Array(PAGES_PER_REGION * RMP_ENTRY_WORDS);
      this.#regions.set(region, words);
    }
    const index = page % PAGES_PER_REGION;
    const at = RMP_ENTRY_WORDS * index;
    const [low, high] = [words[at]!, words[at + 1]!];
    encodeWords(entry, words, at);
    this.#asids[asidOfWord(high)]! -= 1;
    this.#asids[asidOfWord(words[at + 1]!)]! += 1;
    if (words[at] !== low || words[at + 1] !== high) {
      this.#countChange(region, index, index === 0 && isHugeWord(low | words[at]!));
    }
  }

  /**
   * A version that changes with every change to the page's RMP entry or, for 2 MiB, to any entry of the region; except to
   * VMPL masks. A TLB compares versions to find stale verdicts. O(1).
   */
  version(spa: SysPhysAddr, pageSize: RmpPageSize): number {
    return this.versionOfPage(pageNumber(spa), pageSize === PageSize.Huge);
  }

  /** As {@link version}, by page number; with `huge`, of the 2 MiB region around the page. */
  versionOfPage(page: number, huge: boolean): number {
    const versions = this.#versions.get(Math.floor(page / PAGES_PER_REGION));
    if (versions === undefined) return 0;
    if (huge) return versions[ANY]!;
    // Both counts only grow, so the sum is equal only if both are.
    return versions[page % PAGES_PER_REGION]! + versions[WHOLE]!;
  }

  #countChange(region: number, index: number, isWhole: boolean): void {
    let versions = this.#versions.get(region);
    if (versions === undefined) {
      versions = new Uint32Array(PAGES_PER_REGION + 2);
      this.#versions.set(region, versions);
    }
    for (const at of [index, ANY]) versions[at]! += 1;
    if (isWhole) versions[WHOLE]! += 1;
  }

  /**
   * Marks the page of `spa` as in use by a processor, or not, as a VMSA, VMCB or AVIC backing page is while a guest runs.
   * RMPUPDATE and PSMASH of a page in use return FAIL_INUSE (AMD64 APM vol. 2, §15.36.12). The uses are counted: the page
   * is in use until each `true` has had its `false`. O(1).
   */
  setInUse(spa: SysPhysAddr, inUse: boolean): void {
    SysPhys.assertIsAddress(spa);
    const page = pageNumber(spa);
    const users = (this.#inUse.get(page) ?? 0) + (inUse ? 1 : -1);
    if (users > 0) this.#inUse.set(page, users);
    else this.#inUse.delete(page);
  }

  /** Whether a page of the `pageSize` bytes around `spa` is in use. O(pages in use). */
  isInUse(spa: SysPhysAddr, pageSize: RmpPageSize): boolean {
    const pages = pageSize / PAGE_SIZE;
    const unit = Math.floor(pageNumber(spa) / pages);
    for (const page of this.#inUse.keys()) if (Math.floor(page / pages) === unit) return true;
    return false;
  }

  #covers(page: number): boolean {
    return page >= this.#first && page < this.#end;
  }
}
