import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import {
  type Block,
  type BuddyError,
  type BuddyErrorDetails,
  getOrder,
  type IndexedPages,
  isBuddyError,
  type MemoryInfo,
  PageAllocator,
} from '../../src/index.ts';

// The addresses have the kind of the region.
{
  const allocator = new PageAllocator(virtRegion(virtAddr(0), 0x1000));
  allocator satisfies PageAllocator<VirtAddr>;
  allocator.allocatePages(0) satisfies MemoryRegion<VirtAddr>;
  allocator.allocatePage() satisfies VirtAddr;
  allocator.region satisfies MemoryRegion<VirtAddr>;
  allocator.memoryInfo() satisfies MemoryInfo;
  allocator.blockOf(virtAddr(0)) satisfies Block<VirtAddr> | undefined;
  for (const block of allocator.blocks()) block.state satisfies 'free' | 'allocated' | 'reserved';
  allocator.freePages(virtAddr(0));
  allocator.freePages(virtRegion(virtAddr(0), 0x1000));
  allocator.allocatePages(getOrder(4n * 4096n));
  allocator.indexed satisfies IndexedPages<VirtAddr>;
  allocator.indexed.allocate(0) satisfies number;
  allocator.indexed.addressOf(0) satisfies VirtAddr;
  // @ts-expect-error An address is not an index.
  allocator.indexed.free(allocator.allocatePage());
  // @ts-expect-error A physical page has no index in a virtual region.
  allocator.indexed.indexOf(physAddr(0));

  // @ts-expect-error A physical page is not in a virtual region.
  allocator.freePage(physAddr(0));
  // @ts-expect-error The same for the start of a block.
  allocator.freePages(physAddr(0));
  // @ts-expect-error The same for its region.
  allocator.freePages(physRegion(physAddr(0), 0x1000));
  // @ts-expect-error The same for `blockOf`.
  allocator.blockOf(physAddr(0));
  // @ts-expect-error A plain bigint is not an address.
  allocator.freePage(0n);
  // @ts-expect-error A number is not an address.
  allocator.freePages(0);
  // @ts-expect-error An order is a number.
  allocator.allocatePages(0n);
  // @ts-expect-error It does not allocate physical addresses.
  allocator.allocatePage() satisfies PhysAddr;
}

// Options.
{
  const region = physRegion(physAddr(0), 0x1000);
  new PageAllocator(region);
  new PageAllocator(region, {});
  new PageAllocator(region, { maxOrder: 5, reserved: [region] });
  new PageAllocator(region, { maxOrder: undefined, reserved: new Set([region]) });
  // @ts-expect-error Reserved regions have the kind of the region.
  new PageAllocator(region, { reserved: [virtRegion(virtAddr(0), 0x1000)] });
  // @ts-expect-error One region is not a list of regions.
  new PageAllocator(region, { reserved: region });
}

// Results are read-only.
{
  const allocator = new PageAllocator(physRegion(physAddr(0), 0x1000));
  const info = allocator.memoryInfo();
  info.largestFreeOrder satisfies number | undefined;
  // @ts-expect-error Counters are a frozen copy.
  info.freePages = 0;
  // @ts-expect-error The same for the counters of an order.
  info.freeBlocks[0] = 0;
}

// The guard narrows the details to the code.
{
  const error: unknown = undefined;
  if (isBuddyError(error, 'WRONG_SIZE')) {
    error satisfies BuddyError<'WRONG_SIZE'>;
    error.details.order satisfies number;
    // @ts-expect-error Another code has this in its details.
    error.details.largestFreeOrder;
  }
  if (isBuddyError(error) && error.code === 'OUT_OF_MEMORY') {
    error.details.largestFreeOrder satisfies number | undefined;
  }
  // @ts-expect-error This code does not exist.
  isBuddyError(error, 'NO_SUCH_CODE');
  ({}) as BuddyErrorDetails satisfies { DOUBLE_FREE: { address: bigint } };
}
