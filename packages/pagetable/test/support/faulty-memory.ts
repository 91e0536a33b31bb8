import type { PhysMemory } from '../../src/memory/phys-memory.ts';

/** One access to memory. */
export interface Access {
  readonly kind: 'words' | 'wordOffset' | 'epoch';
  readonly frame: number;
  readonly write: boolean;
}

/** The error of a memory that fails. */
export class Fault extends Error {}

/** Memory of a caller that fails where `fails` says, or calls back. Nothing is remembered of it unless it has an epoch. */
export class FaultyMemory implements PhysMemory {
  /** Called before each access. It can throw. */
  onAccess: ((access: Access) => void) | undefined;
  readonly #memory: PhysMemory;
  readonly #hasEpoch: boolean;

  constructor(memory: PhysMemory, hasEpoch: boolean) {
    this.#memory = memory;
    this.#hasEpoch = hasEpoch;
  }

  get epoch(): number {
    this.onAccess?.({ kind: 'epoch', frame: -1, write: false });
    return this.#hasEpoch ? this.#memory.epoch : Number.NaN;
  }

  words(frame: number, write: boolean): Uint32Array {
    this.onAccess?.({ kind: 'words', frame, write });
    return this.#memory.words(frame, write);
  }

  wordOffset(frame: number): number {
    this.onAccess?.({ kind: 'wordOffset', frame, write: false });
    return this.#memory.wordOffset(frame);
  }
}
