/**
 * The guest: its memory, used for a moment, and the calls that it makes.
 *
 * @packageDocumentation
 */

export { type GuestFormat, guestFormats, type StructOf } from './guest-format.ts';
export { copyFromGuest, copyToGuest, type GuestMemory } from './guest-memory.ts';
export { GuestPtr } from './guest-ptr.ts';
export { type CallerOptions, GuestService, type GuestServiceOptions } from './guest-service.ts';
export { GuestWindow, type GuestWindowOptions } from './guest-window.ts';
export type { ServingCpu } from './serving-cpu.ts';
