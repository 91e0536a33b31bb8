import { PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { acceptRegion, type Ghcb, RmpResult, type Vcpu } from '@svsm/sev-snp';
import {
  requireFunction,
  requireInstance,
  requireMethods,
  virtRegionArgument,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { DirectMap } from '../layout/direct-map.ts';

/**
 * The step `heap`: validates and clears the parts of the heap that the launch has not validated, in pages of 2 MiB where they
 * are whole. Returns these parts. If it fails, what it has validated is rescinded.
 *
 * @param table - the page table of the GHCB's processor, which maps the heap
 * @param validated - what the launch has validated, in any order
 * @throws MmError `INVALID_ARGUMENT`; SnpError as `acceptRegion`; RegionError
 */
export function validateHeap(
  ghcb: Ghcb,
  table: PageTable,
  heap: DirectMap,
  validated: Iterable<MemoryRegion<PhysAddr>>,
): readonly MemoryRegion<PhysAddr>[] {
  requireInstance('the heap', heap, 'DirectMap');
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

/** Called for each page whose validation was rescinded, in the size of the RMP. */
export type OnRescinded = (page: MemoryRegion<VirtAddr>) => void;

/**
 * Rescinds the validation of all pages of a mapped region. Pages that are not validated stay so. If it fails, `onRescinded` was
 * called for exactly the pages that are not validated any more.
 *
 * @throws MmError `INVALID_ARGUMENT`; `PAGES_LOST` if PVALIDATE refuses a page; SnpFault
 */
export function rescindRegion(
  vcpu: Vcpu,
  region: MemoryRegion<VirtAddr>,
  onRescinded: OnRescinded = () => {},
): void {
  requireMethods('the processor', vcpu, ['pvalidate']);
  const pages = virtRegionArgument('the region', region);
  requireFunction('onRescinded', onRescinded);
  for (const { start, pageSize, count } of pages.pageRuns({ maxPageSize: PageSize.Huge })) {
    for (let page = 0; page < count; page += 1) {
      const gva = (start + BigInt(page) * BigInt(pageSize)) as VirtAddr;
      rescindPage(vcpu, new MemoryRegion(pages.kind, gva, pageSize), onRescinded);
    }
  }
}

function rescindPage(vcpu: Vcpu, page: MemoryRegion<VirtAddr>, onRescinded: OnRescinded): void {
  const result = pvalidate(vcpu, page, onRescinded);
  if (result === RmpResult.SUCCESS) {
    onRescinded(page);
    return;
  }
  if (result !== RmpResult.FAIL_SIZEMISMATCH || page.size < PageSize.Huge)
    throw new MmError('PAGES_LOST', { lost: [String(page)] });
  for (const gva of page.iterPages(PageSize.Regular))
    rescindPage(vcpu, new MemoryRegion(page.kind, gva, PageSize.Regular), onRescinded);
}

function pvalidate(vcpu: Vcpu, page: MemoryRegion<VirtAddr>, onRescinded: OnRescinded): RmpResult {
  const size = page.size === BigInt(PageSize.Huge) ? PageSize.Huge : PageSize.Regular;
  const execute = (): RmpResult => vcpu.pvalidate(page.start, size, false).result;
  try {
    return execute();
  } catch (error) {
    // A trace of the machine throws after the change, a fault comes in its place: after a second one it is rescinded.
    if (succeeds(execute)) onRescinded(page);
    throw error;
  }
}

function succeeds(execute: () => RmpResult): boolean {
  try {
    return execute() === RmpResult.SUCCESS;
  } catch {
    return false;
  }
}
