/**
 * AMD SEV-SNP in software: the reverse map table, the instructions on it, and a machine in which a guest and a
 * hypervisor share memory, or do not.
 *
 * @packageDocumentation
 */

export {
  type GuestCpu,
  type GuestTranslation,
  type PvalidateAnswer,
  pvalidate,
  type RmpAdjustment,
  type RmpqueryAnswer,
  rmpadjust,
  rmpquery,
} from './cpu/guest-instructions.ts';
export {
  type ExecutionMode,
  executeInGuest,
  executeInHost,
  type InstructionRegisters,
  ResultFlag,
  RMP_INSTRUCTIONS,
  type RmpInstruction,
  rmpInstructionOf,
} from './cpu/instruction-registers.ts';
export type { MachineEvent } from './cpu/machine-event.ts';
export { NestedTlb } from './cpu/nested-tlb.ts';
export type { ExitHandler, GuestContext, RunnableVmsa, SnpPlatform, VcpuContext } from './cpu/platform.ts';
export type { TranslationCache } from './cpu/translation-cache.ts';
export { type DataAccessOptions, Vcpu, type VcpuOptions } from './cpu/vcpu.ts';
export {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  START_REGISTERS,
} from './cpu/vcpu-registers.ts';
export { createVmsa, type VmsaOptions } from './cpu/vcpu-state.ts';
export {
  failedVmrunCheck,
  VMRUN_CHECKS,
  VmExit,
  type VmrunCheck,
  type VmrunPage,
  vmexit,
  vmrun,
} from './cpu/vmrun.ts';
export { type LaunchUpdateOptions, launchUpdate } from './firmware/firmware.ts';
export {
  decommission,
  guestContextCreate,
  metadataInit,
  pageReclaim,
  pageSetHvFixed,
  pageUnsmash,
} from './firmware/firmware-pages.ts';
export {
  pageMove,
  type RecordPlace,
  SwapContext,
  type SwapOptions,
  type SwapPlatform,
  swapIn,
  swapOut,
} from './firmware/page-swap.ts';
export {
  ASSUMPTIONS,
  type AssumptionEntry,
  type Assumptions,
  type AssumptionTable,
  assumptionsOf,
  DEFAULT_ASSUMPTIONS,
} from './formats/assumptions.ts';
export {
  CPUID_MAX_ENTRIES,
  type CpuidEntry,
  decodeCpuidPage,
  encodeCpuidPage,
} from './formats/cpuid-page.ts';
export { NpfInfo, PAGE_NOT_VALIDATED, PageFaultError, VMEXIT_NPF } from './formats/exit-info.ts';
export {
  decodeGhcbMsr,
  encodeGhcbMsr,
  type GhcbMsrMessage,
  HypervisorFeature,
  PageOperation,
} from './formats/ghcb-msr.ts';
export {
  GHCB_BUFFER,
  GHCB_FIELDS,
  GhcbExit,
  type GhcbField,
  GhcbPage,
  GhcbRefusal,
  ghcbValidBit,
  type PageBytes,
} from './formats/ghcb-page.ts';
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
} from './formats/launch-digest.ts';
export { PageState, pageStateOf } from './formats/page-state.ts';
export {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  PSC_MAX_ENTRIES,
  type PscEntry,
  type PscHeader,
  pscEntriesOf,
} from './formats/page-state-list.ts';
export {
  decodeRmpEntry,
  encodeRmpEntry,
  type RawRmpEntry,
  type RmpEntry,
  type RmpPageSize,
  type VmplMasks,
} from './formats/rmp-entry.ts';
export {
  type FlatRmp,
  flatRmpCoverage,
  flatRmpEntryAddress,
  type SegmentedRmp,
  segmentedRmpEntryAddress,
} from './formats/rmp-location.ts';
export { RmpResult, rmpResultName } from './formats/rmp-result.ts';
export { decodeRmpState, encodeRmpState, type RmpStateFields } from './formats/rmp-state.ts';
export {
  announceSvsm,
  decodeSecretsPage,
  type SecretsPage,
  type SvsmLocation,
} from './formats/secrets-page.ts';
export { isSnpError, SnpError, type SnpErrorCode, type SnpErrorDetails } from './formats/snp-error.ts';
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
} from './formats/svsm-protocol.ts';
export {
  decodeSwapRecord,
  encodeSwapRecord,
  SWAP_RECORD_SIZE,
  SWAP_RECORDS_PER_PAGE,
  type SwapRecord,
} from './formats/swap-record.ts';
export { SysPhys, type SysPhysAddr, sysPhysAddr, sysPhysRegion } from './formats/sys-phys-addr.ts';
export { VMPL_COUNT, Vmpl, VmplPermission } from './formats/vmpl.ts';
export { EFER_SVME, readVmsa, SevFeature, VMSA_FIELDS, type VmsaField, writeVmsa } from './formats/vmsa.ts';
export {
  type ApCreation,
  ApRequest,
  decodeApCreation,
  encodeApCreation,
  makeVmsa,
  requestAp,
  unmakeVmsa,
} from './guest/ap-creation.ts';
export { Ghcb, type GhcbCall } from './guest/ghcb.ts';
export { Guest, type GuestOptions } from './guest/guest.ts';
export { registerGhcb, requestGhcbMsr, requestPageState } from './guest/msr-protocol.ts';
export { PSC_MAX_IDLE_EXITS, requestPageStates } from './guest/page-state-change.ts';
export {
  acceptPage,
  makePagePrivate,
  makePageShared,
  releasePage,
  type VisibilityOptions,
} from './guest/page-visibility.ts';
export { makeRegionPrivate, makeRegionShared } from './guest/region-visibility.ts';
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
} from './guest/svsm-call.ts';
export { pageRegion, ValidatedPages } from './guest/validated-pages.ts';
export type { GhcbAnswer, GhcbRequest } from './host/ghcb-service.ts';
export type { LaunchOptions } from './host/guest-launch.ts';
export { type HostileAnswers, HostileHypervisor } from './host/hostile-hypervisor.ts';
export { Hypervisor } from './host/hypervisor.ts';
export { type ChangePage, PscResult, processPageStateChange } from './host/page-state-service.ts';
export { SnpMachine, type SnpMachineOptions } from './host/snp-machine.ts';
export { EncryptedMemory, type MemoryKey, NO_KEY } from './memory/encrypted-memory.ts';
export { type NestedPage, NestedTable } from './memory/nested-table.ts';
export { psmash, type RmpreadAnswer, type RmpState, rmpread, rmpupdate } from './rmp/host-instructions.ts';
export { HYPERVISOR_ENTRY, Rmp, type RmpOptions } from './rmp/rmp.ts';
export {
  type AccessKind,
  type Accessor,
  failedRmpCheck,
  RMP_CHECKS,
  type RmpAccess,
  type RmpCheck,
} from './rmp/rmp-check.ts';
export { isSnpFault, SnpFault, type SnpFaultCode, type SnpFaultDetails } from './rmp/snp-fault.ts';
export { SvsmCore, type SvsmCoreOptions, type SvsmVcpu } from './svsm/svsm-core.ts';
export type { SvsmMemoryOptions } from './svsm/svsm-memory.ts';
export type { VtomRange } from './svsm/svsm-vtom.ts';
