/** Valid values of the types of `@svsm/memory-region`. */
import { type Address, PageSize, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, type PageCursor, physRegion, RegionMap, RegionSet } from '@svsm/memory-region';
import type { Makers, World } from '../world.ts';
import { makers as address } from './address.ts';

export const makers: Makers = {
  types: {
    ...address.types,
    MemoryRegion: {
      make: () => physRegion(physAddr(0x1_0000), 0x8000),
      state: (region: MemoryRegion<Address>) => [String(region)],
    },
    PageCursor: {
      make: () => physRegion(physAddr(0x1_0000), 0x8000).cursor(PageSize.Regular).goTo(0),
      state: (cursor: PageCursor<Address>) => [String(cursor.count)],
    },
    RegionSet: {
      make: () =>
        new RegionSet<PhysAddr>(Phys, [
          physRegion(physAddr(0x1_0000), 0x4000),
          physRegion(physAddr(0x4_0000), 0x4000),
        ]),
      state: (set: RegionSet<Address>) => [String(set)],
    },
    RegionMap: {
      make: () => new RegionMap<PhysAddr, unknown>(Phys, [[physRegion(physAddr(0x4_0000), 0x4000), 'ram']]),
      state: (map: RegionMap<Address, unknown>) => [
        [...map].map(([region, value]) => `${region} ${String(value)}`).join(),
      ],
    },
  },
  values: {
    ...address.values,
    end: () => 0x2_0000n,
    equal: () => (a: unknown, b: unknown) => a === b,
    'MemoryRegion.unchecked(size)': () => 0x1000n,
    'MemoryRegion.tryNew(start)': () => 0x1000n,
    'MemoryRegion.tryNew(size)': () => 0x1000,
    'MemoryRegion.from(value)': (world: World) => world.get('MemoryRegion'),
    'RegionMap.delete(region)': () => physRegion(physAddr(0x4_0000), 0x4000),
    bounds: () => ({ start: 0n, end: 0x1000n }),
  },
};
