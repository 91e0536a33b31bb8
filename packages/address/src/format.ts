import { AddressError } from './address-error.ts';
import { hex16 } from './hex.ts';

/**
 * An address in the usual notation: `0x` and sixteen lower-case hex digits, whatever its kind. O(1).
 *
 * @param address - an address, or the exclusive end of a region; 2^64 has seventeen digits. A negative value has a minus
 *   sign
 * @throws AddressError `INVALID_ADDRESS` if it is not a `bigint`
 */
export function formatAddress(address: bigint): string {
  if (typeof address !== 'bigint')
    throw new AddressError('INVALID_ADDRESS', { kind: '64-bit', value: address });
  return hex16(address);
}
