import { describe, expect, test } from 'vitest';
import { leafFlags, tableFlags } from '../../src/entry/entry-bits.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { decodePat, encodePat, PAT_RESET, patIndex, tablePatIndex } from '../../src/entry/pat.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';

/** Linux 6.1, `pat_bp_init`: WB WC UC- UC WB WP UC- WT. */
const LINUX = 0x0407_0506_0007_0106n;

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe('decodePat', () => {
  // P11
  test('decodes the value after a reset', () => {
    expect(decodePat(PAT_RESET)).toEqual(['WB', 'WT', 'UC-', 'UC', 'WB', 'WT', 'UC-', 'UC']);
  });

  test('decodes the value that Linux programs', () => {
    expect(decodePat(LINUX)).toEqual(['WB', 'WC', 'UC-', 'UC', 'WB', 'WP', 'UC-', 'WT']);
    expect(encodePat(decodePat(LINUX))).toBe(LINUX);
  });

  test('returns a frozen list', () => {
    expect(Object.isFrozen(decodePat(0n))).toBe(true);
  });

  // P11, P65
  test.each([2n, 3n, 8n, 0x86n, 0xffn])('refuses the encoding %s in every byte', (code) => {
    for (let byte = 0n; byte < 8n; byte += 1n) {
      expect(codeOf(() => decodePat(code << (8n * byte)))).toBe('INVALID_CPU_STATE');
    }
  });

  test('refuses values that are not 64 bits', () => {
    for (const value of [-1n, 2n ** 64n, 6, '6', undefined, null]) {
      expect(codeOf(() => decodePat(value as never))).toBe('INVALID_CPU_STATE');
    }
  });

  test('says which byte is wrong', () => {
    expect(() => decodePat(0x0003_0000n)).toThrow('pat cannot be 0x30000: byte 2 must be 0, 1, 4, 5, 6 or 7');
  });
});

describe('encodePat', () => {
  test('refuses lists of other lengths, and types that PAT cannot hold', () => {
    const seven = Array.from({ length: 7 }, () => 'WB');
    for (const types of [[], seven, [...seven, 'WB', 'WB'], [...seven, 'CD'], [...seven, 6], new Array(8)]) {
      expect(codeOf(() => encodePat(types as never))).toBe('INVALID_CPU_STATE');
    }
    for (const types of [undefined, null, 'WB', { length: 8 }]) {
      expect(codeOf(() => encodePat(types as never))).toBe('INVALID_CPU_STATE');
    }
  });
});

describe('patIndex', () => {
  /** Rows of table 11-11 of the SDM: PAT, PCD, PWT and the index. */
  const rows = [
    [0, 0, 0, 0],
    [0, 0, 1, 1],
    [0, 1, 0, 2],
    [0, 1, 1, 3],
    [1, 0, 0, 4],
    [1, 0, 1, 5],
    [1, 1, 0, 6],
    [1, 1, 1, 7],
  ];

  // P60
  test.each([0, 1, 2] as const)('selects all eight entries at level %i', (level) => {
    for (const [pat, cacheDisable, writeThrough, index] of rows) {
      const bits = { pat: pat === 1, cacheDisable: cacheDisable === 1, writeThrough: writeThrough === 1 };
      expect(patIndex(leafFlags(level, bits), level)).toBe(index);
    }
  });

  // P43
  test('takes bit 7 of a large page as its size, and bit 12 of a small one as address', () => {
    expect(patIndex(PteFlags.Large, 1)).toBe(0);
    expect(patIndex(PteFlags.PatLarge, 2)).toBe(4);
    expect(patIndex(0x1000, 0)).toBe(0);
  });

  test('refuses other levels, and flags that are not 32 bits', () => {
    for (const level of [3, 4, -1, 0.5, undefined]) {
      expect(codeOf(() => patIndex(0, level as never))).toBe('INVALID_ENTRY');
    }
    for (const flags of [0.5, Number.NaN, 2 ** 32, -(2 ** 31) - 1, '0', 0n, undefined]) {
      expect(codeOf(() => patIndex(flags as never, 0))).toBe('INVALID_ENTRY');
      expect(codeOf(() => tablePatIndex(flags as never))).toBe('INVALID_ENTRY');
    }
  });
});

test('the least and the greatest flags of 32 bits have an index', () => {
  expect([tablePatIndex(-0x8000_0000), tablePatIndex(0xffff_ffff)]).toEqual([0, 3]);
  expect([patIndex(-0x8000_0000, 0), patIndex(0xffff_ffff, 0)]).toEqual([0, 7]);
});

test.each<[string, () => unknown, string]>([
  ['half a register', () => decodePat(0.5 as never), 'pat cannot be the number 0.5'],
  ['seven types', () => encodePat(Array(7).fill('WB') as never), 'types cannot be'],
  ['seven types', () => encodePat(Array(7).fill('WB') as never), 'pass eight memory types'],
  ['a type of its own', () => encodePat([...decodePat(0n).slice(1), 'CD'] as never), 'types[7] cannot be'],
  ['a type of its own', () => encodePat(['CD', ...decodePat(0n).slice(1)] as never), 'types[0] cannot be'],
  ['a type of its own', () => encodePat(['CD', ...decodePat(0n).slice(1)] as never), 'pass UC, WC, WT, WP'],
  ['level 3', () => patIndex(0, 3 as never), '3 cannot'],
  ['level 3', () => patIndex(0, 3 as never), 'pages are at levels 0, 1 and 2'],
  ['flags of 33 bits', () => tablePatIndex(2 ** 32), '4294967296 cannot'],
  ['flags of 33 bits', () => tablePatIndex(2 ** 32), 'pass flags of 32 bits'],
])('the error for %s says what it is and what is right', (_, operation, words) => {
  expect(operation).toThrow(words);
});

describe('tablePatIndex', () => {
  // P60
  test('selects the first four entries by PCD and PWT alone', () => {
    for (const noise of [0, PteFlags.Pat, PteFlags.PatLarge, PteFlags.NoExecute | PteFlags.Global]) {
      const bits = [
        {},
        { writeThrough: true },
        { cacheDisable: true },
        { writeThrough: true, cacheDisable: true },
      ];
      expect(bits.map((named) => tablePatIndex(tableFlags(named) | noise))).toEqual([0, 1, 2, 3]);
    }
  });

  // P60
  test('reads the bits of CR3 at the same places', () => {
    expect([0, 0x8, 0x10, 0x18, 0xfe7].map(tablePatIndex)).toEqual([0, 1, 2, 3, 0]);
  });
});
