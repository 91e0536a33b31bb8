import { createHash } from 'node:crypto';
import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { LaunchPageType, VMSA_LAUNCH_GPA } from '../../src/formats/launch-digest.ts';
import {
  launchDigestOf,
  launchPageSize,
  requireApart,
  requireCount,
} from '../../src/formats/launch-pages.ts';
import { codeOf } from '../support/world.ts';

const sha384 = (bytes: Uint8Array) => Uint8Array.from(createHash('sha384').update(bytes).digest());

// L5
describe('a range of pages', () => {
  const range = { type: LaunchPageType.Zero, gpa: physAddr(0x1000), size: 3 * 4096 };

  test('is measured page by page', async () => {
    const single = [0x1000, 0x2000, 0x3000].map((gpa) => ({ type: LaunchPageType.Zero, gpa: physAddr(gpa) }));
    expect(await launchDigestOf([range], sha384)).toEqual(await launchDigestOf(single, sha384));
    expect([launchPageSize(range), launchPageSize(single[0]!)]).toEqual([3 * 4096, 4096]);
  });

  test.each<[string, object]>([
    ['of no bytes', { size: 0 }],
    ['of a part of a page', { size: 100 }],
    ['of secrets', { type: LaunchPageType.Secrets }],
    ['with fewer bytes than its size', { bytes: new Uint8Array(4096) }],
    ['of data without bytes', { type: LaunchPageType.Normal }],
  ])('%s is refused', async (_, change) => {
    await expect(launchDigestOf([{ ...range, ...change }], sha384)).rejects.toThrow('INVALID_ARGUMENT');
  });
});

// L2
test('pages must not overlap, except for VMSAs', () => {
  const { Normal, Zero, Vmsa } = LaunchPageType;
  const at = (gpa: number, size: number) => ({ type: Zero, gpa: physAddr(gpa), size });
  const vmsa = { type: Vmsa, gpa: VMSA_LAUNCH_GPA, bytes: new Uint8Array(4096) };
  const two = { type: Normal, gpa: physAddr(0x5000), bytes: new Uint8Array(8192) };
  expect(codeOf(() => requireApart([at(0x3000, 0x2000), vmsa, at(0x1000, 0x2000), vmsa, two]))).toBe(
    undefined,
  );
  expect(codeOf(() => requireApart([at(0x2000, 0x1000), at(0x1000, 0x2000)]))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => requireApart([two, at(0x6000, 0x1000)]))).toBe('INVALID_ARGUMENT');
});

test('KVM launches from 1 to 4096 processors', () => {
  expect([1, 4096].map((count) => codeOf(() => requireCount(count)))).toEqual([undefined, undefined]);
  for (const count of [0, 4097, 1.5, Number.NaN])
    expect(codeOf(() => requireCount(count))).toBe('INVALID_ARGUMENT');
});
