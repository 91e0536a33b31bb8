import { describe, expect, test } from 'vitest';
import { pageTableIndex, Virt57, virtAddr } from '../src/index.ts';
import { addressError, NOT_INTEGERS, untyped } from './support.ts';

describe('pageTableIndex', () => {
  test.each([
    [virtAddr(0), [0, 0, 0, 0, 0]],
    [virtAddr(0xfff), [0, 0, 0, 0, 0]],
    [virtAddr(0x1000), [1, 0, 0, 0, 0]],
    [virtAddr(0x1f_ffff), [511, 0, 0, 0, 0]],
    [virtAddr(0x20_0000), [0, 1, 0, 0, 0]],
    [virtAddr(0x4000_0000), [0, 0, 1, 0, 0]],
    [virtAddr(2n ** 39n), [0, 0, 0, 1, 0]],
    [virtAddr(2n ** 47n - 1n), [511, 511, 511, 255, 0]],
    [virtAddr(0xffff_8000_0000_0000n), [0, 0, 0, 256, 511]],
    [virtAddr(0xffff_ffff_8000_0000n), [0, 0, 510, 511, 511]],
    [virtAddr(2n ** 64n - 1n), [511, 511, 511, 511, 511]],
    [Virt57.address(2n ** 47n), [0, 0, 0, 256, 0]],
    [Virt57.address(2n ** 48n), [0, 0, 0, 0, 1]],
    [Virt57.address(2n ** 56n - 1n), [511, 511, 511, 511, 255]],
    [Virt57.address(0xff00_0000_0000_0000n), [0, 0, 0, 0, 256]],
    [Virt57.address(0x00d7_3a25_9b1c_8eabn), [0x1c8, 0xd8, 0x96, 0x74, 0xd7]],
  ])('of %s, from PT to PML5', (vaddr, indexes) => {
    expect([0, 1, 2, 3, 4].map((level) => pageTableIndex(vaddr, level))).toEqual(indexes);
  });

  test.each([...NOT_INTEGERS, -1, 5, 512, 0n, 4n].map((level) => [level]))('refuses level %o', (level) => {
    const { details } = addressError('INVALID_LEVEL', () => pageTableIndex(virtAddr(0), untyped(level)));
    expect(details).toEqual({ level });
  });

  test('treats level -0 as 0', () => {
    expect(pageTableIndex(virtAddr(0x3000), -0)).toBe(3);
  });
});
