import type { Address, Bytes } from './address.ts';
import { bitsOf } from './bits-of.ts';
import { alignmentBytes, byteCount } from './bytes.ts';
import { PAGE_SHIFT, PAGE_SIZE } from './page-size.ts';

// What needs no kind: nothing here can leave the half of the space in which the address lies. An address of any kind is
// taken, and anything that no kind of address can be is refused: `INVALID_ADDRESS` for what is no bigint,
// `OUTSIDE_SPACE` for what is negative or has more than 64 bits.

/**
 * The greatest multiple of `alignment` that is at most `address`. O(1).
 *
 * An aligned address stays as it is, zero stays zero. The result is always valid: it cannot pass the hole, because
 * both edges of the hole are multiples of every alignment that is accepted.
 *
 * @param alignment - bytes, a power of two from 1 to 2^47
 * @throws AddressError `INVALID_ALIGNMENT`, `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function alignDown<A extends Address>(address: A, alignment: Bytes): A {
  return (bitsOf(address) & -alignmentBytes(alignment)) as A;
}

/**
 * Whether `address` is a multiple of `alignment`. O(1).
 *
 * @param alignment - bytes, a power of two from 1 to 2^47
 * @throws AddressError `INVALID_ALIGNMENT`, `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function isAligned(address: Address, alignment: Bytes): boolean {
  return (bitsOf(address) & (alignmentBytes(alignment) - 1n)) === 0n;
}

/**
 * Whether `address` is a multiple of 4096. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function isPageAligned(address: Address): boolean {
  return (bitsOf(address) & 0xfffn) === 0n;
}

/**
 * The offset of `address` in its 4 KiB page: 0 to 4095. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function pageOffset(address: Address): number {
  return Number(bitsOf(address) & 0xfffn);
}

/**
 * `address` divided by 4096, rounded down: 0 to 2^52 − 1, exact. For a virtual address of the upper half it is the page
 * number of the 64-bit value, `0xf_fff8_0000_0000` for `0xffff_8000_0000_0000`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function pageNumber(address: Address): number {
  return Number(bitsOf(address) >> BigInt(PAGE_SHIFT));
}

/**
 * Whether the `bytes` bytes from `address` on lie in more than one 4 KiB page. None or one byte never does. O(1).
 *
 * @throws AddressError `INVALID_BYTE_COUNT`, `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function crossesPage(address: Address, bytes: Bytes): boolean {
  return BigInt(pageOffset(address)) + byteCount(bytes) > BigInt(PAGE_SIZE);
}

/**
 * `to − from` in bytes: negative when `to` comes first. The plain difference of the 64-bit values, the hole included;
 * `kind.stepsBetween` leaves the hole out. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function distance<A extends Address>(from: A, to: NoInfer<A>): bigint {
  return bitsOf(to) - bitsOf(from);
}
