import { BuddyError } from '../pages/buddy-error.ts';
import { LOCK, OWNERS } from './shared-layout.ts';

/** The sign bit of the lock word: an owner waits. */
const WAITING = -0x8000_0000;
const OWNER = 0x7fff_ffff;
/** How often an owner reads the word before it sleeps: about as long as a few operations take. */
const SPINS = 200;
/** The milliseconds after which a sleeping owner looks again: the owner that was woken instead may have ended. */
const SLEEP = 50;

/**
 * A lock in a word of a shared buffer. The word names the owner that holds it. An owner that waits sleeps if the engine
 * allows it; on the main thread of a browser it keeps reading the word.
 */
export class SharedLock {
  /** The number of this owner, which is unique. */
  readonly owner: number;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #timeout: number;
  readonly #sleeps: boolean;

  /** @param timeout - the most milliseconds to wait */
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

  /** Releases the lock, and wakes one of the owners that wait for it. */
  release(): void {
    if (Atomics.exchange(this.#words, LOCK, 0) < 0) Atomics.notify(this.#words, LOCK, 1);
  }

  /** Takes the lock from `owner`, whose thread has ended. Returns `false` if that owner does not hold it. */
  seize(owner: number): boolean {
    const mine = this.owner | WAITING;
    return (
      Atomics.compareExchange(this.#words, LOCK, owner, mine) === owner ||
      Atomics.compareExchange(this.#words, LOCK, owner | WAITING, mine) === (owner | WAITING)
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
      // Other owners may wait, too. The sign bit makes the next release wake one of them.
      const held = Atomics.compareExchange(words, LOCK, 0, this.owner | WAITING);
      if (held === 0) return;
      const waited = Date.now() - start;
      if (waited >= this.#timeout) throw new BuddyError('LOCK_TIMEOUT', { holder: held & OWNER, waited });
      if (!this.#sleeps) continue;
      if (held > 0 && Atomics.compareExchange(words, LOCK, held, held | WAITING) !== held) continue;
      Atomics.wait(words, LOCK, held | WAITING, Math.min(SLEEP, this.#timeout - waited));
    }
  }
}

/** Whether this thread can sleep: the main thread of a browser cannot. */
function maySleep(): boolean {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
    return true;
  } catch {
    return false;
  }
}
