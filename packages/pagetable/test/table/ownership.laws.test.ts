/**
 * Ownership of tables, with parts, clones, self-maps and aliases, in any order of destruction: each frame is given back once,
 * no frame that a living page table or part still reaches is given back, and at the end all are.
 */
import { type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FramePool } from '../support/frame-pool.ts';

const SELF = 493;
const PART = 511;
const config = pagingConfig({ cBit: 51, physicalBits: 44 });
/** Addresses in root entries 0, 256, 510 and 511: several leaf tables and directories. */
const PAGES = [0n, 1n, 256n, 510n, 511n].flatMap((root) =>
  [0n, 0x1000n, 0x20_0000n, 0x4000_0000n].map(
    (low) => BigInt.asUintN(64, BigInt.asIntN(48, (root << 39n) | low)) as VirtAddr,
  ),
);

/** The frames of all tables that a processor reaches from a table at `level`. */
function reached(
  memory: PhysMemory,
  root: PhysAddr,
  level: number,
  found: Set<PhysAddr> = new Set(),
): Set<PhysAddr> {
  const seen = new Set<string>();
  const look = (table: PhysAddr, at: number): void => {
    found.add(table);
    if (at === 0 || seen.has(`${table} ${at}`)) return;
    seen.add(`${table} ${at}`);
    for (let index = 0n; index < 512n; index += 1n) {
      const entry = readPhys64(memory, (table + 8n * index) as PhysAddr);
      const isLeaf = at <= 2 && (entry & 0x80n) !== 0n;
      if ((entry & 1n) !== 0n && !isLeaf) look((entry & 0xfff_ffff_f000n) as PhysAddr, at - 1);
    }
  };
  look(root, level);
  return found;
}

interface World {
  readonly memory: PhysMemory;
  readonly pool: FramePool;
  readonly tables: Set<PageTable>;
  readonly parts: Set<PageTablePart>;
  /** The page tables to whose own tables a shared subtree leads. */
  readonly reachedFromBelow: Set<PageTable>;
  /** Whether a part was detached. Nothing links it to the page table then, so no such entry may lead from one to the other. */
  hasDetached: boolean;
}

const refused = (action: () => unknown): void => {
  try {
    action();
  } catch (error) {
    if (!isPageTableError(error)) throw error;
  }
};

const pick = <T>(set: ReadonlySet<T>, at: number): T | undefined => [...set][at % Math.max(1, set.size)];

const step = fc.record({
  op: fc.constantFrom(
    'table',
    'part',
    'attach',
    'detach',
    'clone',
    'map',
    'map',
    'map',
    'unmap',
    'loop',
    'alias',
    'upward',
    'collapse',
  ),
  a: fc.nat({ max: 7 }),
  b: fc.nat({ max: 7 }),
  page: fc.constantFrom(...PAGES),
  flag: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function perform(world: World, { op, a, b, page, flag }: Step): void {
  const { memory, pool, tables, parts, reachedFromBelow } = world;
  const table = pick(tables, a);
  const part = pick(parts, b);
  const options = {
    memory,
    frames: pool,
    config,
    freeEmptyTables: flag,
    ...(a % 2 === 0 ? { selfMap: SELF } : {}),
  };
  if (op === 'table' && tables.size < 5) tables.add(PageTable.create(options));
  else if (op === 'part' && parts.size < 3) {
    parts.add(PageTablePart.create(PART, { memory, frames: pool, config, freeEmptyTables: flag }));
  } else if (table === undefined) return;
  else if (op === 'attach') part?.attach(table);
  else if (op === 'detach') {
    if (reachedFromBelow.size > 0) return;
    part?.detach(table);
    world.hasDetached = true;
  } else if (op === 'clone' && tables.size < 6) tables.add(table.cloneShared(flag ? [0, 511] : [511]));
  else if (op === 'map') table.map4k(page, physAddr(0x8_0000_0000 + 0x1000 * b), PteFlags.Writable);
  else if (op === 'unmap') table.unmap4k(page);
  else if (op === 'collapse') table.collapse(flag && table.selfMap ? table.selfMap.entryAddress(page) : page);
  else if (op === 'loop') {
    // A self-map that was not passed to the page table as an option.
    const entry = (table.root + 8n * 300n) as PhysAddr;
    if (readPhys64(memory, entry) === 0n) writePhys64(memory, entry, table.root | 0x63n | (1n << 51n));
  } else if (op === 'alias') {
    // Another entry of the same table leads to one of its tables as well.
    const { path } = table.walk(page);
    const upper = path.find(({ level, entry }) => level === (flag ? 2 : 1) && entry.present && !entry.leaf);
    if (upper === undefined) return;
    const free = (upper.table + 8n * BigInt((upper.index + 7 + b) % 512)) as PhysAddr;
    if (readPhys64(memory, free) === 0n) writePhys64(memory, free, upper.entry.raw);
  } else if (op === 'upward') {
    // An entry of the subtree that is, or can be, shared leads to the root of a page table, or to one of its directories.
    const shared = table.walk(PAGES.at(-1)!).path[1];
    const own = table.walk(page).path[2];
    if (world.hasDetached || shared === undefined || (flag && own === undefined)) return;
    const free = (shared.table + 8n * BigInt(20 + b)) as PhysAddr;
    const target = flag ? own!.table : table.root;
    if (readPhys64(memory, free) === 0n) writePhys64(memory, free, target | 0x63n | (1n << 51n));
    reachedFromBelow.add(table);
  }
}

/** No frame that is still reached was given back. */
function requireWhole({ memory, pool, tables, parts, reachedFromBelow }: World): void {
  for (const table of tables) {
    for (const frame of reached(memory, table.root, 3)) expect(pool.inUse.has(frame)).toBe(true);
    expect(table.countTables()).toBeGreaterThanOrEqual(reachedFromBelow.has(table) ? 0 : 1);
  }
  for (const part of parts) {
    for (const frame of reached(memory, part.root, 2)) expect(pool.inUse.has(frame)).toBe(true);
  }
}

test('destroying in any order gives each frame back once, and none that is still reached', () => {
  const order = fc.array(fc.nat({ max: 20 }), { minLength: 12, maxLength: 12 });
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), order, (steps, turns) => {
      const memory = createPhysMemory({ size: 0x40_0000 });
      const pool = new FramePool(1, 900);
      const world: World = {
        memory,
        pool,
        tables: new Set(),
        parts: new Set(),
        reachedFromBelow: new Set(),
        hasDetached: false,
      };
      for (const one of steps) refused(() => perform(world, one));
      // Aliases that unmap with `freeEmptyTables` has cut are the writer's affair: drop worlds that dangle.
      fc.pre(isSound(world));
      const { tables, parts } = world;
      // The counts are of tables that each has alone: together they are all frames.
      const counted = [...tables, ...parts].reduce((sum, one) => sum + one.countTables(), 0);
      expect(counted).toBe(pool.inUse.size);
      for (const turn of turns) {
        const one = pick<PageTable | PageTablePart>(new Set([...tables, ...parts]), turn);
        if (one === undefined) break;
        refused(() => {
          one.destroy();
          tables.delete(one as PageTable);
          parts.delete(one as PageTablePart);
        });
        requireWhole(world);
      }
      for (const table of tables) table.destroy();
      for (const part of parts) part.destroy();
      expect(pool.inUse.size).toBe(0);
    }),
  );
});

function isSound({ memory, pool, tables, parts }: World): boolean {
  const frames = new Set<PhysAddr>();
  for (const table of tables) reached(memory, table.root, 3, frames);
  for (const part of parts) reached(memory, part.root, 2, frames);
  return [...frames].every((frame) => pool.inUse.has(frame)) && frames.size === pool.inUse.size;
}

describe('a self-map and a part', () => {
  function make(selfMap?: number) {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    const table = PageTable.create({
      memory,
      frames: pool,
      config,
      ...(selfMap === undefined ? {} : { selfMap }),
    });
    const part = PageTablePart.create(PART, { memory, frames: pool, config });
    part.attach(table);
    part.map4k(part.region.start, physAddr(0x1000), PteFlags.Writable);
    return { memory, pool, table, part };
  }

  test.each([
    ['declared', SELF],
    ['written by hand', undefined],
  ])('%s: the tables of the part are not its own', (_, index) => {
    const { memory, pool, table, part } = make(index);
    if (index === undefined) {
      writePhys64(memory, (table.root + 8n * BigInt(SELF)) as PhysAddr, table.root | 0x63n | (1n << 51n));
    }
    expect(table.countTables()).toBe(1);
    expect(part.countTables()).toBe(3);
    table.destroy();
    expect(pool.inUse.size).toBe(3);
    expect(part.translate(part.region.start)).toBe(0x1000n);
    part.destroy();
    expect(pool.inUse.size).toBe(0);
  });

  test('an entry that leads to the root is not shared', () => {
    const { table } = make(SELF);
    expect(() => table.cloneShared([SELF])).toThrow(/leads back to the root/);
  });
});

describe('clones', () => {
  test('the original may go first: the last one frees what they share', () => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    const original = PageTable.create({ memory, frames: pool, config });
    const kernel = PAGES.at(-1)!;
    original.map4k(kernel, physAddr(0x5000), PteFlags.Writable);
    const clones = [original.cloneShared([511]), original.cloneShared([511])];
    expect([original, ...clones].map((table) => table.countTables())).toEqual([4, 1, 1]);
    original.destroy();
    expect(clones.map((table) => table.countTables())).toEqual([4, 1]);
    expect(clones.map((table) => table.translate(kernel))).toEqual([0x5000n, 0x5000n]);
    clones[0]!.destroy();
    expect(clones[1]!.translate(kernel)).toBe(0x5000n);
    clones[1]!.destroy();
    expect(pool.inUse.size).toBe(0);
  });
});

describe('an entry written by hand', () => {
  const kernel = PAGES.at(-1)!;
  const write = (memory: PhysMemory, table: PhysAddr, index: bigint, target: PhysAddr): void =>
    writePhys64(memory, (table + 8n * index) as PhysAddr, target | 0x63n | (1n << 51n));

  test('of a shared subtree to the root: the root lives as long as the subtree', () => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    const original = PageTable.create({ memory, frames: pool, config });
    original.map4k(kernel, physAddr(0x5000), PteFlags.Writable);
    write(memory, original.walk(kernel).path[1]!.table, 7n, original.root);
    const clone = original.cloneShared([511]);
    original.destroy();
    expect(pool.inUse.has(original.root)).toBe(true);
    clone.destroy();
    expect(pool.inUse.size).toBe(0);
  });

  test('of a part to the root: the root lives as long as the part', () => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    const table = PageTable.create({ memory, frames: pool, config });
    const part = PageTablePart.create(PART, { memory, frames: pool, config });
    part.attach(table);
    write(memory, part.root, 7n, table.root);
    table.destroy();
    expect(pool.inUse.size).toBe(2);
    part.destroy();
    expect(pool.inUse.size).toBe(0);
  });

  test('of a shared table to a table that is reached there as a leaf: the tables below go with their owner', () => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    const original = PageTable.create({ memory, frames: pool, config });
    const upper = virtAddr(0xffff_8000_0000_0000n);
    original.map4k(kernel, physAddr(0x5000), PteFlags.Writable);
    original.map4k(upper, physAddr(0x6000), PteFlags.Writable);
    write(memory, original.walk(upper).path[2]!.table, 511n, original.walk(kernel).path[2]!.table);
    const clone = original.cloneShared([256]);
    original.destroy();
    clone.destroy();
    expect(pool.inUse.size).toBe(0);
  });
});

describe('PageTable.create({ selfMap })', () => {
  const make = () => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    return { memory, pool, table: PageTable.create({ memory, frames: pool, config, selfMap: SELF }) };
  };

  test('shows each table and entry at its address', () => {
    const { memory, table } = make();
    const vaddr = virtAddr(0xffff_8000_0020_1000n);
    table.map4k(vaddr, physAddr(0x7000), PteFlags.Writable);
    const { path } = table.walk(vaddr);
    for (const { level, table: frame, index, entry } of path) {
      expect(table.translate(table.selfMap!.tableAddress(vaddr, level))).toBe(frame);
      const shown = table.translate(table.selfMap!.entryAddress(vaddr, level))!;
      expect(shown).toBe(frame + BigInt(8 * index));
      expect(readPhys64(memory, shown)).toBe(entry.raw);
    }
    expect(table.lookup(table.selfMap!.tableAddress(vaddr))).toMatchObject({
      executable: false,
      user: false,
    });
  });

  test('nothing is changed through it', () => {
    const { table } = make();
    const { region } = table.selfMap!;
    for (const change of [
      () => table.map4k(region.start, physAddr(0), 0),
      () => table.unmap4k(region.start),
      () => table.setShared4k(region.start),
      () => table.unmapRegion(region, { allowHoles: true }),
      () => table.collapse(region.start),
    ]) {
      expect(change).toThrow(/lies in the self-map/);
    }
    expect(table.countTables()).toBe(1);
  });

  test.each([-1, 512, 0.5, '493'])('%s is INVALID_SELF_MAP, and takes no frame', (selfMap) => {
    const memory = createPhysMemory({ size: 0x40_0000 });
    const pool = new FramePool(1, 200);
    expect(() => PageTable.create({ memory, frames: pool, selfMap: selfMap as number })).toThrow(
      /INVALID_SELF_MAP/,
    );
    expect(pool.inUse.size).toBe(0);
  });

  test('an opened table must have the entry', () => {
    const { memory, table } = make();
    expect(PageTable.open(table.root, { memory, config, selfMap: SELF }).selfMap?.index).toBe(SELF);
    expect(() => PageTable.open(table.root, { memory, config, selfMap: 492 })).toThrow(
      /does not lead back to the root/,
    );
  });

  test('a part is not attached over it', () => {
    const { memory, pool, table } = make();
    const part = PageTablePart.create(SELF, { memory, frames: pool, config });
    expect(() => part.attach(table)).toThrow(/ALREADY_MAPPED/);
  });
});
