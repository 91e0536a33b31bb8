import type { Address, Bytes } from './address.ts';
import { bitsOf } from './bits-of.ts';
import { alignmentBytes, byteCount } from './bytes.ts';
import { PAGE_SHIFT, PAGE_SIZE } from './page-size.ts';

// These functions need no kind, because their results stay in the half of the space in which the address lies. They take an
// address of any kind, and refuse a value that no kind can have: `INVALID_ADDRESS` if it is not a bigint,
// `OUTSIDE_SPACE` if it is negative or has more than 64 bits.

/** Splits an address into 32-bit halves: writing it here and reading {@link HALVES} costs less than shifting a bigint. */
const CELL = /* @__PURE__ */ new BigUint64Array(1);
const HALVES = /* @__PURE__ */ new Uint32Array(CELL.buffer);

/** Writes an address into {@link CELL}. @throws AddressError as {@link bitsOf} */
function splitUp(address: Address): void {
  if (typeof address === 'bigint') CELL[0] = address;
  if (CELL[0] !== address) bitsOf(address);
}

/**
 * The greatest multiple of `alignment` that is at most `address`. O(1).
 *
 * An aligned address stays as it is. The result is always an address: the hole never lies between it and `address`,
 * because both edges of the hole are multiples of every alignment that is accepted.
 *
 * @param alignment - bytes, a power of two from 1 to 2^47
 * @throws AddressError `INVALID_ALIGNMENT`, `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 * @example
 * ```ts
 * import { alignDown, formatAddress, PAGE_SIZE_2M, virtAddr } from '@svsm/address';
 *
 * const page = alignDown(virtAddr(0xffff_8000_003f_1234n), PAGE_SIZE_2M);
 * console.log(formatAddress(page)); // => 0xffff800000200000
 * ```
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
  splitUp(address);
  return HALVES[0]! & 0xfff;
}

/**
 * `address` divided by 4096, rounded down: 0 to 2^52 − 1, exact. For a virtual address in the upper half this is the page
 * number of the 64-bit value: `0xf_fff8_0000_0000` for `0xffff_8000_0000_0000`. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function pageNumber(address: Address): number {
  splitUp(address);
  return HALVES[1]! * 0x10_0000 + (HALVES[0]! >>> PAGE_SHIFT);
}

/**
 * Whether the `bytes` bytes from `address` on lie in more than one 4 KiB page. 0 and 1 bytes never do. O(1).
 *
 * @throws AddressError `INVALID_BYTE_COUNT`, `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 * @example
 * ```ts
 * import { crossesPage, virtAddr } from '@svsm/address';
 *
 * console.log(crossesPage(virtAddr(0xff8), 8), crossesPage(virtAddr(0xff8), 9)); // => false true
 * ```
 */
export function crossesPage(address: Address, bytes: Bytes): boolean {
  return BigInt(pageOffset(address)) + byteCount(bytes) > BigInt(PAGE_SIZE);
}

/**
 * `to − from` in bytes, negative if `to` comes first. This is the difference of the 64-bit values, the hole included;
 * `AddressKind.stepsBetween` leaves the hole out. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 * @example
 * ```ts
 * import { distance, Virt, virtAddr } from '@svsm/address';
 *
 * const last = virtAddr(0x7fff_ffff_ffffn); // below the hole
 * const first = virtAddr(0xffff_8000_0000_0000n); // above the hole
 * console.log(Virt.stepsBetween(last, first)); // => 1n
 * console.log(distance(last, first)); // => 18446462598732840961n
 * ```
 */
export function distance<A extends Address>(from: A, to: NoInfer<A>): bigint {
  return bitsOf(to) - bitsOf(from);
}
