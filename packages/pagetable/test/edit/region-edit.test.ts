import { PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { beforeEach, describe, expect, test } from 'vitest';
import type { PageTableOptions } from '../../src/edit/page-table-options.ts';
import { isPageTableError, type PageTableErrorCode } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { countTables, FramePool, snapshot } from '../support/frame-pool.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const M2 = PageSize.Huge;
const G1 = PageSize.Giant;
const at = (offset: number): VirtAddr => (VA + BigInt(offset)) as VirtAddr;
const part = (offset: number, size: number): MemoryRegion<VirtAddr> => virtRegion(at(offset), size);

let memory: PhysMemory;
let pool: FramePool;
let table: PageTable;
let flushes: [number, number, string][];

function make(options: Partial<PageTableOptions> = {}): void {
  memory = createPhysMemory({ size: 0x100_0000 });
  pool = new FramePool(1, 2000);
  flushes = [];
  table = PageTable.create({
    memory,
    frames: pool,
    config: pagingConfig({ cBit: 51 }),
    tlb: { needsFlush: (start, bytes, by) => flushes.push([Number(start - VA), bytes, by]) },
    ...options,
  });
}

function refuses(code: PageTableErrorCode, operation: () => unknown): Error {
  const before = snapshot(memory, pool);
  flushes = [];
  let error: unknown;
  try {
    operation();
  } catch (thrown) {
    error = thrown;
  }
  expect(isPageTableError(error, code), `expected ${code}, got ${error}`).toBe(true);
  expect(snapshot(memory, pool)).toEqual(before);
  expect(flushes).toEqual([]);
  return error as Error;
}

/** The same tables, in a memory that reports each frame that it is asked for to write. */
function watched(onWrite: (frame: number) => void): PageTable {
  const watcher: PhysMemory = {
    get epoch() {
      return memory.epoch;
    },
    words: (frame, write) => {
      if (write) onWrite(frame);
      return memory.words(frame, write);
    },
    wordOffset: (frame) => memory.wordOffset(frame),
  };
  return PageTable.open(table.root, { memory: watcher, config: table.config, frames: pool });
}

/** The runs: offset, size, physical start, page size, shared. */
const runs = (): unknown[] =>
  [...table.mappings()].map(({ region, paddr, pageSize, shared }) => [
    Number(region.start - VA),
    Number(region.size),
    Number(paddr),
    pageSize,
    shared,
  ]);

beforeEach(() => {
  make();
});

describe('mapRegion', () => {
  // P37
  test('takes the largest pages that both addresses allow', () => {
    table.mapRegion(part(0x1f_f000, G1 * 2), physAddr(0x40_0000_0000 + 0x1f_f000), PtePreset.Data);
    expect(runs()).toEqual([
      [0x1f_f000, 0x1000, 0x40_001f_f000, PageSize.Regular, false],
      [M2, G1 - M2, 0x40_0020_0000, M2, false],
      [G1, G1, 0x40_4000_0000, G1, false],
      [2 * G1, 0x1f_f000, 0x40_8000_0000, PageSize.Regular, false],
    ]);
    expect(flushes).toEqual([]);
    expect(pool.inUse.size).toBe(6);
  });

  test('takes smaller pages where the physical address is not aligned like the virtual one', () => {
    table.mapRegion(part(0, G1), physAddr(0x20_0000), PtePreset.Data);
    expect(runs()).toEqual([[0, G1, 0x20_0000, M2, false]]);
    table.mapRegion(part(G1, M2), physAddr(0x1000), PtePreset.Data, { shared: true });
    expect(runs()[1]).toEqual([G1, M2, 0x1000, PageSize.Regular, true]);
  });

  test('takes pages of one size on request', () => {
    table.mapRegion(part(0, 2 * M2), physAddr(0), PtePreset.Data, { pageSize: PageSize.Regular });
    expect(runs()).toEqual([[0, 2 * M2, 0, PageSize.Regular, false]]);
    table.mapRegion(part(G1, G1), physAddr(G1), PtePreset.Data, { pageSize: M2 });
    expect(runs()[1]).toEqual([G1, G1, G1, M2, false]);
    refuses('MISALIGNED', () =>
      table.mapRegion(part(2 * G1, M2), physAddr(0x1000), PtePreset.Data, { pageSize: M2 }),
    );
    refuses('MISALIGNED', () =>
      table.mapRegion(part(2 * G1, M2 + 0x1000), physAddr(0), PtePreset.Data, { pageSize: M2 }),
    );
  });

  // P43
  test('puts PAT in its place for each page size', () => {
    table.mapRegion(part(M2 - 0x1000, M2 + 0x1000), physAddr(M2 - 0x1000), PteFlags.Pat | PteFlags.Writable);
    expect(table.walk(at(M2 - 0x1000)).page?.flags).toBe(PteFlags.Present | PteFlags.Writable | PteFlags.Pat);
    expect(table.walk(at(M2)).page?.flags).toBe(
      PteFlags.Present | PteFlags.Writable | PteFlags.PatLarge | PteFlags.Large,
    );
  });

  test('crosses 4 GiB of physical memory inside a leaf table', () => {
    table.mapRegion(part(0, 0x4000), physAddr(0xffff_e000), PtePreset.Data);
    expect(table.translate(at(0x1000))).toBe(0xffff_f000n);
    expect(table.translate(at(0x2000))).toBe(0x1_0000_0000n);
  });

  test('reaches the last page of the space, and maps nothing for an empty region', () => {
    const last = virtAddr(0xffff_ffff_ffff_f000n);
    table.mapRegion(virtRegion(last, 0x1000), physAddr(0x5000), PtePreset.Data);
    expect(table.translate(last)).toBe(0x5000n);
    table.mapRegion(part(0, 0), physAddr(0x5000), PtePreset.Data);
    expect(table.translate(VA)).toBeUndefined();
  });

  test('refuses a page that is mapped, changes nothing, and names the page', () => {
    table.map4k(at(G1 + 0x5000), physAddr(0x1000), PtePreset.Data);
    const error = refuses('ALREADY_MAPPED', () =>
      table.mapRegion(part(0, 2 * G1), physAddr(0x1000), PtePreset.Data),
    );
    expect(error).toMatchObject({ details: { vaddr: at(G1 + 0x5000), level: 0 } });
    table.map1g(at(4 * G1), physAddr(0), PtePreset.Data);
    refuses('ALREADY_MAPPED', () => table.mapRegion(part(4 * G1 - M2, 2 * M2), physAddr(0), PtePreset.Data));
    refuses('ALREADY_MAPPED', () =>
      table.mapRegion(part(G1, G1), physAddr(0), PtePreset.Data, { pageSize: G1 }),
    );
  });

  test('replaces mapped pages with `remap`, and splits at the edges', () => {
    table.map2m(at(0), physAddr(0x4000_0000), PtePreset.Data);
    table.map2m(at(M2), physAddr(0x4020_0000), PtePreset.Data);
    table.mapRegion(part(0x1f_f000, 0x2000), physAddr(0x9000), PtePreset.ReadOnly, { remap: true });
    expect(runs()).toEqual([
      [0, 0x1f_f000, 0x4000_0000, PageSize.Regular, false],
      [0x1f_f000, 0x2000, 0x9000, PageSize.Regular, false],
      [M2 + 0x1000, M2 - 0x1000, 0x4020_1000, PageSize.Regular, false],
    ]);
    expect(flushes).toEqual([[0, 2 * M2, 'mapRegion']]);
    flushes = [];
    table.mapRegion(part(4 * M2, M2), physAddr(0), PtePreset.Data, { remap: true });
    expect(flushes).toEqual([]);
    table.mapRegion(part(4 * M2, M2), physAddr(0x1000), PtePreset.Data, { remap: true });
    expect(flushes).toEqual([[4 * M2, M2, 'mapRegion']]);
    expect(runs().at(-1)).toEqual([4 * M2, M2, 0x1000, PageSize.Regular, false]);
    table.mapRegion(part(4 * M2 + 0x1000, 0x1000), physAddr(0x7000), PtePreset.Data, { remap: true });
    expect(flushes.at(-1)).toEqual([4 * M2 + 0x1000, 0x1000, 'mapRegion']);
  });

  test.each<[PageTableErrorCode, () => void]>([
    ['MISALIGNED', () => table.mapRegion(part(0x800, 0x1000), physAddr(0), PtePreset.Data)],
    ['MISALIGNED', () => table.mapRegion(part(0, 0x800), physAddr(0), PtePreset.Data)],
    ['MISALIGNED', () => table.mapRegion(part(0, 0x1000), physAddr(0x800), PtePreset.Data)],
    [
      'OUTSIDE_PHYSICAL_RANGE',
      () => table.mapRegion(part(0, 0x2000), physAddr(2n ** 51n - 4096n), PtePreset.Data),
    ],
    ['INVALID_FLAGS', () => table.mapRegion(part(0, 0x1000), physAddr(0), PteFlags.PatLarge as number)],
    [
      'INVALID_PAGE_SIZE',
      () => table.mapRegion(part(0, 0x1000), physAddr(0), 0, { pageSize: 0x2000 as PageSize }),
    ],
    [
      'NON_CANONICAL',
      () => table.mapRegion({ start: 0x8000_0000_0000n as VirtAddr, end: 0x8000_0000_1000n }, physAddr(0), 0),
    ],
  ])('refuses %s', (code, operation) => {
    refuses(code, operation);
  });

  test('needs 1 GiB pages and encryption in the configuration', () => {
    make({ config: pagingConfig({ giantPages: false }) });
    table.mapRegion(part(0, G1), physAddr(0), PtePreset.Data);
    expect(runs()).toEqual([[0, G1, 0, M2, false]]);
    refuses('INVALID_PAGE_SIZE', () =>
      table.mapRegion(part(G1, G1), physAddr(0), PtePreset.Data, { pageSize: G1 }),
    );
    refuses('NO_ENCRYPTION', () => table.mapRegion(part(G1, G1), physAddr(0), 0, { shared: true }));
    refuses('NO_ENCRYPTION', () => table.setSharedRegion(part(0, M2)));
  });
});

describe('sharing a region', () => {
  test('keeps large pages that lie wholly in the region, and splits those at the edges', () => {
    table.mapRegion(part(0, 2 * G1), physAddr(0), PtePreset.Data);
    table.setSharedRegion(part(G1 - M2 - 0x1000, M2 + 0x1000 + G1));
    expect(runs()).toEqual([
      [0, G1 - 2 * M2, 0, M2, false],
      [G1 - 2 * M2, M2 - 0x1000, G1 - 2 * M2, PageSize.Regular, false],
      [G1 - M2 - 0x1000, 0x1000, G1 - M2 - 0x1000, PageSize.Regular, true],
      [G1 - M2, M2, G1 - M2, M2, true],
      [G1, G1, G1, G1, true],
    ]);
    // The page that was split, and the pages that were changed after it.
    expect(flushes).toEqual([[0, 2 * G1, 'setSharedRegion']]);
    flushes = [];
    table.setSharedRegion(part(G1, M2));
    expect(flushes).toEqual([]);
    expect(pool.inUse.size).toBe(4);
    table.setEncryptedRegion(part(0, 2 * G1));
    expect([...table.mappings()].some(({ shared }) => shared)).toBe(false);
  });

  test('keeps every other bit; tables stay private', () => {
    const flags = (PtePreset.Data | PteFlags.CacheDisable | PteFlags.SoftwareHigh | PteFlags.Pat) >>> 0;
    table.mapRegion(part(0, 0x3000), physAddr(0x1000), flags);
    table.setSharedRegion(part(0x1000, 0x1000));
    const { path, page } = table.walk(at(0x1000));
    expect(page).toMatchObject({ flags, shared: true, paddr: 0x2000n });
    expect(path.slice(0, -1).every(({ entry }) => !entry.shared)).toBe(true);
  });

  // C9
  test('sets the bit of vTOM', () => {
    make({ config: pagingConfig({ encryption: { mode: 'vtom', bit: 45 } }) });
    table.mapRegion(part(0, M2), physAddr(M2), PtePreset.Data);
    table.setSharedRegion(part(0, M2));
    expect(runs()).toEqual([[0, M2, M2, M2, true]]);
    table.setEncryptedRegion(part(0, 0x1000));
    expect(runs()[0]).toEqual([0, 0x1000, M2, PageSize.Regular, false]);
  });

  test('refuses a hole anywhere, and changes nothing', () => {
    table.mapRegion(part(0, 3 * M2), physAddr(0), PtePreset.Data);
    table.unmapRegion(part(2 * M2 + 0x5000, 0x1000));
    const error = refuses('NOT_MAPPED', () => table.setSharedRegion(part(0x1000, 3 * M2 - 0x1000)));
    expect(error).toMatchObject({ details: { vaddr: at(2 * M2 + 0x5000), level: 0 } });
    refuses('NOT_MAPPED', () => table.setSharedRegion(part(M2, G1)));
  });
});

// C9
describe('a page whose address has a bit above the vTOM bit', () => {
  // Another owner has mapped it. Any address bit from 46 on makes it shared (APM vol. 2, §15.36.8).
  test.each([
    ['4 KiB', 0x1000, 0],
    ['2 MiB', M2, 1],
  ])('of %s is always shared, and keeps its address', (_, size, level) => {
    const vtom = { mode: 'vtom', bit: 45 } as const;
    make({ config: pagingConfig({ encryption: vtom, physicalBits: 48 }) });
    table.mapRegion(part(0, 3 * size), physAddr(0x4000_0000), PtePreset.Data);
    const step = table.walk(at(size)).path.at(-1);
    const entry = physAddr((step?.table ?? 0n) + BigInt(8 * (step?.index ?? 0)));
    expect(step?.level).toBe(level);
    writePhys64(memory, entry, readPhys64(memory, entry) | (1n << 46n));
    expect(table.walk(at(size)).page?.shared).toBe(true);
    for (const operation of [
      () => table.setShared4k(at(size)),
      () => table.setEncrypted4k(at(size)),
      () => table.setSharedRegion(part(0, 3 * size)),
      () => table.setEncryptedRegion(part(0, 3 * size)),
    ]) {
      expect(refuses('OUTSIDE_PHYSICAL_RANGE', operation).message).toContain(
        'valid addresses are 0x0 to 0x00001fffffffffff',
      );
    }
    table.setSharedRegion(part(0, size));
    table.protectRegion(part(0, 3 * size), { clear: PteFlags.Writable });
    table.unmapRegion(part(0, 3 * size));
  });
});

describe('protectRegion and protect4k', () => {
  test('set and clear flags, in large pages too, and keep the rest of the entry', () => {
    table.mapRegion(part(0, M2 + 0x1000), physAddr(0), PtePreset.Data);
    table.protectRegion(part(0, M2 + 0x1000), {
      set: PteFlags.Pat | PteFlags.User,
      clear: PteFlags.Writable | PteFlags.NoExecute,
    });
    expect(table.walk(at(M2)).page).toMatchObject({
      flags: 0x163 - PteFlags.Writable + PteFlags.Pat + PteFlags.User,
      user: true,
      writable: false,
      executable: true,
    });
    expect(table.walk(VA).page?.flags).toBe(
      0x163 - PteFlags.Writable + PteFlags.PatLarge + PteFlags.Large + PteFlags.User,
    );
    table.protectRegion(part(0, M2), { clear: PteFlags.Pat });
    expect((table.walk(VA).page?.flags ?? 0) & (PteFlags.PatLarge | PteFlags.Large)).toBe(PteFlags.Large);
  });

  test('split a large page for one page', () => {
    table.map2m(VA, physAddr(0), PtePreset.Data);
    table.protect4k(at(0x3000), { clear: PteFlags.Writable });
    expect(table.walk(at(0x3000)).page).toMatchObject({ writable: false, size: PageSize.Regular });
    expect(table.walk(at(0x4000)).page).toMatchObject({ writable: true, paddr: 0x4000n });
    expect(flushes).toEqual([[0, M2, 'protect4k']]);
  });

  test.each<[string, () => void]>([
    ['a change that would unmap', () => table.protect4k(VA, { clear: PteFlags.Present })],
    ['address bits', () => table.protect4k(VA, { set: PteFlags.PatLarge as number })],
    ['the same flag to set and to clear', () => table.protect4k(VA, { set: 2, clear: 2 })],
    ['a fraction', () => table.protect4k(VA, { set: 0.5 })],
  ])('refuses %s', (_, operation) => {
    table.map4k(VA, physAddr(0), PtePreset.Data);
    refuses('INVALID_FLAGS', operation);
  });

  // P7
  test('refuse NX if it is off', () => {
    make({ config: pagingConfig({ noExecute: false }) });
    table.map4k(VA, physAddr(0), 0);
    refuses('INVALID_FLAGS', () => table.protect4k(VA, { set: PteFlags.NoExecute }));
  });
});

describe('unmapRegion', () => {
  test('clears the entries in the region, and splits pages at the edges', () => {
    table.mapRegion(part(0, 3 * M2), physAddr(0), PtePreset.Data);
    table.unmapRegion(part(0x1000, 3 * M2 - 0x2000));
    expect(runs()).toEqual([
      [0, 0x1000, 0, PageSize.Regular, false],
      [3 * M2 - 0x1000, 0x1000, 3 * M2 - 0x1000, PageSize.Regular, false],
    ]);
    expect(flushes).toEqual([[0, 3 * M2, 'unmapRegion']]);
  });

  test('refuses holes unless `allowHoles` is set', () => {
    table.map4k(at(0x1000), physAddr(0x1000), PtePreset.Data);
    table.map4k(at(M2), physAddr(0x1000), PtePreset.Data);
    refuses('NOT_MAPPED', () => table.unmapRegion(part(0, 2 * M2)));
    refuses('NOT_MAPPED', () => table.unmapRegion(part(M2, 2 * M2)));
    table.unmapRegion(part(0, G1), { allowHoles: true });
    expect(runs()).toEqual([]);
    expect(flushes).toEqual([
      [0x1000, 0x1000, 'unmapRegion'],
      [M2, 0x1000, 'unmapRegion'],
    ]);
    table.unmapRegion(part(0, G1), { allowHoles: true });
    expect(flushes).toHaveLength(2);
  });

  // P6
  test('keeps the bits of software in entries that are not present', () => {
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    const leafTable = table.walk(VA).path.at(-1)?.table ?? 0n;
    writePhys64(memory, physAddr(leafTable + 8n), 0xabcd_0000n);
    table.unmapRegion(part(0, 0x3000), { allowHoles: true });
    expect(readPhys64(memory, physAddr(leafTable + 8n))).toBe(0xabcd_0000n);
  });
});

describe('empty tables', () => {
  test('are given back with their last entry, after the flush, and the root stays', () => {
    const inUseAtFlush: number[] = [];
    make({ freeEmptyTables: true, tlb: { needsFlush: () => inUseAtFlush.push(pool.inUse.size) } });
    table.mapRegion(part(0, G1 + 0x2000), physAddr(0x1000), PtePreset.Data);
    table.map4k(virtAddr(0x1000), physAddr(0x1000), PtePreset.Data);
    const before = pool.inUse.size;
    table.unmapRegion(part(0, G1));
    expect(inUseAtFlush).toEqual([before]);
    expect(pool.inUse.size).toBe(before - 513);
    table.unmap4k(at(G1));
    expect(pool.inUse.size).toBe(before - 513);
    table.unmap4k(at(G1 + 0x1000));
    expect(pool.inUse.size).toBe(4);
    table.unmap4k(virtAddr(0x1000));
    expect([...pool.inUse]).toEqual([table.root]);
    expect(table.countTables()).toBe(1);
    expect(countTables(memory, table.root, table.config)).toBe(1);
  });

  test('stay without `freeEmptyTables`', () => {
    table.map4k(VA, physAddr(0), PtePreset.Data);
    table.unmap4k(VA);
    expect(pool.inUse.size).toBe(4);
    expect(table.countTables()).toBe(4);
  });

  test('need an allocator that takes them back', () => {
    const { root, config } = table;
    refuses('NO_FRAME_ALLOCATOR', () => PageTable.open(root, { memory, config, freeEmptyTables: true }));
  });
});

describe('a region that one table maps twice', () => {
  test('is refused', () => {
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    const pd = table.walk(VA).path[2]?.table ?? 0n;
    writePhys64(memory, physAddr(pd + 8n), readPhys64(memory, physAddr(pd)));
    refuses('ALIASED_TABLE', () => table.unmapRegion(part(0, 2 * M2), { allowHoles: true }));
    table.unmapRegion(part(M2, M2), { allowHoles: true });
    expect(runs()).toEqual([]);
  });

  test('and a corrupted entry and a table outside memory are refused, and nothing changes', () => {
    table.mapRegion(part(0, 2 * M2), physAddr(0x1000), PtePreset.Data);
    const pd = table.walk(VA).path[2]?.table ?? 0n;
    const pt = table.walk(VA).path[3]?.table ?? 0n;
    const entry = readPhys64(memory, physAddr(pd + 8n));
    writePhys64(memory, physAddr(pd + 8n), 0x7_0000_0003n);
    refuses('BUS_ERROR', () => table.setSharedRegion(part(0, 2 * M2)));
    writePhys64(memory, physAddr(pd + 8n), entry);
    make({ config: pagingConfig({ cBit: 51, physicalBits: 40 }) });
    table.mapRegion(part(0, 2 * M2), physAddr(0x1000), PtePreset.Data);
    for (const [level, paddr] of [
      [0, pt + 8n * 7n],
      [1, pd + 8n],
    ] as const) {
      const sound = readPhys64(memory, physAddr(paddr));
      writePhys64(memory, physAddr(paddr), sound | (1n << 45n));
      const error = refuses('RESERVED_BITS', () => table.setSharedRegion(part(0, 2 * M2)));
      expect(error).toMatchObject({ details: { level, paddr, reserved: 1n << 45n } });
      refuses('RESERVED_BITS', () => table.unmapRegion(part(0, 2 * M2)));
      refuses('RESERVED_BITS', () => table.mapRegion(part(0, 2 * M2), physAddr(0), 0, { remap: true }));
      writePhys64(memory, physAddr(paddr), sound);
    }
  });
});

describe('a table that cannot be written', () => {
  test.each([1, 2, 3])('is found before anything is written: the one at step %i of the walk', (step) => {
    table.mapRegion(part(M2 - 0x1000, 0x2000), physAddr(0x1000), PtePreset.Data);
    table.map2m(at(2 * M2), physAddr(M2), PtePreset.Data);
    table.map1g(at(G1), physAddr(G1), PtePreset.Data);
    const last = [at(G1), at(2 * M2), at(M2)][step - 1]!;
    const refused = table.walk(last).path[step]?.table ?? 0n;
    const opened = watched((frame) => {
      if (BigInt(frame) << 12n === refused) throw new Error('read-only');
    });
    const before = snapshot(memory, pool);
    const holes = { start: at(M2 - 0x1000), end: VA + BigInt(2 * G1) };
    expect(() => opened.unmapRegion(holes, { allowHoles: true })).toThrow('read-only');
    expect(snapshot(memory, pool)).toEqual(before);
  });
});

describe('remap of a page', () => {
  test('replaces a page of the same size, splits a larger one, and refuses a table in the way', () => {
    table.map2m(VA, physAddr(M2), PtePreset.Data | PteFlags.PatLarge);
    table.map4k(at(0x1000), physAddr(0x9000), PtePreset.ReadOnly, { remap: true, shared: true });
    expect(table.walk(at(0x1000)).page).toMatchObject({ paddr: 0x9000n, shared: true, writable: false });
    expect(table.translate(at(0x2000))).toBe(BigInt(M2) + 0x2000n);
    expect(flushes).toEqual([[0, M2, 'map4k']]);
    refuses('ALREADY_MAPPED', () => table.map2m(VA, physAddr(0), 0, { remap: true }));
    table.map2m(at(M2), physAddr(0), PtePreset.Data);
    table.map2m(at(M2), physAddr(M2), PtePreset.ReadOnly | PteFlags.PatLarge, { remap: true });
    expect(table.walk(at(M2)).page?.flags).toBe(
      (PtePreset.ReadOnly | PteFlags.PatLarge | PteFlags.Large) >>> 0,
    );
  });

  // P43
  test('sets PAT as requested, in its place for every page size', () => {
    const sizes = [
      [() => table.map4k, PteFlags.Pat, 0],
      [() => table.map2m, PteFlags.PatLarge, PteFlags.Large],
      [() => table.map1g, PteFlags.PatLarge, PteFlags.Large],
    ] as const;
    for (const [i, [map, pat, large]] of sizes.entries()) {
      const vaddr = at(i * G1);
      for (const flags of [PtePreset.Data, PtePreset.Data | pat, PtePreset.Data]) {
        map().call(table, vaddr, physAddr(i * G1), flags as never, { remap: true });
        expect(table.walk(vaddr).page?.flags).toBe((flags | large) >>> 0);
      }
    }
  });
});

describe('a change to pages of which some are as requested already', () => {
  const half = M2 / 2;
  const changes: [string, () => void, [number, number, string][]][] = [
    ['setSharedRegion', () => table.setSharedRegion(part(0, 2 * M2)), [[0, M2, 'setSharedRegion']]],
    [
      'mapRegion over mapped pages',
      () => table.mapRegion(part(half, 2 * M2), physAddr(0x5000), PtePreset.Data, { remap: true }),
      [[half, 2 * M2 - half, 'mapRegion']],
    ],
    [
      'unmapRegion with holes',
      () => table.unmapRegion(part(half, 2 * M2), { allowHoles: true }),
      [[half, 2 * M2 - half, 'unmapRegion']],
    ],
  ];

  test.each(changes)('%s reports the pages that change, and no others', (_, change, expected) => {
    const by4k = { pageSize: PageSize.Regular } as const;
    table.mapRegion(part(0, M2), physAddr(0x1000), PtePreset.Data, by4k);
    table.mapRegion(part(M2, M2), physAddr(0x100_1000), PtePreset.Data, { ...by4k, shared: true });
    flushes = [];
    change();
    expect(flushes).toEqual(expected);
  });

  test('reports from the first to the last page that was mapped, in each table', () => {
    const pages = [3, 5, 7, 512 + 1];
    for (const replace of [false, true]) {
      make();
      for (const page of pages) table.map4k(at(page * 0x1000), physAddr(0x1000), PtePreset.Data);
      const region = part(0x1000, 2 * M2 - 0x1000);
      if (replace) table.mapRegion(region, physAddr(0x1000), PtePreset.Data, { remap: true });
      else table.unmapRegion(region, { allowHoles: true });
      const by = replace ? 'mapRegion' : 'unmapRegion';
      expect(flushes).toEqual([
        [0x3000, 0x5000, by],
        [M2 + 0x1000, 0x1000, by],
      ]);
    }
  });

  test('asks for write access to no table in which nothing changes', () => {
    table.mapRegion(part(0, M2 + 0x3000), physAddr(0x1000), PtePreset.Data, { shared: true });
    table.map2m(at(4 * M2), physAddr(M2), PtePreset.Data, { shared: true });
    let writes = 0;
    const opened = watched(() => {
      writes += 1;
    });
    opened.setSharedRegion(part(0, M2 + 0x3000));
    opened.setSharedRegion(part(4 * M2, M2));
    opened.protectRegion(part(0x1000, M2), { set: PteFlags.Writable, clear: PteFlags.User });
    opened.unmapRegion(part(M2 + 0x3000, 3 * M2 - 0x3000), { allowHoles: true });
    opened.mapRegion(part(0x1000, 0), physAddr(0), PtePreset.Data);
    expect(opened.collapse(VA)).toBe(PageSize.Regular);
    expect(writes).toBe(0);
    // Of two leaf tables, only the one that changes: in the first pass, and in the second.
    table.setEncrypted4k(at(0x2000));
    opened.setSharedRegion(part(0, M2 + 0x3000));
    expect(writes).toBe(2);
  });
});

describe('an entry that is refused in the middle of a table is named', () => {
  const changes: [string, () => void][] = [
    ['unmapRegion', () => table.unmapRegion(part(0x2000, 0x9000))],
    ['setSharedRegion', () => table.setSharedRegion(part(0x2000, 0x9000))],
    ['protectRegion', () => table.protectRegion(part(0x2000, 0x9000), { set: PteFlags.User })],
  ];

  test.each(changes)('the first hole: %s', (_, change) => {
    table.mapRegion(part(0, 0x10_000), physAddr(0x1000), PtePreset.Data);
    table.unmap4k(at(0x6000));
    table.unmap4k(at(0x8000));
    const error = refuses('NOT_MAPPED', change);
    expect(error).toMatchObject({ details: { vaddr: at(0x6000), level: 0 } });
  });

  test.each([
    ...changes,
    [
      'mapRegion over it',
      () => table.mapRegion(part(0x2000, 0x9000), physAddr(0), PtePreset.Data, { remap: true }),
    ] as [string, () => void],
  ])('the first corrupted entry: %s', (_, change) => {
    make({ config: pagingConfig({ cBit: 51, physicalBits: 40 }) });
    table.mapRegion(part(0, 0x10_000), physAddr(0x1000), PtePreset.Data);
    const { table: pt = 0n } = table.walk(VA).path[3] ?? {};
    for (const index of [6n, 8n]) {
      const paddr = physAddr(pt + 8n * index);
      writePhys64(memory, paddr, readPhys64(memory, paddr) | (1n << 45n));
    }
    const error = refuses('RESERVED_BITS', change);
    expect(error).toMatchObject({
      details: { vaddr: at(0x6000), level: 0, paddr: pt + 48n, reserved: 1n << 45n },
    });
  });

  test('a page size that does not exist, and an address that is not a multiple of it', () => {
    const sizes = refuses('INVALID_PAGE_SIZE', () =>
      table.mapRegion(part(0, M2), physAddr(0), 0, { pageSize: 0x2000 as PageSize }),
    );
    expect(sizes).toMatchObject({ details: { pageSize: 0x2000, giantPages: true } });
    const misaligned = refuses('MISALIGNED', () =>
      table.mapRegion(part(0x1000, M2), physAddr(0), 0, { pageSize: M2 }),
    );
    expect(misaligned).toMatchObject({ details: { what: 'virtual', address: at(0x1000), pageSize: M2 } });
  });
});

describe('split4k', () => {
  test('takes one table for each step down', () => {
    table.map1g(VA, physAddr(G1), PtePreset.Data);
    table.map1g(at(G1), physAddr(G1), PtePreset.Data);
    const before = pool.inUse.size;
    table.split2m(VA);
    expect(pool.inUse.size).toBe(before + 1);
    table.split2m(VA);
    expect(pool.inUse.size).toBe(before + 1);
    table.split4k(VA);
    expect(pool.inUse.size).toBe(before + 2);
    table.split4k(at(G1));
    expect(pool.inUse.size).toBe(before + 4);
    expect(flushes).toEqual([
      [0, G1, 'split2m'],
      [0, M2, 'split4k'],
      [G1, G1, 'split4k'],
    ]);
  });

  test('takes no frame if the entry cannot be written', () => {
    table.map2m(VA, physAddr(M2), PtePreset.Data);
    const opened = watched(() => {
      throw new Error('read-only');
    });
    const { size } = pool.inUse;
    for (const change of [
      () => opened.split4k(VA),
      () => opened.setShared4k(VA),
      () => opened.map4k(at(G1), physAddr(0), PtePreset.Data),
    ]) {
      expect(change).toThrow('read-only');
      expect(pool.inUse.size).toBe(size);
    }
  });
});

describe('collapse', () => {
  test('reverses a split, of 1 GiB too, and gives the tables back', () => {
    const flags = PtePreset.Data | PteFlags.PatLarge | PteFlags.CacheDisable | PteFlags.Software52;
    table.map1g(VA, physAddr(G1), flags);
    const before = snapshot(memory, pool);
    table.split4k(at(5 * M2));
    for (let offset = 0; offset < G1; offset += M2) table.split4k(at(offset));
    expect(pool.inUse.size).toBe(2 + 1 + 512);
    for (let offset = M2; offset < G1; offset += M2) expect(table.collapse(at(offset))).toBe(M2);
    flushes = [];
    expect(table.collapse(VA)).toBe(G1);
    expect(flushes).toEqual([[0, G1, 'collapse']]);
    expect(snapshot(memory, pool)).toEqual(before);
    expect(table.collapse(VA)).toBe(G1);
  });

  test.each([
    [PageSize.Regular, PageSize.Regular],
    [PageSize.Huge, PageSize.Huge],
    [PageSize.Giant, PageSize.Giant],
    [undefined, PageSize.Giant],
  ])('makes a page of at most %s bytes', (largest, result) => {
    table.mapRegion(part(0, G1), physAddr(0), PtePreset.Data, { pageSize: PageSize.Huge });
    table.split4k(at(5 * M2));
    const before = snapshot(memory, pool);
    expect(table.collapse(at(5 * M2), largest)).toBe(result);
    if (largest === PageSize.Regular) expect(snapshot(memory, pool)).toEqual(before);
    if (largest === PageSize.Huge) expect(table.collapse(at(5 * M2), largest)).toBe(M2);
  });

  test.each([0, 3, 8192, '4096', 4096n, null])('refuses %s as the greatest size', (largest) => {
    table.map2m(VA, physAddr(M2), PtePreset.Data);
    table.split4k(VA);
    const before = snapshot(memory, pool);
    refuses('INVALID_PAGE_SIZE', () => table.collapse(VA, largest as PageSize));
    expect(snapshot(memory, pool)).toEqual(before);
  });

  test('stops at 2 MiB without 1 GiB pages', () => {
    make({ config: pagingConfig({ giantPages: false }) });
    table.mapRegion(part(0, G1), physAddr(0), PtePreset.Data);
    expect(table.collapse(VA)).toBe(M2);
  });

  // P13
  test('joins accessed and dirty, and keeps rights denied that the entry above denied', () => {
    table.mapRegion(part(0, M2), physAddr(0), PteFlags.Writable | PteFlags.User, {
      pageSize: PageSize.Regular,
    });
    table.access(at(0x7000), 'write', undefined, {});
    table.protect4k(at(0x9000), { set: PteFlags.Accessed });
    table.protect4k(at(0x8000), { set: PteFlags.Dirty });
    const pd = table.walk(VA).path[2]?.table ?? 0n;
    writePhys64(memory, physAddr(pd), (readPhys64(memory, physAddr(pd)) & ~2n) | (1n << 63n));
    const { writable, user, executable } = table.walk(VA).page ?? {};
    expect(table.collapse(VA)).toBe(M2);
    expect(table.walk(VA).page).toMatchObject({ writable, user, executable });
    expect((table.walk(VA).page?.flags ?? 0) & 0x60).toBe(0x60);
  });

  test.each<[string, () => void]>([
    ['a hole', () => table.unmap4k(at(0x1f_f000))],
    ['another right', () => table.protect4k(at(0x5000), { set: PteFlags.User })],
    ['another visibility', () => table.setShared4k(at(0x1f_f000))],
    ['another frame', () => table.map4k(at(0x5000), physAddr(0), PtePreset.Data, { remap: true })],
  ])('does nothing for %s', (_, change) => {
    table.map2m(VA, physAddr(M2), PtePreset.Data);
    table.split4k(VA);
    change();
    const before = snapshot(memory, pool);
    expect(table.collapse(VA)).toBe(PageSize.Regular);
    expect(snapshot(memory, pool)).toEqual(before);
  });

  test('does nothing for parts of a page that would not be aligned', () => {
    table.mapRegion(part(0, M2), physAddr(0x1000), PtePreset.Data);
    expect(table.collapse(VA)).toBe(PageSize.Regular);
    refuses('NOT_MAPPED', () => table.collapse(at(M2)));
  });

  // All entries get the same bits, so they do not disagree. An entry that a walk refuses is refused here too.
  test.each<[string, bigint, bigint, PageTableErrorCode | undefined]>([
    ['entries that are not present', 1n, 0n, 'NOT_MAPPED'],
    ['frames that start within a page of 2 MiB', 0n, 0x10_0000n, undefined],
    ['reserved bits', 0n, 1n << 45n, 'RESERVED_BITS'],
  ])('does nothing for %s', (_, clear, set, code) => {
    make({ config: pagingConfig({ cBit: 51, physicalBits: 40 }) });
    table.mapRegion(part(0, M2), physAddr(M2), PtePreset.Data, { pageSize: PageSize.Regular });
    const { table: pt = 0n } = table.walk(VA).path[3] ?? {};
    for (let i = 0n; i < 512n; i += 1n) {
      const paddr = physAddr(pt + 8n * i);
      writePhys64(memory, paddr, (readPhys64(memory, paddr) & ~clear) | set);
    }
    if (code !== undefined) refuses(code, () => table.collapse(VA));
    else {
      const before = snapshot(memory, pool);
      expect(table.collapse(VA)).toBe(PageSize.Regular);
      expect(snapshot(memory, pool)).toEqual(before);
      expect(flushes).toEqual([]);
    }
  });

  test('works in a table that is not the first, and reports the whole page', () => {
    const vaddr = at(3 * G1 + 5 * M2);
    table.map2m(vaddr, physAddr(7 * M2), PtePreset.Data);
    table.split4k(vaddr);
    flushes = [];
    expect(table.collapse((vaddr + 0x7000n) as VirtAddr)).toBe(M2);
    expect(flushes).toEqual([[3 * G1 + 5 * M2, M2, 'collapse']]);
    expect(table.walk(vaddr).page).toMatchObject({ paddr: BigInt(7 * M2), size: M2, writable: true });
    flushes = [];
    expect(table.collapse(vaddr)).toBe(M2);
    expect(flushes).toEqual([]);
  });

  test('reads the denied rights from the entry that leads to the table', () => {
    const vaddr = at(5 * M2);
    table.mapRegion(part(4 * M2, 3 * M2), physAddr(4 * M2), PteFlags.Writable | PteFlags.User);
    table.split4k(vaddr);
    const { table: pd = 0n } = table.walk(vaddr).path[2] ?? {};
    const entry = physAddr(pd + 40n);
    writePhys64(memory, entry, readPhys64(memory, entry) & ~6n);
    expect(table.collapse(vaddr)).toBe(M2);
    expect(table.walk(vaddr).page).toMatchObject({ writable: false, user: false, size: M2 });
    expect(table.walk(at(6 * M2)).page).toMatchObject({ writable: true, user: true });
  });

  test('does not give back a table that is also an upper table of the same walk', () => {
    // The page directory is its own first leaf table, and its entries are the parts of a page of 2 MiB.
    const pd = 0x20_0000n;
    table.map4k(VA, physAddr(0), PtePreset.Data);
    const above = table.walk(VA).path[1];
    writePhys64(memory, physAddr(above?.table ?? 0n), pd | 0x23n);
    for (let i = 0n; i < 512n; i += 1n)
      writePhys64(memory, physAddr(pd + 8n * i), (pd + 0x1000n * i) | 0x23n);
    const before = Buffer.from(readPhys(memory, physAddr(pd), 0x1000));
    expect(table.translate(at(0x3000))).toBe(pd + 0x3000n);
    expect(table.collapse(at(0x3000))).toBe(PageSize.Regular);
    expect(Buffer.from(readPhys(memory, physAddr(pd), 0x1000)).equals(before)).toBe(true);
  });

  test('leaves a page next to a table as it is', () => {
    table.map1g(VA, physAddr(G1), PtePreset.Data);
    table.split4k(at(0x3000));
    table.protect4k(at(0x3000), { set: PteFlags.User });
    const before = snapshot(memory, pool);
    expect(table.collapse(at(M2))).toBe(M2);
    expect(table.collapse(VA)).toBe(PageSize.Regular);
    expect(snapshot(memory, pool)).toEqual(before);
  });

  test('needs an allocator that takes the tables back', () => {
    table.map2m(VA, physAddr(M2), PtePreset.Data);
    table.split4k(VA);
    const opened = PageTable.open(table.root, { memory, config: table.config });
    refuses('NO_FRAME_ALLOCATOR', () => opened.collapse(VA));
  });
});

describe('destroy', () => {
  test('gives every table back, and every later use is an error', () => {
    table.mapRegion(part(0x1000, G1), physAddr(0), PtePreset.Data);
    writePhys64(memory, physAddr(table.root + 8n * 10n), table.root | 0x23n);
    expect(table.countTables()).toBe(pool.inUse.size);
    table.destroy();
    expect(pool.inUse.size).toBe(0);
    for (const use of [
      () => table.translate(at(0x1000)),
      () => table.walk(VA),
      () => table.setShared4k(at(0x1000)),
      () => table.map4k(VA, physAddr(0), 0),
      () => table.mapRegion(part(0, M2), physAddr(0), 0),
      () => table.unmapRegion(part(0, M2)),
      () => table.access(VA, 'read'),
      () => table.mappings(),
      () => table.destroy(),
    ]) {
      refuses('DESTROYED', use);
    }
  });

  test('counts each table once, even if tables lead to each other 512 times at each level', () => {
    const looped = createPhysMemory({ size: 0x4000 });
    for (let level = 0; level < 3; level += 1) {
      for (let i = 0; i < 512; i += 1) {
        writePhys64(looped, physAddr(level * 0x1000 + 8 * i), BigInt(level + 1) * 0x1000n + 3n);
      }
    }
    expect(PageTable.open(physAddr(0), { memory: looped }).countTables()).toBe(4);
  });

  test('gives nothing back if a table is outside memory', () => {
    writePhys64(memory, table.root, 0x7_0000_0003n);
    refuses('BUS_ERROR', () => table.destroy());
  });
});

test('reports nothing again that an earlier change of a page table with a self-map has reported', () => {
  make({ selfMap: 493 });
  table.mapRegion(part(0, M2), physAddr(0), PtePreset.Data);
  table.setSharedRegion(part(0, 0x1000)); // splits the large page
  flushes = [];
  table.setSharedRegion(part(0x1000, 0x1000));
  expect(flushes).toEqual([[0x1000, 0x1000, 'setSharedRegion']]);
});
