import { afterAll, expect, test } from 'vitest';
import { countAllStates, countStates, type Explored, explore, type World } from '../support/explore.ts';

const world = (units: number, more: Partial<World> = {}): World => ({
  start: 0,
  units,
  unitOrder: 0,
  maxOrder: 52,
  reserved: 0,
  pieces: 'blocks',
  ...more,
});

const total: Explored = { states: 0, done: 0, refused: 0 };

function exploreAll(world: World): number {
  const { states, done, refused } = explore(world);
  expect(states).toBe(world.pieces === 'all' ? countAllStates(world) : countStates(world));
  total.states += states;
  total.done += done;
  total.refused += refused;
  return states;
}

afterAll(() => {
  const { states, done, refused } = total;
  console.log(`${states} states; ${done} operations done and undone, ${refused} refused`);
});

const starts = [0, 1, 3, 6, 1018];

test.each([
  // Every length, at several starts and with several limits of the order.
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].flatMap((units) =>
    starts.map((start) => world(units, { start })),
  ),
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].flatMap((units) =>
    [0, 1, 2, 3].map((maxOrder) => world(units, { start: 1, maxOrder })),
  ),
  ...[0, 1, 2].map((maxOrder) => world(12, { maxOrder })),
  world(13, { start: 5 }),
  // Regions that cross the levels of the tables.
  world(8, { unitOrder: 8 }),
  world(8, { unitOrder: 18 }),
  world(10, { unitOrder: 9, start: 1 }),
])('every state and operation of %j', (world) => void exploreAll(world));

test('every state and operation of 14 to 16 pages', () => {
  for (const units of [14, 15, 16]) exploreAll(world(units));
});

test('every state and operation with every subset of 1 to 8 pages reserved', () => {
  let states = 0;
  for (const start of [0, 1, 3]) {
    for (let units = 1; units <= 8; units += 1) {
      for (let reserved = 1; reserved < 2 ** units; reserved += 1) {
        states += exploreAll(world(units, { start, reserved }));
      }
    }
  }
  console.log(`${states} states with reserved pages`);
});

test.each([
  world(4, { pieces: 'all' }),
  world(4, { pieces: 'all', start: 1 }),
  world(4, { pieces: 'all', start: 1021 }),
  world(4, { pieces: 'all', maxOrder: 1 }),
  world(4, { pieces: 'all', unitOrder: 9, start: 1 }),
  world(4, { pieces: 'all', unitOrder: 10, start: 2 }),
  world(5, { pieces: 'all', start: 3 }),
])('every state with all kinds of pages, and every operation, of %j', (world) => void exploreAll(world));
