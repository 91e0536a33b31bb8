import type { Address } from './address.ts';
import { AddressError } from './address-error.ts';

const END = 1n << 64n;

/**
 * The 64 bits of an address of any kind.
 *
 * @throws AddressError `INVALID_ADDRESS` for what is no bigint, `OUTSIDE_SPACE` for what is negative or longer
 */
export function bitsOf(address: Address): bigint {
  if (typeof address !== 'bigint')
    throw new AddressError('INVALID_ADDRESS', { kind: '64-bit', value: address });
  if (address < 0n || (address as bigint) >= END) {
    throw new AddressError('OUTSIDE_SPACE', { kind: '64-bit', value: address, end: END });
  }
  return address;
}
