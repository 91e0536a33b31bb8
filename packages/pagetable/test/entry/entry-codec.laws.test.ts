import { physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeEntry, encodeEntry, reservedBits } from '../../src/entry/entry-codec.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';

const config = fc
  .record({
    physicalBits: fc.constantFrom(36, 40, 46, 52),
    noExecute: fc.boolean(),
    giantPages: fc.boolean(),
    vendor: fc.constantFrom<'amd' | 'intel'>('amd', 'intel'),
    encryption: fc.constantFrom(
      undefined,
      { mode: 'c-bit' as const, bit: 51 },
      { mode: 'vtom' as const, bit: 35 },
    ),
  })
  .map((options) => pagingConfig({ ...options, levels: 5 }));
const level = fc.integer({ min: 0, max: 4 });
const entry = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map((bits) => bits | 1n);

/** The reserved bits that are set, written out level by level (Intel SDM vol. 3A, tables 4-14 to 4-19). */
function slowReserved(entry: bigint, level: number, options: ReturnType<typeof pagingConfig>): bigint {
  const { physicalBits, noExecute, giantPages, vendor, encryption } = options;
  let mask = (1n << 52n) - (1n << BigInt(physicalBits));
  if (encryption !== undefined) mask &= ~(1n << BigInt(encryption.bit));
  if (!noExecute) mask |= 1n << 63n;
  const ps = (entry & 0x80n) !== 0n;
  if (level >= 3) mask |= vendor === 'amd' ? 0x180n : 0x80n;
  if (level === 2 && ps) mask |= giantPages ? 0x3fff_e000n : 0x80n;
  if (level === 1 && ps) mask |= 0x1f_e000n;
  return entry & mask;
}

describe('entries', () => {
  // P6, P7, P8, P9, C3, C6
  test('have the reserved bits of the manual', () => {
    fc.assert(
      fc.property(entry, level, config, (entry, level, config) => {
        expect(reservedBits(entry, level, config)).toBe(slowReserved(entry, level, config));
        expect(reservedBits(entry & ~1n, level, config)).toBe(0n);
      }),
    );
  });

  // C4
  test('decode and encode to the same bits, if no reserved bit is set', () => {
    fc.assert(
      fc.property(entry, level, config, (bits, level, config) => {
        const sound = bits & ~reservedBits(bits, level, config);
        // An encryption bit below the physical width ends the addresses.
        const decoded = decodeEntry(sound, level, config);
        const end = 1n << BigInt(Math.min(config.physicalBits, config.encryption?.bit ?? 52));
        expect(decoded.address & (1n << BigInt(config.encryption?.bit ?? 63))).toBe(0n);
        if (decoded.address >= end) return;
        expect(encodeEntry(decoded, level, config)).toBe(sound);
      }),
    );
  });

  // P37
  test('have PS for a larger page, and are present only if the flags say so', () => {
    const config = pagingConfig();
    const fields = { address: physAddr(0x4000_0000), flags: PteFlags.Present };
    expect(encodeEntry({ ...fields, leaf: true }, 1, config)).toBe(0x4000_0081n);
    expect(encodeEntry({ ...fields, leaf: true }, 2, config)).toBe(0x4000_0081n);
    expect(encodeEntry(fields, 1, config)).toBe(0x4000_0001n);
    expect(encodeEntry(fields, 0, config)).toBe(0x4000_0001n);
    expect(decodeEntry(0x4000_0081n, 1, config)).toMatchObject({ present: true, leaf: true });
    expect(decodeEntry(0x4000_0080n, 1, config)).toMatchObject({ present: false });
  });

  test.each<[code: string, words: string, () => unknown]>([
    ['INVALID_ENTRY', 'pass a bigint of 64 bits', () => decodeEntry(1n << 64n, 0, pagingConfig())],
    ['INVALID_ENTRY', 'pass a bigint of 64 bits', () => decodeEntry(-1n, 0, pagingConfig())],
    [
      'INVALID_ENTRY',
      'pass a bigint of 64 bits',
      () => reservedBits(1 as unknown as bigint, 0, pagingConfig()),
    ],
    [
      'INVALID_ENTRY',
      '4 cannot be used for an entry: levels are 0 to 3',
      () => decodeEntry(1n, 4, pagingConfig()),
    ],
    ['INVALID_ENTRY', 'levels are 0 to 4', () => decodeEntry(1n, 5, pagingConfig({ levels: 5 }))],
    ['INVALID_ENTRY', '-1 cannot be used for an entry', () => decodeEntry(1n, -1, pagingConfig())],
    ['INVALID_ENTRY', '1.5 cannot be used', () => reservedBits(1n, 1.5, pagingConfig())],
    [
      'INVALID_ENTRY',
      '4 cannot be used',
      () => encodeEntry({ address: physAddr(0), flags: 1 }, 4, pagingConfig()),
    ],
    [
      'INVALID_ENTRY',
      '3 cannot be used for an entry: only levels 0, 1 and 2 have pages',
      () => encodeEntry({ address: physAddr(0), flags: 1, leaf: true }, 3, pagingConfig()),
    ],
    [
      'INVALID_ENTRY',
      '0 cannot be used for an entry: an entry at level 0 maps a page',
      () => encodeEntry({ address: physAddr(0), flags: 1, leaf: false }, 0, pagingConfig()),
    ],
    [
      'INVALID_FLAGS',
      'flags 0x80 cannot be used: they are reserved in an entry that leads to a table (bits 0x80)',
      () => encodeEntry({ address: physAddr(0), flags: PteFlags.Large }, 1, pagingConfig()),
    ],
    [
      'INVALID_FLAGS',
      'they are reserved in an entry that leads to a table (bits 0x80)',
      () => encodeEntry({ address: physAddr(0), flags: PteFlags.Large }, 2, pagingConfig()),
    ],
    [
      'INVALID_FLAGS',
      'they are reserved in an entry that leads to a table (bits 0x100)',
      () => encodeEntry({ address: physAddr(0), flags: 0x101 }, 3, pagingConfig()),
    ],
    [
      'INVALID_FLAGS',
      'address',
      () => encodeEntry({ address: physAddr(0), flags: 0x2000 }, 0, pagingConfig()),
    ],
    [
      'INVALID_FLAGS',
      'NX',
      () =>
        encodeEntry(
          { address: physAddr(0), flags: PteFlags.NoExecute },
          0,
          pagingConfig({ noExecute: false }),
        ),
    ],
    [
      'MISALIGNED',
      'physical address 0x0000000000001000',
      () => encodeEntry({ address: physAddr(0x1000), flags: 1, leaf: true }, 1, pagingConfig()),
    ],
    [
      'OUTSIDE_PHYSICAL_RANGE',
      '0x0000010000000000',
      () => encodeEntry({ address: physAddr(2 ** 40), flags: 1 }, 0, pagingConfig({ physicalBits: 40 })),
    ],
    [
      'NO_ENCRYPTION',
      'a shared entry needs a configuration with memory encryption',
      () => encodeEntry({ address: physAddr(0), flags: 1, shared: true }, 0, pagingConfig()),
    ],
  ])('refuses %s: %s', (code, words, operation) => {
    let error: unknown;
    try {
      operation();
    } catch (thrown) {
      error = thrown;
    }
    expect(isPageTableError(error) && error.code).toBe(code);
    expect(String(error)).toContain(words);
  });
});
