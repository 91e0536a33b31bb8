import { Phys, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type BuddyErrorCode,
  ByteMemory,
  HeapAllocator,
  isBuddyError,
  PageAllocator,
  SlabCache,
} from '../../src/index.ts';

const PAGES = 64;
const ORIGIN = physAddr(0x7000);
const LIVE = 0x08;
const FREED = 0xf7;

interface Live {
  readonly address: PhysAddr;
  readonly size: number;
  /** The value of all its bytes. */
  readonly poison: number;
}

/** Checks that `action` throws one of `codes`. */
function refuses(action: () => void, codes: readonly BuddyErrorCode[]): void {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    action();
  } catch (error) {
    if (isBuddyError(error) && codes.includes(error.code)) return;
    throw error;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
  expect.fail(`${codes} is missing`);
}

/** The number of steps of a run; 100 runs have more than 10^5. */
const STEPS = 1300;

/** A zero stands for no step, so that shrinking leaves out steps. */
const steps = fc.array(fc.maxSafeNat(), { minLength: STEPS, maxLength: STEPS, size: 'max' });

const WHAT = [
  'allocate',
  'allocate',
  'allocate',
  'free',
  'free',
  'reallocate',
  'page',
  'trim',
  'bad',
] as const;

/** The action of a step, and its numbers. */
function decode(step: number) {
  const what = WHAT[step % WHAT.length]!;
  const choice = Math.floor(step / 16);
  const pick = choice % 2 ** 16;
  // Most sizes are small, and most alignments are the default.
  const size = (Math.floor(choice / 2 ** 16) % 20_000) % [65, 65, 2101, 20_001][pick % 4]!;
  const alignBits = pick % 3 === 0 ? (pick >> 2) % 14 : 4;
  return { what, size, alignBits, pick };
}

test('a heap keeps live objects intact, and frees everything in the end', () => {
  let count = 0;
  const property = fc.property(steps, (steps) => {
    const memory = new ByteMemory(Phys, new ArrayBuffer(PAGES * 4096), ORIGIN);
    const allocator = new PageAllocator(physRegion(ORIGIN, PAGES * 4096), { memory });
    const heap = new HeapAllocator(allocator, { memory });
    const initial = JSON.stringify(allocator.memoryInfo());
    const live: Live[] = [];
    const pages: PhysAddr[] = [];

    const holds = (address: PhysAddr, size: number, byte: number): boolean => {
      const words = memory.view(Int32Array, address, size >> 2);
      const wanted = Math.imul(byte, 0x0101_0101);
      for (let index = 0; index < words.length; index += 1) if (words[index] !== wanted) return false;
      return memory.bytes(Phys.add(address, size & ~3), size & 3).every((rest) => rest === byte);
    };
    const isWhole = ({ address, size, poison }: Live) => holds(address, size, poison);
    const add = (address: PhysAddr, size: number, align: number, poison: number) => {
      const capacity = heap.sizeOf(address);
      if (Number(address) % align !== 0 || capacity < size) {
        expect.fail(`${capacity} bytes at ${address} for ${size} at a multiple of ${align}`);
      }
      memory.bytes(address, capacity).fill(poison);
      live.push({ address, size: capacity, poison });
    };
    const take = (pick: number) => live.splice(pick % live.length, 1)[0]!;
    const attempt = <T>(action: () => T): T | undefined => {
      try {
        return action();
      } catch (error) {
        if (isBuddyError(error, 'OUT_OF_MEMORY')) return undefined;
        throw error;
      }
    };

    for (const [step, number] of steps.entries()) {
      if (number === 0) continue;
      const { what, size, alignBits, pick } = decode(number);
      count += 1;
      const align = 2 ** alignBits;
      const poison = LIVE + (step % 128);
      if (what === 'allocate') {
        const address = attempt(() => heap.allocate(size, align));
        if (address !== undefined) add(address, size, align, poison);
      } else if (what === 'page') {
        const page = attempt(() => allocator.allocateZeroedPage());
        if (page === undefined) continue;
        expect(holds(page, 4096, 0)).toBe(true);
        memory.bytes(page, 4096).fill(FREED);
        pages.push(page);
      } else if (what === 'trim') {
        heap.trim();
        const page = pages.pop();
        if (page !== undefined) allocator.freePage(page);
      } else if (live.length === 0) {
        continue;
      } else if (what === 'free') {
        const object = take(pick);
        expect(isWhole(object)).toBe(true);
        memory.bytes(object.address, object.size).fill(FREED);
        heap.free(object.address);
        refuses(() => heap.free(object.address), ['DOUBLE_FREE_OBJECT', 'OUTSIDE_OBJECTS']);
      } else if (what === 'reallocate') {
        const old = take(pick);
        const address = attempt(() => heap.reallocate(old.address, size, align));
        if (address === undefined) {
          live.push(old);
          continue;
        }
        const kept = Math.min(old.size, size);
        expect(holds(address, kept, old.poison)).toBe(true);
        add(address, size, align, poison);
      } else {
        const { address, size } = live[pick % live.length]!;
        refuses(() => heap.free(Phys.add(address, 1 + (pick % (size - 1)))), ['OBJECT_INTERIOR']);
      }
      if (step % 16 > 0) continue;
      heap.checkInvariants();
      allocator.checkInvariants();
    }
    heap.checkInvariants();
    allocator.checkInvariants();

    // Live objects do not overlap, and keep their contents.
    const sorted = [...live].sort((left, right) => Number(left.address - right.address));
    for (const [index, object] of sorted.entries()) {
      expect(isWhole(object)).toBe(true);
      const next = sorted[index + 1];
      if (next !== undefined)
        expect(Number(next.address - object.address)).toBeGreaterThanOrEqual(object.size);
    }
    const info = heap.info();
    expect(info.objects).toBe(live.length);
    expect(info.bytes).toBe(live.reduce((sum, { size }) => sum + size, 0));
    expect(allocator.memoryInfo().allocatedPages).toBe(info.pages + pages.length);

    for (const { address } of live) heap.free(address);
    for (const page of pages) allocator.freePage(page);
    heap.trim();
    expect(heap.info()).toEqual({ objects: 0, bytes: 0, pages: 0 });
    expect(JSON.stringify(allocator.memoryInfo())).toBe(initial);
  });
  fc.assert(property);
  console.log(`${count} steps of a heap`);
});

test('a slab cache agrees with a set of objects', () => {
  let count = 0;
  const property = fc.property(
    fc.record({ size: fc.integer({ min: 1, max: 4096 }), alignBits: fc.nat(8), keepEmpty: fc.nat(3) }),
    fc.array(fc.nat(0xffff), { minLength: STEPS, maxLength: STEPS, size: 'max' }),
    ({ size, alignBits, keepEmpty }, choices) => {
      const allocator = new PageAllocator(physRegion(ORIGIN, PAGES * 4096));
      const alignment = 2 ** alignBits;
      const make = () => new SlabCache(allocator, size, { alignment, keepEmpty });
      if (Math.ceil(size / alignment) * alignment > 4096) {
        expect(make).toThrow();
        return;
      }
      count += choices.length;
      const cache = make();
      const live: PhysAddr[] = [];
      const known = new Set<PhysAddr>();
      const capacity = Math.floor(4096 / cache.objectBytes) * PAGES;
      for (const [step, choice] of choices.entries()) {
        // Phases with more allocations alternate with phases with more frees.
        if (choice % 8 < (step % 600 < 300 ? 6 : 2)) {
          if (live.length === capacity) {
            refuses(() => cache.allocate(), ['OUT_OF_MEMORY']);
            continue;
          }
          const object = cache.allocate();
          if (Number(object) % alignment !== 0 || known.has(object)) expect.fail(`${object} is wrong`);
          known.add(object);
          live.push(object);
        } else if (live.length > 0) {
          const index = choice % live.length;
          const object = live[index]!;
          live[index] = live.at(-1) as PhysAddr;
          live.pop();
          known.delete(object);
          cache.free(object);
          refuses(() => cache.free(object), ['DOUBLE_FREE_OBJECT', 'OUTSIDE_OBJECTS']);
        }
        if (step % 64 === 0) cache.checkInvariants();
        if (cache.info().emptyPages > keepEmpty) expect.fail(`${keepEmpty} empty pages are kept, not more`);
      }
      expect(cache.info().objects).toBe(live.length);
      const pages = new Set(live.map((object) => object >> 12n));
      expect(cache.info().pages).toBe(pages.size + cache.info().emptyPages);
      for (const object of live) expect(object % 4096n <= 4096n - BigInt(size)).toBe(true);
      for (const object of live) cache.free(object);
      cache.trim();
      cache.checkInvariants();
      allocator.checkInvariants();
      expect(allocator.memoryInfo().freePages).toBe(PAGES);
    },
  );
  fc.assert(property);
  console.log(`${count} steps of a slab cache`);
});
