/** The changes between two random page tables are, page by page, the differences of two plain maps. */
import { PageSize, physAddr, Virt57, type VirtAddr, virtAddr } from '@svsm/address';
import { MemoryRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PteFlags, pagingConfig } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareDumps } from '../../src/view/comparison.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import type { ChangeRecord, PageFacts } from '../../src/view/record.ts';
import { dumpOf, view } from '../support/support.ts';

const SIZE = 0x4_0000;
const BASE = virtAddr(0xffff_8000_0000_0000n);
const PAGE = BigInt(PageSize.Regular);
const SCOPE = { within: undefined, all: false };

const mapping = fc.record({
  page: fc.nat(24),
  pages: fc.integer({ min: 1, max: 8 }),
  target: fc.nat(3),
  flags: fc.constantFrom(0, PteFlags.Writable, PteFlags.User | PteFlags.Writable, PteFlags.NoExecute),
  shared: fc.boolean(),
});

type Made = typeof mapping extends fc.Arbitrary<infer T> ? T : never;

function built(mappings: readonly Made[], levels: 4 | 5): DumpView {
  const memory = createPhysMemory({ size: SIZE });
  let next = 0;
  const frames = { allocateFrame: () => physAddr(0x1000 * next++), freeFrame: () => {} };
  const config = pagingConfig({ levels, cBit: 51 });
  const table = PageTable.create({ memory, frames, config });
  for (const { page, pages, target, flags, shared } of mappings) {
    const region = virtRegion((BASE + BigInt(page) * PAGE) as VirtAddr, pages * PageSize.Regular);
    // If two runs overlap and have the same target, their pages are equal.
    const paddr = physAddr(0x10_0000 * (target + 1) + page * PageSize.Regular);
    table.mapRegion(region, paddr, flags, { shared, remap: true, pageSize: PageSize.Regular });
  }
  return view(dumpOf(memory, SIZE), { cr3: table.cr3, levels, encryption: { mode: 'c-bit', bit: 51 } });
}

/** Every mapped page, and the facts about it. */
function pagesOf({ table, config }: DumpView): Map<bigint, PageFacts> {
  const pages = new Map<bigint, PageFacts>();
  for (const { vaddr, frame, size, user, writable, executable, shared } of table.leaves()) {
    expect(config.encryption).toBeDefined();
    pages.set(vaddr, { paddr: frame, pageSize: size, user, writable, executable, shared });
  }
  return pages;
}

test('changes cover exactly the pages that differ, and name the difference', () => {
  fc.assert(
    fc.property(
      fc.array(mapping, { maxLength: 8 }),
      fc.array(mapping, { maxLength: 8 }),
      fc.constantFrom(4, 5) as fc.Arbitrary<4 | 5>,
      (old, now, levels) => {
        const [before, after] = [built(old, 4), built([...old, ...now], levels)];
        const [was, is] = [pagesOf(before), pagesOf(after)];
        const changed = new Map<bigint, ChangeRecord>();
        let last = 0n;
        for (const record of compareDumps(before, after, SCOPE)) {
          if (record.type !== 'change') continue;
          expect(record.start).toBeGreaterThanOrEqual(last);
          last = record.end;
          const pages = new MemoryRegion(Virt57, record.start as VirtAddr, record.size).iterPages(
            PageSize.Regular,
          );
          for (const page of pages) changed.set(page, record);
        }
        for (const page of new Set([...was.keys(), ...is.keys(), ...changed.keys()])) {
          const [left, right, change] = [was.get(page), is.get(page), changed.get(page)];
          expect(change !== undefined).toBe(JSON.stringify(facts(left)) !== JSON.stringify(facts(right)));
          if (change === undefined) continue;
          const into = page - change.start;
          const at = (side: PageFacts | null): unknown => side && { ...side, paddr: side.paddr + into };
          expect([at(change.before), at(change.after)]).toEqual([left ?? null, right ?? null]);
          expect(change.change === 'mapped').toBe(left === undefined);
          expect(change.change === 'unmapped').toBe(right === undefined);
          expect(change.change === 'remapped').toBe(!!left && !!right && left.paddr !== right.paddr);
        }
      },
    ),
  );
});

test('a page table does not differ from itself', () => {
  fc.assert(
    fc.property(fc.array(mapping, { maxLength: 8 }), (mappings) => {
      const one = built(mappings, 4);
      const records = [...compareDumps(one, built(mappings, 4), SCOPE)];
      expect(records.map(({ type }) => type)).toEqual(['dump', 'dump', 'end']);
    }),
  );
});

test('each kind of change has its name', () => {
  const config = { page: 0, pages: 1, target: 0, flags: PteFlags.Writable, shared: false };
  const name = (before: readonly Made[], after: readonly Made[]): unknown =>
    [...compareDumps(built(before, 4), built(after, 4), SCOPE)].flatMap((record) =>
      record.type === 'change' ? [record.change] : [],
    );
  expect(name([], [config])).toEqual(['mapped']);
  expect(name([config], [])).toEqual(['unmapped']);
  expect(name([config], [{ ...config, target: 1 }])).toEqual(['remapped']);
  expect(name([config], [{ ...config, flags: 0 }])).toEqual(['rights']);
  expect(name([config], [{ ...config, shared: true }])).toEqual(['visibility']);
});

function facts(page: PageFacts | undefined): unknown {
  return page && { ...page, paddr: String(page.paddr) };
}
