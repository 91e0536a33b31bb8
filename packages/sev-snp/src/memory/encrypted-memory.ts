import { type Bytes, byteCount, PAGE_SIZE, pageNumber, pageOffset, showInConsoles } from '@svsm/address';
import { PageTableError, type PhysMemory } from '@svsm/pagetable';
import { refuseArgument, requireBoolean, requireInteger, requireWhole } from '../formats/arguments.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { requireBytes, requireKey, requireWithin } from './access-arguments.ts';
import type { DramFrame, WrittenFrame } from './dram-frame.ts';
import { bytesAt, setBytesAt } from './frame-bytes.ts';
import { FrameCounts } from './frame-counts.ts';
import { applyKeystream } from './keystream.ts';
import { MemoryEpochs } from './memory-epochs.ts';
import { RunMap } from './run-map.ts';

/** A key of the memory controller. 0 means no encryption: for the hypervisor and for shared accesses. */
export type MemoryKey = number;

/** The key of an access that is not encrypted. */
export const NO_KEY: MemoryKey = 0;

const WORDS = PAGE_SIZE / 4;

/**
 * System memory behind an encryption engine, as software sees it. Only the key that wrote a byte reads it back. Every
 * other key reads ciphertext, which depends on the content, both keys and the address.
 *
 * It is a model, not cryptography: DRAM holds the content XOR a keystream of (seed, key, address). A write with one key
 * leaves the bytes next to it unchanged for every key. Old ciphertext that is put back at its address decrypts as before,
 * as on hardware, where only the RMP protects integrity (AMD64 APM vol. 2, §15.34.1). On hardware one changed bit garbles
 * 16 bytes; here it changes one bit.
 *
 * Sparse: a frame costs 4 KiB from its first write on. Frames that are zeros under one key are kept as ranges, so
 * {@link clear} and {@link rekey} of such frames cost nothing, however many they are.
 *
 * Whoever has an array of {@link words} can read and write the frame through it, so the array ends with the state of the
 * page: from the first write with another key on, a {@link rekey} or a {@link revoke}, the frame lives in another array.
 * The old one keeps the content that it had. What is written to it reaches no memory.
 *
 * @example
 * ```ts
 * import { EncryptedMemory, NO_KEY } from '@svsm/sev-snp/memory';
 * import { sysPhysAddr } from '@svsm/sev-snp/formats';
 *
 * const memory = new EncryptedMemory(0x10_0000);
 * const key = memory.createKey();
 * memory.write(sysPhysAddr(0x5000), Uint8Array.of(1, 2, 3), key);
 * console.log([...memory.read(sysPhysAddr(0x5000), 3, key)]); // => [ 1, 2, 3 ]
 * console.log(memory.read(sysPhysAddr(0x5000), 3, NO_KEY)[0] === 1); // => false
 * ```
 */
export class EncryptedMemory {
  static {
    showInConsoles(this, 'EncryptedMemory', ({ size }) => ({ size }));
  }

  /** The size in bytes. Memory begins at address 0. */
  readonly size: bigint;
  readonly #seed: number;
  readonly #frameCount: number;
  readonly #frames: Map<number, DramFrame> = new Map();
  /** The places of `#frames`. */
  readonly #held: FrameCounts = new FrameCounts();
  /** The key as which each frame of DRAM that is not in `#frames` is zero, at its own address. */
  readonly #zeroFor: RunMap<MemoryKey> = new RunMap<MemoryKey>(NO_KEY);
  /** The frame of DRAM behind each frame that does not have its own; `undefined` while all have. */
  #targets: Map<number, number> | undefined;
  readonly #zeros: Uint32Array = new Uint32Array(WORDS);
  /** The frames of DRAM with `isLent`. */
  readonly #lent: Set<number> = new Set();
  #keys = 0;
  readonly #epochs: MemoryEpochs = new MemoryEpochs();

  /**
   * Memory of `size` bytes, whose DRAM is zero. O(1).
   *
   * @param seed - a 32-bit integer; equal seeds give equal ciphertext
   * @throws SnpError `INVALID_ARGUMENT` if the size is not a multiple of 4096, or the seed is not an integer; AddressError
   *   `INVALID_BYTE_COUNT`
   */
  constructor(size: Bytes, seed = 0) {
    requireWhole('the seed', seed);
    this.size = byteCount(size);
    this.#seed = seed | 0;
    this.#frameCount = Number(this.size / BigInt(PAGE_SIZE));
    if (this.size % BigInt(PAGE_SIZE) !== 0n) {
      refuseArgument('memory size', this.size, 'pass a multiple of 4096');
    }
  }

  /** The epoch of a key: it grows when an array of {@link words} may end. O(1). @throws SnpError `INVALID_ARGUMENT` */
  epochOf(key: MemoryKey): number {
    requireKey(key);
    return this.#epochs.of(key);
  }

  /** A new key. */
  createKey(): MemoryKey {
    this.#keys += 1;
    return this.#keys;
  }

  /**
   * Reads bytes as `key` sees them. O(length).
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`
   */
  read(spa: SysPhysAddr, length: number, key: MemoryKey): Uint8Array {
    requireInteger('length', length, 0);
    this.#requireRange(spa, length);
    const bytes = new Uint8Array(length);
    this.readInto(spa, bytes, key);
    return bytes;
  }

  /** As {@link read}, into `bytes`. @throws as {@link EncryptedMemory.read} */
  readInto(spa: SysPhysAddr, bytes: Uint8Array, key: MemoryKey): void {
    requireBytes(bytes);
    requireKey(key);
    this.#copy(spa, bytes, key, false);
  }

  /**
   * Requires that memory has `count` frames from `frame` on. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument is not an integer; PageTableError `BUS_ERROR`
   */
  requirePages(frame: number, count: number): void {
    requireWhole('the number of frames', count);
    this.#require(frame);
    this.#require(frame + count - 1);
  }

  /**
   * Writes bytes with `key`. O(bytes), and O(4096) for each frame that another key wrote last.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`; nothing is
   *   written then
   */
  write(spa: SysPhysAddr, bytes: Uint8Array, key: MemoryKey): void {
    requireBytes(bytes);
    requireKey(key);
    this.#requireRange(spa, bytes.length);
    this.#copy(spa, bytes, key, true);
  }

  /**
   * The frames of a range that are not known to be zeros for a key, ascending. O(n log n) for n of them and the ranges of zeros.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`
   */
  writtenIn(frame: number, count: number, key: MemoryKey): readonly number[] {
    requireKey(key);
    this.requirePages(frame, count);
    const isBlank = (k: number): boolean => {
      const cell = this.#cellOf(k);
      const held = this.#frames.get(cell);
      return held?.words === undefined && this.#isPlain(held, cell, k, key);
    };
    const end = frame + count;
    if (this.#targets !== undefined) {
      return Array.from({ length: count }, (_, k) => frame + k).filter((k) => !isBlank(k));
    }
    const found = this.#heldIn(frame, count).filter((k) => !isBlank(k));
    for (let at = frame; at < end; at = this.#zeroFor.endOf(at)) {
      const last = this.#zeroFor.get(at) === key ? at : Math.min(this.#zeroFor.endOf(at), end);
      for (let k = at; k < last; k += 1) if (!this.#frames.has(k)) found.push(k);
    }
    return found.sort((a, b) => a - b);
  }

  /** As {@link read}, for bytes in one frame, by its number. @throws as {@link EncryptedMemory.read} */
  readFrame(frame: number, offset: number, length: number, key: MemoryKey): Uint8Array {
    requireKey(key);
    requireWithin(offset, length);
    return bytesAt(this.#seenBy(frame, key), offset, length);
  }

  /** As {@link write}, for bytes in one frame, by its number. @throws as {@link EncryptedMemory.write} */
  writeFrame(frame: number, offset: number, bytes: Uint8Array, key: MemoryKey): void {
    requireBytes(bytes);
    requireKey(key);
    requireWithin(offset, bytes.length);
    setBytesAt(this.#writtenBy(frame, key).words, offset, bytes);
  }

  /**
   * Memory as `key` sees it, for page tables, by system frame numbers. It checks no access.
   * @throws SnpError `INVALID_ARGUMENT` if `key` is not an integer
   */
  view(key: MemoryKey): PhysMemory {
    requireKey(key);
    const epoch = (): number => this.#epochs.of(key);
    return {
      get epoch() {
        return epoch();
      },
      words: (frame, write) => this.words(frame, key, write),
      wordOffset: () => 0,
    };
  }

  /**
   * The 1024 words of a frame as `key` sees them, by system frame number. Use the array at once and do not keep it: it ends
   * with the state of the page, as the class says. With `write`, what is written to the array is written with `key`;
   * without, do not write to it. O(1) if `key` wrote last.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`
   */
  words(frame: number, key: MemoryKey, write: boolean): Uint32Array {
    requireKey(key);
    requireBoolean('write', write);
    if (write) {
      const held = this.#writtenBy(frame, key);
      this.#lend(frame, held);
      return held.words;
    }
    this.#require(frame);
    const cell = this.#cellOf(frame);
    const held = this.#frames.get(cell);
    if (!this.#isPlain(held, cell, frame, key) || held?.words === undefined) {
      this.#epochs.addCopy(cell);
      const words = this.#seenBy(frame, key);
      return words === this.#zeros ? new Uint32Array(WORDS) : words;
    }
    this.#lend(frame, held);
    return held.words;
  }

  /**
   * Ends the arrays of {@link words} of `count` frames from `frame` on, because the page has another owner, state or permission. No
   * content changes. O(1) for each frame, or for each array given out if those are fewer; and O(4096) for each array that it ends.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument is not an integer
   */
  revoke(frame: number, count = 1): void {
    requireWhole('the frame number', frame);
    requireWhole('the number of frames', count);
    const end = Math.min(frame + count, this.#frameCount);
    if (this.#targets === undefined && this.#lent.size < count) {
      if (!this.#held.mayHave(frame, count)) return;
      for (const lent of this.#lent) if (lent >= frame && lent < end) this.#revoke(lent);
    } else for (let k = Math.max(frame, 0); k < end; k += 1) this.#revoke(this.#cellOf(k));
  }

  /**
   * Makes `alias` a second address of the DRAM at `target`: a physical attack, see `HostileHypervisor.aliasDram`. The DRAM
   * that was at `alias` is out of reach until `aliasFrame(alias, alias)`. Both are system frame numbers. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`; nothing has changed then
   */
  aliasFrame(alias: number, target: number): void {
    this.#require(alias);
    this.#require(target);
    this.#epochs.end();
    // The target's own DRAM: an alias of an alias does not exist.
    if (alias !== target) this.#targets = (this.#targets ?? new Map()).set(alias, target);
    else if (this.#targets?.delete(alias) === true && this.#targets.size === 0) this.#targets = undefined;
  }

  /**
   * Writes zeros with `key` to `count` frames from `frame` on. They cost no memory until they are written again. An array of
   * {@link words} that a write with `key` would keep stays the frame. O(log n) for n ranges of zeros, and O(1) for each of
   * the frames that has words.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`; nothing has changed then
   */
  clear(frame: number, key: MemoryKey, count = 1): void {
    requireKey(key);
    this.requirePages(frame, count);
    if (this.#targets !== undefined) {
      for (let k = frame; k < frame + count; k += 1) this.#clearCell(this.#cellOf(k), k, key);
      return;
    }
    this.#epochs.noteCopies(frame, count);
    for (const cell of this.#heldIn(frame, count)) this.#clearCell(cell, cell, key);
    this.#zeroFor.set(frame, frame + count, key);
  }

  /**
   * Makes `key` see the content that `from` sees now, as LAUNCH_UPDATE does when it encrypts a page in place: of `count`
   * frames from `frame` on. For frames that are zeros for `from`, O(log n) for n ranges of zeros. For each other frame, O(1)
   * if `from` wrote last and no array of {@link words} was given out.
   *
   * @throws SnpError `INVALID_ARGUMENT` if an argument has another type; PageTableError `BUS_ERROR`; nothing has changed then
   */
  rekey(frame: number, from: MemoryKey, key: MemoryKey, count = 1): void {
    requireKey(from);
    requireKey(key);
    this.requirePages(frame, count);
    this.revoke(frame, count);
    if (this.#targets === undefined) this.#epochs.noteCopies(frame, count);
    else {
      this.#epochs.end();
      for (let k = frame; k < frame + count; k += 1) this.#rekeyFrame(k, from, key);
      return;
    }
    for (const held of this.#heldIn(frame, count)) this.#rekeyFrame(held, from, key);
    for (let at = frame; at < frame + count; ) {
      const end = Math.min(this.#zeroFor.endOf(at), frame + count);
      if (this.#zeroFor.get(at) === from) this.#zeroFor.set(at, end, key);
      else for (let k = at; k < end; k += 1) if (!this.#frames.has(k)) this.#rekeyFrame(k, from, key);
      at = end;
    }
  }

  #clearCell(cell: number, frame: number, key: MemoryKey): void {
    const held = this.#frames.get(cell);
    this.#epochs.noteCopies(cell, 1);
    if (held?.isLent === true && this.#isPlain(held, cell, frame, key)) {
      this.#epochs.noteWrite(cell, key, true);
      held.words?.fill(0);
      return;
    }
    if (held?.isLent === true) this.#epochs.end();
    this.#lent.delete(cell);
    if (cell === frame || key === NO_KEY) {
      if (this.#frames.delete(cell)) this.#held.count(cell, -1);
      this.#zeroFor.set(cell, cell + 1, key);
    } else this.#hold(cell, { key, address: frame, words: undefined, isLent: false });
  }

  #rekeyFrame(frame: number, from: MemoryKey, key: MemoryKey): void {
    const cell = this.#cellOf(frame);
    const held = this.#frames.get(cell);
    const words = this.#isPlain(held, cell, frame, from) ? held?.words : this.#seenBy(frame, from).slice();
    this.#hold(cell, { key, address: frame, words, isLent: false });
  }

  #hold(cell: number, frame: DramFrame): void {
    if (!this.#frames.has(cell)) this.#held.count(cell, 1);
    this.#frames.set(cell, frame);
  }

  /**
   * The frames of a range with words or an address of their own. O(1) if the 2 MiB around the range have none; else O(count), or
   * O(frames) if those are fewer.
   */
  #heldIn(frame: number, count: number): readonly number[] {
    if (!this.#held.mayHave(frame, count)) return [];
    const isIn = (cell: number): boolean => cell >= frame && cell < frame + count;
    if (this.#frames.size < count) return [...this.#frames.keys()].filter(isIn);
    return Array.from({ length: count }, (_, k) => frame + k).filter((cell) => this.#frames.has(cell));
  }

  /** The number of the frame of DRAM at the address with this frame number. */
  #cellOf(frame: number): number {
    return this.#targets?.get(frame) ?? frame;
  }

  /** Whether the words of a frame, or its zeros, are what `key` sees at an address, without a keystream. */
  #isPlain(held: DramFrame | undefined, cell: number, frame: number, key: MemoryKey): boolean {
    if (held !== undefined) return held.key === key && (held.address === frame || key === NO_KEY);
    return this.#zeroFor.get(cell) === key && (cell === frame || key === NO_KEY);
  }

  /** The words of a frame as `key` sees them, for reading: those of DRAM only if `key` wrote last. */
  #seenBy(frame: number, key: MemoryKey): Uint32Array {
    this.#require(frame);
    const cell = this.#cellOf(frame);
    const held = this.#frames.get(cell);
    if (this.#isPlain(held, cell, frame, key)) return held?.words ?? this.#zeros;
    const words = new Uint32Array(WORDS);
    if (held?.words !== undefined) words.set(held.words);
    return this.#turn(words, held, cell, frame, key);
  }

  /** The frame with the words that `key` writes to: those of DRAM, which `key` has written last from now on. */
  #writtenBy(frame: number, key: MemoryKey): WrittenFrame {
    this.#require(frame);
    const cell = this.#cellOf(frame);
    const held = this.#frames.get(cell);
    const isPlain = this.#isPlain(held, cell, frame, key);
    if (isPlain && held?.words !== undefined) {
      this.#epochs.noteWrite(cell, key, held.isLent);
      return held as WrittenFrame;
    }
    if (held?.isLent === true) this.#epochs.end();
    else this.#epochs.noteCopies(cell, 1);
    // Somebody may hold the array: the frame gets another one.
    const words = held?.isLent === true ? held.words?.slice() : held?.words;
    const turned = words ?? new Uint32Array(WORDS);
    if (!isPlain) this.#turn(turned, held, cell, frame, key);
    const written = { key, address: frame, words: turned, isLent: false };
    this.#hold(cell, written);
    this.#lent.delete(cell);
    return written;
  }

  /** Turns the words of a frame of DRAM into those that `key` sees at the address, in place. */
  #turn(
    words: Uint32Array,
    held: DramFrame | undefined,
    cell: number,
    frame: number,
    key: MemoryKey,
  ): Uint32Array {
    applyKeystream(words, this.#seed, held?.key ?? this.#zeroFor.get(cell), held?.address ?? cell);
    applyKeystream(words, this.#seed, key, frame);
    return words;
  }

  #lend(frame: number, held: DramFrame): void {
    if (held.isLent) return;
    held.isLent = true;
    this.#lent.add(this.#cellOf(frame));
  }

  #revoke(cell: number): void {
    const held = this.#frames.get(cell);
    if (held?.isLent !== true) return;
    this.#epochs.end();
    held.words = held.words?.slice();
    held.isLent = false;
    this.#lent.delete(cell);
  }

  /** Copies bytes out of memory or into it, frame by frame. */
  #copy(spa: SysPhysAddr, bytes: Uint8Array, key: MemoryKey, write: boolean): void {
    let frame = pageNumber(spa);
    let offset = pageOffset(spa);
    for (let done = 0; done < bytes.length; frame += 1) {
      const { buffer, byteOffset } = write ? this.#writtenBy(frame, key).words : this.#seenBy(frame, key);
      const count = Math.min(PAGE_SIZE - offset, bytes.length - done);
      const piece = new Uint8Array(buffer, byteOffset + offset, count);
      const part = count === bytes.length ? bytes : bytes.subarray(done, done + count);
      if (write) piece.set(part);
      else part.set(piece);
      done += count;
      offset = 0;
    }
  }

  /** Requires that memory has `length` bytes from `spa` on. */
  #requireRange(spa: SysPhysAddr, length: number): void {
    SysPhys.assertIsAddress(spa);
    if (length === 0) return;
    const first = pageNumber(spa);
    const last = first + Math.floor((pageOffset(spa) + length - 1) / PAGE_SIZE);
    if (last >= this.#frameCount) this.#require(Math.max(first, this.#frameCount));
  }

  #require(frame: number): void {
    if (Number.isInteger(frame) && frame >= 0 && frame < this.#frameCount) return;
    requireWhole('the frame number', frame);
    const paddr = BigInt(frame) * BigInt(PAGE_SIZE);
    throw new PageTableError('BUS_ERROR', {
      paddr,
      memory: `system memory of 0x${this.size.toString(16)} bytes`,
    });
  }
}
