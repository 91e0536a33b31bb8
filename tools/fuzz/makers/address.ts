/** Valid values of the types of `@svsm/address`. */
import { Phys, Virt } from '@svsm/address';
import type { Makers } from '../world.ts';

export const makers: Makers = {
  types: {
    Address: { make: () => Phys.address(0x11000) },
    PhysAddr: { make: () => Phys.address(0x11000) },
    VirtAddr: { make: () => Virt.address(0x4000_1000) },
    AddressKind: { make: () => Phys },
    AddressKindSpec: { make: () => ({ name: 'bus', bits: 40, signExtended: false }) },
  },
  values: {
    text: () => '0x1000',
    alignment: () => 0x1000,
    level: () => 1,
    name: () => 'AddressError',
    code: () => 'INVALID_ADDRESS',
  },
};
