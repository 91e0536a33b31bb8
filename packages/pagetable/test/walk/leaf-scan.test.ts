/** Listings of tables that change during the listing, that are reached twice, or that are listed in part. */
import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import type { ListingOptions, MappedLeaf, Mapping } from '../../src/walk/mappings.ts';
import { FramePool } from '../support/frame-pool.ts';
import { MovingMemory } from '../support/moving-memory.ts';

const config = pagingConfig({ cBit: 51 });
const BASE = 0xffff_8000_0000_0000n;
const TABLE = 0x20_0000n;
const RW = PteFlags.Writable;
const at = (offset: bigint): VirtAddr => virtAddr(BASE + offset);

function make(memory: PhysMemory = createPhysMemory({ size: 0x40_0000 })) {
  return { memory, table: PageTable.create({ memory, frames: new FramePool(1, 64), config }) };
}

/** Makes the directory entry for `to` lead to the leaf table of `from`. */
function alias(memory: PhysMemory, table: PageTable, from: VirtAddr, to: VirtAddr): void {
  const step = table.walk(from).path.find(({ level }) => level === 1);
  const other = table.walk(to).path.find(({ level }) => level === 1);
  const place = ((other?.table ?? 0n) + BigInt(8 * (other?.index ?? 0))) as PhysAddr;
  writePhys64(memory, place, step?.entry.raw ?? 0n);
}

const startOf = (found: MappedLeaf | Mapping): VirtAddr =>
  'vaddr' in found ? found.vaddr : found.region.start;

const pagesOf = (table: PageTable | PageTablePart, start: VirtAddr, bytes: bigint) =>
  [...table.leaves({ within: virtRegion(start, bytes) })].map(({ vaddr }) => vaddr);

describe('a listing of a part of the addresses', () => {
  test('ends before the page at its end', () => {
    const { table } = make();
    for (const offset of [0n, 0x1000n, 0x2000n, 0x3000n]) table.map4k(at(offset), physAddr(0x5000), RW);
    table.map4k(at(0x4000n), physAddr(0x9000), RW | PteFlags.User);
    for (let pages = 0n; pages <= 5n; pages += 1n) {
      expect(pagesOf(table, at(0n), pages * 0x1000n)).toHaveLength(Number(pages));
      expect(pagesOf(table, at(0x1000n), pages * 0x1000n)).toHaveLength(Math.min(Number(pages), 4));
    }
    const mappings = [...table.mappings({ within: virtRegion(at(0x3000n), 0x1000n) })];
    expect(mappings.map(({ region }) => String(region))).toEqual(['[0xffff800000003000-0xffff800000004000)']);
  });

  test.each([0, 1, 255, 256, 511])('begins at the start of a PageTablePart, entry %i', (index) => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const part = PageTablePart.create(index, { memory, frames: new FramePool(1, 64), config });
    const first = part.region.start as VirtAddr;
    const second = (first + 0x40_0000_0000n) as VirtAddr;
    part.map4k(first, physAddr(0x5000), RW);
    part.map4k(second, physAddr(0x6000), RW);
    expect([...part.leaves()].map(({ vaddr }) => vaddr)).toEqual([first, second]);
    expect(pagesOf(part, second, 0x1000n)).toEqual([second]);
    expect(pagesOf(part, (first + 0x1000n) as VirtAddr, 0x40_0000_0000n)).toEqual([second]);
  });
});

describe('listings that run at the same time', () => {
  test.each(['leaves', 'mappings'] as const)('each go their own way: %s', (listing) => {
    const { table } = make();
    for (let page = 0n; page < 1100n; page += 1n) {
      table.map4k(at(page * 0x1000n), physAddr(0x5000n + (page % 3n) * 0x4000n), RW);
    }
    const starts = (options: ListingOptions) =>
      Array.from(table[listing](options) as Iterable<MappedLeaf | Mapping>, startOf);
    const half = virtRegion(at(0x40_0000n), 0x10_0000n);
    const [all, part] = [starts({}), starts({ within: half })];
    const [one, other] = [table[listing](), table[listing]({ within: half })];
    const seen: [VirtAddr[], VirtAddr[]] = [[], []];
    // In turns, three steps of the one for each step of the other.
    for (let step = 0; step < 4 * all.length; step += 1) {
      const [iterator, into] = step % 4 === 3 ? [other, seen[1]] : [one, seen[0]];
      const next = iterator.next();
      if (next.done !== true) into.push(startOf(next.value));
    }
    expect(seen).toEqual([all, part.slice(0, seen[1].length)]);
    expect(seen[1].length).toBeGreaterThan(50);
  });
});

describe('a leaf table to which two entries lead', () => {
  test('is listed as a whole the second time, if the first listing began in its middle', () => {
    const { memory, table } = make();
    table.map4k(at(0n), physAddr(0x5000), RW);
    alias(memory, table, at(0n), at(TABLE));
    expect(pagesOf(table, at(0n), 2n * TABLE)).toEqual([at(0n), at(TABLE)]);
    // The listing from the second page on finds no leaf in it; from its start it finds one.
    expect(pagesOf(table, at(0x1000n), 2n * TABLE - 0x1000n)).toEqual([at(TABLE)]);
    table.map4k(at(0x5000n), physAddr(0x6000), RW);
    expect(pagesOf(table, at(0x1000n), 2n * TABLE - 0x1000n)).toEqual([
      at(0x5000n),
      at(TABLE),
      at(TABLE + 0x5000n),
    ]);
  });

  test('is listed the second time, if it was empty the first time and a page was mapped in between', () => {
    const { memory, table } = make();
    table.map4k(at(0n), physAddr(0x5000), RW);
    table.unmap4k(at(0n));
    table.map4k(at(TABLE), physAddr(0x6000), RW);
    alias(memory, table, at(0n), at(2n * TABLE));
    const leaves = table.leaves();
    expect(leaves.next().value?.vaddr).toBe(at(TABLE));
    table.map4k(at(0x7000n), physAddr(0x7000), RW);
    expect(leaves.next().value?.vaddr).toBe(at(2n * TABLE + 0x7000n));
    expect(leaves.next().done).toBe(true);
  });
});

test('a change between two steps is seen, even if memory has moved the table', () => {
  const { table } = make(new MovingMemory(createPhysMemory({ size: 0x40_0000 })));
  for (const offset of [0n, 0x1000n, 0x2000n, 0x3000n]) table.map4k(at(offset), physAddr(0x5000), RW);
  const leaves = table.leaves();
  expect(leaves.next().value?.vaddr).toBe(at(0n));
  table.unmap4k(at(0x1000n));
  expect(leaves.next().value?.vaddr).toBe(at(0x2000n));
  table.setShared4k(at(0x3000n));
  const last = leaves.next().value;
  expect([last?.vaddr, last?.shared]).toEqual([at(0x3000n), true]);
  table.map4k(at(0x4000n), physAddr(0x9000), RW);
  expect(leaves.next().value?.vaddr).toBe(at(0x4000n));
  expect(leaves.next().done).toBe(true);
});

test('a listing asks for no write access', () => {
  const { memory, table } = make();
  table.map4k(at(0n), physAddr(0x5000), RW);
  const asked: boolean[] = [];
  const watched: PhysMemory = {
    epoch: 0,
    words: (frame, write) => {
      asked.push(write);
      return memory.words(frame, false);
    },
    wordOffset: (frame) => memory.wordOffset(frame),
  };
  const reader = PageTable.open(table.root, { memory: watched, config });
  expect([...reader.mappings()]).toHaveLength(1);
  expect(asked.length).toBeGreaterThan(3);
  expect(asked).not.toContain(true);
});
