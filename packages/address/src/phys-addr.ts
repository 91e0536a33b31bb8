import type { PhysAddr } from './address.ts';
import { Phys } from './kinds.ts';

// Short names for the methods of `Phys`.

/**
 * `value` as a physical address: below 2^52. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function physAddr(value: number | bigint): PhysAddr {
  return Phys.address(value);
}

/** Like {@link physAddr}, but returns `undefined` where that throws. O(1). */
export function tryPhysAddr(value: unknown): PhysAddr | undefined {
  return Phys.tryAddress(value);
}

/** Whether `value` is a `bigint` that is a physical address. O(1). */
export function isPhysAddr(value: unknown): value is PhysAddr {
  return Phys.isAddress(value);
}

/**
 * Narrows `value` to a physical address, or throws. It refuses every number. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function assertIsPhysAddr(value: unknown): asserts value is PhysAddr {
  Phys.assertIsAddress(value);
}

/**
 * The physical address that `text` writes in hexadecimal, in one of the two forms of `AddressKind.parse`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS_TEXT`, `OUTSIDE_SPACE`
 * @example
 * ```ts
 * import { parsePhysAddr } from '@svsm/address';
 *
 * console.log(parsePhysAddr('0x10_0000'), parsePhysAddr('00100000')); // => 1048576n 1048576n
 * ```
 */
export function parsePhysAddr(text: string): PhysAddr {
  return Phys.parse(text);
}
