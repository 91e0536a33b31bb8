/**
 * Every state that ranges of pages can be in (free, reserved, taken away, allocated as blocks and runs), and every
 * operation on every range from each of them, beside a model that is a list of units.
 */
import type { MemoryRegion } from '@svsm/memory-region';
import { expect } from 'vitest';
import { type BuddyErrorCode, isBuddyError, PageAllocator } from '../src/index.ts';
import { type FlatAddr, flatRegion } from './support.ts';

/** What to explore. Places and sizes are counted in units of 2^`unitOrder` pages. */
export interface RangeWorld {
  readonly start: number;
  readonly units: number;
  readonly unitOrder: number;
}

const OPERATIONS = ['allocateAt', 'free', 'reserve', 'unreserve', 'removeRegion', 'addRegion'] as const;
type Operation = {
  readonly what: (typeof OPERATIONS)[number];
  readonly first: number;
  readonly count: number;
};

/** For each unit: `f`ree, `r`eserved, `x` for none of the allocator's, or the first unit of its block and its count. */
type State = readonly string[];

/**
 * Explores a world and returns how many states it has: every transition is made by the allocator and by the model, and
 * leads to the same; every one that the model refuses, the allocator refuses with the same code, and nothing changes.
 */
export function exploreRanges(world: RangeWorld): number {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return statesOf(world);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

/** How many there must be: a unit is free, reserved or away, or begins a piece of any length. */
export function countRangeStates(units: number): number {
  const counts = [1];
  for (let size = 1; size <= units; size += 1) {
    counts.push(3 * (counts[size - 1] as number) + counts.reduce((sum, count) => sum + count, 0));
  }
  return counts[units] as number;
}

function statesOf(world: RangeWorld): number {
  const initial: State = new Array(world.units).fill('f');
  const known = new Map<string, true>([[initial.join(' '), true]]);
  const queue: { state: State; path: readonly Operation[] }[] = [{ state: initial, path: [] }];
  for (const { state, path } of queue) {
    const allocator = replay(world, path);
    allocator.checkInvariants();
    for (const what of OPERATIONS) {
      for (let first = 0; first < world.units; first += 1) {
        for (let count = 1; first + count <= world.units; count += 1) {
          const operation = { what, first, count };
          const expected = apply(world, state, operation);
          if (typeof expected === 'string') {
            expect(
              codeOf(() => perform(world, allocator, operation)),
              show(state, operation),
            ).toBe(expected);
            continue;
          }
          const next = [...path, operation];
          const reached = replay(world, next);
          reached.checkInvariants();
          expect(view(world, reached), show(state, operation)).toEqual(expected);
          const key = expected.join(' ');
          if (!known.has(key)) {
            known.set(key, true);
            queue.push({ state: expected, path: next });
          }
        }
      }
    }
    expect(view(world, allocator), 'a failure has changed something').toEqual(state);
    checkRuns(world, state, path);
    checkOutside(world, allocator);
  }
  return known.size;
}

/** A run of any length is found if there is one, and it is where pages were free. */
function checkRuns(world: RangeWorld, state: State, path: readonly Operation[]): void {
  for (let count = 1; count <= world.units; count += 1) {
    for (const alignment of [1, 2, 4]) {
      const fits = state.some(
        (_, first) =>
          (first + world.start) % alignment === 0 &&
          first + count <= state.length &&
          state.slice(first, first + count).every((unit) => unit === 'f'),
      );
      const allocator = replay(world, path);
      let run: MemoryRegion<FlatAddr> | undefined;
      const bytes = 4096n << BigInt(world.unitOrder);
      // No alignment is greater than 2^47.
      if (bytes * BigInt(alignment) > 2n ** 47n) continue;
      const code = codeOf(() => {
        run = allocator.allocateRun(count * 2 ** world.unitOrder, bytes * BigInt(alignment));
      });
      expect(code, `${count} of ${state.join(' ')}`).toBe(fits ? undefined : 'OUT_OF_MEMORY');
      if (run === undefined) {
        expect(view(world, allocator)).toEqual(state);
        continue;
      }
      const first = Number(run.start / bytes) - world.start;
      const expected = apply(world, state, { what: 'allocateAt', first, count });
      expect((first + world.start) % alignment).toBe(0);
      expect(view(world, allocator)).toEqual(expected);
      allocator.checkInvariants();
      allocator.freePages(run.start);
      expect(view(world, allocator)).toEqual(state);
    }
  }
}

/** What is no part of the space is refused by all. */
function checkOutside(world: RangeWorld, allocator: PageAllocator<FlatAddr>): void {
  const outside = { first: world.units, count: 1 };
  // Nothing is past 2^64.
  if (BigInt(world.start + world.units) << BigInt(world.unitOrder) >= 2n ** 52n) return;
  for (const what of OPERATIONS) {
    const expected = what === 'addRegion' ? 'INVALID_REGION' : 'FOREIGN_ADDRESS';
    expect(codeOf(() => perform(world, allocator, { what, ...outside }))).toBe(expected);
  }
}

/** What `operation` leads to, or the code with which it is refused. */
function apply(world: RangeWorld, state: State, { what, first, count }: Operation): State | BuddyErrorCode {
  const units = state.slice(first, first + count);
  const filled = (unit: string): State =>
    state.map((old, index) => (index >= first && index < first + count ? unit : old));
  const obstacle = (wanted: string, code: BuddyErrorCode) => {
    const found = units.find((unit) => unit !== wanted);
    return found === undefined ? undefined : found === 'x' ? 'FOREIGN_ADDRESS' : code;
  };
  switch (what) {
    case 'allocateAt': {
      const isBlock = Number.isInteger(Math.log2(count)) && (first + world.start) % count === 0;
      return obstacle('f', 'NOT_FREE') ?? filled(`${first}+${count}${isBlock ? '' : 'run'}`);
    }
    case 'reserve':
      return obstacle('f', 'NOT_FREE') ?? filled('r');
    case 'removeRegion':
      return obstacle('f', 'NOT_FREE') ?? filled('x');
    case 'unreserve':
      return obstacle('r', 'NOT_RESERVED') ?? filled('f');
    case 'addRegion':
      return units.every((unit) => unit === 'x') ? filled('f') : 'INVALID_REGION';
    case 'free': {
      const [unit] = units as [string];
      if (unit === 'f') return 'DOUBLE_FREE';
      if (unit === 'r') return 'RESERVED_PAGE';
      if (unit === 'x') return 'FOREIGN_ADDRESS';
      if (!unit.startsWith(`${first}+`)) return 'BLOCK_TAIL';
      return Number.parseInt(unit.split('+')[1] as string, 10) === count ? filled('f') : 'WRONG_SIZE';
    }
  }
}

function regionOf({ start, unitOrder }: RangeWorld, first: number, count: number): MemoryRegion<FlatAddr> {
  const unit = 4096n << BigInt(unitOrder);
  return flatRegion(unit * BigInt(start + first), unit * BigInt(start + first + count));
}

function perform(world: RangeWorld, allocator: PageAllocator<FlatAddr>, operation: Operation): void {
  const region = regionOf(world, operation.first, operation.count);
  if (operation.what === 'free') allocator.freePages(region);
  else allocator[operation.what](region);
}

function replay(world: RangeWorld, path: readonly Operation[]): PageAllocator<FlatAddr> {
  const allocator = new PageAllocator(regionOf(world, 0, world.units));
  for (const operation of path) perform(world, allocator, operation);
  return allocator;
}

function view(world: RangeWorld, allocator: PageAllocator<FlatAddr>): string[] {
  const unit = 4096n << BigInt(world.unitOrder);
  const units = new Array<string>(world.units).fill('x');
  const seen = { free: 0, allocated: 0, reserved: 0 };
  for (const { region, state, kind, order } of allocator.blocks()) {
    const first = Number(region.start / unit) - world.start;
    const count = Number(region.size / unit);
    const name =
      state === 'allocated' ? `${first}+${count}${kind === 'run' ? 'run' : ''}` : (state[0] as string);
    units.fill(name, first, first + count);
    seen[state] += count * 2 ** world.unitOrder;
    expect(order).toBe(Math.ceil(Math.log2(count)) + world.unitOrder);
  }
  const info = allocator.memoryInfo();
  expect([info.freePages, info.allocatedPages, info.reservedPages]).toEqual([
    seen.free,
    seen.allocated,
    seen.reserved,
  ]);
  expect(info.totalPages).toBe(seen.free + seen.allocated + seen.reserved);
  return units;
}

function codeOf(action: () => void): BuddyErrorCode | undefined {
  try {
    action();
  } catch (error) {
    if (isBuddyError(error)) return error.code;
    throw error;
  }
  return undefined;
}

function show(state: State, { what, first, count }: Operation): string {
  return `${what} ${first}+${count} in ${state.join(' ')}`;
}
