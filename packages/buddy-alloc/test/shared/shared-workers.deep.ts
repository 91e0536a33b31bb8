import { expect, test } from 'vitest';
import { checkEnded, checkLoad, type Load } from '../support/shared-load.ts';

test.each<Load>([
  { pages: 20_000, maxOrder: 8, operations: 5_000_000, caches: [0, 0] },
  { pages: 20_000, maxOrder: 8, operations: 5_000_000, caches: [64, 64] },
  { pages: 5000, maxOrder: 6, operations: 2_500_000, caches: [0, 252, 2, 0] },
  { pages: 61, maxOrder: 3, operations: 250_000, caches: [8, 8, 4, 0] },
  { pages: 300, maxOrder: 4, operations: 250_000, caches: [2, 3, 4, 5, 6, 7, 0, 0] },
])('no page is lost or allocated twice: %j', async (load) => {
  expect(await checkLoad(load)).toBe(load.operations * load.caches.length);
});

test('workers that are terminated at any moment leave a sound allocator', async () => {
  let held = 0;
  for (let round = 0; round < 60; round += 1) held += await checkEnded(1 + (round % 17));
  console.log(`${held} of 240 workers ended with the lock`);
});
