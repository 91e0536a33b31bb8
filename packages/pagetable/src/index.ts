/**
 * Page tables of x86-64 in software: 4 and 5 levels, three page sizes, the C-bit and vTOM of SEV-SNP.
 *
 * @packageDocumentation
 */

export type {
  FlagChange,
  MapOptions,
  MapRegionOptions,
  PageTableOptions,
  UnmapRegionOptions,
} from './edit/page-table-options.ts';
export {
  type CacheControl,
  type CacheControlOptions,
  type CacheDisableEffect,
  cacheControl,
  type MixedPageEffect,
} from './entry/cache-control.ts';
export {
  type CombinedPatType,
  combineGuestAndHostTypes,
  combineMemoryTypes,
} from './entry/combined-type.ts';
export { Cr0Flags, Cr4Flags, EferFlags } from './entry/control-flags.ts';
export {
  CONTROL_FAULTS,
  type ControlFault,
  type ControlRefused,
  type ControlWrite,
  type ControlWritten,
  type ReadPdpte,
  setCr0,
  setCr3,
  setCr4,
  type TlbFlush,
  writeEfer,
} from './entry/control-registers.ts';
export {
  type ControlState,
  controlState,
  currentPcid,
  type PagingMode,
  type ProcessorMode,
  pagingMode,
  processorMode,
} from './entry/control-state.ts';
export { type CpuRegisters, type CpuState, cpuState, cpuStateFromRegisters } from './entry/cpu-state.ts';
export {
  type GuestCacheControl,
  type MemoryTypes,
  memoryTypesOf,
  type NestedMemoryTypes,
  nestedMemoryTypesOf,
  type TypedPage,
  tableMemoryTypesOf,
} from './entry/effective-type.ts';
export {
  type LeafBits,
  leafBits,
  leafFlags,
  type NamedEntry,
  nameEntry,
  type TableBits,
  tableBits,
  tableFlags,
} from './entry/entry-bits.ts';
export { decodeEntry, type EntryFields, encodeEntry, reservedBits } from './entry/entry-codec.ts';
export type { PageTableEntry } from './entry/entry-format.ts';
export type {
  AccessErrorCode,
  CollapseErrorCode,
  ConfigErrorCode,
  CpuStateErrorCode,
  CreateTableErrorCode,
  DestroyTableErrorCode,
  EntryErrorCode,
  FlushErrorCode,
  ListingErrorCode,
  LookupErrorCode,
  MapErrorCode,
  MemoryTypeErrorCode,
  PartErrorCode,
  PhysMemoryErrorCode,
  ProtectErrorCode,
  SelfMapErrorCode,
  SetSharedErrorCode,
  SplitErrorCode,
  UnmapErrorCode,
} from './entry/error-codes.ts';
export { maskAddress } from './entry/masked-address.ts';
export {
  type EffectiveMemoryType,
  type MemoryType,
  MemoryTypeCode,
  type MtrrType,
} from './entry/memory-type.ts';
export {
  decodeMtrrs,
  encodeVariableMtrr,
  FIXED_MTRRS,
  type FixedMtrr,
  type FixedRange,
  type MtrrRegisters,
  type Mtrrs,
  type VariableMtrr,
  type VariableRange,
} from './entry/mtrr.ts';
export { type AccessTarget, accessTarget, type MtrrVerdict, mtrrType } from './entry/mtrr-type.ts';
export type { VirtBounds } from './entry/page-range.ts';
export {
  isPageTableError,
  PageTableError,
  type PageTableErrorCode,
  type PageTableErrorDetails,
} from './entry/page-table-error.ts';
export {
  type MemoryEncryption,
  type PagingConfig,
  type PagingOptions,
  type PagingRegisters,
  pagingConfig,
  pagingConfigFromRegisters,
} from './entry/paging-config.ts';
export { decodePat, encodePat, PAT_RESET, type Pat, patIndex, tablePatIndex } from './entry/pat.ts';
export { type ProcessorFeatures, processorFeatures } from './entry/processor-features.ts';
export { type EntryFlags, type LeafLevel, PteFlags, PtePreset } from './entry/pte-flags.ts';
export { type SelfMap, selfMap } from './entry/self-map.ts';
export { createPhysMemory, type PhysMemoryOptions } from './memory/create-phys-memory.ts';
export type { FrameAllocator } from './memory/frame-allocator.ts';
export {
  type PhysMemory,
  readPhys,
  readPhys8,
  readPhys16,
  readPhys32,
  readPhys64,
  writePhys,
  writePhys8,
  writePhys16,
  writePhys32,
  writePhys64,
} from './memory/phys-memory.ts';
export {
  PHYS_MEMORY_RULES,
  type PhysMemoryRule,
  type PhysMemorySubject,
} from './memory/phys-memory-rules.ts';
export type { ReadFrame } from './memory/reader-memory.ts';
export type { PageMapper } from './table/page-mapper.ts';
export { PageTable } from './table/page-table.ts';
export { PageTablePart, type PageTablePartOptions } from './table/page-table-part.ts';
export {
  type AccessGeneralProtection,
  type AccessKind,
  type AccessPageFault,
  type AccessResult,
  type AccessTranslation,
  allowsAccess,
  type EntryUpdate,
  PageFaultCode,
} from './walk/access.ts';
export type { AccessOptions } from './walk/access-options.ts';
export type { ListingFaultPlace, OnListingFault } from './walk/leaf-scan.ts';
export type { ListingOptions, MappedLeaf, Mapping } from './walk/mappings.ts';
export { Tlb } from './walk/tlb.ts';
export {
  applyTlbControl,
  type InvalidationResult,
  type InvlpgbContext,
  InvlpgbFlag,
  type InvlpgbRegisters,
  type InvpcidDescriptor,
  invlpgb,
  invpcid,
  TlbControl,
} from './walk/tlb-instructions.ts';
export type { TlbListener } from './walk/tlb-listener.ts';
export type { FlushRange, TlbOptions } from './walk/tlb-options.ts';
export type { TlbEntry } from './walk/tlb-space.ts';
export type { MappedPage, Walk, WalkStep } from './walk/walk.ts';
