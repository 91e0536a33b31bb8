import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { countTables, FramePool, slowWalk, snapshot } from '../support/frame-pool.ts';

const CONFIGS: readonly PagingConfig[] = [
  pagingConfig({ cBit: 51 }),
  pagingConfig({ cBit: 47, physicalBits: 46 }),
  pagingConfig({ encryption: { mode: 'vtom', bit: 45 } }),
  pagingConfig({ levels: 5, cBit: 51, vendor: 'intel' }),
  pagingConfig({ levels: 5, physicalBits: 46 }),
];

const SIZES = [PageSize.Regular, PageSize.Huge, PageSize.Giant] as const;
const BASE = 0xffff_8080_0000_0000n;
/** Few places in 4 GiB of address space, so that operations meet. */
const place = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.constantFrom(0, 1, 2, 511), fc.constantFrom(0, 1, 511))
  .map(([g, m, k]) => BigInt(g) * 0x4000_0000n + BigInt(m) * 0x20_0000n + BigInt(k) * 0x1000n);

// Every bit that flags can have, except PS.
const flagBits = fc
  .tuple(fc.integer({ min: 0, max: 0xfff }), fc.integer({ min: 0, max: 0xfff }), fc.boolean())
  .map(([low, high, pat]) => ({ flags: ((high << 20) | (low & ~0x80)) >>> 0, pat }));

type Command =
  | {
      op: 'map';
      size: 0 | 1 | 2;
      at: bigint;
      frame: number;
      flags: number;
      pat: boolean;
      shared: boolean;
      remap: boolean;
    }
  | { op: 'unmap'; size: 0 | 1 | 2; at: bigint }
  | { op: 'share' | 'encrypt' | 'split'; at: bigint };

const size = fc.constantFrom<0 | 1 | 2>(0, 1, 2);
const command: fc.Arbitrary<Command> = fc.oneof(
  fc
    .record({
      size,
      at: place,
      frame: fc.integer({ min: 0, max: 200 }),
      bits: flagBits,
      shared: fc.boolean(),
      remap: fc.boolean(),
    })
    .map(({ bits, ...rest }): Command => ({ op: 'map', ...rest, ...bits })),
  fc.record({ op: fc.constant('unmap' as const), size, at: place }),
  fc.record({ op: fc.constantFrom('share' as const, 'encrypt' as const, 'split' as const), at: place }),
);

/** A page of the model: its frame, and the flags and visibility of its leaf. */
interface ModelPage {
  readonly paddr: bigint;
  readonly size: number;
  readonly shared: boolean;
  /** The flags as a 4 KiB page has them: without PS, PAT at bit 7. */
  readonly flags: number;
}

/** The simple model: a list of pages. */
class Model {
  readonly pages: Map<bigint, ModelPage> = new Map();

  at(vaddr: bigint): [bigint, ModelPage] | undefined {
    for (const size of SIZES) {
      const start = vaddr & -BigInt(size);
      const page = this.pages.get(start);
      if (page?.size === size) return [start, page];
    }
    return undefined;
  }

  overlaps(start: bigint, size: number): boolean {
    return [...this.pages].some(([at, page]) => at < start + BigInt(size) && start < at + BigInt(page.size));
  }

  split(vaddr: bigint, to: number = PageSize.Regular): void {
    for (;;) {
      const [start, page] = this.at(vaddr) as [bigint, ModelPage];
      if (page.size <= to) return;
      this.pages.delete(start);
      const part = page.size / 512;
      for (let i = 0; i < 512; i += 1) {
        const offset = BigInt(i * part);
        this.pages.set(start + offset, { ...page, size: part, paddr: page.paddr + offset });
      }
    }
  }
}

const run = (operation: () => unknown): string | undefined => {
  try {
    operation();
    return undefined;
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
};

/** Applies `command` to the model. Returns the error that the table must throw, or `undefined`. */
function apply(
  model: Model,
  command: Command,
  hasEncryption: boolean,
  mayHoldTable: (at: bigint, size: number) => boolean,
): string | undefined {
  const at = BASE + command.at;
  const shares =
    command.op === 'share' || command.op === 'encrypt' || (command.op === 'map' && command.shared);
  if (shares && !hasEncryption) return 'NO_ENCRYPTION';
  if (command.op === 'map') {
    const size = SIZES[command.size];
    if ((at & BigInt(size - 1)) !== 0n) return 'MISALIGNED';
    // `remap` replaces a page of the same size or a part of a larger one. Smaller pages are in the way.
    const isFree = command.remap ? (model.at(at)?.[1].size ?? 0) >= size : !model.overlaps(at, size);
    if (!isFree && model.overlaps(at, size)) return 'ALREADY_MAPPED';
    if (size > PageSize.Regular && mayHoldTable(at, size)) return 'ALREADY_MAPPED';
    if (model.at(at) !== undefined) model.split(at, size);
    const pat = command.pat ? PteFlags.Pat : 0;
    model.pages.set(at, {
      paddr: BigInt(command.frame) * BigInt(size),
      size,
      shared: command.shared,
      flags: (command.flags | pat | PteFlags.Present) >>> 0,
    });
    return undefined;
  }
  const found = model.at(at);
  if (command.op === 'unmap') {
    const size = SIZES[command.size];
    if ((at & BigInt(size - 1)) !== 0n) return 'MISALIGNED';
    if (found === undefined) return 'NOT_MAPPED';
    if (found[1].size !== size) return 'PAGE_SIZE_MISMATCH';
    model.pages.delete(at);
    return undefined;
  }
  if (found === undefined) return 'NOT_MAPPED';
  if (command.op === 'split') {
    model.split(at);
  } else if (found[1].shared !== (command.op === 'share')) {
    model.split(at);
    model.pages.set(at, { ...(model.pages.get(at) as ModelPage), shared: command.op === 'share' });
  }
  return undefined;
}

function perform(table: PageTable, command: Command): void {
  const at = (BASE + command.at) as VirtAddr;
  if (command.op === 'map') {
    const map = ([table.map4k, table.map2m, table.map1g] as const)[command.size];
    const pat = command.pat ? (command.size === 0 ? PteFlags.Pat : PteFlags.PatLarge) : 0;
    const paddr = physAddr(BigInt(command.frame) * BigInt(SIZES[command.size]));
    map.call(table, at, paddr, command.flags | pat, { shared: command.shared, remap: command.remap });
  } else if (command.op === 'unmap') {
    ([table.unmap4k, table.unmap2m, table.unmap1g] as const)[command.size].call(table, at);
  } else if (command.op === 'share') table.setShared4k(at);
  else if (command.op === 'encrypt') table.setEncrypted4k(at);
  else table.split4k(at);
}

function make(config: PagingConfig) {
  const memory = createPhysMemory({ size: 0x40_0000 });
  const pool = new FramePool(1, 200);
  return { memory, pool, table: PageTable.create({ memory, frames: pool, config }) };
}

/** The flags of a leaf as a 4 KiB page has them. */
function asRegular(flags: number, size: number): number {
  if (size === PageSize.Regular) return flags;
  const pat = (flags & PteFlags.PatLarge) !== 0 ? PteFlags.Pat : 0;
  return ((flags & ~PteFlags.Large & ~PteFlags.PatLarge) | pat) >>> 0;
}

describe('operations on pages are those of a map of pages', () => {
  test.each(CONFIGS.map((config) => [JSON.stringify(config), config] as const))('%s', (_, config) => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 20, size: 'max' }), fc.array(place), (commands, probes) => {
        const { memory, pool, table } = make(config);
        const model = new Model();
        // A table without pages stays, and is in the way of a larger page.
        const mayHoldTable = (at: bigint, size: number): boolean =>
          table
            .walk(at as VirtAddr)
            .path.some(
              ({ level, entry }) => level === SIZES.indexOf(size as PageSize) && entry.present && !entry.leaf,
            );
        // Two objects for one root: each must see the changes of the other.
        const other = PageTable.open(table.root, { memory, frames: pool, config });
        for (const [i, command] of commands.entries()) {
          const before = snapshot(memory, pool);
          const expected = apply(model, command, config.encryption !== undefined, mayHoldTable);
          expect(run(() => perform(i % 3 === 1 ? other : table, command))).toBe(expected);
          if (expected !== undefined) expect(snapshot(memory, pool)).toEqual(before);
        }
        const places = [...probes, ...commands.flatMap(({ at }) => [at, at + 0x1000n, at ^ 0x20_0000n])];
        for (const at of places) {
          const vaddr = (BASE + at + 0x123n) as VirtAddr;
          const found = model.at(BASE + at);
          const page = found && { ...found[1], paddr: found[1].paddr + (vaddr - found[0]) };
          expect(table.translate(vaddr)).toBe(page?.paddr);
          expect(other.translate(vaddr)).toBe(page?.paddr);
          const walked = table.walk(vaddr).page;
          expect(walked === undefined).toBe(page === undefined);
          const slow = slowWalk(memory, table.root, config, vaddr);
          expect(walked?.paddr).toBe(slow?.paddr);
          expect(walked?.writable).toBe(slow?.writable);
          expect(walked?.user).toBe(slow?.user);
          expect(walked?.executable).toBe(slow?.executable);
          if (walked === undefined || page === undefined) continue;
          expect(walked).toMatchObject({ paddr: page.paddr, size: page.size, shared: page.shared });
          expect(asRegular(walked.flags, walked.size)).toBe(page.flags);
        }
        expect(countTables(memory, table.root, config)).toBe(pool.inUse.size);
      }),
    );
  });
});

describe('all or nothing', () => {
  test('an operation that runs out of frames, at any frame, changes nothing', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 8 }), command, (setup, last) => {
        const config = CONFIGS[0]!;
        // The number of frames that the last command takes, measured on a copy.
        const twin = make(config);
        for (const command of setup) run(() => perform(twin.table, command));
        const held = twin.pool.inUse.size;
        const outcome = run(() => perform(twin.table, last));
        const needed = twin.pool.inUse.size - held;
        for (let left = 0; left < needed; left += 1) {
          const { memory, pool, table } = make(config);
          for (const command of setup) run(() => perform(table, command));
          pool.left = left;
          const before = snapshot(memory, pool);
          expect(run(() => perform(table, last))).toBe('OUT_OF_MEMORY');
          expect(snapshot(memory, pool)).toEqual(before);
          pool.left = 100;
          expect(run(() => perform(table, last))).toBe(outcome);
        }
      }),
    );
  });
});

// P43
describe('splitting keeps every bit', () => {
  const leaf = fc.record({
    level: fc.constantFrom(1, 2),
    bits: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    index: fc.integer({ min: 0, max: 511 }),
  });

  test.each(CONFIGS.map((config) => [JSON.stringify(config), config] as const))('%s', (_, config) => {
    fc.assert(
      fc.property(leaf, ({ level, bits, index }) => {
        const { memory, pool, table } = make(config);
        const size = level === 1 ? 0x20_0000n : 0x4000_0000n;
        const width = 1n << BigInt(config.physicalBits);
        const encryption = 1n << BigInt(config.encryption?.bit ?? 63);
        // Any bits that are not reserved: flags, software bits, key, NX, PAT, encryption, and an address.
        const address = bits & (width - 1n) & -size & ~encryption;
        const entry = (bits & ~0xf_ffff_ffff_e000n) | (bits & encryption) | address | 0x81n;
        const vaddr = virtAddr(BASE);
        table[level === 1 ? 'map2m' : 'map1g'](vaddr, physAddr(0), 0);
        const step = table.walk(vaddr).path.at(-1);
        writePhys64(memory, ((step?.table ?? 0n) + BigInt(8 * (step?.index ?? 0))) as PhysAddr, entry);

        const page = (vaddr + (size / 512n) * BigInt(index) + (level === 2 ? 0x7000n : 0n)) as VirtAddr;
        const before = table.walk(page).page;
        const tables = pool.inUse.size;
        table.split4k(page);
        expect(pool.inUse.size).toBe(tables + level);
        const after = table.walk(page);
        const lowBits = (entry & 0xf7fn) | (((entry >> 12n) & 1n) << 7n);
        expect(after.path.at(-1)?.entry.raw).toBe(
          (entry & 0xfff0_0000_0000_0000n) | (entry & encryption) | (address + (page - vaddr)) | lowBits,
        );
        expect(after.page).toMatchObject({
          paddr: before?.paddr,
          shared: before?.shared,
          writable: before?.writable,
          user: before?.user,
          executable: before?.executable,
        });
        for (const { entry: parent } of after.path.slice(0, -1)) {
          expect(parent.raw & 0xfffn).toBe(0x27n);
          expect(parent.shared).toBe(false);
        }
        expect(readPhys64(memory, (after.path.at(-1)?.table ?? 0n) as PhysAddr)).not.toBe(0n);

        // Collapsing is the reverse: the same 64 bits, PAT in its old place, and as many tables as before.
        expect(table.collapse(page)).toBe(Number(size));
        expect(table.walk(page).path.at(-1)?.entry.raw).toBe(entry);
        expect(pool.inUse.size).toBe(tables);
      }),
    );
  });
});

describe('the result of an operation does not depend on earlier calls', () => {
  // Few places, so that they are visited again: two in one leaf table, two elsewhere.
  const spot = fc.constantFrom(0n, 0x1000n, 0x20_0000n, 0x4000_0000n);
  const step = fc.record({
    at: spot,
    ask: fc.constantFrom('translate', 'walk', 'share', 'encrypt'),
    // Bits to flip in one entry of the walk: the table below moves, is cut off, is corrupted, or is outside memory.
    flip: fc.option(
      fc.record({
        level: fc.integer({ min: 0, max: 2 }),
        bits: fc.constantFrom(1n, 0x80n, 1n << 12n, 1n << 34n, 1n << 34n, 1n << 45n, 1n << 51n),
      }),
      { nil: undefined, freq: 4 },
    ),
  });

  test('even if tables are cut off, moved and corrupted in between', () => {
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 12 }),
        fc.array(step, { maxLength: 40, size: 'max' }),
        (setup, steps) => {
          const config = pagingConfig({ cBit: 51, physicalBits: 44 });
          const { memory, pool, table } = make(config);
          for (const command of setup) run(() => perform(table, command));
          for (const at of [0n, 0x20_0000n, 0x4000_0000n]) {
            run(() => table.map4k((BASE + at) as VirtAddr, physAddr(0x5000), PteFlags.Writable));
          }
          for (const { at, ask, flip } of steps) {
            const vaddr = (BASE + at) as VirtAddr;
            const fresh = PageTable.open(table.root, { memory, config });
            if (flip !== undefined && run(() => fresh.walk(vaddr)) === undefined) {
              const entry = fresh.walk(vaddr).path.find(({ level }) => level === flip.level);
              if (entry !== undefined) {
                const paddr = (entry.table + BigInt(8 * entry.index)) as PhysAddr;
                writePhys64(memory, paddr, readPhys64(memory, paddr) ^ flip.bits);
              }
            }
            const question = (asked: PageTable): unknown => {
              let answer: unknown;
              const code = run(() => {
                if (ask === 'translate') answer = asked.translate(vaddr);
                else if (ask === 'walk') answer = asked.walk(vaddr).path.map(({ entry }) => entry.raw);
                else if (ask === 'share') asked.setShared4k(vaddr);
                else asked.setEncrypted4k(vaddr);
              });
              return code ?? answer;
            };
            const remembered = question(table);
            const after = snapshot(memory, pool);
            // Sharing a page twice equals sharing it once, so the second call goes to the same table.
            expect(question(PageTable.open(table.root, { memory, frames: pool, config }))).toEqual(
              remembered,
            );
            expect(snapshot(memory, pool)).toEqual(after);
          }
        },
      ),
    );
  });
});
