/**
 * AMD SEV-SNP in software: the reverse map table, the instructions on it, and a machine in which a guest and a
 * hypervisor share memory, or do not.
 *
 * @packageDocumentation
 */

export {
  type ApCreation,
  ApRequest,
  decodeApCreation,
  encodeApCreation,
  makeVmsa,
  requestAp,
  unmakeVmsa,
} from './ap-creation.ts';
export {
  ASSUMPTIONS,
  type AssumptionEntry,
  type Assumptions,
  type AssumptionTable,
  assumptionsOf,
  DEFAULT_ASSUMPTIONS,
} from './assumptions.ts';
export { CPUID_MAX_ENTRIES, type CpuidEntry, decodeCpuidPage, encodeCpuidPage } from './cpuid-page.ts';
export { EncryptedMemory, type MemoryKey, NO_KEY } from './encrypted-memory.ts';
export { NpfInfo, PAGE_NOT_VALIDATED, PageFaultError, VMEXIT_NPF } from './exit-info.ts';
export { type LaunchUpdateOptions, launchUpdate } from './firmware.ts';
export {
  decommission,
  guestContextCreate,
  metadataInit,
  pageReclaim,
  pageSetHvFixed,
  pageUnsmash,
} from './firmware-pages.ts';
export { Ghcb, type GhcbCall } from './ghcb.ts';
export {
  decodeGhcbMsr,
  encodeGhcbMsr,
  type GhcbMsrMessage,
  HypervisorFeature,
  PageOperation,
} from './ghcb-msr.ts';
export {
  GHCB_BUFFER,
  GHCB_FIELDS,
  GhcbExit,
  type GhcbField,
  GhcbPage,
  GhcbRefusal,
  ghcbValidBit,
  type PageBytes,
} from './ghcb-page.ts';
export type { GhcbAnswer, GhcbRequest } from './ghcb-service.ts';
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
export type { LaunchOptions } from './guest-launch.ts';
export { psmash, type RmpreadAnswer, type RmpState, rmpread, rmpupdate } from './host-instructions.ts';
export { type HostileAnswers, HostileHypervisor } from './hostile-hypervisor.ts';
export { Hypervisor } from './hypervisor.ts';
export {
  type ExecutionMode,
  executeInGuest,
  executeInHost,
  type InstructionRegisters,
  ResultFlag,
  RMP_INSTRUCTIONS,
  type RmpInstruction,
  rmpInstructionOf,
} from './instruction-registers.ts';
export {
  type DigestSource,
  encodePageInfo,
  LaunchDigest,
  type LaunchPage,
  LaunchPageType,
  type PageInfo,
  type PageInfoAssumptions,
  type Sha384,
  VMSA_LAUNCH_GPA,
  webCryptoSha384,
} from './launch-digest.ts';
export type { MachineEvent } from './machine-event.ts';
export { registerGhcb, requestGhcbMsr, requestPageState } from './msr-protocol.ts';
export { type NestedPage, NestedTable } from './nested-table.ts';
export { NestedTlb } from './nested-tlb.ts';
export { PageState, pageStateOf } from './page-state.ts';
export { PSC_MAX_IDLE_EXITS, requestPageStates } from './page-state-change.ts';
export {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  PSC_MAX_ENTRIES,
  type PscEntry,
  type PscHeader,
  pscEntriesOf,
} from './page-state-list.ts';
export { type ChangePage, PscResult, processPageStateChange } from './page-state-service.ts';
export {
  pageMove,
  type RecordPlace,
  SwapContext,
  type SwapOptions,
  type SwapPlatform,
  swapIn,
  swapOut,
} from './page-swap.ts';
export {
  acceptPage,
  makePagePrivate,
  makePageShared,
  releasePage,
  type VisibilityOptions,
} from './page-visibility.ts';
export type { ExitHandler, GuestContext, RunnableVmsa, SnpPlatform, VcpuContext } from './platform.ts';
export { makeRegionPrivate, makeRegionShared } from './region-visibility.ts';
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
export {
  type FlatRmp,
  flatRmpCoverage,
  flatRmpEntryAddress,
  type SegmentedRmp,
  segmentedRmpEntryAddress,
} from './rmp-location.ts';
export { RmpResult, rmpResultName } from './rmp-result.ts';
export { decodeRmpState, encodeRmpState, type RmpStateFields } from './rmp-state.ts';
export { announceSvsm, decodeSecretsPage, type SecretsPage, type SvsmLocation } from './secrets-page.ts';
export { isSnpError, SnpError, type SnpErrorCode, type SnpErrorDetails } from './snp-error.ts';
export { isSnpFault, SnpFault, type SnpFaultCode, type SnpFaultDetails } from './snp-fault.ts';
export { SnpMachine, type SnpMachineOptions } from './snp-machine.ts';
export {
  type CallingArea,
  callSvsm,
  configureSvsmVtom,
  createVcpuBySvsm,
  deleteVcpuBySvsm,
  depositToSvsm,
  pvalidateBySvsm,
  querySvsmProtocol,
  querySvsmVtom,
  remapCallingArea,
  requestSvsm,
  SVSM_MAX_ATTEMPTS,
  type VtomSettings,
  withdrawFromSvsm,
} from './svsm-call.ts';
export { SvsmCore, type SvsmCoreOptions, type SvsmVcpu } from './svsm-core.ts';
export type { SvsmMemoryOptions } from './svsm-memory.ts';
export {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  SVSM_LIST_MAX,
  SvsmCall,
  type SvsmListEntry,
  type SvsmListHeader,
  type SvsmRegisters,
  SvsmResult,
} from './svsm-protocol.ts';
export type { VtomRange } from './svsm-vtom.ts';
export {
  decodeSwapRecord,
  encodeSwapRecord,
  SWAP_RECORD_SIZE,
  SWAP_RECORDS_PER_PAGE,
  type SwapRecord,
} from './swap-record.ts';
export { SysPhys, type SysPhysAddr, sysPhysAddr, sysPhysRegion } from './sys-phys-addr.ts';
export type { TranslationCache } from './translation-cache.ts';
export { pageRegion, ValidatedPages } from './validated-pages.ts';
export { type DataAccessOptions, Vcpu, type VcpuOptions } from './vcpu.ts';
export {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  START_REGISTERS,
} from './vcpu-registers.ts';
export { createVmsa, type VmsaOptions } from './vcpu-state.ts';
export { VMPL_COUNT, Vmpl, VmplPermission } from './vmpl.ts';
export {
  failedVmrunCheck,
  VMRUN_CHECKS,
  VmExit,
  type VmrunCheck,
  type VmrunPage,
  vmexit,
  vmrun,
} from './vmrun.ts';
export { EFER_SVME, readVmsa, SevFeature, VMSA_FIELDS, type VmsaField, writeVmsa } from './vmsa.ts';
