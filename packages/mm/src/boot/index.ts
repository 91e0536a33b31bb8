/**
 * The boot of an SVSM, step by step, and the whole.
 *
 * @packageDocumentation
 */

export type { BootOptions, ImageSizes } from './boot-options.ts';
export { invalidateEarlyMemory } from './early-memory.ts';
export { launchFirmware } from './firmware-launch.ts';
export { createGlobalRanges, prepareTables } from './global-ranges.ts';
export { rescindRegion, validateHeap } from './heap-validation.ts';
export { checkInvariants, type InvariantSubject } from './invariants.ts';
export {
  directMapOf,
  type KernelImage,
  type KernelSections,
  makeReadOnlyAfterInit,
  mapKernel,
  sectionsOf,
  type TableSource,
} from './kernel-space.ts';
export { encryptionMasksOf, type PageEncryptionMasks, pagingOf } from './paging-masks.ts';
export type { PagedProcessor, ProcessorSource } from './processor-start.ts';
export { demandFeatures } from './required-features.ts';
export { createRootMemory, type RootMemory } from './root-memory.ts';
export { Svsm } from './svsm.ts';
export { createValidityRecord, memoryOf, type ValidityAtBoot } from './validity-record.ts';
