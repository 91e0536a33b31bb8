/**
 * The firmware of the secure processor: guests and their keys, launch, reclaim, swap.
 *
 * @packageDocumentation
 */

export { Firmware, type GuestStatus } from './firmware.ts';
export type { FirmwarePlatform } from './firmware-command.ts';
export type { ActiveGuest } from './firmware-context.ts';
export type { LaunchUpdateOptions } from './page-launch.ts';
export type { MoveOptions, RecordPlace, SwapOptions } from './page-swap.ts';
