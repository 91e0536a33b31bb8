import { expect, test } from 'vitest';
import { encryptionMasksOf, pagingOf } from '../../src/boot/paging-masks.ts';
import { launch } from '../support/world.ts';

test('a C-bit, a virtual top of memory, or none', () => {
  expect(pagingOf({ privateMask: 1n << 51n, sharedMask: 0n }).encryption).toEqual({ mode: 'c-bit', bit: 51 });
  expect(pagingOf({ privateMask: 0n, sharedMask: 1n << 46n }).encryption).toEqual({ mode: 'vtom', bit: 46 });
  expect(pagingOf({ privateMask: 0n, sharedMask: 0n, physicalBits: 46 })).toMatchObject({
    encryption: undefined,
    physicalBits: 46,
  });
});

test.each([{}, { virtualTom: 1n << 46n }, { levels: 5 as const }])(
  'the masks of a guest lead back to its paging: %o',
  (options) => {
    const { guest } = launch(options);
    expect(pagingOf(encryptionMasksOf(guest), guest.paging)).toEqual(guest.paging);
  },
);

test.each<[string, unknown]>([
  ['two masks', { privateMask: 1n << 51n, sharedMask: 1n << 46n }],
  ['two bits', { privateMask: 3n << 50n, sharedMask: 0n }],
  ['a bit that is too low', { privateMask: 1n << 31n, sharedMask: 0n }],
  ['a bit that is too high', { privateMask: 0n, sharedMask: 1n << 52n }],
  ['a negative mask', { privateMask: -1n, sharedMask: 0n }],
  ['a number', { privateMask: 5, sharedMask: 0n }],
  ['a name that does not exist', { privateMask: 0n, sharedMask: 0n, mask: 0n }],
])('refuses %s', (_, masks) => {
  expect(() => pagingOf(masks as never)).toThrow(/INVALID_ARGUMENT/);
});
