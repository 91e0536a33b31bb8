import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { CallGuard } from '../../src/memory/call-guard.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { guardedMemory } from '../../src/memory/guarded-memory.ts';
import type { PhysMemory } from '../../src/memory/phys-memory.ts';
import { ReaderMemory } from '../../src/memory/reader-memory.ts';

test('memory of this package that calls nobody stays as it is', () => {
  const guard = new CallGuard();
  const regions = [physRegion(physAddr(0), 0x1_0000n)];
  for (const memory of [createPhysMemory({ size: 0x1_0000 }), createPhysMemory({ regions })]) {
    expect(guardedMemory(memory, guard)).toBe(memory);
  }
});

test('memory of the caller answers as before, and the guard is busy with the name of the method', () => {
  const guard = new CallGuard();
  const words = new Uint32Array(4096);
  const seen: unknown[] = [];
  let fails = false;
  function answer<T>(value: T, ...call: unknown[]): T {
    seen.push([guard.during, ...call]);
    if (fails) throw new Error('no answer');
    return value;
  }
  const own: PhysMemory = {
    get epoch() {
      return answer(7);
    },
    words: (frame, write) => answer(words, frame, write),
    wordOffset: (frame) => answer(1024, frame),
  };
  const memory = guardedMemory(own, guard);
  const ask = [() => memory.epoch, () => memory.words(3, true), () => memory.wordOffset(5)];
  expect(ask.map((one) => one())).toEqual([7, words, 1024]);
  expect(guard.during).toBeUndefined();
  fails = true;
  for (const one of ask) {
    expect(one).toThrow('no answer');
    expect(guard.during).toBeUndefined();
  }
  const calls = [['epoch'], ['words', 3, true], ['wordOffset', 5]];
  expect(seen).toEqual([...calls, ...calls]);
});

test('memory that reads frames is busy with `readFrame`', () => {
  const guard = new CallGuard();
  const seen: unknown[] = [];
  const reader = new ReaderMemory((frame) => {
    seen.push([guard.during, frame]);
    return true;
  }, 4);
  expect(guardedMemory(reader, guard).words(2, false)).toHaveLength(1024);
  expect(seen).toEqual([['readFrame', 2]]);
});
