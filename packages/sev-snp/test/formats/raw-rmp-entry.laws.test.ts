import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeRmpEntry, encodeRmpEntry, requireRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { codeOf } from '../support/world.ts';

const quadword = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

test('decoding loses no bit of any two quadwords', () => {
  fc.assert(
    fc.property(quadword, quadword, (low, high) => {
      expect(encodeRmpEntry(decodeRmpEntry({ low, high }))).toEqual({ low, high });
    }),
  );
});

test('encoding loses nothing that the fields can hold', () => {
  fc.assert(
    fc.property(quadword, quadword, (low, high) => {
      const entry = decodeRmpEntry({ low, high });
      expect(decodeRmpEntry(encodeRmpEntry(entry))).toEqual(entry);
    }),
  );
});

const least = decodeRmpEntry({ low: 0n, high: 0n });
const greatest = decodeRmpEntry({ low: 2n ** 64n - 1n, high: 2n ** 64n - 1n });

test('an entry that fits is not copied: instructions check each one that they write', () => {
  for (const entry of [least, greatest]) expect(requireRmpEntry(entry)).toBe(entry);
  fc.assert(
    fc.property(quadword, quadword, (low, high) => {
      const entry = decodeRmpEntry({ low, high });
      expect(requireRmpEntry(entry)).toBe(entry);
    }),
  );
});

test.each<[keyof RmpEntry, unknown]>([
  ...(['assigned', 'immutable', 'vmsa', 'validated', 'lock'] as const).map(
    (field) => [field, 1] as [keyof RmpEntry, unknown],
  ),
  ['pageSize', 0x4000_0000],
  ['subpageCount', 512],
  ['subpageCount', -1],
  ['subpageCount', 0.5],
  ['gpa', -0x1000n],
  ['gpa', greatest.gpa + 0x1000n],
  ['gpa', 1n],
  ['gpa', 0],
  ['gpa', Object(0n)],
  ['asid', 1024],
  ['upper', 2 ** 32],
  ['vmplMasks', [0, 0, 0]],
  ['vmplMasks', [0, 0, 0, 256]],
  ['vmplMasks', [0, 0, 0, -1]],
  ['vmplMasks', [0, 0, 0, 0, 0]],
  ['vmplMasks', undefined],
])('an entry whose %s is %s does not fit', (field, value) => {
  expect(codeOf(() => requireRmpEntry({ ...least, [field]: value }))).toBe('INVALID_MESSAGE');
});
