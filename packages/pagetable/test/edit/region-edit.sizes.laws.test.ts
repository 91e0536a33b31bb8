/** Regions of gibibytes that are mapped by pages of all three sizes: the table against a list of runs. */
import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { countTables, FramePool, snapshot } from '../support/frame-pool.ts';

const G1 = 262_144;
// A region can end at the end of the lower half, or at the end of the space.
const CONFIGS: readonly (readonly [string, PagingConfig, bigint])[] = [
  ['4 levels, C-bit', pagingConfig({ cBit: 51 }), 0x7fff_0000_0000n],
  [
    '5 levels, vTOM',
    pagingConfig({ levels: 5, encryption: { mode: 'vtom', bit: 45 } }),
    (1n << 64n) - (4n << 30n),
  ],
  ['no encryption, no 1 GiB pages', pagingConfig({ giantPages: false, physicalBits: 40 }), 0n],
];

/** The pages from `first` up to `end`, which are mapped to consecutive frames with the same attributes. */
interface Run {
  readonly first: number;
  readonly end: number;
  readonly frame: number;
  readonly shared: boolean;
  readonly flags: number;
}

/** The simple model: runs in order, cut where an operation begins or ends. */
class Runs {
  list: Run[] = [];

  /** The runs from `first` up to `end`, after cutting the list at these pages. */
  cut(first: number, end: number): { inside: Run[]; outside: Run[] } {
    for (const at of [first, end]) {
      this.list = this.list.flatMap((run) =>
        run.first < at && at < run.end
          ? [
              { ...run, end: at },
              { ...run, first: at, frame: run.frame + (at - run.first) },
            ]
          : [run],
      );
    }
    const isInside = (run: Run): boolean => first <= run.first && run.end <= end;
    return {
      inside: this.list.filter(isInside),
      outside: this.list.filter((run) => !isInside(run)),
    };
  }

  covers(first: number, end: number): boolean {
    const { inside } = this.cut(first, end);
    return inside.reduce((sum, run) => sum + (run.end - run.first), 0) === end - first;
  }

  replace(first: number, end: number, change: (inside: Run[]) => Run[]): void {
    const { inside, outside } = this.cut(first, end);
    this.list = [...outside, ...change(inside)];
  }
}

/** Runs in order; adjacent ones that continue each other are joined. */
function joined(runs: Iterable<Run>): Run[] {
  const list: Run[] = [];
  for (const run of [...runs].sort((a, b) => a.first - b.first)) {
    const before = list.at(-1);
    const follows =
      before?.end === run.first &&
      before.frame + (before.end - before.first) === run.frame &&
      before.shared === run.shared &&
      before.flags === run.flags;
    if (before !== undefined && follows) list.splice(-1, 1, { ...before, end: run.end });
    else list.push(run);
  }
  return list;
}

const region = fc
  .record({
    first: fc.constantFrom(0, 1, 512, G1 - 1, G1, G1 + 512, 2 * G1, 3 * G1 - 512, 3 * G1, 4 * G1 - 1),
    count: fc.constantFrom(0, 1, 512, 513, G1, G1 + 1, 2 * G1, 3 * G1 - 1),
  })
  .map(({ first, count }) => ({ first, end: Math.min(first + count, 4 * G1) }));
const flags = fc.constantFrom(2, 6, 0x102, 0x8000_0000, PteFlags.Pat | 0x18, 0x7800_0e02);

const command = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('map' as const),
      region,
      // Aligned like the virtual address to 1 GiB, or only to 2 MiB.
      offset: fc.constantFrom(0, G1, 512, G1 - 512),
      flags,
      shared: fc.boolean(),
      remap: fc.boolean(),
    }),
  },
  fc.record({ op: fc.constant('unmap' as const), region, allowHoles: fc.boolean() }),
  fc.record({ op: fc.constant('protect' as const), region, set: flags, clear: flags }),
  fc.record({ op: fc.constantFrom('share', 'encrypt', 'share4k', 'split4k', 'collapse'), region }),
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

function perform(table: PageTable, base: bigint, command: Command): void {
  const { first, end } = command.region;
  const bounds = { start: (base + BigInt(first) * 4096n) as VirtAddr, end: base + BigInt(end) * 4096n };
  if ('offset' in command) {
    const { offset, flags, shared, remap } = command;
    table.mapRegion(bounds, physAddr((first + offset) * 4096), flags, { shared, remap });
  } else if ('allowHoles' in command) table.unmapRegion(bounds, { allowHoles: command.allowHoles });
  else if ('set' in command) {
    table.protectRegion(bounds, { set: command.set, clear: (command.clear & ~command.set) >>> 0 });
  } else if (command.op === 'share') table.setSharedRegion(bounds);
  else if (command.op === 'encrypt') table.setEncryptedRegion(bounds);
  else if (command.op === 'share4k') table.setShared4k(bounds.start);
  else if (command.op === 'split4k') table.split4k(bounds.start);
  else table.collapse(bounds.start);
}

/** Applies the command to the runs. Returns the error that the table must throw. */
function apply(runs: Runs, command: Command, hasEncryption: boolean): string | undefined {
  const { op, region } = command;
  const { first } = region;
  const isPage = op === 'share4k' || op === 'split4k' || op === 'collapse';
  const end = isPage ? first + 1 : region.end;
  const shares =
    op === 'share' || op === 'encrypt' || op === 'share4k' || ('shared' in command && command.shared);
  if (shares && !hasEncryption) return 'NO_ENCRYPTION';
  if ('offset' in command) {
    if (!command.remap && runs.cut(first, end).inside.length > 0) return 'ALREADY_MAPPED';
    const { offset, shared } = command;
    const run = {
      first,
      end,
      frame: first + offset,
      shared,
      flags: (command.flags | PteFlags.Present) >>> 0,
    };
    runs.replace(first, end, () => (end > first ? [run] : []));
    return undefined;
  }
  if (!('allowHoles' in command && command.allowHoles) && !runs.covers(first, end)) return 'NOT_MAPPED';
  if (op === 'unmap') runs.replace(first, end, () => []);
  else if ('set' in command) {
    const { set, clear } = command;
    const changed = (old: number): number => ((old & ~(clear & ~set)) | set) >>> 0;
    runs.replace(first, end, (inside) => inside.map((run) => ({ ...run, flags: changed(run.flags) })));
  } else if (op !== 'split4k' && op !== 'collapse') {
    runs.replace(first, end, (inside) => inside.map((run) => ({ ...run, shared: op !== 'encrypt' })));
  }
  return undefined;
}

function* contents(table: PageTable, base: bigint): Generator<Run> {
  for (const { vaddr, frame, size, shared, flags } of table.leaves()) {
    const first = Number((vaddr - base) / 4096n);
    const pat = size > PageSize.Regular && (flags & PteFlags.PatLarge) !== 0 ? PteFlags.Pat : 0;
    const large = size > PageSize.Regular ? PteFlags.Large | PteFlags.PatLarge : 0;
    const own = ((flags & ~large) | pat) >>> 0;
    yield { first, end: first + size / 4096, frame: Number(frame / 4096n), shared, flags: own };
  }
}

describe('operations on regions of gibibytes are those of a list of runs', () => {
  test.each(CONFIGS)('%s', (_, config, base) => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(command, fc.boolean()), { maxLength: 10, size: 'max' }),
        fc.boolean(),
        (commands, freeEmptyTables) => {
          const memory = createPhysMemory({ size: 0x80_0000 });
          const frames = new FramePool(1, 1500);
          const options = { memory, frames, config, freeEmptyTables };
          const table = PageTable.create(options);
          // A second object for the same root.
          const other = PageTable.open(table.root, options);
          let runs = new Runs();
          for (const [command, byOther] of commands) {
            const before = snapshot(memory, frames);
            const after = new Runs();
            after.list = runs.list;
            const expected = apply(after, command, config.encryption !== undefined);
            let code: string | undefined;
            try {
              perform(byOther ? other : table, base, command);
            } catch (error) {
              if (!isPageTableError(error)) throw error;
              code = error.code;
            }
            expect(code).toBe(expected);
            if (code === undefined) runs = after;
            else expect(snapshot(memory, frames)).toEqual(before);
          }
          expect(joined(contents(table, base))).toEqual(joined(runs.list));
          expect(joined(contents(other, base))).toEqual(joined(runs.list));
          expect(countTables(memory, table.root, config)).toBe(frames.inUse.size);
          if (freeEmptyTables) {
            const all = { start: base as VirtAddr, end: base + (4n << 30n) };
            table.unmapRegion(all, { allowHoles: true });
            expect([...frames.inUse]).toEqual([table.root]);
          }
          table.destroy();
          expect(frames.inUse.size).toBe(0);
        },
      ),
    );
  });
});
