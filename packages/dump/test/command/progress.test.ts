import { expect, test } from 'vitest';
import { barOf } from '../../src/command/progress.ts';

test('the bar shows the part that is done, or only the number if the total is not known', () => {
  expect(barOf(15, 30, 'pages')).toBe(`[${'#'.repeat(15)}${'.'.repeat(15)}] 50 % of 30 pages`);
  expect(barOf(0, 3, 'pages')).toBe(`[${'.'.repeat(30)}] 0 % of 3 pages`);
  expect(barOf(4, 3, 'pages')).toBe(`[${'#'.repeat(30)}] 100 % of 3 pages`);
  expect(barOf(7, undefined, 'runs')).toBe('7 runs');
  expect(barOf(0, 0, 'frames')).toBe('0 frames');
});
