import { expect, test } from 'vitest';
import { PAGE_SHIFT, PAGE_SIZE, PAGE_SIZE_1G, PAGE_SIZE_2M, PageSize } from '../src/index.ts';

test('x86-64 has three page sizes, each 512 times the one before', () => {
  expect([PAGE_SIZE, PAGE_SIZE_2M, PAGE_SIZE_1G]).toEqual([4096, 4096 * 512, 4096 * 512 * 512]);
  expect(2 ** PAGE_SHIFT).toBe(PAGE_SIZE);
  expect(PageSize).toEqual({ Regular: PAGE_SIZE, Huge: PAGE_SIZE_2M, Giant: PAGE_SIZE_1G });
});
