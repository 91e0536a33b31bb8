import type { PhysAddr, VirtAddr } from './address.ts';
import { type AddressKind, defineAddressKind } from './address-kind.ts';

/**
 * Virtual addresses of 4-level paging: 48 bits, canonical (bits 63:47 all equal; AMD64 APM vol. 2, §5.3.1).
 */
export const Virt: AddressKind<VirtAddr> = /* @__PURE__ */ defineAddressKind({
  name: 'virtual',
  bits: 48,
  signExtended: true,
});

/**
 * Virtual addresses of 5-level paging: 57 bits, canonical (bits 63:56 all equal). They have the type `VirtAddr`, as those
 * of {@link Virt} do: the type keeps virtual and physical addresses apart, the kind knows the width.
 */
export const Virt57: AddressKind<VirtAddr> = /* @__PURE__ */ defineAddressKind({
  name: 'virtual57',
  bits: 57,
  signExtended: true,
});

/** Physical addresses: below 2^52, the architectural limit (AMD64 APM vol. 2, §5.1). */
export const Phys: AddressKind<PhysAddr> = /* @__PURE__ */ defineAddressKind({
  name: 'physical',
  bits: 52,
  signExtended: false,
});
