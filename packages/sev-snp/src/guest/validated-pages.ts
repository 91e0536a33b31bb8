import { PAGE_SIZE, Phys, type PhysAddr, showInConsoles } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import { requireIterable, requireRmpPageSize } from '../formats/arguments.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import { type GuestMemoryInput, GuestRegions } from '../memory/guest-regions.ts';

/**
 * A guest's own record of the pages that it has validated. Only the record stops a hypervisor that puts a second page
 * at an address and makes the guest validate it too: hardware reports a change both times, and then both pages are
 * legal there (AMD64 APM vol. 2, §15.36.6). Consult it before each PVALIDATE, and update it after each PVALIDATE that
 * has reported a change.
 *
 * Sparse: memory is O(runs of validated pages). Each method is O(log runs), for pages and regions of any size.
 *
 * @example
 * ```ts
 * import { PAGE_SIZE, physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { isSnpError, pageRegion, ValidatedPages } from '@svsm/sev-snp';
 *
 * const validated = new ValidatedPages(physRegion(physAddr(0), 0x20_0000));
 * const page = pageRegion(physAddr(0x5000), PAGE_SIZE);
 * validated.requireNone(page); // before PVALIDATE
 * validated.add(page); // after it has reported a change
 * try {
 *   validated.requireNone(page);
 * } catch (error) {
 *   console.log(isSnpError(error, 'ALREADY_VALIDATED')); // => true
 * }
 * ```
 */
export class ValidatedPages {
  static {
    showInConsoles(this, 'ValidatedPages', (pages) => ({ size: pages.size, regions: [...pages] }));
  }

  /** The memory of the guest. Pages outside of it are refused. */
  readonly memory: GuestRegions;
  readonly #pages: RegionSet<PhysAddr>;

  /**
   * @param memory - whole 4 KiB pages: one region, or several
   * @param validated - the pages that are validated from the start, by the launch: none if not given
   * @throws SnpError `INVALID_ARGUMENT` if a region is empty, lies outside, or is not made of 4 KiB pages
   */
  constructor(memory: GuestMemoryInput, validated: Iterable<MemoryRegion<PhysAddr>> = []) {
    this.memory = new GuestRegions(memory);
    requireIterable('the validated pages', validated);
    const regions = Array.from(validated, (region) => this.#require(region));
    this.#pages = new RegionSet(Phys, regions);
  }

  /** The number of validated bytes. O(runs). */
  get size(): bigint {
    return this.#pages.size;
  }

  /** Whether the page of `gpa` is validated. `false` outside of {@link memory}. */
  has(gpa: PhysAddr): boolean {
    return this.#pages.contains(gpa);
  }

  /** The first page of a region that is validated, or `undefined`. */
  firstIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined {
    if (!this.#pages.overlaps(region)) return undefined;
    for (const run of this.#pages.overlapping(region))
      return run.start > region.start ? run.start : region.start;
    return undefined;
  }

  /** The first page of a region that is not validated, or `undefined`. */
  firstMissingIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined {
    if (this.#pages.containsRegion(region)) return undefined;
    for (const gap of this.#pages.gaps(region)) return gap.start;
    return undefined;
  }

  /**
   * Checks before pages are validated: they lie in {@link memory}, and none of them is validated.
   *
   * @throws SnpError `INVALID_ARGUMENT`, `ALREADY_VALIDATED`
   */
  requireNone(region: MemoryRegion<PhysAddr>): void {
    this.#require(region);
    const gpa = this.firstIn(region);
    if (gpa !== undefined) throw new SnpError('ALREADY_VALIDATED', { gpa });
  }

  /**
   * Checks before a validation is rescinded: every page of the region is validated.
   *
   * @throws SnpError `INVALID_ARGUMENT`, `NOT_VALIDATED`
   */
  requireAll(region: MemoryRegion<PhysAddr>): void {
    this.#require(region);
    const gpa = this.firstMissingIn(region);
    if (gpa !== undefined) throw new SnpError('NOT_VALIDATED', { gpa });
  }

  /** Records pages as validated. @throws SnpError `INVALID_ARGUMENT`, `ALREADY_VALIDATED`; nothing is recorded then */
  add(region: MemoryRegion<PhysAddr>): void {
    this.requireNone(region);
    this.#pages.add(region);
  }

  /** Records pages as not validated. @throws SnpError `INVALID_ARGUMENT`, `NOT_VALIDATED`; nothing has changed then */
  remove(region: MemoryRegion<PhysAddr>): void {
    this.requireAll(region);
    this.#pages.remove(region);
  }

  /** The runs of validated pages, ascending. */
  [Symbol.iterator](): Generator<MemoryRegion<PhysAddr>, undefined, undefined> {
    return this.#pages[Symbol.iterator]();
  }

  #require(value: MemoryRegion<PhysAddr>): MemoryRegion<PhysAddr> {
    const region = MemoryRegion.from(Phys, value);
    const isWhole = region.start % BigInt(PAGE_SIZE) === 0n && region.size % BigInt(PAGE_SIZE) === 0n;
    if (isWhole && !region.isEmpty && this.memory.containsRegion(region)) return region;
    throw new SnpError('INVALID_ARGUMENT', {
      what: 'the pages of a record',
      value: region.toString(),
      expected: `pass whole pages within ${this.memory.toString()}`,
    });
  }
}

/** The region of one page. O(1). @throws SnpError `INVALID_ARGUMENT` for another page size; AddressError, RegionError */
export function pageRegion(gpa: PhysAddr, pageSize: RmpPageSize): MemoryRegion<PhysAddr> {
  requireRmpPageSize(pageSize);
  return new MemoryRegion(Phys, gpa, pageSize);
}
