import { Phys, type PhysAddr, physAddr, Virt, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import {
  type MemoryInfo,
  type PageCache,
  renderMap,
  type SharedBlock,
  type SharedMemoryInfo,
  SharedPageAllocator,
} from '../../src/index.ts';

const region = virtRegion(virtAddr(0), 0x10_0000);

// The addresses have the kind of the region, as in a PageAllocator.
{
  const allocator = SharedPageAllocator.create(region, { caches: 2, lockTimeout: Infinity });
  allocator satisfies SharedPageAllocator<VirtAddr>;
  allocator.buffer satisfies SharedArrayBuffer;
  allocator.allocatePages(3) satisfies MemoryRegion<VirtAddr>;
  allocator.allocateBlock(3) satisfies VirtAddr;
  allocator.allocatePage() satisfies VirtAddr;
  allocator.freePages(virtAddr(0));
  allocator.freePages(region);
  allocator.memoryInfo() satisfies SharedMemoryInfo;
  allocator.memoryInfo() satisfies MemoryInfo;
  allocator.blockOf(virtAddr(0)) satisfies SharedBlock<VirtAddr> | undefined;
  for (const { state } of allocator.blocks()) state satisfies 'free' | 'allocated' | 'reserved' | 'cached';
  allocator.cache() satisfies PageCache<VirtAddr>;
  allocator.cache({ pages: 8 }).allocatePage() satisfies VirtAddr;
  renderMap(allocator) satisfies string;

  // @ts-expect-error A physical page is not in a virtual region.
  allocator.freePage(physAddr(0));
  // @ts-expect-error The same for a block.
  allocator.freePages(physRegion(physAddr(0), 0x1000));
  // @ts-expect-error The same for a cache.
  allocator.cache().freePage(physAddr(0));
  // @ts-expect-error A number is not an address.
  allocator.blockOf(0);
  // @ts-expect-error `create` and `attach` create a shared allocator.
  new SharedPageAllocator(region);
}

// The kind that is passed determines the kind of the addresses.
{
  const { buffer } = SharedPageAllocator.create(physRegion(physAddr(0), 0x10_0000));
  SharedPageAllocator.attach(Phys, buffer) satisfies SharedPageAllocator<PhysAddr>;
  SharedPageAllocator.attach(Virt, buffer, { lockTimeout: 100 }) satisfies SharedPageAllocator<VirtAddr>;
  // @ts-expect-error An allocator of physical pages is not one of virtual pages.
  SharedPageAllocator.attach(Phys, buffer) satisfies SharedPageAllocator<VirtAddr>;
  // @ts-expect-error `caches` is an option of the allocator, not of an owner.
  SharedPageAllocator.attach(Phys, buffer, { caches: 4 });
  // @ts-expect-error The buffer must be shared.
  SharedPageAllocator.attach(Phys, new ArrayBuffer(4096));
  // @ts-expect-error A reserved region has the allocator's kind of address.
  SharedPageAllocator.create(region, { reserved: [physRegion(physAddr(0), 0x1000)] });
  SharedPageAllocator.bytesFor(region, { caches: 0 }) satisfies number;
}
