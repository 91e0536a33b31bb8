import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { encodeWords, type RmpEntry } from '../../src/formats/rmp-entry.ts';
import { EntryTable } from '../../src/rmp/entry-table.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';

const MINE: RmpEntry = { ...HYPERVISOR_ENTRY, assigned: true, asid: 1 };
const HUGE: RmpEntry = { ...HYPERVISOR_ENTRY, assigned: true, pageSize: PageSize.Huge };
const PAGES = [0, 1, 5, 510, 511];

/** The entry of a page whose GPA is its SPA. */
const at = (page: number, entry: RmpEntry): RmpEntry => ({ ...entry, gpa: physAddr(page * PAGE_SIZE) });

const wordsOf = (entry: RmpEntry): Uint32Array => {
  const words = new Uint32Array(4);
  encodeWords(entry, words, 0);
  return words;
};

/** How much the versions of {@link PAGES}, then that of the region, grow by an action. */
function growth(table: EntryTable, action: () => void): number[] {
  const versions = (): number[] => [
    ...PAGES.map((page) => table.version(page, false)),
    table.version(5, true),
  ];
  const before = versions();
  action();
  return versions().map((version, k) => version - before[k]!);
}

/** A table with a region of words of its own: entry 7 is unlike the others. */
function separated(): EntryTable {
  const table = new EntryTable();
  table.set(7, MINE);
  expect(table.endOfEqual(0)).toBe(1);
  return table;
}

describe('the versions that grow with a change of', () => {
  test.each<[string, number, Partial<RmpEntry>, number[]]>([
    ['the first word of an entry', 5, { validated: true }, [0, 0, 1, 0, 0, 1]],
    ['the second word of an entry', 5, { asid: 2 }, [0, 0, 1, 0, 0, 1]],
    ['the last entry', 511, { validated: true }, [0, 0, 0, 0, 1, 1]],
    ['an entry to itself', 5, {}, [0, 0, 0, 0, 0, 0]],
    ['masks', 5, { vmplMasks: [1, 0, 0, 0] }, [0, 0, 0, 0, 0, 0]],
    ['the first entry', 0, { validated: true }, [1, 0, 0, 0, 0, 1]],
    [
      'an entry, not the first, of which the size is 2 MiB',
      5,
      { pageSize: PageSize.Huge },
      [0, 0, 1, 0, 0, 1],
    ],
    ['the first entry, to 2 MiB', 0, { pageSize: PageSize.Huge }, [2, 1, 1, 1, 1, 1]],
  ])('%s', (_, page, change, expected) => {
    const table = separated();
    const { changes } = table;
    expect(growth(table, () => table.set(page, { ...HYPERVISOR_ENTRY, ...change }))).toEqual(expected);
    expect(table.changes > changes).toBe(expected.some((by) => by > 0));
  });

  test('the first entry, from 2 MiB to 4 KiB, in a region with words of its own', () => {
    const table = separated();
    table.set(0, HUGE);
    expect(growth(table, () => table.set(0, HYPERVISOR_ENTRY))).toEqual([2, 1, 1, 1, 1, 1]);
  });

  test('the first entry of a region that is alike: its own, or each with 2 MiB', () => {
    const table = new EntryTable();
    expect(growth(table, () => table.set(0, MINE))).toEqual([1, 0, 0, 0, 0, 1]);
    expect(growth(table, () => table.set(0, HUGE))).toEqual([1, 1, 1, 1, 1, 1]);
    expect(table.changes).toBe(2);
  });
});

describe('a region that is replaced as a whole', () => {
  const other = { ...HYPERVISOR_ENTRY, immutable: true };

  test.each<[string, RmpEntry, RmpEntry, number[]]>([
    ['by the same entries', HYPERVISOR_ENTRY, HYPERVISOR_ENTRY, [0, 0, 0, 0, 0, 0]],
    ['by another first entry', MINE, HYPERVISOR_ENTRY, [1, 0, 0, 0, 0, 1]],
    ['by other entries behind the first', HYPERVISOR_ENTRY, other, [0, 1, 1, 1, 1, 1]],
    ['by one page of 2 MiB', HUGE, HYPERVISOR_ENTRY, [1, 1, 1, 1, 1, 1]],
    ['by one page of 2 MiB and other entries', HUGE, other, [1, 1, 1, 1, 1, 1]],
  ])('%s has the versions of what has changed', (_, first, others, expected) => {
    const table = new EntryTable();
    expect(growth(table, () => table.setRegion(0, wordsOf(first), wordsOf(others)))).toEqual(expected);
    expect(table.changes).toBe(1);
    expect(table.countOf(1)).toBe(first.asid);
    expect(table.endOfEqual(0)).toBeGreaterThan(0);
  });

  test('by entries of an ASID counts them, whatever was there', () => {
    for (const table of [new EntryTable(), separated()]) {
      table.setRegion(0, wordsOf({ ...MINE, asid: 2 }), wordsOf(MINE));
      expect([table.countOf(0), table.countOf(1), table.countOf(2)]).toEqual([0, 511, 1]);
      table.setRegion(0, wordsOf(HYPERVISOR_ENTRY), wordsOf(HYPERVISOR_ENTRY));
      expect([table.countOf(1), table.countOf(2)]).toEqual([0, 0]);
    }
  });

  test('has versions that no page of it had before', () => {
    const table = separated();
    table.set(5, MINE);
    table.set(5, HYPERVISOR_ENTRY);
    table.set(0, HUGE);
    const before = Math.max(...PAGES.map((page) => table.version(page, false)));
    const region = table.version(0, true);
    table.setRegion(0, wordsOf(HYPERVISOR_ENTRY), wordsOf(HYPERVISOR_ENTRY));
    for (const page of PAGES) expect(table.version(page, false)).toBe(before + 1);
    expect(table.version(0, true)).toBe(region + 1);
  });
});

describe('regions in a row', () => {
  test('are one run as long as their entries are equal, relative to their addresses', () => {
    const table = new EntryTable();
    table.set(0, MINE);
    expect([table.endOfEqual(0), table.countOf(1)]).toEqual([1, 1]);
    table.set(512, at(512, MINE));
    table.set(1024, MINE);
    expect([0, 1, 2, 3].map((region) => table.endOfEqual(region))).toEqual([
      2,
      2,
      3,
      Number.POSITIVE_INFINITY,
    ]);
    expect(table.countOf(1)).toBe(3);
  });

  test('get the entries and the versions of the first one', () => {
    const table = new EntryTable();
    for (let page = 0; page < 512; page += 1) table.set(page, { ...HUGE, vmplMasks: [1, 0, 0, 0] });
    const { changes } = table;
    expect(table.spread(0, 3)).toBe(3);
    expect(table.changes).toBe(changes + 1);
    expect([table.endOfEqual(0), table.endOfEqual(2), table.isUntouched(1536)]).toEqual([3, 3, true]);
    for (const page of [0, 1, 5, 511])
      for (const huge of [false, true])
        expect(table.version(1024 + page, huge)).toBe(table.version(page, huge));
  });

  test('keep the versions of the first one, which had words of its own', () => {
    const table = new EntryTable();
    table.set(1, at(1, MINE));
    table.set(0, HUGE);
    for (let page = 2; page < 512; page += 1) table.set(page, at(page, MINE));
    expect(growth(table, () => expect(table.spread(0, 3)).toBe(3))).toEqual([0, 0, 0, 0, 0, 0]);
    expect(table.endOfEqual(0)).toBe(3);
  });

  test('stay as they are if the entries of the first one differ, or if it is the only one', () => {
    for (const odd of [1, 2, 511]) {
      const table = new EntryTable();
      table.set(odd, { ...HYPERVISOR_ENTRY, upper: 1 });
      expect([table.spread(0, 3), table.endOfEqual(0)]).toEqual([1, 1]);
      expect(table.isUntouched(512)).toBe(true);
    }
    const alone = separated();
    const { changes } = alone;
    expect([alone.spread(0, 1), alone.changes]).toEqual([1, changes]);
  });

  test('stay as they are if only a version of the first one differs', () => {
    const table = new EntryTable();
    table.set(5, MINE);
    table.set(5, HYPERVISOR_ENTRY);
    expect([table.spread(0, 3), table.endOfEqual(0)]).toEqual([1, 1]);
  });

  test('that get the entries of an ASID are counted, and give up those that they had', () => {
    const table = new EntryTable();
    const first = { ...HYPERVISOR_ENTRY, assigned: true, asid: 3 };
    for (let page = 0; page < 512; page += 1) table.set(page, at(page, MINE));
    table.set(0, first);
    expect(table.spread(0, 4)).toBe(4);
    expect([table.countOf(1), table.countOf(3)]).toEqual([4 * 511, 4]);
    table.set(0, MINE);
    expect(table.spread(0, 4)).toBe(4);
    expect([table.countOf(1), table.countOf(3)]).toEqual([4 * 512, 0]);
  });
});

test('a read writes 16 bytes, and no word behind them', () => {
  const blank = new EntryTable();
  for (const [table, page] of [
    [blank, 5],
    [separated(), 5],
    [separated(), 7],
  ] as const) {
    const own = new Uint32Array(5).fill(9);
    const deciding = new Uint32Array(5).fill(9);
    table.read(page, own);
    table.readDeciding(page, deciding);
    expect([own[4], deciding[4]]).toEqual([9, 9]);
    expect(own).toEqual(deciding);
    expect(own.subarray(0, 4)).toEqual(wordsOf(page === 7 ? MINE : HYPERVISOR_ENTRY));
  }
});

test('the first words of a region are asked one after the other, up to the first one that holds', () => {
  const table = separated();
  const asked: number[] = [];
  const until = (count: number) => (word: number) => asked.push(word) === count;
  expect(table.hasWord(5, 0, until(Number.POSITIVE_INFINITY))).toBe(false);
  expect(asked.splice(0)).toHaveLength(512);
  expect(table.hasWord(5, 1, until(Number.POSITIVE_INFINITY))).toBe(false);
  expect(asked.splice(0)).toHaveLength(511);
  expect(table.hasWord(5, 0, until(3))).toBe(true);
  expect(asked).toHaveLength(3);
});
