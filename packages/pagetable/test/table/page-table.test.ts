import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { beforeEach, describe, expect, test } from 'vitest';
import type { PageTableOptions } from '../../src/edit/page-table-options.ts';
import { isPageTableError, type PageTableErrorCode } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { FramePool, slowWalk, snapshot } from '../support/frame-pool.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const PA = physAddr(0x1_2340_0000n);
const C_BIT = 1n << 51n;

let memory: PhysMemory;
let pool: FramePool;
let table: PageTable;

function make(options: Partial<PageTableOptions> = {}): PageTable {
  memory = createPhysMemory({ size: 0x40_0000 });
  pool = new FramePool(16, 64);
  table = PageTable.create({ memory, frames: pool, config: pagingConfig({ cBit: 51 }), ...options });
  return table;
}

/** Expects that `operation` throws `code` and changes nothing. Returns the error. */
function refuses(code: PageTableErrorCode, operation: () => unknown): Error {
  const before = snapshot(memory, pool);
  let error: unknown;
  try {
    operation();
  } catch (thrown) {
    error = thrown;
  }
  expect(isPageTableError(error, code), `expected ${code}, got ${error}`).toBe(true);
  expect(snapshot(memory, pool)).toEqual(before);
  return error as Error;
}

const leafOf = (vaddr: VirtAddr): bigint | undefined =>
  slowWalk(memory, table.root, table.config, vaddr)?.leaf;

beforeEach(() => {
  make();
});

describe('create and open', () => {
  test('create takes one frame and clears it', () => {
    const dirty = createPhysMemory({ size: 0x10_0000 });
    writePhys64(dirty, physAddr(0x1_0ff8), ~0n & 0xffff_ffff_ffff_ffffn);
    const frames = new FramePool(16, 1);
    const fresh = PageTable.create({ memory: dirty, frames });
    expect(fresh.root).toBe(0x1_0000n);
    expect(readPhys64(dirty, physAddr(0x1_0ff8))).toBe(0n);
    expect(frames.inUse.size).toBe(1);
  });

  test('open sees the mappings of another object for the same root', () => {
    table.map4k(VA, PA, PtePreset.Data);
    const other = PageTable.open(table.root, { memory, config: table.config });
    expect(other.translate((VA + 0x123n) as VirtAddr)).toBe(PA + 0x123n);
  });

  test('a change by another object above the leaf is seen at once', () => {
    table.map4k(VA, PA, PtePreset.Data);
    expect(table.translate(VA)).toBe(PA);
    const other = PageTable.open(table.root, { memory, frames: pool, config: table.config });
    const [pml4e] = other.walk(VA).path;
    writePhys64(memory, ((pml4e?.table ?? 0n) + BigInt(8 * (pml4e?.index ?? 0))) as PhysAddr, 0n);
    expect(table.translate(VA)).toBeUndefined();
  });

  test('a write by the caller to its buffer is seen at once', () => {
    const buffer = new ArrayBuffer(0x10_0000);
    const frames = new FramePool(1, 16);
    const own = PageTable.create({ memory: createPhysMemory({ buffer }), frames });
    own.map4k(VA, PA, PtePreset.Data);
    expect(own.translate(VA)).toBe(PA);
    new Uint8Array(buffer).fill(0);
    expect(own.translate(VA)).toBeUndefined();
  });

  // P5, C3
  test('cr3 is the root with the C-bit, if there is one', () => {
    expect(table.cr3).toBe(table.root | C_BIT);
    expect(PageTable.open(table.root, { memory }).cr3).toBe(table.root);
    const vtom = pagingConfig({ encryption: { mode: 'vtom', bit: 46 } });
    expect(PageTable.open(table.root, { memory, config: vtom }).cr3).toBe(table.root);
  });

  test.each([
    ['is misaligned', 0x1_0008n],
    ['is outside memory', 0x100_0000n],
    ['is past the physical width', 1n << 51n],
    ['is not an address', 1n << 52n],
    ['is a number', 0x1_0000 as unknown as bigint],
  ])('a root that %s is refused', (_, root) => {
    refuses('INVALID_FRAME', () => PageTable.open(root as PhysAddr, { memory, config: table.config }));
  });

  test('create without frames, or with none left, changes nothing', () => {
    refuses('NO_FRAME_ALLOCATOR', () => PageTable.create({ memory }));
    const none = new FramePool(16, 0);
    const error = refuses('OUT_OF_MEMORY', () => PageTable.create({ memory, frames: none }));
    expect(error.cause).toEqual(new Error('the pool is empty'));
  });

  test('a frame that cannot be a root is given back', () => {
    const outside = new FramePool(0x10_0000, 1);
    refuses('INVALID_FRAME', () => PageTable.create({ memory, frames: outside }));
    expect(outside.inUse.size).toBe(0);
  });
});

describe('map', () => {
  test.each([
    ['map4k', 'unmap4k', 0x1000n, 4],
    ['map2m', 'unmap2m', 0x20_0000n, 3],
    ['map1g', 'unmap1g', 0x4000_0000n, 2],
  ] as const)('%s maps a page, and %s returns its entry', (map, unmap, size, tables) => {
    const paddr = physAddr(0x80_0000_0000n);
    table[map](VA, paddr, PtePreset.Data);
    expect(table.translate((VA + size - 1n) as VirtAddr)).toBe(paddr + size - 1n);
    expect(table.translate((VA + size) as VirtAddr)).toBeUndefined();
    expect(pool.inUse.size).toBe(tables);
    const entry = table[unmap](VA);
    expect(entry).toMatchObject({ present: true, leaf: true, address: paddr, shared: false });
    expect(table.translate(VA)).toBeUndefined();
  });

  test('writes the entry bit for bit', () => {
    const flags =
      PteFlags.Writable | PteFlags.WriteThrough | PteFlags.Pat | PteFlags.Software10 | PteFlags.NoExecute;
    table.map4k(VA, PA, flags | PteFlags.Software52);
    expect(leafOf(VA)).toBe(PA | C_BIT | (1n << 63n) | (1n << 52n) | 0x400n | 0x80n | 0x8n | 0x2n | 0x1n);
    table.map2m((VA + 0x20_0000n) as VirtAddr, PA, PteFlags.PatLarge, { shared: true });
    expect(leafOf((VA + 0x20_0000n) as VirtAddr)).toBe(PA | 0x1000n | 0x80n | 0x1n);
  });

  test('makes tables private, and present, writable, user and accessed', () => {
    table.map4k(VA, PA, 0, { shared: true });
    for (const { entry } of table.walk(VA).path.slice(0, -1)) {
      expect(entry.raw & ~0xf_ffff_ffff_f000n).toBe(0x27n);
      expect(entry.raw & C_BIT).toBe(C_BIT);
    }
    expect(table.walk(VA).page).toMatchObject({
      shared: true,
      writable: false,
      user: false,
      executable: true,
    });
  });

  test('refuses to overwrite a page, a table or a larger page', () => {
    table.map4k(VA, PA, PtePreset.Data);
    refuses('ALREADY_MAPPED', () => table.map4k(VA, PA, PtePreset.Data));
    refuses('ALREADY_MAPPED', () => table.map2m(VA, PA, PtePreset.Data));
    table.map2m((VA + 0x20_0000n) as VirtAddr, PA, PtePreset.Data);
    refuses('ALREADY_MAPPED', () => table.map4k((VA + 0x20_1000n) as VirtAddr, PA, PtePreset.Data));
  });

  test.each([
    ['a virtual address that is misaligned', 'MISALIGNED', VA + 8n, PA, 0],
    ['a physical address that is misaligned', 'MISALIGNED', VA, PA + 0x800n, 0],
    ['a non-canonical address', 'NON_CANONICAL', 0x8000_0000_0000n, PA, 0],
    ['2^64', 'NON_CANONICAL', 1n << 64n, PA, 0],
    ['2^64 and a valid address', 'NON_CANONICAL', VA + (1n << 64n), PA, 0],
    ['a negative address', 'NON_CANONICAL', -0x1000n, PA, 0],
    ['a number for an address', 'NON_CANONICAL', 0x1000, PA, 0],
    ['undefined', 'NON_CANONICAL', undefined, PA, 0],
    ['a physical address past the width', 'OUTSIDE_PHYSICAL_RANGE', VA, 1n << 51n, 0],
    ['a physical address of 2^52', 'OUTSIDE_PHYSICAL_RANGE', VA, 1n << 52n, 0],
    ['a negative physical address', 'OUTSIDE_PHYSICAL_RANGE', VA, -0x1000n, 0],
    ['flags that hold address bits', 'INVALID_FLAGS', VA, PA, 0x1000],
    ['fractional flags', 'INVALID_FLAGS', VA, PA, 0.5],
    ['NaN flags', 'INVALID_FLAGS', VA, PA, Number.NaN],
    ['flags beyond 32 bits', 'INVALID_FLAGS', VA, PA, 0x1_0000_0001],
  ] as const)('refuses %s', (_, code, vaddr, paddr, flags) => {
    refuses(code, () => table.map4k(vaddr as VirtAddr, paddr as PhysAddr, flags));
  });

  test('refuses addresses that are not multiples of the page size', () => {
    refuses('MISALIGNED', () => table.map2m((VA + 0x1000n) as VirtAddr, PA, 0));
    refuses('MISALIGNED', () => table.map2m(VA, (PA + 0x1000n) as PhysAddr, 0));
    refuses('MISALIGNED', () => table.map1g(VA, physAddr(0x20_0000), 0));
  });

  test('refuses features that the configuration does not have', () => {
    make({ config: pagingConfig({ noExecute: false, giantPages: false }) });
    refuses('INVALID_FLAGS', () => table.map4k(VA, PA, PteFlags.NoExecute));
    refuses('INVALID_FLAGS', () => table.map1g(VA, physAddr(0), 0));
    refuses('NO_ENCRYPTION', () => table.map4k(VA, PA, 0, { shared: true }));
    table.map4k(VA, PA, PteFlags.Writable);
    expect(leafOf(VA)).toBe(PA | 3n);
  });

  test('survives an allocator that misbehaves', () => {
    const frames = { allocateFrame: () => physAddr(0x1_0008), freeFrame: () => {} };
    const own = PageTable.open(table.root, { memory, frames, config: table.config });
    refuses('INVALID_FRAME', () => own.map4k(VA, PA, 0));
    const none = PageTable.open(table.root, { memory, config: table.config });
    refuses('NO_FRAME_ALLOCATOR', () => none.map4k(VA, PA, 0));
  });
});

describe('unmap', () => {
  test('refuses a page that is not mapped, or has another size', () => {
    refuses('NOT_MAPPED', () => table.unmap4k(VA));
    table.map2m(VA, PA, 0);
    refuses('PAGE_SIZE_MISMATCH', () => table.unmap4k(VA));
    refuses('PAGE_SIZE_MISMATCH', () => table.unmap1g(VA));
    refuses('MISALIGNED', () => table.unmap2m((VA + 0x1000n) as VirtAddr));
  });
});

describe('setShared4k and setEncrypted4k', () => {
  // C1
  test('flip the C-bit of the page alone', () => {
    table.map4k(VA, PA, PtePreset.Data);
    const before = leafOf(VA) as bigint;
    table.setShared4k(VA);
    expect(leafOf(VA)).toBe(before & ~C_BIT);
    expect(table.walk(VA).page?.shared).toBe(true);
    table.setEncrypted4k(VA);
    expect(leafOf(VA)).toBe(before);
  });

  // C9
  test('set and clear the vTOM bit the other way round', () => {
    make({ config: pagingConfig({ encryption: { mode: 'vtom', bit: 46 } }) });
    table.map4k(VA, PA, PtePreset.Data);
    expect((leafOf(VA) as bigint) & (1n << 46n)).toBe(0n);
    table.setShared4k(VA);
    expect((leafOf(VA) as bigint) & (1n << 46n)).toBe(1n << 46n);
    expect(table.translate(VA)).toBe(PA);
    expect(table.walk(VA).page).toMatchObject({ shared: true, frame: PA });
  });

  test('split a 2 MiB page, and share one page of it', () => {
    table.map2m(VA, PA, PtePreset.Data);
    const page = (VA + 0x5000n) as VirtAddr;
    table.setShared4k(page);
    for (const other of virtRegion(VA, 0x20_0000).iterPages(PageSize.Regular)) {
      expect(table.walk(other).page).toMatchObject({
        size: PageSize.Regular,
        paddr: PA + (other - VA),
        shared: other === page,
        flags: PtePreset.Data,
      });
    }
  });

  test('do not split a large page that has the visibility already', () => {
    table.map2m(VA, PA, PtePreset.Data, { shared: true });
    table.setShared4k((VA + 0x1000n) as VirtAddr);
    expect(table.walk(VA).page?.size).toBe(PageSize.Huge);
    table.setEncrypted4k((VA + 0x1000n) as VirtAddr);
    expect(table.walk(VA).page).toMatchObject({ size: PageSize.Regular, shared: true });
    expect(table.walk((VA + 0x1000n) as VirtAddr).page?.shared).toBe(false);
  });

  test('refuse bad addresses, absent pages and configurations without encryption', () => {
    table.map4k(VA, PA, PtePreset.Data);
    table.setShared4k(VA);
    refuses('NOT_MAPPED', () => table.setShared4k((VA + 0x1000n) as VirtAddr));
    refuses('NOT_MAPPED', () => table.setEncrypted4k((VA + 0x4000_0000n) as VirtAddr));
    refuses('MISALIGNED', () => table.setShared4k((VA + 1n) as VirtAddr));
    // It differs from the page before only in bits that a cast to 64 bits drops.
    refuses('NON_CANONICAL', () => table.setShared4k((VA + (1n << 64n)) as VirtAddr));
    refuses('NON_CANONICAL', () => table.setShared4k((VA - (1n << 64n)) as VirtAddr));
    make({ config: pagingConfig() });
    table.map4k(VA, PA, PtePreset.Data);
    refuses('NO_ENCRYPTION', () => table.setShared4k(VA));
  });
});

describe('split4k', () => {
  test('splits a page of 1 GiB into 511 of 2 MiB and 512 of 4 KiB', () => {
    table.map1g(VA, physAddr(0x40_0000_0000n), PtePreset.Data);
    const before = pool.inUse.size;
    const inside = (VA + 0x1234_5678n) as VirtAddr;
    table.split4k(inside);
    expect(pool.inUse.size).toBe(before + 2);
    expect(table.walk(inside).page).toMatchObject({ size: PageSize.Regular, paddr: 0x40_1234_5678n });
    expect(table.walk(VA).page?.size).toBe(PageSize.Huge);
    table.split4k(inside);
    expect(pool.inUse.size).toBe(before + 2);
  });

  test('refuses an address that is not mapped', () => {
    refuses('NOT_MAPPED', () => table.split4k(VA));
  });
});

describe('walk', () => {
  // P3, P4
  test('returns every entry, and stops at the first that is not present', () => {
    table.map4k(VA, PA, PtePreset.Code);
    const walk = table.walk((VA + 0xabcn) as VirtAddr);
    expect(walk.path.map(({ level, index }) => [level, index])).toEqual([
      [3, 256],
      [2, 0],
      [1, 0],
      [0, 0],
    ]);
    expect(walk.path[0]?.table).toBe(table.root);
    expect(walk.page).toMatchObject({ frame: PA, paddr: PA + 0xabcn, executable: true, writable: false });
    const hole = table.walk((VA + 0x20_0000n) as VirtAddr);
    expect([hole.path.length, hole.page]).toEqual([3, undefined]);
  });

  // P1, P2, P3
  test('starts at the PML5 with five levels, and accepts 57-bit addresses', () => {
    make({ config: pagingConfig({ levels: 5 }) });
    const vaddr = 0xff00_0000_0000_0000n as VirtAddr;
    table.map4k(vaddr, PA, PtePreset.Data);
    expect(table.walk(vaddr).path.map(({ level, index }) => [level, index])[0]).toEqual([4, 256]);
    expect(table.translate(vaddr)).toBe(PA);
    refuses('NON_CANONICAL', () => table.translate(0x0100_0000_0000_0000n as VirtAddr));
  });
});

describe('a corrupted table', () => {
  const corrupt = (level: number, bits: bigint): void => {
    const step = table.walk(VA).path.find((step) => step.level === level);
    const paddr = ((step?.table ?? 0n) + BigInt(8 * (step?.index ?? 0))) as PhysAddr;
    writePhys64(memory, paddr, readPhys64(memory, paddr) | bits);
  };

  // P7
  test.each([
    ['bit 7 of a PML4 entry', 3, 1n << 7n],
    ['bit 8 of a PML4 entry, on AMD', 3, 1n << 8n],
    ['an address bit past the width, in a PDPT entry', 2, 1n << 45n],
    ['an address bit past the width, in a PT entry', 0, 1n << 40n],
  ])('reports %s', (_, level, bit) => {
    make({ config: pagingConfig({ physicalBits: 40, cBit: 47 }) });
    table.map4k(VA, PA, PtePreset.Data);
    corrupt(level, bit);
    const error = refuses('RESERVED_BITS', () => table.translate(VA));
    expect(error).toMatchObject({ details: { level, reserved: bit } });
    refuses('RESERVED_BITS', () => table.setShared4k(VA));
    refuses('RESERVED_BITS', () => table.walk(VA));
  });

  // P7
  test('reports reserved address bits of a large page, and NX if it is off', () => {
    table.map2m(VA, PA, PtePreset.Data);
    corrupt(1, 1n << 13n);
    refuses('RESERVED_BITS', () => table.translate(VA));
    make({ config: pagingConfig({ noExecute: false }) });
    table.map4k(VA, PA, PteFlags.Writable);
    corrupt(2, 1n << 63n);
    refuses('RESERVED_BITS', () => table.translate(VA));
  });

  test('reports a table outside memory as BUS_ERROR', () => {
    table.map4k(VA, PA, PtePreset.Data);
    corrupt(2, 0x7_0000_0000n);
    refuses('BUS_ERROR', () => table.translate(VA));
  });

  test('does not reuse the last leaf table after a walk that ended in BUS_ERROR', () => {
    const other = (VA + 0x4000_0000n) as VirtAddr;
    table.map4k(VA, PA, PtePreset.Data);
    table.map4k(other, PA, PtePreset.Data);
    const pdpte = table.walk(other).path[1];
    const at = ((pdpte?.table ?? 0n) + BigInt(8 * (pdpte?.index ?? 0))) as PhysAddr;
    writePhys64(memory, at, 0x7_0000_0027n);
    expect(table.translate(VA)).toBe(PA);
    refuses('BUS_ERROR', () => table.translate(other));
    refuses('BUS_ERROR', () => table.translate(other));
    refuses('BUS_ERROR', () => table.setShared4k(other));
    expect(table.translate(VA)).toBe(PA);
  });

  test('ends after four levels if a table leads to itself', () => {
    writePhys64(memory, table.root, table.root | 0x27n);
    expect(table.translate(virtAddr(0x123))).toBe(table.root + 0x123n);
  });

  // P8
  test('ignores bit 8 of a PML4 entry on Intel', () => {
    make({ config: pagingConfig({ vendor: 'intel' }) });
    table.map4k(VA, PA, PtePreset.Data);
    corrupt(3, 1n << 8n);
    expect(table.translate(VA)).toBe(PA);
  });
});

describe('the TLB receives a flush request', () => {
  // P29
  test('for each change of a present entry, and for nothing else', () => {
    const told: [VirtAddr, number][] = [];
    make({ tlb: { needsFlush: (start, bytes) => told.push([start, bytes]) } });
    const page = (VA + 0x3000n) as VirtAddr;
    table.map2m(VA, PA, PtePreset.Data);
    expect(told).toEqual([]);
    table.setShared4k(page);
    expect(told.splice(0)).toEqual([
      [VA, PageSize.Huge],
      [page, PageSize.Regular],
    ]);
    table.setShared4k(page);
    expect(told).toEqual([]);
    table.unmap4k(page);
    expect(told).toEqual([[page, PageSize.Regular]]);
  });
});
