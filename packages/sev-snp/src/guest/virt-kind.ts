import { type AddressKind, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import type { GuestContext } from '../cpu/platform.ts';

/** The kind of a guest's virtual addresses: of 48 bits, or of 57 bits with 5 levels. */
export function virtKindOf({ paging }: GuestContext): AddressKind<VirtAddr> {
  return paging.levels === 5 ? Virt57 : Virt;
}

/**
 * A region of virtual addresses as one of a guest. Addresses of 48 bits are addresses of 57 bits, too.
 *
 * @throws RegionError `KIND_MISMATCH`
 */
export function virtRegionOf(kind: AddressKind<VirtAddr>, value: unknown): MemoryRegion<VirtAddr> {
  try {
    return MemoryRegion.from(kind, value);
  } catch {
    const { start, end } = MemoryRegion.from(Virt, value);
    return MemoryRegion.fromAddresses(kind, start, end);
  }
}
