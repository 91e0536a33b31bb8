import type { ERRORS_OF } from './error-codes.ts';
import type { SnpErrorCode } from './snp-error.ts';

/** `Table`, of which every code must be one of this package. */
type Checked<Table extends Readonly<Record<string, readonly SnpErrorCode[]>>> = Table;
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

/** The codes that reading a format throws: `decode…`, `readVmsa`, `GhcbPage.over`, `segmentedRmpEntryAddress`. */
export type DecodeErrorCode = CodeOf<
  | 'decodeCpuidPage'
  | 'decodeIgvmFile'
  | 'decodeOvmfImage'
  | 'decodePscHeader'
  | 'decodePscEntry'
  | 'decodeRmpState'
  | 'decodeSecretsPage'
  | 'decodeSvsmListHeader'
  | 'decodeSvsmListEntry'
  | 'decodeSwapRecord'
  | 'readVmsa'
  | 'segmentedRmpEntryAddress'
  | 'GhcbPage.over'
  | 'GhcbPage.readBuffer'
>;

/**
 * The codes that writing a format throws: `encode…`, `writeVmsa`, `createVmsa`, `announceSvsm`, `GhcbPage.set`,
 * `LaunchDigest`.
 */
export type EncodeErrorCode = CodeOf<
  | 'announceSvsm'
  | 'encodeSecretsPage'
  | 'cpuSignature'
  | 'createResetVmsa'
  | 'createSvsmResetVmsa'
  | 'createVmsa'
  | 'encodeApCreation'
  | 'encodeCpuidPage'
  | 'encodeGhcbMsr'
  | 'encodeKernelHashes'
  | 'encodePageInfo'
  | 'encodePscEntry'
  | 'encodePscHeader'
  | 'encodeRmpEntry'
  | 'encodeRmpState'
  | 'encodeSvsmListEntry'
  | 'encodeSvsmListHeader'
  | 'encodeSwapRecord'
  | 'writeVmsa'
  | 'GhcbPage.set'
  | 'GhcbPage.writeBuffer'
  | 'writeGhcbRegisters'
  | 'LaunchDigest'
  | 'LaunchDigest.update'
>;

/** The codes that listing and measuring the pages of a launch throws: `ovmfLaunchPages`, `launchDigestOf` and the like. */
export type LaunchPagesErrorCode = CodeOf<
  'igvmExpectedDigest' | 'igvmLaunchPages' | 'launchDigestOf' | 'ovmfLaunchPages' | 'svsmLaunchPages'
>;

/** The codes that making and writing an `Rmp` throws. */
export type RmpErrorCode = CodeOf<
  'Rmp' | 'Rmp.setRawEntry' | 'Rmp.setRegion' | 'Rmp.setRegionWords' | 'Rmp.writeWords'
>;

/** The code that commands of the firmware throw: the methods of `Firmware`. */
export type FirmwareErrorCode = CodeOf<Extract<keyof typeof ERRORS_OF, `Firmware.${string}`>>;

/** The codes that `new SnpMachine` throws. */
export type MachineErrorCode = CodeOf<'SnpMachine' | 'EncryptedMemory'>;

/** The codes that `Hypervisor.launch` throws. */
export type LaunchErrorCode = CodeOf<'Hypervisor.launch'>;

/**
 * The codes that a VMGEXIT throws in place of an answer: `Vcpu.vmgexit`, `Hypervisor.vmgexit`, `Hypervisor.answerGhcb`.
 */
export type VmgexitErrorCode = CodeOf<'Vcpu.vmgexit' | 'Hypervisor.vmgexit' | 'Hypervisor.answerGhcb'>;

/**
 * The codes that requests to the hypervisor throw: `Ghcb.create`, `Ghcb.release`, `Ghcb.vmgexit`, `Ghcb.exchange`,
 * `registerGhcb`, `requestGhcbMsr`, `hypervisorFeatures`, `requireFeatures`.
 */
export type GhcbErrorCode = CodeOf<
  | 'Ghcb.create'
  | 'Ghcb.release'
  | 'Ghcb.vmgexit'
  | 'Ghcb.exchange'
  | 'registerGhcb'
  | 'requestGhcbMsr'
  | 'hypervisorFeatures'
  | 'requireFeatures'
>;

/** The codes that page state changes throw: `requestPageState`, `requestPageStates`. */
export type PageStateErrorCode = CodeOf<'requestPageState' | 'requestPageStates'>;

/** The codes that sharing pages and taking them back throws: `makePageShared`, `makeRegionPrivate` and the like. */
export type VisibilityErrorCode = CodeOf<
  | 'makePageShared'
  | 'makePagePrivate'
  | 'releasePage'
  | 'acceptPage'
  | 'makeRegionShared'
  | 'makeRegionPrivate'
  | 'releaseRegion'
  | 'acceptRegion'
  | 'settleRegion'
>;

/** The codes that a `GuestRegions` or a `ValidatedPages` throws. */
export type ValidatedPagesErrorCode = CodeOf<
  | 'GuestRegions'
  | 'ValidatedPages'
  | 'ValidatedPages.requireNone'
  | 'ValidatedPages.requireAll'
  | 'ValidatedPages.add'
  | 'ValidatedPages.remove'
>;

/** The codes that starting another processor throws: `makeVmsa`, `unmakeVmsa`, `requestAp`. */
export type ApCreationErrorCode = CodeOf<'makeVmsa' | 'unmakeVmsa' | 'requestAp'>;

/** The codes that calls of an SVSM throw: `callSvsm`, `pvalidateBySvsm` and the like. */
export type SvsmCallErrorCode = CodeOf<
  | 'callSvsm'
  | 'requestSvsm'
  | 'pvalidateBySvsm'
  | 'depositToSvsm'
  | 'withdrawFromSvsm'
  | 'createVcpuBySvsm'
  | 'deleteVcpuBySvsm'
  | 'remapCallingArea'
  | 'querySvsmProtocol'
  | 'querySvsmVtom'
  | 'configureSvsmVtom'
>;
