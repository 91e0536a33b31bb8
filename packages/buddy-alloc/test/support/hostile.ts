/** Values that callers without types may pass where a number, an address or a region is expected. */
import { physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { flatRegion, HEAP, heapPages } from './allocators.ts';

/** Values that are not a number of pages or bytes, an order or an index. */
export const NOT_NUMBERS: readonly unknown[] = [
  -1,
  0.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** 53,
  1e308,
  1n,
  '1',
  '',
  true,
  null,
  {},
  [],
  Symbol('s'),
];

/** Values that are not a virtual address. */
export const NOT_ADDRESSES: readonly unknown[] = [
  -1n,
  -4096n,
  2n ** 64n,
  2n ** 64n + HEAP,
  HEAP - 2n ** 64n,
  2n ** 47n,
  2n ** 63n,
  -(2n ** 63n),
  0,
  4096,
  NaN,
  '0x1000',
  true,
  null,
  undefined,
  [],
  Symbol('s'),
  () => HEAP,
];

/** Values that are not a region of virtual addresses. {@link HEAP} is one of them. */
export const NOT_REGIONS: readonly unknown[] = [
  0,
  4096n,
  HEAP,
  '0x1000',
  true,
  null,
  undefined,
  {},
  [],
  [heapPages(0, 1)],
  Symbol('s'),
  physRegion(physAddr(0x1000), 0x1000),
  flatRegion(HEAP, HEAP + 0x1000n),
  { start: HEAP, end: HEAP + 0x1000n, size: 0x1000n },
];

/** Regions that are not whole pages of an allocator of the first 64 pages from {@link HEAP}. */
export const BAD_REGIONS = [
  heapPages(0, 0),
  heapPages(63, 2),
  heapPages(64, 1),
  virtRegion(virtAddr(HEAP + 1n), 0x1000),
  virtRegion(HEAP, 0x1001),
  virtRegion(HEAP, 1),
  virtRegion(virtAddr(0), 0x1000),
  virtRegion(virtAddr(HEAP), 2n ** 47n),
] as const;
