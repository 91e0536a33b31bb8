import { physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { createPhysMemory, type PhysMemoryOptions } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { wasmMemory } from '../support/wasm-memory.ts';

describe('createPhysMemory', () => {
  test('reads and writes the bytes of a buffer', () => {
    const buffer = new ArrayBuffer(0x2000);
    const memory = createPhysMemory({ buffer });
    writePhys64(memory, physAddr(0x1008), 0x1122n);
    expect(new DataView(buffer).getBigUint64(0x1008, true)).toBe(0x1122n);
  });

  test('makes sparse memory of terabytes, with holes', () => {
    const regions = [physRegion(physAddr(1n << 46n), 1n << 44n), physRegion(physAddr(0), 0xa_0000)];
    const memory = createPhysMemory({ regions });
    const last = physAddr((1n << 46n) + (1n << 44n) - 8n);
    writePhys64(memory, last, 5n);
    expect(readPhys64(memory, last)).toBe(5n);
    expect(readPhys64(memory, physAddr(0x9_fff8))).toBe(0n);
    expect(() => readPhys64(memory, physAddr(0xa_0000))).toThrow(
      /no memory at physical address 0x00000000000a0000/,
    );
    expect(() => readPhys64(memory, physAddr((1n << 46n) - 8n))).toThrow(/no memory/);
  });

  test.each<[string, PhysMemoryOptions]>([
    ['no bytes', { size: 0 }],
    ['half a page', { size: 0x1800 }],
    ['a start that is misaligned', { size: 0x1000, start: physAddr(0x800) }],
    ['more than a buffer can hold', { size: 2 ** 45 }],
    ['an empty buffer', { buffer: new ArrayBuffer(0) }],
    [
      'regions that overlap',
      { regions: [physRegion(physAddr(0), 0x2000), physRegion(physAddr(0x1000), 0x1000)] },
    ],
    ['an unaligned region', { regions: [physRegion(physAddr(0x10), 0x1000)] }],
  ])('refuses %s', (_, options) => {
    let error: unknown;
    try {
      createPhysMemory(options);
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'INVALID_MEMORY')).toBe(true);
  });

  test('makes memory without frames from no regions', () => {
    expect(() => readPhys64(createPhysMemory({ regions: [] }), physAddr(0))).toThrow(/memory has no frame/);
  });

  test('throws BUS_ERROR once its buffer is detached, and does not read zeros', () => {
    const wasm = wasmMemory();
    const memory = createPhysMemory({ buffer: wasm.buffer });
    writePhys64(memory, physAddr(8), 7n);
    const table = PageTable.open(physAddr(0), { memory });
    // Growing moves the bytes to another buffer.
    wasm.grow(1);
    expect(() => readPhys64(memory, physAddr(8))).toThrow(/memory has no frame: its buffer is detached/);
    expect(() => table.translate(virtAddr(0))).toThrow(/BUS_ERROR/);
    expect(readPhys64(createPhysMemory({ buffer: wasm.buffer }), physAddr(8))).toBe(7n);
  });
});
