import { expect, test } from 'vitest';
import {
  assertIsVirtAddr,
  isVirtAddr,
  parseVirtAddr,
  tryVirtAddr,
  Virt,
  virtAddr,
  virtAddrTruncate,
} from '../src/index.ts';
import { addressError, untyped } from './support.ts';

test('the short names do what the methods of Virt do', () => {
  const values = [
    -1n,
    0n,
    0x1000n,
    2n ** 47n - 1n,
    2n ** 47n,
    0xffff_8000_0000_0000n,
    2n ** 64n - 1n,
    2n ** 64n,
  ];
  for (const value of values) {
    const valid = Virt.isAddress(value);
    expect(isVirtAddr(value)).toBe(valid);
    expect(tryVirtAddr(value)).toBe(valid ? value : undefined);
    expect(virtAddrTruncate(value)).toBe(Virt.truncate(value));
    if (valid) {
      expect(virtAddr(value)).toBe(value);
      assertIsVirtAddr(value);
    } else {
      expect(() => virtAddr(value)).toThrow('virtual address');
      expect(() => assertIsVirtAddr(value)).toThrow('virtual address');
    }
  }
  expect(virtAddr(0x1000)).toBe(0x1000n);
  expect(tryVirtAddr(0x1000)).toBe(0x1000n);
  expect(isVirtAddr(0x1000)).toBe(false);
  expect(parseVirtAddr('0xffff_8000_0000_0000')).toBe(0xffff_8000_0000_0000n);
  expect(parseVirtAddr('ffff800000000000')).toBe(0xffff_8000_0000_0000n);
});

test('virtAddrTruncate copies bit 47 to the bits above', () => {
  expect(virtAddrTruncate(0x8000_0000_0000n)).toBe(0xffff_8000_0000_0000n);
  expect(virtAddrTruncate(0xffff_0000_0000_1000n)).toBe(0x1000n);
});

test('each short name throws for a value that is not an address', () => {
  addressError('NON_CANONICAL', () => virtAddr(2n ** 47n));
  addressError('INVALID_ADDRESS', () => assertIsVirtAddr('0x1000'));
  addressError('INVALID_ADDRESS', () => virtAddrTruncate(untyped('0x1000')));
  addressError('INVALID_ADDRESS_TEXT', () => parseVirtAddr('1000'));
});
