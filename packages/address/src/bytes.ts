import type { Bytes } from './address.ts';
import { AddressError } from './address-error.ts';

/**
 * A byte count as a `bigint`. Every function that takes a byte count checks it with this. O(1).
 *
 * @param value - bytes, at least 0; a number must be a safe integer
 * @throws AddressError `INVALID_BYTE_COUNT` if it is negative, fractional, NaN, infinite, unsafe or not a number
 * @example
 * ```ts
 * import { type Bytes, byteCount } from '@svsm/address';
 *
 * const twice = (bytes: Bytes): bigint => 2n * byteCount(bytes);
 * console.log(twice(4096), twice(4096n)); // => 8192n 8192n
 * ```
 */
export function byteCount(value: Bytes): bigint {
  if (typeof value === 'bigint' ? value >= 0n : Number.isSafeInteger(value) && value >= 0) {
    return BigInt(value);
  }
  throw new AddressError('INVALID_BYTE_COUNT', { value });
}

/** A larger alignment could turn a canonical address into a non-canonical one: each half has 2^47 bytes. */
const MAX_ALIGNMENT = 1n << 47n;

/**
 * An alignment as a `bigint`. Every function that takes an alignment checks it with this. O(1).
 *
 * @param value - bytes, a power of two from 1 to 2^47
 * @throws AddressError `INVALID_ALIGNMENT` if it is not one of these
 */
export function alignmentBytes(value: Bytes): bigint {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) {
    const alignment = BigInt(value);
    if (alignment > 0n && alignment <= MAX_ALIGNMENT && (alignment & (alignment - 1n)) === 0n)
      return alignment;
  }
  throw new AddressError('INVALID_ALIGNMENT', { value, max: MAX_ALIGNMENT });
}
