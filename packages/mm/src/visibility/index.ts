/**
 * Which pages the hypervisor sees: sharing pages and taking them back, with nothing lost in silence.
 *
 * @packageDocumentation
 */

export { GuestVisibility, type GuestVisibilityOptions } from './guest-visibility.ts';
export type { PageVisibilityState } from './page-record.ts';
export { PageVisibility, type PageVisibilityOptions } from './page-visibility.ts';
export type { MoverOptions, VisibilityCpu } from './region-mover.ts';
export { SharedBox, type VisibilityOwner } from './shared-box.ts';
