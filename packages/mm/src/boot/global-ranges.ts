import { PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { type EntryFlags, type PageMapper, PtePreset } from '@svsm/pagetable';
import type { MappingSpace } from '../cpu/mapping-guard.ts';
import type { Processors } from '../cpu/processors.ts';
import { VirtualRange } from '../cpu/virtual-range.ts';
import {
  requireInstance,
  requireMethods,
  requireOneOf,
  requireOptionalFunction,
  virtRegionArgument,
} from '../formats/arguments.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import { type AddressSpaceLayout, layoutArgument } from '../layout/address-space-layout.ts';

/**
 * The step `global-ranges`: addresses for mappings that all processors see, and their tables. A mapping there is flushed on all
 * processors when it ends.
 *
 * @param kernel - the part of the page tables that all processors share
 * @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT`; PageTableError as `mapRegion`
 */
export function createGlobalRanges(
  kernel: PageMapper,
  layout: AddressSpaceLayout,
  processors: Processors,
  trace?: MmTrace,
): MappingSpace {
  requireInstance('the processors', processors, 'Processors');
  requireOptionalFunction('trace', trace);
  const { small, huge } = layoutArgument(layout).globalMappings;
  prepareTables(kernel, small, PageSize.Regular);
  prepareTables(kernel, huge, PageSize.Huge);
  return {
    mapper: kernel,
    small: new VirtualRange(small),
    huge: new VirtualRange(huge, { pageSize: PageSize.Huge }),
    isGlobal: true,
    vcpu: () => processors.thisCpu().vcpu,
    flush: (region, pageSize) => processors.shootDown.broadcast(region, pageSize),
    uses: processors.uses,
    trace,
  };
}

/**
 * Makes the tables that map a region in pages of a size. Mappings there never need a frame afterwards, so they cannot fail for
 * want of memory, and the number of tables stays the same. O(tables).
 *
 * @throws MmError `INVALID_ARGUMENT`; PageTableError as `mapRegion`
 */
export function prepareTables(mapper: PageMapper, region: MemoryRegion<VirtAddr>, pageSize: PageSize): void {
  requireMethods('the page table', mapper, ['map4k', 'unmap4k', 'map2m', 'unmap2m']);
  const pages = virtRegionArgument('the region', region);
  requireOneOf('the page size', pageSize, [PageSize.Regular, PageSize.Huge]);
  const span = BigInt(pageSize) * 512n;
  for (let at = pages.start as bigint; at < pages.end; at += span - (at % span)) {
    const page = at as VirtAddr;
    if (pageSize === PageSize.Huge) {
      mapper.map2m(page, 0n as PhysAddr, PtePreset.ReadOnly as EntryFlags<1>);
      mapper.unmap2m(page);
    } else {
      mapper.map4k(page, 0n as PhysAddr, PtePreset.ReadOnly as EntryFlags<0>);
      mapper.unmap4k(page);
    }
  }
}
