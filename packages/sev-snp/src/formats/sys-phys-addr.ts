import { type Address, type AddressKind, type Bytes, defineAddressKind } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';

/**
 * A system-physical address. The host's and the nested page tables translate to it, and the RMP has an entry for each
 * page of it. A guest never sees one: its own physical addresses are `PhysAddr`, and the compiler keeps the two apart.
 */
export type SysPhysAddr = Address<'sys-phys'>;

/** The kind of system-physical addresses: below 2^52 (AMD64 APM vol. 2, §5.1), without an encryption bit. */
export const SysPhys: AddressKind<SysPhysAddr> = /* @__PURE__ */ defineAddressKind({
  name: 'system-physical',
  bits: 52,
  signExtended: false,
});

/**
 * `value` as a system-physical address: below 2^52. O(1).
 *
 * @throws AddressError `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 */
export function sysPhysAddr(value: number | bigint): SysPhysAddr {
  return SysPhys.address(value);
}

/**
 * The region of system-physical addresses of `size` bytes from `start` on. O(1).
 *
 * @throws AddressError, RegionError as the constructor of `MemoryRegion`
 */
export function sysPhysRegion(start: SysPhysAddr, size: Bytes): MemoryRegion<SysPhysAddr> {
  return new MemoryRegion(SysPhys, start, size);
}
