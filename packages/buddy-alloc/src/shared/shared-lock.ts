import { BuddyError } from '../pages/buddy-error.ts';
import { LOCK, OWNERS } from './shared-layout.ts';

/** The lock word's sign: somebody waits. */
const WAITED = -0x8000_0000;
const OWNER = 0x7fff_ffff;
/** How often the word is looked at before waiting: as long as a few operations take. */
const SPINS = 200;
/** Milliseconds after which who waits looks again: who was woken in its place may have ended. */
const SLICE = 50;

/**
 * A lock in a word of a shared buffer, which says who holds it. Who waits sleeps, where the engine allows that; on the
 * main thread of a browser it goes on looking.
 */
export class SharedLock {
  /** Who takes the lock here: a number that no other has. */
  readonly owner: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #timeout: number;
  readonly #sleeps: boolean;

  /** @param timeout - milliseconds after which waiting ends */
  constructor(words: Int32Array<SharedArrayBuffer>, timeout: number) {
    this.#words = words;
    this.#timeout = timeout;
    this.#sleeps = maySleep();
    let owner = 0;
    while (owner === 0) owner = (Atomics.add(words, OWNERS, 1) + 1) & OWNER;
    this.owner = owner;
  }

  /** Takes the lock, which this owner must not hold. @throws BuddyError `LOCK_TIMEOUT` */
  acquire(): void {
    if (Atomics.compareExchange(this.#words, LOCK, 0, this.owner) !== 0) this.#wait();
  }

  /** Gives the lock back. */
  release(): void {
    if (Atomics.exchange(this.#words, LOCK, 0) < 0) Atomics.notify(this.#words, LOCK, 1);
  }

  /** Takes the lock over from `owner`, which is no more; `false`, and nothing changed, if that does not hold it. */
  seize(owner: number): boolean {
    const mine = this.owner | WAITED;
    return (
      Atomics.compareExchange(this.#words, LOCK, owner, mine) === owner ||
      Atomics.compareExchange(this.#words, LOCK, owner | WAITED, mine) === (owner | WAITED)
    );
  }

  #wait(): void {
    const words = this.#words;
    for (let spin = 0; spin < SPINS; spin += 1) {
      if (Atomics.load(words, LOCK) === 0 && Atomics.compareExchange(words, LOCK, 0, this.owner) === 0)
        return;
    }
    const start = Date.now();
    for (;;) {
      // Others may wait too: with the sign set, whoever gives the lock back wakes one of them.
      const held = Atomics.compareExchange(words, LOCK, 0, this.owner | WAITED);
      if (held === 0) return;
      const waited = Date.now() - start;
      if (waited >= this.#timeout) throw new BuddyError('LOCK_TIMEOUT', { holder: held & OWNER, waited });
      if (!this.#sleeps) continue;
      if (held > 0 && Atomics.compareExchange(words, LOCK, held, held | WAITED) !== held) continue;
      Atomics.wait(words, LOCK, held | WAITED, Math.min(SLICE, this.#timeout - waited));
    }
  }
}

/** Whether this thread may sleep: the main thread of a browser may not. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}
