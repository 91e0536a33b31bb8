import { describe, expect, test } from 'vitest';
import { cacheControl } from '../../src/entry/cache-control.ts';
import { decodeMtrrs } from '../../src/entry/mtrr.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { decodePat, PAT_RESET } from '../../src/entry/pat.ts';

const amd = decodeMtrrs({ defType: 0x806n });
const intel = decodeMtrrs({ defType: 0x806n }, pagingConfig({ vendor: 'intel' }));

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe('cacheControl', () => {
  test('takes a running kernel for what is not given', () => {
    expect(cacheControl({ mtrrs: amd })).toEqual({
      mtrrs: amd,
      pat: decodePat(PAT_RESET),
      paging: true,
      cacheDisabled: false,
      cacheDisable: 'cd',
      mixedPages: 'unspecified',
    });
    expect(cacheControl({ mtrrs: intel }).cacheDisable).toBe('typed');
    expect(Object.isFrozen(cacheControl({ mtrrs: amd }))).toBe(true);
  });

  test('reads PG and CD of CR0', () => {
    const bitsOf = (cr0: bigint) => {
      const { paging, cacheDisabled } = cacheControl({ mtrrs: amd, cr0 });
      return [paging, cacheDisabled];
    };
    expect(bitsOf(0x8005_0033n)).toEqual([true, false]);
    expect(bitsOf(0x6000_0010n)).toEqual([false, true]);
    expect(bitsOf(0xc000_0011n)).toEqual([true, true]);
  });

  test('refuses registers and settings that do not exist', () => {
    const options: Record<string, unknown>[] = [
      { mtrrs: undefined },
      { mtrrs: {} },
      { mtrrs: null },
      { mtrrs: amd, pat: 2n },
      { mtrrs: amd, pat: 6 },
      { mtrrs: amd, cr0: -1n },
      { mtrrs: amd, cr0: 0x8000_0000 },
      { mtrrs: amd, cacheDisable: 'off' },
      { mtrrs: intel, cacheDisable: 'cd' },
      { mtrrs: amd, mixedPages: 'undefined' },
    ];
    for (const given of options) expect(codeOf(() => cacheControl(given as never))).toBe('INVALID_CPU_STATE');
  });
});
