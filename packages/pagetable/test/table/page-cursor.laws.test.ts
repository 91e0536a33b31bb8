/** The laws of cursors: an operation does the same by cursor, by address and by region, and reads a cursor once. */
import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import {
  isRegionError,
  type MemoryRegion,
  type PageCursor,
  type PhysPage,
  physRegion,
  type VirtPage,
  virtRegion,
} from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import { FramePool, snapshot } from '../support/frame-pool.ts';

const START = virtAddr(0xffff_8000_3fe0_0000n);
/** Two leaf tables and the first page of a third, on both sides of a border of 1 GiB. */
const PAGES = 1025;
const FRAMES = physAddr(0xffe0_0000);
const REGION = virtRegion(START, PAGES * 0x1000);
const CONFIG = pagingConfig({ cBit: 51, physicalBits: 44 });

function make(withTlb = false) {
  const memory = createPhysMemory({ size: 0x10_0000 });
  const pool = new FramePool(0, 200);
  const flushes: unknown[] = [];
  const tlb = { needsFlush: (...flush: unknown[]) => void flushes.push(flush) };
  const options = { memory, frames: pool, config: CONFIG, ...(withTlb ? { tlb } : {}) };
  const table = PageTable.create(options);
  return { memory, pool, table, flushes, state: () => [snapshot(memory, pool), flushes] };
}

const pageAt = (index: number): VirtAddr => (START + BigInt(index) * 0x1000n) as VirtAddr;
const frameAt = (index: number): PhysAddr => (FRAMES + BigInt(index) * 0x1000n) as PhysAddr;

function outcome(operation: () => unknown): unknown {
  try {
    return operation();
  } catch (error) {
    if (isPageTableError(error)) return [error.code, error.details, error.message];
    throw error;
  }
}

/** Every operation on a page. */
const OPERATIONS = {
  map4k: (table, page, frame) => table.map4k(page, frame, PtePreset.Data),
  mapShared: (table, page, frame) => table.map4k(page, frame, PtePreset.Code, { shared: true }),
  remap: (table, page, frame) => table.map4k(page, frame, PtePreset.ReadOnly, { remap: true }),
  map2m: (table, page, frame) => table.map2m(page, frame, PtePreset.Data),
  map1g: (table, page, frame) => table.map1g(page, frame, PtePreset.Data),
  unmap4k: (table, page) => table.unmap4k(page),
  unmap2m: (table, page) => table.unmap2m(page),
  unmap1g: (table, page) => table.unmap1g(page),
  setShared4k: (table, page) => table.setShared4k(page),
  setEncrypted4k: (table, page) => table.setEncrypted4k(page),
  protect4k: (table, page) => table.protect4k(page, { clear: PteFlags.Writable }),
  split4k: (table, page) => table.split4k(page),
  split2m: (table, page) => table.split2m(page),
  collapse: (table, page) => table.collapse(page),
  translate: (table, page) => table.translate(page),
  frameAt: (table, page) => table.frameAt(page),
  lookup: (table, page) => table.lookup(page),
  walk: (table, page) => table.walk(page),
  read: (table, page) => table.access(page, 'read'),
  write: (table, page) => table.access(page, 'write'),
  mapRegion: (table, page, frame) => {
    const start = typeof page === 'bigint' ? page : page.address;
    table.mapRegion(virtRegion(start, 0x2000), frame, PtePreset.Data, { remap: true });
  },
} satisfies Record<string, (table: PageTable, page: VirtPage, frame: PhysPage) => unknown>;
type Operation = keyof typeof OPERATIONS;
const NAMES = Object.keys(OPERATIONS) as Operation[];

const step = fc.record({
  op: fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(...NAMES) },
    { weight: 2, arbitrary: fc.constantFrom<Operation>('map4k', 'setShared4k', 'setEncrypted4k') },
  ),
  page: fc.oneof(fc.nat(4), fc.integer({ min: 508, max: 515 }), fc.constantFrom(0, 512, 1024)),
  frame: fc.oneof(fc.nat(4), fc.constantFrom(0, 512, 1024)),
});

describe('a page by cursor equals the page by address', () => {
  test.each([false, true])('in every operation, with a listener: %s', (withTlb) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) => {
        const [left, right] = [make(withTlb), make(withTlb)];
        const page = REGION.cursor(PageSize.Regular);
        const frame = physRegion(FRAMES, PAGES * 0x1000).cursor(PageSize.Regular);
        for (const one of steps) {
          const byCursor = outcome(() =>
            OPERATIONS[one.op](left.table, page.goTo(one.page), frame.goTo(one.frame)),
          );
          const byAddress = outcome(() =>
            OPERATIONS[one.op](right.table, pageAt(one.page), frameAt(one.frame)),
          );
          expect(byCursor).toEqual(byAddress);
          expect(left.state()).toEqual(right.state());
        }
      }),
    );
  });

  test('in a part, and in a page table to which it is attached', () => {
    const worlds = [make(), make()].map(({ memory, pool, table, state }) => {
      const part = PageTablePart.create(256, { memory, frames: pool, config: CONFIG });
      part.attach(table);
      return { table, part, state };
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 10 }), fc.boolean(), (steps, direct) => {
        const [left, right] = worlds as [(typeof worlds)[0], (typeof worlds)[0]];
        for (const { op, page, frame } of steps) {
          if (op === 'read' || op === 'write') continue;
          const at = (index: number) => REGION.cursor(PageSize.Regular).goTo(index);
          const results = [left, right].map((world) => {
            const target = (direct ? world.part : world.table) as PageTable;
            const place = world === left ? at(page) : pageAt(page);
            return outcome(() => OPERATIONS[op](target, place, frameAt(frame)));
          });
          expect(results[0]).toEqual(results[1]);
          expect(left.state()).toEqual(right.state());
        }
      }),
    );
  });

  test('in a Tlb', () => {
    const tlbs = [new Tlb(), new Tlb()];
    const { table } = make();
    table.mapRegion(REGION, FRAMES, PtePreset.Data);
    const cursor = REGION.cursor(PageSize.Regular);
    fc.assert(
      fc.property(fc.nat(PAGES - 1), fc.nat(3), (index, op) => {
        const found = table.lookup(pageAt(index))!;
        const results = tlbs.map((tlb, side) => {
          const page = side === 0 ? cursor.goTo(index) : pageAt(index);
          if (op === 0) tlb.insert(page, found);
          if (op === 1) tlb.flushPage(page);
          if (op === 2) tlb.flushPageOf(0, page);
          if (op === 3) tlb.needsFlush(pageAt(index), 0x1000);
          return [tlb.lookup(page), tlb.pending.map(String)];
        });
        expect(results[0]).toEqual(results[1]);
      }),
    );
  });
});

describe('a loop', () => {
  type Form = (table: PageTable, region: MemoryRegion<VirtAddr>, act: 'share' | 'encrypt') => void;
  const byPage =
    (pages: (region: MemoryRegion<VirtAddr>) => Iterable<VirtPage>): Form =>
    (table, region, act) => {
      for (const page of pages(region)) {
        if (act === 'share') table.setShared4k(page);
        else table.setEncrypted4k(page);
      }
    };
  const FORMS: Record<string, Form> = {
    cursor: byPage((region) => region.cursor(PageSize.Regular)),
    address: byPage((region) => region.iterPages(PageSize.Regular)),
    region: (table, region, act) => {
      if (act === 'share') table.setSharedRegion(region);
      else table.setEncryptedRegion(region);
    },
  };
  const range = fc
    .tuple(fc.nat(PAGES), fc.nat(PAGES))
    .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

  test.each([
    ['4 KiB pages', PageSize.Regular],
    ['the largest pages', undefined],
  ])('shares and takes back %s the same by cursor, by address and by region', (_, pageSize) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(range, fc.boolean()), { maxLength: 4 }), (turns) => {
        const made = Object.values(FORMS).map((form) => ({ form, ...make() }));
        for (const { table } of made) {
          table.mapRegion(REGION, FRAMES, PtePreset.Data, pageSize === undefined ? {} : { pageSize });
        }
        for (const [[from, to], isShared] of turns) {
          const region = virtRegion(pageAt(from), (to - from) * 0x1000);
          for (const { form, table } of made) form(table, region, isShared ? 'share' : 'encrypt');
        }
        // A region keeps the large pages that lie in it, so its tables can differ; each page is the same.
        const pagesOf = (table: PageTable) =>
          Array.from(REGION.iterPages(PageSize.Regular), (page) => {
            const { paddr, shared, flags } = table.lookup(page)!;
            return [paddr, shared, flags & ~(PteFlags.PatLarge | PteFlags.Large)];
          });
        const expected = pagesOf(made[1]!.table);
        for (const { table } of made) expect(pagesOf(table)).toEqual(expected);
        expect(made[0]!.state()).toEqual(made[1]!.state());
        if (pageSize !== undefined) expect(made[2]!.state()).toEqual(made[1]!.state());
      }),
      { numRuns: 20 },
    );
  });

  test('maps by two cursors what mapRegion maps', () => {
    const [loop, whole] = [make(), make()];
    const frames = physRegion(FRAMES, PAGES * 0x1000).cursor(PageSize.Regular);
    for (const page of REGION.cursor(PageSize.Regular)) {
      frames.next();
      loop.table.map4k(page, frames, PtePreset.Data);
    }
    whole.table.mapRegion(REGION, FRAMES, PtePreset.Data, { pageSize: PageSize.Regular });
    expect([...loop.table.leaves()]).toEqual([...whole.table.leaves()]);
  });
});

describe('a cursor that is not on a page', () => {
  const off: readonly (readonly [string, () => PageCursor<never>])[] = [
    ['that has not begun', () => REGION.cursor(PageSize.Regular) as PageCursor<never>],
    ['that was kept', () => [...REGION.cursor(PageSize.Regular)][0] as PageCursor<never>],
  ];

  describe.each(off)('%s', (_, cursorOf) => {
    const refused = (operation: () => unknown): boolean => {
      try {
        operation();
        return false;
      } catch (error) {
        return isRegionError(error, 'NOT_ON_PAGE');
      }
    };

    test.each(NAMES)('is refused by %s, and nothing changes', (name) => {
      const { table, state } = make();
      table.mapRegion(REGION, FRAMES, PtePreset.Data);
      table.setShared4k(pageAt(1024));
      const before = state();
      expect(refused(() => OPERATIONS[name](table, cursorOf(), physAddr(0)))).toBe(true);
      expect(state()).toEqual(before);
    });

    test('is refused as a frame, and nothing changes', () => {
      const { table, state } = make();
      for (const name of ['map4k', 'mapShared', 'remap', 'map2m', 'mapRegion'] as const) {
        const before = state();
        expect(refused(() => OPERATIONS[name](table, START, cursorOf()))).toBe(true);
        expect(state()).toEqual(before);
      }
    });

    test('is refused by a Tlb', () => {
      const { table } = make();
      table.map4k(START, FRAMES, PtePreset.Data);
      const tlb = new Tlb();
      const page = table.lookup(START)!;
      expect(refused(() => tlb.lookup(cursorOf()))).toBe(true);
      expect(refused(() => tlb.insert(cursorOf(), page))).toBe(true);
      expect(refused(() => tlb.flushPage(cursorOf()))).toBe(true);
      expect(refused(() => tlb.flushPageOf(0, cursorOf()))).toBe(true);
    });
  });
});

describe('an object that only looks like a cursor', () => {
  test.each(NAMES.filter((name) => name !== 'mapRegion'))('is read once by %s', (name) => {
    const { table } = make();
    table.mapRegion(REGION, FRAMES, PtePreset.Data);
    const reads: string[] = [];
    // It leads elsewhere when it is read again.
    const page = {
      get low() {
        reads.push('low');
        return reads.length > 2 ? 0 : 0x3fe0_1000;
      },
      get high() {
        reads.push('high');
        return reads.length > 2 ? 0 : -0x8000;
      },
    } as unknown as PageCursor<VirtAddr>;
    outcome(() => OPERATIONS[name](table, page, physAddr(0)));
    expect(reads).toEqual(['low', 'high']);
  });

  test('is refused with the code of a wrong address', () => {
    const { table, state } = make();
    table.mapRegion(REGION, FRAMES, PtePreset.Data);
    const before = state();
    const throwing = {
      get low(): number {
        throw new Error('hostile');
      },
    };
    const likes = [
      {},
      { low: 0 },
      { low: 0.5, high: 0 },
      { low: 0, high: 2 ** 31 },
      { low: '0', high: 0 },
      throwing,
    ];
    for (const like of likes as never[]) {
      for (const name of NAMES.filter((name) => name !== 'mapRegion')) {
        const [code] = outcome(() => OPERATIONS[name](table, like, physAddr(0))) as [string];
        expect(code).toBe('NON_CANONICAL');
      }
      const [code] = outcome(() => table.map4k(START, like, PtePreset.Data)) as [string];
      expect(code).toBe('OUTSIDE_PHYSICAL_RANGE');
    }
    expect(state()).toEqual(before);
  });
});
