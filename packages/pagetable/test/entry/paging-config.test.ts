import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import {
  type PagingOptions,
  pagingConfig,
  pagingConfigFromRegisters,
} from '../../src/entry/paging-config.ts';

describe('pagingConfig', () => {
  test('has the defaults of a current EPYC without encryption, and is frozen', () => {
    const config = pagingConfig();
    expect(config).toEqual({
      levels: 4,
      physicalBits: 52,
      encryption: undefined,
      noExecute: true,
      globalPages: true,
      giantPages: true,
      vendor: 'amd',
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test('takes `cBit` as short for encryption by C-bit', () => {
    expect(pagingConfig({ cBit: 47 }).encryption).toEqual({ mode: 'c-bit', bit: 47 });
    expect(Object.isFrozen(pagingConfig({ cBit: 47 }).encryption)).toBe(true);
  });

  test.each<[object, string]>([
    [{ levels: 3 }, 'levels cannot be 3: pass 4 or 5'],
    [{ physicalBits: 31 }, 'physicalBits cannot be 31: pass an integer from 32 to 52'],
    [{ physicalBits: 53 }, 'physicalBits cannot be 53: pass an integer from 32 to 52'],
    [{ physicalBits: 40.5 }, 'physicalBits cannot be 40.5: pass an integer from 32 to 52'],
    [{ physicalBits: Number.NaN }, 'physicalBits cannot be NaN: pass an integer from 32 to 52'],
    [{ cBit: 31 }, 'cBit cannot be 31: pass an integer from 32 to 51'],
    [{ cBit: 52 }, 'cBit cannot be 52: pass an integer from 32 to 51'],
    [{ cBit: 40.5 }, 'cBit cannot be 40.5: pass an integer from 32 to 51'],
    [
      { cBit: 51, encryption: { mode: 'c-bit', bit: 51 } },
      'cBit cannot be 51: pass either `encryption` or `cBit`, not both',
    ],
    [{ encryption: { mode: 'vtom', bit: 63 } }, 'encryption.bit cannot be 63: pass an integer from 32 to 51'],
    [{ encryption: { mode: 'vtom' } }, 'encryption.bit cannot be undefined: pass an integer from 32 to 51'],
    [{ encryption: { mode: 'sme', bit: 47 } }, `encryption.mode cannot be "sme": pass 'c-bit' or 'vtom'`],
    [{ vendor: 'via' }, `vendor cannot be "via": pass 'amd' or 'intel'`],
    [{ noExecute: 1 }, 'noExecute cannot be 1: pass true or false'],
    [{ globalPages: null }, 'globalPages cannot be null: pass true or false'],
    [{ giantPages: 'yes' }, 'giantPages cannot be "yes": pass true or false'],
  ])('refuses %o', (options, words) => {
    let error: unknown;
    try {
      pagingConfig(options as PagingOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'INVALID_CONFIG') && error.message).toContain(words);
  });

  test('accepts the bounds of each range', () => {
    for (const physicalBits of [32, 52])
      expect(pagingConfig({ physicalBits }).physicalBits).toBe(physicalBits);
    for (const bit of [32, 51]) {
      expect(pagingConfig({ cBit: bit }).encryption?.bit).toBe(bit);
      expect(pagingConfig({ encryption: { mode: 'vtom', bit } }).encryption).toEqual({ mode: 'vtom', bit });
    }
  });
});

describe('pagingConfigFromRegisters', () => {
  // P1, P39
  test('reads levels, global pages and NX from CR4 and EFER', () => {
    const options = { physicalBits: 40, vendor: 'intel' } as const;
    expect(pagingConfigFromRegisters({ cr4: 0x750ef0n, efer: 0xd01n }, options)).toEqual(
      pagingConfig({ ...options, levels: 4, globalPages: true, noExecute: true }),
    );
    expect(pagingConfigFromRegisters({ cr4: 0x1020n, efer: 0x500n }, options)).toEqual(
      pagingConfig({ ...options, levels: 5, globalPages: false, noExecute: false }),
    );
    expect(pagingConfigFromRegisters({ cr4: 0x20n }, { noExecute: false }).noExecute).toBe(false);
  });

  test('refuses values that are not registers of 64 bits', () => {
    expect(() => pagingConfigFromRegisters({ cr4: 1n << 64n })).toThrow(
      'cr4 cannot be 0x10000000000000000: pass a bigint of 64 bits',
    );
    expect(() => pagingConfigFromRegisters({ cr4: 0n, efer: 1 as unknown as bigint })).toThrow(
      'efer cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits',
    );
  });
});
