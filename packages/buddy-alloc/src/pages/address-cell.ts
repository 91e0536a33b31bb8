// A 64-bit cell that is read as two 32-bit halves: shifting and masking a bigint costs many times more.

/** Holds an address, to be read through {@link halves}. */
export const cell: BigUint64Array<ArrayBuffer> = /* @__PURE__ */ new BigUint64Array(1);
/** The two halves of {@link cell}, signed: differences and shifts are what is wanted of them. */
export const halves: Int32Array<ArrayBuffer> = /* @__PURE__ */ new Int32Array(cell.buffer);
/** The index in {@link halves} of bits 31:0, which depends on the machine's byte order. */
export const LOW: number =
  /* @__PURE__ */ new Uint8Array(/* @__PURE__ */ new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;
/** The index in {@link halves} of bits 63:32. */
export const HIGH: number = 1 - LOW;

/** Pages in 4 GiB: what the low half of an address counts. */
const PAGES_PER_HIGH = 0x10_0000;
const CELL_END = 1n << 64n;

/** Whether the cell holds `address`, any `bigint`, as it is: it drops a sign, and what is past 64 bits. O(1). */
export function fitsCell(address: bigint): boolean {
  // To read it back and compare makes a bigint, which costs more.
  return address >= 0n && address < CELL_END;
}

/** The number, from address 0 on, of the page that starts at `address`, any `bigint`; −1 if none does. O(1). */
export function pageNumberOf(address: bigint): number {
  cell[0] = address;
  const low = halves[LOW]!;
  if ((low & 0xfff) !== 0 || !fitsCell(address)) return -1;
  return (halves[HIGH]! >>> 0) * PAGES_PER_HIGH + (low >>> 12);
}

/** The address of page `page`, 0 to 2^52 − 1. O(1). */
export function addressOfPage(page: number): bigint {
  return BigInt(page) << 12n;
}
