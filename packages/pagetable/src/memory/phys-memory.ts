import { type PhysAddr, pageNumber, pageOffset } from '@svsm/address';

/**
 * Physical memory as page tables reach it: frames of 4 KiB, found by frame number (physical address / 4096).
 *
 * A frame is 1024 consecutive little-endian 32-bit words in some typed array; where it begins there is for the
 * implementation to say. So one buffer, a map of frames, and a guest's view through nested paging are all the same to
 * a walk, and no entry becomes a `bigint` on the way.
 */
export interface PhysMemory {
  /**
   * Another number after each `words(frame, true)`; NaN if the memory may change, or move, in any other way, or if two
   * frames can be the same words. While it stays the same, arrays that were given stay valid and tables unchanged: a page
   * table need not walk again for the next page of the same 2 MiB. Over one `words(frame, true)`, that holds of all other
   * frames: a page table knows what it has written itself.
   */
  readonly epoch: number;
  /**
   * The array that holds the words of `frame`. For a write it is the one that every later read sees, to be written to at
   * once and not kept; for a read it must not be written to.
   *
   * @throws PageTableError `BUS_ERROR` if there is no memory at `frame`
   */
  words(frame: number, write: boolean): Uint32Array;
  /** The index of the first word of `frame` in that array, the same for reads and writes. */
  wordOffset(frame: number): number;
}

/**
 * The 8 bytes at `paddr`, as a little-endian number. O(1).
 *
 * @param paddr - a multiple of 8
 * @throws PageTableError `BUS_ERROR`; RangeError if `paddr` is no multiple of 8
 */
export function readPhys64(memory: PhysMemory, paddr: PhysAddr): bigint {
  const frame = pageNumber(paddr);
  const at = memory.wordOffset(frame) + wordInFrame(paddr);
  const words = memory.words(frame, false);
  return (BigInt(words[at + 1]!) << 32n) | BigInt(words[at]!);
}

/**
 * Writes `value` (64 bits) at `paddr`, little-endian. O(1).
 *
 * @param paddr - a multiple of 8
 * @throws PageTableError `BUS_ERROR`; RangeError if `paddr` is no multiple of 8, or `value` has more than 64 bits
 */
export function writePhys64(memory: PhysMemory, paddr: PhysAddr, value: bigint): void {
  if (BigInt.asUintN(64, value) !== value) throw new RangeError(`${value} does not fit 64 bits`);
  const frame = pageNumber(paddr);
  const at = memory.wordOffset(frame) + wordInFrame(paddr);
  const words = memory.words(frame, true);
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = Number(value >> 32n);
}

/**
 * A copy of the `length` bytes from `paddr` on, which may lie in several frames. O(length).
 *
 * @throws PageTableError `BUS_ERROR`
 */
export function readPhys(memory: PhysMemory, paddr: PhysAddr, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  forEachPiece(memory, paddr, length, false, (piece, done) => bytes.set(piece, done));
  return bytes;
}

/**
 * Writes `bytes` from `paddr` on, across frames. O(bytes). Nothing is written if any of it is outside memory.
 *
 * @throws PageTableError `BUS_ERROR`
 */
export function writePhys(memory: PhysMemory, paddr: PhysAddr, bytes: Uint8Array): void {
  // Every frame is asked for before the first byte goes in.
  forEachPiece(memory, paddr, bytes.length, true, () => {});
  forEachPiece(memory, paddr, bytes.length, true, (piece, done) => {
    piece.set(bytes.subarray(done, done + piece.length));
  });
}

function wordInFrame(paddr: PhysAddr): number {
  const offset = pageOffset(paddr);
  if (offset % 8 !== 0) throw new RangeError(`0x${paddr.toString(16)} is no multiple of 8`);
  return offset / 4;
}

function forEachPiece(
  memory: PhysMemory,
  paddr: PhysAddr,
  length: number,
  write: boolean,
  visit: (piece: Uint8Array, done: number) => void,
): void {
  let frame = pageNumber(paddr);
  let offset = pageOffset(paddr);
  for (let done = 0; done < length; ) {
    const words = memory.words(frame, write);
    const count = Math.min(0x1000 - offset, length - done);
    const start = words.byteOffset + memory.wordOffset(frame) * 4 + offset;
    visit(new Uint8Array(words.buffer, start, count), done);
    done += count;
    frame += 1;
    offset = 0;
  }
}
