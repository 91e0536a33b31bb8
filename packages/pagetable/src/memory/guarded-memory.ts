import type { Callback, CallGuard } from './call-guard.ts';
import { FlatMemory, SparseMemory } from './create-phys-memory.ts';
import { type PhysMemory, requireOffset, requireWords } from './phys-memory.ts';
import { ReaderMemory } from './reader-memory.ts';

/** The memory of a page table with its calls guarded. Flat and sparse memory of this package calls nobody and stays as it is. */
export function guardedMemory(memory: PhysMemory, guard: CallGuard): PhysMemory {
  if (memory instanceof FlatMemory || memory instanceof SparseMemory) return memory;
  return new GuardedMemory(memory, guard);
}

/** Memory of the caller. While it runs, the page table is busy. */
class GuardedMemory implements PhysMemory {
  readonly #memory: PhysMemory;
  readonly #guard: CallGuard;
  readonly #access: Callback;

  constructor(memory: PhysMemory, guard: CallGuard) {
    this.#memory = memory;
    this.#guard = guard;
    this.#access = memory instanceof ReaderMemory ? 'readFrame' : 'words';
  }

  get epoch(): number {
    this.#guard.enter('epoch');
    try {
      const { epoch } = this.#memory;
      // Below 0 stands for no epoch.
      return epoch >= 0 ? epoch : Number.NaN;
    } finally {
      this.#guard.leave();
    }
  }

  words(frame: number, write: boolean): Uint32Array {
    this.#guard.enter(this.#access);
    try {
      return requireWords(this.#memory.words(frame, write));
    } finally {
      this.#guard.leave();
    }
  }

  wordOffset(frame: number): number {
    this.#guard.enter('wordOffset');
    try {
      return requireOffset(this.#memory.wordOffset(frame));
    } finally {
      this.#guard.leave();
    }
  }
}
