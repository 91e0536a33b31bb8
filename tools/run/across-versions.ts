/** Objects of one version of `@svsm/memory-region` go into functions of another, in both directions: `@svsm/other-region`. */
export const ACROSS: string = `
import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, Phys, type PhysAddr, Virt, type VirtAddr, physAddr, virtAddr } from '@svsm/address';
import { getOrder, PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion, physRegion, RegionMap, RegionSet, virtRegion } from '@svsm/memory-region';
import * as other from '@svsm/other-region';
import { createPhysMemory, PageTable, pagingConfig, PtePreset } from '@svsm/pagetable';
import { SnpMachine, SvsmState } from '@svsm/sev-snp';

let frame = 0;
const memory = createPhysMemory({ size: 0x10_0000 });
const frames = { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame: () => {} };
const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
const mine: MemoryRegion<VirtAddr> = virtRegion(virtAddr(0xffff_8000_0000_0000n), PAGE_SIZE_2M);
const theirs: other.MemoryRegion<VirtAddr> = other.virtRegion(virtAddr(0xffff_8000_0000_0000n), PAGE_SIZE_2M);
const asMine: MemoryRegion<VirtAddr> = theirs;
const asTheirs: other.MemoryRegion<VirtAddr> = mine;
console.log(mine.equals(theirs), theirs.equals(mine), asMine.overlaps(asTheirs), String(theirs.intersect(mine)));

table.map2m(mine.start, physAddr(0x4000_0000), PtePreset.Data);
for (const heap of [mine, theirs]) {
  const pages = new PageAllocator(heap).allocatePages(getOrder(4 * PAGE_SIZE));
  for (const page of pages.iterPages(PageSize.Regular)) table.setShared4k(page);
  table.setEncryptedRegion(heap);
  console.log(pages.pageCount(), heap.containsRegion(pages), table.lookup(heap.start)?.shared);
}
const set: other.RegionSet<PhysAddr> = new RegionSet(Phys, [other.physRegion(physAddr(0), PAGE_SIZE)]);
const map: RegionMap<VirtAddr, string> = new other.RegionMap<VirtAddr, string>(Virt, [[mine, 'mine']]);
console.log(set.regionCount, map.get(mine.start));

const guest = new SnpMachine({ memorySize: 32 << 20 }).hypervisor.launch({ size: 8 << 20 });
const state = new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(0), 2 << 20), other.physRegion(physAddr(2 << 20), 2 << 20)] });
console.log(state.vcpus.length);
`;
