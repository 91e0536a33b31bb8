/**
 * Formats of SEV-SNP: bytes and bits that cross a boundary, with their encoders and decoders. No state, no machine.
 *
 * @packageDocumentation
 */

export {
  ASSUMPTIONS,
  type AssumptionEntry,
  type Assumptions,
  type AssumptionTable,
  assumptionsOf,
  DEFAULT_ASSUMPTIONS,
} from './assumptions.ts';
export { CPU_SIGNATURES, type CpuModel, cpuSignature } from './cpu-signature.ts';
export {
  CPUID_MAX_ENTRIES,
  type CpuidEntry,
  decodeCpuidPage,
  encodeCpuidPage,
} from './cpuid-page.ts';
export type {
  ApCreationErrorCode,
  DecodeErrorCode,
  EncodeErrorCode,
  FirmwareErrorCode,
  GhcbErrorCode,
  LaunchErrorCode,
  LaunchPagesErrorCode,
  MachineErrorCode,
  PageStateErrorCode,
  RmpErrorCode,
  SvsmCallErrorCode,
  ValidatedPagesErrorCode,
  VisibilityErrorCode,
  VmgexitErrorCode,
} from './error-code-types.ts';
export { NpfInfo, PAGE_NOT_VALIDATED, VMEXIT_NPF } from './exit-info.ts';
export { FirmwareStatus } from './firmware-status.ts';
export {
  GHCB_REGISTERS,
  type GhcbExitFormat,
  type GhcbRegister,
  type GhcbRegisters,
  ghcbExitFormat,
  readGhcbRegisters,
  writeGhcbRegisters,
} from './ghcb-exits.ts';
export {
  decodeGhcbMsr,
  encodeGhcbMsr,
  type GhcbMsrMessage,
  HypervisorFeature,
  PAGE_STATE_ERROR,
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
export { GuestState } from './guest-state.ts';
export { decodeIgvmFile, type IgvmFile } from './igvm-file.ts';
export {
  type IgvmAreaHeader,
  type IgvmContextHeader,
  type IgvmHeader,
  type IgvmIdBlockHeader,
  type IgvmInsertHeader,
  type IgvmMemoryHeader,
  type IgvmOtherHeader,
  type IgvmPageHeader,
  type IgvmPageType,
  IgvmPlatform,
  type IgvmPlatformHeader,
  type IgvmPolicyHeader,
} from './igvm-header.ts';
export { type IgvmLaunch, igvmExpectedDigest, igvmLaunchPages } from './igvm-launch.ts';
export {
  encodeKernelHashes,
  hashKernel,
  type KernelFiles,
  type KernelHashes,
  type Sha256,
} from './kernel-hashes.ts';
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
export { launchDigestOf, launchPageSize } from './launch-pages.ts';
export {
  decodeOvmfImage,
  OvmfGuid,
  type OvmfImage,
  type OvmfSection,
  OvmfSectionType,
} from './ovmf-image.ts';
export { type OvmfLaunch, ovmfLaunchPages, type SvsmLaunch, svsmLaunchPages } from './ovmf-launch.ts';
export { PageState } from './page-state.ts';
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
export { pageStateOf } from './page-state-of.ts';
export { decodeRmpEntry, encodeRmpEntry, type RawRmpEntry } from './raw-rmp-entry.ts';
export { createResetVmsa, createSvsmResetVmsa, type ResetVmsaOptions, type Vmm } from './reset-vmsa.ts';
export type { RmpEntry, RmpPageSize, VmplMasks } from './rmp-entry.ts';
export {
  type FlatRmp,
  flatRmpCoverage,
  flatRmpEntryAddress,
  type SegmentedRmp,
  segmentedRmpEntryAddress,
} from './rmp-location.ts';
export { RmpResult } from './rmp-result.ts';
export { rmpResultName } from './rmp-result-name.ts';
export { decodeRmpState, encodeRmpState, type RmpStateFields } from './rmp-state.ts';
export {
  announceSvsm,
  decodeSecretsPage,
  encodeSecretsPage,
  type SecretsPage,
  type SvsmLocation,
} from './secrets-page.ts';
export { isSnpError, SnpError, type SnpErrorCode, type SnpErrorDetails } from './snp-error.ts';
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
export {
  decodeSwapRecord,
  encodeSwapRecord,
  SWAP_RECORD_SIZE,
  SWAP_RECORDS_PER_PAGE,
  type SwapRecord,
} from './swap-record.ts';
export { SysPhys, type SysPhysAddr, sysPhysAddr, sysPhysRegion } from './sys-phys-addr.ts';
export { VMPL_COUNT, Vmpl, VmplPermission } from './vmpl.ts';
export {
  CS_LONG,
  EFER_SVME,
  readVmsa,
  SevFeature,
  VMSA_AREAS,
  VMSA_FIELDS,
  type VmsaField,
  writeVmsa,
} from './vmsa.ts';
