/** The tables of booted kernels, in every format, compared with the listings of the emulator: see `fixtures/README.md`. */
import { createHash } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { QemuMem, QemuTlb } from '../../src/command/qemu-listing.ts';
import type { Renderer } from '../../src/command/renderer.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { listLeaves, listRuns } from '../../src/view/listing.ts';
import type { ReportRecord } from '../../src/view/record.ts';
import { summarize } from '../../src/view/summary.ts';
import { translationOf } from '../../src/view/translation.ts';
import { fixture, fixtureText, open, view } from '../support/support.ts';

const ALL = { within: undefined, all: false };

function lines(records: Iterable<ReportRecord>, renderer: Renderer): string {
  const rendered = Array.from(records, (record) => renderer.render(record)).filter(
    (line) => line !== undefined,
  );
  return `${rendered.join('\n')}\n`;
}

/** Compares line by line, and shows the first differences. */
function sameLines(text: string, expected: string): void {
  const found = text.split('\n');
  const different = expected.split('\n').flatMap((line, i) => (line === found[i] ? [] : [[line, found[i]]]));
  expect(different.slice(0, 5)).toEqual([]);
  expect(found).toHaveLength(expected.split('\n').length);
}

function translationsAgree(opened: DumpView, name: string): void {
  const pairs = JSON.parse(fixtureText(name)) as [string, string | null][];
  const found = pairs.map(([vaddr]) => {
    const { paddr } = translationOf(opened, BigInt(vaddr));
    return [vaddr, paddr === null ? null : `0x${paddr.toString(16)}`];
  });
  expect(found).toEqual(pairs);
  expect(pairs.length).toBeGreaterThan(200);
}

describe.each([
  ['case-a.frames.gz', 'case-a', 74_036],
  ['case-f.frames.gz', 'case-f', 9845],
  ['core-a.sparse.gz', 'case-a', 74_036],
  ['core-a-paging.sparse.gz', 'case-a', 74_036],
])('%s', (file, name, count) => {
  let opened: DumpView;
  beforeAll(async () => {
    opened = view(await open(fixture(file)));
  });

  test(`its ${count} leaves are exactly those of info tlb`, () => {
    sameLines(lines(listLeaves(opened, ALL), new QemuTlb()), fixtureText(`${name}.info-tlb.txt.gz`));
    expect([...listLeaves(opened, ALL)].filter(({ type }) => type === 'leaf')).toHaveLength(count);
  });

  test('its runs, joined, are those of info mem', () => {
    sameLines(lines(listRuns(opened, ALL), new QemuMem()), fixtureText(`${name}.info-mem.txt.gz`));
  });

  test('translations are those of gva2gpa', () => {
    translationsAgree(opened, `${name}.gva2gpa.json.gz`);
  });

  test('its summary has the counts of its leaves', () => {
    const sums = new Map<string, number>();
    for (const record of listLeaves(opened, ALL)) {
      if (record.type !== 'leaf') continue;
      const key = [record.pageSize, record.user, record.writable, record.executable].join();
      sums.set(key, (sums.get(key) ?? 0) + 1);
    }
    const found = [...summarize(opened, ALL)].find((record) => record.type === 'summary');
    const rows = found?.rows.map(({ pageSize, user, writable, executable, pages }) => [
      [pageSize, user, writable, executable].join(),
      pages,
    ]);
    expect(new Map(rows as [string, number][])).toEqual(sums);
    expect(found?.pages).toBe(count);
  });
});

describe('la57.frames.gz: 5 levels, memory above 4 GiB, a 1 GiB page, the user half under page-table isolation', () => {
  let opened: DumpView;
  beforeAll(async () => {
    opened = view(await open(fixture('la57.frames.gz')));
  });

  test('its leaves are those of info tlb', () => {
    const all = lines(listLeaves(opened, ALL), new QemuTlb());
    // The fixture leaves out the 65,536 lines of the espfix area, which maps one page again and again. The digest has them.
    const others = all.split('\n').filter((line) => !/^ffffff[0-7]/.test(line));
    sameLines(others.join('\n'), fixtureText('la57.info-tlb.txt.gz'));
    expect(createHash('sha256').update(all).digest('hex')).toBe(
      'c37adf2a59d6877cd6a8d34d602396fbf4fa02a576e308d7934245908adb7087',
    );
  });

  test('translations are those of gva2gpa', () => {
    translationsAgree(opened, 'la57.gva2gpa.json.gz');
  });

  test('pages that need five levels are listed within bounds', () => {
    const within = { start: 0x4_0000_0000_0000n as never, end: 0x100_0000_0000_0000n };
    const found = [...listLeaves(opened, { within, all: false })].flatMap((record) =>
      record.type === 'leaf' ? [record.start] : [],
    );
    expect(found).toEqual([0x4_0000_0000_0000n, 0x4_0000_0000_2000n, 0x4_0000_0000_4000n]);
  });

  test('a 1 GiB page is one leaf', () => {
    const giant = [...listLeaves(opened, ALL)].filter(
      (record) => record.type === 'leaf' && record.pageSize === 0x4000_0000,
    );
    expect(giant).toMatchObject([{ start: 0x7f78_4000_0000n, paddr: 0x1_4000_0000n }]);
  });
});
