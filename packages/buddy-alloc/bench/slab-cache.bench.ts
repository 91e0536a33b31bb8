/**
 * Objects of 64 bytes: `SlabCache` and `HeapAllocator` compared with @thi.ng/malloc, a heap in JavaScript, in its best case and
 * in a random one, and with a stack of free slots that checks nothing.
 */
import { type VirtAddr, virtAddr } from '@svsm/address';
import { HeapAllocator, PageAllocator, SlabCache } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';
import { MemPool } from '@thi.ng/malloc';
import { compare, compile, nanoseconds, nanosecondsUpTo, random, type Variant } from './harness.ts';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const SIZE = 64;
const OPERATIONS = 4000;

/** The least possible work: a stack of free slots, which cannot detect a double free. */
class FreeStack {
  readonly #free: Int32Array;
  #count: number;

  constructor(objects: number) {
    this.#free = Int32Array.from({ length: objects }, (_, index) => index * SIZE);
    this.#count = objects;
  }

  allocate(): number {
    this.#count -= 1;
    return this.#free[this.#count]!;
  }

  free(address: number): void {
    this.#free[this.#count] = address;
    this.#count += 1;
  }
}

const cacheOf = () => new SlabCache(new PageAllocator(virtRegion(HEAP, 2 ** 26)), SIZE);
const heapOf = () => new HeapAllocator(new PageAllocator(virtRegion(HEAP, 2 ** 26)));

/** Allocates an object and frees it at once, with half a page of other objects live. */
function pairs(): void {
  const variant = (name: string, allocator: object, allocate: string): Variant => {
    for (let object = 0; object < 32; object += 1) compile({ allocator }, '', `${allocate};`)();
    const run = compile<() => void>(
      { allocator, operations: OPERATIONS },
      '',
      `for (let i = 0; i < operations; i += 1) allocator.free(${allocate});`,
    );
    return { name, round: () => [nanoseconds(OPERATIONS, run)] };
  };
  compare(
    '64 bytes, allocated and freed at once (the best case of @thi.ng/malloc), ns a pair',
    ['allocate and free'],
    [
      variant('@thi.ng/malloc', new MemPool({ size: 2 ** 24 }), `allocator.malloc(${SIZE})`),
      variant('SlabCache', cacheOf(), 'allocator.allocate()'),
      variant('HeapAllocator', heapOf(), `allocator.allocate(${SIZE})`),
      variant('a stack of slots, no check', new FreeStack(1000), 'allocator.allocate()'),
    ],
    100,
  );
}

/** Allocates a page of objects, then frees them, the newest first. */
function stacks(): void {
  const depth = 64;
  const variant = (name: string, allocator: object, allocate: string, none: unknown): Variant => {
    const run = compile<() => void>(
      { allocator, operations: OPERATIONS, live: new Array(depth).fill(none) },
      '',
      `
      for (let i = 0; i < operations; i += ${depth}) {
        for (let j = 0; j < ${depth}; j += 1) live[j] = ${allocate};
        for (let j = ${depth - 1}; j >= 0; j -= 1) allocator.free(live[j]);
      }`,
    );
    return { name, round: () => [nanoseconds(OPERATIONS, run)] };
  };
  compare(
    '64 bytes, 64 of them allocated, then freed, the newest first, ns a pair',
    ['allocate and free'],
    [
      variant('@thi.ng/malloc', new MemPool({ size: 2 ** 24 }), `allocator.malloc(${SIZE})`, 0),
      variant('SlabCache', cacheOf(), 'allocator.allocate()', undefined),
      variant('HeapAllocator', heapOf(), `allocator.allocate(${SIZE})`, undefined),
      variant('a stack of slots, no check', new FreeStack(1000), 'allocator.allocate()', 0),
    ],
    60,
  );
}

/** Frees a random one of 10^5 live objects and allocates a new one. */
function randomVictims(): void {
  const live = 100_000;
  const variant = (name: string, allocator: object, allocate: string, none: unknown): Variant => {
    const objects: unknown[] = new Array(live).fill(none);
    compile({ allocator, objects }, '', `for (let i = 0; i < ${live}; i += 1) objects[i] = ${allocate};`)();
    const run = compile<(from: number, to: number) => void>(
      { allocator, objects, random },
      'from, to',
      `
      for (let i = from; i < to; i += 1) {
        const victim = random(${live});
        allocator.free(objects[victim]);
        objects[victim] = ${allocate};
      }`,
    );
    const once = name.startsWith('@thi.ng');
    return {
      name,
      once,
      round: () => [
        once ? nanosecondsUpTo(OPERATIONS, run) : nanoseconds(OPERATIONS, () => run(0, OPERATIONS)),
      ],
    };
  };
  const cell = new BigUint64Array([HEAP as VirtAddr]);
  const alone = {
    cell,
    halves: new Int32Array(cell.buffer),
    sum: 0,
    free(address: bigint): void {
      this.cell[0] = address;
      this.sum ^= this.halves[0]!;
    },
  };
  compare(
    '64 bytes, 10^5 live, a random one freed and one allocated, ns a pair, loop included',
    ['free and allocate'],
    [
      variant('SlabCache', cacheOf(), 'allocator.allocate()', undefined),
      variant('HeapAllocator', heapOf(), `allocator.allocate(${SIZE})`, undefined),
      variant('a stack of slots, no check', new FreeStack(live), 'allocator.allocate()', 0),
      variant('the loop, bigints made and read', alone, 'BigInt.asUintN(64, allocator.cell[0] + 64n)', 0n),
      variant('@thi.ng/malloc', new MemPool({ size: 2 ** 24 }), `allocator.malloc(${SIZE})`, 0),
    ],
    60,
  );
}

console.log(
  `@svsm/buddy-alloc, objects; Node ${process.versions.node}; ratios to the first line of each table`,
);
pairs();
stacks();
randomVictims();
