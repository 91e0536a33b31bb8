import { describe, expect, test } from 'vitest';
import { isIntegerUpTo, requireInteger, requireMaxOrder, requireOrder } from '../../src/pages/integers.ts';
import { buddyError, untyped } from '../support/allocators.ts';

const NOT_INTEGERS = [0.5, NaN, Infinity, -Infinity, 1n, '1', '', true, null, undefined, {}, [], Symbol('s')];

describe('isIntegerUpTo', () => {
  test.each([0, -0, 1, 51, 52])('accepts %s of 52', (value) => {
    expect(isIntegerUpTo(value, 52)).toBe(true);
  });

  test.each([-1, 53, 2 ** 53, ...NOT_INTEGERS])('refuses %s of 52', (value) => {
    expect(isIntegerUpTo(value, 52)).toBe(false);
  });
});

test('requireOrder names the order and the limit', () => {
  requireOrder(0, 9);
  requireOrder(9, 9);
  for (const order of [-1, 10, ...NOT_INTEGERS]) {
    expect(buddyError('INVALID_ORDER', () => requireOrder(untyped(order), 9)).details).toEqual({
      order,
      maxOrder: 9,
    });
  }
});

test('requireMaxOrder accepts 0 to 52', () => {
  requireMaxOrder(0);
  requireMaxOrder(52);
  for (const maxOrder of [-1, 53, ...NOT_INTEGERS]) {
    const error = buddyError('INVALID_MAX_ORDER', () => requireMaxOrder(untyped(maxOrder)));
    expect(error.details).toEqual({ maxOrder });
  }
});

test('requireInteger names the option and the range', () => {
  requireInteger('rows', 1, 1);
  requireInteger('rows', Number.MAX_SAFE_INTEGER, 1);
  requireInteger('pages', 2, 2, 252);
  requireInteger('pages', 252, 2, 252);
  for (const value of [0, -0, 2 ** 53, ...NOT_INTEGERS]) {
    const error = buddyError('INVALID_OPTION', () => requireInteger('rows', value, 1));
    expect(error.details).toEqual({ option: 'rows', value, expected: 'an integer from 1 up' });
  }
  for (const value of [1, 253, ...NOT_INTEGERS]) {
    const error = buddyError('INVALID_OPTION', () => requireInteger('pages', value, 2, 252));
    expect(error.details).toEqual({ option: 'pages', value, expected: 'an integer from 2 to 252' });
  }
});
