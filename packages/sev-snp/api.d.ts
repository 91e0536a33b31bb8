// The public declarations of @svsm/sev-snp: npm run api records them. Above each is its entry point.

import type { Address, AddressKind, Bytes, CodedError, PageSize, PhysAddr, VirtAddr } from '@svsm/address';

import type { MemoryRegion, PhysPage, VirtPage } from '@svsm/memory-region';

import type { AccessKind, AccessOptions, FrameAllocator, MappedPage, PageTable, PagingConfig, PhysMemory } from '@svsm/pagetable';

// ., ./formats
export declare const ASSUMPTIONS: AssumptionTable;

// ., ./rmp
export type Accessor = 'host' | 'non-snp-guest' | 'snp-guest-private' | 'snp-guest-shared';

// ., ./firmware
export interface ActiveGuest {
    readonly context: SysPhysAddr;
    readonly asid: number;
    readonly key: MemoryKey | undefined;
}

// ., ./guest
export interface ApCreation {
    readonly request: ApRequest;
    readonly apicId: number;
    readonly vmpl: number;
    readonly vmsa: PhysAddr;
    readonly sevFeatures: bigint;
}

// ., ./formats
export type ApCreationErrorCode = CodeOf<'makeVmsa' | 'unmakeVmsa' | 'requestAp'>;

// ., ./guest
export declare const ApRequest: {
    readonly CreateOnInit: 0;
    readonly Create: 1;
    readonly Destroy: 2;
};
export type ApRequest = (typeof ApRequest)[keyof typeof ApRequest];

// ., ./formats
export interface AssumptionEntry<Value> {
    readonly rule: string;
    readonly why: 'unverified' | 'disagreement';
    readonly choices: readonly [
        Value,
        ...Value[]
    ];
}

// ., ./formats
export type AssumptionTable = {
    readonly [Name in keyof Assumptions]: AssumptionEntry<Assumptions[Name]>;
};

// ., ./formats
export interface Assumptions {
    readonly exceptionOrder: 'UD-first' | 'GP-first';
    readonly resultFlags: 'of-EAX' | 'ZF-alone';
    readonly pvalidateAboveVmpl0: 'GP' | 'FAIL_PERMISSION';
    readonly carryOnFailure: 'clear' | 'set';
    readonly lowAddressBits: 'ignored' | 'FAIL_INPUT';
    readonly operandAccess: 'read' | 'write';
    readonly sharedOperand: 'not-owned' | 'as-private';
    readonly guestSizeMatters: boolean;
    readonly defaultMasks: 'RMPUPDATE' | 'PVALIDATE';
    readonly resetMaskOfVmpl0: number;
    readonly inUseTest: 'before-entry' | 'first' | 'last';
    readonly alignedPageBlocksHuge: boolean;
    readonly rmpupdateReset: 'compare' | 'always';
    readonly smallUpdateInHuge: 'FAIL_OVERLAP' | 'allowed';
    readonly psmashBadPage: 'FAIL_BADADDR' | 'FAIL_OVERLAP';
    readonly psmashImmutable: 'bad-page' | 'FAIL_PERMISSION';
    readonly subpageCount: 'maintained' | 'unmaintained';
    readonly sourceVmsa: 'cleared' | 'kept';
    readonly rmpqueryLevels: 'own-and-lower' | 'lower' | 'any';
    readonly rmpqueryNeedsValidated: boolean;
    readonly rmpadjustReservedBits: 'FAIL_INPUT' | 'ignored';
    readonly rmpadjustVmplRange: 'FAIL_INPUT' | 'FAIL_PERMISSION';
    readonly inUseErratum: boolean;
    readonly hostTableReads: 'checked' | 'unchecked';
    readonly exitInfo2: 'byte' | 'page';
    readonly cr2OnCrossing: 'faulting-page' | 'first-byte';
    readonly reservedFaultPresent: boolean;
    readonly accessedOnFault: 'none' | 'upper-entries';
    readonly eferLmaWrites: 'ignored' | 'checked';
    readonly topLevelBit8: 'reserved' | 'ignored';
    readonly runVmplError: number;
    readonly pageInfoMasks: 'vmpl1-first' | 'vmpl3-first';
    readonly rmpSegSizeUnit: 'byte' | 'MiB';
    readonly svsmVtomMinimum: 'RDX' | 'RCX';
    readonly svsmVmsaLevels: 'own-and-lower' | 'own';
    readonly svsmCallPending: 'processed' | 'INVALID_FORMAT';
    readonly svsmSecondVmsa: 'accepted' | 'refused';
}

// ., ./formats
export declare const CPUID_MAX_ENTRIES = 64;

// ., ./formats
export declare const CPU_SIGNATURES: {
    readonly EPYC: 8392466;
    readonly 'EPYC-v1': 8392466;
    readonly 'EPYC-v2': 8392466;
    readonly 'EPYC-IBPB': 8392466;
    readonly 'EPYC-v3': 8392466;
    readonly 'EPYC-v4': 8392466;
    readonly 'EPYC-Rome': 8589072;
    readonly 'EPYC-Rome-v1': 8589072;
    readonly 'EPYC-Rome-v2': 8589072;
    readonly 'EPYC-Rome-v3': 8589072;
    readonly 'EPYC-Milan': 10489617;
    readonly 'EPYC-Milan-v1': 10489617;
    readonly 'EPYC-Milan-v2': 10489617;
    readonly 'EPYC-Genoa': 10555152;
    readonly 'EPYC-Genoa-v1': 10555152;
    readonly 'EPYC-Turin': 11538176;
};

// ., ./formats
export declare const CS_LONG = 512n;

// ., ./guest
export interface CallingArea {
    readonly gva: VirtAddr;
    readonly gpa: PhysAddr;
}

// ., ./host
export type ChangePage = (gpa: PhysAddr, operation: PageOperation, pageSize: RmpPageSize) => number;

// not exported
type Checked<Table extends Readonly<Record<string, readonly SnpErrorCode[]>>> = Table;

// not exported
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

// ., ./cpu
export declare const ControlBit: {
    readonly Cr0Pe: 1n;
    readonly Cr0Et: 16n;
    readonly Cr0Wp: 65536n;
    readonly Cr0Pg: 2147483648n;
    readonly Cr4Pae: 32n;
    readonly Cr4Pge: 128n;
    readonly Cr4La57: 4096n;
    readonly Cr4Pcide: 131072n;
    readonly Cr4Smep: 1048576n;
    readonly Cr4Smap: 2097152n;
    readonly Cr4Pke: 4194304n;
    readonly Cr4Cet: 8388608n;
    readonly Cr4Pks: 16777216n;
    readonly EferLme: 256n;
    readonly EferLma: 1024n;
    readonly EferNxe: 2048n;
    readonly EferSvme: 4096n;
    readonly EferUaie: 1048576n;
    readonly RflagsAc: 262144n;
};

// ., ./cpu
export type ControlRegister = keyof ControlRegisters;

// ., ./cpu
export interface ControlRegisters {
    readonly cr0: bigint;
    readonly cr3: bigint;
    readonly cr4: bigint;
    readonly efer: bigint;
    readonly rflags: bigint;
    readonly pkru: bigint;
    readonly pkrs: bigint;
}

// ., ./formats
export type CpuModel = keyof typeof CPU_SIGNATURES;

// ., ./formats
export interface CpuidEntry {
    readonly eaxIn: number;
    readonly ecxIn: number;
    readonly xcr0: bigint;
    readonly xss: bigint;
    readonly eax: number;
    readonly ebx: number;
    readonly ecx: number;
    readonly edx: number;
}

// ., ./host
export interface CpuidRequest {
    readonly leaf: number;
    readonly subleaf: number;
    readonly xcr0: bigint | undefined;
    readonly xss: bigint | undefined;
}

// ., ./host
export interface CpuidResult {
    readonly eax: number;
    readonly ebx: number;
    readonly ecx: number;
    readonly edx: number;
}

// ., ./formats
export declare const DEFAULT_ASSUMPTIONS: Assumptions;

// ., ./cpu
export type DataAccessOptions = Pick<AccessOptions, 'implicit' | 'shadowStack'>;

// ., ./formats
export type DecodeErrorCode = CodeOf<'decodeCpuidPage' | 'decodeIgvmFile' | 'decodeOvmfImage' | 'decodePscHeader' | 'decodePscEntry' | 'decodeRmpState' | 'decodeSecretsPage' | 'decodeSvsmListHeader' | 'decodeSvsmListEntry' | 'decodeSwapRecord' | 'readVmsa' | 'segmentedRmpEntryAddress' | 'GhcbPage.over' | 'GhcbPage.readBuffer'>;

// ., ./formats
export interface DigestSource {
    digest(algorithm: 'SHA-384', data: ArrayBuffer): PromiseLike<ArrayBuffer>;
}

// ., ./formats
export declare const EFER_SVME = 4096n;

// not exported
export declare const ERRORS_OF: {
    readonly decodeCpuidPage: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly decodeIgvmFile: readonly [
        "INVALID_ARGUMENT",
        "INVALID_IMAGE"
    ];
    readonly decodeOvmfImage: readonly [
        "INVALID_ARGUMENT",
        "INVALID_IMAGE"
    ];
    readonly decodePscHeader: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodePscEntry: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeRmpState: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeSecretsPage: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeSvsmListHeader: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeSvsmListEntry: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeSwapRecord: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly readVmsa: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly segmentedRmpEntryAddress: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RMP_SEGMENT"
    ];
    readonly 'GhcbPage.over': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GhcbPage.readBuffer': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeGhcbMsr: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly ghcbValidBit: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly GhcbPage: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GhcbPage.get': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GhcbPage.isValid': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly ghcbExitFormat: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly readGhcbRegisters: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly decodeApCreation: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly pageStateOf: readonly [
        "INVALID_MESSAGE"
    ];
    readonly decodeRmpEntry: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly flatRmpEntryAddress: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly flatRmpCoverage: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly rmpResultName: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly announceSvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly encodeSecretsPage: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly cpuSignature: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly createResetVmsa: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly createSvsmResetVmsa: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly createVmsa: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly encodeApCreation: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly encodeCpuidPage: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeGhcbMsr: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeKernelHashes: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly encodePageInfo: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly encodePscEntry: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodePscHeader: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeRmpEntry: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeRmpState: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeSvsmListEntry: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeSvsmListHeader: readonly [
        "INVALID_MESSAGE"
    ];
    readonly encodeSwapRecord: readonly [
        "INVALID_MESSAGE"
    ];
    readonly writeVmsa: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly 'GhcbPage.set': readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly 'GhcbPage.writeBuffer': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly writeGhcbRegisters: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly LaunchDigest: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'LaunchDigest.update': readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly hashKernel: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly webCryptoSha384: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly pscEntriesOf: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly igvmExpectedDigest: readonly [
        "INVALID_ARGUMENT",
        "INVALID_IMAGE"
    ];
    readonly igvmLaunchPages: readonly [
        "INVALID_ARGUMENT",
        "INVALID_IMAGE"
    ];
    readonly launchDigestOf: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly ovmfLaunchPages: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly svsmLaunchPages: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly launchPageSize: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE"
    ];
    readonly assumptionsOf: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly Rmp: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RMP_RANGE"
    ];
    readonly 'Rmp.setRawEntry': readonly [
        "OUTSIDE_RMP",
        "INVALID_MESSAGE"
    ];
    readonly 'Rmp.setRegion': readonly [
        "OUTSIDE_RMP",
        "INVALID_MESSAGE"
    ];
    readonly 'Rmp.setRegionWords': readonly [
        "OUTSIDE_RMP",
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.writeWords': readonly [
        "OUTSIDE_RMP",
        "INVALID_ARGUMENT"
    ];
    readonly EncryptedMemory: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Firmware.guestContextCreate': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.launchStart': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.activate': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.launchUpdate': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.launchFinish': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.launchDigest': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.decommission': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.dfFlush': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.guestStatus': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.pageReclaim': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.pageSetHvFixed': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.pageUnsmash': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.metadataInit': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.swapOut': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.swapIn': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly 'Firmware.pageMove': readonly [
        "FIRMWARE_REFUSED"
    ];
    readonly psmash: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly rmpread: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly failedRmpCheck: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.readWords': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.readRawWords': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.isAssigned': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.masksOnceValidated': readonly [
        "INVALID_MESSAGE"
    ];
    readonly 'Rmp.entriesOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.version': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.versionOfPage': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.setInUse': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.isInUse': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.read': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.readInto': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.write': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.readFrame': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.writeFrame': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.view': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.epochOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.words': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.revoke': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.aliasFrame': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.rekey': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly NestedTable: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTable.map': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTable.markUsed': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly Firmware: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Rmp.changePages': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.clear': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.requirePages': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'EncryptedMemory.writtenIn': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly Vcpu: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.ghcbMsr': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.csL': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.read': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.fetch': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.write': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.clear': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.leave': readonly [
        "INVALID_MESSAGE"
    ];
    readonly 'Vcpu.load': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.loadCr3': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.resume': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.vmgexit': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "UNSUPPORTED_VMGEXIT",
        "TERMINATED"
    ];
    readonly Guest: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly pvalidate: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly rmpadjust: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly rmpquery: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly rmpInstructionOf: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly executeInGuest: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly executeInHost: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly failedVmrunCheck: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly vmrun: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly vmexit: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTlb.lookup': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTlb.frameOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTlb.holdsPartOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTlb.widen': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'NestedTlb.insert': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly rmpupdate: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.pvalidate': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.rmpadjust': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.exchange': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.compareExchange': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vcpu.rmpquery': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.createVcpu': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.onEnter': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.enterVmpl': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.onStart': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.onCreateVcpu': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.start': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Guest.vmrun': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly requestGhcbMsr: readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "UNSUPPORTED_VMGEXIT",
        "TERMINATED",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE"
    ];
    readonly registerGhcb: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE"
    ];
    readonly requestPageState: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "PAGE_IN_USE"
    ];
    readonly requestPageStates: readonly [
        "INVALID_ARGUMENT",
        "UNSUPPORTED_VMGEXIT",
        "INVALID_MESSAGE",
        "VMGEXIT_FAILED",
        "PSC_REFUSED",
        "INVALID_PSC_RESPONSE",
        "PAGE_IN_USE",
        "RELEASED_GHCB"
    ];
    readonly 'Ghcb.create': readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "NOT_VALIDATED",
        "PVALIDATE_FAILED",
        "PVALIDATE_UNCHANGED",
        "WRONG_MAPPING",
        "PAGE_IN_USE"
    ];
    readonly hypervisorFeatures: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "VMGEXIT_FAILED",
        "RELEASED_GHCB"
    ];
    readonly requireFeatures: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "VMGEXIT_FAILED",
        "MISSING_FEATURE",
        "RELEASED_GHCB"
    ];
    readonly 'Ghcb.exchange': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "UNSUPPORTED_VMGEXIT",
        "TERMINATED",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE",
        "VMGEXIT_FAILED",
        "RELEASED_GHCB"
    ];
    readonly 'Ghcb.vmgexit': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "UNSUPPORTED_VMGEXIT",
        "TERMINATED",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE",
        "VMGEXIT_FAILED",
        "RELEASED_GHCB"
    ];
    readonly makePageShared: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "NOT_VALIDATED",
        "PVALIDATE_FAILED",
        "PVALIDATE_UNCHANGED",
        "WRONG_MAPPING",
        "PAGE_IN_USE"
    ];
    readonly makePagePrivate: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "ALREADY_VALIDATED",
        "PVALIDATE_FAILED",
        "PVALIDATE_UNCHANGED",
        "WRONG_MAPPING",
        "PAGE_IN_USE"
    ];
    readonly releasePage: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "NOT_VALIDATED",
        "PVALIDATE_FAILED",
        "PVALIDATE_UNCHANGED",
        "WRONG_MAPPING",
        "PAGE_IN_USE"
    ];
    readonly acceptPage: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "ALREADY_VALIDATED",
        "PVALIDATE_FAILED",
        "PVALIDATE_UNCHANGED",
        "WRONG_MAPPING",
        "PAGE_IN_USE"
    ];
    readonly 'Ghcb.release': readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "PAGE_STATE_REFUSED",
        "ALREADY_VALIDATED",
        "PVALIDATE_FAILED",
        "PVALIDATE_UNCHANGED",
        "WRONG_MAPPING",
        "PAGE_IN_USE",
        "RELEASED_GHCB"
    ];
    readonly makeRegionShared: readonly [
        "INVALID_ARGUMENT",
        "NOT_VALIDATED",
        "WRONG_MAPPING",
        "PAGE_IN_USE",
        "RELEASED_GHCB",
        "REGION_CHANGE_FAILED"
    ];
    readonly makeRegionPrivate: readonly [
        "INVALID_ARGUMENT",
        "ALREADY_VALIDATED",
        "WRONG_MAPPING",
        "PAGE_IN_USE",
        "RELEASED_GHCB",
        "REGION_CHANGE_FAILED"
    ];
    readonly releaseRegion: readonly [
        "INVALID_ARGUMENT",
        "NOT_VALIDATED",
        "WRONG_MAPPING",
        "PAGE_IN_USE",
        "RELEASED_GHCB",
        "REGION_CHANGE_FAILED"
    ];
    readonly acceptRegion: readonly [
        "INVALID_ARGUMENT",
        "ALREADY_VALIDATED",
        "WRONG_MAPPING",
        "PAGE_IN_USE",
        "RELEASED_GHCB",
        "REGION_CHANGE_FAILED"
    ];
    readonly settleRegion: readonly [
        "INVALID_ARGUMENT",
        "ALREADY_VALIDATED",
        "NOT_VALIDATED",
        "WRONG_MAPPING",
        "PAGE_IN_USE",
        "RELEASED_GHCB",
        "REGION_CHANGE_FAILED"
    ];
    readonly GuestRegions: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GuestRegions.containsPage': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly pageRegion: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly useOfPages: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly ValidatedPages: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'ValidatedPages.requireNone': readonly [
        "INVALID_ARGUMENT",
        "ALREADY_VALIDATED"
    ];
    readonly 'ValidatedPages.requireAll': readonly [
        "INVALID_ARGUMENT",
        "NOT_VALIDATED"
    ];
    readonly 'ValidatedPages.add': readonly [
        "INVALID_ARGUMENT",
        "ALREADY_VALIDATED"
    ];
    readonly 'ValidatedPages.remove': readonly [
        "INVALID_ARGUMENT",
        "NOT_VALIDATED"
    ];
    readonly makeVmsa: readonly [
        "INVALID_ARGUMENT",
        "RMPADJUST_FAILED",
        "PAGE_IN_USE"
    ];
    readonly unmakeVmsa: readonly [
        "INVALID_ARGUMENT",
        "RMPADJUST_FAILED",
        "PAGE_IN_USE"
    ];
    readonly requestAp: readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "UNSUPPORTED_VMGEXIT",
        "INVALID_MESSAGE",
        "VMGEXIT_FAILED",
        "RELEASED_GHCB"
    ];
    readonly callSvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN"
    ];
    readonly requestSvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly pvalidateBySvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly depositToSvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MESSAGE",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly withdrawFromSvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly createVcpuBySvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly deleteVcpuBySvsm: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly remapCallingArea: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly querySvsmProtocol: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly querySvsmVtom: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly configureSvsmVtom: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RESPONSE",
        "SVSM_NOT_RUN",
        "SVSM_REFUSED"
    ];
    readonly svsmValidator: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly permanentMap: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly SvsmState: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmState.on': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmCore.register': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmCore.callingArea': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmCore.enter': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmCore.call': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.read': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.write': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.validate': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.rescind': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.grant': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.revoke': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SvsmMemory.clear': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly SnpMachine: readonly [
        "INVALID_ARGUMENT",
        "INVALID_RMP_RANGE"
    ];
    readonly 'SnpMachine.trace': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.allocatePage': readonly [
        "OUT_OF_MEMORY"
    ];
    readonly 'Hypervisor.givePageToFirmware': readonly [
        "OUT_OF_MEMORY",
        "HOST_INSTRUCTION_FAILED"
    ];
    readonly 'Hypervisor.launch': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "HOST_INSTRUCTION_FAILED",
        "FIRMWARE_REFUSED",
        "INVALID_MESSAGE"
    ];
    readonly 'Hypervisor.rmpupdate': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.write': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.run': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.init': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY"
    ];
    readonly 'Hypervisor.vmgexit': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "UNSUPPORTED_VMGEXIT",
        "TERMINATED"
    ];
    readonly 'Hypervisor.answerGhcb': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "TERMINATED"
    ];
    readonly 'HostileHypervisor.replay': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.substitute': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY"
    ];
    readonly 'HostileHypervisor.unsmash': readonly [
        "INVALID_ARGUMENT",
        "FIRMWARE_REFUSED"
    ];
    readonly 'HostileHypervisor.aliasDram': readonly [
        "OUT_OF_MEMORY"
    ];
    readonly 'HostileHypervisor.tamperRmp': readonly [
        "INVALID_ARGUMENT",
        "OUTSIDE_RMP",
        "INVALID_MESSAGE"
    ];
    readonly processPageStateChange: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.answers': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.remap': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.hide': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.swap': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.alias': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.lend': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.unassign': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.move': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.smash': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.mapSmall': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.mapHuge': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.enter': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly Hypervisor: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.pageStatesPerExit': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.read': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.flushTlbs': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.handleNestedPageFault': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.splitPage': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.vmsaOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.runVmpl': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.changePageState': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'HostileHypervisor.beforeSharedRead': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Hypervisor.rmpupdatePages': readonly [
        "INVALID_ARGUMENT"
    ];
};

// ., ./formats
export type EncodeErrorCode = CodeOf<'announceSvsm' | 'encodeSecretsPage' | 'cpuSignature' | 'createResetVmsa' | 'createSvsmResetVmsa' | 'createVmsa' | 'encodeApCreation' | 'encodeCpuidPage' | 'encodeGhcbMsr' | 'encodeKernelHashes' | 'encodePageInfo' | 'encodePscEntry' | 'encodePscHeader' | 'encodeRmpEntry' | 'encodeRmpState' | 'encodeSvsmListEntry' | 'encodeSvsmListHeader' | 'encodeSwapRecord' | 'writeVmsa' | 'GhcbPage.set' | 'GhcbPage.writeBuffer' | 'writeGhcbRegisters' | 'LaunchDigest' | 'LaunchDigest.update'>;

// ., ./memory
export declare class EncryptedMemory {
    readonly size: bigint;
    constructor(size: Bytes, seed?: number);
    epochOf(key: MemoryKey): number;
    createKey(): MemoryKey;
    read(spa: SysPhysAddr, length: number, key: MemoryKey): Uint8Array;
    readInto(spa: SysPhysAddr, bytes: Uint8Array, key: MemoryKey): void;
    requirePages(frame: number, count: number): void;
    write(spa: SysPhysAddr, bytes: Uint8Array, key: MemoryKey): void;
    writtenIn(frame: number, count: number, key: MemoryKey): readonly number[];
    readFrame(frame: number, offset: number, length: number, key: MemoryKey): Uint8Array;
    writeFrame(frame: number, offset: number, bytes: Uint8Array, key: MemoryKey): void;
    view(key: MemoryKey): PhysMemory;
    words(frame: number, key: MemoryKey, write: boolean): Uint32Array;
    revoke(frame: number, count?: number): void;
    aliasFrame(alias: number, target: number): void;
    clear(frame: number, key: MemoryKey, count?: number): void;
    rekey(frame: number, from: MemoryKey, key: MemoryKey, count?: number): void;
}

// ., ./cpu
export interface ExecutionMode {
    readonly bits?: 32 | 64;
    readonly snp?: boolean;
}

// ., ./cpu
export interface ExitHandler {
    handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean;
    vmgexit(guest: GuestContext, request: bigint, vcpu: VcpuContext): bigint;
    beforeSharedRead?(guest: GuestContext, spa: SysPhysAddr, length: number): void;
}

// ., ./firmware
export declare class Firmware {
    constructor(platform: FirmwarePlatform, lastAsid: number);
    guestContextCreate(spa: SysPhysAddr): void;
    launchStart(context: SysPhysAddr): void;
    activate(context: SysPhysAddr, asid: number): void;
    launchUpdate(context: SysPhysAddr, spa: SysPhysAddr, options?: LaunchUpdateOptions): void;
    launchDigest(context: SysPhysAddr, sha384: Sha384): Promise<Uint8Array>;
    launchFinish(context: SysPhysAddr): void;
    decommission(context: SysPhysAddr): void;
    wbinvd(): void;
    dfFlush(): void;
    guestStatus(context: SysPhysAddr): GuestStatus;
    activeGuest(context: SysPhysAddr): ActiveGuest | undefined;
    pageReclaim(spa: SysPhysAddr, pageSize?: RmpPageSize): void;
    pageSetHvFixed(spa: SysPhysAddr): void;
    pageUnsmash(spa: SysPhysAddr): void;
    metadataInit(context: SysPhysAddr, spa: SysPhysAddr): void;
    swapOut(context: SysPhysAddr, options: SwapOptions): void;
    swapIn(context: SysPhysAddr, options: SwapOptions): void;
    pageMove(context: SysPhysAddr, options: MoveOptions): void;
}

// ., ./formats
export type FirmwareErrorCode = CodeOf<Extract<keyof typeof ERRORS_OF, `Firmware.${string}`>>;

// ., ./firmware
export interface FirmwarePlatform {
    readonly rmp: Rmp;
    readonly memory: EncryptedMemory;
}

// ., ./formats
export declare const FirmwareStatus: {
    readonly INVALID_GUEST_STATE: 2;
    readonly INVALID_CONFIG: 3;
    readonly INACTIVE: 8;
    readonly INVALID_ADDRESS: 9;
    readonly BAD_MEASUREMENT: 11;
    readonly ASID_OWNED: 12;
    readonly INVALID_ASID: 13;
    readonly WBINVD_REQUIRED: 14;
    readonly DF_FLUSH_REQUIRED: 15;
    readonly INVALID_GUEST: 16;
    readonly ACTIVE: 18;
    readonly INVALID_PARAM: 22;
    readonly INVALID_PAGE_SIZE: 25;
    readonly INVALID_PAGE_STATE: 26;
    readonly INVALID_MDATA_ENTRY: 27;
    readonly INVALID_PAGE_OWNER: 28;
};
export type FirmwareStatus = keyof typeof FirmwareStatus;

// ., ./formats
export interface FlatRmp {
    readonly base: bigint;
    readonly end: bigint;
}

// ., ./formats
export declare const GHCB_BUFFER: {
    readonly offset: 2048;
    readonly size: 2032;
};

// ., ./formats
export declare const GHCB_FIELDS: {
    readonly cpl: readonly [
        203,
        1
    ];
    readonly xss: readonly [
        320,
        8
    ];
    readonly dr7: readonly [
        352,
        8
    ];
    readonly rip: readonly [
        376,
        8
    ];
    readonly rsp: readonly [
        472,
        8
    ];
    readonly rax: readonly [
        504,
        8
    ];
    readonly rcx: readonly [
        776,
        8
    ];
    readonly rdx: readonly [
        784,
        8
    ];
    readonly rbx: readonly [
        792,
        8
    ];
    readonly rbp: readonly [
        808,
        8
    ];
    readonly rsi: readonly [
        816,
        8
    ];
    readonly rdi: readonly [
        824,
        8
    ];
    readonly r8: readonly [
        832,
        8
    ];
    readonly r9: readonly [
        840,
        8
    ];
    readonly r10: readonly [
        848,
        8
    ];
    readonly r11: readonly [
        856,
        8
    ];
    readonly r12: readonly [
        864,
        8
    ];
    readonly r13: readonly [
        872,
        8
    ];
    readonly r14: readonly [
        880,
        8
    ];
    readonly r15: readonly [
        888,
        8
    ];
    readonly exitCode: readonly [
        912,
        8
    ];
    readonly exitInfo1: readonly [
        920,
        8
    ];
    readonly exitInfo2: readonly [
        928,
        8
    ];
    readonly scratch: readonly [
        936,
        8
    ];
    readonly xcr0: readonly [
        1000,
        8
    ];
    readonly x87StateGpa: readonly [
        1024,
        8
    ];
    readonly protocolVersion: readonly [
        4090,
        2
    ];
    readonly usage: readonly [
        4092,
        4
    ];
};

// ., ./formats
export declare const GHCB_REGISTERS: readonly [
    "rax",
    "rbx",
    "rcx",
    "rdx",
    "rsi",
    "rdi",
    "rbp",
    "rsp",
    "r8",
    "r9",
    "r10",
    "r11",
    "r12",
    "r13",
    "r14",
    "r15",
    "rip",
    "cpl",
    "dr7",
    "xcr0",
    "xss"
];

// ., ./guest
export declare class Ghcb {
    readonly vcpu: Vcpu;
    readonly gva: VirtAddr;
    readonly gpa: PhysAddr;
    readonly page: GhcbPage;
    private constructor();
    static create(vcpu: Vcpu, table: PageTable, page: VirtPage, options?: VisibilityOptions): Ghcb;
    get isReleased(): boolean;
    release(table: PageTable, options?: VisibilityOptions): void;
    vmgexit(call: GhcbCall): bigint;
    exchange<Answer extends GhcbRegister = never>(call: GhcbCall<Answer>): GhcbResult<Answer>;
}

// ., ./host
export interface GhcbAnswer {
    readonly info1: bigint;
    readonly info2: bigint;
    readonly registers?: GhcbRegisters;
}

// ., ./guest
export interface GhcbCall<Answer extends GhcbRegister = never> {
    readonly exitCode: bigint;
    readonly info1?: bigint;
    readonly info2?: bigint;
    readonly scratch?: bigint;
    readonly registers?: GhcbRegisters;
    readonly answers?: readonly Answer[];
}

// ., ./formats
export type GhcbErrorCode = CodeOf<'Ghcb.create' | 'Ghcb.release' | 'Ghcb.vmgexit' | 'Ghcb.exchange' | 'registerGhcb' | 'requestGhcbMsr' | 'hypervisorFeatures' | 'requireFeatures'>;

// ., ./formats
export declare const GhcbExit: {
    readonly ReadDr7: 39n;
    readonly WriteDr7: 55n;
    readonly Rdtsc: 110n;
    readonly Rdpmc: 111n;
    readonly Cpuid: 114n;
    readonly Invd: 118n;
    readonly Ioio: 123n;
    readonly Msr: 124n;
    readonly Vmmcall: 129n;
    readonly Rdtscp: 135n;
    readonly Wbinvd: 137n;
    readonly Monitor: 138n;
    readonly Mwait: 139n;
    readonly MmioRead: 2147483649n;
    readonly MmioWrite: 2147483650n;
    readonly NmiComplete: 2147483651n;
    readonly ApResetHold: 2147483652n;
    readonly ApJumpTable: 2147483653n;
    readonly PageStateChange: 2147483664n;
    readonly GuestRequest: 2147483665n;
    readonly ExtendedGuestRequest: 2147483666n;
    readonly SnpApCreation: 2147483667n;
    readonly HvDoorbellPage: 2147483668n;
    readonly HvIpi: 2147483669n;
    readonly GetApicIds: 2147483671n;
    readonly RunVmpl: 2147483672n;
    readonly SecureAvicGpa: 2147483674n;
    readonly ConfigureInjection: 2147483675n;
    readonly DisableAlternateInjection: 2147483676n;
    readonly SpecificEoi: 2147483677n;
    readonly HypervisorFeatures: 2147549181n;
    readonly Terminate: 2147549182n;
    readonly UnsupportedEvent: 2147549183n;
};

// ., ./formats
export interface GhcbExitFormat {
    readonly inputs: readonly (GhcbRegister | 'scratch')[];
    readonly answers: readonly GhcbRegister[];
    readonly optional: readonly GhcbRegister[];
}

// ., ./formats
export type GhcbField = keyof typeof GHCB_FIELDS;

// ., ./formats
export type GhcbMsrMessage = {
    readonly type: 'ghcb';
    readonly gpa: PhysAddr;
} | {
    readonly type: 'sev-info';
    readonly maxVersion: number;
    readonly minVersion: number;
    readonly cBit: number;
} | {
    readonly type: 'sev-info-request';
} | {
    readonly type: 'ap-jump-table-request';
    readonly value: bigint;
} | {
    readonly type: 'cpuid-request';
    readonly leaf: number;
    readonly register: number;
} | {
    readonly type: 'cpuid';
    readonly value: number;
    readonly register: number;
} | {
    readonly type: 'ap-reset-hold-request';
} | {
    readonly type: 'ap-reset-hold';
    readonly value: bigint;
} | {
    readonly type: 'preferred-ghcb-request';
} | {
    readonly type: 'preferred-ghcb';
    readonly gpa: PhysAddr | undefined;
} | {
    readonly type: 'register-ghcb-request';
    readonly gpa: PhysAddr;
} | {
    readonly type: 'register-ghcb';
    readonly gpa: PhysAddr | undefined;
} | {
    readonly type: 'page-state-request';
    readonly gpa: PhysAddr;
    readonly operation: number;
} | {
    readonly type: 'page-state';
    readonly error: number;
} | {
    readonly type: 'run-vmpl-request';
    readonly vmpl: number;
} | {
    readonly type: 'run-vmpl';
    readonly error: number;
} | {
    readonly type: 'features-request';
} | {
    readonly type: 'features';
    readonly features: bigint;
} | {
    readonly type: 'terminate';
    readonly reasonSet: number;
    readonly reason: number;
} | {
    readonly type: 'hyperv-hypercall' | 'hyperv-fast-call' | 'hyperv-output' | 'hyperv-debug-print';
    readonly value: bigint;
} | {
    readonly type: 'unknown';
    readonly value: bigint;
};

// ., ./formats
export declare class GhcbPage {
    constructor(bytes: PageBytes);
    static over(bytes?: Uint8Array): GhcbPage;
    snapshot(): GhcbPage;
    get(field: GhcbField): bigint | undefined;
    set(field: GhcbField, value: bigint): void;
    isValid(field: GhcbField): boolean;
    invalidate(): void;
    readBuffer(offset: number, length: number): Uint8Array;
    writeBuffer(offset: number, bytes: Uint8Array): void;
}

// ., ./formats
export declare const GhcbRefusal: {
    readonly NotRegistered: 1n;
    readonly BadUsage: 2n;
    readonly BadScratchArea: 3n;
    readonly MissingInput: 4n;
    readonly InvalidInput: 5n;
    readonly InvalidEvent: 6n;
};

// ., ./formats
export type GhcbRegister = (typeof GHCB_REGISTERS)[number];

// ., ./formats
export type GhcbRegisters = {
    readonly [Register in GhcbRegister]?: bigint | undefined;
};

// ., ./host
export interface GhcbRequest {
    readonly gpa: PhysAddr;
    readonly exitCode: bigint;
    readonly info1: bigint;
    readonly info2: bigint;
    readonly scratch: bigint | undefined;
    readonly registers: GhcbRegisters;
}

// ., ./guest
export interface GhcbResult<Answer extends GhcbRegister = never> {
    readonly info2: bigint;
    readonly registers: GhcbRegisters & {
        readonly [Register in Answer]: bigint;
    };
}

// ., ./guest
export declare class Guest implements GuestContext {
    readonly machine: SnpPlatform;
    readonly context: SysPhysAddr;
    readonly asid: number;
    readonly nested: NestedTable;
    readonly memory: GuestRegions;
    readonly paging: PagingConfig;
    readonly virtualTom: bigint | undefined;
    constructor(machine: SnpPlatform, options: GuestOptions);
    get key(): MemoryKey;
    get tlbGeneration(): number;
    flushTlbs(): void;
    onEnter(vmpl: Vmpl, software: (caller: Vcpu) => void): void;
    enterVmpl(vmpl: number, caller: VcpuContext): boolean;
    onStart(software: (vcpu: Vcpu) => void): void;
    vmrun(asked: RunnableVmsa): Vcpu;
    onCreateVcpu(factory: VcpuFactory): void;
    start(vcpu: VcpuContext): boolean;
    createVcpu(options?: VcpuOptions): Vcpu;
}

// ., ./cpu
export interface GuestContext {
    readonly machine: SnpPlatform;
    readonly asid: number;
    readonly key: MemoryKey;
    readonly nested: NestedTable;
    readonly memory: GuestRegions;
    readonly paging: PagingConfig;
    readonly virtualTom: bigint | undefined;
    readonly tlbGeneration: number;
    flushTlbs(): void;
    enterVmpl(vmpl: number, caller: VcpuContext): boolean;
    vmrun(vmsa: RunnableVmsa): VcpuContext;
    start(vcpu: VcpuContext): boolean;
}

// ., ./cpu
export interface GuestCpu extends Privilege {
    readonly guest: GuestContext;
    readonly is64Bit: boolean;
    translate(gva: VirtAddr, kind?: 'read' | 'write', update?: boolean): GuestTranslation;
}

// not exported
interface GuestInstructions {
    readonly cpl: number;
    readonly is64Bit: boolean;
    readonly guest: {
        readonly machine: SnpPlatform;
    };
    pvalidate(gva: VirtAddr, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer;
    rmpadjust(gva: VirtAddr, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult;
    rmpquery(gva: VirtAddr, vmpl: Vmpl): RmpqueryAnswer;
}

// ., ./memory
export type GuestMemoryInput = MemoryRegion<PhysAddr> | Iterable<MemoryRegion<PhysAddr>>;

// ., ./guest
export interface GuestOptions {
    readonly context: SysPhysAddr;
    readonly nested: NestedTable;
    readonly memory: GuestMemoryInput;
    readonly levels?: 4 | 5;
    readonly virtualTom?: bigint | undefined;
}

// ., ./svsm
export interface GuestPageAccess {
    <T>(gpa: PhysAddr, size: RmpPageSize, use: (gva: VirtAddr) => T): T;
    readonly run?: (gpa: PhysAddr, count: number, use: (gva: VirtAddr) => void) => void;
}

// ., ./cpu
export interface GuestPageFault {
    readonly gva: VirtAddr;
    readonly errorCode: number;
    readonly kind: AccessKind;
}

// ., ./memory
export declare class GuestRegions implements Iterable<MemoryRegion<PhysAddr>> {
    constructor(memory: GuestMemoryInput);
    get regionCount(): number;
    get size(): bigint;
    get end(): bigint;
    contains(gpa: PhysAddr): boolean;
    containsRegion(region: MemoryRegion<PhysAddr>): boolean;
    containsPage(gpa: PhysAddr, size: PageSize): boolean;
    overlaps(region: MemoryRegion<PhysAddr>): boolean;
    regionAt(gpa: PhysAddr): MemoryRegion<PhysAddr> | undefined;
    gaps(within: MemoryRegion<PhysAddr>): Generator<MemoryRegion<PhysAddr>, undefined, undefined>;
    iterPages(size: PageSize): Generator<PhysAddr, undefined, undefined>;
    [Symbol.iterator](): Generator<MemoryRegion<PhysAddr>, undefined, undefined>;
    toString(): string;
}

// ., ./formats
export declare const GuestState: {
    readonly Init: "INIT";
    readonly Launch: "LAUNCH";
    readonly Running: "RUNNING";
};
export type GuestState = (typeof GuestState)[keyof typeof GuestState];

// ., ./firmware
export interface GuestStatus {
    readonly state: GuestState;
    readonly asid: number;
}

// ., ./cpu
export interface GuestTranslation {
    readonly gva: VirtAddr;
    readonly gpa: PhysAddr;
    readonly spa: SysPhysAddr;
    readonly isPrivate: boolean;
    readonly guestSize: PageSize;
    readonly nested: NestedPage;
}

// ., ./rmp
export declare const HYPERVISOR_ENTRY: RmpEntry;

// not exported
interface HostInstructions {
    readonly machine: SnpPlatform;
    rmpupdate(spa: SysPhysAddr, state: RmpState): RmpResult;
    psmash(spa: SysPhysAddr): RmpResult;
    rmpread(spa: SysPhysAddr): RmpreadAnswer;
    read(spa: SysPhysAddr, length: number): Uint8Array;
    write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

// ., ./host
export interface HostileAnswers {
    msr?: ((request: bigint, guest: GuestContext) => bigint | undefined) | undefined;
    page?: ((request: GhcbRequest, page: GhcbPage) => GhcbAnswer | undefined) | undefined;
    afterPage?: ((page: GhcbPage, guest: GuestContext) => void) | undefined;
    pageState?: ((gpa: PhysAddr, operation: PageOperation, pageSize: RmpPageSize) => number | undefined) | undefined;
    fault?: ((gpa: PhysAddr, exitInfo1: bigint) => boolean | undefined) | undefined;
    withhold?: boolean;
    beforeResume?: ((guest: GuestContext) => void) | undefined;
    beforeSharedRead?: ((guest: GuestContext, spa: SysPhysAddr, length: number) => void) | undefined;
}

// ., ./host
export declare class HostileHypervisor extends Hypervisor {
    get answers(): HostileAnswers;
    set answers(answers: HostileAnswers);
    remap(guest: GuestContext, gpa: PhysAddr, spa: SysPhysAddr): void;
    hide(guest: GuestContext, gpa: PhysAddr): SysPhysAddr | undefined;
    swap(guest: GuestContext, a: PhysAddr, b: PhysAddr): void;
    alias(guest: GuestContext, gpa: PhysAddr, other: PhysAddr): void;
    substitute(guest: GuestContext, gpa: PhysAddr, spa?: SysPhysAddr): SysPhysAddr | undefined;
    lend(guest: GuestContext, gpa: PhysAddr, owner: GuestContext, ownerGpa: PhysAddr): void;
    unassign(guest: GuestContext, gpa: PhysAddr): RmpResult | undefined;
    move(guest: GuestContext, gpa: PhysAddr, to: PhysAddr): RmpResult | undefined;
    smash(guest: GuestContext, gpa: PhysAddr): RmpResult | undefined;
    unsmash(guest: GuestContext, gpa: PhysAddr): boolean;
    mapSmall(guest: GuestContext, gpa: PhysAddr): void;
    mapHuge(guest: GuestContext, gpa: PhysAddr): void;
    enter(guest: GuestContext, vmpl: number, vcpu: VcpuContext): boolean;
    capture(spa: SysPhysAddr): Uint8Array;
    replay(guest: GuestContext, gpa: PhysAddr, captured: Uint8Array): readonly [
        RmpResult,
        RmpResult
    ] | undefined;
    aliasDram(spa: SysPhysAddr, alias?: SysPhysAddr): SysPhysAddr;
    tamperRmp(spa: SysPhysAddr, fields: Partial<RmpEntry>): RmpEntry;
    observeCiphertext(spa: SysPhysAddr, length?: number): string;
    vmgexit(guest: GuestContext, request: bigint, vcpu?: VcpuContext): bigint;
    answerGhcb(guest: GuestContext, request: GhcbRequest, page: GhcbPage, vcpu?: VcpuContext): GhcbAnswer;
    changePageState(guest: GuestContext, gpa: PhysAddr, operation: PageOperation, pageSize?: RmpPageSize): number;
    handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean;
    beforeSharedRead(guest: GuestContext, spa: SysPhysAddr, length: number): void;
}

// ., ./host
export declare class Hypervisor implements ExitHandler {
    readonly machine: SnpPlatform;
    readonly memory: PhysMemory;
    constructor(machine: SnpPlatform);
    get pageStatesPerExit(): number;
    set pageStatesPerExit(count: number);
    read(spa: SysPhysAddr, length: number): Uint8Array;
    write(spa: SysPhysAddr, bytes: Uint8Array, mappedWith?: PageSize): void;
    allocatePage(): SysPhysAddr;
    givePageToFirmware(): SysPhysAddr;
    rmpupdate(spa: SysPhysAddr, newState: RmpState): RmpResult;
    rmpupdatePages(spa: SysPhysAddr, count: number, asked: RmpState): RmpResult;
    rmpread(spa: SysPhysAddr): RmpreadAnswer;
    flushTlbs(guest: GuestContext): void;
    psmash(spa: SysPhysAddr): RmpResult;
    launch(options: LaunchOptions): Guest;
    handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean;
    splitPage(guest: GuestContext, gpa: PhysAddr): boolean;
    vmgexit(guest: GuestContext, request: bigint, vcpu?: VcpuContext): bigint;
    cpuid(_guest: GuestContext, _request: CpuidRequest, _vcpu?: VcpuContext): CpuidResult | undefined;
    answerGhcb(guest: GuestContext, request: GhcbRequest, page: GhcbPage, vcpu?: VcpuContext): GhcbAnswer;
    vmsaOf(guest: GuestContext, apicId: number, vmpl?: number): RunnableVmsa | undefined;
    run(guest: GuestContext, apicId?: number, vmpl?: number): void;
    init(guest: GuestContext, apicId: number): void;
    runVmpl(guest: GuestContext, vmpl: number, caller: VcpuContext): boolean;
    changePageState(guest: GuestContext, gpa: PhysAddr, operation: PageOperation, pageSize?: RmpPageSize): number;
}

// ., ./formats
export declare const HypervisorFeature: {
    readonly Snp: 1n;
    readonly ApCreation: 2n;
    readonly RestrictedInjection: 4n;
    readonly RestrictedInjectionTimer: 8n;
    readonly ApicIdList: 16n;
    readonly MultiVmpl: 32n;
    readonly PageStateChange: 64n;
    readonly ExtendedInterrupts: 512n;
};

// ., ./cpu
export declare const INIT_REGISTERS: ControlRegisters;

// ., ./formats
export interface IgvmAreaHeader {
    readonly kind: 'area';
    readonly index: number;
    readonly size: number;
}

// ., ./formats
export interface IgvmContextHeader {
    readonly kind: 'context';
    readonly mask: number;
    readonly gpa: PhysAddr;
    readonly vcpu: number;
    readonly bytes: Uint8Array | undefined;
}

// ., ./formats
export interface IgvmFile {
    readonly version: number;
    readonly headers: readonly IgvmHeader[];
}

// ., ./formats
export type IgvmHeader = {
    readonly offset: number;
} & (IgvmPlatformHeader | IgvmPolicyHeader | IgvmPageHeader | IgvmAreaHeader | IgvmInsertHeader | IgvmContextHeader | IgvmMemoryHeader | IgvmIdBlockHeader | IgvmOtherHeader);

// ., ./formats
export interface IgvmIdBlockHeader {
    readonly kind: 'id-block';
    readonly mask: number;
    readonly digest: Uint8Array;
}

// ., ./formats
export interface IgvmInsertHeader {
    readonly kind: 'insert';
    readonly mask: number;
    readonly gpa: PhysAddr;
    readonly index: number;
}

// ., ./formats
export interface IgvmLaunch {
    readonly file: IgvmFile;
    readonly zeroPages?: 'normal' | 'zero' | undefined;
    readonly vmsas?: 'in-order' | 'last' | undefined;
    readonly vcpus?: number | undefined;
    readonly cpuSignature?: number | undefined;
}

// ., ./formats
export interface IgvmMemoryHeader {
    readonly kind: 'memory';
    readonly mask: number;
    readonly gpa: PhysAddr;
    readonly size: number;
}

// ., ./formats
export interface IgvmOtherHeader {
    readonly kind: 'other';
    readonly type: number;
}

// ., ./formats
export interface IgvmPageHeader {
    readonly kind: 'page';
    readonly mask: number;
    readonly gpa: PhysAddr;
    readonly size: number;
    readonly type: IgvmPageType;
    readonly unmeasured: boolean;
    readonly shared: boolean;
    readonly bytes: Uint8Array | undefined;
}

// ., ./formats
export type IgvmPageType = 'normal' | 'secrets' | 'cpuid';

// ., ./formats
export declare const IgvmPlatform: {
    readonly Native: 0;
    readonly VsmIsolation: 1;
    readonly SevSnp: 2;
    readonly Tdx: 3;
    readonly Sev: 4;
    readonly SevEs: 5;
};

// ., ./formats
export interface IgvmPlatformHeader {
    readonly kind: 'platform';
    readonly mask: number;
    readonly platform: number;
}

// ., ./formats
export interface IgvmPolicyHeader {
    readonly kind: 'policy';
    readonly mask: number;
    readonly policy: bigint;
}

// ., ./cpu
export interface InstructionRegisters {
    readonly rax: bigint;
    readonly rcx: bigint;
    readonly rdx: bigint;
    readonly rflags: bigint;
}

// ., ./formats
export interface KernelFiles {
    readonly kernel: Uint8Array;
    readonly initrd?: Uint8Array | undefined;
    readonly commandLine?: Uint8Array | undefined;
}

// ., ./formats
export interface KernelHashes {
    readonly kernel: Uint8Array;
    readonly initrd: Uint8Array;
    readonly commandLine: Uint8Array;
}

// ., ./formats
export declare class LaunchDigest {
    constructor(sha384: Sha384, from?: Uint8Array, assumptions?: PageInfoAssumptions);
    get value(): Uint8Array;
    update(page: LaunchPage): Promise<Uint8Array>;
}

// ., ./formats
export type LaunchErrorCode = CodeOf<'Hypervisor.launch'>;

// ., ./host
export interface LaunchImage {
    readonly gpa: PhysAddr;
    readonly bytes: Uint8Array;
    readonly unmeasured?: boolean;
}

// ., ./host
export interface LaunchMemory {
    readonly region: MemoryRegion<PhysAddr>;
    readonly validated: boolean;
}

// ., ./host
export interface LaunchOptions {
    readonly memory?: Iterable<LaunchMemory>;
    readonly size?: Bytes;
    readonly pages?: Iterable<LaunchPage>;
    readonly image?: readonly LaunchImage[];
    readonly pageSize?: RmpPageSize;
    readonly levels?: 4 | 5;
    readonly nestedLevels?: 4 | 5;
    readonly virtualTom?: bigint;
    readonly gmet?: boolean;
    readonly nestedAccessedDirty?: boolean;
    readonly vmsas?: readonly Uint8Array[];
}

// ., ./formats
export interface LaunchPage {
    readonly type: LaunchPageType;
    readonly gpa: PhysAddr;
    readonly bytes?: Uint8Array;
    readonly size?: number;
    readonly permissions?: readonly [
        number,
        number,
        number
    ];
    readonly imi?: boolean;
}

// ., ./formats
export declare const LaunchPageType: {
    readonly Normal: 1;
    readonly Vmsa: 2;
    readonly Zero: 3;
    readonly Unmeasured: 4;
    readonly Secrets: 5;
    readonly Cpuid: 6;
};
export type LaunchPageType = (typeof LaunchPageType)[keyof typeof LaunchPageType];

// ., ./formats
export type LaunchPagesErrorCode = CodeOf<'igvmExpectedDigest' | 'igvmLaunchPages' | 'launchDigestOf' | 'ovmfLaunchPages' | 'svsmLaunchPages'>;

// ., ./firmware
export interface LaunchUpdateOptions {
    readonly pageSize?: RmpPageSize;
    readonly type?: LaunchPageType;
    readonly count?: number;
    readonly permissions?: readonly [
        number,
        number,
        number
    ];
    readonly imi?: boolean;
}

// ., ./formats
export type MachineErrorCode = CodeOf<'SnpMachine' | 'EncryptedMemory'>;

// ., ./cpu
export type MachineEvent = {
    readonly type: 'rmpupdate';
    readonly spa: bigint;
    readonly state: RmpState;
    readonly result: RmpResult;
    readonly count?: number;
} | {
    readonly type: 'psmash';
    readonly spa: bigint;
    readonly result: RmpResult;
} | {
    readonly type: 'pvalidate';
    readonly gva: bigint;
    readonly pageSize: RmpPageSize;
    readonly validate: boolean;
    readonly result: RmpResult;
    readonly unchanged: boolean;
} | {
    readonly type: 'rmpadjust';
    readonly gva: bigint;
    readonly result: RmpResult;
} | {
    readonly type: 'vmgexit';
    readonly request: bigint;
} | {
    readonly type: 'vmrun';
    readonly response: bigint;
} | {
    readonly type: 'npf';
    readonly gpa: bigint;
    readonly exitInfo1: bigint;
} | {
    readonly type: 'flush';
    readonly gva: bigint | undefined;
};

// ., ./memory
export type MemoryKey = number;

// not exported
type Message<Type extends GhcbMsrMessage['type']> = Extract<GhcbMsrMessage, {
    readonly type: Type;
}>;

// ., ./firmware
export interface MoveOptions {
    readonly source: SysPhysAddr;
    readonly destination: SysPhysAddr;
    readonly pageSize?: RmpPageSize;
}

// ., ./memory
export declare const NO_KEY: MemoryKey;

// ., ./memory
export interface NestedPage extends NestedRights {
    readonly spa: SysPhysAddr;
    readonly size: PageSize;
    readonly accessed: boolean;
    readonly dirty: boolean;
}

// ., ./memory
export interface NestedRange {
    readonly gpa: PhysAddr;
    readonly spa: SysPhysAddr;
    readonly size: PageSize;
    readonly count: number;
}

// ., ./memory
export interface NestedRights {
    readonly writable: boolean;
    readonly user: boolean;
    readonly executable: boolean;
}

// ., ./memory
export declare class NestedTable {
    readonly end: bigint;
    readonly gmet: boolean;
    readonly accessedDirty: boolean;
    constructor(options: NestedTableOptions);
    map(gpa: PhysAddr, spa: SysPhysAddr, size: PageSize, rights?: Partial<NestedRights>): void;
    unmap(gpa: PhysAddr): void;
    lookup(gpa: PhysAddr): NestedPage | undefined;
    walk(gpa: PhysAddr): NestedPage | 'reserved' | undefined;
    markUsed(gpa: PhysAddr, isWrite: boolean): void;
    split4k(gpa: PhysAddr): void;
}

// ., ./memory
export interface NestedTableOptions {
    readonly memory: PhysMemory;
    readonly frames: FrameAllocator;
    readonly config: PagingConfig;
    readonly gmet?: boolean;
    readonly accessedDirty?: boolean;
    readonly ranges?: readonly NestedRange[];
    readonly rangeFrames?: FrameAllocator;
}

// ., ./cpu
export declare class NestedTlb {
    get changes(): number;
    get size(): number;
    lookup(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr): NestedTranslation | undefined;
    frameOf(guest: GuestContext, vmpl: Vmpl, frame: number, allowed: number): number;
    holdsPartOf(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr): boolean;
    widen(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr): void;
    insert(guest: GuestContext, vmpl: Vmpl, gpa: PhysAddr, page: NestedPage, allowed: number): void;
    flushAll(): void;
}

// not exported
export interface NestedTranslation {
    readonly page: NestedPage;
    readonly size: number;
    readonly frame: number;
    readonly isHuge: boolean;
    readonly version: number;
    readonly generation: number;
    allowed: number;
    checkedAt: number;
}

// ., ./formats
export declare const NpfInfo: {
    readonly Present: 1n;
    readonly Write: 2n;
    readonly User: 4n;
    readonly Reserved: 8n;
    readonly Fetch: 16n;
    readonly ShadowStack: 64n;
    readonly Rmp: 2147483648n;
    readonly FinalAddress: 4294967296n;
    readonly GuestTable: 8589934592n;
    readonly Encrypted: 17179869184n;
    readonly SizeMismatch: 34359738368n;
    readonly Vmpl: 68719476736n;
    readonly SupervisorShadowStack: 137438953472n;
    readonly NotRestartable: 9223372036854775808n;
};

// ., ./formats
export declare const OvmfGuid: {
    readonly Footer: "96b582de-1fb2-45f7-baea-a366c55a082d";
    readonly SevMetadata: "dc886566-984a-4798-a75e-5585a7bf67cc";
    readonly SevHashes: "7255371f-3a3b-4b04-927b-1da6efa8d454";
    readonly SevEsReset: "00f771de-1a7e-4fcb-890e-68c77e2fb44e";
    readonly Svsm: "a789a612-0597-4c4b-a49f-cbb1fe9d1ddd";
};

// ., ./formats
export interface OvmfImage {
    readonly bytes: Uint8Array;
    readonly table: ReadonlyMap<string, Uint8Array>;
    readonly sections: readonly OvmfSection[];
    readonly apResetEip: number | undefined;
    readonly hashesArea: {
        readonly gpa: PhysAddr;
        readonly size: number;
    } | undefined;
    readonly svsmEntry: number | undefined;
}

// ., ./formats
export interface OvmfLaunch {
    readonly image: OvmfImage;
    readonly vcpus: number;
    readonly vmm?: Vmm | undefined;
    readonly cpuSignature?: number | undefined;
    readonly sevFeatures?: bigint | undefined;
    readonly kernelHashes?: KernelHashes | undefined;
}

// ., ./formats
export interface OvmfSection {
    readonly type: OvmfSectionType;
    readonly gpa: PhysAddr;
    readonly size: number;
}

// ., ./formats
export declare const OvmfSectionType: {
    readonly SecMem: 1;
    readonly Secrets: 2;
    readonly Cpuid: 3;
    readonly SvsmCaa: 4;
    readonly KernelHashes: 16;
};
export type OvmfSectionType = (typeof OvmfSectionType)[keyof typeof OvmfSectionType];

// not exported
interface Owner {
    readonly asid: number;
    readonly key: MemoryKey;
    readonly paging: Pick<PagingConfig, 'physicalBits'>;
}

// ., ./formats
export declare const PAGE_NOT_VALIDATED = 1028;

// ., ./formats
export declare const PAGE_STATE_ERROR = 2147483648;

// ., ./formats
export declare const PSC_MAX_ENTRIES = 253;

// ., ./guest
export declare const PSC_MAX_IDLE_EXITS = 1024;

// ., ./formats
export interface PageBytes {
    read(offset: number, length: number): Uint8Array;
    write(offset: number, bytes: Uint8Array): void;
}

// ., ./cpu
export type PageFaultHandler = (fault: GuestPageFault) => 'retry' | 'deliver';

// ., ./guest
export interface PageInUse {
    readonly gpa: PhysAddr;
    readonly use: UseOfPage | 'CHANGE';
}

// ., ./formats
export interface PageInfo {
    readonly digest: Uint8Array;
    readonly contents: Uint8Array;
    readonly type: LaunchPageType;
    readonly gpa: PhysAddr;
    readonly permissions?: readonly [
        number,
        number,
        number
    ];
    readonly imi?: boolean;
}

// ., ./formats
export type PageInfoAssumptions = Partial<Pick<Assumptions, 'pageInfoMasks'>>;

// ., ./formats
export declare const PageOperation: {
    readonly Private: 1;
    readonly Shared: 2;
};
export type PageOperation = (typeof PageOperation)[keyof typeof PageOperation];

// ., ./formats
export declare const PageState: {
    readonly Default: "DEFAULT";
    readonly Hypervisor: "HYPERVISOR";
    readonly HvFixed: "HV-FIXED";
    readonly Firmware: "FIRMWARE";
    readonly Reclaim: "RECLAIM";
    readonly Context: "CONTEXT";
    readonly Metadata: "METADATA";
    readonly FirmwareIommu: "FIRMWARE-IOMMU";
    readonly PreGuest: "PRE-GUEST";
    readonly PreSwap: "PRE-SWAP";
    readonly GuestInvalid: "GUEST-INVALID";
    readonly GuestValid: "GUEST-VALID";
    readonly Invalid: "INVALID";
};
export type PageState = (typeof PageState)[keyof typeof PageState];

// ., ./formats
export type PageStateErrorCode = CodeOf<'requestPageState' | 'requestPageStates'>;

// ., ./guest
export type PageValidator = (vcpu: Vcpu, pages: readonly PrivatePage[], validate: boolean, inDoubt?: boolean) => ValidationProgress;

// ., ./guest
export interface PrivatePage {
    readonly gva: VirtAddr;
    readonly gpa: PhysAddr;
    readonly size: RmpPageSize;
}

// not exported
export interface Privilege {
    readonly vmpl: Vmpl;
    readonly cpl: number;
    readonly vmplSss?: boolean;
}

// ., ./formats
export interface PscEntry {
    readonly gpa: PhysAddr;
    readonly operation: number;
    readonly pageSize: RmpPageSize;
    readonly donePages: number;
    readonly reserved: number;
}

// ., ./formats
export interface PscHeader {
    readonly current: number;
    readonly end: number;
    readonly reserved: number;
}

// ., ./host
export declare const PscResult: {
    readonly NoError: 0n;
    readonly InvalidHeader: 4294967297n;
    readonly InvalidEntry: 4294967298n;
    readonly GenericError: 1099511627776n;
};

// ., ./cpu
export interface PvalidateAnswer {
    readonly result: RmpResult;
    readonly unchanged: boolean;
}

// ., ./rmp
export declare const RMP_CHECKS: Readonly<Record<Accessor, Readonly<Partial<Record<RmpAccessKind, readonly RmpCheck[]>>>>>;

// ., ./cpu
export declare const RMP_INSTRUCTIONS: Readonly<Record<RmpInstruction, {
    readonly bytes: readonly number[];
    readonly host: boolean;
    readonly in32: boolean;
}>>;

// ., ./formats
export interface RawRmpEntry {
    readonly low: bigint;
    readonly high: bigint;
}

// ., ./firmware
export interface RecordPlace {
    readonly page: SysPhysAddr;
    readonly index: number;
}

// ., ./guest
export interface RegionState {
    readonly private: readonly MemoryRegion<VirtAddr>[];
    readonly shared: readonly MemoryRegion<VirtAddr>[];
    readonly lost: readonly MemoryRegion<VirtAddr>[];
    readonly validated?: readonly MemoryRegion<VirtAddr>[] | undefined;
}

// ., ./formats
export interface ResetVmsaOptions {
    readonly vmm?: Vmm;
    readonly eip?: number;
    readonly cpuSignature?: number | undefined;
    readonly sevFeatures?: bigint;
}

// ., ./cpu
export declare const ResultFlag: {
    readonly Carry: 1n;
    readonly Parity: 4n;
    readonly Auxiliary: 16n;
    readonly Zero: 64n;
    readonly Sign: 128n;
    readonly Overflow: 2048n;
};

// ., ./rmp
export declare class Rmp {
    readonly covered: MemoryRegion<SysPhysAddr>;
    readonly assumptions: Assumptions;
    constructor(covered: MemoryRegion<SysPhysAddr>, options?: RmpOptions);
    covers(spa: SysPhysAddr): boolean;
    entry(spa: SysPhysAddr): RmpEntry | undefined;
    rawEntry(spa: SysPhysAddr): RmpEntry | undefined;
    readWords(page: number, into: Uint32Array): boolean;
    readRawWords(page: number, into: Uint32Array): boolean;
    writeWords(page: number, words: Uint32Array): void;
    isAssigned(page: number): boolean;
    isHuge(spa: SysPhysAddr): boolean;
    isRegionUnassigned(spa: SysPhysAddr): boolean;
    hasSubpages(spa: SysPhysAddr): boolean;
    masksOnceValidated(entry: RmpEntry): VmplMasks;
    entriesOf(asid: number): number;
    hasImmutable(spa: SysPhysAddr): boolean;
    setRegion(first: SysPhysAddr, entry: RmpEntry, others: RmpEntry): void;
    setRegionWords(first: number, entry: Uint32Array, others: Uint32Array): void;
    changePages(spa: SysPhysAddr, count: number, pageSize: RmpPageSize, change: (page: SysPhysAddr) => boolean): number;
    setRawEntry(spa: SysPhysAddr, entry: RmpEntry): void;
    get changes(): number;
    version(spa: SysPhysAddr, pageSize: RmpPageSize): number;
    versionOfPage(page: number, huge: boolean): number;
    setInUse(spa: SysPhysAddr, inUse: boolean): void;
    isInUse(spa: SysPhysAddr, pageSize: RmpPageSize): boolean;
}

// ., ./rmp
export interface RmpAccess {
    readonly accessor: Accessor;
    readonly kind: RmpAccessKind;
    readonly spa: SysPhysAddr;
    readonly translationSize: PageSize;
    readonly gpa: PhysAddr;
    readonly asid: number;
    readonly vmpl: Vmpl;
    readonly cpl: number;
    readonly supervisorShadowStack?: boolean;
}

// ., ./rmp
export type RmpAccessKind = 'read' | 'write' | 'fetch' | 'table' | 'table-update';

// ., ./cpu
export interface RmpAdjustment {
    readonly vmpl: number;
    readonly permissions: number;
    readonly vmsa?: boolean;
}

// ., ./rmp
export type RmpCheck = 'covered' | 'hypervisor-owned' | 'guest-owned' | 'reverse-map' | 'mutable' | 'page-size' | 'validated' | 'vmpl' | 'vmsa';

// ., ./formats
export interface RmpEntry {
    readonly assigned: boolean;
    readonly pageSize: RmpPageSize;
    readonly immutable: boolean;
    readonly subpageCount: number;
    readonly gpa: PhysAddr;
    readonly asid: number;
    readonly vmsa: boolean;
    readonly validated: boolean;
    readonly vmplMasks: VmplMasks;
    readonly lock: boolean;
    readonly upper: number;
}

// ., ./formats
export type RmpErrorCode = CodeOf<'Rmp' | 'Rmp.setRawEntry' | 'Rmp.setRegion' | 'Rmp.setRegionWords' | 'Rmp.writeWords'>;

// ., ./cpu
export type RmpInstruction = 'RMPUPDATE' | 'PSMASH' | 'RMPREAD' | 'PVALIDATE' | 'RMPADJUST' | 'RMPQUERY';

// ., ./rmp
export interface RmpOptions {
    readonly assumptions?: Partial<Assumptions>;
}

// ., ./formats
export type RmpPageSize = typeof PageSize.Regular | typeof PageSize.Huge;

// ., ./formats
export declare const RmpResult: {
    readonly SUCCESS: 0;
    readonly FAIL_INPUT: 1;
    readonly FAIL_PERMISSION: 2;
    readonly FAIL_INUSE: 3;
    readonly FAIL_OVERLAP: 4;
    readonly FAIL_SIZEMISMATCH: 6;
    readonly FAIL_BADADDR: 7;
};
export type RmpResult = (typeof RmpResult)[keyof typeof RmpResult];

// ., ./rmp
export interface RmpState {
    readonly assigned: boolean;
    readonly pageSize?: RmpPageSize;
    readonly immutable?: boolean;
    readonly gpa?: PhysAddr;
    readonly asid?: number;
}

// ., ./formats
export interface RmpStateFields {
    readonly gpa: PhysAddr;
    readonly assigned: boolean;
    readonly pageSize: RmpPageSize;
    readonly immutable: boolean;
    readonly asid: number;
    readonly regionStatus: boolean;
}

// ., ./cpu
export interface RmpqueryAnswer {
    readonly result: RmpResult;
    readonly permissions: number;
    readonly vmsa: boolean;
    readonly pageSize: RmpPageSize;
}

// ., ./rmp
export interface RmpreadAnswer {
    readonly result: RmpResult;
    readonly state: RmpStateFields | undefined;
}

// ., ./cpu
export interface RunnableVmsa {
    readonly spa: SysPhysAddr;
    readonly gpa: PhysAddr;
    readonly vmcb: SysPhysAddr;
    readonly avicBackingPage?: SysPhysAddr | undefined;
}

// ., ./cpu
export declare const START_REGISTERS: ControlRegisters;

// ., ./formats
export declare const SVSM_LIST_MAX = 510;

// ., ./guest
export declare const SVSM_MAX_ATTEMPTS = 1024;

// ., ./formats
export declare const SWAP_RECORDS_PER_PAGE = 64;

// ., ./formats
export declare const SWAP_RECORD_SIZE = 64;

// ., ./formats
export interface SecretsPage {
    readonly version: number;
    readonly imi: boolean;
    readonly familyModelStepping: number;
    readonly vmpcks: readonly [
        Uint8Array,
        Uint8Array,
        Uint8Array,
        Uint8Array
    ];
    readonly vmsaTweakBitmap: Uint8Array;
    readonly svsm: SvsmLocation | undefined;
    readonly tscFactor: number;
}

// ., ./formats
export interface SegmentedRmp {
    readonly base: bigint;
    readonly segmentShift: number;
    readonly segments?: number;
    readonly unit?: Assumptions['rmpSegSizeUnit'];
    readonly read: (spa: SysPhysAddr) => bigint;
}

// ., ./formats
export declare const SevFeature: {
    readonly SnpActive: 1n;
    readonly VirtualTom: 2n;
    readonly ReflectVc: 4n;
    readonly RestrictedInjection: 8n;
    readonly AlternateInjection: 16n;
    readonly DebugVirtualization: 32n;
    readonly VmplSss: 256n;
};

// ., ./formats
export type Sha256 = (bytes: Uint8Array) => Uint8Array | PromiseLike<Uint8Array>;

// ., ./formats
export type Sha384 = (bytes: Uint8Array) => Uint8Array | PromiseLike<Uint8Array>;

// ., ./formats
export declare class SnpError<Code extends SnpErrorCode = SnpErrorCode> extends CodedError<Code, SnpErrorDetails[Code]> {
    constructor(code: Code, details: SnpErrorDetails[Code], options?: ErrorOptions);
}

// ., ./formats
export type SnpErrorCode = keyof SnpErrorDetails;

// ., ./formats
export interface SnpErrorDetails {
    INVALID_ARGUMENT: {
        what: string;
        value: unknown;
        expected: string;
    };
    INVALID_RMP_RANGE: {
        start: bigint;
        end: bigint;
    };
    INVALID_RMP_SEGMENT: {
        spa: bigint;
        segment: bigint;
    };
    OUTSIDE_RMP: {
        spa: bigint;
    };
    OUT_OF_MEMORY: {
        needed: bigint;
        free: bigint;
    };
    HOST_INSTRUCTION_FAILED: {
        instruction: string;
        spa: bigint;
        result: RmpResult;
    };
    FIRMWARE_REFUSED: {
        command: string;
        spa: bigint | undefined;
        state: PageState | undefined;
        guest: GuestState | undefined;
        status: FirmwareStatus;
        problem?: string | undefined;
    };
    UNSUPPORTED_VMGEXIT: {
        request: bigint;
    };
    TERMINATED: {
        reasonSet: number;
        reason: number;
    };
    INVALID_MESSAGE: {
        field: string;
        value: unknown;
        expected: string;
    };
    INVALID_IMAGE: {
        field: string;
        offset: number;
        value: unknown;
        expected: string;
    };
    INVALID_RESPONSE: {
        request: bigint;
        response: bigint;
        problem: string;
    };
    MISSING_FEATURE: {
        required: bigint;
        offered: bigint;
        missing: readonly string[];
    };
    PAGE_STATE_REFUSED: {
        gpa: bigint;
        error: number;
    };
    VMGEXIT_FAILED: {
        exitCode: bigint;
        info1: bigint | undefined;
        info2: bigint | undefined;
    };
    PSC_REFUSED: {
        gpa: bigint;
        entry: number;
        info2: bigint;
    };
    INVALID_PSC_RESPONSE: {
        field: string;
        value: number;
        problem: string;
    };
    SVSM_NOT_RUN: {
        attempts: number;
    };
    SVSM_REFUSED: {
        call: number;
        result: number;
        entry: number;
    };
    ALREADY_VALIDATED: {
        gpa: bigint;
    };
    NOT_VALIDATED: {
        gpa: bigint;
    };
    PVALIDATE_FAILED: {
        gva: bigint;
        validate: boolean;
        result: RmpResult;
    };
    PVALIDATE_UNCHANGED: {
        gva: bigint;
        validate: boolean;
    };
    RMPADJUST_FAILED: {
        gva: bigint;
        result: RmpResult;
    };
    WRONG_MAPPING: {
        gva: bigint;
        expected: string;
        found: string;
    };
    PAGE_IN_USE: {
        gpa: bigint;
        use: 'GHCB' | 'VMSA' | 'CALLING_AREA' | 'CHANGE';
    };
    RELEASED_GHCB: {
        gpa: bigint;
    };
    REGION_CHANGE_FAILED: {
        to: 'private' | 'shared';
        private: readonly MemoryRegion<VirtAddr>[];
        shared: readonly MemoryRegion<VirtAddr>[];
        lost: readonly MemoryRegion<VirtAddr>[];
        validated: readonly MemoryRegion<VirtAddr>[];
    };
}

// ., ./rmp
export declare class SnpFault<Code extends SnpFaultCode = SnpFaultCode> extends CodedError<Code, SnpFaultDetails[Code]> {
    constructor(code: Code, details: SnpFaultDetails[Code], options?: ErrorOptions);
}

// ., ./rmp
export type SnpFaultCode = keyof SnpFaultDetails;

// ., ./rmp
export interface SnpFaultDetails {
    GP: {
        errorCode: 0;
        reason: string;
    };
    UD: {
        instruction: string;
    };
    PF: {
        errorCode: number;
        gva: bigint;
    };
    VC_NOT_VALIDATED: {
        errorCode: typeof PAGE_NOT_VALIDATED;
        gva: bigint | undefined;
        gpa: bigint;
        spa: bigint;
    };
    VC_MMIO: {
        errorCode: typeof VMEXIT_NPF;
        exitInfo1: bigint;
        gpa: bigint;
        gva: bigint | undefined;
    };
    NPF: {
        exitCode: typeof VMEXIT_NPF;
        exitInfo1: bigint;
        gpa: bigint;
        gva: bigint | undefined;
        spa: bigint | undefined;
        nestedSize: PageSize | undefined;
        check: RmpCheck | 'nested-not-present' | 'nested-rights';
    };
    HOST_PF: {
        errorCode: number;
        spa: bigint;
        check: RmpCheck;
    };
    HOST_GP: {
        errorCode: 0;
        spa: bigint;
        check: RmpCheck;
    };
    VMRUN: {
        exitCode: bigint;
        vmsa: bigint | undefined;
    };
}

// ., ./host
export declare class SnpMachine implements SnpPlatform {
    readonly memory: EncryptedMemory;
    readonly rmp: Rmp;
    readonly firmware: Firmware;
    readonly hypervisor: Hypervisor;
    readonly cBit: number;
    readonly hostPhysicalBits: number;
    readonly maxGuests: number;
    constructor(options: SnpMachineOptions);
    trace(event: MachineEvent): void;
}

// ., ./host
export interface SnpMachineOptions {
    readonly memorySize: Bytes;
    readonly rmpCovers?: Bytes;
    readonly cBit?: number;
    readonly addressReduction?: number;
    readonly seed?: number;
    readonly hypervisor?: (machine: SnpMachine) => Hypervisor;
    readonly assumptions?: Partial<Assumptions>;
    readonly trace?: (event: MachineEvent) => void;
}

// ., ./cpu
export interface SnpPlatform {
    readonly memory: EncryptedMemory;
    readonly rmp: Rmp;
    readonly firmware: Firmware;
    readonly hypervisor: ExitHandler;
    readonly cBit: number;
    readonly hostPhysicalBits: number;
    readonly maxGuests: number;
    trace(event: MachineEvent): void;
}

// ., ./formats
export declare const SvsmCall: {
    readonly RemapCa: 0;
    readonly Pvalidate: 1;
    readonly CreateVcpu: 2;
    readonly DeleteVcpu: 3;
    readonly DepositMem: 4;
    readonly WithdrawMem: 5;
    readonly QueryProtocol: 6;
    readonly ConfigureVtom: 7;
};
export type SvsmCall = (typeof SvsmCall)[keyof typeof SvsmCall];

// ., ./formats
export type SvsmCallErrorCode = CodeOf<'callSvsm' | 'requestSvsm' | 'pvalidateBySvsm' | 'depositToSvsm' | 'withdrawFromSvsm' | 'createVcpuBySvsm' | 'deleteVcpuBySvsm' | 'remapCallingArea' | 'querySvsmProtocol' | 'querySvsmVtom' | 'configureSvsmVtom'>;

// . (type only), ./svsm (type only)
export declare class SvsmCore {
    readonly vcpu: Vcpu;
    readonly memory: SvsmMemory;
    private constructor();
    register(vcpu: Vcpu, caa: PhysAddr, vmsa?: PhysAddr): void;
    callingArea(vcpu: Vcpu): PhysAddr | undefined;
    enter(vcpu: Vcpu): boolean;
    call(vcpu: Vcpu, registers: SvsmRegisters): void;
}

// ., ./formats
export interface SvsmLaunch {
    readonly svsm: OvmfImage;
    readonly firmware: OvmfImage;
    readonly variablesSize: number;
    readonly vcpus: number;
    readonly cpuSignature: number;
    readonly sevFeatures?: bigint | undefined;
}

// ., ./formats
export interface SvsmListEntry {
    readonly gpa: PhysAddr;
    readonly size: number;
    readonly validate: boolean;
    readonly ignoreUnchanged: boolean;
    readonly reserved: number;
}

// ., ./formats
export interface SvsmListHeader {
    readonly count: number;
    readonly next: number;
}

// ., ./formats
export interface SvsmLocation {
    readonly base: PhysAddr;
    readonly size: bigint;
    readonly callingArea: PhysAddr;
    readonly maxVersion: number;
    readonly guestVmpl: number;
}

// . (type only), ./svsm (type only)
export declare class SvsmMemory {
    private constructor();
    read(gpa: bigint, length: number, vmpl?: Vmpl): Uint8Array | undefined;
    write(gpa: bigint, bytes: Uint8Array, vmpl?: Vmpl): number;
    validate(gpa: bigint, size: RmpPageSize, vmpl: Vmpl): number;
    rescind(gpa: bigint, size: RmpPageSize): number;
    grant(gpa: bigint, size: RmpPageSize, vmpl: Vmpl): number;
    revoke(gpa: bigint, size: RmpPageSize): number;
    clear(gpa: bigint, size: RmpPageSize): number;
}

// ., ./svsm
export interface SvsmMemoryMap {
    readonly memory: GuestMemoryInput;
    readonly own: Iterable<MemoryRegion<PhysAddr>>;
    readonly validated?: Iterable<MemoryRegion<PhysAddr>>;
}

// ., ./svsm
export interface SvsmProtocol {
    readonly versions: {
        readonly min: number;
        readonly max: number;
    };
    call(call: SvsmProtocolCall): SvsmProtocolAnswer;
}

// ., ./svsm
export type SvsmProtocolAnswer = Partial<Omit<SvsmRegisters, 'rax'>> & {
    readonly result: number;
};

// ., ./svsm
export interface SvsmProtocolCall {
    readonly id: number;
    readonly vmpl: number;
    readonly registers: Readonly<Omit<SvsmRegisters, 'rax'>>;
    read(gpa: bigint, length: number): Uint8Array;
    write(gpa: bigint, bytes: Uint8Array): void;
}

// ., ./formats
export interface SvsmRegisters {
    rax: bigint;
    rcx: bigint;
    rdx: bigint;
    r8: bigint;
    r9: bigint;
}

// ., ./formats
export declare const SvsmResult: {
    readonly Success: 0;
    readonly Incomplete: 2147483648;
    readonly UnsupportedProtocol: 2147483649;
    readonly UnsupportedCall: 2147483650;
    readonly InvalidAddress: 2147483651;
    readonly InvalidFormat: 2147483652;
    readonly InvalidParameter: 2147483653;
    readonly InvalidRequest: 2147483654;
    readonly Busy: 2147483655;
    readonly InstructionFailed: 2147487744;
    readonly PvalidateUnchanged: 2147487760;
};

// ., ./svsm
export declare class SvsmState {
    constructor(options: SvsmStateOptions);
    get validated(): ValidatedPages;
    get vcpus(): readonly SvsmVcpu[];
    on(vcpu: Vcpu, access: GuestPageAccess): SvsmCore;
}

// ., ./svsm
export interface SvsmStateOptions extends SvsmMemoryMap {
    readonly sevFeatures?: bigint;
    readonly vtom?: VtomRange;
    readonly protocols?: ReadonlyMap<number, SvsmProtocol>;
    readonly entriesPerCall?: number;
    readonly isRunning?: (vmsa: PhysAddr) => boolean;
}

// ., ./svsm
export interface SvsmVcpu {
    readonly vmsa: PhysAddr;
    readonly caa: PhysAddr;
    readonly vmpl: number;
    readonly apicId: number;
}

// ., ./firmware
export interface SwapOptions extends MoveOptions {
    readonly record?: RecordPlace;
    readonly softwareData?: bigint;
}

// ., ./formats
export interface SwapRecord {
    readonly softwareData: bigint;
    readonly iv: bigint;
    readonly tag: Uint8Array;
    readonly valid: boolean;
    readonly validated: boolean;
    readonly vmsa: boolean;
    readonly metadata: boolean;
    readonly pageSize: RmpPageSize;
    readonly gpa: PhysAddr;
    readonly vmplMasks: VmplMasks;
}

// ., ./formats
export declare const SysPhys: AddressKind<SysPhysAddr>;

// ., ./formats
export type SysPhysAddr = Address<'sys-phys'>;

// ., ./cpu
export interface TranslationCache {
    readonly changes?: number;
    lookup(vaddr: VirtAddr): {
        readonly page: MappedPage;
    } | undefined;
    insert(vaddr: VirtAddr, page: MappedPage): void;
    flushPage(vaddr: VirtAddr): void;
    flushAll(): void;
    loadCr3?(options: {
        readonly pcid?: number;
        readonly keep?: boolean;
    }): void;
    setGlobalPages?(enabled: boolean): void;
    setPcids?(enabled: boolean): void;
}

// ., ./guest
export type UseOfPage = 'GHCB' | 'VMSA' | 'CALLING_AREA';

// ., ./formats
export declare const VMEXIT_NPF = 1024;

// ., ./formats
export declare const VMPL_COUNT = 4;

// ., ./cpu
export declare const VMRUN_CHECKS: Readonly<Record<VmrunPage, VmrunCheck>>;

// ., ./formats
export declare const VMSA_AREAS: {
    readonly x87Registers: readonly [
        1056,
        80
    ];
    readonly xmmRegisters: readonly [
        1136,
        256
    ];
    readonly ymmHighRegisters: readonly [
        1392,
        256
    ];
    readonly branchRecords: readonly [
        1648,
        256
    ];
};

// ., ./formats
export declare const VMSA_FIELDS: {
    readonly esSelector: readonly [
        0,
        2
    ];
    readonly esAttributes: readonly [
        2,
        2
    ];
    readonly esLimit: readonly [
        4,
        4
    ];
    readonly esBase: readonly [
        8,
        8
    ];
    readonly csSelector: readonly [
        16,
        2
    ];
    readonly csAttributes: readonly [
        18,
        2
    ];
    readonly csLimit: readonly [
        20,
        4
    ];
    readonly csBase: readonly [
        24,
        8
    ];
    readonly ssSelector: readonly [
        32,
        2
    ];
    readonly ssAttributes: readonly [
        34,
        2
    ];
    readonly ssLimit: readonly [
        36,
        4
    ];
    readonly ssBase: readonly [
        40,
        8
    ];
    readonly dsSelector: readonly [
        48,
        2
    ];
    readonly dsAttributes: readonly [
        50,
        2
    ];
    readonly dsLimit: readonly [
        52,
        4
    ];
    readonly dsBase: readonly [
        56,
        8
    ];
    readonly fsSelector: readonly [
        64,
        2
    ];
    readonly fsAttributes: readonly [
        66,
        2
    ];
    readonly fsLimit: readonly [
        68,
        4
    ];
    readonly fsBase: readonly [
        72,
        8
    ];
    readonly gsSelector: readonly [
        80,
        2
    ];
    readonly gsAttributes: readonly [
        82,
        2
    ];
    readonly gsLimit: readonly [
        84,
        4
    ];
    readonly gsBase: readonly [
        88,
        8
    ];
    readonly gdtrSelector: readonly [
        96,
        2
    ];
    readonly gdtrAttributes: readonly [
        98,
        2
    ];
    readonly gdtrLimit: readonly [
        100,
        4
    ];
    readonly gdtrBase: readonly [
        104,
        8
    ];
    readonly ldtrSelector: readonly [
        112,
        2
    ];
    readonly ldtrAttributes: readonly [
        114,
        2
    ];
    readonly ldtrLimit: readonly [
        116,
        4
    ];
    readonly ldtrBase: readonly [
        120,
        8
    ];
    readonly idtrSelector: readonly [
        128,
        2
    ];
    readonly idtrAttributes: readonly [
        130,
        2
    ];
    readonly idtrLimit: readonly [
        132,
        4
    ];
    readonly idtrBase: readonly [
        136,
        8
    ];
    readonly trSelector: readonly [
        144,
        2
    ];
    readonly trAttributes: readonly [
        146,
        2
    ];
    readonly trLimit: readonly [
        148,
        4
    ];
    readonly trBase: readonly [
        152,
        8
    ];
    readonly pl0Ssp: readonly [
        160,
        8
    ];
    readonly pl1Ssp: readonly [
        168,
        8
    ];
    readonly pl2Ssp: readonly [
        176,
        8
    ];
    readonly pl3Ssp: readonly [
        184,
        8
    ];
    readonly uCet: readonly [
        192,
        8
    ];
    readonly vmpl: readonly [
        202,
        1
    ];
    readonly cpl: readonly [
        203,
        1
    ];
    readonly efer: readonly [
        208,
        8
    ];
    readonly xss: readonly [
        320,
        8
    ];
    readonly cr4: readonly [
        328,
        8
    ];
    readonly cr3: readonly [
        336,
        8
    ];
    readonly cr0: readonly [
        344,
        8
    ];
    readonly dr7: readonly [
        352,
        8
    ];
    readonly dr6: readonly [
        360,
        8
    ];
    readonly rflags: readonly [
        368,
        8
    ];
    readonly rip: readonly [
        376,
        8
    ];
    readonly dr0: readonly [
        384,
        8
    ];
    readonly dr1: readonly [
        392,
        8
    ];
    readonly dr2: readonly [
        400,
        8
    ];
    readonly dr3: readonly [
        408,
        8
    ];
    readonly dr0Mask: readonly [
        416,
        8
    ];
    readonly dr1Mask: readonly [
        424,
        8
    ];
    readonly dr2Mask: readonly [
        432,
        8
    ];
    readonly dr3Mask: readonly [
        440,
        8
    ];
    readonly rsp: readonly [
        472,
        8
    ];
    readonly sCet: readonly [
        480,
        8
    ];
    readonly ssp: readonly [
        488,
        8
    ];
    readonly interruptSspTable: readonly [
        496,
        8
    ];
    readonly rax: readonly [
        504,
        8
    ];
    readonly star: readonly [
        512,
        8
    ];
    readonly lstar: readonly [
        520,
        8
    ];
    readonly cstar: readonly [
        528,
        8
    ];
    readonly sfmask: readonly [
        536,
        8
    ];
    readonly kernelGsBase: readonly [
        544,
        8
    ];
    readonly sysenterCs: readonly [
        552,
        8
    ];
    readonly sysenterEsp: readonly [
        560,
        8
    ];
    readonly sysenterEip: readonly [
        568,
        8
    ];
    readonly cr2: readonly [
        576,
        8
    ];
    readonly pat: readonly [
        616,
        8
    ];
    readonly debugControl: readonly [
        624,
        8
    ];
    readonly branchFrom: readonly [
        632,
        8
    ];
    readonly branchTo: readonly [
        640,
        8
    ];
    readonly lastExceptionFrom: readonly [
        648,
        8
    ];
    readonly lastExceptionTo: readonly [
        656,
        8
    ];
    readonly specCtrl: readonly [
        736,
        8
    ];
    readonly pkru: readonly [
        744,
        4
    ];
    readonly tscAux: readonly [
        748,
        4
    ];
    readonly tscScale: readonly [
        752,
        8
    ];
    readonly tscOffset: readonly [
        760,
        8
    ];
    readonly registerProtectionNonce: readonly [
        768,
        8
    ];
    readonly rcx: readonly [
        776,
        8
    ];
    readonly rdx: readonly [
        784,
        8
    ];
    readonly rbx: readonly [
        792,
        8
    ];
    readonly rbp: readonly [
        808,
        8
    ];
    readonly rsi: readonly [
        816,
        8
    ];
    readonly rdi: readonly [
        824,
        8
    ];
    readonly r8: readonly [
        832,
        8
    ];
    readonly r9: readonly [
        840,
        8
    ];
    readonly r10: readonly [
        848,
        8
    ];
    readonly r11: readonly [
        856,
        8
    ];
    readonly r12: readonly [
        864,
        8
    ];
    readonly r13: readonly [
        872,
        8
    ];
    readonly r14: readonly [
        880,
        8
    ];
    readonly r15: readonly [
        888,
        8
    ];
    readonly exitInfo1: readonly [
        912,
        8
    ];
    readonly exitInfo2: readonly [
        920,
        8
    ];
    readonly exitIntInfo: readonly [
        928,
        8
    ];
    readonly nextRip: readonly [
        936,
        8
    ];
    readonly sevFeatures: readonly [
        944,
        8
    ];
    readonly vintrCtrl: readonly [
        952,
        8
    ];
    readonly exitCode: readonly [
        960,
        8
    ];
    readonly virtualTom: readonly [
        968,
        8
    ];
    readonly tlbId: readonly [
        976,
        8
    ];
    readonly pcpuId: readonly [
        984,
        8
    ];
    readonly eventInjection: readonly [
        992,
        8
    ];
    readonly xcr0: readonly [
        1000,
        8
    ];
    readonly x87DataPointer: readonly [
        1024,
        8
    ];
    readonly mxcsr: readonly [
        1032,
        4
    ];
    readonly x87Tag: readonly [
        1036,
        2
    ];
    readonly x87Status: readonly [
        1038,
        2
    ];
    readonly x87Control: readonly [
        1040,
        2
    ];
    readonly x87Opcode: readonly [
        1042,
        2
    ];
    readonly x87DataSegment: readonly [
        1044,
        2
    ];
    readonly x87CodeSegment: readonly [
        1046,
        2
    ];
    readonly x87InstructionPointer: readonly [
        1048,
        8
    ];
    readonly lbrSelect: readonly [
        1904,
        8
    ];
    readonly ibsFetchControl: readonly [
        1912,
        8
    ];
    readonly ibsFetchAddress: readonly [
        1920,
        8
    ];
    readonly ibsOpControl: readonly [
        1928,
        8
    ];
    readonly ibsOpRip: readonly [
        1936,
        8
    ];
    readonly ibsOpData: readonly [
        1944,
        8
    ];
    readonly ibsOpData2: readonly [
        1952,
        8
    ];
    readonly ibsOpData3: readonly [
        1960,
        8
    ];
    readonly ibsDataAddress: readonly [
        1968,
        8
    ];
    readonly ibsBranchTarget: readonly [
        1976,
        8
    ];
    readonly ibsFetchControlExtended: readonly [
        1984,
        8
    ];
};

// ., ./formats
export declare const VMSA_LAUNCH_GPA: PhysAddr;

// ., ./guest
export declare class ValidatedPages {
    readonly memory: GuestRegions;
    constructor(memory: GuestMemoryInput, validated?: Iterable<MemoryRegion<PhysAddr>>);
    get size(): bigint;
    has(gpa: PhysAddr): boolean;
    firstIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined;
    firstMissingIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined;
    requireNone(region: MemoryRegion<PhysAddr>): void;
    requireAll(region: MemoryRegion<PhysAddr>): void;
    add(region: MemoryRegion<PhysAddr>): void;
    remove(region: MemoryRegion<PhysAddr>): void;
    [Symbol.iterator](): Generator<MemoryRegion<PhysAddr>, undefined, undefined>;
}

// ., ./formats
export type ValidatedPagesErrorCode = CodeOf<'GuestRegions' | 'ValidatedPages' | 'ValidatedPages.requireNone' | 'ValidatedPages.requireAll' | 'ValidatedPages.add' | 'ValidatedPages.remove'>;

// ., ./guest
export interface ValidationFailure {
    readonly error: unknown;
    readonly unclear?: number;
}

// ., ./guest
export interface ValidationProgress {
    readonly done: number;
    readonly isMismatch?: boolean;
    readonly failure?: ValidationFailure | undefined;
}

// ., ./cpu
export declare class Vcpu implements GuestCpu {
    readonly guest: GuestContext;
    readonly vmpl: Vmpl;
    readonly registers: SvsmRegisters;
    readonly memory: PhysMemory;
    readonly tlb: TranslationCache | undefined;
    readonly nestedTlb: NestedTlb | undefined;
    get onPageFault(): PageFaultHandler | undefined;
    set onPageFault(handler: PageFaultHandler | undefined);
    constructor(guest: GuestContext, options?: VcpuOptions);
    get cpl(): number;
    set cpl(value: number);
    get csL(): boolean;
    set csL(value: boolean);
    get is64Bit(): boolean;
    get controlRegisters(): ControlRegisters;
    get cr3(): bigint;
    get ghcbMsr(): bigint;
    set ghcbMsr(value: bigint);
    get cr2(): bigint;
    load(register: ControlRegister, value: bigint): void;
    loadCr3(value: bigint): void;
    invlpg(page: VirtPage): void;
    invlpgb(): void;
    flushTlb(): void;
    read(page: VirtPage, length: number, options?: DataAccessOptions): Uint8Array;
    fetch(page: VirtPage, length: number): Uint8Array;
    write(page: VirtPage, bytes: Uint8Array, options?: DataAccessOptions): void;
    clear(page: VirtPage, length: number): void;
    exchange(page: VirtPage, value: number): number;
    compareExchange(page: VirtPage, expected: bigint, value: bigint): bigint;
    pvalidate(page: VirtPage, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer;
    rmpadjust(page: VirtPage, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult;
    rmpquery(page: VirtPage, vmpl: Vmpl): RmpqueryAnswer;
    vmgexit(): void;
    get vmsa(): RunnableVmsa | undefined;
    get isRunning(): boolean;
    resume(image: Uint8Array, vmsa: RunnableVmsa): void;
    leave(exitCode: bigint, exitInfo1?: bigint, exitInfo2?: bigint): void;
    translate(page: VirtPage, kind?: 'read' | 'write', update?: boolean): GuestTranslation;
}

// ., ./cpu
export interface VcpuContext {
    readonly vmpl: Vmpl;
    readonly vmsa: RunnableVmsa | undefined;
    leave(exitCode: bigint): void;
}

// ., ./guest
export type VcpuFactory = (request: VcpuRequest) => Vcpu;

// ., ./cpu
export interface VcpuOptions {
    readonly vmpl?: Vmpl;
    readonly tlb?: TranslationCache;
    readonly nestedTlb?: NestedTlb;
    readonly registers?: Partial<ControlRegisters>;
    readonly csL?: boolean;
    readonly vmplSss?: boolean;
    readonly onPageFault?: PageFaultHandler | undefined;
    readonly vmsa?: RunnableVmsa;
}

// ., ./guest
export interface VcpuRequest {
    readonly vmpl: Vmpl;
    readonly vmsa: RunnableVmsa;
}

// ., ./formats
export type VisibilityErrorCode = CodeOf<'makePageShared' | 'makePagePrivate' | 'releasePage' | 'acceptPage' | 'makeRegionShared' | 'makeRegionPrivate' | 'releaseRegion' | 'acceptRegion' | 'settleRegion'>;

// ., ./guest
export interface VisibilityOptions {
    readonly validated?: ValidatedPages | undefined;
    readonly flush?: ((region: MemoryRegion<VirtAddr>) => void) | undefined;
    readonly validator?: PageValidator | undefined;
    readonly clear?: boolean | undefined;
}

// ., ./cpu
export declare const VmExit: {
    readonly Halt: 120n;
    readonly NestedPageFault: 1024n;
    readonly Vmgexit: 1027n;
    readonly PageNotValidated: 1028n;
    readonly NotRestartable: 1030n;
    readonly Invalid: -1n;
    readonly Busy: -2n;
    readonly IdleRequired: -3n;
    readonly InvalidPmc: -4n;
};

// ., ./formats
export type VmgexitErrorCode = CodeOf<'Vcpu.vmgexit' | 'Hypervisor.vmgexit' | 'Hypervisor.answerGhcb'>;

// ., ./formats
export type Vmm = 'qemu' | 'ec2' | 'gce';

// ., ./formats
export declare const Vmpl: {
    readonly Vmpl0: 0;
    readonly Vmpl1: 1;
    readonly Vmpl2: 2;
    readonly Vmpl3: 3;
};
export type Vmpl = (typeof Vmpl)[keyof typeof Vmpl];

// ., ./formats
export type VmplMasks = readonly [
    number,
    number,
    number,
    number
];

// ., ./formats
export declare const VmplPermission: {
    readonly None: 0;
    readonly Read: 1;
    readonly Write: 2;
    readonly ExecuteUser: 4;
    readonly ExecuteSupervisor: 8;
    readonly SupervisorShadowStack: 16;
    readonly Rwx: 15;
    readonly All: 31;
};

// ., ./cpu
export interface VmrunCheck {
    readonly checks: readonly RmpCheck[];
    readonly failure: '#GP(0)' | 'VMEXIT_INVALID';
}

// ., ./cpu
export type VmrunPage = 'vmcb' | 'avic-backing-page' | 'vmsa' | 'vmsa-without-snp' | 'host-save-area' | 'vmsave-target';

// not exported
interface VmrunPlace {
    readonly spa: SysPhysAddr;
    readonly gpa: PhysAddr;
    readonly asid: number;
}

// ., ./formats
export type VmsaField = keyof typeof VMSA_FIELDS;

// ., ./cpu
export interface VmsaOptions {
    readonly vmpl?: number;
    readonly control?: Partial<ControlRegisters>;
    readonly csL?: boolean;
    readonly rip?: bigint;
    readonly rsp?: bigint;
    readonly sevFeatures?: bigint;
    readonly virtualTom?: bigint;
}

// ., ./svsm
export interface VtomRange {
    readonly min: bigint;
    readonly max: bigint;
}

// ., ./guest
export interface VtomSettings {
    readonly virtualTom: bigint | undefined;
    readonly cr3?: bigint;
    readonly rip?: bigint;
    readonly rsp?: bigint;
}

// ., ./guest
export declare function acceptPage(vcpu: Vcpu, table: PageTable, page: VirtPage, options?: VisibilityOptions): void;

// ., ./guest
export declare function acceptRegion(ghcb: Ghcb, table: PageTable, region: MemoryRegion<VirtAddr>, options?: VisibilityOptions): void;

// ., ./formats
export declare function announceSvsm(page: Uint8Array, svsm: SvsmLocation): void;

// ., ./formats
export declare function assumptionsOf(switched: Partial<Assumptions>): Assumptions;

// ., ./guest
export declare function callSvsm(vcpu: Vcpu, area: CallingArea, registers: Partial<SvsmRegisters>): SvsmRegisters;

// ., ./guest
export declare function configureSvsmVtom(vcpu: Vcpu, area: CallingArea, settings: VtomSettings): void;

// ., ./formats
export declare function cpuSignature(family: number, model: number, stepping: number): number;

// ., ./formats
export declare function createResetVmsa(options?: ResetVmsaOptions): Uint8Array;

// ., ./formats
export declare function createSvsmResetVmsa(options: Omit<ResetVmsaOptions, 'vmm'>): Uint8Array;

// ., ./guest
export declare function createVcpuBySvsm(vcpu: Vcpu, area: CallingArea, processor: {
    readonly vmsa: PhysAddr;
    readonly caa: PhysAddr;
    readonly apicId: number;
}): void;

// ., ./cpu
export declare function createVmsa(options?: VmsaOptions): Uint8Array;

// ., ./guest
export declare function decodeApCreation(info1: bigint, info2: bigint, rax: bigint | undefined): ApCreation | undefined;

// ., ./formats
export declare function decodeCpuidPage(page: Uint8Array): readonly CpuidEntry[];

// ., ./formats
export declare function decodeGhcbMsr(value: bigint): GhcbMsrMessage;

// ., ./formats
export declare function decodeIgvmFile(bytes: Uint8Array): IgvmFile;

// ., ./formats
export declare function decodeOvmfImage(bytes: Uint8Array): OvmfImage;

// ., ./formats
export declare function decodePscEntry(bytes: Uint8Array): PscEntry;

// ., ./formats
export declare function decodePscHeader(bytes: Uint8Array): PscHeader;

// ., ./formats
export declare function decodeRmpEntry(raw: RawRmpEntry): RmpEntry;

// ., ./formats
export declare function decodeRmpState(bytes: Uint8Array): RmpStateFields;

// ., ./formats
export declare function decodeSecretsPage(page: Uint8Array): SecretsPage;

// ., ./formats
export declare function decodeSvsmListEntry(bytes: Uint8Array): SvsmListEntry;

// ., ./formats
export declare function decodeSvsmListHeader(bytes: Uint8Array): SvsmListHeader;

// ., ./formats
export declare function decodeSwapRecord(bytes: Uint8Array): SwapRecord;

// ., ./guest
export declare function deleteVcpuBySvsm(vcpu: Vcpu, area: CallingArea, vmsa: PhysAddr): void;

// ., ./guest
export declare function depositToSvsm(vcpu: Vcpu, area: CallingArea, pages: readonly {
    readonly gpa: PhysAddr;
    readonly size: 0 | 1;
}[]): void;

// ., ./guest
export declare function encodeApCreation(creation: ApCreation): {
    info1: bigint;
    info2: bigint;
    rax: bigint;
};

// ., ./formats
export declare function encodeCpuidPage(entries: readonly CpuidEntry[]): Uint8Array;

// ., ./formats
export declare function encodeGhcbMsr(message: GhcbMsrMessage): bigint;

// ., ./formats
export declare function encodeKernelHashes(hashes: KernelHashes): Uint8Array;

// ., ./formats
export declare function encodePageInfo(info: PageInfo, assumptions?: PageInfoAssumptions): Uint8Array;

// ., ./formats
export declare function encodePscEntry(entry: PscEntry): Uint8Array;

// ., ./formats
export declare function encodePscHeader(header: PscHeader): Uint8Array;

// ., ./formats
export declare function encodeRmpEntry(entry: RmpEntry): RawRmpEntry;

// ., ./formats
export declare function encodeRmpState(state: RmpStateFields): Uint8Array;

// ., ./formats
export declare function encodeSecretsPage(secrets: SecretsPage): Uint8Array;

// ., ./formats
export declare function encodeSvsmListEntry(entry: SvsmListEntry): Uint8Array;

// ., ./formats
export declare function encodeSvsmListHeader(header: SvsmListHeader): Uint8Array;

// ., ./formats
export declare function encodeSwapRecord(record: SwapRecord): Uint8Array;

// ., ./cpu
export declare function executeInGuest(cpu: GuestInstructions, instruction: RmpInstruction, registers: InstructionRegisters, mode?: ExecutionMode): InstructionRegisters;

// ., ./cpu
export declare function executeInHost(host: HostInstructions, instruction: RmpInstruction, registers: InstructionRegisters, mode?: ExecutionMode & {
    readonly cpl?: number;
}): InstructionRegisters;

// ., ./rmp
export declare function failedRmpCheck(rmp: Rmp, access: RmpAccess): RmpCheck | undefined;

// ., ./cpu
export declare function failedVmrunCheck(rmp: Rmp, page: VmrunPage, place: VmrunPlace): RmpCheck | undefined;

// ., ./formats
export declare function flatRmpCoverage(table: FlatRmp): bigint;

// ., ./formats
export declare function flatRmpEntryAddress(spa: SysPhysAddr, table: FlatRmp): SysPhysAddr | undefined;

// ., ./formats
export declare function ghcbExitFormat(exitCode: bigint, info1: bigint, rax?: bigint): GhcbExitFormat;

// ., ./formats
export declare function ghcbValidBit(field: GhcbField): number | undefined;

// ., ./formats
export declare function hashKernel(files: KernelFiles, sha256: Sha256): Promise<KernelHashes>;

// ., ./guest
export declare function hypervisorFeatures(by: Ghcb | Vcpu): bigint;

// ., ./formats
export declare function igvmExpectedDigest(file: IgvmFile): Uint8Array | undefined;

// ., ./formats
export declare function igvmLaunchPages(launch: IgvmLaunch): LaunchPage[];

// ., ./formats
export declare function isSnpError<Code extends SnpErrorCode = SnpErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: SnpError<C>;
}[Code];

// ., ./rmp
export declare function isSnpFault<Code extends SnpFaultCode = SnpFaultCode>(error: unknown, code?: Code): error is {
    [C in Code]: SnpFault<C>;
}[Code];

// ., ./formats
export declare function launchDigestOf(pages: Iterable<LaunchPage>, sha384: Sha384, from?: Uint8Array, assumptions?: PageInfoAssumptions): Promise<Uint8Array>;

// ., ./formats
export declare function launchPageSize(page: LaunchPage): number;

// ., ./guest
export declare function makePagePrivate(vcpu: Vcpu, table: PageTable, page: VirtPage, options?: VisibilityOptions): void;

// ., ./guest
export declare function makePageShared(vcpu: Vcpu, table: PageTable, page: VirtPage, options?: VisibilityOptions): void;

// ., ./guest
export declare function makeRegionPrivate(ghcb: Ghcb, table: PageTable, region: MemoryRegion<VirtAddr>, options?: VisibilityOptions): void;

// ., ./guest
export declare function makeRegionShared(ghcb: Ghcb, table: PageTable, region: MemoryRegion<VirtAddr>, options?: VisibilityOptions): void;

// ., ./guest
export declare function makeVmsa(vcpu: Vcpu, page: VirtPage, image: Uint8Array): void;

// ., ./formats
export declare function ovmfLaunchPages(launch: OvmfLaunch): LaunchPage[];

// ., ./guest
export declare function pageRegion(gpa: PhysAddr, pageSize: RmpPageSize): MemoryRegion<PhysAddr>;

// ., ./formats
export declare function pageStateOf(entry: RmpEntry | undefined): PageState;

// ., ./svsm
export declare function permanentMap(gvaOf: (gpa: PhysAddr) => VirtAddr): GuestPageAccess;

// ., ./host
export declare function processPageStateChange(page: GhcbPage, start: number, change: ChangePage, limit?: number): bigint;

// ., ./formats
export declare function pscEntriesOf(region: MemoryRegion<PhysAddr>, operation: PageOperation): Generator<PscEntry, undefined, undefined>;

// ., ./rmp
export declare function psmash(rmp: Rmp, spa: SysPhysAddr, asid?: number): RmpResult;

// ., ./cpu
export declare function pvalidate(cpu: GuestCpu, page: VirtPage, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer;

// ., ./guest
export declare function pvalidateBySvsm(vcpu: Vcpu, area: CallingArea, entries: readonly SvsmListEntry[]): void;

// ., ./guest
export declare function querySvsmProtocol(vcpu: Vcpu, area: CallingArea, protocol: number, version: number): {
    readonly min: number;
    readonly max: number;
} | undefined;

// ., ./guest
export declare function querySvsmVtom(vcpu: Vcpu, area: CallingArea): {
    readonly min: bigint;
    readonly max: bigint;
    readonly alignment: bigint;
} | undefined;

// ., ./formats
export declare function readGhcbRegisters(page: GhcbPage, names?: readonly GhcbRegister[]): GhcbRegisters;

// ., ./formats
export declare function readVmsa(vmsa: Uint8Array, field: VmsaField): bigint;

// ., ./guest
export declare function registerGhcb(vcpu: Vcpu, gpa: PhysAddr): void;

// ., ./guest
export declare function releasePage(vcpu: Vcpu, table: PageTable, page: VirtPage, options?: VisibilityOptions): void;

// ., ./guest
export declare function releaseRegion(ghcb: Ghcb, table: PageTable, region: MemoryRegion<VirtAddr>, options?: VisibilityOptions): void;

// ., ./guest
export declare function remapCallingArea(vcpu: Vcpu, area: CallingArea, next: CallingArea): void;

// ., ./guest
export declare function requestAp(ghcb: Ghcb, creation: ApCreation): void;

// ., ./guest
export declare function requestGhcbMsr<Type extends GhcbMsrMessage['type']>(vcpu: Vcpu, request: GhcbMsrMessage, answer: Type): Message<Type>;

// ., ./guest
export declare function requestPageState(vcpu: Vcpu, page: PhysPage, operation: PageOperation): void;

// ., ./guest
export declare function requestPageStates(ghcb: Ghcb, entries: Iterable<PscEntry>, batchSize?: number): number;

// ., ./guest
export declare function requestSvsm(vcpu: Vcpu, area: CallingArea, call: SvsmCall, registers: Partial<SvsmRegisters>): SvsmRegisters;

// ., ./guest
export declare function requireFeatures(by: Ghcb | Vcpu, required: bigint): bigint;

// ., ./cpu
export declare function rmpInstructionOf(bytes: Uint8Array): RmpInstruction | undefined;

// ., ./formats
export declare function rmpResultName(result: RmpResult): keyof typeof RmpResult;

// ., ./cpu
export declare function rmpadjust(cpu: GuestCpu, page: VirtPage, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult;

// ., ./cpu
export declare function rmpquery(cpu: GuestCpu, page: VirtPage, vmpl: Vmpl): RmpqueryAnswer;

// ., ./rmp
export declare function rmpread(rmp: Rmp, spa: SysPhysAddr, asid?: number): RmpreadAnswer;

// ., ./rmp
export declare function rmpupdate(rmp: Rmp, spa: SysPhysAddr, state: RmpState, asid?: number): RmpResult;

// ., ./formats
export declare function segmentedRmpEntryAddress(spa: SysPhysAddr, table: SegmentedRmp): SysPhysAddr | undefined;

// ., ./guest
export declare function settleRegion(ghcb: Ghcb, table: PageTable, state: RegionState, to: 'private' | 'shared', options?: VisibilityOptions): void;

// ., ./formats
export declare function svsmLaunchPages(launch: SvsmLaunch): LaunchPage[];

// ., ./guest
export declare function svsmValidator(area: CallingArea): PageValidator;

// ., ./formats
export declare function sysPhysAddr(value: number | bigint): SysPhysAddr;

// ., ./formats
export declare function sysPhysRegion(start: SysPhysAddr, size: Bytes): MemoryRegion<SysPhysAddr>;

// ., ./guest
export declare function unmakeVmsa(vcpu: Vcpu, page: VirtPage): void;

// ., ./guest
export declare function useOfPages(guest: GuestContext, region: MemoryRegion<PhysAddr>): PageInUse | undefined;

// ., ./cpu
export declare function vmexit(machine: SnpPlatform, vmsa: RunnableVmsa): void;

// ., ./cpu
export declare function vmrun(machine: SnpPlatform, asked: RunnableVmsa, owner: Owner): bigint | undefined;

// ., ./formats
export declare function webCryptoSha384(subtle: DigestSource): Sha384;

// ., ./guest
export declare function withdrawFromSvsm(vcpu: Vcpu, area: CallingArea): readonly PhysAddr[];

// ., ./formats
export declare function writeGhcbRegisters(page: GhcbPage, registers: GhcbRegisters): void;

// ., ./formats
export declare function writeVmsa(vmsa: Uint8Array, field: VmsaField, value: bigint): void;
