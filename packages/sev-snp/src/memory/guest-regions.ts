import { PAGE_SIZE, PageSize, Phys, type PhysAddr, showInConsoles } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import { isInstance, refuseArgument, requireOneOf } from '../formats/arguments.ts';
import { SnpError } from '../formats/snp-error.ts';

/** Guest-physical memory: one region, or several. Their order does not matter. */
export type GuestMemoryInput = MemoryRegion<PhysAddr> | Iterable<MemoryRegion<PhysAddr>>;

/**
 * The guest-physical memory of a guest: a set of regions of whole 4 KiB pages, with holes between them. It has the queries
 * of a `RegionSet` and never changes. Iterating yields the regions in address order; regions that touch are one.
 *
 * @example
 * ```ts
 * import { PageSize, physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { GuestRegions } from '@svsm/sev-snp';
 *
 * const low = physRegion(physAddr(0), 0x20_0000);
 * const high = physRegion(physAddr(0x1_0000_0000), 0x40_0000);
 * const memory = new GuestRegions([low, high]);
 * console.log(memory.regionCount, memory.contains(physAddr(0x20_0000))); // => 2 false
 * console.log([...memory.iterPages(PageSize.Huge)].length); // => 3
 * ```
 */
export class GuestRegions implements Iterable<MemoryRegion<PhysAddr>> {
  static {
    showInConsoles(this, 'GuestRegions', (memory) => ({ size: memory.size, regions: [...memory] }));
  }

  readonly #regions: RegionSet<PhysAddr>;

  /**
   * O(n log n) for n regions.
   *
   * @throws SnpError `INVALID_ARGUMENT` unless there is a region, and each has whole 4 KiB pages and is not empty
   */
  constructor(memory: GuestMemoryInput) {
    this.#regions = new RegionSet(Phys, regionsOf(memory));
    if (this.#regions.isEmpty) refuse(memory, 'pass at least one region');
  }

  /** The number of regions. */
  get regionCount(): number {
    return this.#regions.regionCount;
  }

  /** The number of bytes in all regions. O(n). */
  get size(): bigint {
    return this.#regions.size;
  }

  /** The end of the last region, exclusive. O(n). */
  get end(): bigint {
    let end = 0n;
    for (const region of this) end = region.end;
    return end;
  }

  /** Whether `gpa` lies in a region. O(log n). @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE` */
  contains(gpa: PhysAddr): boolean {
    return this.#regions.contains(gpa);
  }

  /** Whether all of `region` is memory. O(log n). @throws RegionError `KIND_MISMATCH` */
  containsRegion(region: MemoryRegion<PhysAddr>): boolean {
    return this.#regions.containsRegion(region);
  }

  /**
   * Whether the page of a size at `gpa` is memory: `false` for an address that does not exist. O(log n).
   *
   * @throws SnpError `INVALID_ARGUMENT` if `gpa` is not a bigint, or the size does not exist
   */
  containsPage(gpa: PhysAddr, size: PageSize): boolean {
    if (typeof gpa !== 'bigint') refuseArgument('the address of a page', gpa, 'pass a bigint');
    requireOneOf('the page size', size, PAGE_SIZES);
    const page = Phys.isAddress(gpa) ? MemoryRegion.tryNew(Phys, gpa, size) : undefined;
    return page !== undefined && this.#regions.containsRegion(page);
  }

  /** Whether a part of `region` is memory. O(log n). @throws RegionError `KIND_MISMATCH` */
  overlaps(region: MemoryRegion<PhysAddr>): boolean {
    return this.#regions.overlaps(region);
  }

  /** The region that holds `gpa`, or `undefined`. O(log n). @throws AddressError as {@link contains} */
  regionAt(gpa: PhysAddr): MemoryRegion<PhysAddr> | undefined {
    return this.#regions.regionAt(gpa);
  }

  /** The holes in `within`, ascending. O(log n), and O(1) for each. @throws RegionError `KIND_MISMATCH` */
  gaps(within: MemoryRegion<PhysAddr>): Generator<MemoryRegion<PhysAddr>, undefined, undefined> {
    return this.#regions.gaps(within);
  }

  /**
   * The addresses of all pages of a size, ascending.
   *
   * @throws RegionError `INVALID_PAGE_SIZE`; `MISALIGNED_REGION` at a region that is not made of whole pages of the size
   */
  *iterPages(size: PageSize): Generator<PhysAddr, undefined, undefined> {
    for (const region of this) yield* region.iterPages(size);
  }

  /** The regions, ascending. */
  [Symbol.iterator](): Generator<MemoryRegion<PhysAddr>, undefined, undefined> {
    return this.#regions[Symbol.iterator]();
  }

  /** The regions as `{[0x…-0x…), …}`. */
  toString(): string {
    return this.#regions.toString();
  }
}

const PAGE_SIZES: readonly PageSize[] = /* @__PURE__ */ Object.values(PageSize);

/** The regions, each of which is read once. @throws SnpError `INVALID_ARGUMENT` */
function regionsOf(memory: GuestMemoryInput): MemoryRegion<PhysAddr>[] {
  let regions: MemoryRegion<PhysAddr>[];
  try {
    const list = Symbol.iterator in memory ? memory : [memory];
    regions = Array.from(list, (region) => MemoryRegion.from(Phys, region));
  } catch (cause) {
    return refuse(memory, 'pass a region of guest-physical addresses, or several', cause);
  }
  for (const region of regions) {
    const isWhole = region.start % BigInt(PAGE_SIZE) === 0n && region.size % BigInt(PAGE_SIZE) === 0n;
    if (!isWhole || region.isEmpty) refuse(region, 'pass whole pages of 4096 bytes');
  }
  return regions;
}

function refuse(value: unknown, expected: string, cause?: unknown): never {
  const shown = isInstance(value, MemoryRegion) ? value.toString() : value;
  const details = { what: 'guest memory', value: shown, expected };
  throw new SnpError('INVALID_ARGUMENT', details, cause === undefined ? undefined : { cause });
}
