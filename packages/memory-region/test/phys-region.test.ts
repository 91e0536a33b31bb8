import { PAGE_SIZE, Phys, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { MemoryRegion, physRegion } from '../src/index.ts';
import { addressError, END_PHYS, regionError, untyped } from './support.ts';

test('physRegion is the constructor for physical addresses', () => {
  const region = physRegion(physAddr(END_PHYS - 4096n), PAGE_SIZE);
  expect(region.kind).toBe(Phys);
  expect(region).toEqual(new MemoryRegion(Phys, physAddr(END_PHYS - 4096n), PAGE_SIZE));
  regionError('REGION_OVERFLOW', () => physRegion(physAddr(END_PHYS - 4096n), PAGE_SIZE + 1));
  addressError('OUTSIDE_SPACE', () => physRegion(untyped(END_PHYS), 0));
});
