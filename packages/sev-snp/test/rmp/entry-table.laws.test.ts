import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeWords,
  isAssignedWord,
  isHugeWord,
  isImmutableWord,
  type RmpEntry,
} from '../../src/formats/rmp-entry.ts';
import { PAGES_PER_REGION } from '../../src/rmp/alike-entries.ts';
import { EntryTable, regionOf } from '../../src/rmp/entry-table.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';

/*
 * The table of runs against an array with the words of each page. The regions lie at the start of memory, and above 2 TiB,
 * where frame numbers have more than 29 bits.
 */

const REGIONS = 3;
const PAGES = REGIONS * PAGES_PER_REGION;
const FIRST_REGIONS = [0, 2 ** 20 + 5];

const region = fc.nat(REGIONS - 1);
const index = fc.constantFrom(0, 0, 1, 2, 255, 511);
const entry = fc.record({
  assigned: fc.boolean(),
  immutable: fc.boolean(),
  validated: fc.boolean(),
  vmsa: fc.boolean(),
  asid: fc.constantFrom(0, 1, 2, 1023),
  gpa: fc.constantFrom(0, 0x1000, 0x4000_0000).map((at) => physAddr(at)),
  pageSize: fc.constantFrom(PageSize.Regular, PageSize.Huge),
  vmplMasks: fc.constantFrom([0, 0, 0, 0] as const, [0xf, 3, 0, 0xff] as const),
  upper: fc.constantFrom(0, 0, 0xffff_ffff),
  subpageCount: fc.constantFrom(0, 511),
  lock: fc.boolean(),
});
type Fields = typeof entry extends fc.Arbitrary<infer T> ? T : never;

const step = fc.oneof(
  fc.record({ op: fc.constant('set' as const), region, index, entry }),
  fc.record({ op: fc.constant('region' as const), region, entry, others: entry }),
  /** All pages of a region get one entry, whose GPA is as far from each page, or the same for each; then it is spread. */
  fc.record({
    op: fc.constant('all' as const),
    region,
    entry,
    isRelative: fc.boolean(),
    odd: fc.constantFrom(undefined, 2, 511),
  }),
  fc.record({ op: fc.constant('clear' as const), region }),
);

const entryOf = (fields: Fields, page: number): RmpEntry => ({
  ...HYPERVISOR_ENTRY,
  ...fields,
  gpa: physAddr(fields.gpa + BigInt(page * PAGE_SIZE)),
});

const wordsOf = (entry: RmpEntry): Uint32Array => {
  const words = new Uint32Array(4);
  encodeWords(entry, words, 0);
  return words;
};

/** The words of each page, how often each page and each region may have changed, and the entries of each ASID. */
class Twin {
  readonly words = new Uint32Array(4 * PAGES);
  readonly asids: number[] = new Array(PAGES).fill(0);
  /** The pages whose state has changed in a step, and the regions. */
  pages = new Set<number>();
  regions = new Set<number>();

  begin(): void {
    this.pages = new Set();
    this.regions = new Set();
  }

  set(page: number, entry: RmpEntry): void {
    const old = this.words.slice(4 * page, 4 * page + 4);
    encodeWords(entry, this.words, 4 * page);
    this.asids[page] = entry.asid;
    if (old[0] === this.words[4 * page] && old[1] === this.words[4 * page + 1]) return;
    const number = regionOf(page);
    this.regions.add(number);
    this.pages.add(page);
    // The first entry of a 2 MiB page is that of each page of it.
    const isHuge = page % PAGES_PER_REGION === 0 && isHugeWord(old[0]! | this.words[4 * page]!);
    if (isHuge) for (let k = 0; k < PAGES_PER_REGION; k += 1) this.pages.add(page + k);
  }
}

test.each(FIRST_REGIONS)('from region %d on, a table of runs is an array of entries', (firstRegion) => {
  const base = firstRegion * PAGES_PER_REGION;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      const [table, twin] = [new EntryTable(), new Twin()];
      const words = new Uint32Array(4);
      const versionsOf = (huge: boolean): number[] =>
        Array.from({ length: PAGES }, (_, k) => table.version(base + k, huge));
      let before = [versionsOf(false), versionsOf(true)] as const;
      for (const one of steps) {
        twin.begin();
        const { changes } = table;
        const start = one.region * PAGES_PER_REGION;
        const end = Math.min(table.endOfEqual(firstRegion + one.region), firstRegion + REGIONS);
        const set = (page: number, entry: RmpEntry): void => {
          table.set(base + page, entry);
          twin.set(page, entry);
        };
        if (one.op === 'set') set(start + one.index, entryOf(one.entry, start + one.index));
        else if (one.op === 'region') {
          const [first, others] = [entryOf(one.entry, start), entryOf(one.others, 0)];
          table.setRegion(base + start, wordsOf(first), wordsOf(others));
          for (let k = 1; k < PAGES_PER_REGION; k += 1) twin.set(start + k, others);
          twin.set(start, first);
        } else {
          const fields = one.op === 'clear' ? undefined : one.entry;
          for (let k = 0; k < PAGES_PER_REGION; k += 1) {
            const page = start + k;
            if (fields === undefined) set(page, HYPERVISOR_ENTRY);
            else {
              const isOdd = one.op === 'all' && k === one.odd;
              set(page, {
                ...entryOf(fields, one.op === 'all' && one.isRelative ? page : 0),
                lock: isOdd !== fields.lock,
              });
            }
          }
          const next = table.spread(firstRegion + one.region, end);
          expect([firstRegion + one.region + 1, end]).toContain(next);
          for (let other = one.region + 1; other < next - firstRegion; other += 1)
            for (let k = 0; k < PAGES_PER_REGION; k += 1) {
              const page = other * PAGES_PER_REGION + k;
              if (fields === undefined) twin.set(page, HYPERVISOR_ENTRY);
              // With an ASID, the GPA moves with the page.
              else {
                const isOdd = one.op === 'all' && k === one.odd;
                const moved =
                  one.op === 'all' && one.isRelative ? page : fields.asid === 0 ? 0 : page - start - k;
                twin.set(page, { ...entryOf(fields, moved), lock: isOdd !== fields.lock });
              }
            }
        }
        const after = [versionsOf(false), versionsOf(true)] as const;
        const isAnyNewer = after.some((versions, k) =>
          versions.some((own, page) => own !== before[k]![page]),
        );
        if (isAnyNewer) expect(table.changes).toBeGreaterThan(changes);
        for (let page = 0; page < PAGES; page += 1) {
          const number = regionOf(page);
          const problems: string[] = [];
          const same = (from: number): boolean => words.every((word, k) => word === twin.words[4 * from + k]);
          table.read(base + page, words);
          if (!same(page)) problems.push('words');
          const first = number * PAGES_PER_REGION;
          table.readDeciding(base + page, words);
          if (!same(isHugeWord(twin.words[4 * first]!) ? first : page)) problems.push('deciding words');
          const [isNewer, isRegionNewer] = [0, 1].map(
            (k) => after[k as 0 | 1][page] !== before[k as 0 | 1][page],
          );
          if (twin.pages.has(page) && !isNewer) problems.push('the version of a page that has changed');
          if (twin.regions.has(number) && !isRegionNewer)
            problems.push('the version of a region that has changed');
          if (number < one.region && (isNewer || isRegionNewer)) problems.push('a version without a change');
          if (problems.length > 0) expect.unreachable(`page ${page}: ${problems.join(', ')}`);
        }
        for (let number = 0; number < REGIONS; number += 1) {
          const first = number * PAGES_PER_REGION;
          for (const from of [0, 1])
            for (const is of [isAssignedWord, isImmutableWord]) {
              const own = Array.from({ length: PAGES_PER_REGION }, (_, k) => twin.words[4 * (first + k)]!);
              expect(table.hasWord(base + first + 7, from, is)).toBe(own.slice(from).some(is));
            }
          // Regions that are equal have equal versions too.
          const equal = Math.min(table.endOfEqual(firstRegion + number) - firstRegion, REGIONS);
          for (let other = number + 1; other < equal; other += 1)
            for (const k of [0, 1, 511]) {
              const [left, right] = [base + first + k, base + other * PAGES_PER_REGION + k];
              expect(table.version(left, false)).toBe(table.version(right, false));
              expect(table.version(left, true)).toBe(table.version(right, true));
            }
        }
        for (const asid of [1, 2, 1023]) {
          expect(table.countOf(asid)).toBe(twin.asids.filter((own) => own === asid).length);
        }
        before = after;
      }
    }),
    { numRuns: 15 },
  );
});

test('a table that nobody has changed is untouched, and regions that are alike again are one run', () => {
  const table = new EntryTable();
  expect(table.isUntouched(5)).toBe(true);
  expect(table.endOfEqual(0)).toBe(Number.POSITIVE_INFINITY);
  table.set(5, { ...HYPERVISOR_ENTRY, upper: 1 });
  expect([table.isUntouched(0), table.isUntouched(511), table.isUntouched(512)]).toEqual([
    false,
    false,
    true,
  ]);
  expect([table.endOfEqual(0), table.endOfEqual(1)]).toEqual([1, Number.POSITIVE_INFINITY]);
  table.set(5, HYPERVISOR_ENTRY);
  expect(table.endOfEqual(0)).toBe(1);
  expect(table.spread(0, 3)).toBe(3);
  expect([table.endOfEqual(0), table.countOf(1), table.countOf(5000)]).toEqual([
    Number.POSITIVE_INFINITY,
    0,
    0,
  ]);
});

test('a region that is replaced as a whole gives up its entries of ASIDs, and its versions grow', () => {
  const table = new EntryTable();
  const mine = { ...HYPERVISOR_ENTRY, assigned: true, asid: 1 };
  for (const page of [5, 7, 511]) table.set(page, mine);
  // An entry that becomes one of 2 MiB, and 4 KiB again: each page has changed twice more.
  for (const pageSize of [PageSize.Huge, PageSize.Regular]) table.set(0, { ...mine, pageSize });
  expect(table.countOf(1)).toBe(4);
  const before = [0, 5, 6].flatMap((page) => [table.version(page, false), table.version(page, true)]);
  table.setRegion(0, wordsOf(HYPERVISOR_ENTRY), wordsOf(HYPERVISOR_ENTRY));
  expect(table.countOf(1)).toBe(0);
  const after = [0, 5, 6].flatMap((page) => [table.version(page, false), table.version(page, true)]);
  expect(after.every((version, k) => version > before[k]!)).toBe(true);
});
