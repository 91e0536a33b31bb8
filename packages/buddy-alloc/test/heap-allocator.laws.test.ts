import { Phys, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteMemory, HeapAllocator, isBuddyError, PageAllocator, SlabCache } from '../src/index.ts';

const PAGES = 64;
const ORIGIN = physAddr(0x7000);
const LIVE = 0x08;
const FREED = 0xf7;

interface Live {
  readonly address: PhysAddr;
  readonly size: number;
  /** What every byte of it holds. */
  readonly poison: number;
}

const steps = fc.array(
  fc.record({
    what: fc.constantFrom(
      'allocate',
      'allocate',
      'allocate',
      'free',
      'free',
      'reallocate',
      'page',
      'trim',
      'bad',
    ),
    size: fc.oneof(fc.nat(64), fc.nat(2100), fc.nat(20_000)),
    alignBits: fc.oneof(fc.constant(4), fc.nat(13)),
    pick: fc.nat(0xffff),
  }),
  { maxLength: 300, size: 'max' },
);

test('a heap keeps what is live, and gives everything back', () => {
  let count = 0;
  const property = fc.property(steps, (steps) => {
    count += steps.length;
    const memory = new ByteMemory(Phys, new ArrayBuffer(PAGES * 4096), ORIGIN);
    const allocator = new PageAllocator(physRegion(ORIGIN, PAGES * 4096), { memory });
    const heap = new HeapAllocator(allocator, { memory });
    const initial = JSON.stringify(allocator.memoryInfo());
    const live: Live[] = [];
    const pages: PhysAddr[] = [];

    const isWhole = ({ address, size, poison }: Live) =>
      memory.bytes(address, size).every((byte) => byte === poison);
    const add = (address: PhysAddr, size: number, align: number, poison: number) => {
      expect(Number(address) % align).toBe(0);
      expect(heap.sizeOf(address)).toBeGreaterThanOrEqual(size);
      memory.bytes(address, heap.sizeOf(address)).fill(poison);
      live.push({ address, size: heap.sizeOf(address), poison });
    };
    const take = (pick: number) => live.splice(pick % live.length, 1)[0] as Live;
    const attempt = <T>(action: () => T): T | undefined => {
      try {
        return action();
      } catch (error) {
        if (isBuddyError(error, 'OUT_OF_MEMORY')) return undefined;
        throw error;
      }
    };

    for (const [step, { what, size, alignBits, pick }] of steps.entries()) {
      const align = 2 ** alignBits;
      const poison = LIVE + (step % 128);
      if (what === 'allocate') {
        const address = attempt(() => heap.allocate(size, align));
        if (address !== undefined) add(address, size, align, poison);
      } else if (what === 'page') {
        const page = attempt(() => allocator.allocateZeroedPage());
        if (page === undefined) continue;
        expect(memory.bytes(page, 4096).every((byte) => byte === 0)).toBe(true);
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
        expect(() => heap.free(object.address)).toThrow();
      } else if (what === 'reallocate') {
        const old = take(pick);
        const address = attempt(() => heap.reallocate(old.address, size, align));
        if (address === undefined) {
          live.push(old);
          continue;
        }
        const kept = Math.min(old.size, size);
        expect(memory.bytes(address, kept).every((byte) => byte === old.poison)).toBe(true);
        add(address, size, align, poison);
      } else {
        const { address, size } = live[pick % live.length] as Live;
        expect(() => heap.free(Phys.add(address, 1 + (pick % (size - 1))))).toThrow();
      }
      heap.checkInvariants();
      allocator.checkInvariants();
    }

    // Live objects are apart, and hold what they held.
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

test('a slab cache does what a set of objects does', () => {
  let count = 0;
  const property = fc.property(
    fc.record({ size: fc.integer({ min: 1, max: 4096 }), alignBits: fc.nat(8), keepEmpty: fc.nat(3) }),
    fc.array(fc.nat(0xffff), { maxLength: 1200, size: 'max' }),
    ({ size, alignBits, keepEmpty }, choices) => {
      count += choices.length;
      const allocator = new PageAllocator(physRegion(ORIGIN, PAGES * 4096));
      const alignment = 2 ** alignBits;
      const make = () => new SlabCache(allocator, size, { alignment, keepEmpty });
      if (Math.ceil(size / alignment) * alignment > 4096) {
        expect(make).toThrow();
        return;
      }
      const cache = make();
      const live: PhysAddr[] = [];
      const known = new Set<PhysAddr>();
      const capacity = Math.floor(4096 / cache.objectBytes) * PAGES;
      for (const [step, choice] of choices.entries()) {
        // First more are allocated than freed, then the other way round, and so on.
        if (choice % 8 < (step % 600 < 300 ? 6 : 2)) {
          if (live.length === capacity) {
            expect(() => cache.allocate()).toThrow();
            continue;
          }
          const object = cache.allocate();
          expect(Number(object) % alignment).toBe(0);
          expect(known.has(object)).toBe(false);
          known.add(object);
          live.push(object);
        } else if (live.length > 0) {
          const index = choice % live.length;
          const object = live[index] as PhysAddr;
          live[index] = live.at(-1) as PhysAddr;
          live.pop();
          known.delete(object);
          cache.free(object);
          expect(() => cache.free(object)).toThrow();
        }
        if (step % 16 === 0) cache.checkInvariants();
        expect(cache.info().emptyPages).toBeLessThanOrEqual(Math.max(keepEmpty, 0));
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
