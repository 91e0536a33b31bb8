import { isAddressError, PAGE_SIZE, Phys, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { ByteMemory, HeapAllocator, PageAllocator } from '../../src/index.ts';
import { buddyError, untyped } from '../support/allocators.ts';

/** `WebAssembly` as a value, which neither the language's library nor Node's types declare. */
const WEB_ASSEMBLY = (
  globalThis as unknown as {
    WebAssembly: {
      Memory: new (limits: {
        initial: number;
        maximum: number;
      }) => { readonly buffer: ArrayBuffer; grow(pages: number): number };
    };
  }
).WebAssembly;

test('bytes returns a view of the buffer', () => {
  const buffer = new ArrayBuffer(100);
  const memory = new ByteMemory(Phys, buffer, physAddr(0x1000));
  memory.bytes(physAddr(0x1004), 2).set([7, 8]);
  memory.copy(physAddr(0x1004), physAddr(0x1005), 2);
  expect([...new Uint8Array(buffer, 3, 5)]).toEqual([0, 7, 7, 8, 0]);
  expect(memory.byteLength).toBe(100);
  expect(memory.bytes(physAddr(0x1064), 0)).toHaveLength(0);
});

test.each([
  [0x0fff, 1, 100],
  [0x1063, 2, 1],
  [0x1065, 0, 0],
  [0x1000, -1, 100],
  [0x1000, 1.5, 100],
  [0x1000, NaN, 100],
])('%i: %s bytes are outside the memory', (address, length, available) => {
  const memory = new ByteMemory(Phys, new ArrayBuffer(100), physAddr(0x1000));
  const { details } = buddyError('OUTSIDE_MEMORY', () => memory.bytes(physAddr(address), length));
  expect(details).toEqual({ address: BigInt(address), bytes: length, available });
});

test('a view starts at a multiple of its element size', () => {
  const memory = new ByteMemory(Phys, new ArrayBuffer(100), physAddr(0x1000));
  const { details } = buddyError('MISALIGNED_VIEW', () => memory.view(Uint32Array, physAddr(0x1002), 1));
  expect(details).toEqual({ address: 0x1002n, alignment: 4 });
  expect(memory.view(Uint16Array, physAddr(0x1002), 1)).toBeInstanceOf(Uint16Array);
});

test('the origin must be an address', () => {
  expect(() => new ByteMemory(Phys, new ArrayBuffer(1), untyped(0))).toThrow(
    expect.toSatisfy((error) => isAddressError(error)),
  );
});

test('a source may replace its buffer, as a WebAssembly.Memory does when it grows', () => {
  const source = { buffer: new ArrayBuffer(PAGE_SIZE) };
  const memory = new ByteMemory(Phys, source, physAddr(0));
  const allocator = new PageAllocator(physRegion(physAddr(0), PAGE_SIZE), {
    memory,
    space: physRegion(physAddr(0), 16 * PAGE_SIZE),
  });
  allocator.allocateZeroedPage();
  source.buffer = new ArrayBuffer(2 * PAGE_SIZE);
  new Uint8Array(source.buffer).fill(0xfa);
  allocator.addRegion(physRegion(physAddr(PAGE_SIZE), PAGE_SIZE));
  const page = allocator.allocateZeroedPage();
  expect(memory.bytes(page, PAGE_SIZE).every((byte) => byte === 0)).toBe(true);
  expect(memory.bytes(physAddr(0), 1)[0]).toBe(0xfa);
});

test('a heap in the memory of a WebAssembly module, which grows', () => {
  const { Memory } = WEB_ASSEMBLY;
  const source = new Memory({ initial: 1, maximum: 4 });
  const memory = new ByteMemory(Phys, source, physAddr(0));
  const page = 0x1_0000;
  // The first page of 64 KiB has the module's own data.
  const allocator = new PageAllocator([], { memory, space: physRegion(physAddr(page), 3 * page) });
  const heap = new HeapAllocator(allocator, { memory });
  buddyError('OUT_OF_MEMORY', () => heap.allocate(8));
  source.grow(1);
  allocator.addRegion(physRegion(physAddr(page), page));
  const object = heap.allocate(8);
  heap.view(BigInt64Array, object, 1)[0] = -5n;
  source.grow(1);
  allocator.addRegion(physRegion(physAddr(2 * page), page));
  expect(heap.sizeOf(heap.allocate(20 * 4096))).toBe(20 * 4096);
  expect(new DataView(source.buffer).getBigInt64(Number(object), true)).toBe(-5n);
  expect(heap.view(BigInt64Array, object, 1)[0]).toBe(-5n);
  heap.checkInvariants();
});
