import type { Address } from './address.ts';
import { AddressError } from './address-error.ts';

const END = 1n << 64n;

/**
 * An address of any kind as a plain `bigint`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS` if it is not a `bigint`; `OUTSIDE_SPACE` if it is negative or has more than 64 bits
 */
export function bitsOf(address: Address): bigint {
  if (typeof address !== 'bigint')
    throw new AddressError('INVALID_ADDRESS', { kind: '64-bit', value: address });
  if (address < 0n || (address as bigint) >= END) {
    throw new AddressError('OUTSIDE_SPACE', { kind: '64-bit', value: address, end: END });
  }
  return address;
}
