import { PAGE_SIZE, Virt, virtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { MemoryRegion, virtRegion } from '../src/index.ts';
import { addressError, LOW_END, regionError, untyped } from './support.ts';

test('virtRegion is the constructor for 48-bit virtual addresses', () => {
  const region = virtRegion(virtAddr(LOW_END - 4096n), PAGE_SIZE);
  expect(region.kind).toBe(Virt);
  expect(region).toEqual(new MemoryRegion(Virt, virtAddr(LOW_END - 4096n), PAGE_SIZE));
  regionError('REGION_OVERFLOW', () => virtRegion(virtAddr(LOW_END - 4096n), PAGE_SIZE + 1));
  addressError('NON_CANONICAL', () => virtRegion(untyped(LOW_END), 0));
});
