import { PageSize } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { leafBits, leafFlags, nameEntry, tableBits, tableFlags } from '../../src/entry/entry-bits.ts';
import { decodeEntry, encodeEntry } from '../../src/entry/entry-codec.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';

const config = pagingConfig({ cBit: 51 });

function codeOf(operation: () => unknown): string | undefined {
  try {
    operation();
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
  return undefined;
}

describe('leafFlags', () => {
  test.each([
    ['present', PteFlags.Present],
    ['writable', PteFlags.Present | PteFlags.Writable],
    ['user', PteFlags.Present | PteFlags.User],
    ['writeThrough', PteFlags.Present | PteFlags.WriteThrough],
    ['cacheDisable', PteFlags.Present | PteFlags.CacheDisable],
    ['accessed', PteFlags.Present | PteFlags.Accessed],
    ['dirty', PteFlags.Present | PteFlags.Dirty],
    ['global', PteFlags.Present | PteFlags.Global],
    ['pat', PteFlags.Present | PteFlags.Pat],
    ['noExecute', (PteFlags.Present | PteFlags.NoExecute) >>> 0],
  ])('%s', (name, flags) => {
    expect(leafFlags(0, { [name]: true })).toBe(flags);
    expect(leafFlags(0, { [name]: false, present: false })).toBe(0);
  });

  // P43
  test('puts PAT and PS where the level has them', () => {
    expect([leafFlags(0), leafFlags(1), leafFlags(2)]).toEqual([0x1, 0x81, 0x81]);
    expect(leafFlags(1, { pat: true })).toBe(0x1081);
    expect(leafFlags(2, { pat: true })).toBe(0x1081);
  });

  test('encodes fields of several bits', () => {
    expect(leafFlags(0, { softwareLow: 7, softwareHigh: 127, protectionKey: 15 })).toBe(0x7ff0_0e01);
    expect(leafFlags(0, { protectionKey: 1 })).toBe(0x0800_0001);
    expect(leafFlags(0, { softwareHigh: 1 })).toBe((PteFlags.Software52 | PteFlags.Present) >>> 0);
  });

  // P45
  test('can name the flags with which COCONUT-SVSM maps data', () => {
    const bits = { writable: true, accessed: true, dirty: true, global: true, noExecute: true };
    expect(leafFlags(0, bits)).toBe(PtePreset.Data);
  });

  test('refuses a name, a value and a level that do not exist', () => {
    for (const bits of [
      { writeable: true },
      { writable: 1 },
      { pat: 0 },
      { protectionKey: 16 },
      { protectionKey: -1 },
      { softwareLow: 8 },
      { softwareHigh: 0.5 },
      { softwareHigh: '1' },
      { __proto__: true, toString: true },
    ]) {
      expect(codeOf(() => leafFlags(0, bits as never))).toBe('INVALID_FLAGS');
    }
    for (const bits of [{ dirty: true }, { global: false }, { pat: true }, { protectionKey: 0 }]) {
      expect(codeOf(() => tableFlags(bits as never))).toBe('INVALID_FLAGS');
    }
    for (const level of [3, -1, 0.5]) {
      expect(codeOf(() => leafFlags(level as never))).toBe('INVALID_ENTRY');
      expect(codeOf(() => leafBits(0, level as never))).toBe('INVALID_ENTRY');
    }
  });
});

describe('names and numbers agree', () => {
  const small = (max: number) => fc.integer({ min: 0, max });
  const tableOf = {
    present: fc.boolean(),
    writable: fc.boolean(),
    user: fc.boolean(),
    writeThrough: fc.boolean(),
    cacheDisable: fc.boolean(),
    accessed: fc.boolean(),
    softwareLow: small(7),
    softwareHigh: small(127),
    noExecute: fc.boolean(),
  };
  const leaf = fc.record({
    ...tableOf,
    dirty: fc.boolean(),
    global: fc.boolean(),
    pat: fc.boolean(),
    protectionKey: small(15),
  });

  test('for pages, in both directions, and in an entry', () => {
    fc.assert(
      fc.property(leaf, fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2), (bits, level) => {
        const flags = leafFlags(level, bits);
        expect(leafBits(flags, level)).toEqual(bits);
        const address = 0x4000_0000n as never;
        const entry = encodeEntry({ address, flags, leaf: true, shared: true }, level, config);
        expect(decodeEntry(entry, level, config).flags).toBe(flags);
        const size = [PageSize.Regular, PageSize.Huge, PageSize.Giant][level];
        expect(nameEntry(entry, level, config)).toEqual(
          bits.present
            ? { kind: 'page', level, size, address, shared: true, ...bits }
            : { kind: 'absent', level },
        );
      }),
    );
  });

  test('for entries that lead to tables', () => {
    fc.assert(
      fc.property(fc.record(tableOf), fc.integer({ min: 1, max: 3 }), (bits, level) => {
        const flags = tableFlags(bits);
        expect(tableBits(flags)).toEqual(bits);
        const address = 0x5000n as never;
        const entry = encodeEntry({ address, flags, leaf: false }, level, config);
        expect(nameEntry(entry, level, config)).toEqual(
          bits.present ? { kind: 'table', level, address, ...bits } : { kind: 'absent', level },
        );
      }),
    );
  });
});
