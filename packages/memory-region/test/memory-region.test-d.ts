/** Compiled, never run: what the compiler must accept, and what it must refuse. */
import {
  type Address,
  type AddressKind,
  defineAddressKind,
  PageSize,
  Phys,
  type PhysAddr,
  Virt,
  Virt57,
  type VirtAddr,
} from '@svsm/address';
import {
  isRegionError,
  MemoryRegion,
  type PageCursor,
  type PageIterator,
  type PhysPage,
  pageAddress,
  physRegion,
  RegionError,
  type RegionErrorCode,
  RegionSet,
  subtractRanges,
  type VirtPage,
  virtRegion,
} from '../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

declare const virt: VirtAddr;
declare const phys: PhysAddr;
declare function takesVirt(region: MemoryRegion<VirtAddr>): void;
declare function takesPhys(region: MemoryRegion<PhysAddr>): void;
declare function takesAny(region: MemoryRegion<Address>): void;

const virtual = virtRegion(virt, 4096);
const physical = physRegion(phys, 4096n);

// Regions of two kinds cannot be mixed.
takesVirt(virtual);
takesPhys(physical);
takesAny(virtual);
takesAny(physical);
// @ts-expect-error a physical region is not a virtual one
takesVirt(physical);
// @ts-expect-error a virtual region is not a physical one
takesPhys(virtual);
// @ts-expect-error regions of two kinds do not overlap
virtual.overlaps(physical);
// @ts-expect-error regions of two kinds do not merge
physical.merge(virtual);
// @ts-expect-error a virtual region contains no physical address
virtual.contains(phys);
// @ts-expect-error only containsInclusive takes an unchecked bigint
virtual.contains(0x1000n);
virtual.containsInclusive(0x1000n);

// Start and kind go together; the size may be a number or a bigint.
new MemoryRegion(Virt, virt, 4096);
new MemoryRegion(Virt57, virt, 4096n);
new MemoryRegion(Phys, phys, 0);
// @ts-expect-error a physical address cannot start a virtual region
new MemoryRegion(Virt, phys, 4096);
// @ts-expect-error an unchecked bigint cannot start a region
new MemoryRegion(Virt, 0x1000n, 4096);
// @ts-expect-error a number cannot start a region
virtRegion(0x1000, 4096);
// @ts-expect-error a physical address cannot start a virtual region
virtRegion(phys, 4096);
MemoryRegion.fromAddresses(Virt, virt, 2n ** 64n);
// @ts-expect-error an end is a bigint
MemoryRegion.fromAddresses(Virt, virt, 0x2000);
check<Equal<typeof trusted, MemoryRegion<VirtAddr>>>();
const trusted = MemoryRegion.unchecked(Virt, virt, 4096n);
// @ts-expect-error the kind of the address is checked all the same
MemoryRegion.unchecked(Phys, virt, 4096n);
// @ts-expect-error an unchecked size must be a bigint
MemoryRegion.unchecked(Virt, virt, 4096);
// @ts-expect-error the constructor always checks
new MemoryRegion(Virt, virt, 4096n, Symbol());
check<Equal<typeof tried, MemoryRegion<VirtAddr> | undefined>>();
const tried = MemoryRegion.tryNew(Virt, 'anything' as unknown, {} as unknown);

// The types of properties and results.
check<Equal<typeof virtual.start, VirtAddr>>();
check<Equal<typeof virtual.end, bigint>>();
check<Equal<typeof virtual.size, bigint>>();
check<Equal<typeof virtual.last, VirtAddr | undefined>>();
check<Equal<typeof virtual.kind, AddressKind<VirtAddr>>>();
check<Equal<ReturnType<typeof virtual.intersect>, MemoryRegion<VirtAddr> | undefined>>();
check<Equal<ReturnType<typeof virtual.subtract>, MemoryRegion<VirtAddr>[]>>();
check<Equal<ReturnType<typeof virtual.pageCount>, number>>();
// @ts-expect-error a region is immutable
virtual.start = virt;
// @ts-expect-error a region is immutable
virtual.end = 0n;
// @ts-expect-error the end need not be an address
virtual.contains(virtual.end);

// Pages are addresses of the region's kind.
check<Equal<ReturnType<typeof virtual.iterPages>, PageIterator<VirtAddr>>>();
for (const page of virtual.iterPages(PageSize.Regular)) check<Equal<typeof page, VirtAddr>>();
for (const page of physical.iterPages(PageSize.Giant)) page satisfies PhysAddr;
for (const page of virtual.largestPages()) check<Equal<typeof page, MemoryRegion<VirtAddr>>>();
for (const { start, pageSize, count } of virtual.pageRuns({ offset: -4096, maxPageSize: PageSize.Huge })) {
  check<Equal<typeof start, VirtAddr>>();
  check<Equal<typeof pageSize, PageSize>>();
  check<Equal<typeof count, number>>();
}
virtual.largestPages({ offset: phys - virt });
// @ts-expect-error 8 KiB is not a page size
virtual.pageRuns({ maxPageSize: 8192 });
// @ts-expect-error there is no such option
virtual.pageRuns({ ofset: 4096 });
check<
  Equal<ReturnType<typeof subtractRanges<VirtAddr>>, Generator<MemoryRegion<VirtAddr>, undefined, undefined>>
>();
subtractRanges([virtual], new RegionSet(Virt, [virtual]));
// @ts-expect-error lists of two kinds cannot be combined
subtractRanges([virtual], [physical]);
const pages: VirtAddr[] = [...virtual.iterPages(4096)];
pages satisfies VirtAddr[];
virtual.iterPages(PageSize.Regular) satisfies Iterator<VirtAddr> & Iterable<VirtAddr>;
// @ts-expect-error 8 KiB is not a page size
virtual.iterPages(8192);
// @ts-expect-error a page size is a number
virtual.iterPages(4096n);
// @ts-expect-error iterPages needs a page size
virtual.iterPages();
virtual.pageCount();

// A third kind, as another package would define it, has its own regions.
type SysPhysAddr = Address<'sys-phys'>;
declare const spa: SysPhysAddr;
const SysPhys: AddressKind<SysPhysAddr> = defineAddressKind({
  name: 'system-physical',
  bits: 52,
  signExtended: false,
});
const system = new MemoryRegion(SysPhys, spa, 4096);
check<Equal<typeof system, MemoryRegion<SysPhysAddr>>>();
// @ts-expect-error a system-physical region is not a guest-physical one
takesPhys(system);

// Errors narrow by code.
declare const error: unknown;
if (isRegionError(error, 'NOT_CONTIGUOUS')) {
  check<Equal<typeof error.code, 'NOT_CONTIGUOUS'>>();
  error.details.left.start satisfies bigint;
  // @ts-expect-error the details of NOT_CONTIGUOUS have no limit
  error.details.limit;
}
if (isRegionError(error)) {
  check<Equal<typeof error.code, RegionErrorCode>>();
  // @ts-expect-error not every error has a limit
  error.details.limit;
  if (error.code === 'REGION_OVERFLOW') error.details.limit satisfies bigint;
}
// @ts-expect-error NOT_A_CODE is not one of the codes
isRegionError(error, 'NOT_A_CODE');
// @ts-expect-error every code has its own details
new RegionError('KIND_MISMATCH', { value: 5 });

// A cursor is a page, and not an address: it cannot be kept as one.
{
  const page: VirtPage = virtual.cursor(PageSize.Regular);
  const frame: PhysPage = physical.cursor(PageSize.Regular);
  pageAddress(frame) satisfies PhysAddr;
  const kept: VirtAddr = pageAddress(page);
  check<Equal<typeof kept, VirtAddr>>();
  for (const one of virtual.cursor(PageSize.Regular)) {
    check<Equal<typeof one, PageCursor<VirtAddr>>>();
    check<Equal<typeof one.address, VirtAddr>>();
    // @ts-expect-error
    const address: VirtAddr = one;
    // @ts-expect-error
    const other: PhysPage = one;
    // @ts-expect-error
    virtual.contains(one);
    // @ts-expect-error
    one.low = address === other;
    // @ts-expect-error
    const next = one + 4096n;
    pageAddress(next);
  }
}
