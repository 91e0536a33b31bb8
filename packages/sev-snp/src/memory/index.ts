/**
 * Memory of an SEV-SNP machine: DRAM behind keys, and nested page tables.
 *
 * @packageDocumentation
 */

export { EncryptedMemory, type MemoryKey, NO_KEY } from './encrypted-memory.ts';
export { type GuestMemoryInput, GuestRegions } from './guest-regions.ts';
export {
  type NestedPage,
  type NestedRange,
  type NestedRights,
  NestedTable,
  type NestedTableOptions,
} from './nested-table.ts';
