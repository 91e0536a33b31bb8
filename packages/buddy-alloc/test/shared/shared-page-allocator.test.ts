import { Phys, physAddr, Virt, virtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { renderMap, SharedPageAllocator } from '../../src/index.ts';
import {
  CHECKSUM,
  DIRTY,
  LOCK,
  MAGIC,
  OWNERS,
  PAGES,
  START_LOW,
  VERSION,
} from '../../src/shared/shared-layout.ts';
import { buddyError, Flat, flatRegion, HEAP, heapPages, untyped } from '../support/allocators.ts';
import { attached, picture } from '../support/shared-allocators.ts';

/** The number of words before the caches. */
const HEADER = 176;
const KIB = 1024;
const TIB = 1024 ** 4;

/** A copy of the bytes of `buffer`, to compare or to put back. */
const bytesOf = (buffer: SharedArrayBuffer) => new Uint8Array(buffer).slice();

describe('create', () => {
  test('allocates blocks as PageAllocator does', () => {
    const region = physRegion(physAddr(0x3000), 11 * 4096);
    const allocator = SharedPageAllocator.create(region, {
      reserved: [physRegion(physAddr(0x6000), 0x2000)],
    });
    expect(picture(allocator)).toBe('0:0f 1:1f 3:1r 5:2f 9:1f');
    expect(allocator.allocatePages(2).toString()).toBe('[0x0000000000008000-0x000000000000c000)');
    expect(allocator.allocatePage()).toBe(physAddr(0x3000));
    expect(allocator.allocateBlock(1)).toBe(physAddr(0x4000));
    expect(picture(allocator)).toBe('0:0a 1:1a 3:1r 5:2a 9:1f');
    expect(allocator.region).toBe(region);
    expect(allocator.maxOrder).toBe(2);
    expect(allocator.memoryInfo()).toEqual({
      totalPages: 11,
      freePages: 2,
      allocatedPages: 7,
      reservedPages: 2,
      cachedPages: 0,
      largestFreeOrder: 1,
      freeBlocks: [0, 1, 0],
      allocatedBlocks: [1, 1, 1],
      fragmentation: [0, 0, 1],
    });
  });

  test('costs nothing for unused pages, at any size', () => {
    const region = virtRegion(HEAP, TIB);
    expect(SharedPageAllocator.bytesFor(region)).toBeLessThan(2 ** 28 * 1.5 + 60 * KIB);
    const allocator = SharedPageAllocator.create(region);
    const page = allocator.allocatePage();
    expect(allocator.memoryInfo().freePages).toBe(2 ** 28 - 1);
    allocator.checkInvariants();
    allocator.freePage(page);
    expect(picture(allocator)).toBe('0:28f');
  });

  test('accepts at most 4 TiB', () => {
    const region = flatRegion(0x1000n, BigInt(4 * TIB) + 0x2000n);
    const error = buddyError('REGION_TOO_LARGE', () => SharedPageAllocator.create(region));
    expect(error.details).toEqual({ region, maxPages: 2 ** 30 });
    expect(SharedPageAllocator.bytesFor(flatRegion(0x1000n, BigInt(4 * TIB) + 0x1000n))).toBeLessThan(
      1.51 * 2 ** 30,
    );
  });

  test('refuses the same input as PageAllocator, with the same codes', () => {
    const create = (region: MemoryRegion<typeof HEAP>, options = {}) =>
      SharedPageAllocator.create(region, options);
    buddyError('INVALID_REGION', () => create(heapPages(0, 0)));
    buddyError('INVALID_REGION', () => create(virtRegion(virtAddr(HEAP + 1n), 4096)));
    for (const maxOrder of [-1, 0.5, NaN, 53, '2']) {
      buddyError('INVALID_MAX_ORDER', () => create(heapPages(0, 4), { maxOrder }));
    }
    for (const reserved of [heapPages(3, 2), virtRegion(virtAddr(HEAP + 1n), 4096)]) {
      buddyError('INVALID_RESERVED', () => create(heapPages(0, 4), { reserved: [reserved] }));
    }
    buddyError('INVALID_RESERVED', () =>
      create(heapPages(0, 4), { reserved: [heapPages(1, 2), heapPages(2, 1)] }),
    );
    for (const caches of [-1, 0.5, 1025, NaN, '1']) {
      buddyError('INVALID_OPTION', () => create(heapPages(0, 4), { caches }));
      buddyError('INVALID_OPTION', () => SharedPageAllocator.bytesFor(heapPages(0, 4), untyped({ caches })));
    }
    for (const lockTimeout of [-1, NaN, '1', null]) {
      buddyError('INVALID_OPTION', () => create(heapPages(0, 4), { lockTimeout }));
    }
    expect(() => create(untyped(undefined))).toThrow();
  });

  test('accepts a buffer of zeros that is large enough', () => {
    const region = heapPages(5, 100);
    const bytes = SharedPageAllocator.bytesFor(region);
    for (const more of [0, 1, 5000]) {
      const buffer = new SharedArrayBuffer(bytes + more);
      const allocator = SharedPageAllocator.create(region, { buffer });
      expect(allocator.buffer).toBe(buffer);
      const used = bytesOf(buffer);
      const error = buddyError('INVALID_SHARED_BUFFER', () => SharedPageAllocator.create(region, { buffer }));
      expect(error.details).toEqual({ reason: 'not zeros', byteLength: bytes + more, needed: bytes });
      expect(bytesOf(buffer)).toEqual(used);
      allocator.checkInvariants();
    }
    const small = new SharedArrayBuffer(bytes - 1);
    const error = buddyError('INVALID_SHARED_BUFFER', () =>
      SharedPageAllocator.create(region, { buffer: small }),
    );
    expect(error.details).toEqual({ reason: 'too small', byteLength: bytes - 1, needed: bytes });
    for (const buffer of [new ArrayBuffer(bytes), new Uint8Array(new SharedArrayBuffer(bytes)), null, 7]) {
      const error = buddyError('INVALID_SHARED_BUFFER', () =>
        SharedPageAllocator.create(region, { buffer: untyped(buffer) }),
      );
      expect(error.details.reason).toBe('type');
    }
  });

  test('throws if no buffer can be created', () => {
    const { SharedArrayBuffer: original } = globalThis;
    try {
      Reflect.deleteProperty(globalThis, 'SharedArrayBuffer');
      const error = buddyError('INVALID_SHARED_BUFFER', () => SharedPageAllocator.create(heapPages(0, 4)));
      expect(error.details.reason).toBe('unavailable');
      expect(error.cause).toBeInstanceOf(ReferenceError);
    } finally {
      globalThis.SharedArrayBuffer = original;
    }
  });
});

describe('attach', () => {
  test('creates another owner of the same pages', () => {
    const first = SharedPageAllocator.create(heapPages(1, 15), { maxOrder: 2, reserved: [heapPages(4, 1)] });
    const second = SharedPageAllocator.attach(Virt, first.buffer);
    expect(second.owner).not.toBe(first.owner);
    expect(second.region.equals(first.region)).toBe(true);
    expect(second.maxOrder).toBe(2);
    const block = first.allocatePages(2);
    expect(picture(second)).toBe(picture(first));
    second.freePages(block);
    buddyError('DOUBLE_FREE', () => first.freePages(block));
    first.checkInvariants();
    second.checkInvariants();
  });

  test('works at both ends of the address space', () => {
    for (const region of [flatRegion(0n, 0x3000n), flatRegion(2n ** 64n - 0x5000n, 2n ** 64n)]) {
      const allocator = SharedPageAllocator.create(region);
      const other = attached(allocator);
      expect(other.region.equals(region)).toBe(true);
      const pages = Array.from({ length: region.pageCount() }, () => other.allocatePage());
      expect(new Set(pages).size).toBe(region.pageCount());
      expect(pages.every((page) => region.contains(page))).toBe(true);
      buddyError('OUT_OF_MEMORY', () => other.allocatePage());
      for (const page of pages) allocator.freePage(page);
      allocator.checkInvariants();
    }
  });

  test('refuses a buffer without an allocator', () => {
    const { buffer } = SharedPageAllocator.create(heapPages(1, 15));
    const reasonOf = (attach: () => unknown) => buddyError('INVALID_SHARED_BUFFER', attach).details.reason;
    expect(reasonOf(() => SharedPageAllocator.attach(Virt, new SharedArrayBuffer(5000)))).toBe(
      'uninitialized',
    );
    expect(reasonOf(() => SharedPageAllocator.attach(Virt, new SharedArrayBuffer(0)))).toBe('too small');
    expect(reasonOf(() => SharedPageAllocator.attach(Virt, untyped(new ArrayBuffer(5000))))).toBe('type');
    expect(reasonOf(() => SharedPageAllocator.attach(Virt, untyped(undefined)))).toBe('type');
    expect(reasonOf(() => SharedPageAllocator.attach(Phys, buffer))).toBe('kind');
    const cut = new SharedArrayBuffer(buffer.byteLength - 1);
    new Uint8Array(cut).set(new Uint8Array(buffer).subarray(0, cut.byteLength));
    expect(reasonOf(() => SharedPageAllocator.attach(Virt, cut))).toBe('too small');
    buddyError('INVALID_OPTION', () => SharedPageAllocator.attach(Virt, buffer, { lockTimeout: -1 }));
  });

  test('refuses a header with any bit flipped', () => {
    const { buffer } = SharedPageAllocator.create(heapPages(1, 15));
    const words = new Int32Array(buffer);
    for (let word = 0; word <= CHECKSUM; word += 1) {
      for (let bit = 0; bit < 32; bit += 1) {
        words[word]! ^= 1 << bit;
        const { reason } = buddyError('INVALID_SHARED_BUFFER', () =>
          SharedPageAllocator.attach(Virt, buffer),
        ).details;
        expect(reason).toBe(word === MAGIC ? 'uninitialized' : word === VERSION ? 'version' : 'corrupted');
        words[word]! ^= 1 << bit;
      }
    }
    SharedPageAllocator.attach(Virt, buffer).checkInvariants();
  });

  test('refuses a forged header, and computes no layout from it', () => {
    const region = flatRegion(0x1000n, 0x1_0000n);
    const forge = (word: number, value: number) => {
      const { buffer } = SharedPageAllocator.create(region);
      const words = new Int32Array(buffer);
      words[word] = value;
      // As `checksum` in shared-layout.ts.
      const hash = words.subarray(VERSION, CHECKSUM);
      words[CHECKSUM] = hash.reduce((sum, one) => Math.imul(sum ^ one, 0x01000193) ^ (sum >>> 15), 0x5eed);
      return buddyError('INVALID_SHARED_BUFFER', () => SharedPageAllocator.attach(Flat, buffer)).details
        .reason;
    };
    expect(forge(PAGES, 0)).toBe('corrupted');
    expect(forge(PAGES, -1)).toBe('corrupted');
    expect(forge(PAGES, 0x7fff_ffff)).toBe('corrupted');
    expect(forge(PAGES, 0x4000_0000)).toBe('too small');
    expect(forge(START_LOW + 1, 0x7fff_ffff)).toBe('corrupted');
    expect(forge(5, 31)).toBe('corrupted');
    expect(forge(5, -1)).toBe('corrupted');
    expect(forge(6, -1)).toBe('corrupted');
    expect(forge(6, 1025)).toBe('corrupted');
    const { buffer } = SharedPageAllocator.create(region);
    const words = new Int32Array(buffer);
    // Page 2^40 is outside physical memory. Phys has another hash, so the kind is refused first.
    words[START_LOW + 1] = 256;
    buddyError('INVALID_SHARED_BUFFER', () => SharedPageAllocator.attach(Flat, buffer));
  });
});

describe('the tables', () => {
  test('have room for every region', () => {
    for (const start of [0, 1, 63, 64, 1023, 1024, 4095, 2 ** 40 + 1, 2 ** 51 - 3]) {
      for (const pages of [1, 2, 3, 63, 64, 65, 1023, 1024, 1025, 5000]) {
        const at = (page: number) => BigInt(page) * 4096n;
        const region = flatRegion(at(start), at(start + pages));
        const bytes = SharedPageAllocator.bytesFor(region, { caches: 0 });
        expect(bytes).toBeLessThan(1.6 * pages + 3 * KIB);
        // Bytes after the tables are not written.
        const allocator = SharedPageAllocator.create(region, {
          caches: 0,
          buffer: new SharedArrayBuffer(bytes + 4096),
        });
        const taken = Array.from({ length: pages }, () => allocator.allocatePage());
        expect(new Set(taken).size).toBe(pages);
        buddyError('OUT_OF_MEMORY', () => allocator.allocatePage());
        allocator.checkInvariants();
        for (const page of taken) allocator.freePage(page);
        allocator.checkInvariants();
        expect(new Uint8Array(allocator.buffer, bytes).every((byte) => byte === 0)).toBe(true);
      }
    }
  });

  const CROWDED = 1100;

  /** Blocks of all states, and a page in a cache; every list that has blocks has linked records. */
  function crowded(): SharedPageAllocator<typeof HEAP> {
    const allocator = SharedPageAllocator.create(heapPages(3, CROWDED), {
      caches: 1,
      reserved: [heapPages(100, 37)],
      // An overwritten lock looks as if it were held.
      lockTimeout: 0,
    });
    const pages = Array.from({ length: 300 }, () => allocator.allocatePage());
    for (const [index, page] of pages.entries()) if (index % 3 === 0) allocator.freePage(page);
    const cache = allocator.cache({ pages: 2 });
    cache.freePage(pages[1]!);
    allocator.allocateBlock(2);
    allocator.allocateBlock(7);
    return allocator;
  }

  test('are checked completely: a flipped bit is found', () => {
    const allocator = crowded();
    allocator.checkInvariants();
    const bytes = new Uint8Array(allocator.buffer);
    const { length } = bytes;
    const unnoticed: number[] = [];
    for (let byte = 0; byte < length; byte += 1) {
      // Every bit of the header, then one of each byte.
      for (let bit = byte < 4 * HEADER ? 0 : byte % 8; bit < 8; bit += byte < 4 * HEADER ? 1 : 8) {
        const word = byte >> 2;
        // A held lock makes the check wait, the number of owners is stored only once, and a set DIRTY starts a repair.
        if (word === LOCK || word === OWNERS || word === DIRTY) continue;
        bytes[byte]! ^= 1 << bit;
        try {
          allocator.checkInvariants();
          unnoticed.push(byte);
        } catch (error) {
          expect(error).toMatchObject({ code: 'BROKEN_INVARIANT' });
        }
        bytes[byte]! ^= 1 << bit;
      }
    }
    allocator.checkInvariants();
    // These values may be anything: links of records in no list, stale entries and the owner of a cache, and the bits of
    // unused chunks.
    const marks = length - CROWDED;
    const kinds = unnoticed.map((byte) => {
      if (byte >> 2 >= HEADER && byte >> 2 < HEADER + 256) return 'cache';
      if (byte >> 2 >= HEADER + 256 && byte >> 2 < HEADER + 256 + 4) return 'touched';
      if (byte < marks) return (byte >> 2) % 4 >= 2 ? 'unlinked' : 'list';
      return 'mark';
    });
    expect([...new Set(kinds)].sort()).toEqual(['cache', 'touched', 'unlinked']);
  });

  test('end every operation, whatever they hold', () => {
    const allocator = crowded();
    const good = bytesOf(allocator.buffer);
    const bytes = new Uint8Array(allocator.buffer);
    const words = new Int32Array(allocator.buffer);
    let seed = 1;
    const random = () => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return seed >> 8;
    };
    const attempt = (action: () => unknown) => {
      try {
        action();
      } catch {
        // It may fail in any way, but it ends.
      }
    };
    for (let round = 0; round < 300; round += 1) {
      bytes.set(good);
      for (let change = 0; change < 20; change += 1) {
        const at = 4 * 32 + (random() % (bytes.length - 4 * 32));
        bytes[at] = random();
      }
      const start = allocator.region.start + BigInt(random() % CROWDED) * 4096n;
      attempt(() => allocator.allocateBlock(random() % 11));
      attempt(() => allocator.freePages(start as typeof HEAP));
      attempt(() => allocator.blockOf(start as typeof HEAP));
      attempt(() => [...allocator.blocks()]);
      attempt(() => allocator.memoryInfo());
      attempt(() => allocator.recover(99));
      attempt(() => allocator.checkInvariants());
      words[LOCK] = 0;
    }
    bytes.set(good);
    allocator.checkInvariants();
  });

  test('are not repaired from invalid marks', () => {
    const allocator = SharedPageAllocator.create(heapPages(0, 8), { caches: 0 });
    const bytes = new Uint8Array(allocator.buffer);
    const words = new Int32Array(allocator.buffer);
    bytes[bytes.length - 8] = 0xf3;
    words[32] = 1;
    buddyError('BROKEN_INVARIANT', () => allocator.allocatePage());
    expect(words[LOCK]).toBe(0);
    buddyError('BROKEN_INVARIANT', () => allocator.recover(77));
    expect(words[LOCK]).toBe(0);
  });
});

test('blocks() shows the moment of the call', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 8));
  const blocks = allocator.blocks();
  allocator.allocatePage();
  expect([...blocks].map(({ order, state }) => `${order}${state[0]}`)).toEqual(['3f']);
  expect(new Int32Array(allocator.buffer)[LOCK]).toBe(0);
});

test('blockOf finds the block of any address, and returns undefined outside the region', () => {
  const allocator = SharedPageAllocator.create(heapPages(1, 6), { reserved: [heapPages(6, 1)] });
  const block = allocator.allocatePages(1);
  expect(allocator.blockOf(virtAddr(block.start + 4097n))).toEqual({
    region: block,
    order: 1,
    state: 'allocated',
    kind: 'pages',
  });
  expect(allocator.blockOf(virtAddr(HEAP + 6n * 4096n))?.state).toBe('reserved');
  expect(allocator.blockOf(virtAddr(HEAP + 7n * 4096n))).toBeUndefined();
  expect(allocator.blockOf(HEAP)).toBeUndefined();
  expect(() => allocator.blockOf(untyped(5))).toThrow();
});

test('renderMap shows cached pages', () => {
  const allocator = SharedPageAllocator.create(heapPages(0, 16), { reserved: [heapPages(15, 1)] });
  allocator.allocatePage();
  allocator.cache({ pages: 4 }).allocatePage();
  expect(renderMap(allocator, { columns: 16 }).split('\n')[1]).toBe('0xffff800000000000 ............#c#r');
});
