/**
 * The page allocator beside two others: the algorithm of COCONUT-SVSM, whose frees walk a singly linked list, and bare
 * doubly linked lists that take page numbers and check nothing, which is about as fast as this can be.
 *
 * In each round every variant runs once; medians over rounds, ratios within a round. Noise of a shared machine then
 * moves all of them.
 */
import { PAGE_SIZE, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const MIB = 0x10_0000;

/** Blocks of orders 0 to 5 by page number: what the two rivals do. */
interface Pages {
  allocate(order: number): number;
  free(page: number): void;
}

/**
 * The algorithm of kernel/src/mm/alloc.rs, ported as it stands: one list per order, linked one way, so a buddy is taken
 * out by walking from the head; splits and merges mark every page of a block.
 */
class LinearLists implements Pages {
  readonly #type: Uint8Array;
  readonly #order: Uint8Array;
  readonly #next: Int32Array;
  readonly #heads = new Int32Array(6).fill(-1);

  constructor(pages: number) {
    this.#type = new Uint8Array(pages);
    this.#order = new Uint8Array(pages);
    this.#next = new Int32Array(pages);
    for (let page = 0; page < pages; page += 32) {
      this.#mark(page, 5);
      this.#push(page, 5);
    }
  }

  allocate(order: number): number {
    let have = order;
    while (have < 6 && this.#heads[have] === -1) have += 1;
    if (have === 6) return -1;
    while (have > order) {
      const page = this.#pop(have);
      have -= 1;
      this.#mark(page, have);
      this.#mark(page + (1 << have), have);
      this.#push(page + (1 << have), have);
      this.#push(page, have);
    }
    const page = this.#pop(order);
    this.#type[page] = 1;
    return page;
  }

  free(page: number): void {
    if (this.#type[page] !== 1) throw new Error('not allocated');
    let head = page;
    let order = this.#order[page] as number;
    while (order < 5) {
      const buddy = head ^ (1 << order);
      if (buddy >= this.#type.length || this.#type[buddy] !== 0 || this.#order[buddy] !== order) break;
      this.#unlink(buddy, order);
      head = Math.min(head, buddy);
      order += 1;
      this.#mark(head, order);
    }
    this.#push(head, order);
  }

  #mark(page: number, order: number): void {
    this.#order.fill(order, page, page + (1 << order));
    this.#type.fill(3, page + 1, page + (1 << order));
  }

  #push(page: number, order: number): void {
    this.#type[page] = 0;
    this.#next[page] = this.#heads[order] as number;
    this.#heads[order] = page;
  }

  #pop(order: number): number {
    const page = this.#heads[order] as number;
    this.#heads[order] = this.#next[page] as number;
    return page;
  }

  #unlink(page: number, order: number): void {
    if (this.#heads[order] === page) {
      this.#pop(order);
      return;
    }
    let previous = this.#heads[order] as number;
    while (this.#next[previous] !== page) previous = this.#next[previous] as number;
    this.#next[previous] = this.#next[page] as number;
  }
}

/** Doubly linked lists in one Int32Array, a byte a page, and no check of anything. */
class BareLists implements Pages {
  readonly #links: Int32Array;
  readonly #marks: Uint8Array;
  readonly #heads = new Int32Array(32).fill(-1);
  readonly #maxOrder: number;
  #filled = 0;

  constructor(pages: number) {
    this.#links = new Int32Array(2 * pages);
    this.#marks = new Uint8Array(pages);
    this.#maxOrder = Math.log2(pages);
    this.add(0, this.#maxOrder);
  }

  allocate(order: number): number {
    const fitting = this.#filled >>> order;
    if (fitting === 0) return -1;
    let have = order + 31 - Math.clz32(fitting & -fitting);
    const page = this.#heads[have] as number;
    this.remove(page, have);
    while (have > order) {
      have -= 1;
      this.add(page + (1 << have), have);
    }
    this.#marks[page] = 0x40 | order;
    return page;
  }

  free(page: number): void {
    const marks = this.#marks;
    let order = (marks[page] as number) & 0x3f;
    let head = page;
    marks[page] = 0;
    while (order < this.#maxOrder) {
      const buddy = head ^ (1 << order);
      if (marks[buddy] !== (0x80 | order)) break;
      marks[buddy] = 0;
      this.remove(buddy, order);
      head &= buddy;
      order += 1;
    }
    this.add(head, order);
  }

  add(page: number, order: number): void {
    const next = this.#heads[order] as number;
    this.#links[2 * page] = next;
    this.#links[2 * page + 1] = -1;
    if (next >= 0) this.#links[2 * next + 1] = page;
    this.#heads[order] = page;
    this.#marks[page] = 0x80 | order;
    this.#filled |= 1 << order;
  }

  remove(page: number, order: number): void {
    const next = this.#links[2 * page] as number;
    const previous = this.#links[2 * page + 1] as number;
    if (next >= 0) this.#links[2 * next + 1] = previous;
    if (previous >= 0) this.#links[2 * previous] = next;
    else this.#heads[order] = next;
    if ((this.#heads[order] as number) < 0) this.#filled &= ~(1 << order);
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] as number;

const nanoseconds = (operations: number, run: () => void): number => {
  const start = performance.now();
  run();
  return ((performance.now() - start) * 1e6) / operations;
};

let seed = 1;
const random = (below: number): number => {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return (seed >>> 0) % below;
};

function shuffle<T>(values: T[]): void {
  for (let i = values.length - 1; i > 0; i -= 1) {
    const j = random(i + 1);
    const value = values[i] as T;
    values[i] = values[j] as T;
    values[j] = value;
  }
}

/** Makes each bigint anew, so that what lies scattered in memory are the allocator's tables and not its handles. */
function renew(handles: (bigint | number)[]): void {
  for (const [i, handle] of handles.entries()) {
    if (typeof handle === 'bigint') handles[i] = BigInt.asUintN(64, handle + 1n) - 1n;
  }
}

/** Prints one line for each variant: the median of each column, and its ratio to that of the first variant. */
function table(
  title: string,
  names: readonly string[],
  columns: readonly string[],
  times: number[][][],
): void {
  console.log(`\n${title}`);
  console.log(`  ${''.padEnd(28)}${columns.map((column) => column.padStart(22)).join('')}`);
  for (const [i, name] of names.entries()) {
    const cells = columns.map((_, column) => {
      const own = times[i]?.[column] ?? [];
      if (own.length === 0) return '-'.padStart(22);
      const base = times[0]?.[column] as number[];
      const ratio = median(own.map((time, round) => time / (base[round] as number)));
      return `${median(own).toFixed(1).padStart(10)} ns ${ratio.toFixed(2).padStart(7)} ×`;
    });
    console.log(`  ${name.padEnd(28)}${cells.join('')}`);
  }
}

/** Allocates every page, frees all in that order; allocates every page again, frees all in random order. */
function everyPage(mib: number, rounds: number, withLinear: boolean): void {
  const count = (mib * MIB) / PAGE_SIZE;
  const allocator = new PageAllocator(virtRegion(HEAP, mib * MIB));
  const addresses: VirtAddr[] = new Array(count);
  const numbers: number[] = new Array(count).fill(0);

  const ours = [
    () => {
      for (let i = 0; i < count; i += 1) addresses[i] = allocator.allocatePage();
    },
    () => {
      for (let i = 0; i < count; i += 1) allocator.freePage(addresses[i] as VirtAddr);
    },
  ] as const;
  // One loop for each class, so that neither sees the calls of the other.
  const bare = new BareLists(count);
  const bareLoops = [
    () => {
      for (let i = 0; i < count; i += 1) numbers[i] = bare.allocate(0);
    },
    () => {
      for (let i = 0; i < count; i += 1) bare.free(numbers[i] as number);
    },
  ] as const;
  const linear = new LinearLists(count);
  const linearLoops = [
    () => {
      for (let i = 0; i < count; i += 1) numbers[i] = linear.allocate(0);
    },
    () => {
      for (let i = 0; i < count; i += 1) linear.free(numbers[i] as number);
    },
  ] as const;

  const variants = [
    ['bare lists, page numbers', bareLoops, numbers],
    ['PageAllocator, addresses', ours, addresses],
    ["upstream's algorithm", linearLoops, numbers],
  ] as const;
  const times = variants.map((): number[][] => [[], [], []]);
  const warmUp = Math.ceil(rounds / 4);
  for (let round = -warmUp; round < rounds; round += 1) {
    for (const [i, [, [allocate, free], handles]] of variants.entries()) {
      const inRandomOrder = i < 2 || withLinear;
      const row = [nanoseconds(count, allocate), nanoseconds(count, free)];
      if (inRandomOrder) {
        allocate();
        shuffle(handles as unknown[]);
        renew(handles);
        row.push(nanoseconds(count, free));
      }
      if (round >= 0) for (const [column, time] of row.entries()) times[i]?.[column]?.push(time);
    }
  }
  allocator.checkInvariants();
  table(
    `Every page of ${mib} MiB, ns a page`,
    variants.map(([name]) => name),
    ['allocate', 'free in order', 'free in random order'],
    times,
  );
}

/** Blocks of orders 0 to 5 at half occupancy, a random one freed, a new one allocated. */
function mix(mib: number, rounds: number): void {
  const pages = (mib * MIB) / PAGE_SIZE;
  const operations = 100_000;
  const allocator = new PageAllocator(virtRegion(HEAP, mib * MIB));
  const regions: MemoryRegion<VirtAddr>[] = [];
  const bare = new BareLists(pages);
  const linear = new LinearLists(pages);
  const numbers: [number[], number[]] = [[], []];
  const orders: [number[], number[]] = [[], []];
  const used = [0, 0, 0];

  const numbered = (allocator: Pages, which: 0 | 1) => () => {
    const [live, sizes] = [numbers[which], orders[which]];
    for (let i = 0; i < operations; i += 1) {
      if ((used[which] as number) < pages / 2) {
        const order = random(6);
        live.push(allocator.allocate(order));
        sizes.push(order);
        used[which] = (used[which] as number) + (1 << order);
      } else {
        const victim = random(live.length);
        allocator.free(live[victim] as number);
        used[which] = (used[which] as number) - (1 << (sizes[victim] as number));
        live[victim] = live.at(-1) as number;
        sizes[victim] = sizes.at(-1) as number;
        live.pop();
        sizes.pop();
      }
    }
  };
  const sizesOfRegions: number[] = [];
  const ours = () => {
    for (let i = 0; i < operations; i += 1) {
      if ((used[2] as number) < pages / 2) {
        const order = random(6);
        regions.push(allocator.allocatePages(order));
        sizesOfRegions.push(order);
        used[2] = (used[2] as number) + (1 << order);
      } else {
        const victim = random(regions.length);
        allocator.freePages(regions[victim] as MemoryRegion<VirtAddr>);
        used[2] = (used[2] as number) - (1 << (sizesOfRegions[victim] as number));
        regions[victim] = regions.at(-1) as MemoryRegion<VirtAddr>;
        sizesOfRegions[victim] = sizesOfRegions.at(-1) as number;
        regions.pop();
        sizesOfRegions.pop();
      }
    }
  };

  const byAddress = new PageAllocator(virtRegion(HEAP, mib * MIB));
  const addresses: VirtAddr[] = [];
  const sizesOfAddresses: number[] = [];
  let usedByAddress = 0;
  const oursByAddress = () => {
    for (let i = 0; i < operations; i += 1) {
      if (usedByAddress < pages / 2) {
        const order = random(6);
        addresses.push(byAddress.allocateBlock(order));
        sizesOfAddresses.push(order);
        usedByAddress += 1 << order;
      } else {
        const victim = random(addresses.length);
        byAddress.freePages(addresses[victim] as VirtAddr);
        usedByAddress -= 1 << (sizesOfAddresses[victim] as number);
        addresses[victim] = addresses.at(-1) as VirtAddr;
        sizesOfAddresses[victim] = sizesOfAddresses.at(-1) as number;
        addresses.pop();
        sizesOfAddresses.pop();
      }
    }
  };

  const variants = [
    ['bare lists, page numbers', numbered(bare, 0)],
    ['PageAllocator, regions', ours],
    ['PageAllocator, addresses', oursByAddress],
    ["upstream's algorithm", numbered(linear, 1)],
  ] as const;
  const times = variants.map((): number[][] => [[]]);
  for (let round = -4; round < rounds; round += 1) {
    for (const [i, [, run]] of variants.entries()) {
      const time = nanoseconds(operations, run);
      if (round >= 0) times[i]?.[0]?.push(time);
    }
  }
  allocator.checkInvariants();
  table(
    `Orders 0 to 5 at half occupancy of ${mib} MiB, ns an operation, loop included`,
    variants.map(([name]) => name),
    ['allocate or free'],
    times,
  );
}

/** What an allocator costs before it is used, and what its tables hold after some use. */
function construction(): void {
  const collect = globalThis.gc ?? (() => {});
  const arrayBytes = () => {
    // The second time, what the first has swept is no longer counted.
    collect();
    collect();
    return process.memoryUsage().arrayBuffers;
  };
  console.log('\nConstruction (median of 9), and tables after use');
  for (const [name, size] of [
    ['64 MiB', 64 * MIB],
    ['16 GiB', 2 ** 34],
    ['1 TiB', 2 ** 40],
    ['64 TiB', 2 ** 46],
  ] as const) {
    const region = physRegion(physAddr(0), size);
    const times: number[] = [];
    const kept: PageAllocator<ReturnType<typeof physAddr>>[] = [];
    const before = arrayBytes();
    for (let round = 0; round < 9; round += 1) {
      times.push(nanoseconds(1, () => kept.push(new PageAllocator(region))));
    }
    const bytes = (arrayBytes() - before) / kept.length;
    const [allocator] = kept;
    const touched = Math.min(size / PAGE_SIZE, 0x4_0000);
    const start = arrayBytes();
    for (let page = 0; page < touched; page += 1) allocator?.allocatePage();
    const perPage = (arrayBytes() - start) / touched;
    console.log(
      `  ${name.padEnd(8)}${(median(times) / 1000).toFixed(1).padStart(8)} µs ${bytes.toFixed(0).padStart(8)} bytes; ` +
        `${perPage.toFixed(2)} bytes a page after ${touched} pages`,
    );
  }
}

console.log(`@svsm/buddy-alloc, Node ${process.versions.node}; ratios to the first line of each table`);
everyPage(64, 40, true);
everyPage(1024, 9, false);
mix(64, 25);
mix(1024, 25);
mix(4096, 15);
construction();
