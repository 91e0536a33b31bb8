/**
 * The SVSM that answers calls of the core protocol.
 *
 * @packageDocumentation
 */

export { SvsmCore, type SvsmCoreOptions, type SvsmVcpu } from './svsm-core.ts';
export type { SvsmMemoryOptions } from './svsm-memory.ts';
export type { VtomRange } from './svsm-vtom.ts';
