import type { ERRORS_OF } from './error-codes.ts';
import type { MmErrorCode } from './mm-error.ts';

/** `Table`, of which every code must be one of this package. */
type Checked<Table extends Readonly<Record<string, readonly MmErrorCode[]>>> = Table;
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

/** The codes that making a layout throws: `addressSpaceLayout`, `slotRegion`. */
export type LayoutErrorCode = CodeOf<'addressSpaceLayout' | 'slotRegion'>;

/** The codes that a `MemoryMap` and its registry throw. */
export type MemoryMapErrorCode = CodeOf<'MemoryMap' | 'MemoryMap.registerVmsa' | 'MemoryMap.unregisterVmsa'>;

/** The codes that translating by a `DirectMap` throws. */
export type DirectMapErrorCode = CodeOf<
  'DirectMap' | 'DirectMap.toPhys' | 'DirectMap.toVirt' | 'DirectMap.physOf' | 'DirectMap.virtOf'
>;

/** The codes that a `VirtualRange` throws. */
export type VirtualRangeErrorCode = CodeOf<'VirtualRange' | 'VirtualRange.allocate' | 'VirtualRange.free'>;

/** The codes that a `MappingGuard` throws. */
export type GuardErrorCode = CodeOf<
  | 'MappingGuard.create'
  | 'MappingGuard.region'
  | 'MappingGuard.read'
  | 'MappingGuard.write'
  | 'MappingGuard.leak'
>;

/** The codes that the processors of an SVSM throw: `Processors`, `PerCpu`, `ShootDown`. */
export type ProcessorsErrorCode = CodeOf<
  | 'PerCpu'
  | 'ShootDown'
  | 'Processors'
  | 'Processors.add'
  | 'Processors.remove'
  | 'Processors.get'
  | 'Processors.thisCpu'
  | 'Processors.on'
>;

/** The codes that sharing pages and taking them back throws: `PageVisibility`, `GuestVisibility`. */
export type PageVisibilityErrorCode = CodeOf<
  | 'PageVisibility.makeShared'
  | 'PageVisibility.makePrivate'
  | 'PageVisibility.sharedIn'
  | 'PageVisibility.retryLost'
  | 'PageVisibility.allocateShared'
  | 'PageVisibility.release'
  | 'GuestVisibility'
  | 'GuestVisibility.makeShared'
  | 'GuestVisibility.makePrivate'
>;

/** The codes that a `SharedBox` throws. */
export type SharedBoxErrorCode = CodeOf<
  | 'SharedBox.create'
  | 'SharedBox.region'
  | 'SharedBox.read'
  | 'SharedBox.write'
  | 'SharedBox.clear'
  | 'SharedBox.leak'
  | 'SharedBox[Symbol.dispose]'
>;

/** The codes that making or copying a mapping throws: `mappings`, `pageStore`, `PagedMapping`. */
export type MappingErrorCode = CodeOf<
  | 'mappings.physical'
  | 'mappings.reserved'
  | 'mappings.allocated'
  | 'mappings.kernelStack'
  | 'mappings.file'
  | 'pageStore'
  | 'PagedMapping.copyOnWrite'
  | 'PagedMapping[Symbol.dispose]'
>;

/** The codes that a `Vmr` throws. */
export type VmrErrorCode = CodeOf<
  'Vmr' | 'Vmr.insert' | 'Vmr.remove' | 'Vmr.attach' | 'Vmr.detach' | 'Vmr.handlePageFault'
>;

/** The codes that using memory of the guest throws: `copyFromGuest`, `copyToGuest`, `GuestPtr`, `guestFormats`, `GuestWindow`. */
export type GuestMemoryErrorCode = CodeOf<
  | 'copyFromGuest'
  | 'copyToGuest'
  | 'GuestPtr'
  | 'GuestPtr.write'
  | 'GuestPtr.at'
  | 'GuestPtr.cast'
  | 'guestFormats.bytes'
  | 'guestFormats.struct'
  | 'GuestWindow'
>;

/** The codes that serving the guest throws: `GuestService`. */
export type GuestServiceErrorCode = CodeOf<
  'GuestService' | 'GuestService.on' | 'GuestService.register' | 'GuestService.enter' | 'GuestService.call'
>;

/** The codes that the boot throws: `Svsm.boot`. */
export type BootErrorCode = CodeOf<'Svsm.boot'>;
