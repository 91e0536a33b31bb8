import { expect, test } from 'vitest';
import { checkEnded, checkLoad, type Load } from '../support/shared-load.ts';

test.each<Load>([
  { pages: 5000, maxOrder: 5, operations: 500_000, caches: [0, 32] },
  { pages: 5000, maxOrder: 5, operations: 250_000, caches: [0, 0, 8, 64] },
  // With so few pages, requests fail and empty the caches of other owners.
  { pages: 61, maxOrder: 3, operations: 8000, caches: [8, 8, 4, 0] },
])(
  'no page is lost or allocated twice: %j',
  async (load) => {
    expect(await checkLoad(load)).toBe(load.operations * load.caches.length);
  },
  120_000,
);

test('workers that are terminated while they work leave a sound allocator', async () => {
  expect(await checkEnded(3)).toBeLessThanOrEqual(4);
}, 120_000);
