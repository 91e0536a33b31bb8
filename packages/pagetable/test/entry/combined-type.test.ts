import { describe, expect, test } from 'vitest';
import {
  type CombinedPatType,
  coherentType,
  combineGuestAndHostTypes,
  combineMemoryTypes,
} from '../../src/entry/combined-type.ts';
import type { MemoryType, MtrrType } from '../../src/entry/memory-type.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';

/** Intel SDM vol. 3A, table 11-7, row by row: MTRR type, PAT type, effective type. */
const INTEL = `
UC UC  UC    WC UC  UC    WT UC  UC    WB UC  UC    WP UC  UC
UC UC- UC    WC UC- WC    WT UC- UC    WB UC- UC    WP UC- WC
UC WC  WC    WC WC  WC    WT WC  WC    WB WC  WC    WP WC  WC
UC WT  UC    WC WT  UC    WT WT  WT    WB WT  WT    WP WT  WT
UC WB  UC    WC WB  WC    WT WB  WT    WB WB  WB    WP WB  WP
UC WP  UC    WC WP  UC    WT WP  WP    WB WP  WP    WP WP  WP`;

/** AMD64 APM vol. 2, table 7-11, with its rows of several MTRR types: PAT type, MTRR types, effective type. */
const AMD = `
UC  UC UC
UC  WC,WP,WT,WB CD
UC- UC UC
UC- WC WC
UC- WP,WT,WB CD
WC  UC,WC,WP,WT,WB WC
WP  UC UC
WP  WC CD
WP  WP WP
WP  WT CD
WP  WB WP
WT  UC UC
WT  WC,WP CD
WT  WT,WB WT
WB  UC UC
WB  WC WC
WB  WP WP
WB  WT WT
WB  WB WB`;

/** AMD64 APM vol. 2, table 15-20. */
const AMD_NESTED = `
    UC WC WP  WT  WB
UC  UC CD CD  CD  CD
UC- UC WC CD  CD  CD
WC  WC WC WC  WC  WC
WC+ WC WC WC+ WC+ WC+
WP  UC CD WP  CD  WP
WT  UC CD CD  WT  WT
WB  UC WC WP  WT  WB`;

/** AMD64 APM vol. 2, table 15-19: rows by the guest's type. */
const NESTED = `
    UC UC- WC WP  WT  WB
UC  UC UC  UC UC  UC  UC
UC- UC UC- WC UC  UC  UC
WC  WC WC  WC WC+ WC+ WC+
WP  UC UC  UC WP  UC  WP
WT  UC UC  UC UC  WT  WT
WB  UC UC  WC WP  WT  WB`;

const words = (text: string): string[] => text.trim().split(/\s+/);

/** The cells of a grid: row, column, value. */
function cellsOf(grid: string): string[][] {
  const [head, ...rows] = grid.split('\n').slice(1).map(words);
  return rows.flatMap(([row, ...values]) => values.map((value, i) => [row!, head![i]!, value]));
}

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe('combineMemoryTypes', () => {
  // P61
  test('has the 30 rows of Intel', () => {
    const cells = words(INTEL);
    expect(cells).toHaveLength(90);
    for (let i = 0; i < cells.length; i += 3) {
      const [mtrr, pat, effective] = cells.slice(i, i + 3);
      expect([mtrr, pat, combineMemoryTypes(pat as MemoryType, mtrr as MtrrType, 'intel')]).toEqual([
        mtrr,
        pat,
        effective,
      ]);
    }
  });

  // P61, P62
  test('has the 30 rows of AMD', () => {
    const rows = AMD.split('\n')
      .slice(1)
      .map(words)
      .flatMap(([pat, mtrrs, effective]) => mtrrs!.split(',').map((mtrr) => [pat!, mtrr, effective!]));
    expect(rows).toHaveLength(30);
    for (const [pat, mtrr, effective] of rows) {
      expect(combineMemoryTypes(pat as MemoryType, mtrr as MtrrType, 'amd')).toBe(effective);
    }
  });

  // P72
  test('has the 35 cells of the table for nested paging', () => {
    const cells = cellsOf(AMD_NESTED);
    expect(cells).toHaveLength(35);
    for (const [pat, mtrr, effective] of cells) {
      expect([pat, mtrr, combineMemoryTypes(pat as CombinedPatType, mtrr as MtrrType, 'amd')]).toEqual([
        pat,
        mtrr,
        effective,
      ]);
    }
  });

  test('never makes cacheable what an MTRR or PAT makes UC', () => {
    const uncacheable = new Set(['UC', 'CD', 'WC', 'WC+']);
    for (const vendor of ['amd', 'intel'] as const) {
      for (const pat of ['UC', 'UC-', 'WC', 'WT', 'WP', 'WB'] as const) {
        expect(uncacheable.has(combineMemoryTypes(pat, 'UC', vendor))).toBe(true);
      }
      for (const mtrr of ['UC', 'WC', 'WT', 'WP', 'WB'] as const) {
        expect(uncacheable.has(combineMemoryTypes('UC', mtrr, vendor))).toBe(true);
        expect(combineMemoryTypes('WB', mtrr, vendor)).toBe(mtrr);
      }
    }
  });

  test('refuses types and vendors that do not exist', () => {
    const calls: (() => unknown)[] = [
      () => combineMemoryTypes('WC+', 'WB', 'intel'),
      () => combineMemoryTypes('CD' as never, 'WB', 'amd'),
      () => combineMemoryTypes('WB', 'UC-' as never, 'amd'),
      () => combineMemoryTypes('WB', undefined as never, 'amd'),
      () => combineMemoryTypes('WB', 'WB', 'via' as never),
      () => combineMemoryTypes('toString' as never, 'WB', 'amd'),
      () => combineGuestAndHostTypes('WC+' as never, 'WB'),
      () => combineGuestAndHostTypes('WB', 'CD' as never),
    ];
    for (const call of calls) expect(codeOf(call)).toBe('INVALID_CPU_STATE');
  });
});

describe('combineGuestAndHostTypes', () => {
  // P72
  test('has the 36 cells of its table', () => {
    const cells = cellsOf(NESTED);
    expect(cells).toHaveLength(36);
    for (const [guest, host, combined] of cells) {
      expect([guest, host, combineGuestAndHostTypes(guest as MemoryType, host as MemoryType)]).toEqual([
        guest,
        host,
        combined,
      ]);
    }
  });
});

describe('coherentType', () => {
  // P12
  test('replaces UC and WC alone', () => {
    const types = ['UC', 'WC', 'WT', 'WP', 'WB', 'CD', 'WC+'] as const;
    expect(types.map(coherentType)).toEqual(['CD', 'WC+', 'WT', 'WP', 'WB', 'CD', 'WC+']);
  });
});
