import { expect, test } from 'vitest';
import { assertIsPhysAddr, isPhysAddr, Phys, parsePhysAddr, physAddr, tryPhysAddr } from '../src/index.ts';
import { addressError } from './support.ts';

test('the short names do what the methods of Phys do', () => {
  for (const value of [-1n, 0n, 0x1000n, 2n ** 47n, 2n ** 52n - 1n, 2n ** 52n, 2n ** 64n - 1n]) {
    const valid = Phys.isAddress(value);
    expect(isPhysAddr(value)).toBe(valid);
    expect(tryPhysAddr(value)).toBe(valid ? value : undefined);
    if (valid) {
      expect(physAddr(value)).toBe(value);
      assertIsPhysAddr(value);
    } else {
      expect(() => physAddr(value)).toThrow('physical address');
      expect(() => assertIsPhysAddr(value)).toThrow('physical address');
    }
  }
  expect(physAddr(0x1000)).toBe(0x1000n);
  expect(tryPhysAddr(0x1000)).toBe(0x1000n);
  expect(isPhysAddr(0x1000)).toBe(false);
  expect(parsePhysAddr('0x10_0000')).toBe(0x10_0000n);
  expect(parsePhysAddr('00100000')).toBe(0x10_0000n);
});

test('each short name throws for a value that is not an address; bit 51 is the highest that fits', () => {
  expect(physAddr(0x1000n | (1n << 51n))).toBe(0x8_0000_0000_1000n);
  addressError('OUTSIDE_SPACE', () => physAddr(0x1000n | (1n << 52n)));
  addressError('INVALID_ADDRESS', () => assertIsPhysAddr(4096));
  addressError('INVALID_ADDRESS_TEXT', () => parsePhysAddr('4096'));
});
