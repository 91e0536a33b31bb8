import { isAddressError } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { getOrder } from '../../src/index.ts';
import { buddyError, untyped } from '../support/allocators.ts';

test.each([
  [0, 0],
  [1, 0],
  [4095, 0],
  [4096, 0],
  [4097, 1],
  [8191, 1],
  [8192, 1],
  [8193, 2],
  [4 * 4096, 2],
  [4 * 4096 + 1, 3],
  [5 * 4096, 3],
  [0x20_0000, 9],
  [0x20_0001, 10],
  [0x4000_0000, 18],
  [Number.MAX_SAFE_INTEGER, 41],
  [0n, 0],
  [4097n, 1],
  [2n ** 53n, 41],
  [2n ** 53n + 1n, 42],
  [2n ** 63n, 51],
  [2n ** 63n + 1n, 52],
  [2n ** 64n - 1n, 52],
  [2n ** 64n, 52],
])('getOrder(%s) is %i', (bytes, order) => {
  expect(getOrder(bytes)).toBe(order);
});

test('the order is the least whose block holds the bytes', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 64n), (bytes) => {
      const order = getOrder(bytes);
      expect(4096n << BigInt(order)).toBeGreaterThanOrEqual(bytes);
      if (order > 0) expect(4096n << BigInt(order - 1)).toBeLessThan(bytes);
    }),
  );
});

test('refuses a byte count that no block holds', () => {
  const error = buddyError('SIZE_TOO_LARGE', () => getOrder(2n ** 64n + 1n));
  expect(error.details).toEqual({ size: 2n ** 64n + 1n, max: 2n ** 64n });
});

test.each([-1, -1n, 0.5, NaN, Infinity, 2 ** 53, '4096', null, undefined])(
  '%s is not a byte count',
  (bytes) => {
    expect(() => getOrder(untyped(bytes))).toThrow(
      expect.toSatisfy((error) => isAddressError(error, 'INVALID_BYTE_COUNT')),
    );
  },
);
