/**
 * The SVSM that answers calls of the core protocol.
 *
 * @packageDocumentation
 */

export { type GuestPageAccess, permanentMap } from './guest-page-access.ts';
export type { SvsmProtocol, SvsmProtocolAnswer, SvsmProtocolCall } from './other-protocol.ts';
export type { SvsmCore } from './svsm-core.ts';
export type { SvsmMemory } from './svsm-memory.ts';
export type { SvsmMemoryMap, SvsmStateOptions } from './svsm-options.ts';
export { SvsmState, type SvsmVcpu } from './svsm-state.ts';
export type { VtomRange } from './svsm-vtom.ts';
