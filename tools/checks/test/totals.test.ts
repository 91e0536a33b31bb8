/** The totals of `.ci/run`: a suite that ends without them, or that fails in silence, has failed. */
import { expect, test } from 'vitest';
import { add, describe, totalsOfSuite } from '../../run/totals.ts';

test.each([
  ['12 passed, 0 failed', 0, '12 passed, 0 failed'],
  ['12 passed, 3 failed, 1 skipped', 1, '12 passed, 3 failed, 1 skipped'],
  ['12 passed, 0 failed', 1, '12 passed, 1 failed'],
  ['12 passed, 0 failed', null, '12 passed, 1 failed'],
  ['Error: Verdaccio does not answer', 1, '0 passed, 1 failed'],
  ['', 0, '0 passed, 1 failed'],
])('a suite that ends with "%s" and %s has %s', (line, exit, totals) => {
  expect(describe(totalsOfSuite(line, exit))).toBe(totals);
});

test('totals are added', () => {
  const sum = add({ passed: 1, failed: 2, skipped: 3 }, { passed: 10, failed: 20, skipped: 30 });
  expect(describe(sum)).toBe('11 passed, 22 failed, 33 skipped');
});
