/**
 * Virtual memory regions: mappings at addresses, and the page faults in them.
 *
 * @packageDocumentation
 */

export {
  type FileLike,
  type FileMappingOptions,
  type KernelStack,
  type KernelStackOptions,
  type MappingRights,
  mappings,
} from './mappings.ts';
export { type PageContents, type PageStore, pageStore } from './page-store.ts';
export type { PagedMapping, PagedMappingParts } from './paged-mapping.ts';
export type { FaultAccess, FrameRun, Resolution, VirtualMapping } from './virtual-mapping.ts';
export { type InsertOptions, Vmr, type VmrOptions } from './vmr.ts';
export type { VmrCpu } from './vmr-flushes.ts';
