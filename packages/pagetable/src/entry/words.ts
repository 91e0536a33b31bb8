import type { PhysAddr } from '@svsm/address';

/*
 * A 64-bit value as two 32-bit words. It is split and joined through memory, which is several times faster than shifting
 * bigints. Words are int32 (`| 0`), which engines keep in a field without allocating.
 */

/** A cell to write a value to and read it from through {@link HALVES}, or the reverse. Any call can overwrite it. */
export const CELL: BigUint64Array<ArrayBuffer> = /* @__PURE__ */ new BigUint64Array(1);
/** The low and the high word of {@link CELL}. */
export const HALVES: Uint32Array<ArrayBuffer> = /* @__PURE__ */ new Uint32Array(CELL.buffer);

/** The maximum number of levels of a page table. */
export const MAX_LEVELS = 5;

/** Whether `value` is a `bigint` that {@link CELL} holds unchanged. */
export function is64Bit(value: bigint): boolean {
  return typeof value === 'bigint' && value >= 0n && value <= 0xffff_ffff_ffff_ffffn;
}

/** Whether an address with this high word is canonical: bits 63:47 are all equal, or bits 63:56 with 5 levels. */
export function isCanonical(high: number, levels: number): boolean {
  const sign = high >> (levels === 5 ? 24 : 15);
  return sign === 0 || sign === -1;
}

/** The index of an address in a table of `level`: the nine bits from bit 12 + 9 × level up. */
export function indexAt(low: number, high: number, level: number): number {
  switch (level) {
    case 0:
      return (low >>> 12) & 0x1ff;
    case 1:
      return (low >>> 21) & 0x1ff;
    case 2:
      return ((low >>> 30) | (high << 2)) & 0x1ff;
    case 3:
      return (high >>> 7) & 0x1ff;
    default:
      return (high >>> 16) & 0x1ff;
  }
}

/** The 64 bits of two words. */
export function raw(low: number, high: number): bigint {
  HALVES[0] = low;
  HALVES[1] = high;
  return CELL[0]!;
}

/** The address of byte `offset` of a page that starts at frame number `frame`. */
export function byteAt(frame: number, offset: number): PhysAddr {
  return raw(frameLow(frame) | offset, frameHigh(frame)) as PhysAddr;
}

/** The address of a frame. */
export function frameAddress(frame: number): PhysAddr {
  return byteAt(frame, 0);
}

/** The frame number of an address. */
export function frameOf(low: number, high: number): number {
  return (high >>> 0) * 0x10_0000 + (low >>> 12);
}

/** Address bits 31:12 of an entry that points to `frame`. */
export function frameLow(frame: number): number {
  return frame << 12;
}

/** Address bits 51:32 of an entry that points to `frame`. */
export function frameHigh(frame: number): number {
  return Math.floor(frame / 0x10_0000);
}
