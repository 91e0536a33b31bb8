/**
 * The errors and events of the memory management.
 *
 * @packageDocumentation
 */

export { BOOT_STEPS, type BootStep } from './boot-step.ts';
export type {
  BootErrorCode,
  DirectMapErrorCode,
  GuardErrorCode,
  GuestMemoryErrorCode,
  GuestServiceErrorCode,
  LayoutErrorCode,
  MappingErrorCode,
  MemoryMapErrorCode,
  PageVisibilityErrorCode,
  ProcessorsErrorCode,
  SharedBoxErrorCode,
  VirtualRangeErrorCode,
  VmrErrorCode,
} from './error-code-types.ts';
export { isMmError, MmError, type MmErrorCode, type MmErrorDetails } from './mm-error.ts';
export type { MmEvent, MmTrace } from './mm-event.ts';
