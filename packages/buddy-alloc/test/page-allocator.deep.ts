import { expect, test } from 'vitest';
import { countStates, explore, type World } from './explore.ts';
import { countRangeStates, exploreRanges } from './explore-ranges.ts';

const world = (start: number, units: number, reserved = 0): World => ({
  start,
  units,
  unitOrder: 0,
  maxOrder: 52,
  reserved,
});

test.each(
  [world(0, 16), world(5, 13), world(1020, 12)].map((world) => [JSON.stringify(world), world] as const),
)('every state and operation of %s', (_name, world) => {
  expect(explore(world)).toBe(countStates(world));
});

test('with every subset of 6 to 8 pages reserved', () => {
  for (const start of [0, 1, 3]) {
    for (let units = 6; units <= 8; units += 1) {
      for (let reserved = 1; reserved < 2 ** units; reserved += 1) {
        expect(explore(world(start, units, reserved))).toBe(countStates(world(start, units, reserved)));
      }
    }
  }
});

test.each([
  { start: 0, units: 6, unitOrder: 0 },
  { start: 3, units: 6, unitOrder: 0 },
  { start: 1021, units: 5, unitOrder: 0 },
  { start: 1, units: 5, unitOrder: 9 },
])('every state of ranges, every operation: %j', (world) => {
  expect(exploreRanges(world)).toBe(countRangeStates(world.units));
});
