/**
 * Visibility page by page, as in a loop: the walk that a page table remembers from one page to the next must not change a
 * result. One page table object makes all steps; next to it, an object that is opened anew for each step makes the same
 * steps in tables of its own.
 */
import { type PhysAddr, physAddr, Virt, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import type { TlbListener } from '../../src/walk/tlb-listener.ts';
import { FramePool, snapshot } from '../support/frame-pool.ts';
import { MovingMemory } from '../support/moving-memory.ts';

const CONFIGS: readonly PagingConfig[] = [
  pagingConfig({ cBit: 51 }),
  pagingConfig({ encryption: { mode: 'vtom', bit: 40 } }),
  pagingConfig({ levels: 5, cBit: 47, physicalBits: 46 }),
];

const BASE = 0xffff_8080_0000_0000n;
const TABLE = 0x20_0000n;
/** The starts of three leaf tables: two that are adjacent, and one whose addresses have the same low half as the first. */
const TABLES = [BASE, BASE + TABLE, BASE + 0x1_0000_0000n] as const;
/** The pages of each leaf table that are mapped. The others are not. */
const INDEXES = [0, 1, 2, 3, 255, 510, 511] as const;

const page = fc
  .tuple(fc.constantFrom(...TABLES), fc.constantFrom(...INDEXES))
  .map(([start, index]) => start + BigInt(index) * 0x1000n);
const wrong = fc.oneof(
  // Not mapped, not aligned, not canonical, not 64 bits, not a bigint.
  page.map((vaddr) => vaddr + 0x5000n),
  page.map((vaddr) => vaddr + 1n),
  page.map((vaddr) => vaddr + 0x800n),
  page.map((vaddr) => vaddr ^ (1n << 63n)),
  page.map((vaddr) => vaddr + (1n << 64n)),
  page.map((vaddr) => vaddr - (1n << 64n)),
  page.map(Number),
  fc.constantFrom(undefined, null, '0x1000', 0, Number.NaN, {}, [BASE], -1n),
);
const flip = fc.record({
  op: fc.constantFrom('share' as const, 'encrypt' as const),
  at: fc.oneof({ weight: 12, arbitrary: page }, { weight: 1, arbitrary: wrong }),
});
const other = fc.record({
  op: fc.constantFrom(
    'translate' as const,
    'unmap' as const,
    'remap' as const,
    'corrupt' as const,
    'absent' as const,
    'region' as const,
  ),
  at: page,
});
const step = fc.oneof({ weight: 8, arbitrary: flip }, { weight: 1, arbitrary: other });
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Side {
  readonly memory: PhysMemory;
  readonly pool: FramePool;
  readonly table: PageTable;
  readonly tlb: TlbListener;
  /** The flush requests. */
  readonly flushes: string[];
}

function make(config: PagingConfig, moves = false): Side {
  const still = createPhysMemory({ size: 0x40_0000 });
  const memory = moves ? new MovingMemory(still) : still;
  const pool = new FramePool(1, 60);
  const flushes: string[] = [];
  const tlb: TlbListener = {
    needsFlush: (start, bytes, operation) => flushes.push(`${operation} ${start} ${bytes}`),
  };
  const table = PageTable.create({ memory, frames: pool, config, tlb });
  for (const [number, start] of TABLES.entries()) {
    for (const index of INDEXES) {
      const vaddr = (start + BigInt(index) * 0x1000n) as VirtAddr;
      table.map4k(vaddr, physAddr((number + 1) * 0x20_0000 + index * 0x1000), PteFlags.Writable);
    }
  }
  flushes.length = 0;
  return { memory, pool, table, tlb, flushes };
}

/** The address of the entry that maps `vaddr`, found by another page table object. */
function placeOf({ memory, table }: Side, vaddr: VirtAddr): PhysAddr {
  const { path } = PageTable.open(table.root, { memory, config: table.config }).walk(vaddr);
  const { table: leaf, index } = path[path.length - 1]!;
  return (leaf + BigInt(8 * index)) as PhysAddr;
}

function perform(side: Side, table: PageTable, { op, at }: Step): unknown {
  const vaddr = at as VirtAddr;
  if (op === 'share') return table.setShared4k(vaddr);
  if (op === 'encrypt') return table.setEncrypted4k(vaddr);
  if (op === 'translate') return table.translate(vaddr);
  if (op === 'unmap') return table.unmap4k(vaddr).raw;
  if (op === 'remap') {
    return table.map4k(vaddr, physAddr(0x7000), PteFlags.Writable | PteFlags.User, { remap: true });
  }
  if (op === 'region') {
    return table.setSharedRegion(MemoryRegion.fromAddresses(Virt, vaddr, vaddr + 0x1000n));
  }
  // A change by another owner: a reserved bit, or one above vTOM; or the page is gone.
  const paddr = placeOf(side, vaddr);
  const entry = readPhys64(side.memory, paddr);
  return writePhys64(side.memory, paddr, op === 'corrupt' ? entry ^ (1n << 41n) ^ (1n << 50n) : entry & ~1n);
}

function outcome(operation: () => unknown): unknown {
  try {
    return operation();
  } catch (error) {
    if (isPageTableError(error)) return [error.code, error.message];
    throw error;
  }
}

describe.each(CONFIGS)('visibility page by page, $encryption of $levels levels', (config) => {
  test('is the same with a remembered walk as with a new page table object for each step', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(step, { minLength: 5, maxLength: 40 }), (moves, steps) => {
        const remembering = make(config, moves);
        const fresh = make(config);
        for (const one of steps) {
          const { root } = fresh.table;
          const { memory, pool: frames, tlb } = fresh;
          const anew = PageTable.open(root, { memory, frames, config, tlb });
          expect(outcome(() => perform(remembering, remembering.table, one))).toEqual(
            outcome(() => perform(fresh, anew, one)),
          );
          expect(remembering.flushes).toEqual(fresh.flushes);
          expect(snapshot(remembering.memory, remembering.pool)).toEqual(snapshot(memory, frames));
        }
      }),
    );
  });
});

test('flips the second and later pages of a leaf table without a walk', () => {
  const { memory, table } = make(CONFIGS[0]!);
  let asked = 0;
  const { words } = memory;
  memory.words = (frame, write) => {
    asked += 1;
    return words.call(memory, frame, write);
  };
  table.setShared4k(BASE as VirtAddr);
  asked = 0;
  for (const index of INDEXES) table.setShared4k((BASE + BigInt(index) * 0x1000n) as VirtAddr);
  for (const index of INDEXES) table.setEncrypted4k((BASE + BigInt(index) * 0x1000n) as VirtAddr);
  expect(asked).toBe(0);
  expect(table.translate(BASE as VirtAddr)).toBe(0x20_0000n);
});
