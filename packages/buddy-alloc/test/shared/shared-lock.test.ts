import { Worker } from 'node:worker_threads';
import { afterEach, expect, test, vi } from 'vitest';
import { LOCK, OWNERS } from '../../src/shared/shared-layout.ts';
import { SharedLock } from '../../src/shared/shared-lock.ts';
import { buddyError } from '../support/allocators.ts';

const newWords = () => new Int32Array(new SharedArrayBuffer(1024));

afterEach(() => {
  vi.restoreAllMocks();
});

test('the word of a lock names its holder', () => {
  const words = newWords();
  const [one, two] = [new SharedLock(words, 0), new SharedLock(words, 5)];
  expect([one.owner, two.owner]).toEqual([1, 2]);
  one.acquire();
  expect(words[LOCK]).toBe(1);
  const { holder, waited } = buddyError('LOCK_TIMEOUT', () => two.acquire()).details;
  expect(holder).toBe(1);
  expect(waited).toBeGreaterThanOrEqual(5);
  one.release();
  expect(words[LOCK]).toBe(0);
  two.acquire();
  expect(words[LOCK]).toBe(2);
});

test('owner numbers wrap around and skip 0', () => {
  const words = newWords();
  words[OWNERS] = 0x7fff_fffe;
  expect([0, 0, 0].map(() => new SharedLock(words, 0).owner)).toEqual([0x7fff_ffff, 1, 2]);
});

test('a waiting owner is woken, or looks again by itself, when the lock is free', async () => {
  const words = newWords();
  const held = new SharedLock(words, 0);
  held.acquire();
  // Releases the lock after a while, once with a notification and once without.
  const code = `
    const { workerData: { buffer, index, notify } } = require('node:worker_threads');
    const words = new Int32Array(buffer);
    Atomics.wait(words, 200, 0, 30);
    Atomics.store(words, index, 0);
    if (notify) Atomics.notify(words, index, 1);
  `;
  for (const notify of [true, false]) {
    words[LOCK] = held.owner;
    const worker = new Worker(code, {
      eval: true,
      workerData: { buffer: words.buffer, index: LOCK, notify },
    });
    const lock = new SharedLock(words, 30_000);
    lock.acquire();
    // Other owners may wait, too, so the sign bit stays.
    expect(words[LOCK]! & 0x7fff_ffff).toBe(lock.owner);
    lock.release();
    expect(words[LOCK]).toBe(0);
    await new Promise((resolve) => worker.once('exit', resolve));
  }
});

test('a thread that cannot sleep keeps reading the word', () => {
  const words = newWords();
  vi.spyOn(Atomics, 'wait').mockImplementation(() => {
    throw new TypeError('Atomics.wait cannot be called in this context');
  });
  const [one, two] = [new SharedLock(words, 0), new SharedLock(words, 3)];
  one.acquire();
  buddyError('LOCK_TIMEOUT', () => two.acquire());
  expect(words[LOCK]).toBe(one.owner);
  let looks = 0;
  const now = vi.spyOn(Date, 'now').mockImplementation(() => {
    looks += 1;
    if (looks === 5) one.release();
    return 0;
  });
  two.acquire();
  now.mockRestore();
  expect(words[LOCK]! & 0x7fff_ffff).toBe(two.owner);
});

test('seize takes the lock only from its holder', () => {
  const words = newWords();
  const [one, two, three] = [new SharedLock(words, 0), new SharedLock(words, 0), new SharedLock(words, 0)];
  one.acquire();
  buddyError('LOCK_TIMEOUT', () => two.acquire());
  expect(three.seize(two.owner)).toBe(false);
  expect(three.seize(one.owner)).toBe(true);
  expect(three.seize(one.owner)).toBe(false);
  three.release();
  expect(words[LOCK]).toBe(0);
  expect(three.seize(one.owner)).toBe(false);
});

test('a lock with an overwritten word times out', () => {
  const words = newWords();
  words[LOCK] = -0x8000_0000;
  const { holder } = buddyError('LOCK_TIMEOUT', () => new SharedLock(words, 2).acquire()).details;
  expect(holder).toBe(0);
});
