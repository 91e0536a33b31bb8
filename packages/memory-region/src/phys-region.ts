import { type Bytes, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion } from './memory-region.ts';

/**
 * The region of physical addresses of `size` bytes from `start` on. O(1).
 *
 * @param size - bytes, at least 0
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`, `INVALID_BYTE_COUNT`; RegionError `REGION_OVERFLOW`
 */
export function physRegion(start: PhysAddr, size: Bytes): MemoryRegion<PhysAddr> {
  return new MemoryRegion(Phys, start, size);
}
