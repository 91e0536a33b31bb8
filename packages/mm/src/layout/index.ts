/**
 * The map of virtual addresses, and the map of guest-physical memory.
 *
 * @packageDocumentation
 */

export {
  type AddressSpaceLayout,
  addressSpaceLayout,
  COCONUT_LAYOUT,
  type LayoutChanges,
  type LayoutSlots,
  type PerCpuLayout,
  slotRegion,
} from './address-space-layout.ts';
export { DirectMap } from './direct-map.ts';
export { renderLayout } from './layout-picture.ts';
export { type MemoryKind, MemoryMap, type MemoryMapEntry, type RegisteredVmsa } from './memory-map.ts';
