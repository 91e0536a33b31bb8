import { PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { acceptRegion, type Ghcb, RmpResult, type Vcpu } from '@svsm/sev-snp';
import { MmError } from '../formats/mm-error.ts';
import type { DirectMap } from '../layout/direct-map.ts';

/**
 * The step `heap`: validates and clears the parts of the heap that the launch has not validated, in pages of 2 MiB where they
 * are whole. Returns these parts. If it fails, what it has validated is rescinded.
 *
 * @param table - the page table of the GHCB's processor, which maps the heap
 * @param validated - what the launch has validated, in any order
 * @throws SnpError as `acceptRegion`
 */
export function validateHeap(
  ghcb: Ghcb,
  table: PageTable,
  heap: DirectMap,
  validated: Iterable<MemoryRegion<PhysAddr>>,
): readonly MemoryRegion<PhysAddr>[] {
  const missing = [...new RegionSet(Phys, validated).gaps(heap.phys)];
  const done: MemoryRegion<VirtAddr>[] = [];
  try {
    for (const part of missing) {
      const region = heap.virtOf(part);
      done.push(region);
      acceptRegion(ghcb, table, region);
    }
  } catch (error) {
    for (const region of done) rescindRegion(ghcb.vcpu, region);
    throw error;
  }
  return missing;
}

/**
 * Rescinds the validation of all pages of a mapped region. Pages that are not validated stay so.
 *
 * @throws MmError `PAGES_LOST` if PVALIDATE refuses a page; SnpFault
 */
export function rescindRegion(vcpu: Vcpu, region: MemoryRegion<VirtAddr>): void {
  for (const { start, pageSize, count } of region.pageRuns({ maxPageSize: PageSize.Huge })) {
    for (let page = 0; page < count; page += 1)
      rescindPage(vcpu, (start + BigInt(page) * BigInt(pageSize)) as VirtAddr, pageSize as RmpSize);
  }
}

type RmpSize = typeof PageSize.Regular | typeof PageSize.Huge;

function rescindPage(vcpu: Vcpu, gva: VirtAddr, size: RmpSize): void {
  const { result } = vcpu.pvalidate(gva, size, false);
  if (result === RmpResult.SUCCESS) return;
  if (result !== RmpResult.FAIL_SIZEMISMATCH || size === PageSize.Regular)
    throw new MmError('PAGES_LOST', { lost: [`the page at 0x${gva.toString(16)}`] });
  for (let offset = 0; offset < PageSize.Huge; offset += PageSize.Regular)
    rescindPage(vcpu, (gva + BigInt(offset)) as VirtAddr, PageSize.Regular);
}
