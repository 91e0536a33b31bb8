import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LeafBits, leafFlags } from '../../src/entry/entry-bits.ts';
import type { MemoryType } from '../../src/entry/memory-type.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { decodePat, encodePat, type Pat, patIndex, tablePatIndex } from '../../src/entry/pat.ts';

const type = fc.constantFrom<MemoryType[]>('UC', 'WC', 'WT', 'WP', 'WB', 'UC-');
const pat = fc.tuple(type, type, type, type, type, type, type, type) satisfies fc.Arbitrary<Pat>;

describe('PAT', () => {
  test('is the same after encoding and decoding', () => {
    fc.assert(
      fc.property(pat, (types) => {
        expect(decodePat(encodePat(types))).toEqual(types);
      }),
    );
  });

  test('accepts exactly the values whose bytes are all encodings of a type', () => {
    const byte = fc.oneof(fc.constantFrom(0, 1, 4, 5, 6, 7), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(byte, { minLength: 8, maxLength: 8 }), (bytes) => {
        const msr = bytes.reduceRight((word, value) => (word << 8n) | BigInt(value), 0n);
        const isValid = bytes.every((value) => value < 8 && value !== 2 && value !== 3);
        let found: Pat | undefined;
        try {
          found = decodePat(msr);
        } catch (error) {
          expect(isPageTableError(error, 'INVALID_CPU_STATE')).toBe(true);
        }
        expect(found !== undefined).toBe(isValid);
        if (found !== undefined) expect(encodePat(found)).toBe(msr);
      }),
    );
  });

  test('is indexed by PAT, PCD and PWT, whatever the other bits of the entry are', () => {
    const bits = fc.record<Omit<LeafBits, 'present'>>({
      writable: fc.boolean(),
      user: fc.boolean(),
      writeThrough: fc.boolean(),
      cacheDisable: fc.boolean(),
      accessed: fc.boolean(),
      softwareLow: fc.integer({ min: 0, max: 7 }),
      softwareHigh: fc.integer({ min: 0, max: 127 }),
      noExecute: fc.boolean(),
      dirty: fc.boolean(),
      global: fc.boolean(),
      pat: fc.boolean(),
      protectionKey: fc.integer({ min: 0, max: 15 }),
    });
    fc.assert(
      fc.property(bits, fc.constantFrom<(0 | 1 | 2)[]>(0, 1, 2), (named, level) => {
        const low = 2 * Number(named.cacheDisable) + Number(named.writeThrough);
        const flags = leafFlags(level, named);
        expect(patIndex(flags, level)).toBe(4 * Number(named.pat) + low);
        expect(patIndex(flags | 0, level)).toBe(patIndex(flags, level));
        expect(tablePatIndex(flags)).toBe(low);
      }),
    );
  });
});
