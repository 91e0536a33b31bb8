// The public declarations of @svsm/pagetable: npm run api records them. Above each is its entry point.

import type { Bytes, CodedError, PageSize, PhysAddr, VirtAddr } from '@svsm/address';

import type { MemoryRegion, PhysPage, VirtPage } from '@svsm/memory-region';

// .
export type AccessErrorCode = CodeOf<'PageTable.access' | 'maskAddress'>;

// .
export interface AccessGeneralProtection {
    readonly type: 'general-protection';
    readonly errorCode: 0;
}

// .
export type AccessKind = 'read' | 'write' | 'fetch';

// .
export interface AccessOptions {
    readonly update?: boolean;
    readonly implicit?: boolean;
    readonly shadowStack?: 'current' | 'user';
    readonly accessedOnFault?: boolean;
    readonly fill?: {
        insert(vaddr: VirtAddr, page: MappedPage): void;
    };
}

// .
export interface AccessPageFault {
    readonly type: 'page-fault';
    readonly errorCode: number;
    readonly cr2: VirtAddr;
    readonly level: number;
}

// .
export type AccessResult = AccessTranslation | AccessPageFault | AccessGeneralProtection;

// .
export interface AccessTarget {
    readonly reads: 'memory' | 'io';
    readonly writes: 'memory' | 'io';
    readonly isDefined: boolean;
}

// .
export interface AccessTranslation {
    readonly type: 'translation';
    readonly paddr: PhysAddr;
    readonly size: PageSize;
    readonly shared: boolean;
    readonly page: MappedPage;
    readonly updates: readonly EntryUpdate[];
}

// .
export declare const CONTROL_FAULTS: {
    readonly 'cr0-high-bits': "bits 63:32 of CR0 are reserved";
    readonly 'paging-needs-protection': "CR0.PG needs CR0.PE";
    readonly 'nw-needs-cd': "CR0.NW needs CR0.CD";
    readonly 'cet-needs-wp': "CR4.CET needs CR0.WP";
    readonly 'long-mode-needs-pae': "EFER.LME with paging needs CR4.PAE";
    readonly 'long-mode-needs-32-bit-code': "EFER.LME with paging cannot become active while CS.L is 1";
    readonly 'paging-off-in-64-bit-mode': "CR0.PG stays set in 64-bit mode";
    readonly 'paging-off-with-pcide': "CR0.PG stays set while CR4.PCIDE is 1";
    readonly 'cr3-high-bits': "CR3 has bits above the physical width";
    readonly 'cr4-reserved-bits': "CR4 has bits that the processor does not have";
    readonly 'la57-change-in-long-mode': "CR4.LA57 does not change while EFER.LMA is 1";
    readonly 'pcide-needs-long-mode': "CR4.PCIDE cannot be set while EFER.LMA is 0";
    readonly 'pcide-needs-pcid-0': "CR4.PCIDE cannot be set while bits 11:0 of CR3 are not 0";
    readonly 'efer-reserved-bits': "EFER has bits that the processor does not have";
    readonly 'lme-change-with-paging': "EFER.LME does not change while CR0.PG is 1";
    readonly 'lma-change': "EFER.LMA does not change by a write";
    readonly 'reserved-pdpte': "a present PDPTE has reserved bits set";
};

// .
export interface CacheControl {
    readonly mtrrs: Mtrrs;
    readonly pat: Pat;
    readonly paging: boolean;
    readonly cacheDisabled: boolean;
    readonly cacheDisable: CacheDisableEffect;
    readonly mixedPages: MixedPageEffect;
}

// .
export interface CacheControlOptions {
    readonly mtrrs: Mtrrs;
    readonly pat?: bigint;
    readonly cr0?: bigint;
    readonly cacheDisable?: CacheDisableEffect;
    readonly mixedPages?: MixedPageEffect;
}

// .
export type CacheDisableEffect = 'cd' | 'typed' | 'uc';

// not exported
type Checked<Table extends Readonly<Record<string, readonly PageTableErrorCode[]>>> = Table;

// not exported
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

// .
export type CollapseErrorCode = CodeOf<'PageMapper.collapse'>;

// .
export type CombinedPatType = MemoryType | 'WC+';

// .
export type ConfigErrorCode = CodeOf<'pagingConfig' | 'pagingConfigFromRegisters' | 'processorFeatures'>;

// .
export type ControlFault = keyof typeof CONTROL_FAULTS;

// .
export interface ControlRefused {
    readonly type: 'general-protection';
    readonly errorCode: 0;
    readonly reason: ControlFault;
    readonly state: ControlState;
}

// .
export interface ControlState {
    readonly cr0: bigint;
    readonly cr3: bigint;
    readonly cr4: bigint;
    readonly efer: bigint;
    readonly csL: boolean;
}

// .
export type ControlWrite = ControlWritten | ControlRefused;

// .
export interface ControlWritten {
    readonly type: 'written';
    readonly state: ControlState;
    readonly flush: TlbFlush | undefined;
    readonly pdptes: readonly bigint[] | undefined;
}

// .
export interface CpuRegisters {
    readonly cr0: number | bigint;
    readonly cr4: number | bigint;
    readonly cr3?: number | bigint;
    readonly efer?: number | bigint;
    readonly cpl: 0 | 1 | 2 | 3;
    readonly rflags?: number | bigint;
    readonly pkru?: number | bigint;
    readonly pkrs?: number | bigint;
}

// .
export interface CpuState {
    readonly cpl: 0 | 1 | 2 | 3;
    readonly wp: boolean;
    readonly smep: boolean;
    readonly smap: boolean;
    readonly paging: boolean;
    readonly lamUser: 48 | 57 | undefined;
    readonly lamSupervisor: boolean;
    readonly uai: boolean;
    readonly cet: boolean;
    readonly ac: boolean;
    readonly pkru: number | undefined;
    readonly pkrs: number | undefined;
}

// .
export type CpuStateErrorCode = CodeOf<'cpuState' | 'cpuStateFromRegisters' | 'controlState' | 'setCr0' | 'setCr3' | 'setCr4' | 'writeEfer'>;

// .
export declare const Cr0Flags: {
    readonly Pe: 1n;
    readonly Et: 16n;
    readonly Wp: 65536n;
    readonly Nw: 536870912n;
    readonly Cd: 1073741824n;
    readonly Pg: 2147483648n;
};

// .
export declare const Cr4Flags: {
    readonly Pse: 16n;
    readonly Pae: 32n;
    readonly Pge: 128n;
    readonly La57: 4096n;
    readonly Pcide: 131072n;
    readonly Smep: 1048576n;
    readonly Smap: 2097152n;
    readonly Pke: 4194304n;
    readonly Cet: 8388608n;
    readonly Pks: 16777216n;
};

// .
export type CreateTableErrorCode = CodeOf<'PageTable.create' | 'PageTable.open' | 'PageTable.cloneShared'>;

// .
export type DestroyTableErrorCode = CodeOf<'PageMapper.countTables' | 'PageTable.destroy'>;

// not exported
export declare const ERRORS_OF: {
    readonly 'PageMapper.map4k': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_FLAGS",
        "NO_ENCRYPTION",
        "ALREADY_MAPPED",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY",
        "ALIASED_TABLE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.map2m': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_FLAGS",
        "NO_ENCRYPTION",
        "ALREADY_MAPPED",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY",
        "ALIASED_TABLE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.map1g': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_FLAGS",
        "NO_ENCRYPTION",
        "ALREADY_MAPPED",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY",
        "ALIASED_TABLE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.mapRegion': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_FLAGS",
        "NO_ENCRYPTION",
        "ALREADY_MAPPED",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY",
        "ALIASED_TABLE",
        "INVALID_PAGE_SIZE",
        "PART_BOUNDARY",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.unmap4k': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "PAGE_SIZE_MISMATCH",
        "ALIASED_TABLE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.unmap2m': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "PAGE_SIZE_MISMATCH",
        "ALIASED_TABLE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.unmap1g': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "PAGE_SIZE_MISMATCH",
        "ALIASED_TABLE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.unmapRegion': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "ALIASED_TABLE",
        "PART_BOUNDARY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.protect4k': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "ALIASED_TABLE",
        "INVALID_FLAGS",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.protectRegion': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "ALIASED_TABLE",
        "INVALID_FLAGS",
        "PART_BOUNDARY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.setShared4k': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "NO_ENCRYPTION",
        "OUTSIDE_PHYSICAL_RANGE",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.setEncrypted4k': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "NO_ENCRYPTION",
        "OUTSIDE_PHYSICAL_RANGE",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.setSharedRegion': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "ALIASED_TABLE",
        "NO_ENCRYPTION",
        "OUTSIDE_PHYSICAL_RANGE",
        "PART_BOUNDARY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.setEncryptedRegion': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "MISALIGNED",
        "NOT_MAPPED",
        "READ_ONLY",
        "ALIASED_TABLE",
        "NO_ENCRYPTION",
        "OUTSIDE_PHYSICAL_RANGE",
        "PART_BOUNDARY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.split4k': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "NOT_MAPPED",
        "READ_ONLY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.split2m': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "NOT_MAPPED",
        "READ_ONLY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.collapse': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "NOT_MAPPED",
        "READ_ONLY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_PAGE_SIZE",
        "INVALID_SELF_MAP",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageMapper.translate': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageMapper.frameAt': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageMapper.lookup': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageMapper.walk': readonly [
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageMapper.mappings': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "MISALIGNED",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageMapper.leaves': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "OUTSIDE_PART",
        "MISALIGNED",
        "RESERVED_BITS",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageMapper.countTables': readonly [
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageTable.access': readonly [
        "INVALID_ARGUMENT",
        "INVALID_CPU_STATE",
        "NON_CANONICAL",
        "INVALID_ACCESS",
        "BUS_ERROR",
        "READ_ONLY",
        "DESTROYED",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly maskAddress: readonly [
        "INVALID_CPU_STATE",
        "INVALID_CONFIG",
        "NON_CANONICAL"
    ];
    readonly allowsAccess: readonly [
        "INVALID_ARGUMENT",
        "INVALID_ACCESS",
        "INVALID_CPU_STATE"
    ];
    readonly 'PageTable.create': readonly [
        "INVALID_ARGUMENT",
        "INVALID_CONFIG",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY",
        "INVALID_SELF_MAP"
    ];
    readonly 'PageTable.open': readonly [
        "INVALID_ARGUMENT",
        "INVALID_CONFIG",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "INVALID_SELF_MAP"
    ];
    readonly 'PageTable.cloneShared': readonly [
        "INVALID_ARGUMENT",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY",
        "INVALID_ROOT_ENTRY",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageTable.destroy': readonly [
        "NO_FRAME_ALLOCATOR",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageTablePart.create': readonly [
        "INVALID_ARGUMENT",
        "INVALID_CONFIG",
        "INVALID_ROOT_ENTRY",
        "OUT_OF_MEMORY",
        "NO_FRAME_ALLOCATOR",
        "INVALID_FRAME",
        "READ_ONLY"
    ];
    readonly 'PageTablePart.attach': readonly [
        "PART_MISMATCH",
        "ALREADY_MAPPED",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY"
    ];
    readonly 'PageTablePart.detach': readonly [
        "PART_NOT_ATTACHED",
        "BUS_ERROR",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageTablePart.destroy': readonly [
        "PART_IN_USE",
        "BUS_ERROR",
        "DESTROYED",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly selfMap: readonly [
        "INVALID_SELF_MAP"
    ];
    readonly 'SelfMap.entryAddress': readonly [
        "NON_CANONICAL",
        "INVALID_SELF_MAP"
    ];
    readonly 'SelfMap.tableAddress': readonly [
        "NON_CANONICAL",
        "INVALID_SELF_MAP"
    ];
    readonly decodeEntry: readonly [
        "INVALID_CONFIG",
        "INVALID_ENTRY"
    ];
    readonly encodeEntry: readonly [
        "INVALID_CONFIG",
        "INVALID_ENTRY",
        "INVALID_FLAGS",
        "OUTSIDE_PHYSICAL_RANGE",
        "MISALIGNED",
        "NO_ENCRYPTION"
    ];
    readonly reservedBits: readonly [
        "INVALID_CONFIG",
        "INVALID_ENTRY"
    ];
    readonly nameEntry: readonly [
        "INVALID_CONFIG",
        "INVALID_ENTRY"
    ];
    readonly leafFlags: readonly [
        "INVALID_FLAGS",
        "INVALID_ENTRY"
    ];
    readonly tableFlags: readonly [
        "INVALID_FLAGS"
    ];
    readonly leafBits: readonly [
        "INVALID_FLAGS",
        "INVALID_ENTRY"
    ];
    readonly tableBits: readonly [
        "INVALID_FLAGS"
    ];
    readonly pagingConfig: readonly [
        "INVALID_CONFIG"
    ];
    readonly pagingConfigFromRegisters: readonly [
        "INVALID_CONFIG"
    ];
    readonly processorFeatures: readonly [
        "INVALID_CONFIG"
    ];
    readonly cpuState: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly cpuStateFromRegisters: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly controlState: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly setCr0: readonly [
        "INVALID_CPU_STATE",
        "INVALID_CONFIG"
    ];
    readonly setCr3: readonly [
        "INVALID_CPU_STATE",
        "INVALID_CONFIG"
    ];
    readonly setCr4: readonly [
        "INVALID_CPU_STATE",
        "INVALID_CONFIG"
    ];
    readonly writeEfer: readonly [
        "INVALID_CPU_STATE",
        "INVALID_CONFIG"
    ];
    readonly processorMode: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly pagingMode: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly currentPcid: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly decodePat: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly encodePat: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly patIndex: readonly [
        "INVALID_ENTRY"
    ];
    readonly tablePatIndex: readonly [
        "INVALID_ENTRY"
    ];
    readonly decodeMtrrs: readonly [
        "INVALID_CONFIG",
        "INVALID_CPU_STATE"
    ];
    readonly encodeVariableMtrr: readonly [
        "INVALID_CONFIG",
        "INVALID_CPU_STATE"
    ];
    readonly mtrrType: readonly [
        "INVALID_CPU_STATE",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_PAGE_SIZE"
    ];
    readonly accessTarget: readonly [
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_CPU_STATE"
    ];
    readonly combineMemoryTypes: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly combineGuestAndHostTypes: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly cacheControl: readonly [
        "INVALID_CPU_STATE"
    ];
    readonly memoryTypesOf: readonly [
        "INVALID_ARGUMENT",
        "INVALID_CPU_STATE",
        "INVALID_ENTRY",
        "INVALID_PAGE_SIZE",
        "OUTSIDE_PHYSICAL_RANGE"
    ];
    readonly tableMemoryTypesOf: readonly [
        "INVALID_ENTRY",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_CPU_STATE"
    ];
    readonly nestedMemoryTypesOf: readonly [
        "INVALID_ARGUMENT",
        "INVALID_ENTRY",
        "INVALID_PAGE_SIZE",
        "OUTSIDE_PHYSICAL_RANGE",
        "INVALID_CPU_STATE"
    ];
    readonly createPhysMemory: readonly [
        "INVALID_MEMORY"
    ];
    readonly 'PhysMemory.words': readonly [
        "BUS_ERROR",
        "READ_ONLY"
    ];
    readonly readPhys: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR"
    ];
    readonly readPhys8: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR"
    ];
    readonly readPhys16: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR"
    ];
    readonly readPhys32: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR"
    ];
    readonly readPhys64: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR"
    ];
    readonly writePhys: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR",
        "READ_ONLY"
    ];
    readonly writePhys8: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR",
        "READ_ONLY"
    ];
    readonly writePhys16: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR",
        "READ_ONLY"
    ];
    readonly writePhys32: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR",
        "READ_ONLY"
    ];
    readonly writePhys64: readonly [
        "INVALID_ARGUMENT",
        "BUS_ERROR",
        "READ_ONLY"
    ];
    readonly 'PhysMemoryRule.check': readonly [
        "INVALID_ARGUMENT",
        "RULE_BROKEN"
    ];
    readonly 'Tlb.constructor': readonly [
        "INVALID_FLUSH"
    ];
    readonly 'Tlb.lookup': readonly [
        "NON_CANONICAL",
        "BUSY"
    ];
    readonly 'Tlb.insert': readonly [
        "INVALID_ARGUMENT",
        "NON_CANONICAL",
        "BUSY"
    ];
    readonly 'Tlb.needsFlush': readonly [
        "INVALID_FLUSH",
        "NON_CANONICAL"
    ];
    readonly 'Tlb.forPcid': readonly [
        "INVALID_FLUSH"
    ];
    readonly 'Tlb.flushPage': readonly [
        "NON_CANONICAL",
        "BUSY"
    ];
    readonly 'Tlb.flushPageOf': readonly [
        "INVALID_FLUSH",
        "NON_CANONICAL",
        "BUSY"
    ];
    readonly 'Tlb.flushNonGlobal': readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly 'Tlb.flushRange': readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly 'Tlb.flushPending': readonly [
        "BUSY"
    ];
    readonly 'Tlb.flushAll': readonly [
        "BUSY"
    ];
    readonly 'Tlb.loadCr3': readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly 'Tlb.setGlobalPages': readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly 'Tlb.setSmep': readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly 'Tlb.setPcids': readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly invpcid: readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly invlpgb: readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly applyTlbControl: readonly [
        "INVALID_FLUSH",
        "BUSY"
    ];
    readonly isPageTableError: readonly [
    ];
};

// .
export declare const EferFlags: {
    readonly Lme: 256n;
    readonly Lma: 1024n;
    readonly Nxe: 2048n;
};

// .
export type EffectiveMemoryType = MtrrType | 'CD' | 'WC+';

// .
export type EntryErrorCode = CodeOf<'decodeEntry' | 'encodeEntry' | 'reservedBits' | 'nameEntry' | 'leafFlags' | 'tableFlags' | 'leafBits'>;

// .
export interface EntryFields {
    readonly address: PhysAddr;
    readonly flags: number;
    readonly shared?: boolean;
    readonly leaf?: boolean;
}

// .
export type EntryFlags<Place extends LeafLevel | 'table' = LeafLevel> = number & {
    readonly '__entryFlags:@svsm/pagetable'?: (place: Place) => void;
};

// .
export interface EntryUpdate {
    readonly paddr: PhysAddr;
    readonly entry: bigint;
}

// .
export declare const FIXED_MTRRS: readonly FixedMtrr[];

// .
export interface FixedMtrr {
    readonly name: string;
    readonly msr: number;
    readonly start: number;
    readonly size: number;
}

// .
export interface FixedRange {
    readonly start: number;
    readonly size: number;
    readonly type: MtrrType;
    readonly readsMemory: boolean;
    readonly writesMemory: boolean;
}

// .
export interface FlagChange {
    readonly set?: EntryFlags<0>;
    readonly clear?: EntryFlags<0>;
}

// .
export type FlushErrorCode = CodeOf<'Tlb.constructor' | 'Tlb.lookup' | 'Tlb.insert' | 'Tlb.needsFlush' | 'Tlb.forPcid' | 'Tlb.flushPage' | 'Tlb.flushPageOf' | 'Tlb.flushNonGlobal' | 'Tlb.flushRange' | 'Tlb.loadCr3' | 'invpcid' | 'invlpgb'>;

// .
export interface FlushRange {
    readonly start?: VirtAddr;
    readonly pages?: number;
    readonly stride?: PageSize;
    readonly pcid?: number;
    readonly includeGlobal?: boolean;
}

// .
export interface FrameAllocator {
    allocateFrame(): PhysAddr;
    freeFrame(frame: PhysAddr): void;
}

// .
export interface GuestCacheControl {
    readonly pat?: bigint;
    readonly cr0?: bigint;
    readonly snp?: boolean;
}

// .
export type InvalidationResult = {
    readonly type: 'done';
} | AccessGeneralProtection;

// .
export interface InvlpgbContext {
    readonly asid?: number;
    readonly maxCount?: number;
    readonly asids?: number;
}

// .
export declare const InvlpgbFlag: {
    readonly Va: 1n;
    readonly Pcid: 2n;
    readonly Asid: 4n;
    readonly IncludeGlobal: 8n;
    readonly FinalOnly: 16n;
    readonly IncludeNested: 32n;
};

// .
export interface InvlpgbRegisters {
    readonly rax: bigint;
    readonly ecx: number;
    readonly edx: number;
}

// .
export interface InvpcidDescriptor {
    readonly pcid: number;
    readonly vaddr?: VirtAddr;
}

// .
export interface LeafBits extends TableBits {
    readonly dirty: boolean;
    readonly global: boolean;
    readonly pat: boolean;
    readonly protectionKey: number;
}

// .
export type LeafLevel = 0 | 1 | 2;

// .
export type ListingErrorCode = CodeOf<'PageMapper.mappings' | 'PageMapper.leaves'>;

// .
export interface ListingFaultPlace {
    readonly vaddr: VirtAddr;
    readonly level: number;
}

// .
export interface ListingOptions {
    readonly within?: VirtBounds;
    readonly onFault?: OnListingFault;
}

// .
export type LookupErrorCode = CodeOf<'PageMapper.translate' | 'PageMapper.frameAt' | 'PageMapper.lookup' | 'PageMapper.walk'>;

// .
export type MapErrorCode = CodeOf<'PageMapper.map4k' | 'PageMapper.map2m' | 'PageMapper.map1g' | 'PageMapper.mapRegion'>;

// .
export interface MapOptions {
    readonly shared?: boolean;
    readonly remap?: boolean;
}

// .
export interface MapRegionOptions extends MapOptions {
    readonly pageSize?: PageSize;
}

// .
export interface MappedLeaf extends Omit<MappedPage, 'paddr'> {
    readonly vaddr: VirtAddr;
}

// .
export interface MappedPage {
    readonly size: PageSize;
    readonly frame: PhysAddr;
    readonly paddr: PhysAddr;
    readonly shared: boolean;
    readonly flags: number;
    readonly writable: boolean;
    readonly user: boolean;
    readonly executable: boolean;
    readonly shadowStack: boolean;
}

// .
export interface Mapping {
    readonly region: MemoryRegion<VirtAddr>;
    readonly paddr: PhysAddr;
    readonly pageSize: PageSize;
    readonly writable: boolean;
    readonly user: boolean;
    readonly executable: boolean;
    readonly shared: boolean;
}

// .
export interface MemoryEncryption {
    readonly mode: 'c-bit' | 'vtom';
    readonly bit: number;
}

// .
export type MemoryType = 'UC' | 'WC' | 'WT' | 'WP' | 'WB' | 'UC-';

// .
export declare const MemoryTypeCode: {
    readonly UC: 0;
    readonly WC: 1;
    readonly WT: 4;
    readonly WP: 5;
    readonly WB: 6;
    readonly 'UC-': 7;
};

// .
export type MemoryTypeErrorCode = CodeOf<'decodePat' | 'encodePat' | 'patIndex' | 'tablePatIndex' | 'decodeMtrrs' | 'encodeVariableMtrr' | 'mtrrType' | 'accessTarget' | 'combineMemoryTypes' | 'combineGuestAndHostTypes' | 'cacheControl' | 'memoryTypesOf' | 'tableMemoryTypesOf' | 'nestedMemoryTypesOf'>;

// .
export interface MemoryTypes {
    readonly pat: MemoryType | undefined;
    readonly mtrr: MtrrVerdict;
    readonly effective: EffectiveMemoryType | 'unspecified';
}

// .
export type MixedPageEffect = 'unspecified' | 'split' | 'conservative';

// .
export interface MtrrRegisters {
    readonly cap?: bigint;
    readonly defType: bigint;
    readonly fixed?: readonly bigint[];
    readonly variable?: readonly VariableMtrr[];
    readonly syscfg?: bigint;
    readonly topMem?: bigint;
    readonly topMem2?: bigint;
}

// .
export type MtrrType = Exclude<MemoryType, 'UC-'>;

// .
export type MtrrVerdict = MtrrType | 'conflict' | 'mixed';

// .
export interface Mtrrs {
    readonly end: bigint;
    readonly vendor: PagingConfig['vendor'];
    readonly enabled: boolean;
    readonly defaultType: MtrrType;
    readonly fixedEnabled: boolean;
    readonly fixed: readonly FixedRange[];
    readonly variable: readonly VariableRange[];
    readonly fixedTargets: boolean;
    readonly topMem: bigint | undefined;
    readonly topMem2: bigint | undefined;
    readonly forcesWriteBack: boolean;
}

// .
export type NamedEntry = {
    readonly kind: 'absent';
    readonly level: number;
} | (TableBits & {
    readonly kind: 'table';
    readonly level: number;
    readonly address: PhysAddr;
}) | (LeafBits & {
    readonly kind: 'page';
    readonly level: LeafLevel;
    readonly size: PageSize;
    readonly address: PhysAddr;
    readonly shared: boolean;
});

// .
export interface NestedMemoryTypes {
    readonly guest: MemoryType | undefined;
    readonly host: MemoryType;
    readonly combined: CombinedPatType;
    readonly mtrr: MtrrVerdict;
    readonly effective: EffectiveMemoryType | 'unspecified';
}

// .
export type OnListingFault = (fault: PageTableError<'RESERVED_BITS'> | PageTableError<'BUS_ERROR'>, place: ListingFaultPlace) => void;

// .
export declare const PAT_RESET = 1974748653749254n;

// .
export declare const PHYS_MEMORY_RULES: readonly PhysMemoryRule[];

// .
export declare const PageFaultCode: {
    readonly Present: 1;
    readonly Write: 2;
    readonly User: 4;
    readonly Reserved: 8;
    readonly Fetch: 16;
    readonly ProtectionKey: 32;
    readonly ShadowStack: 64;
    readonly Rmp: 2147483648;
};

// . (type only)
export declare abstract class PageMapper {
    readonly config: PagingConfig;
    protected constructor(owner: unknown);
    map4k(vaddr: VirtPage, paddr: PhysPage, flags: EntryFlags<0>, options?: MapOptions): void;
    map2m(vaddr: VirtPage, paddr: PhysPage, flags: EntryFlags<1>, options?: MapOptions): void;
    map1g(vaddr: VirtPage, paddr: PhysPage, flags: EntryFlags<2>, options?: MapOptions): void;
    unmap4k(vaddr: VirtPage): PageTableEntry;
    unmap2m(vaddr: VirtPage): PageTableEntry;
    unmap1g(vaddr: VirtPage): PageTableEntry;
    setShared4k(vaddr: VirtPage): void;
    setEncrypted4k(vaddr: VirtPage): void;
    mapRegion(region: VirtBounds, paddr: PhysPage, flags: EntryFlags<0>, options?: MapRegionOptions): void;
    unmapRegion(region: VirtBounds, options?: UnmapRegionOptions): void;
    protectRegion(region: VirtBounds, change: FlagChange): void;
    protect4k(vaddr: VirtPage, change: FlagChange): void;
    setSharedRegion(region: VirtBounds): void;
    setEncryptedRegion(region: VirtBounds): void;
    split4k(vaddr: VirtPage): void;
    split2m(vaddr: VirtPage): void;
    collapse(vaddr: VirtPage, largest?: PageSize): PageSize;
    countTables(): number;
    translate(vaddr: VirtPage): PhysAddr | undefined;
    frameAt(vaddr: VirtPage): number | undefined;
    lookup(vaddr: VirtPage): MappedPage | undefined;
    walk(vaddr: VirtPage): Walk;
    mappings(options?: ListingOptions): Generator<Mapping, undefined, undefined>;
    leaves(options?: ListingOptions): Generator<MappedLeaf, undefined, undefined>;
}

// .
export declare class PageTable extends PageMapper {
    readonly root: PhysAddr;
    readonly selfMap: SelfMap | undefined;
    private constructor();
    static create(options: PageTableOptions): PageTable;
    static open(root: PhysAddr, options: PageTableOptions): PageTable;
    get cr3(): bigint;
    access(vaddr: VirtPage, kind: AccessKind, cpu?: CpuState, options?: AccessOptions): AccessResult;
    cloneShared(entries: readonly number[]): PageTable;
    destroy(): void;
}

// .
export interface PageTableEntry {
    readonly raw: bigint;
    readonly present: boolean;
    readonly leaf: boolean;
    readonly address: PhysAddr;
    readonly flags: number;
    readonly shared: boolean;
}

// .
export declare class PageTableError<Code extends PageTableErrorCode = PageTableErrorCode> extends CodedError<Code, PageTableErrorDetails[Code]> {
    constructor(code: Code, details: PageTableErrorDetails[Code], options?: ErrorOptions);
}

// .
export type PageTableErrorCode = keyof PageTableErrorDetails;

// .
export interface PageTableErrorDetails {
    BUS_ERROR: {
        paddr: bigint;
        memory: string;
    };
    READ_ONLY: {
        paddr: bigint;
    };
    RULE_BROKEN: {
        rule: string;
        found: string;
    };
    INVALID_MEMORY: {
        value: unknown;
        problem: string;
    };
    INVALID_ARGUMENT: {
        what: string;
        value: unknown;
        expected: string;
    };
    INVALID_CONFIG: {
        field: string;
        value: unknown;
        expected: string;
    };
    NON_CANONICAL: {
        vaddr: unknown;
        levels: number;
    };
    MISALIGNED: {
        what: 'virtual' | 'physical';
        address: bigint;
        pageSize: PageSize;
    };
    OUTSIDE_PHYSICAL_RANGE: {
        paddr: unknown;
        end: bigint;
    };
    INVALID_FLAGS: {
        flags: unknown;
        refused: number;
        reason: string;
    };
    NOT_MAPPED: {
        vaddr: bigint;
        level: number;
    };
    ALREADY_MAPPED: {
        vaddr: bigint;
        level: number;
        entry: bigint;
    };
    PAGE_SIZE_MISMATCH: {
        vaddr: bigint;
        expected: PageSize;
        found: PageSize;
    };
    RESERVED_BITS: {
        vaddr: bigint;
        level: number;
        paddr: bigint;
        entry: bigint;
        reserved: bigint;
    };
    OUT_OF_MEMORY: {
        needed: number;
    };
    NO_FRAME_ALLOCATOR: {
        operation: string;
    };
    INVALID_FRAME: {
        frame: unknown;
        problem: string;
    };
    NO_ENCRYPTION: {
        operation: string;
    };
    INVALID_PAGE_SIZE: {
        pageSize: unknown;
        giantPages: boolean;
    };
    ALIASED_TABLE: {
        vaddr: bigint;
        table: bigint;
    };
    DESTROYED: {
        root: bigint;
    };
    INVALID_SELF_MAP: {
        value: unknown;
        problem: string;
    };
    INVALID_ROOT_ENTRY: {
        index: unknown;
        problem: string;
    };
    OUTSIDE_PART: {
        vaddr: bigint;
        index: number;
    };
    PART_BOUNDARY: {
        vaddr: bigint;
        index: number;
    };
    PART_MISMATCH: {
        problem: string;
    };
    PART_NOT_ATTACHED: {
        index: number;
    };
    PART_IN_USE: {
        index: number;
        tables: number;
    };
    INVALID_ENTRY: {
        value: unknown;
        problem: string;
    };
    INVALID_CPU_STATE: {
        field: string;
        value: unknown;
        expected: string;
    };
    INVALID_FLUSH: {
        field: string;
        value: unknown;
        expected: string;
    };
    INVALID_ACCESS: {
        kind: unknown;
        problem?: string;
    };
    BUSY: {
        during: string;
    };
    CALLBACK_FAILED: {
        operation: string;
        callback: string;
    };
}

// .
export interface PageTableOptions {
    readonly memory: PhysMemory;
    readonly frames?: FrameAllocator;
    readonly config?: PagingConfig;
    readonly tlb?: TlbListener;
    readonly selfMap?: number;
    readonly freeEmptyTables?: boolean;
}

// .
export declare class PageTablePart extends PageMapper {
    readonly index: number;
    readonly root: PhysAddr;
    readonly region: MemoryRegion<VirtAddr>;
    private constructor();
    static create(index: number, options: PageTablePartOptions): PageTablePart;
    get tables(): readonly PageTable[];
    attach(table: PageTable): void;
    detach(table: PageTable): void;
    destroy(): void;
}

// .
export type PageTablePartOptions = Omit<PageTableOptions, 'tlb' | 'selfMap'>;

// .
export interface PagingConfig {
    readonly levels: 4 | 5;
    readonly physicalBits: number;
    readonly encryption: MemoryEncryption | undefined;
    readonly noExecute: boolean;
    readonly globalPages: boolean;
    readonly giantPages: boolean;
    readonly vendor: 'amd' | 'intel';
}

// .
export type PagingMode = 'none' | '32-bit' | 'pae' | '4-level' | '5-level';

// .
export interface PagingOptions extends Partial<Omit<PagingConfig, 'encryption'>> {
    readonly encryption?: MemoryEncryption | undefined;
    readonly cBit?: number;
}

// .
export interface PagingRegisters {
    readonly cr4: bigint;
    readonly efer?: bigint;
}

// .
export type PartErrorCode = CodeOf<'PageTablePart.create' | 'PageTablePart.attach' | 'PageTablePart.detach' | 'PageTablePart.destroy'>;

// .
export type Pat = readonly [
    MemoryType,
    MemoryType,
    MemoryType,
    MemoryType,
    MemoryType,
    MemoryType,
    MemoryType,
    MemoryType
];

// .
export interface PhysMemory {
    readonly epoch: number;
    words(frame: number, write: boolean): Uint32Array;
    wordOffset(frame: number): number;
}

// .
export type PhysMemoryErrorCode = CodeOf<'createPhysMemory' | 'PhysMemory.words' | 'readPhys' | 'readPhys8' | 'readPhys16' | 'readPhys32' | 'readPhys64' | 'writePhys' | 'writePhys8' | 'writePhys16' | 'writePhys32' | 'writePhys64'>;

// .
export type PhysMemoryOptions = {
    readonly size: Bytes;
    readonly start?: PhysAddr;
} | {
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    readonly start?: PhysAddr;
    readonly exclusive?: boolean;
} | {
    readonly regions: Iterable<MemoryRegion<PhysAddr>>;
} | {
    readonly readFrame: ReadFrame;
    readonly cachedFrames?: number;
};

// .
export interface PhysMemoryRule {
    readonly name: string;
    check(subject: PhysMemorySubject): void;
}

// .
export interface PhysMemorySubject {
    readonly memory: PhysMemory;
    readonly start: PhysAddr;
    readonly outside: PhysAddr;
    readonly writable: boolean;
}

// .
export interface ProcessorFeatures {
    readonly vendor: 'amd' | 'intel';
    readonly physicalBits: number;
    readonly cr4Mask: bigint;
    readonly eferMask: bigint;
    readonly cBit?: number;
    readonly lmaWrites: 'ignored' | 'checked';
}

// .
export type ProcessorMode = 'real' | 'protected' | 'compatibility' | '64-bit';

// .
export type ProtectErrorCode = CodeOf<'PageMapper.protect4k' | 'PageMapper.protectRegion'>;

// .
export declare const PteFlags: {
    readonly Present: 1;
    readonly Writable: 2;
    readonly User: 4;
    readonly WriteThrough: 8;
    readonly CacheDisable: 16;
    readonly Accessed: 32;
    readonly Dirty: 64;
    readonly Large: EntryFlags<1 | 2>;
    readonly Pat: EntryFlags<0>;
    readonly Global: 256;
    readonly Software9: 512;
    readonly Software10: 1024;
    readonly Software11: 2048;
    readonly PatLarge: EntryFlags<1 | 2>;
    readonly Software52: 1048576;
    readonly SoftwareHigh: 133169152;
    readonly ProtectionKey: 2013265920;
    readonly NoExecute: 2147483648;
};

// .
export declare const PtePreset: {
    readonly Data: 2147484003;
    readonly ReadOnly: 2147483937;
    readonly Code: 289;
};

// .
export type ReadFrame = (frame: number, bytes: Uint8Array) => boolean;

// .
export type ReadPdpte = (paddr: PhysAddr) => bigint;

// .
export interface SelfMap {
    readonly index: number;
    readonly region: MemoryRegion<VirtAddr>;
    entryAddress(vaddr: VirtAddr, level?: number): VirtAddr;
    tableAddress(vaddr: VirtAddr, level?: number): VirtAddr;
}

// .
export type SelfMapErrorCode = CodeOf<'selfMap' | 'SelfMap.entryAddress' | 'SelfMap.tableAddress'>;

// .
export type SetSharedErrorCode = CodeOf<'PageMapper.setShared4k' | 'PageMapper.setEncrypted4k' | 'PageMapper.setSharedRegion' | 'PageMapper.setEncryptedRegion'>;

// .
export type SplitErrorCode = CodeOf<'PageMapper.split4k' | 'PageMapper.split2m'>;

// .
export interface TableBits {
    readonly present: boolean;
    readonly writable: boolean;
    readonly user: boolean;
    readonly writeThrough: boolean;
    readonly cacheDisable: boolean;
    readonly accessed: boolean;
    readonly softwareLow: number;
    readonly softwareHigh: number;
    readonly noExecute: boolean;
}

// .
export declare class Tlb implements TlbListener {
    constructor(options?: TlbOptions);
    get levels(): 4 | 5;
    get changes(): number;
    get pcid(): number;
    lookup(vaddr: VirtPage): TlbEntry | undefined;
    insert(vaddr: VirtPage, page: MappedPage): void;
    get pending(): readonly MemoryRegion<VirtAddr>[];
    needsFlush(start: VirtAddr, bytes: number, operation?: string): void;
    forPcid(pcid: number): TlbListener;
    flushPage(vaddr: VirtPage): void;
    flushRange(range: FlushRange): void;
    loadCr3(load?: {
        readonly pcid?: number;
        readonly keep?: boolean;
    }): void;
    flushPageOf(pcid: number, vaddr: VirtPage): void;
    flushNonGlobal(pcid?: number): void;
    setGlobalPages(enabled: boolean): void;
    setSmep(enabled: boolean): void;
    setPcids(enabled: boolean): void;
    get pcids(): boolean;
    flushPending(): boolean;
    flushAll(): void;
}

// .
export declare const TlbControl: {
    readonly None: 0;
    readonly FlushAll: 1;
    readonly FlushGuest: 3;
    readonly FlushGuestNonGlobal: 7;
};

// .
export interface TlbEntry {
    readonly region: MemoryRegion<VirtAddr>;
    readonly page: MappedPage;
    readonly pcid: number;
    readonly isGlobal: boolean;
    readonly isStale: boolean;
    readonly staleBy: string | undefined;
}

// .
export interface TlbFlush {
    readonly pcid: number | undefined;
    readonly includeGlobal: boolean;
}

// .
export interface TlbListener {
    needsFlush(start: VirtAddr, bytes: number, operation: string): void;
}

// .
export interface TlbOptions {
    readonly onStaleUse?: (entry: TlbEntry, vaddr: VirtAddr) => void;
    readonly fullFlushThreshold?: number;
    readonly globalPages?: boolean;
    readonly smep?: boolean;
    readonly pcids?: boolean;
    readonly levels?: 4 | 5;
}

// .
export interface TypedPage {
    readonly flags: number;
    readonly size: PageSize;
    readonly paddr: PhysAddr;
}

// .
export type UnmapErrorCode = CodeOf<'PageMapper.unmap4k' | 'PageMapper.unmap2m' | 'PageMapper.unmap1g' | 'PageMapper.unmapRegion'>;

// .
export interface UnmapRegionOptions {
    readonly allowHoles?: boolean;
}

// .
export interface VariableMtrr {
    readonly base: bigint;
    readonly mask: bigint;
}

// .
export interface VariableRange {
    readonly base: PhysAddr;
    readonly mask: bigint;
    readonly type: MtrrType;
}

// .
export interface VirtBounds {
    readonly start: VirtAddr;
    readonly end: bigint;
}

// .
export interface Walk {
    readonly vaddr: VirtAddr;
    readonly path: readonly WalkStep[];
    readonly page: MappedPage | undefined;
}

// .
export interface WalkStep {
    readonly level: number;
    readonly table: PhysAddr;
    readonly index: number;
    readonly entry: PageTableEntry;
}

// .
export declare function accessTarget(mtrrs: Mtrrs, paddr: PhysAddr): AccessTarget;

// .
export declare function allowsAccess(page: MappedPage, kind: AccessKind, cpu: CpuState, options?: Pick<AccessOptions, 'implicit' | 'shadowStack'>): boolean;

// .
export declare function applyTlbControl(tlb: Tlb, control: number, isSnpGuest?: boolean): boolean;

// .
export declare function cacheControl(options: CacheControlOptions): CacheControl;

// .
export declare function combineGuestAndHostTypes(guest: MemoryType, host: MemoryType): CombinedPatType;

// .
export declare function combineMemoryTypes(pat: CombinedPatType, mtrr: MtrrType, vendor: PagingConfig['vendor']): EffectiveMemoryType;

// .
export declare function controlState(options?: Partial<ControlState>): ControlState;

// .
export declare function cpuState(options?: Partial<CpuState>): CpuState;

// .
export declare function cpuStateFromRegisters(registers: CpuRegisters): CpuState;

// .
export declare function createPhysMemory(options: PhysMemoryOptions): PhysMemory;

// .
export declare function currentPcid(state: ControlState): number;

// .
export declare function decodeEntry(entry: bigint, level: number, config: PagingConfig): PageTableEntry;

// .
export declare function decodeMtrrs(registers: MtrrRegisters, config?: PagingConfig): Mtrrs;

// .
export declare function decodePat(msr: bigint): Pat;

// .
export declare function encodeEntry(fields: EntryFields, level: number, config: PagingConfig): bigint;

// .
export declare function encodePat(types: Pat): bigint;

// .
export declare function encodeVariableMtrr(start: PhysAddr, size: number | bigint, type: MtrrType, config?: PagingConfig): VariableMtrr;

// .
export declare function invlpgb(tlb: Tlb, registers: InvlpgbRegisters, context?: InvlpgbContext): InvalidationResult;

// .
export declare function invpcid(tlb: Tlb, type: number, descriptor: InvpcidDescriptor): InvalidationResult;

// .
export declare function isPageTableError<Code extends PageTableErrorCode = PageTableErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: PageTableError<C>;
}[Code];

// .
export declare function leafBits(flags: number, level: LeafLevel): LeafBits;

// .
export declare function leafFlags<Level extends LeafLevel>(level: Level, bits?: Partial<LeafBits>): EntryFlags<Level>;

// .
export declare function maskAddress(vaddr: VirtAddr, cpu: CpuState, levels: 4 | 5): VirtAddr | undefined;

// .
export declare function memoryTypesOf(page: TypedPage, control: CacheControl): MemoryTypes;

// .
export declare function mtrrType(mtrrs: Mtrrs, paddr: PhysAddr, size?: PageSize): MtrrVerdict;

// .
export declare function nameEntry(entry: bigint, level: number, config: PagingConfig): NamedEntry;

// .
export declare function nestedMemoryTypesOf(guest: Pick<TypedPage, 'flags' | 'size'>, nested: TypedPage, guestControl: GuestCacheControl, control: CacheControl): NestedMemoryTypes;

// .
export declare function pagingConfig(options?: PagingOptions): PagingConfig;

// .
export declare function pagingConfigFromRegisters(registers: PagingRegisters, options?: PagingOptions): PagingConfig;

// .
export declare function pagingMode(state: ControlState): PagingMode;

// .
export declare function patIndex(flags: number, level: LeafLevel): number;

// .
export declare function processorFeatures(options?: Partial<ProcessorFeatures>): ProcessorFeatures;

// .
export declare function processorMode(state: ControlState): ProcessorMode;

// .
export declare function readPhys(memory: PhysMemory, paddr: PhysAddr, length: number): Uint8Array;

// .
export declare function readPhys16(memory: PhysMemory, paddr: PhysAddr): number;

// .
export declare function readPhys32(memory: PhysMemory, paddr: PhysAddr): number;

// .
export declare function readPhys64(memory: PhysMemory, paddr: PhysAddr): bigint;

// .
export declare function readPhys8(memory: PhysMemory, paddr: PhysAddr): number;

// .
export declare function reservedBits(entry: bigint, level: number, config: PagingConfig): bigint;

// .
export declare function selfMap(index: number, levels?: 4 | 5): SelfMap;

// .
export declare function setCr0(state: ControlState, value: bigint, cpu: ProcessorFeatures, readPdpte?: ReadPdpte): ControlWrite;

// .
export declare function setCr3(state: ControlState, value: bigint, cpu: ProcessorFeatures, readPdpte?: ReadPdpte): ControlWrite;

// .
export declare function setCr4(state: ControlState, value: bigint, cpu: ProcessorFeatures, readPdpte?: ReadPdpte): ControlWrite;

// .
export declare function tableBits(flags: number): TableBits;

// .
export declare function tableFlags(bits?: Partial<TableBits>): EntryFlags<'table'>;

// .
export declare function tableMemoryTypesOf(flags: number, table: PhysAddr, control: CacheControl): MemoryTypes;

// .
export declare function tablePatIndex(flags: number): number;

// .
export declare function writeEfer(state: ControlState, value: bigint, cpu: ProcessorFeatures): ControlWrite;

// .
export declare function writePhys(memory: PhysMemory, paddr: PhysAddr, bytes: Uint8Array): void;

// .
export declare function writePhys16(memory: PhysMemory, paddr: PhysAddr, value: number): void;

// .
export declare function writePhys32(memory: PhysMemory, paddr: PhysAddr, value: number): void;

// .
export declare function writePhys64(memory: PhysMemory, paddr: PhysAddr, value: bigint): void;

// .
export declare function writePhys8(memory: PhysMemory, paddr: PhysAddr, value: number): void;
