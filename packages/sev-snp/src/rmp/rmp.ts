import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { type Assumptions, assumptionsOf } from '../formats/assumptions.ts';
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

/** What a {@link Rmp} may be told. */
export interface RmpOptions {
  /** Behaviour that no source settles; what is not given is as in `DEFAULT_ASSUMPTIONS`. */
  readonly assumptions?: Partial<Assumptions>;
}

const PAGES_PER_REGION = PAGE_SIZE_2M / PAGE_SIZE;
/** Where the counts of a whole region lie, after those of its pages. */
const WHOLE = PAGES_PER_REGION;
const ANY = PAGES_PER_REGION + 1;

/** What every entry is after the firmware has initialized the table: hypervisor-owned (AMD64 APM vol. 2, §15.36.4). */
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
 * The reverse map table: one 16-byte entry for each 4 KiB page of system memory, which names the page's owner and the
 * one guest-physical address at which it may appear (AMD64 APM vol. 2, §15.36.3).
 *
 * Sparse: 10 KiB for each 2 MiB region that was ever changed. Entries are kept bit for bit as Zen 3 and Zen 4 have them.
 * Software cannot write the table, only the instructions and the firmware can: `rmpupdate`, `psmash`, `pvalidate`, ….
 */
export class Rmp {
  /** What it has entries for. All other memory is the hypervisor's for ever. */
  readonly covered: MemoryRegion<SysPhysAddr>;
  /** Behaviour that no source settles. */
  readonly assumptions: Assumptions;
  readonly #first: number;
  readonly #end: number;
  /** The raw entries of a 2 MiB region, by region number. */
  readonly #regions: Map<number, Uint32Array> = new Map();
  /** By region number: how often each page's entry has changed, then how often the region's as one page, and how often any. */
  readonly #versions: Map<number, Uint32Array> = new Map();
  /** Page numbers. */
  readonly #inUse: Set<number> = new Set();

  /**
   * A table with every page hypervisor-owned. O(1).
   *
   * @param covered - whole 2 MiB regions
   * @throws SnpError `INVALID_RMP_RANGE`, `INVALID_ARGUMENT` for an assumption that cannot be
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
   * The entry that decides for the page of `spa`: that of its 2 MiB page if it is part of one, else its own;
   * `undefined` if it is not covered. O(1).
   */
  entry(spa: SysPhysAddr): RmpEntry | undefined {
    const first = this.rawEntry((spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr);
    return first?.pageSize === PageSize.Huge ? first : this.rawEntry(spa);
  }

  /**
   * The sixteen bytes of the page of `spa` itself, taken apart: inside a 2 MiB page all but the first are only
   * `assigned`. `undefined` if it is not covered. O(1).
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
   * The words of what {@link entry} takes apart, by page number: for checks that are made on every access. Returns whether
   * it is covered; if not, all are 0. O(1), without allocating.
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

  /** Whether no page of the 2 MiB region around `spa` is assigned, or the region is not covered. O(1). */
  isRegionUnassigned(spa: SysPhysAddr): boolean {
    const first = this.rawEntry((spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr);
    return first === undefined || (!first.assigned && !this.hasSubpages(spa));
  }

  /**
   * Whether, of the 2 MiB region around `spa`, a page beside the first is assigned as 4 KiB: the sub-page count says it,
   * where it is maintained. O(1), else O(512), in words.
   */
  hasSubpages(spa: SysPhysAddr): boolean {
    const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
    const entry = this.rawEntry(first);
    if (entry === undefined || entry.pageSize === PageSize.Huge) return false;
    if (this.assumptions.subpageCount === 'maintained') return entry.subpageCount !== 0;
    return this.#someWord(first, 1, isAssignedWord);
  }

  /** The masks of an entry that becomes validated: its own, unless that is when they get their defaults. */
  masksOnceValidated({ vmplMasks }: RmpEntry): VmplMasks {
    const { defaultMasks, resetMaskOfVmpl0 } = this.assumptions;
    const isFirst = defaultMasks === 'PVALIDATE' && vmplMasks[0] === 0;
    return isFirst ? [resetMaskOfVmpl0, 0, 0, 0] : vmplMasks;
  }

  /** Whether a page of the 2 MiB region around `spa` is immutable by its own sixteen bytes. O(512), in words. */
  hasImmutable(spa: SysPhysAddr): boolean {
    return this.#someWord(spa, 0, isImmutableWord);
  }

  /** Whether the first word of an entry of the region around `spa`, from that with index `from` on, is so. */
  #someWord(spa: SysPhysAddr, from: number, is: (word: number) => boolean): boolean {
    const words = this.#regions.get(Math.floor(pageNumber(spa) / PAGES_PER_REGION));
    if (words === undefined) return false;
    for (let at = from * RMP_ENTRY_WORDS; at < words.length; at += RMP_ENTRY_WORDS)
      if (is(words[at]!)) return true;
    return false;
  }

  /**
   * Replaces the entries of the 2 MiB region that begins at `first`: one, and 511 that are alike. As {@link setRawEntry}, it
   * checks nothing. O(512), in words.
   *
   * @throws SnpError `OUTSIDE_RMP`
   */
  setRegion(first: SysPhysAddr, entry: RmpEntry, others: RmpEntry): void {
    this.setRawEntry((first + BigInt(PAGE_SIZE)) as SysPhysAddr, others);
    const words = this.#regions.get(Math.floor(pageNumber(first) / PAGES_PER_REGION)) as Uint32Array;
    for (let from = 1; from < PAGES_PER_REGION; from *= 2) {
      // Doubling what is there, from the second entry on.
      words.copyWithin((from + 1) * RMP_ENTRY_WORDS, RMP_ENTRY_WORDS, (from + 1) * RMP_ENTRY_WORDS);
    }
    this.setRawEntry(first, entry);
  }

  /**
   * Replaces the sixteen bytes of the page of `spa`, and checks nothing: for instructions, for the firmware, and for
   * a test that needs a state no program reaches. O(1).
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
    if (words[at] !== low || words[at + 1] !== high) {
      this.#count(region, index, index === 0 && isHugeWord(low | words[at]!));
    }
  }

  /**
   * A number that is another one after each change of the entry of the page of `spa`, or of 2 MiB around it, but for changes
   * of masks alone: what tells a TLB that something it has cached is no longer so. O(1).
   */
  version(spa: SysPhysAddr, pageSize: RmpPageSize): number {
    return this.versionOfPage(pageNumber(spa), pageSize === PageSize.Huge);
  }

  /** As {@link version}, by page number; with `huge`, of 2 MiB around it. */
  versionOfPage(page: number, huge: boolean): number {
    const versions = this.#versions.get(Math.floor(page / PAGES_PER_REGION));
    if (versions === undefined) return 0;
    if (huge) return versions[ANY]!;
    // Both only grow, so their sum is the same only if both are.
    return versions[page % PAGES_PER_REGION]! + versions[WHOLE]!;
  }

  #count(region: number, index: number, isWhole: boolean): void {
    let versions = this.#versions.get(region);
    if (versions === undefined) {
      versions = new Uint32Array(PAGES_PER_REGION + 2);
      this.#versions.set(region, versions);
    }
    for (const at of [index, ANY]) versions[at]! += 1;
    if (isWhole) versions[WHOLE]! += 1;
  }

  /**
   * Marks the page of `spa` as in use by a processor, or not: as a VMSA, VMCB or AVIC backing page is while a guest runs.
   * RMPUPDATE and PSMASH of it are FAIL_INUSE meanwhile (AMD64 APM vol. 2, §15.36.12). O(1).
   */
  setInUse(spa: SysPhysAddr, inUse: boolean): void {
    SysPhys.assertIsAddress(spa);
    if (inUse) this.#inUse.add(pageNumber(spa));
    else this.#inUse.delete(pageNumber(spa));
  }

  /** Whether some page of the `pageSize` bytes around `spa` is in use. O(pages in use). */
  isInUse(spa: SysPhysAddr, pageSize: RmpPageSize): boolean {
    const pages = pageSize / PAGE_SIZE;
    const unit = Math.floor(pageNumber(spa) / pages);
    for (const page of this.#inUse) if (Math.floor(page / pages) === unit) return true;
    return false;
  }

  #covers(page: number): boolean {
    return page >= this.#first && page < this.#end;
  }
}
