/**
 * Blocks of orders 0 to 5 at half occupancy: a random block is freed and a new one allocated, over and over. It compares the
 * three forms of the page allocator (a region, an address, an index), which shows the price of the objects that they return,
 * with bare linked lists, the algorithm of COCONUT-SVSM and @thi.ng/malloc.
 */
import { PAGE_SIZE, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';
import { MemPool } from '@thi.ng/malloc';
import { bytesOf, compare, compile, nanoseconds, type Variant } from './harness.ts';
import { BareLists, LinearLists } from './rivals.ts';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const MIB = 0x10_0000;
/** Enough steps to replace most blocks. */
const operationsFor = (pages: number): number => Math.max(4000, Math.ceil(pages / 10));

interface Mixed {
  readonly name: string;
  readonly allocator: object;
  /** Allocates a block of order `o`. */
  readonly allocate: string;
  /** Frees `block`. */
  readonly release: string;
  /** The value of a handle without a block. */
  readonly none: unknown;
  readonly once?: boolean;
}

function variant(pages: number, { name, allocator, allocate, release, none, once = false }: Mixed): Variant {
  const operations = operationsFor(pages);
  const live: unknown[] = new Array(pages / 2).fill(none);
  const state = { seed: 12345, used: 0, count: 0 };
  const run = compile<() => void>(
    { live, orders: new Int32Array(pages / 2), allocator, state, half: pages / 2, operations },
    '',
    `
    let { seed, used, count } = state;
    for (let i = 0; i < operations; i += 1) {
      seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5;
      // In 31 bits, a remainder is an instruction and not a call.
      const random = seed >>> 1;
      if (used < half) {
        const o = random % 6;
        live[count] = ${allocate};
        orders[count] = o;
        count += 1;
        used += 1 << o;
      } else {
        const victim = random % count;
        const block = live[victim];
        ${release};
        used -= 1 << orders[victim];
        count -= 1;
        live[victim] = live[count];
        orders[victim] = orders[count];
      }
    }
    state.seed = seed; state.used = used; state.count = count;`,
  );
  // Fills and mixes it until it is half full.
  const warmUp = once ? 2 : Math.ceil((pages / operations) * 0.6) + 20;
  for (let round = 0; round < warmUp; round += 1) run();
  const round = (): number[] => {
    // The other variants have used the processor's caches.
    if (!once) run();
    return [nanoseconds(operations, run)];
  };
  return { name, round, once, bytes: () => [bytesOf(operations, run)] };
}

function mix(mib: number, rounds: number): void {
  const pages = (mib * MIB) / PAGE_SIZE;
  const allocators = Array.from({ length: 3 }, () => new PageAllocator(virtRegion(HEAP, mib * MIB)));
  const [regions, addresses, indexes] = allocators as [PageAllocator<typeof HEAP>, ...typeof allocators];
  const cell = new BigUint64Array([HEAP]);
  const alone = { cell, halves: new Int32Array(cell.buffer), sum: 0 };
  const numbers = { allocate: 'allocator.allocate(o)', release: 'allocator.free(block)', none: 0 };
  const released = { release: 'allocator.freePages(block)', none: undefined };
  const mixed: Mixed[] = [
    { name: 'bare lists, page numbers', allocator: new BareLists(pages), ...numbers },
    { name: 'indexed', allocator: indexes?.indexed as object, ...numbers },
    {
      name: 'allocateBlock: an address',
      allocator: addresses as object,
      allocate: 'allocator.allocateBlock(o)',
      ...released,
    },
    {
      name: 'allocatePages: a region',
      allocator: regions,
      allocate: 'allocator.allocatePages(o)',
      ...released,
    },
    { name: "upstream's algorithm", allocator: new LinearLists(pages), ...numbers },
    {
      name: 'the loop alone',
      allocator: alone,
      allocate: 'count',
      release: 'allocator.sum ^= block',
      none: 0,
    },
    {
      name: 'the loop, bigints made and read',
      allocator: alone,
      allocate: 'BigInt.asUintN(64, allocator.cell[0] + BigInt(o))',
      release:
        'allocator.cell[0] = block; allocator.sum ^= allocator.halves[0]; allocator.halves[0] &= ~0xffff',
      none: undefined,
    },
  ];
  if (mib <= 64) {
    mixed.push({
      name: '@thi.ng/malloc',
      allocator: new MemPool({ size: 2 * mib * MIB }),
      allocate: `allocator.malloc(${PAGE_SIZE} << o)`,
      release: 'allocator.free(block)',
      none: 0,
      once: true,
    });
  }
  compare(
    `Orders 0 to 5 at half occupancy of ${mib} MiB, ns an operation, loop included`,
    ['allocate or free'],
    mixed.map((one) => variant(pages, one)),
    rounds,
  );
  for (const allocator of allocators) allocator.checkInvariants();
}

console.log(`@svsm/buddy-alloc, a mix of orders; Node ${process.versions.node}; ratios to the first line`);
mix(64, 300);
mix(1024, 100);
mix(4096, 40);
mix(16 * 1024, 8);
