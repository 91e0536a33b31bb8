/**
 * Page tables of x86-64 in software: 4 and 5 levels, three page sizes, the C-bit and vTOM of SEV-SNP.
 *
 * @packageDocumentation
 */

export { createPhysMemory, type PhysMemoryOptions } from './create-phys-memory.ts';
export type { PageTableEntry } from './entry-format.ts';
export type { FrameAllocator } from './frame-allocator.ts';
export {
  type MapOptions,
  type MappedPage,
  PageTable,
  type PageTableOptions,
  type Walk,
  type WalkStep,
} from './page-table.ts';
export {
  isPageTableError,
  PageTableError,
  type PageTableErrorCode,
  type PageTableErrorDetails,
} from './page-table-error.ts';
export {
  type MemoryEncryption,
  type PagingConfig,
  type PagingOptions,
  pagingConfig,
} from './paging-config.ts';
export { type PhysMemory, readPhys, readPhys64, writePhys, writePhys64 } from './phys-memory.ts';
export { PteFlags, PtePreset } from './pte-flags.ts';
export { Tlb, type TlbEntry, type TlbOptions } from './tlb.ts';
export type { TlbListener } from './tlb-listener.ts';
