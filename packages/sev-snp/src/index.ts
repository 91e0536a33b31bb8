/**
 * AMD SEV-SNP in software: the reverse map table, the instructions on it, and a machine in which a guest and a
 * hypervisor share memory, or do not.
 *
 * @packageDocumentation
 */

export { type Assumptions, DEFAULT_ASSUMPTIONS } from './assumptions.ts';
export { EncryptedMemory, type MemoryKey, NO_KEY } from './encrypted-memory.ts';
export { NpfInfo, PAGE_NOT_VALIDATED, PageFaultError, VMEXIT_NPF } from './exit-info.ts';
export { launchUpdate } from './firmware.ts';
export {
  decodeGhcbMsr,
  encodeGhcbMsr,
  type GhcbMsrMessage,
  HypervisorFeature,
  PageOperation,
} from './ghcb-msr.ts';
export { Guest, type GuestOptions } from './guest.ts';
export {
  type GuestCpu,
  type GuestTranslation,
  type PvalidateAnswer,
  pvalidate,
  type RmpAdjustment,
  type RmpqueryAnswer,
  rmpadjust,
  rmpquery,
} from './guest-instructions.ts';
export { psmash, type RmpState, rmpupdate } from './host-instructions.ts';
export { Hypervisor, type LaunchOptions } from './hypervisor.ts';
export type { MachineEvent } from './machine-event.ts';
export { requestGhcbMsr, requestPageState } from './msr-protocol.ts';
export { type NestedPage, NestedTable } from './nested-table.ts';
export { PageState, pageStateOf } from './page-state.ts';
export { acceptPage, makePagePrivate, makePageShared, releasePage } from './page-visibility.ts';
export type { ExitHandler, GuestContext, SnpPlatform } from './platform.ts';
export { HYPERVISOR_ENTRY, Rmp, type RmpOptions } from './rmp.ts';
export {
  type AccessKind,
  type Accessor,
  failedRmpCheck,
  RMP_CHECKS,
  type RmpAccess,
  type RmpCheck,
} from './rmp-check.ts';
export {
  decodeRmpEntry,
  encodeRmpEntry,
  type RawRmpEntry,
  type RmpEntry,
  type RmpPageSize,
  type VmplMasks,
} from './rmp-entry.ts';
export { RmpResult, rmpResultName } from './rmp-result.ts';
export { isSnpError, SnpError, type SnpErrorCode, type SnpErrorDetails } from './snp-error.ts';
export { isSnpFault, SnpFault, type SnpFaultCode, type SnpFaultDetails } from './snp-fault.ts';
export { SnpMachine, type SnpMachineOptions } from './snp-machine.ts';
export { SysPhys, type SysPhysAddr, sysPhysAddr, sysPhysRegion } from './sys-phys-addr.ts';
export type { TranslationCache } from './translation-cache.ts';
export { Vcpu, type VcpuOptions } from './vcpu.ts';
export { VMPL_COUNT, Vmpl, VmplPermission } from './vmpl.ts';
