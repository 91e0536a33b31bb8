/** Valid values of the types of `@svsm/buddy-alloc`. */
import { type Address, Phys, type PhysAddr, physAddr } from '@svsm/address';
import {
  ByteMemory,
  HeapAllocator,
  type OwnedBlock,
  PageAllocator,
  type PageCache,
  SharedPageAllocator,
  SlabCache,
} from '@svsm/buddy-alloc';
import { physRegion } from '@svsm/memory-region';
import type { Makers, World } from '../world.ts';
import { makers as region } from './memory-region.ts';

const START = physAddr(0x10_0000);
const BYTES = 0x2_0000;

function allocatorOf(world: World): PageAllocator<PhysAddr> {
  return world.get('PageAllocator');
}

function sharedOf(world: World): SharedPageAllocator<PhysAddr> {
  return world.get('SharedPageAllocator');
}

function json(value: unknown): string {
  return JSON.stringify(value, (_, of: unknown) => (typeof of === 'bigint' ? `${of}n` : of));
}

export const makers: Makers = {
  types: {
    ...region.types,
    // An allocated page.
    Address: { make: (world) => world.get('a page') },
    'a page': { make: (world) => allocatorOf(world).allocatePage() },
    'a file page': { make: (world) => allocatorOf(world).allocateFilePage() },
    'a page of the heap': {
      make: (world) => world.get<HeapAllocator<PhysAddr>>('HeapAllocator').allocate(16),
    },
    'a slab object': { make: (world) => world.get<SlabCache<PhysAddr>>('SlabCache').allocate() },
    'a shared page': { make: (world) => sharedOf(world).allocatePage() },
    'a slab page': {
      make: (world) =>
        world.get<{ allocate(pages: number, alignment: number): PhysAddr }>('PageSource').allocate(1, 0x1000),
    },
    'an index': { make: (world) => allocatorOf(world).indexed.allocate(0) },
    MemoryRegion: { make: () => physRegion(START, BYTES) },
    'free pages': { make: () => physRegion(physAddr(0x11_0000), 0x2000) },
    ArrayBuffer: {
      make: () => new ArrayBuffer(BYTES),
      state: (buffer: ArrayBuffer) => [new Uint8Array(buffer.slice(0))],
    },
    SharedArrayBuffer: {
      make: (world) => sharedOf(world).buffer,
    },
    ViewConstructor: { make: () => Uint8Array },
    PageMemory: {
      make: (world) => world.get('ByteMemory'),
      methods: ['clearPage', 'bytes?'],
      isCallers: true,
    },
    PoisonPatterns: { make: () => ({ freed: 0x5a, allocated: 0xa5 }) },
    ByteMemory: {
      make: (world) => new ByteMemory(Phys, world.get<ArrayBuffer>('ArrayBuffer'), START),
      state: (memory: ByteMemory<Address>) => [String(memory.origin), String(memory.byteLength)],
    },
    PageAllocator: {
      make: (world) => {
        const memory = world.get<ByteMemory<PhysAddr>>('ByteMemory');
        const space = physRegion(START, 2 * BYTES);
        return new PageAllocator(physRegion(START, BYTES), {
          memory,
          space,
          reserved: [physRegion(START, 0x1000)],
        });
      },
      state: (allocator: PageAllocator<Address>) => [
        json(allocator.snapshot()),
        json(allocator.memoryInfo()),
      ],
    },
    AllocatorSnapshot: { make: (world) => allocatorOf(world).snapshot() },
    IndexedPages: { make: (world) => allocatorOf(world).indexed },
    OwnedBlock: {
      make: (world) => allocatorOf(world).own(0),
      state: (block: OwnedBlock<Address>) => [String(block.isOwned)],
    },
    PageSource: { make: (world) => allocatorOf(world).pagesFor('slab') },
    HeapAllocator: {
      make: (world) => new HeapAllocator(allocatorOf(world), { memory: world.get('ByteMemory') }),
      state: (heap: HeapAllocator<Address>) => [json(heap.info())],
    },
    SlabCache: {
      make: (world) => new SlabCache(allocatorOf(world), 48),
      state: (cache: SlabCache<Address>) => [json(cache.info())],
    },
    SharedPageAllocator: {
      make: () => SharedPageAllocator.create(physRegion(START, BYTES), { lockTimeout: 1000 }),
      state: ({ buffer }: SharedPageAllocator<Address>) => [new Uint8Array(buffer).slice()],
    },
    PageCache: {
      make: (world) => sharedOf(world).cache({ pages: 4 }),
      state: (_: PageCache<Address>) => [],
    },
    MapSource: { make: (world) => allocatorOf(world), methods: ['blocks'], isCallers: true },
  },
  values: {
    ...region.values,
    order: () => 0,
    length: () => 16,
    origin: () => START,
    'PageAllocator.addRegion(region)': () => physRegion(physAddr(0x12_0000), 0x2000),
    'PageAllocator.removeRegion(region)': (world) => world.get('free pages'),
    'PageAllocator.allocateAt(pages)': (world) => world.get('free pages'),
    'PageAllocator.reserve(pages)': (world) => world.get('free pages'),
    'PageAllocator.unreserve(pages)': () => physRegion(START, 0x1000),
    'PageAllocator.freePages(block)': (world) => world.get('a page'),
    'PageAllocator.own(block)': () => 0,
    'PageAllocator.getFilePage(page)': (world) => world.get('a file page'),
    'PageAllocator.putFilePage(page)': (world) => world.get('a file page'),
    'new PageAllocator(options)': (world) => ({ memory: world.get('ByteMemory') }),
    reserved: () => [physRegion(START, 0x1000)],
    space: () => physRegion(START, 2 * BYTES),
    maxOrder: () => 4,
    'IndexedPages.free(index)': (world) => world.get('an index'),
    'HeapAllocator.free(address)': (world) => world.get('a page of the heap'),
    'HeapAllocator.reallocate(address)': (world) => world.get('a page of the heap'),
    'HeapAllocator.sizeOf(address)': (world) => world.get('a page of the heap'),
    'HeapAllocator.view(address)': (world) => world.get('a page of the heap'),
    'new SlabCache(size)': () => 48,
    'SlabCache.free(address)': (world) => world.get('a slab object'),
    'PageSource.free(start)': (world) => world.get('a slab page'),
    'SharedPageAllocator.freePages(block)': (world) => world.get('a shared page'),
    'SharedPageAllocator.freePage(page)': (world) => world.get('a shared page'),
    'SharedPageAllocator.blockOf(address)': (world) => world.get('a shared page'),
    'SharedPageAllocator.recover(owner)': () => 1,
    'PageCache.freePage(page)': (world) => world.get('a shared page'),
    align: () => 16,
  },
};
