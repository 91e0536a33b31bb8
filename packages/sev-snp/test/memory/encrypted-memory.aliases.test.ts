/** Frames with a second address, and arrays of frames, each case by itself: the laws meet them by chance. */
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { EncryptedMemory, NO_KEY } from '../../src/memory/encrypted-memory.ts';

const ZEROS = new Uint8Array(4);
const TEXT = Uint8Array.of(1, 2, 3, 4);

/** Memory of 8 frames in which the address of frame 1 leads to the DRAM of frame 0. */
function aliased(): { memory: EncryptedMemory; key: number } {
  const memory = new EncryptedMemory(0x8000, 3);
  const key = memory.createKey();
  memory.aliasFrame(1, 0);
  return { memory, key };
}

describe('at a second address', () => {
  test('a clear gives zeros there, and ciphertext at the first address', () => {
    const { memory, key } = aliased();
    memory.writeFrame(0, 0, TEXT, key);
    memory.clear(1, key);
    expect(memory.readFrame(1, 0, 4, key)).toEqual(ZEROS);
    expect(memory.readFrame(0, 0, 4, key)).not.toEqual(ZEROS);
    expect([memory.writtenIn(1, 1, key), memory.writtenIn(0, 1, key)]).toEqual([[], [0]]);
  });

  test('a clear without a key gives zeros at both addresses', () => {
    const { memory, key } = aliased();
    memory.writeFrame(0, 0, TEXT, key);
    memory.clear(1, NO_KEY);
    expect([0, 1].map((frame) => memory.readFrame(frame, 0, 4, NO_KEY))).toEqual([ZEROS, ZEROS]);
  });

  test('a clear of several frames clears each of them', () => {
    const { memory, key } = aliased();
    for (const frame of [0, 2, 3]) memory.writeFrame(frame, 0, TEXT, key);
    memory.clear(1, key, 2);
    expect([1, 2, 3].map((frame) => memory.readFrame(frame, 0, 4, key))).toEqual([ZEROS, ZEROS, TEXT]);
  });

  test('a rekey keeps the content, of each frame', () => {
    const { memory, key } = aliased();
    for (const frame of [1, 2, 3]) memory.writeFrame(frame, 0, TEXT, NO_KEY);
    memory.rekey(1, NO_KEY, key, 2);
    expect([1, 2].map((frame) => memory.readFrame(frame, 0, 4, key))).toEqual([TEXT, TEXT]);
    expect(memory.readFrame(3, 0, 4, NO_KEY)).toEqual(TEXT);
    expect(memory.readFrame(0, 0, 4, key)).not.toEqual(TEXT);
  });

  test('a revoke ends the array of the DRAM', () => {
    const { memory } = aliased();
    const array = memory.words(1, NO_KEY, true);
    memory.revoke(1, 2);
    expect(memory.words(1, NO_KEY, false)).not.toBe(array);
    expect(memory.words(0, NO_KEY, false)).not.toBe(array);
  });
});

test('an alias ends alone, and undoing one that does not exist changes no other', () => {
  const { memory } = aliased();
  memory.aliasFrame(2, 0);
  memory.writeFrame(0, 0, TEXT, NO_KEY);
  memory.aliasFrame(1, 1);
  memory.aliasFrame(3, 3);
  expect([1, 2].map((frame) => memory.readFrame(frame, 0, 4, NO_KEY))).toEqual([ZEROS, TEXT]);
});

test('a frame of zeros with a key of its own is not written, also after the aliases end', () => {
  const { memory, key } = aliased();
  memory.rekey(3, NO_KEY, key);
  memory.aliasFrame(1, 1);
  expect([memory.writtenIn(3, 1, key), memory.writtenIn(3, 1, NO_KEY)]).toEqual([[], [3]]);
});

describe('the array of a frame', () => {
  const held = () => {
    const memory = new EncryptedMemory(0x8000, 3);
    const key = memory.createKey();
    const array = memory.words(2, key, true);
    array[0] = 5;
    return { memory, key, array };
  };

  test('stays the frame, and gets the zeros, in a clear with its key', () => {
    const { memory, key, array } = held();
    memory.clear(2, key);
    expect(array[0]).toBe(0);
    expect(memory.words(2, key, false)).toBe(array);
  });

  test('keeps its content in a clear with another key', () => {
    const { memory, array } = held();
    memory.clear(2, NO_KEY);
    expect([array[0], memory.words(2, NO_KEY, false)[0]]).toEqual([5, 0]);
  });

  test('reaches no memory after a rekey', () => {
    const { memory, key, array } = held();
    memory.rekey(2, key, NO_KEY);
    array[0] = 9;
    expect(memory.words(2, NO_KEY, false)[0]).toBe(5);
  });
});

test('the epoch is that of each view, and consoles show the size', () => {
  const memory = new EncryptedMemory(0x8000);
  const view = memory.view(NO_KEY);
  view.words(1, true);
  const epoch = memory.epochOf(NO_KEY);
  memory.clear(1, NO_KEY);
  expect(view.epoch).toBeGreaterThan(epoch);
  expect(view.epoch).toBe(memory.epochOf(NO_KEY));
  expect(memory.view(1).epoch).toBe(memory.epochOf(1));
  expect(inspect(memory)).toContain('size');
});
