import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../src/page-table-error.ts';
import { type PagingOptions, pagingConfig, pagingConfigFromRegisters } from '../src/paging-config.ts';

describe('pagingConfig', () => {
  test('of nothing is a current EPYC without encryption, frozen', () => {
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

  test('cBit is short for encryption by C-bit', () => {
    expect(pagingConfig({ cBit: 47 }).encryption).toEqual({ mode: 'c-bit', bit: 47 });
    expect(Object.isFrozen(pagingConfig({ cBit: 47 }).encryption)).toBe(true);
  });

  test.each([
    ['levels', { levels: 3 }],
    ['physicalBits', { physicalBits: 31 }],
    ['physicalBits', { physicalBits: 53 }],
    ['physicalBits', { physicalBits: 40.5 }],
    ['physicalBits', { physicalBits: Number.NaN }],
    ['cBit', { cBit: 31 }],
    ['cBit', { cBit: 52 }],
    ['cBit', { cBit: 51, encryption: { mode: 'c-bit', bit: 51 } }],
    ['encryption.bit', { encryption: { mode: 'vtom', bit: 63 } }],
    ['encryption.mode', { encryption: { mode: 'sme', bit: 47 } }],
    ['vendor', { vendor: 'via' }],
    ['noExecute', { noExecute: 1 }],
  ])('a bad %s is refused by name', (field, options) => {
    let error: unknown;
    try {
      pagingConfig(options as PagingOptions);
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'INVALID_CONFIG') && error.details.field).toBe(field);
  });
});

describe('pagingConfigFromRegisters', () => {
  test('takes levels, global pages and NX from CR4 and EFER', () => {
    const options = { physicalBits: 40, vendor: 'intel' } as const;
    expect(pagingConfigFromRegisters({ cr4: 0x750ef0n, efer: 0xd01n }, options)).toEqual(
      pagingConfig({ ...options, levels: 4, globalPages: true, noExecute: true }),
    );
    expect(pagingConfigFromRegisters({ cr4: 0x1020n, efer: 0x500n }, options)).toEqual(
      pagingConfig({ ...options, levels: 5, globalPages: false, noExecute: false }),
    );
    expect(pagingConfigFromRegisters({ cr4: 0x20n }, { noExecute: false }).noExecute).toBe(false);
  });

  test('refuses what is no register', () => {
    expect(() => pagingConfigFromRegisters({ cr4: 1n << 64n })).toThrow(/cr4 cannot be/);
    expect(() => pagingConfigFromRegisters({ cr4: 0n, efer: 1 as unknown as bigint })).toThrow(
      /efer cannot be/,
    );
  });
});
