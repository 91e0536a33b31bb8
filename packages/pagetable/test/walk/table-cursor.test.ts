/** The remembered walk must not change a result: tested place by place here, at random in the laws. */
import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import {
  isPageTableError,
  type PageTableError,
  type PageTableErrorCode,
} from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FramePool, slowWalk } from '../support/frame-pool.ts';
import { MovingMemory } from '../support/moving-memory.ts';

const config = pagingConfig({ cBit: 51, physicalBits: 44 });
const BASE = 0xffff_8080_0000_0000n;
const RW = PteFlags.Writable;
/** First pages of leaf tables: in the same directory, in others, in the other half, below another root entry. */
const TABLES = [
  BASE,
  BASE + 0x20_0000n,
  BASE + 0x4000_0000n,
  BASE + 0x1_0000_0000n,
  BASE + 0x80_0000_0000n,
  0n,
] as const;
const INDEXES = [0n, 1n, 255n, 511n] as const;
const PAGES = TABLES.flatMap((table) => INDEXES.map((index) => (table + index * 0x1000n) as VirtAddr));

function make(memory: PhysMemory = createPhysMemory({ size: 0x40_0000 })) {
  return { memory, table: PageTable.create({ memory, frames: new FramePool(1, 200), config }) };
}

function refused(code: PageTableErrorCode, operation: () => unknown): PageTableError {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error, code)) return error;
    throw error;
  }
  return expect.fail(`expected ${code}`);
}

/** The address of the entry that maps `vaddr`. */
function placeOf(table: PageTable, vaddr: VirtAddr, level = 0): PhysAddr {
  const step = table.walk(vaddr).path.find((step) => step.level === level);
  return ((step?.table ?? 0n) + BigInt(8 * (step?.index ?? 0))) as PhysAddr;
}

describe('any page after any other', () => {
  test.each([
    ['still', (memory: PhysMemory) => memory],
    ['moving', (memory: PhysMemory) => new MovingMemory(memory)],
  ])('is shared alone, in %s memory', (_, memoryOf) => {
    const { memory, table } = make(memoryOf(createPhysMemory({ size: 0x40_0000 })));
    for (const [index, page] of PAGES.entries()) table.map4k(page, physAddr(0x1000 * index), RW);
    const shared = () =>
      PAGES.filter((page) => {
        const { leaf } = slowWalk(memory, table.root, config, page) ?? {};
        return ((leaf as bigint) & (1n << 51n)) === 0n;
      });
    for (const one of PAGES) {
      for (const other of PAGES) {
        table.setShared4k(one);
        table.setShared4k(other);
        expect(new Set(shared())).toEqual(new Set([one, other]));
        table.setEncrypted4k(one);
        table.setEncrypted4k(other);
        expect(shared()).toEqual([]);
      }
    }
  });

  test('is mapped, and found', () => {
    for (const one of PAGES) {
      for (const other of PAGES) {
        if (one === other) continue;
        const { table } = make();
        table.map4k(one, physAddr(0x5000), RW);
        table.map4k(other, physAddr(0x6000), RW);
        expect([table.translate(one), table.translate(other), table.translate(one)]).toEqual([
          0x5000n,
          0x6000n,
          0x5000n,
        ]);
        table.unmap4k(one);
        expect([table.translate(other), table.translate(one)]).toEqual([0x6000n, undefined]);
      }
    }
  });
});

describe('after a page of a leaf table', () => {
  test('a larger page is refused, with the level of the entry in the way', () => {
    const { table } = make();
    table.map4k((BASE + 0x1000n) as VirtAddr, physAddr(0x5000), RW);
    // The page is absent, but its leaf table and its directory exist.
    const huge = refused('ALREADY_MAPPED', () => table.map2m(virtAddr(BASE), physAddr(0), RW));
    expect(huge.details).toMatchObject({ vaddr: BASE, level: 1 });
    expect(table.translate(virtAddr(BASE + 0x1000n))).toBe(0x5000n);
    const giant = refused('ALREADY_MAPPED', () => table.map1g(virtAddr(BASE), physAddr(0), RW));
    expect(giant.details).toMatchObject({ vaddr: BASE, level: 2 });
    table.map2m(virtAddr(BASE + 0x20_0000n), physAddr(0x20_0000), RW);
    refused('ALREADY_MAPPED', () => table.map1g(virtAddr(BASE), physAddr(0), RW));
    table.map4k(virtAddr(BASE + 0x40_0000n), physAddr(0x7000), RW);
    expect(table.translate(virtAddr(BASE + 0x20_1000n))).toBe(0x20_1000n);
  });

  test('a bad address is refused as at first', () => {
    const { table } = make();
    table.map4k(virtAddr(BASE), physAddr(0x5000), RW);
    table.map4k(virtAddr(BASE + 0x1000n), physAddr(0x6000), RW);
    table.setShared4k(virtAddr(BASE));
    const wrong: [code: PageTableErrorCode, vaddr: unknown][] = [
      ['NON_CANONICAL', BASE + 0x1000n + (1n << 64n)],
      ['NON_CANONICAL', BASE + 0x1000n - (1n << 64n)],
      ['NON_CANONICAL', BASE + 0x1000n - (1n << 63n)],
      ['NON_CANONICAL', (1n << 64n) + 0x1000n],
      ['NON_CANONICAL', -1n],
      ['NON_CANONICAL', Number(BASE + 0x1000n)],
      ['NON_CANONICAL', 0],
      ['NON_CANONICAL', undefined],
      ['NON_CANONICAL', null],
      ['NON_CANONICAL', `${BASE}`],
      ['NON_CANONICAL', { valueOf: () => BASE }],
    ];
    for (const [code, vaddr] of wrong) {
      for (const ask of [
        'setShared4k',
        'setEncrypted4k',
        'translate',
        'walk',
        'unmap4k',
        'split4k',
      ] as const) {
        const error = refused(code, () => table[ask](vaddr as VirtAddr));
        expect(error.details).toEqual({ vaddr, levels: 4 });
      }
    }
    for (const ask of ['setShared4k', 'setEncrypted4k', 'unmap4k'] as const) {
      const vaddr = virtAddr(BASE + 0x1800n);
      const error = refused('MISALIGNED', () => table[ask](vaddr));
      expect(error.details).toEqual({ what: 'virtual', address: vaddr, pageSize: 0x1000 });
    }
    const { page } = table.walk(virtAddr(BASE + 0x1000n));
    expect([page?.shared, page?.paddr]).toEqual([false, 0x6000n]);
  });

  // P6
  test('an entry that is not present can have any bits', () => {
    const { memory, table } = make();
    table.map4k(virtAddr(BASE), physAddr(0x5000), RW);
    const place = placeOf(table, virtAddr(BASE));
    writePhys64(memory, (place + 8n) as PhysAddr, 0xffff_ffff_ffff_fffen);
    expect(table.translate(virtAddr(BASE))).toBe(0x5000n);
    expect(table.translate(virtAddr(BASE + 0x1000n))).toBeUndefined();
    expect(table.walk(virtAddr(BASE + 0x1000n)).page).toBeUndefined();
    refused('NOT_MAPPED', () => table.setShared4k(virtAddr(BASE + 0x1000n)));
  });

  test('an entry with a reserved bit set is refused, with its place', () => {
    const { memory, table } = make();
    table.map4k(virtAddr(BASE), physAddr(0x5000), RW);
    table.map4k(virtAddr(BASE + 0x3000n), physAddr(0x6000), RW);
    const place = placeOf(table, virtAddr(BASE + 0x3000n));
    const entry = readPhys64(memory, place) | (1n << 45n);
    writePhys64(memory, place, entry);
    for (const ask of ['translate', 'setShared4k', 'walk'] as const) {
      expect(table.translate(virtAddr(BASE))).toBe(0x5000n);
      const error = refused('RESERVED_BITS', () => table[ask](virtAddr(BASE + 0x3000n)));
      const details = { vaddr: BASE + 0x3000n, level: 0, paddr: place, entry, reserved: 1n << 45n };
      expect(error.details).toEqual(details);
    }
  });
});

test('the last address of the space is an address', () => {
  const { table } = make();
  const last = virtAddr(0xffff_ffff_ffff_ffffn);
  expect(table.translate(last)).toBeUndefined();
  table.map4k(virtAddr(last - 0xfffn), physAddr(0x5000), RW);
  expect(table.translate(last)).toBe(0x5fffn);
  expect(table.walk(last).page?.paddr).toBe(0x5fffn);
});

test('walking asks for no write access', () => {
  const { memory, table } = make();
  table.map4k(virtAddr(BASE), physAddr(0x5000), RW);
  const readOnly: PhysMemory = {
    epoch: 0,
    words: (frame, write) => {
      if (write) throw new Error(`frame ${frame} is asked for to write`);
      return memory.words(frame, false);
    },
    wordOffset: (frame) => memory.wordOffset(frame),
  };
  const reader = PageTable.open(table.root, { memory: readOnly, config });
  expect(reader.walk(virtAddr(BASE)).page?.paddr).toBe(0x5000n);
  expect(reader.translate(virtAddr(BASE))).toBe(0x5000n);
  // Flipping asks for it, also after a walk that only read.
  expect(() => reader.setShared4k(virtAddr(BASE))).toThrow('is asked for to write');
  expect(() => reader.setShared4k(virtAddr(BASE))).toThrow('is asked for to write');
  expect(table.walk(virtAddr(BASE)).page?.shared).toBe(false);
});

test('a store goes to the array that memory returns for the write', () => {
  const { table } = make(new MovingMemory(createPhysMemory({ size: 0x40_0000 })));
  table.map2m(virtAddr(BASE), physAddr(0x20_0000), RW);
  table.map2m(virtAddr(BASE + 0x20_0000n), physAddr(0x40_0000), RW);
  table.unmap2m(virtAddr(BASE));
  expect(table.translate(virtAddr(BASE + 0x20_0000n))).toBe(0x40_0000n);
  table.map4k(virtAddr(BASE), physAddr(0x5000), RW);
  table.map4k(virtAddr(BASE + 0x1000n), physAddr(0x6000), RW);
  table.unmap4k(virtAddr(BASE));
  table.setShared4k(virtAddr(BASE + 0x20_0000n));
  table.setShared4k(virtAddr(BASE + 0x20_1000n));
  expect(table.translate(virtAddr(BASE + 0x1000n))).toBe(0x6000n);
  const { page } = table.walk(virtAddr(BASE + 0x20_1000n));
  expect([page?.shared, page?.paddr]).toEqual([true, 0x40_1000n]);
});

test.each([0, 1, 256, 511])('a part refuses the addresses of all root entries but %i', (index) => {
  const memory = createPhysMemory({ size: 0x40_0000 });
  const part = PageTablePart.create(index, { memory, frames: new FramePool(1, 200), config });
  part.map4k(part.region.start as VirtAddr, physAddr(0x5000), RW);
  expect(part.translate(part.region.start as VirtAddr)).toBe(0x5000n);
  for (const other of [
    0n,
    0x80_0000_0000n,
    0x7f80_0000_0000n,
    0xffff_8000_0000_0000n,
    0xffff_ff80_0000_0000n,
  ]) {
    if (part.region.contains(other as VirtAddr)) continue;
    for (const ask of ['translate', 'walk', 'setShared4k'] as const) {
      const error = refused('OUTSIDE_PART', () => part[ask](other as VirtAddr));
      expect(error.details).toEqual({ vaddr: other, index });
    }
  }
});

test('the error of a destroyed page table names its root', () => {
  const { table } = make();
  const { root } = table;
  table.map4k(virtAddr(BASE), physAddr(0x5000), RW);
  table.setShared4k(virtAddr(BASE));
  table.destroy();
  for (const ask of ['translate', 'walk', 'setShared4k', 'setEncrypted4k'] as const) {
    expect(refused('DESTROYED', () => table[ask](virtAddr(BASE))).details).toEqual({ root });
  }
  refused('DESTROYED', () => table.setSharedRegion(virtRegion(virtAddr(BASE), 0x1000)));
});
