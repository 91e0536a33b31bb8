import { describeValue, type PhysAddr, pageNumber, pageOffset } from '@svsm/address';
import { invalidArgument } from '../entry/invalid-argument.ts';
import { PageTableError } from '../entry/page-table-error.ts';

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
   * A counter that changes with every `words(frame, true)`. While it is unchanged, arrays returned earlier stay valid and
   * no table has changed, so a page table can continue from its last walk. Across one `words(frame, true)` the same holds
   * for every frame but that one.
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
 * Reads the 8 bytes at `paddr` as a little-endian number. O(1).
 *
 * @param paddr - a multiple of 8
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 * @throws RangeError if `paddr` is not a multiple of 8
 */
export function readPhys64(memory: PhysMemory, paddr: PhysAddr): bigint {
  requireMemory(memory);
  const frame = pageNumber(paddr);
  const place = wordInFrame(paddr);
  const words = requireWords(memory.words(frame, false));
  const at = requireOffset(memory.wordOffset(frame), words) + place;
  return (BigInt(words[at + 1]!) << 32n) | BigInt(words[at]!);
}

/**
 * Writes the 64 bits of `value` at `paddr`, little-endian. O(1).
 *
 * @param paddr - a multiple of 8
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`, `READ_ONLY`
 * @throws RangeError if `paddr` is not a multiple of 8, or `value` has more than 64 bits
 */
export function writePhys64(memory: PhysMemory, paddr: PhysAddr, value: bigint): void {
  requireMemory(memory);
  if (typeof value !== 'bigint' || BigInt.asUintN(64, value) !== value) {
    throw invalidArgument('value', value, 'pass a bigint of 64 bits');
  }
  const frame = pageNumber(paddr);
  const place = wordInFrame(paddr);
  const words = requireWords(memory.words(frame, true));
  const at = requireOffset(memory.wordOffset(frame), words) + place;
  words[at] = Number(value & 0xffff_ffffn);
  words[at + 1] = Number(value >> 32n);
}

/**
 * Copies `length` bytes from `paddr` on. They can lie in several frames. O(length).
 *
 * @throws PageTableError `INVALID_ARGUMENT`; `BUS_ERROR`
 */
export function readPhys(memory: PhysMemory, paddr: PhysAddr, length: number): Uint8Array {
  requireMemory(memory);
  const bytes = zeros(length);
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

/** The index of the word at `paddr` in its frame. */
function wordInFrame(paddr: PhysAddr): number {
  const offset = pageOffset(paddr);
  if (offset % 8 !== 0) throw invalidArgument('paddr', paddr, 'pass a multiple of 8');
  return offset / 4;
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
export function requireMemory(memory: PhysMemory): void {
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
