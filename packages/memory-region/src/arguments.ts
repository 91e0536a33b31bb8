import { RegionError } from './region-error.ts';

/** @throws RegionError `INVALID_ARGUMENT` unless `value` can be iterated over; `expected` names the elements */
export function requireIterable(what: string, value: Iterable<unknown>, expected: string): void {
  let isIterable: boolean;
  try {
    // A text is iterable, too: the empty one would pass for a list without elements.
    isIterable = typeof value !== 'string' && typeof value[Symbol.iterator] === 'function';
  } catch {
    // The properties of `undefined` and of a revoked proxy cannot be read.
    isIterable = false;
  }
  if (isIterable) return;
  throw new RegionError('INVALID_ARGUMENT', { what, value, expected: `pass an iterable of ${expected}` });
}

/**
 * `entry`, which is an array of a region and a value. The region is not checked.
 *
 * @param nameOf - called for the message of the error: the name of the entry
 * @throws RegionError `INVALID_ARGUMENT` unless `entry` is an array of two
 */
export function pairOf<R, V>(entry: readonly [R, V], nameOf: () => string): readonly [R, V] {
  let isPair: boolean;
  try {
    isPair = Array.isArray(entry) && entry.length === 2;
  } catch {
    // A revoked proxy.
    isPair = false;
  }
  if (isPair) return entry;
  const expected = 'pass pairs [region, value]';
  throw new RegionError('INVALID_ARGUMENT', { what: nameOf(), value: entry, expected });
}
