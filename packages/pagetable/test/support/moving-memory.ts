import type { PhysMemory } from '../../src/memory/phys-memory.ts';

/**
 * Memory that moves a frame to a new array with every write, as copy on write does, and fills the old array with garbage.
 * Code that keeps an array for too long reads the garbage.
 */
export class MovingMemory implements PhysMemory {
  epoch = 0;
  readonly #memory: PhysMemory;
  readonly #places: Map<number, Uint32Array> = new Map();

  constructor(memory: PhysMemory) {
    this.#memory = memory;
  }

  words(frame: number, write: boolean): Uint32Array {
    const old = this.#placeOf(frame);
    if (!write) return old;
    const place = old.slice();
    old.fill(0xdead_bee1);
    this.#places.set(frame, place);
    this.epoch += 1;
    return place;
  }

  wordOffset(_frame: number): number {
    return 0;
  }

  #placeOf(frame: number): Uint32Array {
    let place = this.#places.get(frame);
    if (place === undefined) {
      const at = this.#memory.wordOffset(frame);
      place = this.#memory.words(frame, false).slice(at, at + 1024);
      this.#places.set(frame, place);
    }
    return place;
  }
}
