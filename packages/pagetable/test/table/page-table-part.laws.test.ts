import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import type { PageMapper } from '../../src/table/page-mapper.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FramePool, snapshot } from '../support/frame-pool.ts';

/*
 * The law: a part that is attached to two page tables and changed through any of the three behaves like a single page table
 * with the same tables. The TLBs of both page tables receive every flush request that the TLB of the single one receives.
 */

const config = pagingConfig({ cBit: 51 });
const BASE = 0xffff_ff80_0000_0000n;
const place = fc
  .tuple(fc.integer({ min: 0, max: 1 }), fc.constantFrom(0, 1, 511), fc.constantFrom(0, 1, 511))
  .map(([g, m, k]) => BigInt(g) * 0x4000_0000n + BigInt(m) * 0x20_0000n + BigInt(k) * 0x1000n);
const command = fc.record({
  op: fc.constantFrom(
    ...(['map4k', 'map2m', 'map1g', 'unmap4k', 'unmap2m', 'share', 'encrypt', 'split4k', 'split2m'] as const),
    ...(['collapse', 'protect', 'mapRegion', 'unmapRegion', 'shareRegion', 'protectRegion'] as const),
  ),
  at: place,
  pages: fc.constantFrom(1, 2, 512, 700),
  frame: fc.integer({ min: 0, max: 20 }),
  by: fc.integer({ min: 0, max: 2 }),
});
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

function perform(mapper: PageMapper, { op, at, pages, frame }: Command): unknown {
  const vaddr = (BASE + at) as VirtAddr;
  const region = virtRegion(vaddr, pages * 4096);
  const physical = (size: number) => physAddr(frame * size);
  const flags = PteFlags.Writable;
  if (op === 'map4k') return mapper.map4k(vaddr, physical(PageSize.Regular), flags);
  if (op === 'map2m') return mapper.map2m(vaddr, physical(PageSize.Huge), flags, { remap: true });
  if (op === 'map1g') return mapper.map1g(vaddr, physical(PageSize.Giant), flags);
  if (op === 'unmap4k') return mapper.unmap4k(vaddr);
  if (op === 'unmap2m') return mapper.unmap2m(vaddr);
  if (op === 'share') return mapper.setShared4k(vaddr);
  if (op === 'encrypt') return mapper.setEncrypted4k(vaddr);
  if (op === 'split4k') return mapper.split4k(vaddr);
  if (op === 'split2m') return mapper.split2m(vaddr);
  if (op === 'collapse') return mapper.collapse(vaddr);
  if (op === 'protect') return mapper.protect4k(vaddr, { clear: flags });
  if (op === 'mapRegion') return mapper.mapRegion(region, physical(PageSize.Huge), flags, { remap: true });
  if (op === 'unmapRegion') return mapper.unmapRegion(region, { allowHoles: true });
  if (op === 'shareRegion') return mapper.setSharedRegion(region);
  return mapper.protectRegion(region, { set: PteFlags.User });
}

const outcome = (operation: () => unknown): unknown => {
  try {
    return operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
};

function listener() {
  const heard: string[] = [];
  const needsFlush = (start: VirtAddr, bytes: number, operation: string): void => {
    heard.push(`${operation} ${start} ${bytes}`);
  };
  return { heard, needsFlush };
}

function make(left: number) {
  const memory = createPhysMemory({ size: 0x40_0000 });
  const tables = new FramePool(1, 8);
  const pool = new FramePool(16, 400);
  pool.left = left;
  return { memory, tables, pool };
}

describe('a part that two page tables share', () => {
  test('behaves like one page table, and every TLB receives the flush requests', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 25 }), fc.integer({ min: 6, max: 40 }), (commands, left) => {
        const { memory, tables, pool } = make(left);
        const [one, two] = [listener(), listener()];
        const a = PageTable.create({ memory, frames: tables, config, tlb: one });
        const b = PageTable.create({ memory, frames: tables, config, tlb: two });
        const part = PageTablePart.create(511, { memory, frames: pool, config });
        part.attach(a);
        part.attach(b);
        const own = tables.inUse.size;

        const alone = make(left);
        const hears = listener();
        const { memory: itsMemory, tables: root, pool: itsPool } = alone;
        // The single page table has one more frame, for its root, and the table below exists from the start.
        let isRoot = true;
        const frames = {
          allocateFrame: () => (isRoot ? root : itsPool).allocateFrame(),
          freeFrame: (frame: ReturnType<typeof physAddr>) => itsPool.freeFrame(frame),
        };
        const twin = PageTable.create({ memory: itsMemory, frames, config, tlb: hears });
        isRoot = false;
        const corner = (BASE + 0x7f_ffff_f000n) as VirtAddr;
        for (const mapper of [part, twin]) mapper.map4k(corner, physAddr(0x3000), PteFlags.Writable);

        for (const one of commands) {
          const mapper = [part, a, b][one.by] as PageMapper;
          const before = snapshot(memory, pool);
          const expected = outcome(() => perform(twin, one));
          expect(outcome(() => perform(mapper, one))).toEqual(expected);
          if (typeof expected === 'string') expect(snapshot(memory, pool)).toEqual(before);
        }
        expect(one.heard).toEqual(hears.heard);
        expect(two.heard).toEqual(hears.heard);
        const listing = JSON.stringify([...twin.mappings()], String);
        for (const mapper of [part, a, b])
          expect(JSON.stringify([...mapper.mappings()], String)).toBe(listing);
        for (const { at } of commands) {
          const vaddr = (BASE + at) as VirtAddr;
          for (const mapper of [part, a, b]) expect(mapper.translate(vaddr)).toBe(twin.translate(vaddr));
        }
        expect(part.countTables()).toBe(twin.countTables() - 1);
        expect([a.countTables(), b.countTables()]).toEqual([1, 1]);

        // Page tables do not free tables that they do not own.
        expect(tables.inUse.size).toBe(own);
        a.destroy();
        part.detach(b);
        expect(pool.inUse.size).toBe(part.countTables());
        expect([...b.mappings()]).toEqual([]);
        part.destroy();
        b.destroy();
        expect([tables.inUse.size, pool.inUse.size]).toEqual([0, 0]);
      }),
    );
  });
});
