import { Phys, type PhysAddr, physAddr, Virt, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import {
  type AllocatorSnapshot,
  ByteMemory,
  HeapAllocator,
  type OwnedBlock,
  PageAllocator,
  SlabCache,
} from '../../src/index.ts';

const allocator = new PageAllocator(physRegion(physAddr(0), 0x1_0000));

// A heap and a cache have the kind of address of their allocator.
{
  const heap = new HeapAllocator(allocator);
  heap.allocate(8) satisfies PhysAddr;
  heap.allocate(8, 64n) satisfies PhysAddr;
  heap.reallocate(physAddr(0), 8) satisfies PhysAddr;
  heap.view(Float64Array, physAddr(0), 1) satisfies Float64Array;
  heap.view(Int8Array, physAddr(0), 1) satisfies Int8Array;
  // @ts-expect-error A virtual address is not in a physical heap.
  heap.free(virtAddr(0));
  // @ts-expect-error A size is a number.
  heap.allocate(8n);
  // @ts-expect-error `free` takes no size.
  heap.free(physAddr(0), 8);

  const cache = new SlabCache(allocator, 64, { alignment: 64, keepEmpty: 2 });
  cache.allocate() satisfies PhysAddr;
  // @ts-expect-error A plain bigint is not an address.
  cache.free(0n);
  // @ts-expect-error The size of the objects is read-only.
  cache.objectBytes = 1;
}

// Memory has the kind of address of its allocator.
{
  const shared = new ByteMemory(Virt, new SharedArrayBuffer(1), virtAddr(0));
  new ByteMemory(Phys, { buffer: new ArrayBuffer(1) }, physAddr(0)) satisfies ByteMemory<PhysAddr>;
  new PageAllocator(virtRegion(virtAddr(0), 0x1000), { memory: shared });
  // @ts-expect-error Its addresses are virtual.
  new HeapAllocator(allocator, { memory: shared });
  // @ts-expect-error The origin is an address of that kind.
  new ByteMemory(Phys, new ArrayBuffer(1), virtAddr(0));
}

// Owners, runs, snapshots.
{
  allocator.own(0) satisfies OwnedBlock<PhysAddr>;
  allocator.own(allocator.allocateRun(3, 0x4000n)) satisfies OwnedBlock<PhysAddr>;
  allocator.own(0).leak() satisfies MemoryRegion<PhysAddr>;
  allocator.allocateBlock(0) satisfies PhysAddr;
  allocator.getFilePage(allocator.allocateFilePage()) satisfies number;
  PageAllocator.restore(Virt, allocator.snapshot()) satisfies PageAllocator<VirtAddr>;
  allocator.snapshot() satisfies AllocatorSnapshot;
  // @ts-expect-error Reserved regions have the allocator's kind of address.
  allocator.reserve(virtRegion(virtAddr(0), 0x1000));
  // @ts-expect-error The snapshot has the reserved regions.
  PageAllocator.restore(Virt, allocator.snapshot(), { reserved: [] });
}
