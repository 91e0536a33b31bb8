/**
 * Which free block to take of several that fit: the one at the lowest address, the one that came last, or what
 * `PageAllocator` does (the spare, or the lowest of the record that came last). Fills 256 MiB to 90 % with blocks of orders
 * 0 to 5, drains it to 50 %, over and over, and prints which share of the free pages is then in blocks too small for
 * an order.
 */
import { PAGE_SIZE, type VirtAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const MAX_ORDER = 16;
const PAGES = 2 ** MAX_ORDER;
const ORDERS = [6, 8, 10];

interface Policy {
  allocate(order: number): number;
  free(block: number, order: number): void;
  /** Which share of the free pages is in blocks of less than `order`. */
  fragmentation(order: number): number;
}

/** Slow and plain: an array of free blocks for each order. */
class Arrays implements Policy {
  readonly #free: number[][] = Array.from({ length: MAX_ORDER + 1 }, () => []);
  readonly #lowestFirst: boolean;

  constructor(lowestFirst: boolean) {
    this.#lowestFirst = lowestFirst;
    this.#free[MAX_ORDER]?.push(0);
  }

  allocate(order: number): number {
    const have = this.#free.findIndex((blocks, index) => index >= order && blocks.length > 0);
    if (have < 0) return -1;
    const blocks = this.#free[have] as number[];
    const index = this.#lowestFirst ? blocks.indexOf(Math.min(...blocks)) : blocks.length - 1;
    const [block] = blocks.splice(index, 1) as [number];
    for (let half = have - 1; half >= order; half -= 1) this.#free[half]?.push(block + 2 ** half);
    return block;
  }

  free(block: number, order: number): void {
    let head = block;
    let have = order;
    while (have < MAX_ORDER) {
      const blocks = this.#free[have] as number[];
      const index = blocks.indexOf(head ^ (1 << have));
      if (index < 0) break;
      blocks.splice(index, 1);
      head &= ~(1 << have);
      have += 1;
    }
    this.#free[have]?.push(head);
  }

  fragmentation(order: number): number {
    const pages = this.#free.map((blocks, index) => blocks.length * 2 ** index);
    const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
    return sum(pages.slice(0, order)) / sum(pages);
  }
}

class Ours implements Policy {
  readonly #allocator: PageAllocator<VirtAddr> = new PageAllocator(virtRegion(HEAP, PAGES * PAGE_SIZE));

  allocate(order: number): number {
    const largest = this.#allocator.memoryInfo().largestFreeOrder ?? -1;
    return largest < order ? -1 : Number((this.#allocator.allocateBlock(order) - HEAP) / 4096n);
  }

  free(block: number): void {
    this.#allocator.freePages(virtAddr(HEAP + BigInt(block * PAGE_SIZE)));
  }

  fragmentation(order: number): number {
    return this.#allocator.memoryInfo().fragmentation[order] as number;
  }
}

/** The mean fragmentation for each of `ORDERS`, when drained. */
function run(policy: Policy, start: number): number[] {
  let seed = start;
  const random = (below: number): number => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % below;
  };
  const live: [block: number, order: number][] = [];
  let used = 0;
  const sums = ORDERS.map(() => 0);
  const rounds = 12;
  for (let round = 0; round < rounds; round += 1) {
    while (used < PAGES * 0.9) {
      const order = random(6);
      const block = policy.allocate(order);
      if (block < 0) break;
      live.push([block, order]);
      used += 2 ** order;
    }
    while (used > PAGES * 0.5) {
      const victim = random(live.length);
      const [block, order] = live[victim] as [number, number];
      policy.free(block, order);
      used -= 2 ** order;
      live[victim] = live.at(-1) as [number, number];
      live.pop();
    }
    for (const [index, order] of ORDERS.entries()) {
      sums[index] = (sums[index] as number) + policy.fragmentation(order);
    }
  }
  return sums.map((sum) => sum / rounds);
}

console.log(`Share of the free pages too small for order ${ORDERS.join(', ')}; half occupancy, four seeds`);
const policies: [name: string, make: () => Policy][] = [
  ['PageAllocator', () => new Ours()],
  ['lowest address', () => new Arrays(true)],
  ['newest first', () => new Arrays(false)],
];
for (const [name, make] of policies) {
  const seeds = [1, 2, 3, 4].map((seed) => run(make(), (seed * 0x9e37_79b1) | 0));
  const cells = seeds.map((means) => means.map((mean) => mean.toFixed(2)).join(' '));
  console.log(`  ${name.padEnd(16)}${cells.join('   ')}`);
}
