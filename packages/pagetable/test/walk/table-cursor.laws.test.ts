import { PageSize, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { physRegion, type VirtPage, virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { selfMap } from '../../src/entry/self-map.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { FramePool, snapshot } from '../support/frame-pool.ts';

/*
 * A page table remembers its last walk, also after its own stores. The law: it behaves like one that is opened anew before
 * each step, in memory of its own. This holds also if a table is at two levels of one walk, so that a store to a page
 * moves the tables above it.
 */

const config = pagingConfig({ cBit: 51, physicalBits: 44 });
const BASE = 0xffff_8080_0000_0000n;
const SELF = selfMap(300);

const outcome = (operation: () => unknown): unknown => {
  try {
    return operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
};

// Two pages of one leaf table, the next leaf table, the next directory; and their tables, as pages of the self-map.
const plain = fc
  .constantFrom(0n, 0x1000n, 0x2000n, 0x20_0000n, 0x40_0000n, 0x4000_0000n)
  .map((at) => BASE + at);
const spot = fc.oneof(
  { weight: 3, arbitrary: plain },
  {
    weight: 2,
    arbitrary: fc
      .tuple(plain, fc.constantFrom(0, 1, 2, 2, 3, 3))
      .map(([at, level]) => SELF.entryAddress(at as VirtAddr, level) & ~0xfffn),
  },
);
const step = fc.record({
  at: spot,
  frame: fc.integer({ min: 1, max: 60 }),
  op: fc.constantFrom(
    'map4k',
    'map4k',
    'map2m',
    'unmap4k',
    'unmap4k',
    'unmap2m',
    'share',
    'encrypt',
    'split',
    'translate',
    'frameAt',
    'walk',
    'walk',
    'lookup',
    'lookup',
    'protect',
    'access',
    'foreign',
    'foreign',
  ),
  other: fc.boolean(),
  byCursor: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** A step by cursor has to do what it does by address. */
function perform(table: PageTable, { at, frame, op, byCursor }: Step): unknown {
  const address = at as VirtAddr;
  const vaddr: VirtPage = byCursor ? virtRegion(address, 0x1000).cursor(PageSize.Regular).goTo(0) : address;
  if (op === 'map4k') {
    const paddr = physAddr(frame * 0x1000);
    const target = byCursor ? physRegion(paddr, 0x1000).cursor(PageSize.Regular).goTo(0) : paddr;
    return table.map4k(vaddr, target, PteFlags.Writable);
  }
  if (op === 'map2m') return table.map2m(vaddr, physAddr(frame * 0x20_0000), PteFlags.Writable);
  if (op === 'unmap4k') return table.unmap4k(vaddr).raw;
  if (op === 'unmap2m') return table.unmap2m(vaddr).raw;
  if (op === 'share') return table.setShared4k(vaddr);
  if (op === 'encrypt') return table.setEncrypted4k(vaddr);
  if (op === 'split') return table.split4k(vaddr);
  if (op === 'translate') return table.translate(vaddr);
  if (op === 'frameAt') return table.frameAt(vaddr);
  if (op === 'lookup') return table.lookup(vaddr);
  if (op === 'protect') return table.protect4k(vaddr, { clear: PteFlags.Writable, set: PteFlags.User });
  if (op === 'access') return table.access(vaddr, 'write', undefined, { accessedOnFault: true });
  return walkAndLookUp(table, vaddr);
}

/** The entries of a walk. `lookup` must return the same page, with the rights that all entries leave. */
function walkAndLookUp(table: PageTable, vaddr: VirtPage): bigint[] {
  const { path, page } = table.walk(vaddr);
  const every = (flag: number) => path.every(({ entry }) => (entry.flags & flag) !== 0);
  if (page !== undefined) {
    expect(page).toMatchObject({
      writable: every(PteFlags.Writable),
      user: every(PteFlags.User),
      executable: !path.some(({ entry }) => (entry.flags & PteFlags.NoExecute) !== 0),
      paddr: table.translate(vaddr),
    });
    expect(table.frameAt(vaddr)).toBe(Number(page.paddr / 0x1000n));
  }
  expect(table.lookup(vaddr)).toEqual(page);
  return path.map(({ entry }) => entry.raw);
}

function make() {
  const memory = createPhysMemory({ size: 0x40_0000 });
  const pool = new FramePool(1, 60);
  const table = PageTable.create({ memory, frames: pool, config });
  writePhys64(memory, (table.root + 8n * BigInt(SELF.index)) as PhysAddr, table.root | 0x27n | (1n << 51n));
  return { memory, pool, table };
}

describe('a walk that is remembered past a store equals a new walk', () => {
  test('in plain tables, and in tables that map themselves', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 30 }), (steps) => {
        const remembering = make();
        const { memory, pool } = remembering;
        const other = PageTable.open(remembering.table.root, { memory, frames: pool, config });
        const fresh = make();
        for (const one of steps) {
          if (one.op === 'foreign') {
            // Another owner flips a bit of an entry of the walk: present, writable, user or NX.
            const [level, bit] = [one.frame % 4, [1n, 2n, 4n, 1n << 63n][(one.frame % 5) % 4]!];
            for (const side of [remembering, fresh]) {
              outcome(() => {
                const { path } = PageTable.open(side.table.root, { memory: side.memory, config }).walk(
                  one.at as VirtAddr,
                );
                const entry = path.find((step) => step.level === level);
                if (entry === undefined) return;
                const paddr = (entry.table + BigInt(8 * entry.index)) as PhysAddr;
                writePhys64(side.memory, paddr, readPhys64(side.memory, paddr) ^ bit);
              });
            }
            continue;
          }
          const table = one.other ? other : remembering.table;
          const anew = PageTable.open(fresh.table.root, { memory: fresh.memory, frames: fresh.pool, config });
          expect(outcome(() => perform(table, one))).toEqual(
            outcome(() => perform(anew, { ...one, byCursor: false })),
          );
          expect(snapshot(memory, pool)).toEqual(snapshot(fresh.memory, fresh.pool));
        }
      }),
    );
  });

  test('unmapping the page that is the root cuts off all pages', () => {
    const { table } = make();
    table.map4k(BASE as VirtAddr, physAddr(0x5000), PteFlags.Writable);
    const rootPage = SELF.entryAddress(SELF.region.start, 3);
    const ownEntry = (rootPage & ~0xfffn) as VirtAddr;
    const neighbour = (SELF.entryAddress(BASE as VirtAddr, 2) & ~0xfffn) as VirtAddr;
    expect(table.translate(neighbour)).toBeDefined();
    table.unmap4k(ownEntry);
    expect(table.translate(neighbour)).toBeUndefined();
    expect(table.translate(BASE as VirtAddr)).toBe(0x5000n);
  });

  test('an own store does not end the remembered walk, and a store of another object does', () => {
    const { memory, table } = make();
    table.map4k(BASE as VirtAddr, physAddr(0x5000), PteFlags.Writable);
    const reads: number[] = [];
    const { words } = memory;
    memory.words = (frame, write) => {
      if (!write) reads.push(frame);
      return words.call(memory, frame, write);
    };
    table.map4k((BASE + 0x1000n) as VirtAddr, physAddr(0x6000), PteFlags.Writable);
    reads.length = 0;
    for (let page = 2n; page < 10n; page += 1n) {
      table.map4k((BASE + page * 0x1000n) as VirtAddr, physAddr(0x7000), PteFlags.Writable);
    }
    expect(reads).toEqual([]);
    writePhys64(memory, physAddr(0x3f_f000), 1n);
    table.unmap4k(BASE as VirtAddr);
    expect(reads).toHaveLength(4);
  });
});

// C9
test('a page whose address has a bit above the vTOM bit is refused in a loop too', () => {
  const vtom = pagingConfig({ encryption: { mode: 'vtom', bit: 40 } });
  const memory = createPhysMemory({ size: 0x40_0000 });
  const table = PageTable.create({ memory, frames: new FramePool(1, 60), config: vtom });
  for (const page of [0n, 0x1000n, 0x2000n]) {
    table.map4k((BASE + page) as VirtAddr, physAddr(page), PteFlags.Writable);
  }
  table.setShared4k(BASE as VirtAddr);
  const { path } = table.walk((BASE + 0x1000n) as VirtAddr);
  const { table: leaf, index } = path[path.length - 1]!;
  const paddr = (leaf + BigInt(8 * index)) as PhysAddr;
  writePhys64(memory, paddr, readPhys64(memory, paddr) | (1n << 41n));
  table.setShared4k((BASE + 0x2000n) as VirtAddr);
  const before = readPhys64(memory, paddr);
  expect(outcome(() => table.setShared4k((BASE + 0x1000n) as VirtAddr))).toBe('OUTSIDE_PHYSICAL_RANGE');
  expect(readPhys64(memory, paddr)).toBe(before);
});
