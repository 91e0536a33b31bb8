import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig, pagingConfigFromRegisters } from '../../src/entry/paging-config.ts';
import {
  type ProcessorFeatures,
  processorFeatures,
  reservedAddressBits,
} from '../../src/entry/processor-features.ts';

const bits = (...ranges: readonly (readonly [high: number, low: number])[]): bigint =>
  ranges.reduce((sum, [high, low]) => sum | ((1n << BigInt(high + 1)) - (1n << BigInt(low))), 0n);

test('the default is a current EPYC without a C-bit, frozen', () => {
  const cpu = processorFeatures();
  expect(cpu).toEqual({
    vendor: 'amd',
    physicalBits: 52,
    cr4Mask: bits([12, 0], [18, 16], [23, 20]),
    eferMask: bits([0, 0], [8, 8], [12, 10], [15, 14], [18, 17], [21, 20]),
    lmaWrites: 'ignored',
  });
  expect(Object.isFrozen(cpu)).toBe(true);
});

test('the masks of Intel are those of a current Xeon', () => {
  expect(processorFeatures({ vendor: 'intel' })).toMatchObject({
    cr4Mask: bits([13, 0], [18, 16], [25, 20]),
    eferMask: bits([0, 0], [8, 8], [11, 10]),
  });
});

test('options replace the defaults', () => {
  const options = {
    vendor: 'intel',
    physicalBits: 46,
    cr4Mask: 0x20n,
    eferMask: 0xd00n,
    cBit: 47,
    lmaWrites: 'checked',
  } as const;
  expect(processorFeatures(options)).toEqual(options);
});

test('it can be passed to pagingConfigFromRegisters as its options', () => {
  const cpu = processorFeatures({ physicalBits: 46, cBit: 51 });
  expect(pagingConfigFromRegisters({ cr4: 0x10a0n, efer: 0xd00n }, cpu)).toEqual(
    pagingConfig({ levels: 5, physicalBits: 46, cBit: 51 }),
  );
});

test('reserved address bits are those from the physical width on, without the C-bit', () => {
  expect(reservedAddressBits(processorFeatures())).toBe(bits([63, 52]));
  expect(reservedAddressBits(processorFeatures({ physicalBits: 32 }))).toBe(bits([63, 32]));
  expect(reservedAddressBits(processorFeatures({ physicalBits: 40, cBit: 51 }))).toBe(
    bits([50, 40], [63, 52]),
  );
  expect(reservedAddressBits(processorFeatures({ physicalBits: 48, cBit: 47 }))).toBe(bits([63, 48]));
});

describe('refuses', () => {
  test.each<[string, unknown]>([
    ['vendor', 'via'],
    ['physicalBits', 31],
    ['physicalBits', 53],
    ['physicalBits', 40.5],
    ['physicalBits', '40'],
    ['cr4Mask', 0x20],
    ['cr4Mask', -1n],
    ['cr4Mask', 1n << 64n],
    ['eferMask', null],
    ['eferMask', 1n << 64n],
    // LME without LMA.
    ['eferMask', 0x100n],
    ['cBit', 31],
    ['cBit', 52],
    ['cBit', 47n],
    ['lmaWrites', true],
  ])('%s %o', (field, value) => {
    let error: unknown;
    try {
      processorFeatures({ [field]: value } as Partial<ProcessorFeatures>);
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error, 'INVALID_CONFIG') && error.details).toMatchObject({ field, value });
  });
});
