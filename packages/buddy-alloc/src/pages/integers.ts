import { MAX_ORDER } from './block.ts';
import { BuddyError } from './buddy-error.ts';

/** Whether `value` is an integer from 0 to `max`. O(1). */
export function isIntegerUpTo(value: unknown, max: number): value is number {
  if (typeof value !== 'number') return false;
  // An engine compares integers of 31 bits faster than it asks whether a number is one.
  return ((value | 0) === value || Number.isInteger(value)) && value >= 0 && value <= max;
}

/** @throws BuddyError `INVALID_ORDER` unless `order` is an integer from 0 to `maxOrder` */
export function requireOrder(order: number, maxOrder: number): void {
  if (!isIntegerUpTo(order, maxOrder)) throw new BuddyError('INVALID_ORDER', { order, maxOrder });
}

/** @throws BuddyError `INVALID_MAX_ORDER` unless `maxOrder` is an integer from 0 to 52 */
export function requireMaxOrder(maxOrder: number): void {
  if (!isIntegerUpTo(maxOrder, MAX_ORDER)) throw new BuddyError('INVALID_MAX_ORDER', { maxOrder });
}

/**
 * Checks an option.
 *
 * @param max - without it, any safe integer from `min` up is accepted
 * @throws BuddyError `INVALID_OPTION` unless `value` is an integer from `min` to `max`
 */
export function requireInteger(option: string, value: unknown, min: number, max?: number): void {
  if (isIntegerUpTo(value, max ?? Number.MAX_SAFE_INTEGER) && value >= min) return;
  const expected = max === undefined ? `an integer from ${min} up` : `an integer from ${min} to ${max}`;
  throw new BuddyError('INVALID_OPTION', { option, value, expected });
}
