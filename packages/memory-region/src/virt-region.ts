import { type Bytes, Virt, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from './memory-region.ts';

/**
 * The region of virtual addresses (48 bits) of `size` bytes from `start` on. O(1).
 *
 * @param size - bytes, at least 0
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`, `NON_CANONICAL`, `INVALID_BYTE_COUNT`; RegionError
 *   `REGION_OVERFLOW`
 */
export function virtRegion(start: VirtAddr, size: Bytes): MemoryRegion<VirtAddr> {
  return new MemoryRegion(Virt, start, size);
}
