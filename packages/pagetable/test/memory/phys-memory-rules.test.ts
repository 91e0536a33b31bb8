import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import type { PhysMemory } from '../../src/memory/phys-memory.ts';
import { PHYS_MEMORY_RULES } from '../../src/memory/phys-memory-rules.ts';
import { wasmMemory } from '../support/wasm-memory.ts';

const START = physAddr(0x10_0000);
/** With this start, the last three frames of 64 KiB begin at START. */
const WASM_START = physAddr(0xf_3000);
const subject = (memory: PhysMemory, writable = true) => ({
  memory,
  writable,
  start: START,
  outside: physAddr(0x10_3000),
});
const readFrame = (frame: number, bytes: Uint8Array): boolean => {
  if (frame < 0x100 || frame >= 0x103) return false;
  bytes.fill(frame & 0xff, 0, 100);
  return true;
};

const MEMORIES: readonly (readonly [string, () => PhysMemory, boolean])[] = [
  ['flat', () => createPhysMemory({ start: START, size: 0x3000 }), true],
  ['flat over a buffer', () => createPhysMemory({ start: START, buffer: new ArrayBuffer(0x3000) }), true],
  [
    'flat over shared memory',
    () => createPhysMemory({ start: START, buffer: new SharedArrayBuffer(0x3000) }),
    true,
  ],
  [
    'flat over the memory of WebAssembly',
    () => createPhysMemory({ start: WASM_START, buffer: wasmMemory().buffer }),
    true,
  ],
  [
    'flat over shared memory of WebAssembly',
    () =>
      createPhysMemory({
        start: WASM_START,
        buffer: wasmMemory(true).buffer,
      }),
    true,
  ],
  ['sparse', () => createPhysMemory({ regions: [physRegion(START, 0x3000)] }), true],
  ['of a reader', () => createPhysMemory({ readFrame }), false],
  ['of a reader that caches one frame', () => createPhysMemory({ readFrame, cachedFrames: 1 }), false],
];

describe.each(MEMORIES)('memory that is %s', (_, make, writable) => {
  test.each(PHYS_MEMORY_RULES)('$name', ({ check }) => {
    check(subject(make(), writable));
  });
});

describe('a memory that breaks a rule is detected', () => {
  const sound = (): PhysMemory => createPhysMemory({ start: START, size: 0x3000 });
  const broken: readonly (readonly [string, (memory: PhysMemory) => PhysMemory])[] = [
    [
      'zeros outside',
      (memory) =>
        wrap(memory, (frame, write) =>
          frame === 0x103 ? new Uint32Array(3072) : memory.words(frame, write),
        ),
    ],
    [
      'a copy for writes',
      (memory) =>
        wrap(memory, (frame, write) =>
          write ? memory.words(frame, true).slice() : memory.words(frame, false),
        ),
    ],
    [
      'frames that overlap',
      (memory) =>
        wrap(
          memory,
          (frame, write) => memory.words(frame, write),
          () => 0,
        ),
    ],
    [
      'an offset past the end',
      (memory) =>
        wrap(
          memory,
          (frame, write) => memory.words(frame, write),
          () => 3000,
        ),
    ],
    [
      'a constant epoch',
      (memory) => ({ ...wrap(memory, (frame, write) => memory.words(frame, write)), epoch: 1 }),
    ],
  ];

  test.each(broken)('%s', (_, breakIt) => {
    const found = PHYS_MEMORY_RULES.filter(({ check }) => {
      try {
        check(subject(breakIt(sound())));
        return false;
      } catch (error) {
        return isPageTableError(error, 'RULE_BROKEN') || error instanceof RangeError;
      }
    });
    expect(found.length).toBeGreaterThan(0);
  });

  function wrap(
    memory: PhysMemory,
    words: PhysMemory['words'],
    wordOffset: PhysMemory['wordOffset'] = (frame) => memory.wordOffset(frame),
  ): PhysMemory {
    return {
      get epoch() {
        return memory.epoch;
      },
      words,
      wordOffset,
    };
  }
});

describe('memory of a reader', () => {
  test('fetches a frame once while it is among the frames used last', () => {
    const fetched: number[] = [];
    const memory = createPhysMemory({
      cachedFrames: 2,
      readFrame: (frame, bytes) => {
        fetched.push(frame);
        return readFrame(frame, bytes);
      },
    });
    const first = memory.words(0x100, false);
    memory.words(0x101, false);
    memory.words(0x100, false);
    memory.words(0x102, false);
    expect(memory.words(0x100, false)).toBe(first);
    expect(fetched).toEqual([0x100, 0x101, 0x102]);
    memory.words(0x101, false);
    expect(fetched).toEqual([0x100, 0x101, 0x102, 0x101]);
    expect(first[0]).toBe(0);
    expect(memory.words(0x101, false)[0]).toBe(0x0101_0101);
  });

  test('passes errors of the reader on, and refuses a cache without frames', () => {
    const memory = createPhysMemory({
      readFrame: () => {
        throw new Error('the disk is gone');
      },
    });
    expect(() => memory.words(1, false)).toThrow('the disk is gone');
    expect(() => createPhysMemory({ readFrame, cachedFrames: 0 })).toThrow(/INVALID_MEMORY/);
  });
});

test('a reader that returns a promise has not read the frame', () => {
  const readFrame = (async () => true) as unknown as (frame: number, bytes: Uint8Array) => boolean;
  const memory = createPhysMemory({ readFrame });
  for (let k = 0; k < 2; k += 1) {
    expect(() => memory.words(1, false)).toThrow(/BUS_ERROR/);
    expect(() => memory.words(1, false)).toThrow(/must return true or false/);
  }
});
