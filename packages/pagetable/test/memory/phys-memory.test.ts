import { type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import {
  type PhysMemory,
  readPhys,
  readPhys8,
  readPhys16,
  readPhys32,
  readPhys64,
  writePhys,
  writePhys8,
  writePhys16,
  writePhys32,
  writePhys64,
} from '../../src/memory/phys-memory.ts';

const MEMORIES: readonly (readonly [string, () => PhysMemory])[] = [
  ['flat', () => createPhysMemory({ start: physAddr(0x10_0000), size: 0x4000 })],
  [
    'flat over a buffer',
    () => createPhysMemory({ start: physAddr(0x10_0000), buffer: new ArrayBuffer(0x4000) }),
  ],
  [
    'flat over shared memory',
    () => createPhysMemory({ start: physAddr(0x10_0000), buffer: new SharedArrayBuffer(0x4000) }),
  ],
  ['sparse', () => createPhysMemory({ regions: [physRegion(physAddr(0x10_0000), 0x4000)] })],
];

/** The accesses to integers, by their bytes. */
const INTEGERS: Readonly<
  Record<
    number,
    {
      read(memory: PhysMemory, paddr: PhysAddr): bigint;
      write(memory: PhysMemory, paddr: PhysAddr, value: bigint): void;
    }
  >
> = {
  1: { read: (m, p) => BigInt(readPhys8(m, p)), write: (m, p, v) => writePhys8(m, p, Number(v)) },
  2: { read: (m, p) => BigInt(readPhys16(m, p)), write: (m, p, v) => writePhys16(m, p, Number(v)) },
  4: { read: (m, p) => BigInt(readPhys32(m, p)), write: (m, p, v) => writePhys32(m, p, Number(v)) },
  8: { read: readPhys64, write: writePhys64 },
};

const at = (offset: number): PhysAddr => physAddr(0x10_0000 + offset);
const isBusError = (operation: () => unknown): boolean => {
  try {
    operation();
    return false;
  } catch (error) {
    return isPageTableError(error, 'BUS_ERROR');
  }
};

describe.each(MEMORIES)('%s memory', (_, make) => {
  test('is zero at first', () => {
    expect(readPhys(make(), at(0), 0x4000)).toEqual(new Uint8Array(0x4000));
  });

  test('reads back what was written, across frames', () => {
    const memory = make();
    const bytes = Uint8Array.from({ length: 0x2100 }, (_, i) => (i * 7) & 0xff);
    writePhys(memory, at(0xf81), bytes);
    expect(readPhys(memory, at(0xf81), bytes.length)).toEqual(bytes);
    expect(readPhys(memory, at(0xf80), 1)).toEqual(Uint8Array.of(0));
    expect(readPhys(memory, at(0xf81 + 0x2100), 1)).toEqual(Uint8Array.of(0));
  });

  test('is little-endian', () => {
    const memory = make();
    writePhys64(memory, at(0x1008), 0x8877_6655_4433_2211n);
    expect([...readPhys(memory, at(0x1008), 8)]).toEqual([0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
    expect(readPhys64(memory, at(0x1008))).toBe(0x8877_6655_4433_2211n);
  });

  test('throws BUS_ERROR outside its frames, and writes nothing', () => {
    const memory = make();
    expect(isBusError(() => readPhys64(memory, physAddr(0xf_fff8)))).toBe(true);
    expect(isBusError(() => readPhys64(memory, at(0x4000)))).toBe(true);
    expect(isBusError(() => readPhys(memory, at(0x3fff), 2))).toBe(true);
    expect(isBusError(() => writePhys(memory, at(0x3fff), Uint8Array.of(1, 2)))).toBe(true);
    expect(readPhys(memory, at(0x3fff), 1)).toEqual(Uint8Array.of(0));
    expect(isBusError(() => memory.words(Number.NaN, false))).toBe(true);
    expect(isBusError(() => memory.words(-1, false))).toBe(true);
    expect(isBusError(() => memory.words(0x100 + 0.5, false))).toBe(true);
  });

  test('changes its epoch when it is asked for words to write', () => {
    const memory = make();
    const before = memory.epoch;
    memory.words(0x100, false);
    const read = memory.epoch;
    memory.words(0x100, true);
    expect(read === before || Number.isNaN(before)).toBe(true);
    expect(memory.epoch).not.toBe(Number.isNaN(read) ? 0 : read);
  });

  test('reads and writes integers of 1, 2, 4 and 8 bytes as bytes do', () => {
    const [memory, bytes] = [make(), make()];
    fc.assert(
      fc.property(
        fc.constantFrom(1, 2, 4, 8),
        fc.nat(0x3fff),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        (...one) => {
          const [size, near, wide] = one;
          const paddr = at(near - (near % size));
          const value = BigInt.asUintN(8 * size, wide);
          INTEGERS[size]!.write(memory, paddr, value);
          writePhys(
            bytes,
            paddr,
            Uint8Array.from({ length: size }, (_, k) => Number((value >> BigInt(8 * k)) & 0xffn)),
          );
          const around = at(Math.max(0, near - 16));
          const length = Math.min(32, Number(at(0x4000) - around));
          expect(readPhys(memory, around, length)).toEqual(readPhys(bytes, around, length));
          expect(INTEGERS[size]!.read(memory, paddr)).toBe(value);
        },
      ),
      {
        examples: [
          [1, 3, 0x180n],
          [2, 2, 0xffffn],
          [4, 0x3ffc, 0xffff_ffffn],
          [8, 0, 2n ** 64n - 1n],
        ],
      },
    );
    expect(readPhys(memory, at(0), 0x4000)).toEqual(readPhys(bytes, at(0), 0x4000));
  });

  test('reads few bytes as many, within a frame and across two', () => {
    const memory = make();
    const all = Uint8Array.from({ length: 0x4000 }, (_, i) => (i * 37) & 0xff);
    writePhys(memory, at(0), all);
    for (const offset of [0, 1, 2, 3, 4, 0xff0, 0xff9, 0x1fff, 0x3fe0]) {
      for (let length = 0; length <= 32; length += 1)
        expect(readPhys(memory, at(offset), length)).toEqual(all.slice(offset, offset + length));
    }
  });

  test('refuses an integer that is not aligned, or does not fit', () => {
    const memory = make();
    const refused = (call: () => unknown) => expect(call).toThrow('INVALID_ARGUMENT');
    refused(() => readPhys16(memory, at(1)));
    refused(() => readPhys32(memory, at(2)));
    refused(() => writePhys16(memory, at(3), 0));
    refused(() => writePhys32(memory, at(6), 0));
    for (const value of [-1, 0.5, Number.NaN, 0x100]) refused(() => writePhys8(memory, at(0), value));
    refused(() => writePhys16(memory, at(0), 0x1_0000));
    refused(() => writePhys32(memory, at(0), 2 ** 32));
    refused(() => writePhys8(memory, at(0), 1n as never));
    expect(readPhys64(memory, at(0))).toBe(0n);
  });

  test('refuses 8 bytes at an address that is not a multiple of 8, and more than 64 bits', () => {
    const memory = make();
    expect(() => readPhys64(memory, at(4))).toThrow('INVALID_ARGUMENT');
    expect(() => writePhys64(memory, at(0), 1n << 64n)).toThrow('INVALID_ARGUMENT');
    expect(() => writePhys64(memory, at(0), -1n)).toThrow('INVALID_ARGUMENT');
  });
});
