import { expect, test } from 'vitest';
import { countRangeStates, exploreRanges, type RangeWorld } from './explore-ranges.ts';

const worlds: readonly RangeWorld[] = [
  ...[1, 2, 3, 4].map((units) => ({ start: 0, units, unitOrder: 0 })),
  { start: 1, units: 4, unitOrder: 0 },
  { start: 1022, units: 4, unitOrder: 0 },
  // Across the levels of the tables; the last ends at 2^64.
  { start: 1, units: 3, unitOrder: 9 },
  { start: 2, units: 4, unitOrder: 10 },
  { start: 0, units: 3, unitOrder: 19 },
  { start: 5, units: 3, unitOrder: 49 },
];

test.each(worlds.map((world) => [JSON.stringify(world), world] as const))(
  'every state of ranges, every operation: %s',
  (_name, world) => {
    expect(exploreRanges(world)).toBe(countRangeStates(world.units));
  },
);

test('these are hundreds of states', () => {
  expect([1, 2, 3, 4, 5, 6].map(countRangeStates)).toEqual([4, 17, 73, 314, 1351, 5813]);
  const states = worlds.reduce((sum, { units }) => sum + countRangeStates(units), 0);
  console.log(`${states} states of ranges in ${worlds.length} worlds`);
});
