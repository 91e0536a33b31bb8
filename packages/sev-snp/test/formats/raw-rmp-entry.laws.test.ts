import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeRmpEntry, encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';

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
