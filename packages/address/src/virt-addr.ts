import type { VirtAddr } from './address.ts';
import { Virt } from './kinds.ts';

// Short names for the methods of `Virt`, the kind that most code uses.

/**
 * `value` as a canonical 48-bit virtual address. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`, `NON_CANONICAL`
 */
export function virtAddr(value: number | bigint): VirtAddr {
  return Virt.address(value);
}

/** Like {@link virtAddr}, but returns `undefined` where that throws. O(1). */
export function tryVirtAddr(value: unknown): VirtAddr | undefined {
  return Virt.tryAddress(value);
}

/** Whether `value` is a `bigint` that is a canonical 48-bit virtual address. O(1). */
export function isVirtAddr(value: unknown): value is VirtAddr {
  return Virt.isAddress(value);
}

/**
 * Narrows `value` to a virtual address, or throws. It refuses every number. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`, `NON_CANONICAL`
 */
export function assertIsVirtAddr(value: unknown): asserts value is VirtAddr {
  Virt.assertIsAddress(value);
}

/**
 * The virtual address that `text` writes in hexadecimal, in one of the two forms of `AddressKind.parse`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS_TEXT`, `NON_CANONICAL`
 * @example
 * ```ts
 * import { formatAddress, parseVirtAddr } from '@svsm/address';
 *
 * console.log(formatAddress(parseVirtAddr('0xffff_8000_0000_1000'))); // => 0xffff800000001000
 * console.log(formatAddress(parseVirtAddr('ffff800000001000'))); // => 0xffff800000001000
 * ```
 */
export function parseVirtAddr(text: string): VirtAddr {
  return Virt.parse(text);
}

/**
 * The low 48 bits of `value`, with bit 47 copied to the bits above. COCONUT-SVSM's `VirtAddr::from` does this to every
 * number. Use it only where you mean a cast: {@link virtAddr} checks instead. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS` if `value` is not a `bigint` or a safe integer
 * @example
 * ```ts
 * import { formatAddress, tryVirtAddr, virtAddrTruncate } from '@svsm/address';
 *
 * console.log(tryVirtAddr(0x8000_0000_1000n)); // => undefined
 * console.log(formatAddress(virtAddrTruncate(0x8000_0000_1000n))); // => 0xffff800000001000
 * ```
 */
export function virtAddrTruncate(value: number | bigint): VirtAddr {
  return Virt.truncate(value);
}
