/**
 * Objects of 64 bytes: `SlabCache` and `HeapAllocator` beside a first-fit heap of the kind that JavaScript has, whose
 * frees walk the list of what is used, and beside an array of free slots that checks nothing. Medians over rounds; ratios
 * within a round, to `SlabCache`.
 */
import { type VirtAddr, virtAddr } from '@svsm/address';
import { HeapAllocator, PageAllocator, SlabCache } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const SIZE = 64;

/** The least there is: a stack of free slots, which knows nothing of double frees. */
class FreeStack {
  readonly #free: Int32Array;
  #count: number;

  constructor(objects: number) {
    this.#free = Int32Array.from({ length: objects }, (_, index) => index * SIZE);
    this.#count = objects;
  }

  allocate(): number {
    this.#count -= 1;
    return this.#free[this.#count] as number;
  }

  free(address: number): void {
    this.#free[this.#count] = address;
    this.#count += 1;
  }
}

/** First fit with linked lists of used and free blocks, the newest first, as @thi.ng/malloc has them. */
class FirstFit {
  readonly #next: Int32Array;
  #used = -1;
  #freed = -1;
  #top = 0;

  constructor(objects: number) {
    this.#next = new Int32Array(objects);
  }

  allocate(): number {
    let block = this.#freed;
    if (block >= 0) this.#freed = this.#next[block] as number;
    else {
      block = this.#top;
      this.#top += 1;
    }
    this.#next[block] = this.#used;
    this.#used = block;
    return block * SIZE;
  }

  free(address: number): void {
    let block = this.#used;
    let before = -1;
    while (block >= 0 && block * SIZE !== address) {
      before = block;
      block = this.#next[block] as number;
    }
    if (block < 0) throw new Error('not allocated');
    if (before < 0) this.#used = this.#next[block] as number;
    else this.#next[before] = this.#next[block] as number;
    this.#next[block] = this.#freed;
    this.#freed = block;
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] as number;

let seed = 1;
const random = (below: number): number => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
};

const nanoseconds = (operations: number, run: () => void): number => {
  const start = performance.now();
  run();
  return ((performance.now() - start) * 1e6) / operations;
};

/** Prints the median of each variant and its ratio to the first. */
function table(
  title: string,
  operations: number,
  rounds: number,
  variants: Record<string, () => void>,
): void {
  const entries = Object.entries(variants);
  const times = entries.map((): number[] => []);
  for (let round = -Math.ceil(rounds / 4); round < rounds; round += 1) {
    for (const [index, [, run]] of entries.entries()) {
      const time = nanoseconds(operations, run);
      if (round >= 0) times[index]?.push(time);
    }
  }
  console.log(`\n${title}`);
  for (const [index, [name]] of entries.entries()) {
    const own = times[index] as number[];
    const ratio = median(own.map((time, round) => time / (times[0]?.[round] as number)));
    console.log(
      `  ${name.padEnd(36)}${median(own).toFixed(1).padStart(9)} ns ${ratio.toFixed(2).padStart(8)} ×`,
    );
  }
}

const cacheOf = () => new SlabCache(new PageAllocator(virtRegion(HEAP, 2 ** 26)), SIZE);
const heapOf = () => new HeapAllocator(new PageAllocator(virtRegion(HEAP, 2 ** 26)));

/** Allocated and freed at once, with half a page of others live. */
function pairs(): void {
  const count = 200_000;
  const [cache, heap] = [cacheOf(), heapOf()];
  const [stack, fit] = [new FreeStack(1000), new FirstFit(1000)];
  for (let object = 0; object < 32; object += 1) {
    cache.allocate();
    heap.allocate(SIZE);
    stack.allocate();
    fit.allocate();
  }
  table('64 bytes, allocated and freed at once, ns a pair', count, 25, {
    SlabCache: () => {
      for (let i = 0; i < count; i += 1) cache.free(cache.allocate());
    },
    'HeapAllocator.allocate(64)': () => {
      for (let i = 0; i < count; i += 1) heap.free(heap.allocate(SIZE));
    },
    'first fit, newest first (its best)': () => {
      for (let i = 0; i < count; i += 1) fit.free(fit.allocate());
    },
    'a stack of slots, no check': () => {
      for (let i = 0; i < count; i += 1) stack.free(stack.allocate());
    },
  });
}

/** 10^5 live objects: a random one freed, a new one allocated. */
function randomVictims(): void {
  const live = 100_000;
  const operations = 100_000;
  const [cache, heap] = [cacheOf(), heapOf()];
  const [stack, fit] = [new FreeStack(live), new FirstFit(live)];
  const ofCache: VirtAddr[] = Array.from({ length: live }, () => cache.allocate());
  const ofHeap: VirtAddr[] = Array.from({ length: live }, () => heap.allocate(SIZE));
  const ofStack = Array.from({ length: live }, () => stack.allocate());
  const ofFit = Array.from({ length: live }, () => fit.allocate());
  // It needs milliseconds for what the others do in microseconds.
  const few = 200;
  const firstFit = () => {
    for (let i = 0; i < few; i += 1) {
      const victim = random(live);
      fit.free(ofFit[victim] as number);
      ofFit[victim] = fit.allocate();
    }
  };
  table(
    '64 bytes, 10^5 live, a random one freed and one allocated, ns a pair, loop included',
    operations,
    15,
    {
      SlabCache: () => {
        for (let i = 0; i < operations; i += 1) {
          const victim = random(live);
          cache.free(ofCache[victim] as VirtAddr);
          ofCache[victim] = cache.allocate();
        }
      },
      'HeapAllocator.allocate(64)': () => {
        for (let i = 0; i < operations; i += 1) {
          const victim = random(live);
          heap.free(ofHeap[victim] as VirtAddr);
          ofHeap[victim] = heap.allocate(SIZE);
        }
      },
      'a stack of slots, no check': () => {
        for (let i = 0; i < operations; i += 1) {
          const victim = random(live);
          stack.free(ofStack[victim] as number);
          ofStack[victim] = stack.allocate();
        }
      },
    },
  );
  const times = Array.from({ length: 5 }, () => nanoseconds(few, firstFit));
  console.log(`  ${'first fit, of 200 pairs a round'.padEnd(36)}${median(times).toFixed(1).padStart(9)} ns`);
}

console.log(
  `@svsm/buddy-alloc, objects; Node ${process.versions.node}; ratios to the first line of each table`,
);
pairs();
randomVictims();
