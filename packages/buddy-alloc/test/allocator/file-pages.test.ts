import { Virt } from '@svsm/address';
import { expect, test } from 'vitest';
import { PageAllocator } from '../../src/index.ts';
import { buddyError, HEAP } from '../support/allocators.ts';
import { countedPage } from '../support/special-allocators.ts';

test.each([2 ** 31, 2 ** 32, 2 ** 52])('references are exact around %d', (bound) => {
  const allocator = countedPage(bound - 1);
  expect([1, 2, 3].map(() => allocator.getFilePage(HEAP))).toEqual([bound, bound + 1, bound + 2]);
  expect(allocator.snapshot().blocks[0]?.references).toBe(bound + 2);
  expect([1, 2, 3].map(() => allocator.putFilePage(HEAP))).toEqual([bound + 1, bound, bound - 1]);
  allocator.checkInvariants();
});

test('there are at most 2^53 − 1 references', () => {
  const allocator = countedPage(2 ** 53 - 2);
  expect(allocator.getFilePage(HEAP)).toBe(2 ** 53 - 1);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const { details } = buddyError('TOO_MANY_REFERENCES', () => allocator.getFilePage(HEAP));
    expect(details).toEqual({ address: HEAP, references: 2 ** 53 - 1 });
    allocator.checkInvariants();
  }
  const restored = PageAllocator.restore(Virt, allocator.snapshot());
  buddyError('TOO_MANY_REFERENCES', () => restored.getFilePage(HEAP));
  expect(restored.putFilePage(HEAP)).toBe(2 ** 53 - 2);
  expect(restored.getFilePage(HEAP)).toBe(2 ** 53 - 1);
});

test('a snapshot with more references is refused', () => {
  buddyError('INVALID_SNAPSHOT', () => countedPage(2 ** 53));
});
