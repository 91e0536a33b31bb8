import { PAGE_SIZE } from '@svsm/address';
import { PageTableError } from '../entry/page-table-error.ts';
import { frameAddress } from '../entry/words.ts';
import type { PhysMemory } from './phys-memory.ts';

/**
 * Reads the 4096 bytes of `frame` (physical address / 4096) into `bytes`. Returns whether the frame exists: `true` or `false`,
 * not a promise. An error that it throws reaches the code that reads memory. It may not call a page table that reads the memory:
 * that throws `BUSY`.
 */
export type ReadFrame = (frame: number, bytes: Uint8Array) => boolean;

const WORDS_PER_FRAME = PAGE_SIZE / 4;
const MAX_FRAMES = 2 ** 40;

/** Read-only memory whose frames are fetched when they are first read. The ones used last stay in a cache. */
export class ReaderMemory implements PhysMemory {
  /** Constant: nothing is ever written, and an array stays valid after its frame has left the cache. */
  readonly epoch: number = 0;
  readonly #readFrame: ReadFrame;
  readonly #capacity: number;
  /** The fetched frames, the least recently used first. */
  readonly #cache: Map<number, Uint32Array> = new Map();

  constructor(readFrame: ReadFrame, capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new PageTableError('INVALID_MEMORY', {
        value: capacity,
        problem: '`cachedFrames` must be an integer of at least 1',
      });
    }
    this.#readFrame = readFrame;
    this.#capacity = capacity;
  }

  words(frame: number, write: boolean): Uint32Array {
    const held = this.#cache.get(frame);
    if (held === undefined) {
      const fetched = this.#fetch(frame);
      if (!write) return fetched;
    } else if (!write) {
      this.#cache.delete(frame);
      this.#cache.set(frame, held);
      return held;
    }
    throw new PageTableError('READ_ONLY', { paddr: frameAddress(frame) });
  }

  wordOffset(_frame: number): number {
    return 0;
  }

  #fetch(frame: number): Uint32Array {
    const words = new Uint32Array(WORDS_PER_FRAME);
    const isFrame = Number.isInteger(frame) && frame >= 0 && frame < MAX_FRAMES;
    const found = isFrame && this.#readFrame(frame, new Uint8Array(words.buffer));
    if (found !== true) {
      const paddr = isFrame ? frameAddress(frame) : BigInt(Math.trunc(frame) || 0);
      // A promise is not an answer: its bytes would arrive after the walk.
      const memory =
        found === false ? 'only the frames that the reader finds' : 'a reader that must return true or false';
      throw new PageTableError('BUS_ERROR', { paddr, memory });
    }
    if (this.#cache.size === this.#capacity) {
      const [oldest] = this.#cache.keys();
      this.#cache.delete(oldest as number);
    }
    this.#cache.set(frame, words);
    return words;
  }
}
