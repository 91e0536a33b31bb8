import { physAddr, Virt57, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { isPageTableError, type PageTableErrorCode } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import { FramePool, snapshot } from '../support/frame-pool.ts';

const config = pagingConfig({ cBit: 51 });
const START = virtAddr(0xffff_ff80_0000_0000n);

function setUp(options: { freeEmptyTables?: boolean } = {}) {
  const memory = createPhysMemory({ size: 0x10_0000 });
  const pool = new FramePool(1, 200);
  const table = (tlb?: Tlb) =>
    PageTable.create({ memory, frames: pool, config, ...(tlb === undefined ? {} : { tlb }), ...options });
  const part = PageTablePart.create(511, { memory, frames: pool, config, ...options });
  return { memory, pool, table, part };
}

function codeOf(operation: () => unknown): PageTableErrorCode | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe('a part', () => {
  test('has 512 GiB of addresses, or 256 TiB with five levels', () => {
    const { part, memory, pool } = setUp();
    expect(String(part.region)).toBe('[0xffffff8000000000-0x10000000000000000)');
    expect(part.index).toBe(511);
    const five = PageTablePart.create(256, { memory, frames: pool, config: pagingConfig({ levels: 5 }) });
    expect(String(five.region)).toBe('[0xff00000000000000-0xff01000000000000)');
    const vaddr = Virt57.address(0xff00_8000_0000_0000n);
    five.map4k(vaddr, physAddr(0x5000), 0);
    expect(five.translate(vaddr)).toBe(0x5000n);
    expect(five.walk(vaddr).path.map(({ level }) => level)).toEqual([3, 2, 1, 0]);
    expect([...five.mappings()]).toHaveLength(1);
    expect(five.countTables()).toBe(4);
    expect(codeOf(() => five.translate(Virt57.address(0x1000n)))).toBe('OUTSIDE_PART');
  });

  test('is visible with all its pages, whether mapped before or after it is attached', () => {
    const { part, table } = setUp();
    const [a, b] = [table(), table()];
    part.map4k(START, physAddr(0x5000), PtePreset.Data);
    part.attach(a);
    part.attach(b);
    expect(part.tables).toEqual([a, b]);
    part.map2m(virtAddr(START + 0x20_0000n), physAddr(0x20_0000), PtePreset.Data);
    for (const one of [a, b]) {
      expect(one.translate(START)).toBe(0x5000n);
      expect(one.translate(virtAddr(START + 0x20_0123n))).toBe(0x20_0123n);
      const page = one.walk(START).page;
      expect([page?.writable, page?.executable]).toEqual([true, false]);
      expect(one.access(START, 'write').type).toBe('translation');
    }
    part.detach(a);
    expect(a.translate(START)).toBeUndefined();
    expect(b.translate(START)).toBe(0x5000n);
    expect(part.tables).toEqual([b]);
  });

  test('makes the TLB of one CPU stale when another CPU changes it, until a flush', () => {
    const { part, table } = setUp();
    const stale: (string | undefined)[] = [];
    const own = new Tlb();
    const other = new Tlb({ onStaleUse: ({ staleBy }) => stale.push(staleBy) });
    const [a, b] = [table(own), table(other)];
    part.attach(a);
    part.attach(b);
    part.mapRegion(virtRegion(START, 0x20_0000), physAddr(0x20_0000), PtePreset.Data);
    const { page } = b.walk(START);
    if (page !== undefined) other.insert(START, page);
    a.setShared4k(START);
    expect(own.pending.map(String)).toEqual(['[0xffffff8000000000-0xffffff8000200000)']);
    expect(other.lookup(START)?.page.shared).toBe(false);
    expect(stale).toEqual(['setShared4k']);
    other.flushPending();
    expect(other.lookup(START)).toBeUndefined();
  });

  test('reports once to a TLB that two page tables share', () => {
    const { part, table } = setUp();
    const tlb = new Tlb();
    part.attach(table(tlb));
    part.attach(table(tlb));
    part.map4k(START, physAddr(0x5000), 0);
    let heard = 0;
    tlb.needsFlush = () => {
      heard += 1;
    };
    part.unmap4k(START);
    expect(heard).toBe(1);
  });

  test('reports all its addresses when it is detached', () => {
    const { part, table } = setUp();
    const tlb = new Tlb();
    const a = table(tlb);
    part.attach(a);
    part.detach(a);
    expect(tlb.pending.map(String)).toEqual([String(part.region)]);
  });

  test('takes frames from its own allocator, also for a change through a page table', () => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const [own, shared] = [new FramePool(1, 8), new FramePool(16, 8)];
    const a = PageTable.create({ memory, frames: own, config });
    const part = PageTablePart.create(511, { memory, frames: shared, config });
    part.attach(a);
    a.map4k(START, physAddr(0x5000), 0);
    expect([own.inUse.size, shared.inUse.size]).toEqual([1, 3]);
    expect([a.countTables(), part.countTables()]).toEqual([1, 3]);
    a.destroy();
    expect([own.inUse.size, shared.inUse.size]).toEqual([0, 3]);
    expect(part.translate(START)).toBe(0x5000n);
    expect(part.tables).toEqual([]);
    part.destroy();
    expect(shared.inUse.size).toBe(0);
    expect(codeOf(() => part.map4k(START, physAddr(0x5000), 0))).toBe('DESTROYED');
  });

  test('keeps its top table when the last page is unmapped', () => {
    const { part, table, pool } = setUp({ freeEmptyTables: true });
    const a = table();
    part.attach(a);
    a.map4k(START, physAddr(0x5000), 0);
    expect(part.countTables()).toBe(3);
    a.unmap4k(START);
    expect(part.countTables()).toBe(1);
    a.map4k(START, physAddr(0x6000), 0);
    expect(part.translate(START)).toBe(0x6000n);
    expect(pool.inUse.size).toBe(4);
  });

  test('is attached to a clone of a page table', () => {
    const { part, table } = setUp();
    const a = table();
    part.attach(a);
    const clone = a.cloneShared([511, 511]);
    expect(part.tables).toEqual([a, clone]);
    clone.map4k(START, physAddr(0x5000), 0);
    expect(a.translate(START)).toBe(0x5000n);
    a.destroy();
    expect(clone.translate(START)).toBe(0x5000n);
    expect(part.tables).toEqual([clone]);
  });

  test('can be changed through the page table, but not by a region that crosses its border', () => {
    const { part, table, memory, pool } = setUp();
    const a = table();
    part.attach(a);
    const inside = virtRegion(START, 0x20_0000);
    a.mapRegion(inside, physAddr(0), PteFlags.Writable);
    a.setSharedRegion(inside);
    a.protectRegion(inside, { clear: PteFlags.Writable });
    expect(part.walk(START).page).toMatchObject({ shared: true, writable: false });
    a.unmapRegion(inside);
    const across = virtRegion(virtAddr(START - 0x1000n), 0x2000);
    const before = snapshot(memory, pool);
    expect(codeOf(() => a.mapRegion(across, physAddr(0), 0))).toBe('PART_BOUNDARY');
    expect(codeOf(() => a.unmapRegion(across, { allowHoles: true }))).toBe('PART_BOUNDARY');
    expect(codeOf(() => part.unmapRegion(across, { allowHoles: true }))).toBe('OUTSIDE_PART');
    expect(snapshot(memory, pool)).toEqual(before);
    // Next to it, and an empty region.
    a.mapRegion(virtRegion(virtAddr(START - 0x1000n), 0x1000), physAddr(0), 0);
    a.mapRegion(virtRegion(START, 0), physAddr(0), 0);
    part.mapRegion(virtRegion(START, 0), physAddr(0), 0);
  });
});

describe('refuses', () => {
  test('an address outside', () => {
    const { part } = setUp();
    const vaddr = virtAddr(0x1000);
    for (const operation of [
      () => part.map4k(vaddr, physAddr(0), 0),
      () => part.unmap4k(vaddr),
      () => part.setShared4k(vaddr),
      () => part.protect4k(vaddr, {}),
      () => part.translate(vaddr),
      () => part.lookup(vaddr),
      () => part.walk(vaddr),
      () => part.split4k(vaddr),
      () => part.collapse(vaddr),
      () => part.mappings({ within: virtRegion(vaddr, 0x1000) }),
    ]) {
      expect(codeOf(operation)).toBe('OUTSIDE_PART');
    }
    expect(codeOf(() => part.translate(0x1n as VirtAddr))).toBe('OUTSIDE_PART');
    expect(codeOf(() => part.translate((1n << 64n) as VirtAddr))).toBe('NON_CANONICAL');
    expect(codeOf(() => part.translate((1n << 47n) as VirtAddr))).toBe('NON_CANONICAL');
  });

  test.each([-1, 512, 0.5, Number.NaN])('entry %d, without taking a frame', (index) => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const frames = new FramePool(1, 8);
    expect(codeOf(() => PageTablePart.create(index, { memory, frames }))).toBe('INVALID_ROOT_ENTRY');
    expect(frames.inUse.size).toBe(0);
  });

  test('no frames, a root entry in use, another memory or configuration, and destroying while attached', () => {
    const { part, table, memory, pool } = setUp();
    expect(codeOf(() => PageTablePart.create(1, { memory }))).toBe('NO_FRAME_ALLOCATOR');
    const a = table();
    part.attach(a);
    const before = snapshot(memory, pool);
    expect(codeOf(() => part.attach(a))).toBe('ALREADY_MAPPED');
    expect(codeOf(() => PageTablePart.create(511, { memory, frames: pool, config }).attach(a))).toBe(
      'ALREADY_MAPPED',
    );
    const elsewhere = createPhysMemory({ size: 0x10_0000 });
    const foreign = PageTable.create({ memory: elsewhere, frames: new FramePool(1, 8), config });
    expect(codeOf(() => part.attach(foreign))).toBe('PART_MISMATCH');
    const other = PageTable.open(a.root, { memory, config: pagingConfig({ cBit: 47 }) });
    expect(codeOf(() => part.attach(other))).toBe('PART_MISMATCH');
    expect(codeOf(() => part.attach(part as never))).toBe('PART_MISMATCH');
    expect(codeOf(() => part.attach({} as never))).toBe('PART_MISMATCH');
    expect(codeOf(() => part.detach(foreign))).toBe('PART_NOT_ATTACHED');
    expect(codeOf(() => part.detach({} as never))).toBe('PART_NOT_ATTACHED');
    expect(codeOf(() => part.destroy())).toBe('PART_IN_USE');
    for (const [frame, bytes] of before) expect(snapshot(memory, pool).get(frame)).toBe(bytes);
    part.detach(a);
    part.destroy();
    expect(codeOf(() => part.attach(a))).toBe('DESTROYED');
    const gone = table();
    gone.destroy();
    expect(codeOf(() => PageTablePart.create(5, { memory, frames: pool, config }).attach(gone))).toBe(
      'DESTROYED',
    );
  });
});

describe('split2m', () => {
  test('splits a 1 GiB page into 512 pages of 2 MiB, and leaves smaller pages as they are', () => {
    const { table } = setUp();
    const a = table();
    const base = virtAddr(0x4000_0000);
    a.map1g(base, physAddr(0x4000_0000), PteFlags.Writable | PteFlags.PatLarge, { shared: true });
    const inside = virtAddr(0x4000_0000 + 0x20_1000);
    a.split2m(inside);
    expect(a.walk(inside).page).toMatchObject({ size: 0x20_0000, frame: 0x4020_0000n, shared: true });
    expect(a.walk(inside).page?.flags).toBe(a.walk(base).page?.flags);
    expect(a.countTables()).toBe(3);
    a.split2m(inside);
    expect(a.countTables()).toBe(3);
    a.split4k(inside);
    a.split2m(inside);
    expect(a.walk(inside).page?.size).toBe(0x1000);
    expect(codeOf(() => a.split2m(virtAddr(0x1000)))).toBe('NOT_MAPPED');
  });
});
