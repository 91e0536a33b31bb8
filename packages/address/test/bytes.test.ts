import { describe, expect, test } from 'vitest';
import { alignmentBytes, byteCount } from '../src/index.ts';
import { addressError, NOT_INTEGERS, untyped } from './support.ts';

describe('byteCount', () => {
  test.each([
    [0, 0n],
    [-0, 0n],
    [0n, 0n],
    [1, 1n],
    [4096n, 4096n],
    [2 ** 47, 2n ** 47n],
    [Number.MAX_SAFE_INTEGER, 2n ** 53n - 1n],
    [2n ** 53n, 2n ** 53n],
    [2n ** 64n, 2n ** 64n],
    [2n ** 100n, 2n ** 100n],
  ])('accepts %s', (value, expected) => {
    expect(byteCount(value)).toBe(expected);
  });

  test.each([...NOT_INTEGERS, -1, -1n, -4096, Number.MIN_SAFE_INTEGER, -(2n ** 64n)].map((v) => [v]))(
    'refuses %o',
    (value) => {
      const { details } = addressError('INVALID_BYTE_COUNT', () => byteCount(untyped(value)));
      expect(details).toEqual({ value });
    },
  );
});

describe('alignmentBytes', () => {
  test('accepts every power of two from 1 to 2^47, of both types', () => {
    for (let bit = 0; bit <= 47; bit++) {
      expect(alignmentBytes(2 ** bit)).toBe(2n ** BigInt(bit));
      expect(alignmentBytes(2n ** BigInt(bit))).toBe(2n ** BigInt(bit));
    }
  });

  test.each(
    [
      ...NOT_INTEGERS,
      ...[0, 0n, -0, -1, -1n, -2, -4096, -(2n ** 47n), 3, 3n, 5, 6, 12, 4095, 4097],
      ...[2 ** 47 - 1, 2 ** 47 + 1, 2 ** 48, 2n ** 48n, 2n ** 63n, 2n ** 64n, 2n ** 200n],
    ].map((value) => [value]),
  )('refuses %o', (value) => {
    const { details } = addressError('INVALID_ALIGNMENT', () => alignmentBytes(untyped(value)));
    expect(details).toEqual({ value, max: 2n ** 47n });
  });
});
