import { physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EntryFormat } from '../../src/entry/entry-format.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, writePhys64 } from '../../src/memory/phys-memory.ts';
import { tablesOf } from '../../src/walk/table-census.ts';
import type { TableSpace } from '../../src/walk/table-space.ts';

/** Frames start above 4 GiB, so a frame number needs both words of an entry. */
const FIRST = 0x10_0000;
const FRAMES = 9;
/** The places of entries that are used: the first ones, one in the middle, the last. */
const PLACES = [0, 1, 256, 511];

interface Row {
  readonly table: number;
  readonly place: number;
  readonly child: number;
  readonly isPresent: boolean;
  readonly isLarge: boolean;
}

const frame = fc.nat({ max: FRAMES - 1 });
const row: fc.Arbitrary<Row> = fc.record({
  table: frame,
  place: fc.nat({ max: PLACES.length - 1 }),
  child: frame,
  isPresent: fc.integer({ min: 0, max: 4 }).map((one) => one > 0),
  isLarge: fc.integer({ min: 0, max: 6 }).map((one) => one === 0),
});

/** The same memory, whose tables may be read only. */
function readOnly(memory: PhysMemory): PhysMemory {
  return {
    epoch: 0,
    words(of, write) {
      if (write) throw new Error('a census writes nothing');
      return memory.words(of, false);
    },
    wordOffset: (of) => memory.wordOffset(of),
  };
}

function spaceOf(rows: readonly Row[], top: number, foreign: readonly number[], size = FRAMES): TableSpace {
  const start = physAddr(BigInt(FIRST) * 4096n);
  const memory = createPhysMemory({ start, size: size * 4096 });
  for (const { table, place, child, isPresent, isLarge } of rows) {
    const flags = (isPresent ? 1n : 0n) | (isLarge ? 0x80n : 0n);
    const at = physAddr(start + BigInt(table * 4096 + PLACES[place]! * 8));
    writePhys64(memory, at, start + BigInt(child * 4096) + flags);
  }
  const format = new EntryFormat(pagingConfig());
  const used = { memory: readOnly(memory), format, root: FIRST, top, foreign: new Set(foreign) };
  return used as unknown as TableSpace;
}

/** All tables below a table, by following every way down to the last level. */
function* below(entries: ReadonlyMap<string, Row>, table: number, level: number): Generator<number> {
  if (level === 0) return;
  for (let place = 0; place < PLACES.length; place += 1) {
    const one = entries.get(`${table} ${place}`);
    if (one === undefined || !one.isPresent || (one.isLarge && level <= 2)) continue;
    yield one.child;
    yield* below(entries, one.child, level - 1);
  }
}

test('the census finds what the ways from the root lead to, without what foreign entries lead to', () => {
  const foreign = fc.subarray([0, 1, 2, 3]);
  fc.assert(
    fc.property(fc.array(row, { maxLength: 16 }), fc.constantFrom(2, 3, 4), foreign, (rows, top, places) => {
      const entries = new Map(rows.map((one) => [`${one.table} ${one.place}`, one]));
      const others = new Set<number>();
      for (const place of places) {
        const one = entries.get(`0 ${place}`);
        if (one === undefined || !one.isPresent || (one.isLarge && top <= 2)) continue;
        for (const table of [one.child, ...below(entries, one.child, top - 1)]) others.add(table);
      }
      const all = new Set([0, ...below(entries, 0, top)]);
      const own = [...all].filter((table) => !others.has(table));
      const space = spaceOf(
        rows,
        top,
        places.map((place) => PLACES[place]!),
      );
      const found = tablesOf(space);
      expect([...found].sort((a, b) => a - b)).toEqual(own.map((one) => FIRST + one).sort((a, b) => a - b));
      if (own.includes(0)) expect(found[0]).toBe(FIRST);
    }),
  );
});

test('a table outside memory is a bus error, at the last level too', () => {
  const chain = [0, 1, 2, 3].map((table) => ({
    table,
    place: 0,
    child: table + 1,
    isPresent: true,
    isLarge: false,
  }));
  for (let size = 1; size <= 3; size += 1) {
    let error: unknown;
    try {
      tablesOf(spaceOf(chain.slice(0, size), 3, [], size));
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'BUS_ERROR')).toBe(true);
  }
  expect(tablesOf(spaceOf(chain.slice(0, 3), 3, [], 4))).toHaveLength(4);
});

test('the census of tables that all lead to all looks through each one once for each level', () => {
  const size = 64;
  const rows = Array.from({ length: size }, (_, table) =>
    PLACES.map((_, place) => ({
      table,
      place,
      child: (table * 7 + place * 5 + 1) % size,
      isPresent: true,
      isLarge: false,
    })),
  ).flat();
  let reads = 0;
  const space = spaceOf(rows, 4, [], size);
  const memory: PhysMemory = {
    epoch: 0,
    words: (of, write) => {
      reads += 1;
      return space.memory.words(of, write);
    },
    wordOffset: (of) => space.memory.wordOffset(of),
  };
  tablesOf({ ...space, memory });
  const looked = new Set<string>();
  let tables = new Set([0]);
  for (let level = 4; level > 0; level -= 1) {
    for (const table of tables) looked.add(`${table} ${level}`);
    tables = new Set(rows.filter(({ table }) => tables.has(table)).map(({ child }) => child));
  }
  // Its 512 entries, and each table to which they lead.
  expect(reads).toBe(looked.size * (512 + PLACES.length));
  expect(looked.size).toBeGreaterThan(size);
});
