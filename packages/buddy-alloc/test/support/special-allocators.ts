/** Allocators whose callbacks misbehave: with pages and objects of every kind, at the same addresses in each. */
import { Virt, type VirtAddr } from '@svsm/address';
import {
  ByteMemory,
  HeapAllocator,
  type OwnedBlock,
  PageAllocator,
  type PageAllocatorOptions,
  SlabCache,
} from '../../src/index.ts';
import { HEAP, heapPages } from './allocators.ts';

const PAGES = 32;

/** An allocator, what is on it, and a way to call it. */
export interface Special {
  readonly allocator: PageAllocator<VirtAddr>;
  readonly owned: OwnedBlock<VirtAddr>;
  /** A cache that keeps no empty page, and one that has an empty page. */
  readonly caches: readonly SlabCache<VirtAddr>[];
  readonly heap: HeapAllocator<VirtAddr>;
  /** The addresses and regions of the pages and objects. */
  readonly args: readonly unknown[];
  /** Performs an operation: at once, or from a callback. */
  around<T>(action: () => T): T;
}

function special(
  options: PageAllocatorOptions<VirtAddr>,
  around: (allocator: PageAllocator<VirtAddr>) => Special['around'] = () => (action) => action(),
): Special {
  const allocator = new PageAllocator(heapPages(0, PAGES), {
    ...options,
    space: heapPages(0, 64),
    reserved: [heapPages(30, 2)],
  });
  const block = allocator.allocatePages(2);
  const run = allocator.allocateRun(3);
  const file = allocator.allocateFilePage();
  const slab = allocator.pagesFor('slab').allocate(1, 4096);
  const pages = allocator.pagesFor('heap').allocate(2, 4096);
  const page = allocator.allocatePage();
  const owned = allocator.own(0);
  const caches = [0, 1].map((keepEmpty) => new SlabCache(allocator, 2048, { keepEmpty }));
  const object = caches[0]!.allocate();
  caches[1]!.free(caches[1]!.allocate());
  const heap = new HeapAllocator(allocator);
  const large = heap.allocate(5000);
  heap.free(heap.allocate(48));
  const small = heap.allocate(100);
  const { indexed } = allocator;
  const free = [...allocator.blocks()].findLast(({ state }) => state === 'free')?.region;
  const args = [
    free,
    heapPages(30, 1),
    block,
    run,
    file,
    slab,
    pages,
    page,
    object,
    large,
    small,
    indexed.indexOf(page),
  ];
  // A page that was freed.
  allocator.freePage(allocator.allocatePage());
  return { allocator, owned, caches, heap, args, around: around(allocator) };
}

/** Its operations are called by its tracer. */
export function busyAllocator(): Special {
  let hook: (() => void) | undefined;
  return special({ trace: () => hook?.() }, (allocator) => (action) => {
    let outcome: { returned: ReturnType<typeof action> } | { thrown: unknown } | undefined;
    hook = () => {
      hook = undefined;
      try {
        outcome = { returned: action() };
      } catch (thrown) {
        outcome = { thrown };
      }
    };
    allocator.freePage(allocator.allocatePage());
    if (outcome !== undefined && 'returned' in outcome) return outcome.returned;
    throw outcome?.thrown;
  });
}

/** Its tracer throws. */
export function failingAllocator(): Special {
  let isArmed = false;
  const made = special({
    memory: { clearPage: () => undefined },
    trace: () => {
      if (isArmed) throw new Error('the tracer failed');
    },
  });
  isArmed = true;
  return made;
}

/** Its freed pages were written. */
function overwrittenAllocator(): Special {
  const memory = new ByteMemory(Virt, new ArrayBuffer(PAGES * 4096), HEAP);
  const made = special({ memory, poison: true });
  const { allocator } = made;
  const pages: VirtAddr[] = [];
  while (allocator.memoryInfo().freePages > 0) pages.push(allocator.allocatePage());
  for (const page of pages) allocator.freePage(page);
  for (const page of pages) memory.bytes(page, 4096).fill(1);
  return made;
}

/** Its memory has gone. */
function tornAllocator(): Special {
  const source = { buffer: new ArrayBuffer(PAGES * 4096) };
  const made = special({ memory: new ByteMemory(Virt, source, HEAP), poison: true });
  source.buffer = new ArrayBuffer(0);
  return made;
}

export const SPECIAL: readonly (() => Special)[] = [
  busyAllocator,
  failingAllocator,
  overwrittenAllocator,
  tornAllocator,
];

/** An allocator of one file page at {@link HEAP} with this many references. */
export function countedPage(references: number): PageAllocator<VirtAddr> {
  const range = { start: HEAP, end: HEAP + 4096n };
  const block = { ...range, kind: 'file', references } as const;
  return PageAllocator.restore(Virt, {
    maxOrder: 0,
    space: range,
    regions: [range],
    reserved: [],
    blocks: [block],
  });
}
