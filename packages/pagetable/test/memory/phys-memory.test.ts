import { type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import {
  type PhysMemory,
  readPhys,
  readPhys64,
  writePhys,
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

  test('refuses 8 bytes at an address that is not a multiple of 8, and more than 64 bits', () => {
    const memory = make();
    expect(() => readPhys64(memory, at(4))).toThrow('INVALID_ARGUMENT');
    expect(() => writePhys64(memory, at(0), 1n << 64n)).toThrow('INVALID_ARGUMENT');
    expect(() => writePhys64(memory, at(0), -1n)).toThrow('INVALID_ARGUMENT');
  });
});
