import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import { countTables, FramePool, slowWalk, snapshot } from '../support/frame-pool.ts';

const CONFIGS: readonly PagingConfig[] = [
  pagingConfig({ cBit: 51 }),
  pagingConfig({ encryption: { mode: 'vtom', bit: 45 }, giantPages: false }),
  pagingConfig({ levels: 5, cBit: 47, physicalBits: 46, vendor: 'intel' }),
];
// Regions lie around a border between leaf tables, a border between page directories, and the end of the space.
const BASE = (1n << 64n) - 0x8000_0000n;
const PLACES = [0, 1, 511, 512, 513, 1023, 1024, 262_143 - 512, 262_143, 262_144, 262_145, 262_656, 524_287];
const COUNTS = [0, 1, 2, 511, 512, 513, 1024, 1025];

const region = fc
  .record({ page: fc.constantFrom(...PLACES), count: fc.constantFrom(...COUNTS) })
  .filter(({ page, count }) => page + count <= 524_288);
const flags = fc.constantFrom(0, 2, 6, 0x8000_0002, PteFlags.Pat | 0x18, PteFlags.Software52 | 0x200);

type Command =
  | {
      op: 'map';
      page: number;
      count: number;
      frame: number;
      flags: number;
      shared: boolean;
      remap: boolean;
      size: PageSize | undefined;
    }
  | { op: 'unmap'; page: number; count: number; allowHoles: boolean }
  | { op: 'protect'; page: number; count: number; set: number; clear: number }
  | { op: 'share' | 'encrypt'; page: number; count: number }
  | { op: 'share4k' | 'split4k' | 'collapse'; page: number; count: number };

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc
      .tuple(
        region,
        fc.record({
          frame: fc.constantFrom<(page: number) => number>(
            (page) => page,
            (page) => page + 512,
            (page) => page + 1,
            (page) => 0xf_ffff - (page % 1024),
          ),
          flags,
          shared: fc.boolean(),
          remap: fc.boolean(),
          size: fc.constantFrom(undefined, undefined, PageSize.Regular, PageSize.Huge),
        }),
      )
      .map(
        ([{ page, count }, rest]): Command => ({ op: 'map', page, count, ...rest, frame: rest.frame(page) }),
      ),
  },
  fc
    .tuple(region, fc.boolean())
    .map(([where, allowHoles]): Command => ({ op: 'unmap', ...where, allowHoles })),
  fc
    .tuple(region, flags, flags)
    .map(([where, set, clear]): Command => ({ op: 'protect', ...where, set, clear: (clear & ~set) >>> 0 })),
  fc
    .tuple(region, fc.constantFrom('share' as const, 'encrypt' as const))
    .map(([where, op]): Command => ({ op, ...where })),
  fc
    .tuple(region, fc.constantFrom('share4k' as const, 'split4k' as const, 'collapse' as const))
    .map(([where, op]): Command => ({ op, ...where })),
);

/** The mapping of a page: its frame, its visibility, and its flags as a 4 KiB page has them. */
type Attributes = readonly [frame: number, shared: boolean, flags: number];
type Model = Map<number, Attributes>;

const vaddrOf = (page: number): VirtAddr => (BASE + BigInt(page) * 4096n) as VirtAddr;

const codeOf = (operation: () => unknown): string | undefined => {
  try {
    operation();
    return undefined;
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
};

/** Applies `command` to the model. Returns the error that the table must throw; `any` if that depends on page sizes. */
function apply(model: Model, command: Command): string | undefined {
  const { op, page, count } = command;
  const pages = Array.from({ length: count }, (_, i) => page + i);
  if (op === 'map') {
    const span = (command.size ?? PageSize.Regular) / PageSize.Regular;
    if (page % span !== 0 || count % span !== 0 || command.frame % span !== 0) return 'MISALIGNED';
    if (!command.remap && pages.some((at) => model.has(at))) return 'ALREADY_MAPPED';
    const low = (command.flags | PteFlags.Present) >>> 0;
    pages.forEach((at, i) => {
      model.set(at, [command.frame + i, command.shared, low]);
    });
  } else if (op === 'unmap') {
    if (!command.allowHoles && pages.some((at) => !model.has(at))) return 'NOT_MAPPED';
    for (const at of pages) model.delete(at);
  } else if (op === 'share4k' || op === 'split4k' || op === 'collapse') {
    const old = model.get(page);
    if (old === undefined) return 'NOT_MAPPED';
    if (op === 'share4k') model.set(page, [old[0], true, old[2]]);
  } else {
    if (pages.some((at) => !model.has(at))) return 'NOT_MAPPED';
    for (const at of pages) {
      const [frame, shared, old] = model.get(at) as Attributes;
      if (op === 'protect') model.set(at, [frame, shared, ((old & ~command.clear) | command.set) >>> 0]);
      else model.set(at, [frame, op === 'share', old]);
    }
  }
  return undefined;
}

function perform(table: PageTable, command: Command): void {
  const { op, page, count } = command;
  const region = virtRegion(vaddrOf(page), BigInt(count) * 4096n);
  if (op === 'map') {
    const { frame, flags, shared, remap, size } = command;
    const options = size === undefined ? { shared, remap } : { shared, remap, pageSize: size };
    table.mapRegion(region, physAddr(BigInt(frame) * 4096n), flags, options);
  } else if (op === 'unmap') table.unmapRegion(region, { allowHoles: command.allowHoles });
  else if (op === 'protect') table.protectRegion(region, { set: command.set, clear: command.clear });
  else if (op === 'share') table.setSharedRegion(region);
  else if (op === 'encrypt') table.setEncryptedRegion(region);
  else if (op === 'share4k') table.setShared4k(vaddrOf(page));
  else if (op === 'split4k') table.split4k(vaddrOf(page));
  else table.collapse(vaddrOf(page));
}

function make(config: PagingConfig, freeEmptyTables = true) {
  const memory = createPhysMemory({ size: 0x40_0000 });
  const pool = new FramePool(1, 600);
  const tlb = new Tlb();
  const table = PageTable.create({ memory, frames: pool, config, freeEmptyTables, tlb });
  return { memory, pool, table, tlb };
}

/** Every page that the table maps, in the form of the model. */
function contents(table: PageTable): Model {
  const found: Model = new Map();
  for (const { vaddr, frame, size, shared, flags } of table.leaves()) {
    const pat = size > PageSize.Regular && (flags & PteFlags.PatLarge) !== 0 ? PteFlags.Pat : 0;
    const large = size > PageSize.Regular ? PteFlags.Large | PteFlags.PatLarge : 0;
    const first = Number((vaddr - BASE) / 4096n);
    const attributes = [shared, ((flags & ~large) | pat) >>> 0] as const;
    for (let i = 0; i < size / PageSize.Regular; i += 1)
      found.set(first + i, [Number(frame / 4096n) + i, ...attributes]);
  }
  return found;
}

/** Whether a table is in the way of a larger page. The model has no sizes, so it cannot know. */
const metTable = (command: Command, code: string | undefined): boolean =>
  command.op === 'map' && command.size === PageSize.Huge && code === 'ALREADY_MAPPED';

describe('operations on regions are those of a map of pages', () => {
  test.each(CONFIGS.map((config) => [JSON.stringify(config), config] as const))('%s', (_, config) => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 12, size: 'max' }), fc.boolean(), (commands, freesEmpty) => {
        const { memory, pool, table, tlb } = make(config, freesEmpty);
        // A second object for the same root: each must see the changes of the other.
        const other = PageTable.open(table.root, {
          ...{ memory, frames: pool, config, tlb },
          freeEmptyTables: freesEmpty,
        });
        let model: Model = new Map();
        for (const [i, command] of commands.entries()) {
          const before = snapshot(memory, pool);
          const after = new Map(model);
          const expected = apply(after, command);
          const code = codeOf(() => perform(i % 3 === 1 ? other : table, command));
          if (code !== expected) expect([code, metTable(command, code)]).toEqual([code, true]);
          if (code !== undefined) {
            expect(snapshot(memory, pool)).toEqual(before);
            continue;
          }
          // Every page whose translation has changed is in a flush request.
          for (const [page, old] of model) {
            if (String(after.get(page)) === String(old)) continue;
            const vaddr = vaddrOf(page);
            expect(tlb.pending.some(({ start, end }) => start <= vaddr && vaddr < end)).toBe(true);
            break;
          }
          tlb.flushAll();
          model = after;
        }
        const sorted = (pages: Model): [number, Attributes][] => [...pages].sort(([a], [b]) => a - b);
        expect(sorted(contents(table))).toEqual(sorted(model));
        for (const page of PLACES) {
          const slow = slowWalk(memory, table.root, config, vaddrOf(page));
          expect(slow?.paddr).toBe(
            model.has(page) ? BigInt((model.get(page) as Attributes)[0]) * 4096n : undefined,
          );
        }
        // No frame is lost: exactly the tables are in use, and destroying them leaves none.
        expect(countTables(memory, table.root, config)).toBe(pool.inUse.size);
        expect(table.countTables()).toBe(pool.inUse.size);
        if (freesEmpty) {
          table.unmapRegion(virtRegion(vaddrOf(0), 0x8000_0000), { allowHoles: true });
          expect([...pool.inUse]).toEqual([table.root]);
        }
        table.destroy();
        expect(pool.inUse.size).toBe(0);
      }),
    );
  });
});

describe('all or nothing', () => {
  test('an operation on a region that runs out of frames, at any frame, changes no byte', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 5 }), command, (setup, last) => {
        const config = CONFIGS[0]!;
        const twin = make(config, false);
        for (const command of setup) codeOf(() => perform(twin.table, command));
        const held = twin.pool.inUse.size;
        const outcome = codeOf(() => perform(twin.table, last));
        const needed = twin.pool.inUse.size - held;
        for (let left = 0; left < needed; left += 1) {
          const { memory, pool, table } = make(config, false);
          for (const command of setup) codeOf(() => perform(table, command));
          pool.left = left;
          const before = snapshot(memory, pool);
          expect(codeOf(() => perform(table, last))).toBe('OUT_OF_MEMORY');
          expect(snapshot(memory, pool)).toEqual(before);
          pool.left = 100;
          expect(codeOf(() => perform(table, last))).toBe(outcome);
          expect(snapshot(memory, pool).size).toBe(held + needed);
        }
      }),
    );
  });
});
