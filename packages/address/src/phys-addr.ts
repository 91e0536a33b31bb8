import type { PhysAddr } from './address.ts';
import { Phys } from './kinds.ts';

// Short names of `Phys`'s methods.

/**
 * `value` as a physical address: below 2^52. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function physAddr(value: number | bigint): PhysAddr {
  return Phys.address(value);
}

/** As {@link physAddr}, with `undefined` for everything that it refuses. O(1). */
export function tryPhysAddr(value: unknown): PhysAddr | undefined {
  return Phys.tryAddress(value);
}

/** Whether `value` is a `bigint` that is a physical address. O(1). */
export function isPhysAddr(value: unknown): value is PhysAddr {
  return Phys.isAddress(value);
}

/**
 * Throws unless {@link isPhysAddr} holds. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function assertIsPhysAddr(value: unknown): asserts value is PhysAddr {
  Phys.assertIsAddress(value);
}

/**
 * The physical address that `text` writes in hexadecimal: `0x10_0000`, `00100000`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS_TEXT`, `OUTSIDE_SPACE`
 */
export function parsePhysAddr(text: string): PhysAddr {
  return Phys.parse(text);
}
