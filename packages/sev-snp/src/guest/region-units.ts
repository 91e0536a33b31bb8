import { PAGE_SIZE_2M, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, physRegion, type RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { SnpError } from '../formats/snp-error.ts';
import { type PrivatePage, smallPagesOf } from './page-validation.ts';
import { partsOf } from './region-state.ts';

/** A page that changes as a whole: in the largest size that its mapping, its address and the region allow. */
export interface Unit extends PrivatePage {
  readonly region: MemoryRegion<VirtAddr>;
  /** Whether it was mapped shared before the change. */
  readonly isShared: boolean;
  /** The size of the page that maps it. */
  readonly mappedSize: PageSize;
}

/** The units of a region, ascending. O(units). @throws SnpError `WRONG_MAPPING` for a page that is not mapped */
export function* unitsOf(table: PageTable, whole: RegionSet<VirtAddr>): Generator<Unit> {
  const huge = BigInt(PAGE_SIZE_2M);
  for (const { start, end } of whole) {
    for (let at: bigint = start; at < end; ) {
      const gva = at as VirtAddr;
      const page = table.lookup(gva);
      if (page === undefined) {
        throw new SnpError('WRONG_MAPPING', { gva, expected: 'private or shared', found: 'not mapped' });
      }
      const isHuge = page.size !== PageSize.Regular && at % huge === 0n && end - at >= huge;
      const size = isHuge ? PageSize.Huge : PageSize.Regular;
      const { paddr: gpa, shared: isShared, size: mappedSize } = page;
      yield { gva, gpa, size, region: new MemoryRegion(whole.kind, gva, size), isShared, mappedSize };
      at += BigInt(size);
    }
  }
}

/** Checks that a unit is mapped shared, or private. @throws SnpError `WRONG_MAPPING` */
export function requireMapping({ gva, isShared }: Unit, shared: boolean): void {
  if (isShared === shared) return;
  const name = (is: boolean): string => (is ? 'shared' : 'private');
  throw new SnpError('WRONG_MAPPING', { gva, expected: name(shared), found: name(isShared) });
}

/** Splits the mapped page of a unit to the size of the unit. This comes first, since it can run out of frames. */
export function splitTo(table: PageTable, { gva, size, mappedSize }: Unit): void {
  if (mappedSize === size) return;
  if (size === PageSize.Huge) table.split2m(gva);
  else table.split4k(gva);
}

/** The guest-physical addresses of a part of a unit. */
export function physOf({ gva, gpa }: Unit, part: MemoryRegion<VirtAddr>): MemoryRegion<PhysAddr> {
  return physRegion((gpa + (part.start - gva)) as PhysAddr, part.size);
}

/** The pages of a unit that are in a set: the unit, or some of its 4 KiB pages. */
export function pagesIn(set: RegionSet<VirtAddr>, unit: Unit): readonly PrivatePage[] {
  if (set.containsRegion(unit.region)) return [unit];
  if (partsOf(set, unit.region).length === 0) return [];
  return smallPagesOf<PrivatePage>(unit).filter(({ gva }) => set.contains(gva));
}
