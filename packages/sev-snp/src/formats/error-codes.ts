import type { SnpErrorCode } from './snp-error.ts';

/**
 * The codes of `SnpError` that each operation can throw. A class stands for its constructor. Operations without a row
 * throw none. A subclass of `Hypervisor`, and software that a guest runs, can throw anything through operations that
 * exit to them.
 */
export const ERRORS_OF = {
  // Formats: reading.
  decodeCpuidPage: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  decodeIgvmFile: ['INVALID_ARGUMENT', 'INVALID_IMAGE'],
  decodeOvmfImage: ['INVALID_ARGUMENT', 'INVALID_IMAGE'],
  decodePscHeader: ['INVALID_ARGUMENT'],
  decodePscEntry: ['INVALID_ARGUMENT'],
  decodeRmpState: ['INVALID_ARGUMENT'],
  decodeSecretsPage: ['INVALID_ARGUMENT'],
  decodeSvsmListHeader: ['INVALID_ARGUMENT'],
  decodeSvsmListEntry: ['INVALID_ARGUMENT'],
  decodeSwapRecord: ['INVALID_ARGUMENT'],
  readVmsa: ['INVALID_ARGUMENT'],
  segmentedRmpEntryAddress: ['INVALID_ARGUMENT', 'INVALID_RMP_SEGMENT'],
  'GhcbPage.over': ['INVALID_ARGUMENT'],
  'GhcbPage.readBuffer': ['INVALID_ARGUMENT'],
  decodeGhcbMsr: ['INVALID_ARGUMENT'],
  ghcbValidBit: ['INVALID_ARGUMENT'],
  GhcbPage: ['INVALID_ARGUMENT'],
  'GhcbPage.get': ['INVALID_ARGUMENT'],
  'GhcbPage.isValid': ['INVALID_ARGUMENT'],
  pageStateOf: ['INVALID_MESSAGE'],
  decodeRmpEntry: ['INVALID_ARGUMENT'],
  flatRmpEntryAddress: ['INVALID_ARGUMENT'],
  flatRmpCoverage: ['INVALID_ARGUMENT'],
  rmpResultName: ['INVALID_ARGUMENT'],

  // Formats: writing.
  announceSvsm: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  encodeSecretsPage: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  cpuSignature: ['INVALID_ARGUMENT'],
  createResetVmsa: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  createSvsmResetVmsa: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  createVmsa: ['INVALID_MESSAGE'],
  encodeApCreation: ['INVALID_MESSAGE'],
  encodeCpuidPage: ['INVALID_MESSAGE'],
  encodeGhcbMsr: ['INVALID_MESSAGE'],
  encodeKernelHashes: ['INVALID_ARGUMENT'],
  encodePageInfo: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  encodePscEntry: ['INVALID_MESSAGE'],
  encodePscHeader: ['INVALID_MESSAGE'],
  encodeRmpEntry: ['INVALID_MESSAGE'],
  encodeRmpState: ['INVALID_MESSAGE'],
  encodeSvsmListEntry: ['INVALID_MESSAGE'],
  encodeSvsmListHeader: ['INVALID_MESSAGE'],
  encodeSwapRecord: ['INVALID_MESSAGE'],
  writeVmsa: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  'GhcbPage.set': ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  'GhcbPage.writeBuffer': ['INVALID_ARGUMENT'],
  writeGhcbRegisters: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  LaunchDigest: ['INVALID_ARGUMENT'],
  'LaunchDigest.update': ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  hashKernel: ['INVALID_ARGUMENT'],
  webCryptoSha384: ['INVALID_ARGUMENT'],
  pscEntriesOf: ['INVALID_ARGUMENT'],

  // Formats: the pages of a launch.
  igvmExpectedDigest: ['INVALID_ARGUMENT', 'INVALID_IMAGE'],
  igvmLaunchPages: ['INVALID_ARGUMENT', 'INVALID_IMAGE'],
  launchDigestOf: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  ovmfLaunchPages: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  svsmLaunchPages: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],
  launchPageSize: ['INVALID_ARGUMENT', 'INVALID_MESSAGE'],

  // The RMP, memory and the firmware.
  assumptionsOf: ['INVALID_ARGUMENT'],
  Rmp: ['INVALID_ARGUMENT', 'INVALID_RMP_RANGE'],
  'Rmp.setRawEntry': ['OUTSIDE_RMP', 'INVALID_MESSAGE'],
  'Rmp.setRegion': ['OUTSIDE_RMP', 'INVALID_MESSAGE'],
  EncryptedMemory: ['INVALID_ARGUMENT'],
  'Firmware.guestContextCreate': ['FIRMWARE_REFUSED'],
  'Firmware.launchStart': ['FIRMWARE_REFUSED'],
  'Firmware.activate': ['FIRMWARE_REFUSED'],
  'Firmware.launchUpdate': ['FIRMWARE_REFUSED'],
  'Firmware.launchFinish': ['FIRMWARE_REFUSED'],
  'Firmware.launchDigest': ['FIRMWARE_REFUSED'],
  'Firmware.decommission': ['FIRMWARE_REFUSED'],
  'Firmware.dfFlush': ['FIRMWARE_REFUSED'],
  'Firmware.guestStatus': ['FIRMWARE_REFUSED'],
  'Firmware.pageReclaim': ['FIRMWARE_REFUSED'],
  'Firmware.pageSetHvFixed': ['FIRMWARE_REFUSED'],
  'Firmware.pageUnsmash': ['FIRMWARE_REFUSED'],
  'Firmware.metadataInit': ['FIRMWARE_REFUSED'],
  'Firmware.swapOut': ['FIRMWARE_REFUSED'],
  'Firmware.swapIn': ['FIRMWARE_REFUSED'],
  'Firmware.pageMove': ['FIRMWARE_REFUSED'],
  psmash: ['INVALID_ARGUMENT'],
  rmpread: ['INVALID_ARGUMENT'],
  failedRmpCheck: ['INVALID_ARGUMENT'],
  'Rmp.readWords': ['INVALID_ARGUMENT'],
  'Rmp.isAssigned': ['INVALID_ARGUMENT'],
  'Rmp.masksOnceValidated': ['INVALID_MESSAGE'],
  'Rmp.entriesOf': ['INVALID_ARGUMENT'],
  'Rmp.version': ['INVALID_ARGUMENT'],
  'Rmp.versionOfPage': ['INVALID_ARGUMENT'],
  'Rmp.setInUse': ['INVALID_ARGUMENT'],
  'Rmp.isInUse': ['INVALID_ARGUMENT'],
  'EncryptedMemory.read': ['INVALID_ARGUMENT'],
  'EncryptedMemory.readInto': ['INVALID_ARGUMENT'],
  'EncryptedMemory.write': ['INVALID_ARGUMENT'],
  'EncryptedMemory.readFrame': ['INVALID_ARGUMENT'],
  'EncryptedMemory.writeFrame': ['INVALID_ARGUMENT'],
  'EncryptedMemory.view': ['INVALID_ARGUMENT'],
  'EncryptedMemory.words': ['INVALID_ARGUMENT'],
  'EncryptedMemory.revoke': ['INVALID_ARGUMENT'],
  'EncryptedMemory.aliasFrame': ['INVALID_ARGUMENT'],
  'EncryptedMemory.rekey': ['INVALID_ARGUMENT'],
  NestedTable: ['INVALID_ARGUMENT'],
  'NestedTable.map': ['INVALID_ARGUMENT'],
  'NestedTable.markUsed': ['INVALID_ARGUMENT'],
  Firmware: ['INVALID_ARGUMENT'],
  'Rmp.changePages': ['INVALID_ARGUMENT'],
  'EncryptedMemory.clear': ['INVALID_ARGUMENT'],
  'EncryptedMemory.requirePages': ['INVALID_ARGUMENT'],
  'EncryptedMemory.writtenIn': ['INVALID_ARGUMENT'],

  // Processors.
  Vcpu: ['INVALID_ARGUMENT'],
  'Vcpu.leave': ['INVALID_MESSAGE'],
  'Vcpu.load': ['INVALID_ARGUMENT'],
  'Vcpu.loadCr3': ['INVALID_ARGUMENT'],
  'Vcpu.resume': ['INVALID_ARGUMENT'],
  'Vcpu.vmgexit': ['INVALID_ARGUMENT', 'OUT_OF_MEMORY', 'UNSUPPORTED_VMGEXIT', 'TERMINATED'],
  Guest: ['INVALID_ARGUMENT'],
  pvalidate: ['INVALID_ARGUMENT'],
  rmpadjust: ['INVALID_ARGUMENT'],
  rmpquery: ['INVALID_ARGUMENT'],
  rmpupdate: ['INVALID_ARGUMENT'],
  'Vcpu.pvalidate': ['INVALID_ARGUMENT'],
  'Vcpu.rmpadjust': ['INVALID_ARGUMENT'],
  'Vcpu.rmpquery': ['INVALID_ARGUMENT'],
  'Guest.createVcpu': ['INVALID_ARGUMENT'],

  // Software of a guest.
  requestGhcbMsr: [
    'OUT_OF_MEMORY',
    'UNSUPPORTED_VMGEXIT',
    'TERMINATED',
    'INVALID_MESSAGE',
    'INVALID_RESPONSE',
  ],
  registerGhcb: ['INVALID_MESSAGE', 'INVALID_RESPONSE'],
  requestPageState: ['INVALID_MESSAGE', 'INVALID_RESPONSE', 'PAGE_STATE_REFUSED'],
  requestPageStates: [
    'INVALID_ARGUMENT',
    'UNSUPPORTED_VMGEXIT',
    'INVALID_MESSAGE',
    'VMGEXIT_FAILED',
    'PSC_REFUSED',
    'INVALID_PSC_RESPONSE',
    'RELEASED_GHCB',
  ],
  'Ghcb.create': [
    'INVALID_ARGUMENT',
    'INVALID_RESPONSE',
    'PAGE_STATE_REFUSED',
    'NOT_VALIDATED',
    'PVALIDATE_FAILED',
    'PVALIDATE_UNCHANGED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
  ],
  hypervisorFeatures: ['INVALID_RESPONSE', 'VMGEXIT_FAILED', 'RELEASED_GHCB'],
  requireFeatures: ['INVALID_RESPONSE', 'VMGEXIT_FAILED', 'MISSING_FEATURE', 'RELEASED_GHCB'],
  'Ghcb.exchange': [
    'INVALID_ARGUMENT',
    'OUT_OF_MEMORY',
    'UNSUPPORTED_VMGEXIT',
    'TERMINATED',
    'INVALID_MESSAGE',
    'INVALID_RESPONSE',
    'VMGEXIT_FAILED',
    'RELEASED_GHCB',
  ],
  'Ghcb.vmgexit': [
    'INVALID_ARGUMENT',
    'OUT_OF_MEMORY',
    'UNSUPPORTED_VMGEXIT',
    'TERMINATED',
    'INVALID_MESSAGE',
    'INVALID_RESPONSE',
    'VMGEXIT_FAILED',
    'RELEASED_GHCB',
  ],
  makePageShared: [
    'INVALID_ARGUMENT',
    'INVALID_RESPONSE',
    'PAGE_STATE_REFUSED',
    'NOT_VALIDATED',
    'PVALIDATE_FAILED',
    'PVALIDATE_UNCHANGED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
  ],
  makePagePrivate: [
    'INVALID_ARGUMENT',
    'INVALID_RESPONSE',
    'PAGE_STATE_REFUSED',
    'ALREADY_VALIDATED',
    'PVALIDATE_FAILED',
    'PVALIDATE_UNCHANGED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
  ],
  releasePage: [
    'INVALID_ARGUMENT',
    'INVALID_RESPONSE',
    'PAGE_STATE_REFUSED',
    'NOT_VALIDATED',
    'PVALIDATE_FAILED',
    'PVALIDATE_UNCHANGED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
  ],
  acceptPage: [
    'INVALID_ARGUMENT',
    'INVALID_RESPONSE',
    'PAGE_STATE_REFUSED',
    'ALREADY_VALIDATED',
    'PVALIDATE_FAILED',
    'PVALIDATE_UNCHANGED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
  ],
  'Ghcb.release': [
    'INVALID_ARGUMENT',
    'INVALID_RESPONSE',
    'PAGE_STATE_REFUSED',
    'ALREADY_VALIDATED',
    'PVALIDATE_FAILED',
    'PVALIDATE_UNCHANGED',
    'WRONG_MAPPING',
    'RELEASED_GHCB',
  ],
  makeRegionShared: [
    'INVALID_ARGUMENT',
    'NOT_VALIDATED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
    'RELEASED_GHCB',
    'REGION_CHANGE_FAILED',
  ],
  makeRegionPrivate: [
    'INVALID_ARGUMENT',
    'ALREADY_VALIDATED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
    'RELEASED_GHCB',
    'REGION_CHANGE_FAILED',
  ],
  releaseRegion: [
    'INVALID_ARGUMENT',
    'NOT_VALIDATED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
    'RELEASED_GHCB',
    'REGION_CHANGE_FAILED',
  ],
  acceptRegion: [
    'INVALID_ARGUMENT',
    'ALREADY_VALIDATED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
    'RELEASED_GHCB',
    'REGION_CHANGE_FAILED',
  ],
  settleRegion: [
    'INVALID_ARGUMENT',
    'ALREADY_VALIDATED',
    'NOT_VALIDATED',
    'WRONG_MAPPING',
    'PAGE_IN_USE',
    'RELEASED_GHCB',
    'REGION_CHANGE_FAILED',
  ],
  GuestRegions: ['INVALID_ARGUMENT'],
  ValidatedPages: ['INVALID_ARGUMENT'],
  'ValidatedPages.requireNone': ['INVALID_ARGUMENT', 'ALREADY_VALIDATED'],
  'ValidatedPages.requireAll': ['INVALID_ARGUMENT', 'NOT_VALIDATED'],
  'ValidatedPages.add': ['INVALID_ARGUMENT', 'ALREADY_VALIDATED'],
  'ValidatedPages.remove': ['INVALID_ARGUMENT', 'NOT_VALIDATED'],
  makeVmsa: ['INVALID_ARGUMENT', 'RMPADJUST_FAILED'],
  unmakeVmsa: ['RMPADJUST_FAILED'],
  requestAp: ['OUT_OF_MEMORY', 'UNSUPPORTED_VMGEXIT', 'INVALID_MESSAGE', 'VMGEXIT_FAILED', 'RELEASED_GHCB'],
  callSvsm: ['INVALID_RESPONSE', 'SVSM_NOT_RUN'],
  requestSvsm: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  pvalidateBySvsm: ['INVALID_MESSAGE', 'INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  depositToSvsm: ['INVALID_MESSAGE', 'INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  withdrawFromSvsm: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  createVcpuBySvsm: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  deleteVcpuBySvsm: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  remapCallingArea: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  querySvsmProtocol: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  querySvsmVtom: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],
  configureSvsmVtom: ['INVALID_RESPONSE', 'SVSM_NOT_RUN', 'SVSM_REFUSED'],

  // The SVSM, the hypervisor and the machine.
  permanentMap: ['INVALID_ARGUMENT'],
  SvsmState: ['INVALID_ARGUMENT'],
  'SvsmState.on': ['INVALID_ARGUMENT'],
  'SvsmCore.register': ['INVALID_ARGUMENT'],
  'SvsmMemory.read': ['INVALID_ARGUMENT'],
  'SvsmMemory.write': ['INVALID_ARGUMENT'],
  'SvsmMemory.validate': ['INVALID_ARGUMENT'],
  'SvsmMemory.rescind': ['INVALID_ARGUMENT'],
  'SvsmMemory.grant': ['INVALID_ARGUMENT'],
  'SvsmMemory.revoke': ['INVALID_ARGUMENT'],
  'SvsmMemory.clear': ['INVALID_ARGUMENT'],
  SnpMachine: ['INVALID_ARGUMENT', 'INVALID_RMP_RANGE'],
  'Hypervisor.allocatePage': ['OUT_OF_MEMORY'],
  'Hypervisor.givePageToFirmware': ['OUT_OF_MEMORY', 'HOST_INSTRUCTION_FAILED'],
  'Hypervisor.launch': [
    'INVALID_ARGUMENT',
    'OUT_OF_MEMORY',
    'HOST_INSTRUCTION_FAILED',
    'FIRMWARE_REFUSED',
    'INVALID_MESSAGE',
  ],
  'Hypervisor.rmpupdate': ['INVALID_ARGUMENT'],
  'Hypervisor.write': ['INVALID_ARGUMENT'],
  'Hypervisor.run': ['INVALID_ARGUMENT'],
  'Hypervisor.init': ['INVALID_ARGUMENT', 'OUT_OF_MEMORY'],
  'Hypervisor.vmgexit': ['INVALID_ARGUMENT', 'OUT_OF_MEMORY', 'UNSUPPORTED_VMGEXIT', 'TERMINATED'],
  'Hypervisor.answerGhcb': ['INVALID_ARGUMENT', 'OUT_OF_MEMORY', 'TERMINATED'],
  'HostileHypervisor.replay': ['INVALID_ARGUMENT'],
  'HostileHypervisor.substitute': ['INVALID_ARGUMENT', 'OUT_OF_MEMORY'],
  'HostileHypervisor.unsmash': ['INVALID_ARGUMENT', 'FIRMWARE_REFUSED'],
  'HostileHypervisor.aliasDram': ['OUT_OF_MEMORY'],
  'HostileHypervisor.tamperRmp': ['INVALID_ARGUMENT', 'OUTSIDE_RMP', 'INVALID_MESSAGE'],
  processPageStateChange: ['INVALID_ARGUMENT'],
  'HostileHypervisor.answers': ['INVALID_ARGUMENT'],
  'HostileHypervisor.remap': ['INVALID_ARGUMENT'],
  'HostileHypervisor.hide': ['INVALID_ARGUMENT'],
  'HostileHypervisor.swap': ['INVALID_ARGUMENT'],
  'HostileHypervisor.alias': ['INVALID_ARGUMENT'],
  'HostileHypervisor.lend': ['INVALID_ARGUMENT'],
  'HostileHypervisor.unassign': ['INVALID_ARGUMENT'],
  'HostileHypervisor.move': ['INVALID_ARGUMENT'],
  'HostileHypervisor.smash': ['INVALID_ARGUMENT'],
  'HostileHypervisor.mapSmall': ['INVALID_ARGUMENT'],
  'HostileHypervisor.mapHuge': ['INVALID_ARGUMENT'],
  'HostileHypervisor.enter': ['INVALID_ARGUMENT'],
  Hypervisor: ['INVALID_ARGUMENT'],
  'Hypervisor.pageStatesPerExit': ['INVALID_ARGUMENT'],
  'Hypervisor.read': ['INVALID_ARGUMENT'],
  'Hypervisor.flushTlbs': ['INVALID_ARGUMENT'],
  'Hypervisor.handleNestedPageFault': ['INVALID_ARGUMENT'],
  'Hypervisor.splitPage': ['INVALID_ARGUMENT'],
  'Hypervisor.vmsaOf': ['INVALID_ARGUMENT'],
  'Hypervisor.runVmpl': ['INVALID_ARGUMENT'],
  'Hypervisor.changePageState': ['INVALID_ARGUMENT'],
  'HostileHypervisor.beforeSharedRead': ['INVALID_ARGUMENT'],
  'Hypervisor.rmpupdatePages': ['INVALID_ARGUMENT'],
} as const;

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
export type RmpErrorCode = CodeOf<'Rmp' | 'Rmp.setRawEntry' | 'Rmp.setRegion'>;

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
