/**
 * The secure processor's commands on pages: launch, reclaim, swap.
 *
 * @packageDocumentation
 */

export { type LaunchUpdateOptions, launchUpdate } from './firmware.ts';
export {
  decommission,
  guestContextCreate,
  metadataInit,
  pageReclaim,
  pageSetHvFixed,
  pageUnsmash,
} from './firmware-pages.ts';
export {
  pageMove,
  type RecordPlace,
  SwapContext,
  type SwapOptions,
  type SwapPlatform,
  swapIn,
  swapOut,
} from './page-swap.ts';
