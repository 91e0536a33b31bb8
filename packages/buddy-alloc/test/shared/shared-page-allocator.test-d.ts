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

// It has the addresses of its region, as a PageAllocator has.
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

  // @ts-expect-error A physical page is none of a virtual region.
  allocator.freePage(physAddr(0));
  // @ts-expect-error The same for a block.
  allocator.freePages(physRegion(physAddr(0), 0x1000));
  // @ts-expect-error The same for a cache.
  allocator.cache().freePage(physAddr(0));
  // @ts-expect-error A number is no address.
  allocator.blockOf(0);
  // @ts-expect-error A shared allocator is made by `create` or `attach`.
  new SharedPageAllocator(region);
}

// The kind says which addresses the allocator of a buffer has.
{
  const { buffer } = SharedPageAllocator.create(physRegion(physAddr(0), 0x10_0000));
  SharedPageAllocator.attach(Phys, buffer) satisfies SharedPageAllocator<PhysAddr>;
  SharedPageAllocator.attach(Virt, buffer, { lockTimeout: 100 }) satisfies SharedPageAllocator<VirtAddr>;
  // @ts-expect-error An allocator of physical pages is none of virtual ones.
  SharedPageAllocator.attach(Phys, buffer) satisfies SharedPageAllocator<VirtAddr>;
  // @ts-expect-error An owner's options are not those of the allocator.
  SharedPageAllocator.attach(Phys, buffer, { caches: 4 });
  // @ts-expect-error Tables that others see lie in a shared buffer.
  SharedPageAllocator.attach(Phys, new ArrayBuffer(4096));
  // @ts-expect-error A reserved region has the allocator's addresses.
  SharedPageAllocator.create(region, { reserved: [physRegion(physAddr(0), 0x1000)] });
  SharedPageAllocator.bytesFor(region, { caches: 0 }) satisfies number;
}
