/** Helpers for tests of shared allocators: pictures, and more owners. */
import type { Address } from '@svsm/address';
import { SharedPageAllocator } from '../../src/index.ts';

/** `0:2f 4:0a 5:0c`: for each block its first page (counted from the region's), its order, and the first letter of its state. */
export function picture<A extends Address>(allocator: SharedPageAllocator<A>): string {
  const { start } = allocator.region;
  return [...allocator.blocks()]
    .map(({ region, order, state }) => `${Number(region.start - start) / 4096}:${order}${state[0]}`)
    .join(' ');
}

/** Another owner of the same allocator. */
export function attached<A extends Address>(
  allocator: SharedPageAllocator<A>,
  options: Parameters<typeof SharedPageAllocator.attach>[2] = {},
): SharedPageAllocator<A> {
  return SharedPageAllocator.attach(allocator.region.kind, allocator.buffer, options);
}
