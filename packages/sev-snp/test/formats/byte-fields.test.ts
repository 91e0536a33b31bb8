import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type ByteFields,
  bytesOfInteger,
  integerOf,
  readFields,
  requireFit,
  requireLength,
  writeFields,
} from '../../src/formats/byte-fields.ts';
import { thrownBy } from '../support/world.ts';

const FIELDS = { byte: [1, 1], half: [2, 2], word: [4, 4], quad: [8, 8] } as const satisfies ByteFields;

test('fields are little-endian, at their offsets', () => {
  const bytes = Uint8Array.from({ length: 16 }, (_, k) => k + 1);
  expect(readFields(bytes, FIELDS)).toEqual({
    byte: 0x02,
    half: 0x0403,
    word: 0x0807_0605,
    quad: 0x100f_0e0d_0c0b_0a09n,
  });
});

test('writing changes the bytes of the fields and no others', () => {
  const bytes = new Uint8Array(18).fill(0xee);
  const values = { byte: 0x02, half: 0x0403, word: 0x0807_0605, quad: 0x100f_0e0d_0c0b_0a09n };
  writeFields(bytes.subarray(1, 17), FIELDS, values);
  expect([...bytes]).toEqual([0xee, 0xee, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0xee]);
  expect(readFields(bytes.subarray(1, 17), FIELDS)).toEqual(values);
});

test('a field of each size is written alone', () => {
  for (const size of [1, 2, 4, 8] as const) {
    const bytes = new Uint8Array(16);
    const ones = (1n << BigInt(8 * size)) - 1n;
    writeFields(bytes, { field: [3, size] } as const, { field: size === 8 ? ones : Number(ones) } as never);
    expect([...bytes.keys()].filter((k) => bytes[k] === 0xff)).toEqual(
      Array.from({ length: size }, (_, k) => 3 + k),
    );
  }
});

test.each([
  ['byte', 0x100],
  ['half', -1],
  ['word', 2 ** 32],
  ['word', 0.5],
  ['word', 1n],
  ['quad', 1n << 64n],
  ['quad', -1n],
  ['quad', 1],
] as const)('a value that does not fit is refused, and nothing is written: %s %s', (field, value) => {
  const bytes = new Uint8Array(16);
  const values = { byte: 1, half: 2, word: 3, quad: 4n, [field]: value as never };
  expect(thrownBy(() => writeFields(bytes, FIELDS, values))?.details).toMatchObject({ field, value });
  expect(bytes).toEqual(new Uint8Array(16));
});

test('an integer comes back from its bytes, cut off at their number', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: -(1n << 70n), max: 1n << 70n }),
      fc.integer({ min: 1, max: 8 }),
      (value, size) => {
        const bytes = bytesOfInteger(value, size);
        expect(bytes.length).toBe(size);
        expect(integerOf(bytes)).toBe(BigInt.asUintN(8 * size, value));
      },
    ),
  );
});

test.each([
  ['the greatest byte', 255n, 1, undefined],
  ['a byte too great', 256n, 1, 'pass an unsigned integer of 8 bits'],
  ['a negative value', -1n, 8, 'pass an unsigned integer of 64 bits'],
  ['the greatest quadword', (1n << 64n) - 1n, 8, undefined],
] as const)('requireFit: %s', (_, value, size, expected) => {
  const error = thrownBy(() => requireFit('rip', value, size));
  expect(error?.details).toEqual(expected === undefined ? undefined : { field: 'rip', value, expected });
});

test('requireLength names the bytes, their length and the one that fits', () => {
  expect(thrownBy(() => requireLength(new Uint8Array(8), 8, 'a record'))).toBeUndefined();
  const error = thrownBy(() => requireLength(new Uint8Array(7), 8, 'a record'));
  expect(error?.message).toBe('the length of a record cannot be 7: pass 8 bytes [INVALID_ARGUMENT]');
});
