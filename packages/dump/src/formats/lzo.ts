/**
 * Decompresses a block of LZO1X, as `lzo1x_1_compress` of liblzo writes it (Linux, `Documentation/staging/lzo.rst`).
 *
 * @param size - the size that the block must have
 * @returns `undefined` if the block is damaged, or has another size
 */
export function unpackLzo(packed: Uint8Array, size: number): Uint8Array | undefined {
  const block = new LzoBlock(packed, size);
  return block.unpack() ? block.out : undefined;
}

/** The distance of a match of 3 bytes after a literal of 4 or more begins here. */
const NEAR = 0x800;
const FAR = 0x4000;

class LzoBlock {
  readonly out: Uint8Array;
  readonly #packed: Uint8Array;
  #at = 0;
  #done = 0;
  /** Whether an instruction reached past the end of the input or of the output, or before its beginning. */
  #isBroken = false;

  constructor(packed: Uint8Array, size: number) {
    this.#packed = packed;
    this.out = new Uint8Array(size);
  }

  /** Returns whether the block was sound and is complete. */
  unpack(): boolean {
    /** The number of literals that the last instruction copied: 0 to 3, or 4 for more. It changes the next instruction. */
    let state = 0;
    const first = this.#packed[0] ?? 0;
    if (first > 17) {
      this.#at = 1;
      this.#literals(first - 17);
      state = Math.min(4, first - 17);
    }
    while (!this.#isBroken) {
      const code = this.#byte();
      if (code < 16 && state === 0) {
        this.#literals(3 + this.#length(code, 15));
        state = 4;
        continue;
      }
      const end = this.#match(code, state);
      if (end === undefined) break;
      state = end;
      this.#literals(state);
    }
    return !this.#isBroken && this.#done === this.out.length && this.#at === this.#packed.length;
  }

  /** Copies the match of an instruction. Returns the number of literals after it, or `undefined` at the end of the block. */
  #match(code: number, state: number): number | undefined {
    if (code >= 64) {
      const distance = 1 + ((code >> 2) & 7) + this.#byte() * 8;
      this.#copy(distance, (code >> 5) + 1);
      return code & 3;
    }
    if (code < 16) {
      const distance = 1 + (code >> 2) + this.#byte() * 4;
      if (state === 4) this.#copy(distance + NEAR, 3);
      else this.#copy(distance, 2);
      return code & 3;
    }
    const isNear = code >= 32;
    const length = 2 + (isNear ? this.#length(code & 31, 31) : this.#length(code & 7, 7));
    const [low, high] = [this.#byte(), this.#byte()];
    const distance = (low >> 2) + high * 64;
    if (isNear) this.#copy(distance + 1, length);
    else {
      const far = ((code >> 3) & 1) * FAR + distance;
      if (far === 0) {
        if (length !== 3) this.#isBroken = true;
        return undefined;
      }
      this.#copy(far + FAR, length);
    }
    return low & 3;
  }

  /** A length in the low bits of a code; 0 means that it follows: 255 for each byte that is zero, then the first other byte. */
  #length(bits: number, most: number): number {
    if (bits !== 0) return bits;
    let length = most;
    for (;;) {
      const byte = this.#byte();
      if (byte !== 0) return length + byte;
      length += 255;
      if (this.#isBroken || length > this.out.length) {
        this.#isBroken = true;
        return 0;
      }
    }
  }

  #byte(): number {
    const byte = this.#packed[this.#at];
    this.#at += 1;
    if (byte !== undefined) return byte;
    this.#isBroken = true;
    return 0;
  }

  #literals(count: number): void {
    const [from, to] = [this.#at, this.#done];
    if (from + count > this.#packed.length || to + count > this.out.length) {
      this.#isBroken = true;
      return;
    }
    for (let i = 0; i < count; i += 1) this.out[to + i] = this.#packed[from + i]!;
    this.#at += count;
    this.#done += count;
  }

  #copy(distance: number, length: number): void {
    const to = this.#done;
    if (distance > to || to + length > this.out.length) {
      this.#isBroken = true;
      return;
    }
    // The match may overlap itself: then it repeats.
    for (let i = 0; i < length; i += 1) this.out[to + i] = this.out[to + i - distance]!;
    this.#done += length;
  }
}
