import type { Bytes } from './address.ts';
import { AddressError } from './address-error.ts';

/**
 * A byte count as a `bigint`: the one check that every function with a `Bytes` parameter makes. O(1).
 *
 * @param value - bytes, from 0 up; a number must be a safe integer
 * @throws AddressError `INVALID_BYTE_COUNT` for anything negative, fractional, NaN, infinite, unsafe or not a number
 */
export function byteCount(value: Bytes): bigint {
  if (typeof value === 'bigint' ? value >= 0n : Number.isSafeInteger(value) && value >= 0) {
    return BigInt(value);
  }
  throw new AddressError('INVALID_BYTE_COUNT', { value });
}

/** Past this, aligning could turn a canonical address into one that is not (the halves are 2^47 bytes). */
const MAX_ALIGNMENT = 1n << 47n;

/**
 * An alignment as a `bigint`: a power of two from 1 to 2^47 bytes. O(1).
 *
 * @throws AddressError `INVALID_ALIGNMENT` for zero, anything that is no power of two, and beyond 2^47
 */
export function alignmentBytes(value: Bytes): bigint {
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) {
    const alignment = BigInt(value);
    if (alignment > 0n && alignment <= MAX_ALIGNMENT && (alignment & (alignment - 1n)) === 0n)
      return alignment;
  }
  throw new AddressError('INVALID_ALIGNMENT', { value, max: MAX_ALIGNMENT });
}
