import { expect, test } from 'vitest';
import { createValidityRecord, memoryOf } from '../../src/boot/validity-record.ts';
import { MemoryMap } from '../../src/layout/memory-map.ts';
import { mib } from '../support/world.ts';

const map = new MemoryMap(
  [
    [mib(0, 32), 'guest'],
    [mib(32, 8), 'hole'],
    [mib(48, 16), 'firmware'],
  ],
  mib(16, 8),
);

test('covers all memory but holes, and the own memory', () => {
  expect(Array.from(memoryOf(map), String)).toEqual([String(mib(0, 32)), String(mib(48, 16))]);
});

test('has what was validated, without what is shared, and without what is not memory', () => {
  const { validated } = createValidityRecord(map, { validated: [mib(0, 40)], shared: [mib(20, 1)] });
  expect([...validated].map(String)).toEqual([String(mib(0, 20)), String(mib(21, 11))]);
});
