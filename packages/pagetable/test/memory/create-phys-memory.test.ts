import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory, type PhysMemoryOptions } from '../../src/memory/create-phys-memory.ts';
import { readPhys, readPhys64, writePhys, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { FramePool } from '../support/frame-pool.ts';
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

describe('a buffer of the caller with `exclusive`', () => {
  const START = virtAddr(0x4000_0000);
  const REGION = virtRegion(START, 0x40_0000);

  function make(options: object) {
    const buffer = new ArrayBuffer(0x10_0000);
    const memory = createPhysMemory({ buffer, ...options });
    const table = PageTable.create({ memory, frames: new FramePool(0, 200) });
    table.mapRegion(REGION, physAddr(0x8000_0000), PtePreset.Data, { pageSize: PageSize.Regular });
    /** Turns the page directory's entry for \`START\` off, behind the back of memory. */
    const { table: upper, index } = table.walk(START).path[1]!;
    const cutOff = () => new Uint32Array(buffer, Number(upper) + 8 * index, 1).fill(0);
    return { buffer, memory, table, cutOff };
  }

  test('walks are remembered, and a change that memory is told of ends them', () => {
    const { memory, table, cutOff } = make({ exclusive: true });
    expect(table.translate(START)).toBe(0x8000_0000n);
    cutOff();
    expect(table.translate(START)).toBe(0x8000_0000n);
    memory.words(0, true);
    expect(table.translate(START)).toBeUndefined();
  });

  test.each([{}, { exclusive: false }])('without it, every walk begins at the root: %o', (options) => {
    const { table, cutOff } = make(options);
    expect(table.translate(START)).toBe(0x8000_0000n);
    cutOff();
    expect(table.translate(START)).toBeUndefined();
  });

  test('a page table in it equals one in memory of its own', () => {
    const [theirs, own] = [make({ exclusive: true }).memory, createPhysMemory({ size: 0x10_0000 })];
    for (const memory of [theirs, own]) {
      writePhys(memory, physAddr(0), new Uint8Array(0x10_0000));
      const table = PageTable.create({
        memory,
        frames: new FramePool(0, 200),
        config: pagingConfig({ cBit: 51 }),
      });
      for (const page of REGION.cursor(PageSize.Regular)) table.map4k(page, physAddr(0x5000), PtePreset.Data);
      for (const page of REGION.cursor(PageSize.Regular)) if (page.index % 3 === 0) table.setShared4k(page);
    }
    expect(readPhys(theirs, physAddr(0), 0x10_0000)).toEqual(readPhys(own, physAddr(0), 0x10_0000));
  });

  test.each(['translate', 'frameAt', 'lookup', 'walk', 'setShared4k', 'unmap4k', 'split4k'] as const)(
    '%s throws BUS_ERROR once the buffer is detached, in the same leaf table and in another',
    (name) => {
      for (const page of [START, virtAddr(START + 0x1000n), virtAddr(START + 0x20_0000n)]) {
        const buffer = new ArrayBuffer(0x10_0000);
        const memory = createPhysMemory({ buffer, exclusive: true });
        const frames = new FramePool(0, 200);
        const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
        for (const one of REGION.cursor(PageSize.Regular)) table.map4k(one, physAddr(0x5000), PtePreset.Data);
        table.setShared4k(START);
        table.translate(START);
        buffer.transfer();
        expect(() => table[name](page)).toThrow(/BUS_ERROR/);
        expect(() => table.map4k(page, physAddr(0), PtePreset.Data)).toThrow(/BUS_ERROR|INVALID_FRAME/);
      }
    },
  );
});
