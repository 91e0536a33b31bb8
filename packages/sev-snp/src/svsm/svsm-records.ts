import { PAGE_SIZE, PageSize, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import { refuseArgument } from '../formats/arguments.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import { pageRegion, ValidatedPages } from '../guest/validated-pages.ts';
import { GuestRegions } from '../memory/guest-regions.ts';
import { PageClaims } from './page-claims.ts';
import { pageSizeOf } from './page-reach.ts';
import { LEVELS } from './page-rights.ts';
import { ProcessorTable } from './processors.ts';
import type { SvsmMemoryMap } from './svsm-options.ts';
import { SvsmRefusal } from './svsm-refusal.ts';

const OFFSET = BigInt(PAGE_SIZE - 1);

/** The use of pages by a call: it changes their state, or accesses their content. */
export type PageUse = 'change' | 'access';

/** A deposited page of 4 KiB, and the level that has deposited it. */
interface Deposit {
  readonly gpa: PhysAddr;
  readonly vmpl: number;
}

/**
 * The records of an SVSM, which all its processors share: the owners of pages, the record of validated pages, the pages that
 * calls in progress use, the processors that may call, and the deposited pages.
 */
export class SvsmRecords {
  readonly validated: ValidatedPages;
  readonly processors: ProcessorTable = new ProcessorTable();
  readonly claims: PageClaims = new PageClaims();
  readonly #memory: GuestRegions;
  readonly #own: RegionSet<PhysAddr>;
  /** By level: the rescinded and deposited pages on which it had not all rights. It does not get them with the page. */
  readonly #withheld: ReadonlyMap<Vmpl, RegionSet<PhysAddr>>;
  #deposits: readonly Deposit[] = [];

  constructor({ memory, own, validated }: SvsmMemoryMap) {
    this.#memory = new GuestRegions(memory);
    this.#own = new RegionSet(Phys, own);
    for (const region of this.#own) {
      const isWhole = region.start % BigInt(PAGE_SIZE) === 0n && region.end % BigInt(PAGE_SIZE) === 0n;
      if (isWhole && this.#memory.containsRegion(region)) continue;
      refuseArgument('own', region.toString(), 'pass whole pages of the memory');
    }
    this.validated = new ValidatedPages(this.#memory, validated ?? this.#memory);
    this.#withheld = new Map(LEVELS.map((level) => [level, new RegionSet(Phys)]));
  }

  /**
   * Claims pages of the guest for a call. A call does it before anything can exit, so that a call of another processor in
   * between finds the pages in use. Returns the function that ends the claim.
   *
   * @throws SvsmRefusal InvalidAddress unless all bytes belong to the guest, or if a calling area is to be changed; Busy if
   *   another call uses a page
   */
  claim(call: object, gpa: bigint, bytes: number, use: PageUse): () => void {
    const asked = this.requireGuest(gpa, bytes);
    const isPage = bytes >= PAGE_SIZE && (gpa & OFFSET) === 0n;
    const region = isPage ? asked : pageRegion((gpa & -BigInt(PAGE_SIZE)) as PhysAddr, pageSizeOf(bytes));
    if (use === 'change' && this.processors.hasCallingAreaIn(region)) {
      throw new SvsmRefusal(SvsmResult.InvalidAddress);
    }
    const end = this.claims.tryClaim(call, region);
    if (end === undefined) throw new SvsmRefusal(SvsmResult.Busy);
    return end;
  }

  /** @throws SvsmRefusal InvalidAddress unless all bytes belong to the guest */
  requireGuest(gpa: bigint, bytes: number): MemoryRegion<PhysAddr> {
    const region = Phys.isAddress(gpa) ? MemoryRegion.tryNew(Phys, gpa, bytes) : undefined;
    if (region === undefined || !this.#memory.containsRegion(region) || this.#own.overlaps(region))
      throw new SvsmRefusal(SvsmResult.InvalidAddress);
    return region;
  }

  /** Whether a 4 KiB page is the SVSM's own. */
  owns(gpa: PhysAddr): boolean {
    return this.#own.contains(gpa);
  }

  /** Makes pages the SVSM's own: VMSAs, and deposited pages. */
  take(gpa: PhysAddr, size: RmpPageSize): void {
    this.#own.add(pageRegion(gpa, size));
  }

  /** Makes pages the guest's again. */
  release(gpa: PhysAddr, size: RmpPageSize): void {
    this.#own.remove(pageRegion(gpa, size));
  }

  /** Notes that levels had not all rights on pages that leave the guest. */
  withhold(region: MemoryRegion<PhysAddr>, levels: readonly Vmpl[]): void {
    for (const level of levels) this.#withheld.get(level)?.add(region);
  }

  /** Forgets what {@link withhold} has noted, once the pages are the guest's again: their masks say it. */
  allowAll(region: MemoryRegion<PhysAddr>): void {
    for (const pages of this.#withheld.values()) if (!pages.isEmpty) pages.remove(region);
  }

  /** The levels that get rights on a page that `vmpl` gets: those from VMPL1 to it, but for those that had not all before. */
  levelsFor(region: MemoryRegion<PhysAddr>, vmpl: number): readonly Vmpl[] {
    return LEVELS.filter((level) => level <= vmpl && !this.#isWithheld(region, level));
  }

  /** @throws SvsmRefusal InvalidAddress if a level had not all rights on a page before its validation was rescinded */
  requireValidatable(region: MemoryRegion<PhysAddr>, vmpl: number): void {
    if (vmpl !== 0 && this.#isWithheld(region, vmpl as Vmpl))
      throw new SvsmRefusal(SvsmResult.InvalidAddress);
  }

  #isWithheld(region: MemoryRegion<PhysAddr>, level: Vmpl): boolean {
    const pages = this.#withheld.get(level);
    return pages !== undefined && !pages.isEmpty && pages.overlaps(region);
  }

  /** Makes a page a deposit of a level. `withheld`: the levels that had not all rights on it. */
  addDeposit(gpa: PhysAddr, size: RmpPageSize, vmpl: number, withheld: readonly Vmpl[]): void {
    this.take(gpa, size);
    this.withhold(pageRegion(gpa, size), withheld);
    const pages = [...pageRegion(gpa, size).iterPages(PageSize.Regular)];
    this.#deposits = [...this.#deposits, ...pages.map((page) => ({ gpa: page, vmpl }))];
  }

  /** Whether a page is a deposit, which a call can withdraw. O(deposits). */
  isDeposited(gpa: PhysAddr): boolean {
    return this.#deposits.some((deposit) => deposit.gpa === gpa);
  }

  /** The first deposits that a level may withdraw: its own, and those of less privileged levels on which it had rights. */
  depositsFor(vmpl: number, max: number): readonly PhysAddr[] {
    return this.#deposits
      .filter(
        (deposit) => deposit.vmpl >= vmpl && this.#withheld.get(vmpl as Vmpl)?.contains(deposit.gpa) !== true,
      )
      .slice(0, max)
      .map(({ gpa }) => gpa);
  }

  /** Makes deposited pages the guest's again. */
  removeDeposits(pages: readonly PhysAddr[]): void {
    const removed = new Set(pages);
    this.#deposits = this.#deposits.filter(({ gpa }) => !removed.has(gpa));
    for (const page of pages) {
      this.release(page, PageSize.Regular);
      this.allowAll(pageRegion(page, PageSize.Regular));
    }
  }
}
