/**
 * Callbacks that call back, or throw. Whatever operation of the same page table or part a callback performs, it throws `BUSY`.
 * The page table is then as a twin whose callbacks behave, a callback that throws after the change makes
 * `CALLBACK_FAILED`, and no frame or flush is lost.
 */
import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import type { PageMapper } from '../../src/table/page-mapper.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FaultWorld, PART } from '../support/fault-scenarios.ts';
import { FramePool } from '../support/frame-pool.ts';

const BASES = [0x4000_0000n, 0xffff_ff80_0000_0000n];
const OFFSETS = [0x5000n, 0x20_0000n, 0x20_3000n, 0xa0_1000n, 0x4000_0000n, 0x8020_1000n, 0xc000_0000n];
const OPERATIONS = [
  ...['map4k', 'map2m', 'remap', 'mapRegion', 'unmap4k', 'unmapRegion', 'protect', 'protectRegion', 'share'],
  ...['encrypt', 'shareRegion', 'split4k', 'split2m', 'collapse', 'translate', 'lookup', 'walk', 'mappings'],
  ...['leaves', 'next', 'countTables', 'access', 'fill', 'cloneShared', 'attach', 'detach'],
] as const;

const step = fc.record({
  op: fc.constantFrom(...OPERATIONS),
  part: fc.boolean(),
  base: fc.constantFrom(...BASES),
  offset: fc.constantFrom(...OFFSETS),
  pages: fc.constantFrom(1, 3, 512, 1024),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const misdeed = fc.record({
  /** The callback that misbehaves: its number among all calls of an operation. */
  call: fc.nat({ max: 12 }),
  inner: fc.oneof(step, fc.constant('throw' as const)),
});

/** The behaviour of a world at each callback: nothing, unless a test sets it. */
interface Hook {
  onCall: ((callback: string) => void) | undefined;
}

interface Actors {
  readonly world: FaultWorld;
  readonly hook: Hook;
  /** A listing that has begun. */
  readonly running: Generator<unknown>;
  readonly fill: { insert(): void };
}

function actorsOf(freeEmptyTables: boolean, hasEpoch: boolean): Actors {
  const hook: Hook = { onCall: undefined };
  const world = new FaultWorld(freeEmptyTables, {
    hasEpoch,
    frames: (pool) => ({
      allocateFrame: () => {
        hook.onCall?.('allocateFrame');
        return pool.allocateFrame();
      },
      freeFrame: (frame) => {
        // The frame is free, whether or not the callback throws afterwards.
        pool.freeFrame(frame);
        hook.onCall?.('freeFrame');
      },
    }),
    listener: (tlb) => ({
      needsFlush: (...request) => {
        tlb.needsFlush(...request);
        hook.onCall?.('needsFlush');
      },
    }),
  });
  world.part.attach(world.other);
  world.memory.onAccess = ({ kind }) => hook.onCall?.(kind);
  const running = world.table.leaves({ onFault: () => hook.onCall?.('onFault') });
  running.next();
  return { world, hook, running, fill: { insert: () => hook.onCall?.('insert') } };
}

function perform({ world, running, fill }: Actors, { op, part, base, offset, pages }: Step): unknown {
  const { table } = world;
  const mapper: PageMapper = part ? world.part : table;
  const vaddr = (base + offset) as VirtAddr;
  const region = virtRegion(vaddr, pages * 4096);
  const paddr = physAddr(0x3_0000_0000);
  if (op === 'map4k') return mapper.map4k(vaddr, paddr, PteFlags.Writable);
  if (op === 'map2m') return mapper.map2m((vaddr & ~0x1f_ffffn) as VirtAddr, paddr, PteFlags.Writable);
  if (op === 'remap') return mapper.map4k(vaddr, paddr, PteFlags.Writable, { remap: true });
  if (op === 'mapRegion') return mapper.mapRegion(region, paddr, PteFlags.Writable, { remap: true });
  if (op === 'unmap4k') return mapper.unmap4k(vaddr);
  if (op === 'unmapRegion') return mapper.unmapRegion(region, { allowHoles: true });
  if (op === 'protect') return mapper.protect4k(vaddr, { clear: PteFlags.Writable });
  if (op === 'protectRegion') return mapper.protectRegion(region, { clear: PteFlags.Writable });
  if (op === 'share') return mapper.setShared4k(vaddr);
  if (op === 'encrypt') return mapper.setEncrypted4k(vaddr);
  if (op === 'shareRegion') return mapper.setSharedRegion(region);
  if (op === 'split4k') return mapper.split4k(vaddr);
  if (op === 'split2m') return mapper.split2m(vaddr);
  if (op === 'collapse') return mapper.collapse(vaddr);
  if (op === 'translate') return mapper.translate(vaddr);
  if (op === 'lookup') return mapper.lookup(vaddr);
  if (op === 'walk') return mapper.walk(vaddr);
  if (op === 'mappings') return [...mapper.mappings().take(3)];
  if (op === 'leaves') return [...mapper.leaves().take(3)];
  if (op === 'next') return running.next();
  if (op === 'countTables') return mapper.countTables();
  if (op === 'access') return table.access(vaddr, 'write');
  if (op === 'fill') return table.access(vaddr, 'read', undefined, { fill });
  if (op === 'attach') return world.part.attach(table);
  if (op === 'detach') return world.part.detach(table);
  // Clones are destroyed at once: `retire` of the shared subtree is part of what is tested.
  return table.cloneShared([PART]).destroy();
}

const codeOf = (call: () => unknown): string | undefined => {
  try {
    call();
    return undefined;
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    if (error instanceof Misbehaviour) return 'callback';
    throw error;
  }
};

class Misbehaviour extends Error {}

/** Callbacks that run after the change. The others run before it, so their error is that of the operation. */
const AFTER = ['needsFlush', 'freeFrame', 'insert'];
/** Operations of the page table alone. */
const OF_TABLE: readonly string[] = ['next', 'access', 'fill', 'cloneShared'];
const OF_PART: readonly string[] = ['attach', 'detach'];

function isOfPart({ op, part }: Step): boolean {
  return OF_PART.includes(op) || (part && !OF_TABLE.includes(op));
}

/** Whether `inner` is refused while a callback of `outer` runs. */
function isRefused({ world: { part, table } }: Actors, outer: Step, inner: Step): boolean {
  if (isOfPart(outer) === isOfPart(inner)) return true;
  return isOfPart(outer) && (outer.op === 'attach' || part.tables.includes(table));
}

test.each([
  [false, true],
  [true, false],
])(
  'a callback that calls back changes nothing (freeEmptyTables %s, epoch %s)',
  (freeEmptyTables, hasEpoch) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(step, misdeed), { minLength: 2, maxLength: 6 }), (steps) => {
        const actors = actorsOf(freeEmptyTables, hasEpoch);
        const twin = actorsOf(freeEmptyTables, hasEpoch);
        for (const [outer, { call, inner }] of steps) {
          let calls = 0;
          let during: string | undefined;
          const refused = inner !== 'throw' && isRefused(actors, outer, inner);
          actors.hook.onCall = (callback) => {
            calls += 1;
            if (calls !== call + 1) return;
            during = callback;
            if (inner === 'throw') throw new Misbehaviour();
            if (refused) expect(codeOf(() => perform(actors, inner))).toBe('BUSY');
          };
          const before = inner === 'throw' ? actors.world.listing() : '';
          const code = codeOf(() => perform(actors, outer));
          actors.hook.onCall = undefined;
          if (inner === 'throw' && during !== undefined && !AFTER.includes(during)) {
            // It threw before the change, or memory failed once: then a part of the change may be in place.
            expect(code).not.toBe(undefined);
            expect(code).not.toBe('CALLBACK_FAILED');
            if (during === 'allocateFrame') expect(actors.world.listing()).toBe(before);
            requireWhole(actors.world);
            return;
          }
          const expected = codeOf(() => perform(twin, outer));
          const isFailed = inner === 'throw' && during !== undefined && expected === undefined;
          expect(code).toBe(isFailed ? 'CALLBACK_FAILED' : expected);
          expect(actors.world.listing()).toBe(twin.world.listing());
          expect(actors.world.pool.inUse).toEqual(twin.world.pool.inUse);
          expect(actors.world.tlbs.map(({ pending }) => pending.join())).toEqual(
            twin.world.tlbs.map(({ pending }) => pending.join()),
          );
        }
        requireWhole(actors.world);
      }),
    );
  },
);

function requireWhole(world: FaultWorld): void {
  expect(world.countTables()).toBe(world.pool.inUse.size);
  expect(world.forgotten()).toEqual([]);
}

describe('BUSY', () => {
  function make() {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const frames = new FramePool(1, 60);
    const codes: (string | undefined)[] = [];
    let act: () => unknown = () => {};
    const tlb = { needsFlush: () => void codes.push(codeOf(act)) };
    const table = PageTable.create({ memory, frames, tlb });
    const meanwhile = (call: () => unknown): void => {
      act = call;
    };
    return { memory, frames, table, codes, meanwhile };
  }
  const page = 0x1000n as VirtAddr;

  test('names the callback that runs', () => {
    const { table, meanwhile } = make();
    let thrown: unknown;
    meanwhile(() => {
      try {
        table.translate(page);
      } catch (error) {
        thrown = error;
      }
    });
    table.map4k(page, physAddr(0), 0);
    table.unmap4k(page);
    expect(isPageTableError(thrown, 'BUSY') && thrown.details).toEqual({ during: 'needsFlush' });
    expect(table.translate(page)).toBe(undefined);
  });

  test('a mapping that is made in allocateFrame is refused, not lost', () => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const pool = new FramePool(1, 60);
    const codes: (string | undefined)[] = [];
    const frames = {
      allocateFrame: () => {
        codes.push(codeOf(() => table?.map4k(page, physAddr(0x7000), 0)));
        return pool.allocateFrame();
      },
      freeFrame: () => {},
    };
    let table: PageTable | undefined;
    table = PageTable.create({ memory, frames });
    table.map4k(0x2000n as VirtAddr, physAddr(0x8000), 0);
    expect(codes).toEqual([undefined, 'BUSY', 'BUSY', 'BUSY']);
    expect(table.translate(page)).toBe(undefined);
    expect(table.countTables()).toBe(4);
  });

  test('a running listing throws it, and goes on afterwards', () => {
    const { table, codes, meanwhile } = make();
    for (const at of [0x1000n, 0x3000n, 0x5000n]) table.map4k(at as VirtAddr, physAddr(0), 0);
    const listing = table.leaves();
    expect(listing.next().value?.vaddr).toBe(0x1000n);
    meanwhile(() => listing.next());
    table.unmap4k(0x1000n as VirtAddr);
    expect(codes).toEqual(['BUSY']);
    expect([...listing].map(({ vaddr }) => vaddr)).toEqual([0x3000n, 0x5000n]);
  });

  test('the listing whose onFault calls it throws it too', () => {
    const { table, memory } = make();
    table.map4k(page, physAddr(0x9000), 0);
    const { table: leaf } = table.walk(page).path.at(-1)!;
    const words = memory.words(Number(leaf >> 12n), true);
    words[memory.wordOffset(Number(leaf >> 12n)) + 3]! |= 0x8_0000;
    const codes: (string | undefined)[] = [];
    const listing = PageTable.open(table.root, {
      memory,
      config: { ...table.config, physicalBits: 46 },
    }).leaves({
      onFault: () => void codes.push(codeOf(() => listing.next())),
    });
    expect([...listing]).toEqual([]);
    expect(codes).toEqual(['BUSY']);
  });

  test('a callback of a part makes the page tables busy to which it is attached', () => {
    const { memory, frames, table, codes, meanwhile } = make();
    const part = PageTablePart.create(PART, { memory, frames });
    part.attach(table);
    const { start } = part.region;
    part.map4k(start, physAddr(0), 0);
    const inner = [
      () => table.map4k(page, physAddr(0), 0),
      () => table.access(page, 'read'),
      () => table.destroy(),
      () => part.detach(table),
      () => part.map4k(start, physAddr(0), 0),
    ];
    for (const [i, call] of inner.entries()) {
      meanwhile(call);
      part.protect4k(start, i % 2 === 0 ? { set: PteFlags.Writable } : { clear: PteFlags.Writable });
    }
    expect(codes).toEqual(Array(5).fill('BUSY'));
    meanwhile(() => {});
    table.map4k(page, physAddr(0), 0);
  });

  test('page tables that share subtrees are busy together, until one is destroyed', () => {
    const { table, codes, meanwhile } = make();
    table.map4k(page, physAddr(0), 0);
    const clone = table.cloneShared([0]);
    meanwhile(() => clone.translate(page));
    table.protect4k(page, { set: PteFlags.Writable });
    clone.destroy();
    const other = table.cloneShared([0]);
    table.protect4k(page, { set: PteFlags.User });
    expect(codes).toEqual(['BUSY', 'DESTROYED']);
    other.destroy();
  });

  test('another page table may be used', () => {
    const { memory, frames, table, codes, meanwhile } = make();
    const other = PageTable.create({ memory, frames });
    meanwhile(() => other.map4k(page, physAddr(0x5000), 0));
    table.map4k(page, physAddr(0), 0);
    table.unmap4k(page);
    expect(codes).toEqual([undefined]);
    expect(other.translate(page)).toBe(0x5000n);
  });
});

test('CALLBACK_FAILED comes after all reports and all frames, with the first error as its cause', () => {
  const memory = createPhysMemory({ size: 0x10_0000 });
  const pool = new FramePool(1, 60);
  const calls: string[] = [];
  const fail = (name: string): never => {
    calls.push(name);
    throw new Error(`${calls.length}`);
  };
  const frames = {
    allocateFrame: () => pool.allocateFrame(),
    freeFrame: (frame: Parameters<FramePool['freeFrame']>[0]) => {
      pool.freeFrame(frame);
      fail('freeFrame');
    },
  };
  const table = PageTable.create({
    memory,
    frames,
    freeEmptyTables: true,
    tlb: { needsFlush: () => fail('needsFlush') },
  });
  const region = virtRegion(0x1000n as VirtAddr, PageSize.Huge);
  table.mapRegion(virtRegion(0x1000n as VirtAddr, 0x2000), physAddr(0), 0);
  table.map4k(0x20_0000n as VirtAddr, physAddr(0), 0);
  let thrown: unknown;
  try {
    table.unmapRegion(region, { allowHoles: true });
  } catch (error) {
    thrown = error;
  }
  expect(isPageTableError(thrown, 'CALLBACK_FAILED') && thrown.details).toEqual({
    operation: 'unmapRegion',
    callback: 'needsFlush',
  });
  expect((thrown as Error).cause).toEqual(new Error('1'));
  expect(calls).toEqual(['needsFlush', 'needsFlush', ...Array(4).fill('freeFrame')]);
  expect(pool.inUse.size).toBe(1);
  expect([...table.leaves()]).toEqual([]);
});
