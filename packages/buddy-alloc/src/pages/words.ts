/*
 * A 64-bit value as two 32-bit words. It is split through memory: several times faster than shifting and masking bigints.
 */

/** Holds a value to be read through {@link HALVES}. Valid until the next write, by any function of the package. */
export const CELL: BigUint64Array<ArrayBuffer> = /* @__PURE__ */ new BigUint64Array(1);
/** The two words of {@link CELL}, signed, because they are read for differences and shifts. */
export const HALVES: Int32Array<ArrayBuffer> = /* @__PURE__ */ new Int32Array(CELL.buffer);
/** The index of bits 31:0 in {@link HALVES}, which depends on the machine's byte order. */
export const LOW: number =
  /* @__PURE__ */ new Uint8Array(/* @__PURE__ */ new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
/** The index of bits 63:32 in {@link HALVES}. */
export const HIGH: number = 1 - LOW;

/** Pages in 4 GiB, the range of a low word. */
const PAGES_PER_HIGH = 0x10_0000;
const CELL_END = 1n << 64n;

/** Whether {@link CELL} holds `value`, any `bigint`, unchanged: it drops the sign and the bits from 64 up. O(1). */
export function fitsCell(value: bigint): boolean {
  // Reading it back to compare would make a bigint, which costs more.
  return value >= 0n && value < CELL_END;
}

/** The number of the page that starts at `address`, any `bigint`, counted from address 0; −1 if no page does. O(1). */
export function pageNumberOf(address: bigint): number {
  CELL[0] = address;
  const low = HALVES[LOW]!;
  if ((low & 0xfff) !== 0 || !fitsCell(address)) return -1;
  return (HALVES[HIGH]! >>> 0) * PAGES_PER_HIGH + (low >>> 12);
}

/** The address of page `page`, 0 to 2^52 − 1. O(1). */
export function addressOfPage(page: number): bigint {
  return BigInt(page) << 12n;
}
