/** The number of frames in 2 MiB. */
const BLOCK = 512;

/** The places of some frames: how many of them lie in each 2 MiB. It tells at once that a range has none, as most ranges do. */
export class FrameCounts {
  readonly #blocks: Map<number, number> = new Map();

  /** Counts a frame, or with −1 one less. O(1). */
  count(frame: number, change: 1 | -1): void {
    const block = Math.floor(frame / BLOCK);
    const count = (this.#blocks.get(block) ?? 0) + change;
    if (count === 0) this.#blocks.delete(block);
    else this.#blocks.set(block, count);
  }

  /**
   * Whether one of `count` frames from `frame` on may be counted: `false` only if the 2 MiB around the range have none. O(1) for
   * each 2 MiB, or for all if more of them have frames.
   */
  mayHave(frame: number, count: number): boolean {
    const first = Math.floor(frame / BLOCK);
    const last = Math.floor((frame + count - 1) / BLOCK);
    if (last - first >= this.#blocks.size) return this.#blocks.size > 0;
    for (let block = first; block <= last; block += 1) if (this.#blocks.has(block)) return true;
    return false;
  }
}
