import { PAGE_SIZE, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';

/**
 * A guest's own record of the pages that it has validated. Nothing else stops a hypervisor that gives a second page
 * for an address and has that validated too, so that both are legal there: hardware reports a change both times
 * (AMD64 APM vol. 2, §15.36.6). Ask it before each PVALIDATE, and tell it after each that has reported a change.
 *
 * Sparse: it costs O(runs of validated pages). Each method is O(log runs), whatever the size of the page or region.
 */
export class ValidatedPages {
  /** The guest's memory: no page outside it is recorded. */
  readonly memory: MemoryRegion<PhysAddr>;
  readonly #pages: RegionSet<PhysAddr>;

  /**
   * @param memory - whole 4 KiB pages
   * @param validated - the pages that are so from the start, by launch: none if not given
   * @throws SnpError `INVALID_ARGUMENT` if they are not inside, or not made of 4 KiB pages
   */
  constructor(memory: MemoryRegion<PhysAddr>, validated: Iterable<MemoryRegion<PhysAddr>> = []) {
    this.memory = memory;
    const regions = [...validated];
    for (const region of [memory, ...regions]) this.#require(region);
    this.#pages = new RegionSet(Phys, regions);
  }

  /** Bytes that are validated. O(runs). */
  get size(): bigint {
    return this.#pages.size;
  }

  /** Whether the page of `gpa` is validated; never so outside of {@link memory}. */
  has(gpa: PhysAddr): boolean {
    return this.#pages.contains(gpa);
  }

  /** The first page of a region that is validated, or `undefined`. */
  firstIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined {
    for (const run of this.#pages.overlapping(region))
      return run.start > region.start ? run.start : region.start;
    return undefined;
  }

  /** The first page of a region that is not validated, or `undefined`. */
  firstMissingIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined {
    for (const gap of this.#pages.gaps(region)) return gap.start;
    return undefined;
  }

  /**
   * What must hold before a page, or a region, is validated: it lies in memory, and no page of it is validated.
   *
   * @throws SnpError `INVALID_ARGUMENT`, `ALREADY_VALIDATED`
   */
  requireNone(region: MemoryRegion<PhysAddr>): void {
    this.#require(region);
    const gpa = this.firstIn(region);
    if (gpa !== undefined) throw new SnpError('ALREADY_VALIDATED', { gpa });
  }

  /**
   * What must hold before validation is taken back: every page of the region is validated.
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

  #require(region: MemoryRegion<PhysAddr>): void {
    const isWhole = region.start % BigInt(PAGE_SIZE) === 0n && region.size % BigInt(PAGE_SIZE) === 0n;
    if (isWhole && !region.isEmpty && this.memory.containsRegion(region)) return;
    throw new SnpError('INVALID_ARGUMENT', {
      what: 'the pages of a record',
      value: region.toString(),
      expected: `pass whole pages within ${this.memory.toString()}`,
    });
  }
}

/** The region of one page. O(1). */
export function pageRegion(gpa: PhysAddr, pageSize: RmpPageSize): MemoryRegion<PhysAddr> {
  return new MemoryRegion(Phys, gpa, pageSize);
}
