import { isAddressError } from '@svsm/address';
import { expect, test } from 'vitest';
import { SysPhys, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';

// P42
test('system-physical addresses are below 2^52', () => {
  expect(sysPhysAddr(2n ** 52n - 1n)).toBe(2n ** 52n - 1n);
  for (const value of [-1n, 2n ** 52n]) {
    try {
      sysPhysAddr(value);
      expect.unreachable();
    } catch (error) {
      expect(isAddressError(error, 'OUTSIDE_SPACE')).toBe(true);
      expect(String(error)).toContain('system-physical');
    }
  }
});

test('system-physical regions have their own kind', () => {
  const region = sysPhysRegion(sysPhysAddr(0x1000), 0x2000);
  expect(region.kind).toBe(SysPhys);
  expect(region.end).toBe(0x3000n);
});
