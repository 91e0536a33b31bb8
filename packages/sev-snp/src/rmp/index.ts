/**
 * The reverse map table: its entries, the check of each access, and the host's instructions on it.
 *
 * @packageDocumentation
 */

export { psmash, type RmpreadAnswer, type RmpState, rmpread, rmpupdate } from './host-instructions.ts';
export { HYPERVISOR_ENTRY, Rmp, type RmpOptions } from './rmp.ts';
export {
  type Accessor,
  failedRmpCheck,
  RMP_CHECKS,
  type RmpAccess,
  type RmpAccessKind,
  type RmpCheck,
} from './rmp-check.ts';
export { isSnpFault, SnpFault, type SnpFaultCode, type SnpFaultDetails } from './snp-fault.ts';
