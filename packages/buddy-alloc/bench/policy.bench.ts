/**
 * Policies for choosing one of several free blocks that fit: the block at the lowest address, the block that was freed last,
 * or the choice of `PageAllocator` (the last of 64 hints, or the lowest block of the word that was linked last). It fills
 * 256 MiB to 90 % with blocks of orders 0 to 5 and drains it to 50 %, over and over. It prints the share of the free pages in
 * blocks too small for an order, and the time of an operation. The two rivals are as fast as their policy allows, and check
 * nothing.
 */
import { PAGE_SIZE, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';
import { compile, median } from './harness.ts';
import { BareLists, LowestFirst } from './rivals.ts';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const MAX_ORDER = 16;
const PAGES = 2 ** MAX_ORDER;
const ORDERS = [6, 8, 10];
const SEEDS = [1, 2, 3, 4];
const ROUNDS = 60;

interface Policy {
  readonly name: string;
  readonly allocator: { allocate(order: number): number; free(page: number): void };
  /** The share of the free pages in blocks of less than `order`. */
  readonly fragmentation: (order: number) => number;
}

function ours(): Policy {
  const allocator = new PageAllocator(virtRegion(HEAP, PAGES * PAGE_SIZE));
  const fragmentation = (order: number) => allocator.memoryInfo().fragmentation[order]!;
  return { name: 'PageAllocator, indexed', allocator: allocator.indexed, fragmentation };
}

function rival(name: string, allocator: BareLists | LowestFirst): Policy {
  return { name, allocator, fragmentation: (order) => allocator.fragmentation(order) };
}

/** The mean fragmentation for each of `ORDERS` when drained, and the median of the nanoseconds an operation. */
function run({ allocator, fragmentation }: Policy, seed: number): { means: number[]; time: number } {
  const state = { seed: (seed * 0x9e37_79b1) | 0, used: 0, count: 0 };
  const values = {
    allocator,
    state,
    live: new Int32Array(PAGES),
    orders: new Uint8Array(PAGES),
    full: PAGES * 0.9,
    half: PAGES * 0.5,
  };
  const step = compile<() => void>(
    values,
    '',
    `
    let { seed, used, count } = state;
    let operations = 0;
    const random = (below) => {
      seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5;
      return (seed >>> 1) % below;
    };
    while (used < full) {
      const order = random(6);
      live[count] = allocator.allocate(order);
      orders[count] = order;
      count += 1;
      used += 1 << order;
      operations += 1;
    }
    while (used > half) {
      const victim = random(count);
      allocator.free(live[victim]);
      used -= 1 << orders[victim];
      count -= 1;
      live[victim] = live[count];
      orders[victim] = orders[count];
      operations += 1;
    }
    state.seed = seed; state.used = used; state.count = count; state.operations = operations;`,
  ) as () => void;
  const sums = ORDERS.map(() => 0);
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const start = performance.now();
    step();
    const elapsed = performance.now() - start;
    times.push((elapsed * 1e6) / (state as typeof state & { operations: number }).operations);
    for (const [index, order] of ORDERS.entries()) sums[index] = sums[index]! + fragmentation(order);
  }
  return { means: sums.map((sum) => sum / ROUNDS), time: median(times) };
}

const policies: (() => Policy)[] = [
  ours,
  () => rival('lowest address first', new LowestFirst(PAGES)),
  () => rival('newest first', new BareLists(PAGES)),
];
console.log(`@svsm/buddy-alloc, policies; Node ${process.versions.node}`);
console.log(
  `Share of the free pages too small for order ${ORDERS.join(', ')}; half occupancy, seeds ${SEEDS.join(', ')}`,
);
for (const make of policies) {
  const results = SEEDS.map((seed) => run(make(), seed));
  const cells = results.map(({ means }) => means.map((mean) => mean.toFixed(2)).join(' '));
  const time = median(results.map((result) => result.time));
  console.log(
    `  ${make().name.padEnd(24)}${cells.join('   ')}${time.toFixed(1).padStart(10)} ns an operation`,
  );
}
