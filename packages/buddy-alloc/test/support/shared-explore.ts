/** Explores every state of a small shared allocator, and tries every operation in each state. */
import type { MemoryRegion } from '@svsm/memory-region';
import { expect } from 'vitest';
import { type BuddyErrorCode, isBuddyError, SharedPageAllocator } from '../../src/index.ts';
import { Flat, type FlatAddr, flatRegion } from './allocators.ts';

/** A small shared allocator to explore. Places, sizes and orders are counted in units of 2^`unitOrder` pages. */
export interface World {
  /** The first unit of the region. */
  readonly start: number;
  /** The number of units. */
  readonly units: number;
  /** The order of a unit: 0, or more to test large blocks. Smaller blocks are not allocated. */
  readonly unitOrder: number;
  /** The greatest order of a request. */
  readonly maxOrder: number;
  /** The reserved units: bit n for unit n of the region. */
  readonly reserved: number;
}

/** A step: a block of some order is allocated or freed at some unit. */
type Operation = { readonly allocate: number } | { readonly free: number };

/** The visible state of an allocator. */
interface View {
  readonly allocated: readonly { readonly first: number; readonly order: number }[];
  readonly freeOrders: readonly number[];
  /** The state of each unit by number; `undefined` outside the region. */
  readonly units: ReadonlyMap<number, 'head' | 'tail' | 'free' | 'reserved'>;
  /** All blocks and all counters. */
  readonly text: string;
}

/**
 * Explores a world, breadth first, and returns the number of states.
 *
 * - In every state the invariants hold, and the counters agree with the blocks.
 * - Operations that can succeed do. The others fail with the right code and change nothing.
 * - The visible state depends only on what is allocated. So freeing everything, in any order, leads back to the initial
 *   state.
 */
export function exploreShared(world: World): number {
  const { stackTraceLimit } = Error;
  // Nobody reads the stacks of a million errors, and they would take most of the time.
  Error.stackTraceLimit = 0;
  try {
    return statesOf(world);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function statesOf(world: World): number {
  const texts = new Map<string, string>();
  const queue: (readonly Operation[])[] = [];
  const meet = (path: readonly Operation[]) => {
    const { allocated, text } = view(world, replay(world, path));
    const key = allocated.map(({ first, order }) => `${first}:${order}`).join(' ');
    const known = texts.get(key);
    if (known === undefined) {
      texts.set(key, text);
      queue.push(path);
    } else if (known !== text) {
      expect(text, `the way to a state shows: ${JSON.stringify(path)}`).toBe(known);
    }
  };
  meet([]);
  // The queue grows while the loop runs.
  for (const path of queue) {
    const allocator = replay(world, path);
    checkCounters(world, allocator);
    checkFailures(world, allocator);
    allocator.checkInvariants();
    const { allocated, freeOrders } = view(world, allocator);
    const largest = Math.max(-1, ...freeOrders);
    for (let order = 0; order <= largest; order += 1) meet([...path, { allocate: order }]);
    for (const { first } of allocated) meet([...path, { free: first }]);
  }
  return texts.size;
}

/** The number of states of a world: sets of disjoint aligned blocks, counted without an allocator. */
export function countStates({ start, units, maxOrder, reserved }: World): number {
  const usable = (unit: number) =>
    unit >= start && unit < start + units && ((reserved >> (unit - start)) & 1) === 0;
  const sets = (first: number, order: number): { readonly count: number; readonly whole: boolean } => {
    if (order === 0) return usable(first) ? { count: 2, whole: true } : { count: 1, whole: false };
    const left = sets(first, order - 1);
    const right = sets(first + 2 ** (order - 1), order - 1);
    const whole = left.whole && right.whole;
    return { count: left.count * right.count + (whole && order <= maxOrder ? 1 : 0), whole };
  };
  return sets(0, Math.ceil(Math.log2(start + units))).count;
}

function at(world: World, unit: number): FlatAddr {
  return Flat.address(edge(world, unit));
}

/** As `at`, but the unit may be the end of the space. */
function edge({ unitOrder }: World, unit: number): bigint {
  return (4096n << BigInt(unitOrder)) * BigInt(unit);
}

function unitsOf(world: World, first: number, count: number): MemoryRegion<FlatAddr> {
  return flatRegion(edge(world, first), edge(world, first + count));
}

function replay(world: World, path: readonly Operation[]): SharedPageAllocator<FlatAddr> {
  const { start, units, unitOrder, maxOrder } = world;
  const reserved = [];
  for (let unit = start; unit < start + units; unit += 1) {
    if ((world.reserved >> (unit - start)) & 1) reserved.push(unitsOf(world, unit, 1));
  }
  const allocator = SharedPageAllocator.create(unitsOf(world, start, units), {
    maxOrder: Math.min(52, unitOrder + maxOrder),
    reserved,
    caches: 0,
  });
  for (const [step, operation] of path.entries()) {
    if ('allocate' in operation) {
      const { start: address, size } = allocator.allocatePages(unitOrder + operation.allocate);
      expect(address % size).toBe(0n);
    } else {
      const address = at(world, operation.free);
      // Alternately by address and by region.
      allocator.freePages(step % 2 === 0 ? address : (allocator.blockOf(address)?.region ?? address));
    }
  }
  return allocator;
}

function view(world: World, allocator: SharedPageAllocator<FlatAddr>): View {
  const unit = 4096n << BigInt(world.unitOrder);
  const allocated = [];
  const freeOrders = [];
  const units = new Map<number, 'head' | 'tail' | 'free' | 'reserved'>();
  let text = '';
  for (const { region, order: pageOrder, state } of allocator.blocks()) {
    const first = Number(region.start / unit);
    const order = pageOrder - world.unitOrder;
    if (state === 'cached') expect.fail('there are no caches');
    if (state === 'allocated') allocated.push({ first, order });
    if (state === 'free') freeOrders.push(order);
    for (let tail = first; tail < first + 2 ** order; tail += 1)
      units.set(tail, state === 'allocated' ? 'tail' : state);
    if (state === 'allocated') units.set(first, 'head');
    text += `${first}:${order}${state} `;
  }
  return { allocated, freeOrders, units, text: text + JSON.stringify(allocator.memoryInfo()) };
}

/** Checks the counters against the blocks. */
function checkCounters(world: World, allocator: SharedPageAllocator<FlatAddr>): void {
  const { allocated, freeOrders, units } = view(world, allocator);
  const info = allocator.memoryInfo();
  const count = (orders: readonly number[]) =>
    Array.from({ length: allocator.maxOrder + 1 }, (_, order) =>
      orders.reduce((sum, blockOrder) => sum + (blockOrder + world.unitOrder === order ? 1 : 0), 0),
    );
  const pages = (orders: readonly number[]) =>
    orders.reduce((sum, order) => sum + 2 ** (order + world.unitOrder), 0);
  const orders = allocated.map(({ order }) => order);
  const reserved = [...units.values()].filter((state) => state === 'reserved').length;
  const free = pages(freeOrders);
  expect(info).toEqual({
    cachedPages: 0,
    fragmentation: Array.from({ length: allocator.maxOrder + 1 }, (_, order) =>
      free === 0 ? 0 : pages(freeOrders.filter((block) => block + world.unitOrder < order)) / free,
    ),
    totalPages: world.units * 2 ** world.unitOrder,
    freePages: pages(freeOrders),
    allocatedPages: pages(orders),
    reservedPages: reserved * 2 ** world.unitOrder,
    largestFreeOrder: freeOrders.length === 0 ? undefined : Math.max(...freeOrders) + world.unitOrder,
    freeBlocks: count(freeOrders),
    allocatedBlocks: count(orders),
  });
  expect(info.freePages + info.allocatedPages + info.reservedPages).toBe(info.totalPages);
  expect(units.size).toBe(world.units);
}

/** Tries every operation that must fail in the state of `allocator`. */
function checkFailures(world: World, allocator: SharedPageAllocator<FlatAddr>): void {
  const { allocated, freeOrders, units, text } = view(world, allocator);
  const { unitOrder, start } = world;
  const end = start + world.units;
  const fails = (code: BuddyErrorCode, action: () => void) => {
    let caught: unknown;
    try {
      action();
    } catch (error) {
      caught = error;
    }
    if (!isBuddyError(caught, code)) expect.fail(`${code} is missing, in ${text}: ${caught}`);
  };

  for (let order = Math.max(-1, ...freeOrders) + 1; order + unitOrder <= allocator.maxOrder; order += 1) {
    fails('OUT_OF_MEMORY', () => allocator.allocatePages(order + unitOrder));
  }
  for (const order of [-1, 0.5, NaN, allocator.maxOrder + 1]) {
    fails('INVALID_ORDER', () => allocator.allocatePages(order));
  }
  for (let unit = Math.max(0, start - 1); unit <= end && edge(world, unit) < Flat.end; unit += 1) {
    const address = at(world, unit);
    const code = {
      free: 'DOUBLE_FREE',
      reserved: 'RESERVED_PAGE',
      tail: 'BLOCK_TAIL',
      head: undefined,
    } as const;
    const what = units.get(unit);
    const expected = what === undefined ? 'OUTSIDE_REGION' : code[what];
    if (expected !== undefined) {
      fails(expected, () => allocator.freePages(address));
      fails(expected, () => allocator.freePage(address));
    }
    const inside = what === undefined ? 'OUTSIDE_REGION' : 'MISALIGNED_ADDRESS';
    fails(inside, () => allocator.freePages(Flat.add(address, 1)));
    fails(inside, () => allocator.freePage(Flat.add(address, 4095)));
  }
  for (const { first, order } of allocated) {
    for (let units = 0; first + units <= end; units += 1) {
      if (units === 2 ** order) continue;
      fails('WRONG_SIZE', () => allocator.freePages(unitsOf(world, first, units)));
    }
    if (order + unitOrder > 0) fails('WRONG_SIZE', () => allocator.freePage(at(world, first)));
  }
  expect(view(world, allocator).text, 'a failure has changed something').toBe(text);
}
