import { describeValue, PAGE_SIZE, type PhysAddr, pageNumber, pageOffset } from '@svsm/address';
import { invalidArgument } from '../entry/invalid-argument.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { CELL, HALVES, is64Bit, raw } from '../entry/words.ts';

/**
 * Physical memory as page tables access it: frames of 4 KiB, addressed by frame number (physical address / 4096).
 *
 * A frame is 1024 consecutive little-endian 32-bit words in a typed array, at an offset that the implementation chooses.
 * So a walk works the same on one buffer, on a map of frames and on a guest's view through nested paging, and it reads
 * entries without making a `bigint`.
 *
 * An implementation may not call the page table or part that accesses it: that throws `BUSY`. An error that it throws reaches
 * the caller of the operation. If it lasts, the operation finds it before it changes anything.
 */
export interface PhysMemory {
  /**
   * A counter, 0 or more, that changes with every `words(frame, true)`. While it is unchanged, arrays returned earlier stay
   * valid and no table has changed, so a page table can continue from its last walk, and can write again to an array that it
   * was given to write. Across one `words(frame, true)` the same holds for every frame but that one.
   *
   * NaN means: cache nothing. An implementation must use it if the memory can change or move by itself, or if two frame
   * numbers share words.
   */
  readonly epoch: number;
  /**
   * The array that holds the words of `frame`. With `write`, every later read sees the same array; callers write to it at
   * once and do not keep it. Without `write`, callers must not write to it.
   *
   * @throws PageTableError `BUS_ERROR` if there is no memory at `frame`; `READ_ONLY` if it cannot be written
   */
  words(frame: number, write: boolean): Uint32Array;
  /** The index of the first word of `frame` in that array, the same for reads and writes. */
  wordOffset(frame: number): number;
}

/**
 * Reads the byte at `paddr`. O(1), without an allocation, as the reads of 16 and 32 bits.
 *
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 */
export function readPhys8(memory: PhysMemory, paddr: PhysAddr): number {
  return readUint(memory, paddr, 1);
}

/**
 * Reads the 2 bytes at `paddr` as a little-endian number. O(1).
 *
 * @param paddr - a multiple of 2
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 */
export function readPhys16(memory: PhysMemory, paddr: PhysAddr): number {
  return readUint(memory, paddr, 2);
}

/**
 * Reads the 4 bytes at `paddr` as a little-endian number. O(1).
 *
 * @param paddr - a multiple of 4
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 */
export function readPhys32(memory: PhysMemory, paddr: PhysAddr): number {
  return readUint(memory, paddr, 4);
}

/**
 * Reads the 8 bytes at `paddr` as a little-endian number. O(1).
 *
 * @param paddr - a multiple of 8
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 */
export function readPhys64(memory: PhysMemory, paddr: PhysAddr): bigint {
  requireMemory(memory);
  const frame = pageNumber(paddr);
  const place = offsetOf(paddr, 8) / 4;
  const words = requireWords(memory.words(frame, false));
  const at = requireOffset(memory.wordOffset(frame), words) + place;
  return raw(words[at]!, words[at + 1]!);
}

/**
 * Writes a byte at `paddr`. O(1), without an allocation, as the writes of 16 and 32 bits; but in shared memory, where a
 * thread may write the bytes beside it.
 *
 * @param value - 0 to 0xff
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`, `READ_ONLY`
 */
export function writePhys8(memory: PhysMemory, paddr: PhysAddr, value: number): void {
  writeUint(memory, paddr, 1, value);
}

/**
 * Writes the 16 bits of `value` at `paddr`, little-endian. O(1).
 *
 * @param paddr - a multiple of 2
 * @param value - 0 to 0xffff
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`, `READ_ONLY`
 */
export function writePhys16(memory: PhysMemory, paddr: PhysAddr, value: number): void {
  writeUint(memory, paddr, 2, value);
}

/**
 * Writes the 32 bits of `value` at `paddr`, little-endian. O(1).
 *
 * @param paddr - a multiple of 4
 * @param value - 0 to 0xffff_ffff
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`, `READ_ONLY`
 */
export function writePhys32(memory: PhysMemory, paddr: PhysAddr, value: number): void {
  writeUint(memory, paddr, 4, value);
}

/**
 * Writes the 64 bits of `value` at `paddr`, little-endian. O(1).
 *
 * @param paddr - a multiple of 8
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`, `READ_ONLY`
 */
export function writePhys64(memory: PhysMemory, paddr: PhysAddr, value: bigint): void {
  requireMemory(memory);
  if (!is64Bit(value)) throw invalidArgument('value', value, 'pass a bigint of 64 bits');
  const frame = pageNumber(paddr);
  const place = offsetOf(paddr, 8) / 4;
  const words = requireWords(memory.words(frame, true));
  const at = requireOffset(memory.wordOffset(frame), words) + place;
  CELL[0] = value;
  words[at] = HALVES[0]!;
  words[at + 1] = HALVES[1]!;
}

/** Reads `size` bytes, 1, 2 or 4, which lie in one word. */
function readUint(memory: PhysMemory, paddr: PhysAddr, size: number): number {
  requireMemory(memory);
  const frame = pageNumber(paddr);
  const offset = offsetOf(paddr, size);
  const words = requireWords(memory.words(frame, false));
  const word = words[requireOffset(memory.wordOffset(frame), words) + (offset >>> 2)]!;
  return size === 4 ? word : (word >>> shiftOf(offset)) & maskOf(size);
}

/** Writes `size` bytes, 1, 2 or 4, which lie in one word. */
function writeUint(memory: PhysMemory, paddr: PhysAddr, size: number, value: number): void {
  requireMemory(memory);
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size)) {
    throw invalidArgument('value', value, `pass an unsigned integer of ${8 * size} bits`);
  }
  const frame = pageNumber(paddr);
  const offset = offsetOf(paddr, size);
  const words = requireWords(memory.words(frame, true));
  const at = requireOffset(memory.wordOffset(frame), words) + (offset >>> 2);
  if (size === 4) words[at] = value;
  else if (words.buffer instanceof ArrayBuffer) {
    const shift = shiftOf(offset);
    words[at] = (words[at]! & ~(maskOf(size) << shift)) | (value << shift);
  } else {
    // Other threads may write the rest of the word meanwhile.
    const bytes = new DataView(words.buffer, words.byteOffset + 4 * at + (offset & 3), size);
    if (size === 1) bytes.setUint8(0, value);
    else bytes.setUint16(0, value, true);
  }
}

/** The lowest bit of a byte in its word. */
function shiftOf(offset: number): number {
  return 8 * (offset & 3);
}

function maskOf(size: number): number {
  return 2 ** (8 * size) - 1;
}

/**
 * Copies `length` bytes from `paddr` on. They can lie in several frames. O(length).
 *
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 */
export function readPhys(memory: PhysMemory, paddr: PhysAddr, length: number): Uint8Array {
  requireMemory(memory);
  const bytes = zeros(length);
  if (length > 0 && length <= SHORT && pageOffset(paddr) + length <= PAGE_SIZE) {
    readShort(memory, paddr, bytes, length);
    return bytes;
  }
  forEachPiece(memory, paddr, length, false, (piece, done) => bytes.set(piece, done));
  return bytes;
}

/**
 * Writes `bytes` from `paddr` on. They can lie in several frames. Writes nothing if one of these is outside memory.
 * O(bytes).
 *
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`, `READ_ONLY`
 */
export function writePhys(memory: PhysMemory, paddr: PhysAddr, bytes: Uint8Array): void {
  requireMemory(memory);
  if (!isA(Uint8Array, bytes)) throw invalidArgument('bytes', bytes, 'pass a Uint8Array');
  // Write access to every frame is asked for before the first byte is written.
  forEachPiece(memory, paddr, bytes.length, true, () => {});
  forEachPiece(memory, paddr, bytes.length, true, (piece, done) => {
    piece.set(bytes.subarray(done, done + piece.length));
  });
}

/** The most bytes for which a view of the frame takes longer than the bytes one by one. */
const SHORT = 16;

/** Reads a few bytes of one frame. */
function readShort(memory: PhysMemory, paddr: PhysAddr, bytes: Uint8Array, length: number): void {
  const frame = pageNumber(paddr);
  const words = requireWords(memory.words(frame, false));
  const base = requireOffset(memory.wordOffset(frame), words);
  const start = pageOffset(paddr);
  for (let at = start; at < start + length; at += 1) {
    bytes[at - start] = words[base + (at >>> 2)]! >>> shiftOf(at);
  }
}

/** The offset of `paddr` in its frame. @throws PageTableError `INVALID_ARGUMENT` unless it is a multiple of `size` */
function offsetOf(paddr: PhysAddr, size: number): number {
  const offset = pageOffset(paddr);
  if ((offset & (size - 1)) !== 0) throw invalidArgument('paddr', paddr, `pass a multiple of ${size}`);
  return offset;
}

/** Calls `visit` with the bytes of each frame that a range touches, and the number of bytes before them. */
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
    const words = requireWords(memory.words(frame, write));
    const count = Math.min(0x1000 - offset, length - done);
    const start = words.byteOffset + requireOffset(memory.wordOffset(frame), words) * 4 + offset;
    visit(new Uint8Array(words.buffer, start, count), done);
    done += count;
    frame += 1;
    offset = 0;
  }
}

/** @throws PageTableError `INVALID_ARGUMENT` unless `memory` has the methods of a {@link PhysMemory} */
function requireMemory(memory: PhysMemory): void {
  let cause: unknown;
  try {
    if (typeof memory.words === 'function' && typeof memory.wordOffset === 'function') return;
  } catch (error) {
    cause = error;
  }
  const options = cause === undefined ? undefined : { cause };
  throw invalidArgument('memory', memory, 'pass a PhysMemory, as createPhysMemory returns', options);
}

/** The result of `PhysMemory.words`. @throws PageTableError `RULE_BROKEN` unless it is an array of words */
export function requireWords(words: Uint32Array): Uint32Array {
  if (isA(Uint32Array, words)) return words;
  const rule = 'a frame is 1024 words of the array, starting at its offset';
  throw new PageTableError('RULE_BROKEN', { rule, found: 'words() does not return a Uint32Array' });
}

/** @throws PageTableError `INVALID_ARGUMENT` unless `length` is a number of bytes that one array can have */
function zeros(length: number): Uint8Array {
  let cause: unknown;
  if (Number.isSafeInteger(length) && length >= 0) {
    try {
      return new Uint8Array(length);
    } catch (error) {
      cause = error;
    }
  }
  const options = cause === undefined ? undefined : { cause };
  throw invalidArgument('length', length, 'pass the number of bytes, which one array must hold', options);
}

/** The result of `PhysMemory.wordOffset`. @throws PageTableError `RULE_BROKEN` unless a frame fits there */
export function requireOffset(offset: number, words?: Uint32Array): number {
  const most = words === undefined ? Number.MAX_SAFE_INTEGER : words.length - 0x400;
  if (Number.isInteger(offset) && offset >= 0 && offset <= most) return offset;
  const rule = 'a frame is 1024 words of the array, starting at its offset';
  throw new PageTableError('RULE_BROKEN', { rule, found: `wordOffset() returns ${describeValue(offset)}` });
}

function isA<T>(type: abstract new (...args: never[]) => T, value: unknown): value is T {
  try {
    return value instanceof type;
  } catch {
    return false;
  }
}
