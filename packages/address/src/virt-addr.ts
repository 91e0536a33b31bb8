import type { VirtAddr } from './address.ts';
import { Virt } from './kinds.ts';

// Short names of `Virt`'s methods, for the kind that most code means.

/**
 * `value` as a canonical 48-bit virtual address. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`, `NON_CANONICAL`
 */
export function virtAddr(value: number | bigint): VirtAddr {
  return Virt.address(value);
}

/** As {@link virtAddr}, with `undefined` for everything that it refuses. O(1). */
export function tryVirtAddr(value: unknown): VirtAddr | undefined {
  return Virt.tryAddress(value);
}

/** Whether `value` is a `bigint` that is a canonical 48-bit virtual address. O(1). */
export function isVirtAddr(value: unknown): value is VirtAddr {
  return Virt.isAddress(value);
}

/**
 * Throws unless {@link isVirtAddr} holds. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`, `NON_CANONICAL`
 */
export function assertIsVirtAddr(value: unknown): asserts value is VirtAddr {
  Virt.assertIsAddress(value);
}

/**
 * The virtual address that `text` writes in hexadecimal: `0xffff_8000_0000_0000`, `ffff800000000000`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS_TEXT`, `NON_CANONICAL`
 */
export function parseVirtAddr(text: string): VirtAddr {
  return Virt.parse(text);
}

/**
 * The low 48 bits of `value`, bit 47 copied upward: `0x8000_0000_0000n` becomes `0xffff_8000_0000_0000n`. What
 * COCONUT-SVSM's `VirtAddr::from` does to any number; use it only where a cast is meant. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS` for what is no integer
 */
export function virtAddrTruncate(value: number | bigint): VirtAddr {
  return Virt.truncate(value);
}
