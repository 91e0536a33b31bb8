/** Copies are remembered up to this number. After that, everybody has to ask again. */
const MAX_COPIES = 4096;

/**
 * The epochs of memory: for each key, a count that grows whenever an array that was given out for the key may no longer be what the
 * key sees. Frames of which nobody has an array change without a new epoch, so most writes of data end no walk of a page table.
 *
 * An array that is the frame shows what its key writes. Whoever has decided by its content has to look again: the epoch of that
 * key grows. Another key sees such a frame through a copy.
 */
export class MemoryEpochs {
  #common = 0;
  readonly #own: Map<number, number> = new Map();
  /** The frames of DRAM of which a copy was given out since they changed last. */
  readonly #copied: Set<number> = new Set();

  /** The epoch of a key. */
  of(key: number): number {
    return this.#common + (this.#own.get(key) ?? 0);
  }

  /** Notes that a copy of a frame, or zeros in its place, was given out. */
  addCopy(cell: number): void {
    if (this.#copied.size === MAX_COPIES) this.end();
    this.#copied.add(cell);
  }

  /** Notes that the content of a frame changes, in the same array. `isLent`: whether that was given out, for `key`. */
  noteWrite(cell: number, key: number, isLent: boolean): void {
    if (isLent) this.#own.set(key, (this.#own.get(key) ?? 0) + 1);
    this.noteCopies(cell, 1);
  }

  /** Notes that frames change of which copies may have been given out. O(count), or O(copies) if there are fewer. */
  noteCopies(first: number, count: number): void {
    if (this.#copied.size > 0 && this.#hasCopyIn(first, first + count)) this.end();
  }

  /** Begins a new epoch for every key. */
  end(): void {
    this.#common += 1;
    this.#copied.clear();
  }

  #hasCopyIn(first: number, end: number): boolean {
    if (end - first > this.#copied.size) {
      for (const cell of this.#copied) if (cell >= first && cell < end) return true;
      return false;
    }
    for (let cell = first; cell < end; cell += 1) if (this.#copied.has(cell)) return true;
    return false;
  }
}
