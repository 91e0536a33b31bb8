/** The tables of booted kernels against the emulator's own listings: see `fixtures/README.md`. */
import { PageSize, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { fixtureBytes, fixturesOf, fixtureText } from '../support/fixtures.ts';
import { openKernelTables } from '../support/kernel-tables.ts';

const hex16 = (value: bigint): string => value.toString(16).padStart(16, '0');

/** The letters of `info tlb`: bits of the leaf alone. It shows bit 7 for large pages only. */
function letters(flags: number, size: PageSize): string {
  const large = size === PageSize.Regular ? 0 : PteFlags.Large;
  return (
    [
      ['X', PteFlags.NoExecute],
      ['G', PteFlags.Global],
      ['P', large],
      ['D', PteFlags.Dirty],
      ['A', PteFlags.Accessed],
      ['C', PteFlags.CacheDisable],
      ['T', PteFlags.WriteThrough],
      ['U', PteFlags.User],
      ['W', PteFlags.Writable],
    ] as const
  )
    .map(([letter, bit]) => ((flags & bit) !== 0 ? letter : '-'))
    .join('');
}

/** Compares line by line, and shows the first few that differ. */
function sameLines(lines: readonly string[], listing: string): void {
  const expected = listing.trimEnd().split(/\r?\n/);
  const different = expected.flatMap((line, i) => (line === lines[i] ? [] : [[line, lines[i]]]));
  expect(different.slice(0, 5)).toEqual([]);
  expect(lines).toHaveLength(expected.length);
}

/** The number of leaves of 4K and of 2M in the files of `fixtures/`, so that a lost one is noticed. */
const COUNTS: Record<string, readonly [number, number]> = { 'case-a': [73_891, 145], 'case-f': [9736, 109] };

describe.each(fixturesOf('.frames.gz'))('%s', (name) => {
  const { table } = openKernelTables(name);

  test('leaves are exactly those of info tlb', () => {
    const leaves = [...table.leaves()];
    sameLines(
      leaves.map(
        ({ vaddr, frame, flags, size }) => `${hex16(vaddr)}: ${hex16(frame)} ${letters(flags, size)}`,
      ),
      fixtureText(`${name}.info-tlb.txt.gz`),
    );
    const count = (wanted: PageSize): number => leaves.filter(({ size }) => size === wanted).length;
    const found = [count(PageSize.Regular), count(PageSize.Huge)];
    expect(found).toEqual(COUNTS[name] ?? found);
  });

  test('mappings, joined where user and writable agree, are the runs of info mem', () => {
    const lines: string[] = [];
    let start = 0n;
    let end = -1n;
    let rights = '';
    const flush = (): void => {
      if (end >= 0n) lines.push(`${hex16(start)}-${hex16(end)} ${hex16(end - start)} ${rights}`);
    };
    for (const { region, user, writable } of table.mappings()) {
      const found = `${user ? 'u' : '-'}r${writable ? 'w' : '-'}`;
      if (region.start !== end || found !== rights) {
        flush();
        start = region.start;
        rights = found;
      }
      end = region.end;
    }
    flush();
    sameLines(lines, fixtureText(`${name}.info-mem.txt.gz`));
  });

  test('mappings and leaves agree', () => {
    const pages: unknown[] = [];
    for (const { region, paddr, pageSize, writable, user, executable, shared } of table.mappings()) {
      let at = paddr as bigint;
      for (const vaddr of region.iterPages(pageSize)) {
        pages.push([vaddr, at, pageSize, writable, user, executable, shared]);
        at += BigInt(pageSize);
      }
    }
    const leaves = [...table.leaves()].map(({ vaddr, frame, size, writable, user, executable, shared }) => [
      vaddr,
      frame,
      size,
      writable,
      user,
      executable,
      shared,
    ]);
    expect(pages).toEqual(leaves);
  });

  test('translations are those of gva2gpa', () => {
    const pairs = JSON.parse(fixtureBytes(`${name}.gva2gpa.json.gz`).toString('utf8')) as [
      string,
      string | null,
    ][];
    const found = pairs.map(([vaddr]) => {
      const result = table.access(BigInt(vaddr) as VirtAddr, 'read', undefined, { update: false });
      if (result.type === 'general-protection') return [vaddr, null];
      const paddr = table.translate(BigInt(vaddr) as VirtAddr);
      return [vaddr, paddr === undefined ? null : `0x${paddr.toString(16)}`];
    });
    expect(found).toEqual(pairs);
    expect(found.length).toBeGreaterThan(200);
  });
});
