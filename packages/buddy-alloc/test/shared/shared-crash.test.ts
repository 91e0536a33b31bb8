/** A thread may end at any write to a shared allocator: the allocator that it leaves behind is sound. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type PageCache, SharedPageAllocator } from '../../src/index.ts';
import { LOCK } from '../../src/shared/shared-layout.ts';
import { type FlatAddr, flatRegion } from '../support/allocators.ts';
import { attached, picture } from '../support/shared-allocators.ts';

class Ended extends Error {}

/** Called before each write to a watched array. */
let beforeWrite = () => {};
/** The arrays behind the watched arrays, because `Atomics` does not accept a proxy. */
const targets = new WeakMap<object, object>();

beforeAll(() => {
  const writes = new Set(['compareExchange', 'exchange', 'store', 'add', 'notify']);
  for (const name of ['load', 'wait', ...writes] as 'store'[]) {
    const original = Atomics[name] as (...args: unknown[]) => unknown;
    vi.spyOn(Atomics, name).mockImplementation(((array: object, ...args: unknown[]) => {
      const target = targets.get(array);
      if (target !== undefined && writes.has(name)) beforeWrite();
      return original(target ?? array, ...args);
    }) as never);
  }
});

afterAll(() => {
  vi.restoreAllMocks();
});

/**
 * Runs `action`, and ends it after `writes` writes to shared memory, as if its thread had ended: nothing is cleaned up.
 * Returns whether the action was complete before that.
 */
function runs(writes: number, action: () => void): boolean {
  let left = writes;
  beforeWrite = () => {
    if (left === 0) throw new Ended();
    left -= 1;
  };
  try {
    action();
    return true;
  } catch (error) {
    if (!(error instanceof Ended)) throw error;
    return false;
  } finally {
    beforeWrite = () => {};
  }
}

/** A proxy for an array that calls `beforeWrite` before each write. */
function watched<T extends object>(array: T): T {
  const proxy = new Proxy(array, {
    get: (target, key) => {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        if (key === 'copyWithin' || key === 'fill') beforeWrite();
        return (value as (...args: unknown[]) => unknown).apply(target, args);
      };
    },
    set: (target, key, value) => {
      beforeWrite();
      return Reflect.set(target, key, value, target);
    },
  });
  targets.set(proxy, array);
  return proxy;
}

/** Another owner of the allocator, with watched arrays. */
function watchedOwner(allocator: SharedPageAllocator<FlatAddr>): SharedPageAllocator<FlatAddr> {
  for (const type of [Int32Array, Uint8Array]) {
    vi.stubGlobal(type.name, function make(buffer: ArrayBuffer, ...args: number[]) {
      const array = new type(buffer, ...args);
      return (buffer as ArrayBufferLike) === allocator.buffer ? watched(array) : array;
    });
  }
  try {
    return attached(allocator);
  } finally {
    vi.unstubAllGlobals();
  }
}

interface Scene {
  readonly allocator: SharedPageAllocator<FlatAddr>;
  /** The owner that ends; `cache` is its cache, `live` its blocks. */
  readonly victim: SharedPageAllocator<FlatAddr>;
  readonly cache: PageCache<FlatAddr>;
  readonly live: readonly FlatAddr[];
}

/** Pages from page 1, with blocks of orders 1, 0 and 0, and a cache that has pages. */
function scene(pages = 15, start = 1): Scene {
  const allocator = SharedPageAllocator.create(
    flatRegion(BigInt(start) * 4096n, BigInt(start + pages) * 4096n),
    { caches: 2 },
  );
  const victim = watchedOwner(allocator);
  const cache = victim.cache({ pages: 4 });
  const live = [
    victim.allocateBlock(1),
    victim.allocateBlock(0),
    cache.allocatePage(),
    victim.allocateBlock(0),
  ];
  return { allocator, victim, cache, live };
}

/** The allocated blocks only. Pages that moved between free and cached are not lost. */
function allocatedOf(allocator: SharedPageAllocator<FlatAddr>): string {
  return picture(allocator)
    .split(' ')
    .filter((block) => block.endsWith('a'))
    .join(' ');
}

const operations: Record<string, (scene: Scene) => void> = {
  'allocateBlock(0)': ({ victim }) => victim.allocateBlock(0),
  'allocateBlock(1)': ({ victim }) => victim.allocateBlock(1),
  'allocateBlock(2)': ({ victim }) => victim.allocateBlock(2),
  'allocateBlock(3), which fails and empties the caches': ({ victim }) => {
    try {
      victim.allocateBlock(3);
      victim.allocateBlock(3);
    } catch (error) {
      if (error instanceof Ended) throw error;
    }
  },
  'freePages of two': ({ victim, live }) => victim.freePages(live[0]!),
  'freePages of one': ({ victim, live }) => victim.freePages(live[1]!),
  'freePage of the last': ({ victim, live }) => victim.freePage(live[3]!),
  'cache.allocatePage': ({ cache }) => cache.allocatePage(),
  'cache.allocatePage, which fetches': ({ cache }) => {
    for (let page = 0; page < 4; page += 1) cache.allocatePage();
  },
  'cache.freePage': ({ cache, live }) => cache.freePage(live[2]!),
  'cache.freePage of a full cache': ({ cache, live, victim }) => {
    const more = [victim.allocatePage(), victim.allocatePage(), victim.allocatePage()];
    for (const page of [...live.slice(1), ...more]) cache.freePage(page);
  },
  'cache.close': ({ cache }) => cache.close(),
  memoryInfo: ({ victim }) => victim.memoryInfo(),
};

describe('an owner may end at any write', () => {
  test.each(Object.entries(operations))('%s', (name, operation) => {
    const whole = scene();
    operation(whole);
    const before = allocatedOf(scene().allocator);
    const after = allocatedOf(whole.allocator);
    let steps = 0;
    let ended = 0;
    for (let isWhole = false; !isWhole; steps += 1) {
      const here = scene();
      isWhole = runs(steps, () => operation(here));
      const { allocator, victim } = here;
      const words = new Int32Array(allocator.buffer);
      const held = words[LOCK] !== 0;
      expect(allocator.recover(victim.owner)).toBe(held);
      if (held) ended += 1;
      allocator.checkInvariants();
      const { cachedPages } = allocator.memoryInfo();
      expect(cachedPages).toBe(0);
      // An operation of one step has happened or not. One of several steps has happened up to some step.
      const now = allocatedOf(allocator);
      if (isWhole) expect(now).toBe(after);
      if (steps === 0) expect(now).toBe(before);
      for (const { region, state } of [...allocator.blocks()])
        if (state === 'allocated') allocator.freePages(region);
      expect(picture(allocator)).toBe('0:0f 1:1f 3:2f 7:3f');
      allocator.checkInvariants();
    }
    const takesNoLock = name === 'cache.allocatePage' || name === 'cache.freePage';
    expect(steps).toBeGreaterThan(takesNoLock ? 1 : 2);
    expect(ended > 0, 'it also ended while it held the lock').toBe(!takesNoLock);
  });

  test.each([
    ['allocateBlock(0)', 0],
    ['freePages of two', 0],
  ])('%s has happened or not, also in blocks of many pages', (name) => {
    const operation = operations[name]!;
    const make = () => scene(5 * 4096 + 3, 1021);
    const start = make();
    const before = allocatedOf(start.allocator);
    operation(start);
    const after = allocatedOf(start.allocator);
    for (let steps = 0, isWhole = false; !isWhole; steps += 1) {
      const here = make();
      isWhole = runs(steps, () => operation(here));
      here.allocator.recover(here.victim.owner);
      here.allocator.checkInvariants();
      expect([before, after]).toContain(allocatedOf(here.allocator));
    }
  });

  test('and another owner may end in the middle of recover', () => {
    for (let first = 1; first < 40; first += 3) {
      for (let second = 0, isWhole = false; !isWhole; second += 5) {
        const here = scene(4096 + 5, 1021);
        const other = watchedOwner(here.allocator);
        if (runs(first, () => here.victim.freePages(here.live[0]!))) break;
        isWhole = runs(second, () => other.recover(here.victim.owner));
        const holder = new Int32Array(here.allocator.buffer)[LOCK]! & 0x7fff_ffff;
        for (const owner of [holder || other.owner, here.victim.owner]) here.allocator.recover(owner);
        here.allocator.checkInvariants();
      }
    }
  });

  test('the next owner that takes the lock repairs an unfinished change', () => {
    const here = scene();
    // Only the operation ends, not the thread, as when the stack overflows.
    const original = picture(here.allocator);
    const words = new Int32Array(here.allocator.buffer);
    expect(runs(6, () => here.victim.allocateBlock(2))).toBe(false);
    words[LOCK] = 0;
    expect(picture(here.allocator)).toBe(original);
    here.allocator.checkInvariants();
  });
});
