/**
 * Page tables of x86-64 in software: 4 and 5 levels, three page sizes, the C-bit and vTOM of SEV-SNP.
 *
 * @packageDocumentation
 */

export {
  type AccessGeneralProtection,
  type AccessKind,
  type AccessOptions,
  type AccessPageFault,
  type AccessResult,
  type AccessTranslation,
  allowsAccess,
  type EntryUpdate,
  PageFaultCode,
} from './access.ts';
export { type CpuRegisters, type CpuState, cpuState, cpuStateFromRegisters } from './cpu-state.ts';
export { createPhysMemory, type PhysMemoryOptions } from './create-phys-memory.ts';
export {
  type LeafBits,
  leafBits,
  leafFlags,
  type NamedEntry,
  nameEntry,
  type TableBits,
  tableBits,
  tableFlags,
} from './entry-bits.ts';
export { decodeEntry, type EntryFields, encodeEntry, reservedBits } from './entry-codec.ts';
export type { PageTableEntry } from './entry-format.ts';
export type { FrameAllocator } from './frame-allocator.ts';
export type { ListingFaultPlace, OnListingFault } from './leaf-scan.ts';
export type { ListingOptions, MappedLeaf, Mapping } from './mappings.ts';
export type { PageMapper } from './page-mapper.ts';
export type { VirtBounds } from './page-range.ts';
export { PageTable } from './page-table.ts';
export {
  isPageTableError,
  PageTableError,
  type PageTableErrorCode,
  type PageTableErrorDetails,
} from './page-table-error.ts';
export type {
  FlagChange,
  MapOptions,
  MapRegionOptions,
  PageTableOptions,
  UnmapRegionOptions,
} from './page-table-options.ts';
export { PageTablePart, type PageTablePartOptions } from './page-table-part.ts';
export {
  type MemoryEncryption,
  type PagingConfig,
  type PagingOptions,
  type PagingRegisters,
  pagingConfig,
  pagingConfigFromRegisters,
} from './paging-config.ts';
export { type PhysMemory, readPhys, readPhys64, writePhys, writePhys64 } from './phys-memory.ts';
export {
  PHYS_MEMORY_RULES,
  type PhysMemoryRule,
  type PhysMemorySubject,
} from './phys-memory-rules.ts';
export { type EntryFlags, type LeafLevel, PteFlags, PtePreset } from './pte-flags.ts';
export type { ReadFrame } from './reader-memory.ts';
export { type SelfMap, selfMap } from './self-map.ts';
export { type FlushRange, Tlb, type TlbEntry, type TlbOptions } from './tlb.ts';
export type { TlbListener } from './tlb-listener.ts';
export type { MappedPage, Walk, WalkStep } from './walk.ts';
