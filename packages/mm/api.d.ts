// The public declarations of @svsm/mm: npm run api records them. Above each is its entry point.

import type { Address, Bytes, CodedError, PageSize, PhysAddr, VirtAddr } from '@svsm/address';

import type { HeapAllocator, PageAllocator } from '@svsm/buddy-alloc';

import type { MemoryRegion, RegionSet } from '@svsm/memory-region';

import type { AccessKind, CpuState, FrameAllocator, PageMapper, PageTable, PageTablePart, PageTablePartOptions, PagingConfig, PhysMemory, Tlb } from '@svsm/pagetable';

import type { CallingArea, Ghcb, Guest, GuestContext, GuestPageAccess, PageValidator, SvsmCore, SvsmMemory, SvsmRegisters, SvsmState, ValidatedPages, Vcpu, Vmpl } from '@svsm/sev-snp';

// ., ./layout
export interface AddressSpaceLayout {
    readonly levels: 4 | 5;
    readonly slots: LayoutSlots;
    readonly image: MemoryRegion<VirtAddr>;
    readonly heap: MemoryRegion<VirtAddr>;
    readonly globalMappings: {
        readonly small: MemoryRegion<VirtAddr>;
        readonly huge: MemoryRegion<VirtAddr>;
    };
    readonly perCpu: PerCpuLayout;
    readonly perTask: MemoryRegion<VirtAddr>;
    readonly user: MemoryRegion<VirtAddr>;
}

// ., ./formats
export declare const BOOT_STEPS: readonly [
    "features",
    "paging",
    "memory-map",
    "kernel-mapping",
    "heap",
    "root-memory",
    "validity-record",
    "global-ranges",
    "cpus",
    "read-only",
    "early-memory"
];

// ., ./formats
export type BootErrorCode = CodeOf<'Svsm.boot'>;

// ., ./boot
export interface BootOptions {
    readonly guest: Guest;
    readonly memory: Iterable<MemoryMapEntry>;
    readonly own: MemoryRegion<PhysAddr>;
    readonly image?: ImageSizes;
    readonly validated?: Iterable<MemoryRegion<PhysAddr>>;
    readonly early?: Iterable<MemoryRegion<PhysAddr>>;
    readonly startsShared?: boolean;
    readonly layout?: AddressSpaceLayout;
    readonly cpus?: number | readonly number[];
    readonly requiredFeatures?: bigint;
    readonly entriesPerCall?: number;
    readonly createVcpu?: (apicId: number) => Vcpu;
    readonly flush?: Omit<ShootDownOptions, 'trace'>;
    readonly trace?: MmTrace;
}

// ., ./formats
export type BootStep = (typeof BOOT_STEPS)[number];

// ., ./layout
export declare const COCONUT_LAYOUT: AddressSpaceLayout;

// ., ./guest
export interface CallerOptions {
    readonly cpu?: PerCpu | number;
    readonly vmsa?: PhysAddr;
}

// not exported
type Checked<Table extends Readonly<Record<string, readonly MmErrorCode[]>>> = Table;

// not exported
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

// ., ./layout
export declare class DirectMap {
    readonly virt: MemoryRegion<VirtAddr>;
    readonly phys: MemoryRegion<PhysAddr>;
    constructor(virt: MemoryRegion<VirtAddr>, phys: MemoryRegion<PhysAddr>);
    toPhys(vaddr: VirtAddr): PhysAddr;
    toVirt(paddr: PhysAddr): VirtAddr;
    physOf(value: MemoryRegion<VirtAddr>): MemoryRegion<PhysAddr>;
    virtOf(value: MemoryRegion<PhysAddr>): MemoryRegion<VirtAddr>;
    framesOf(pages: PageAllocator<VirtAddr>): FrameAllocator;
}

// ., ./formats
export type DirectMapErrorCode = CodeOf<'DirectMap' | 'DirectMap.toPhys' | 'DirectMap.toVirt' | 'DirectMap.physOf' | 'DirectMap.virtOf'>;

// not exported
export declare const ERRORS_OF: {
    readonly addressSpaceLayout: readonly [
        "INVALID_ARGUMENT",
        "INVALID_LAYOUT"
    ];
    readonly renderLayout: readonly [
        "INVALID_ARGUMENT",
        "INVALID_LAYOUT"
    ];
    readonly slotRegion: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly MemoryMap: readonly [
        "INVALID_ARGUMENT",
        "INVALID_MEMORY_MAP"
    ];
    readonly 'MemoryMap.registerVmsa': readonly [
        "INVALID_ARGUMENT",
        "OVERLAPS_MAPPING",
        "NOT_GUEST_MEMORY"
    ];
    readonly 'MemoryMap.unregisterVmsa': readonly [
        "INVALID_ARGUMENT",
        "NOT_A_MAPPING"
    ];
    readonly 'MemoryMap.kindOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'MemoryMap.isGuest': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'MemoryMap.regionsOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly DirectMap: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'DirectMap.toPhys': readonly [
        "INVALID_ARGUMENT",
        "NOT_DIRECT_MAPPED"
    ];
    readonly 'DirectMap.toVirt': readonly [
        "INVALID_ARGUMENT",
        "NOT_DIRECT_MAPPED"
    ];
    readonly 'DirectMap.physOf': readonly [
        "INVALID_ARGUMENT",
        "NOT_DIRECT_MAPPED"
    ];
    readonly 'DirectMap.virtOf': readonly [
        "INVALID_ARGUMENT",
        "NOT_DIRECT_MAPPED"
    ];
    readonly 'DirectMap.framesOf': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly VirtualRange: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'VirtualRange.allocate': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE"
    ];
    readonly 'VirtualRange.free': readonly [
        "INVALID_ARGUMENT",
        "NOT_A_MAPPING"
    ];
    readonly 'MappingGuard.create': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE"
    ];
    readonly 'MappingGuard.region': readonly [
        "GUARD_RELEASED"
    ];
    readonly 'MappingGuard.read': readonly [
        "INVALID_ARGUMENT",
        "GUARD_RELEASED"
    ];
    readonly 'MappingGuard.write': readonly [
        "INVALID_ARGUMENT",
        "GUARD_RELEASED"
    ];
    readonly 'MappingGuard.leak': readonly [
        "GUARD_RELEASED"
    ];
    readonly PerCpu: readonly [
        "INVALID_LAYOUT",
        "INVALID_ARGUMENT"
    ];
    readonly 'PerCpu.map': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE"
    ];
    readonly ShootDown: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'ShootDown.add': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'ShootDown.remove': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'ShootDown.local': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'ShootDown.broadcast': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly Processors: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Processors.add': readonly [
        "INVALID_ARGUMENT",
        "ALREADY_STARTED"
    ];
    readonly 'Processors.remove': readonly [
        "INVALID_ARGUMENT",
        "NO_SUCH_CPU"
    ];
    readonly 'Processors.get': readonly [
        "INVALID_ARGUMENT",
        "NO_SUCH_CPU"
    ];
    readonly 'Processors.thisCpu': readonly [
        "NO_CURRENT_CPU"
    ];
    readonly 'Processors.on': readonly [
        "INVALID_ARGUMENT",
        "NO_SUCH_CPU"
    ];
    readonly 'PageVisibility.makeShared': readonly [
        "INVALID_ARGUMENT",
        "NOT_ALLOCATED",
        "PAGE_IN_USE",
        "WRONG_VISIBILITY",
        "NO_CURRENT_CPU",
        "VISIBILITY_FAILED"
    ];
    readonly 'PageVisibility.makePrivate': readonly [
        "INVALID_ARGUMENT",
        "NOT_ALLOCATED",
        "PAGE_IN_USE",
        "WRONG_VISIBILITY",
        "NO_CURRENT_CPU",
        "VISIBILITY_FAILED"
    ];
    readonly 'PageVisibility.cpu': readonly [
        "NO_CURRENT_CPU"
    ];
    readonly 'PageVisibility.sharedIn': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'PageVisibility.retryLost': readonly [
        "NO_CURRENT_CPU"
    ];
    readonly 'PageVisibility.allocateShared': readonly [
        "INVALID_ARGUMENT",
        "NO_CURRENT_CPU",
        "VISIBILITY_FAILED"
    ];
    readonly 'PageVisibility.release': readonly [
        "INVALID_ARGUMENT",
        "PAGE_IN_USE",
        "WRONG_VISIBILITY",
        "NO_CURRENT_CPU",
        "VISIBILITY_FAILED"
    ];
    readonly 'PageVisibility.requirePrivate': readonly [
        "PAGE_IN_USE",
        "WRONG_VISIBILITY",
        "NOT_DIRECT_MAPPED"
    ];
    readonly 'PageVisibility.physOf': readonly [
        "NOT_DIRECT_MAPPED"
    ];
    readonly PageVisibility: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'PageVisibility.isAbandoned': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'SharedBox.create': readonly [
        "INVALID_ARGUMENT",
        "NO_CURRENT_CPU",
        "VISIBILITY_FAILED"
    ];
    readonly 'SharedBox.region': readonly [
        "BOX_RELEASED"
    ];
    readonly 'SharedBox.read': readonly [
        "INVALID_ARGUMENT",
        "BOX_RELEASED"
    ];
    readonly 'SharedBox.write': readonly [
        "INVALID_ARGUMENT",
        "BOX_RELEASED"
    ];
    readonly 'SharedBox.clear': readonly [
        "BOX_RELEASED"
    ];
    readonly 'SharedBox.leak': readonly [
        "BOX_RELEASED"
    ];
    readonly 'SharedBox[Symbol.dispose]': readonly [
        "PAGE_IN_USE",
        "WRONG_VISIBILITY",
        "NO_CURRENT_CPU",
        "VISIBILITY_FAILED"
    ];
    readonly GuestVisibility: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GuestVisibility.makeShared': readonly [
        "INVALID_ARGUMENT",
        "WRONG_VISIBILITY",
        "VISIBILITY_FAILED"
    ];
    readonly 'GuestVisibility.makePrivate': readonly [
        "INVALID_ARGUMENT",
        "WRONG_VISIBILITY",
        "VISIBILITY_FAILED"
    ];
    readonly 'mappings.physical': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'mappings.reserved': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'mappings.allocated': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'mappings.kernelStack': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'mappings.file': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly pageStore: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'PagedMapping.copyOnWrite': readonly [
        "FLUSH_FAILED",
        "BUSY"
    ];
    readonly 'PagedMapping[Symbol.dispose]': readonly [
        "MAPPING_IN_USE"
    ];
    readonly 'PagedMapping.frameAt': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'PagedMapping.fault': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly Vmr: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'Vmr.insert': readonly [
        "INVALID_ARGUMENT",
        "OUTSIDE_LAYOUT",
        "NO_VIRTUAL_RANGE",
        "OVERLAPS_MAPPING",
        "MAPPING_IN_USE",
        "FLUSH_FAILED",
        "BUSY"
    ];
    readonly 'Vmr.remove': readonly [
        "NOT_A_MAPPING",
        "FLUSH_FAILED",
        "BUSY"
    ];
    readonly 'Vmr.attach': readonly [
        "INVALID_ARGUMENT",
        "ALREADY_ATTACHED",
        "FLUSH_FAILED",
        "BUSY"
    ];
    readonly 'Vmr.detach': readonly [
        "NOT_ATTACHED",
        "FLUSH_FAILED",
        "BUSY"
    ];
    readonly 'Vmr.handlePageFault': readonly [
        "INVALID_ARGUMENT",
        "FLUSH_FAILED",
        "BUSY"
    ];
    readonly copyFromGuest: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly copyToGuest: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly GuestPtr: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GuestPtr.write': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GuestPtr.at': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GuestPtr.cast': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'guestFormats.bytes': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'guestFormats.struct': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly GuestWindow: readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE"
    ];
    readonly GuestService: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'GuestService.on': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "NO_SUCH_CPU",
        "NO_CURRENT_CPU"
    ];
    readonly 'GuestService.register': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "NO_SUCH_CPU",
        "NO_CURRENT_CPU"
    ];
    readonly 'GuestService.enter': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "NO_CURRENT_CPU"
    ];
    readonly 'GuestService.call': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "NO_CURRENT_CPU"
    ];
    readonly demandFeatures: readonly [
        "MISSING_FEATURE"
    ];
    readonly pagingOf: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly memoryOf: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly createValidityRecord: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly createRootMemory: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly encryptionMasksOf: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly makeReadOnlyAfterInit: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly mapKernel: readonly [
        "INVALID_ARGUMENT",
        "INVALID_LAYOUT"
    ];
    readonly sectionsOf: readonly [
        "INVALID_ARGUMENT",
        "INVALID_LAYOUT"
    ];
    readonly validateHeap: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly prepareTables: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly createGlobalRanges: readonly [
        "INVALID_ARGUMENT",
        "INVALID_LAYOUT"
    ];
    readonly invalidateEarlyMemory: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly directMapOf: readonly [
        "INVALID_LAYOUT",
        "INVALID_ARGUMENT"
    ];
    readonly rescindRegion: readonly [
        "INVALID_ARGUMENT",
        "PAGES_LOST"
    ];
    readonly launchFirmware: readonly [
        "INVALID_ARGUMENT",
        "PAGE_REFUSED"
    ];
    readonly checkInvariants: readonly [
        "INVALID_ARGUMENT",
        "INVARIANT_BROKEN"
    ];
    readonly 'Svsm.boot': readonly [
        "INVALID_ARGUMENT",
        "INVALID_LAYOUT",
        "INVALID_MEMORY_MAP",
        "OUTSIDE_LAYOUT",
        "MISSING_FEATURE",
        "BOOT_FAILED",
        "ALREADY_BOOTED"
    ];
    readonly 'Svsm.startCpu': readonly [
        "INVALID_ARGUMENT",
        "ALREADY_STARTED",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.thisCpu': readonly [
        "NOT_BOOTED"
    ];
    readonly 'Svsm.on': readonly [
        "INVALID_ARGUMENT",
        "NO_SUCH_CPU",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.virtToPhys': readonly [
        "NOT_A_MAPPING",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.physToVirt': readonly [
        "INVALID_ARGUMENT",
        "NOT_DIRECT_MAPPED"
    ];
    readonly 'Svsm.launchFirmware': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "PAGE_REFUSED",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.checkInvariants': readonly [
        "INVALID_ARGUMENT",
        "INVARIANT_BROKEN",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.mapGlobal': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.guestMemory': readonly [
        "NO_VIRTUAL_RANGE",
        "NOT_BOOTED"
    ];
    readonly 'Svsm.serve': readonly [
        "INVALID_ARGUMENT",
        "NO_VIRTUAL_RANGE",
        "NOT_BOOTED"
    ];
};

// ., ./vm
export interface FaultAccess {
    readonly kind: AccessKind;
    readonly shadowStack: boolean;
}

// ., ./vm
export interface FileLike {
    readonly size: bigint;
    page(index: number): PhysAddr;
}

// ., ./vm
export interface FileMappingOptions extends MappingRights {
    readonly private?: boolean;
}

// ., ./cpu
export interface FlushCounts {
    readonly local: number;
    readonly broadcast: number;
    readonly instructions: number;
    readonly full: number;
}

// ., ./cpu
export interface FlushTarget {
    readonly vcpu: Vcpu;
    readonly tlb: Tlb;
}

// ., ./vm
export interface FrameRun {
    readonly offset: bigint;
    readonly paddr: PhysAddr;
    readonly size: bigint;
    readonly flags: number;
    readonly shared?: boolean;
}

// ., ./formats
export type GuardErrorCode = CodeOf<'MappingGuard.create' | 'MappingGuard.region' | 'MappingGuard.read' | 'MappingGuard.write' | 'MappingGuard.leak'>;

// ., ./guest
export interface GuestFormat<T> {
    readonly size: number;
    decode(bytes: Uint8Array): T | undefined;
    encode(value: T): Uint8Array;
}

// ., ./guest
export interface GuestMemory {
    read(gpa: bigint, length: number): Uint8Array | undefined;
    write(gpa: bigint, bytes: Uint8Array): number;
}

// ., ./formats
export type GuestMemoryErrorCode = CodeOf<'copyFromGuest' | 'copyToGuest' | 'GuestPtr' | 'GuestPtr.write' | 'GuestPtr.at' | 'GuestPtr.cast' | 'guestFormats.bytes' | 'guestFormats.struct' | 'GuestWindow'>;

// ., ./guest
export declare class GuestPtr<T> {
    readonly gpa: bigint;
    readonly format: GuestFormat<T>;
    constructor(memory: GuestMemory, gpa: bigint, format: GuestFormat<T>);
    read(): T | undefined;
    write(value: T): boolean;
    at(index: number): GuestPtr<T>;
    cast<U>(format: GuestFormat<U>): GuestPtr<U>;
}

// ., ./guest
export declare class GuestService implements Disposable {
    readonly state: SvsmState;
    constructor(state: SvsmState, processors: Processors, options?: GuestServiceOptions);
    on(cpu?: PerCpu | number): ServingCpu;
    register(caller: Vcpu, caa: PhysAddr, options?: CallerOptions): void;
    enter(caller: Vcpu): boolean;
    call(caller: Vcpu, registers: SvsmRegisters): number;
    [Symbol.dispose](): void;
}

// ., ./formats
export type GuestServiceErrorCode = CodeOf<'GuestService' | 'GuestService.on' | 'GuestService.register' | 'GuestService.enter' | 'GuestService.call'>;

// ., ./guest
export interface GuestServiceOptions {
    readonly window?: GuestWindowOptions;
    readonly trace?: MmTrace | undefined;
}

// ., ./visibility
export declare class GuestVisibility {
    constructor(vcpu: Vcpu, pageTable: PageTable, ghcb: Ghcb, area: CallingArea, options?: GuestVisibilityOptions);
    makeShared(region: MemoryRegion<VirtAddr>): void;
    makePrivate(region: MemoryRegion<VirtAddr>): void;
    isShared(vaddr: VirtAddr): boolean;
    get lost(): RegionSet<VirtAddr>;
    retryLost(): number;
}

// ., ./visibility
export interface GuestVisibilityOptions {
    readonly validated?: ValidatedPages | undefined;
    readonly flush?: MoverOptions['flush'] | undefined;
    readonly trace?: MmTrace | undefined;
}

// ., ./guest
export declare class GuestWindow implements Disposable {
    readonly access: GuestPageAccess;
    constructor(cpu: PerCpu, options?: GuestWindowOptions);
    [Symbol.dispose](): void;
}

// ., ./guest
export interface GuestWindowOptions {
    readonly small?: number;
    readonly huge?: number;
}

// ., ./boot
export interface ImageSizes {
    readonly code?: Bytes;
    readonly readOnlyAfterInit?: Bytes;
    readonly data?: Bytes;
}

// ., ./vm
export interface InsertOptions {
    readonly at?: VirtAddr;
    readonly hint?: VirtAddr;
    readonly alignment?: Bytes;
}

// ., ./boot
export interface InvariantSubject {
    readonly pages: PageAllocator<VirtAddr>;
    readonly directMap: DirectMap;
    readonly kernel: PageTablePart;
    readonly cpus: readonly PerCpu[];
    readonly validated: ValidatedPages;
    readonly visibility: PageVisibility;
    readonly memoryMap: MemoryMap;
}

// ., ./boot
export interface KernelImage {
    readonly phys: MemoryRegion<PhysAddr>;
    readonly code: bigint;
    readonly readOnlyAfterInit: bigint;
}

// ., ./boot
export interface KernelSections {
    readonly code: MemoryRegion<VirtAddr>;
    readonly readOnlyAfterInit: MemoryRegion<VirtAddr>;
    readonly data: MemoryRegion<VirtAddr>;
}

// ., ./vm
export interface KernelStack extends PagedMapping {
    readonly topOfStack: bigint;
}

// ., ./vm
export interface KernelStackOptions {
    readonly size?: Bytes;
    readonly shadow?: boolean;
}

// ., ./layout
export interface LayoutChanges {
    readonly levels?: 4 | 5;
    readonly slots?: Partial<LayoutSlots>;
    readonly image?: MemoryRegion<VirtAddr>;
    readonly heap?: MemoryRegion<VirtAddr>;
    readonly globalMappings?: {
        readonly small?: MemoryRegion<VirtAddr>;
        readonly huge?: MemoryRegion<VirtAddr>;
    };
    readonly perCpu?: Partial<PerCpuLayout>;
    readonly user?: MemoryRegion<VirtAddr>;
}

// ., ./formats
export type LayoutErrorCode = CodeOf<'addressSpaceLayout' | 'slotRegion'>;

// ., ./layout
export interface LayoutSlots {
    readonly shared: number;
    readonly perCpu: number;
    readonly perTask: number;
    readonly selfMap: number;
}

// ., ./cpu
export interface MapGuardOptions {
    readonly writable?: boolean;
    readonly shared?: boolean;
    readonly pageSize?: PageSize;
}

// ., ./formats
export type MappingErrorCode = CodeOf<'mappings.physical' | 'mappings.reserved' | 'mappings.allocated' | 'mappings.kernelStack' | 'mappings.file' | 'pageStore' | 'PagedMapping.copyOnWrite' | 'PagedMapping[Symbol.dispose]'>;

// ., ./cpu
export declare class MappingGuard {
    readonly phys: MemoryRegion<PhysAddr>;
    readonly pageSize: PageSize;
    private constructor();
    static create(space: MappingSpace, phys: MemoryRegion<PhysAddr>, options?: MapGuardOptions): MappingGuard;
    get region(): MemoryRegion<VirtAddr>;
    read(offset: number, length: number): Uint8Array;
    write(offset: number, bytes: Uint8Array): void;
    leak(): MemoryRegion<VirtAddr>;
    get isReleased(): boolean;
    [Symbol.dispose](): void;
}

// ., ./vm
export interface MappingRights {
    readonly writable?: boolean;
    readonly executable?: boolean;
}

// ., ./cpu
export interface MappingSpace {
    readonly mapper: Pick<PageMapper, 'mapRegion' | 'unmapRegion'>;
    readonly small: VirtualRange;
    readonly huge: VirtualRange;
    readonly isGlobal: boolean;
    readonly vcpu: () => Vcpu;
    readonly flush: (region: MemoryRegion<VirtAddr>, pageSize: PageSize) => void;
    readonly uses?: PageUses | undefined;
    readonly trace?: MmTrace | undefined;
}

// ., ./layout
export type MemoryKind = 'svsm' | 'guest' | 'vmsa' | 'caa' | 'firmware' | 'hole';

// ., ./layout
export declare class MemoryMap {
    readonly own: MemoryRegion<PhysAddr>;
    constructor(entries: Iterable<MemoryMapEntry>, own: MemoryRegion<PhysAddr>);
    kindOf(gpa: bigint): MemoryKind | undefined;
    isGuest(region: MemoryRegion<PhysAddr>): boolean;
    registerVmsa(vmsa: PhysAddr, caa: PhysAddr, apicId: number): void;
    unregisterVmsa(vmsa: PhysAddr): void;
    get vmsas(): readonly RegisteredVmsa[];
    regionsOf(kind: MemoryKind): Generator<MemoryRegion<PhysAddr>, undefined, undefined>;
    [Symbol.iterator](): Generator<MemoryMapEntry, undefined, undefined>;
}

// ., ./layout
export type MemoryMapEntry = readonly [
    MemoryRegion<PhysAddr>,
    MemoryKind
];

// ., ./formats
export type MemoryMapErrorCode = CodeOf<'MemoryMap' | 'MemoryMap.registerVmsa' | 'MemoryMap.unregisterVmsa'>;

// ., ./formats
export declare class MmError<Code extends MmErrorCode = MmErrorCode> extends CodedError<Code, MmErrorDetails[Code]> {
    constructor(code: Code, details: MmErrorDetails[Code], options?: ErrorOptions);
}

// ., ./formats
export type MmErrorCode = keyof MmErrorDetails;

// ., ./formats
export interface MmErrorDetails {
    INVALID_ARGUMENT: {
        what: string;
        value: unknown;
        expected: string;
    };
    INVALID_LAYOUT: {
        field: string;
        problem: string;
    };
    INVALID_MEMORY_MAP: {
        region: string;
        problem: string;
    };
    OUTSIDE_LAYOUT: {
        region: string;
        part: string;
    };
    NO_VIRTUAL_RANGE: {
        pages: number;
        alignment: number;
        range: string;
    };
    OVERLAPS_MAPPING: {
        region: string;
        found: string;
    };
    NOT_A_MAPPING: {
        vaddr: bigint;
    };
    NOT_DIRECT_MAPPED: {
        address: bigint;
    };
    NOT_GUEST_MEMORY: {
        gpa: bigint;
        size: bigint;
    };
    PAGES_LOST: {
        lost: readonly string[];
    };
    WRONG_VISIBILITY: {
        vaddr: bigint;
        expected: 'private' | 'shared';
        found: 'private' | 'shared' | 'lost' | 'changing' | 'not validated';
    };
    VISIBILITY_FAILED: {
        to: 'private' | 'shared';
        region: string;
        lost: readonly string[];
    };
    NOT_ALLOCATED: {
        vaddr: bigint;
        found: string;
    };
    PAGE_IN_USE: {
        gpa: bigint;
        use: 'GHCB' | 'VMSA' | 'CALLING_AREA' | 'CHANGE' | 'MAPPING';
    };
    BOX_RELEASED: {
        region: string;
    };
    MISSING_FEATURE: {
        step: BootStep;
        required: bigint;
        offered: bigint;
        missing: readonly string[];
    };
    BOOT_FAILED: {
        step: BootStep;
        undone: boolean;
    };
    ALREADY_BOOTED: {
        own: string;
    };
    GUARD_RELEASED: {
        region: string;
    };
    MAPPING_IN_USE: {
        size: bigint;
    };
    ALREADY_ATTACHED: {
        region: string;
    };
    NOT_ATTACHED: {
        region: string;
    };
    FLUSH_FAILED: {
        region: string;
    };
    BUSY: {
        region: string;
    };
    NO_CURRENT_CPU: Record<never, never>;
    NO_SUCH_CPU: {
        apicId: number;
    };
    ALREADY_STARTED: {
        apicId: number;
    };
    PAGE_REFUSED: {
        gpa: bigint;
        size: number;
        result: number;
    };
    INVARIANT_BROKEN: {
        vaddr: bigint;
        problem: string;
    };
    NOT_BOOTED: Record<never, never>;
}

// ., ./formats
export type MmEvent = {
    readonly type: 'boot';
    readonly step: BootStep;
    readonly text: string;
} | {
    readonly type: 'map' | 'unmap';
    readonly region: MemoryRegion<VirtAddr>;
    readonly phys: MemoryRegion<PhysAddr>;
} | {
    readonly type: 'flush';
    readonly scope: 'local' | 'broadcast';
    readonly region: MemoryRegion<VirtAddr> | undefined;
} | {
    readonly type: 'share' | 'unshare' | 'rollback' | 'quarantine';
    readonly region: MemoryRegion<VirtAddr>;
} | {
    readonly type: 'fault';
    readonly region: MemoryRegion<VirtAddr>;
} | {
    readonly type: 'call';
    readonly call: number;
    readonly result: number;
};

// ., ./formats
export type MmTrace = (event: MmEvent) => void;

// ., ./visibility
export interface MoverOptions {
    readonly validated?: ValidatedPages | undefined;
    readonly validator?: PageValidator | undefined;
    readonly flush: (region: MemoryRegion<VirtAddr>, pageSize: PageSize) => void;
}

// not exported
export type OnRescinded = (page: MemoryRegion<VirtAddr>) => void;

// ., ./vm
export interface PageContents<A extends Address> {
    toPhys(page: A): PhysAddr;
    fromPhys(paddr: PhysAddr): A;
    clear(page: A): void;
    copy(from: A, to: A): void;
}

// ., ./boot
export interface PageEncryptionMasks {
    readonly privateMask: bigint;
    readonly sharedMask: bigint;
    readonly physicalBits?: number;
}

// ., ./vm
export interface PageStore {
    allocate(): PhysAddr;
    copy(page: PhysAddr): PhysAddr;
    reference(page: PhysAddr): number;
    release(page: PhysAddr): number;
}

// ., ./cpu
export declare class PageUses {
    add(region: MemoryRegion<PhysAddr>): void;
    remove(region: MemoryRegion<PhysAddr>): void;
    firstIn(region: MemoryRegion<PhysAddr>): PhysAddr | undefined;
}

// ., ./visibility
export declare class PageVisibility {
    constructor(options: PageVisibilityOptions);
    get pages(): PageAllocator<VirtAddr>;
    get cpu(): VisibilityCpu;
    makeShared(region: MemoryRegion<VirtAddr>): void;
    makePrivate(region: MemoryRegion<VirtAddr>): void;
    isShared(vaddr: VirtAddr): boolean;
    sharedIn(region: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr>[];
    get lost(): RegionSet<PhysAddr>;
    retryLost(): number;
    allocateShared(count: number): MemoryRegion<VirtAddr>;
    release(block: MemoryRegion<VirtAddr>): void;
    requirePrivate(block: MemoryRegion<VirtAddr>): void;
    physOf(region: MemoryRegion<VirtAddr>): MemoryRegion<PhysAddr>;
    isAbandoned(block: MemoryRegion<VirtAddr>): boolean;
}

// ., ./formats
export type PageVisibilityErrorCode = CodeOf<'PageVisibility.makeShared' | 'PageVisibility.makePrivate' | 'PageVisibility.sharedIn' | 'PageVisibility.retryLost' | 'PageVisibility.allocateShared' | 'PageVisibility.release' | 'GuestVisibility' | 'GuestVisibility.makeShared' | 'GuestVisibility.makePrivate'>;

// ., ./visibility
export interface PageVisibilityOptions {
    readonly guest: GuestContext;
    readonly pages: PageAllocator<VirtAddr>;
    readonly directMap: Pick<DirectMap, 'physOf' | 'toPhys'>;
    readonly cpu: () => VisibilityCpu;
    readonly validated: ValidatedPages;
    readonly flush: MoverOptions['flush'];
    readonly uses?: PageUses | undefined;
    readonly trace?: MmTrace | undefined;
}

// ., ./visibility
export type PageVisibilityState = 'private' | 'shared' | 'lost' | 'changing';

// . (type only), ./vm (type only)
export declare class PagedMapping implements VirtualMapping, Disposable {
    readonly size: bigint;
    constructor(parts: PagedMappingParts);
    get present(): number;
    frameAt(offset: bigint): PhysAddr | undefined;
    populate(): void;
    frames(): Generator<FrameRun, undefined, undefined>;
    fault(offset: bigint, access: FaultAccess): Resolution | undefined;
    copyOnWrite(): PagedMapping;
    [Symbol.dispose](): void;
}

// ., ./vm
export interface PagedMappingParts {
    readonly store: PageStore;
    readonly pages: number;
    readonly guards?: number;
    readonly flags: number;
    readonly source?: (page: number) => PhysAddr;
    readonly isShared?: boolean;
}

// ., ./boot
export interface PagedProcessor {
    readonly apicId: number;
    readonly vcpu: Vcpu;
    readonly tlb: Tlb;
    readonly pageTable: PageTable;
    readonly part: PageTablePart;
}

// ., ./cpu
export declare class PerCpu implements FlushTarget {
    readonly apicId: number;
    readonly vcpu: Vcpu;
    readonly tlb: Tlb;
    readonly pageTable: PageTable;
    readonly part: PageTablePart;
    readonly ghcb: Ghcb;
    readonly temp4k: VirtualRange;
    readonly temp2m: VirtualRange;
    constructor(parts: PerCpuParts);
    map(region: MemoryRegion<PhysAddr>, options?: MapGuardOptions): MappingGuard;
    flush(region?: MemoryRegion<VirtAddr>, pageSize?: PageSize): void;
}

// ., ./layout
export interface PerCpuLayout {
    readonly self: VirtAddr;
    readonly caa: VirtAddr;
    readonly vmsa: VirtAddr;
    readonly stacks: MemoryRegion<VirtAddr>;
    readonly temp4k: MemoryRegion<VirtAddr>;
    readonly temp2m: MemoryRegion<VirtAddr>;
}

// ., ./cpu
export interface PerCpuParts {
    readonly apicId: number;
    readonly vcpu: Vcpu;
    readonly tlb: Tlb;
    readonly pageTable: PageTable;
    readonly part: PageTablePart;
    readonly ghcb: Ghcb;
    readonly layout: AddressSpaceLayout;
    readonly shootDown: ShootDown;
    readonly uses?: PageUses | undefined;
    readonly trace?: MmTrace | undefined;
}

// ., ./boot
export interface ProcessorSource {
    readonly tables: TableSource;
    readonly layout: AddressSpaceLayout;
    readonly kernel: PageTablePart;
    readonly directMap: DirectMap;
    readonly pages: PageAllocator<VirtAddr>;
    readonly processors: Processors;
    readonly record: ValidatedPages;
    readonly trace?: MmTrace | undefined;
}

// ., ./cpu
export declare class Processors {
    readonly shootDown: ShootDown;
    readonly uses: PageUses;
    constructor(options?: ShootDownOptions);
    get list(): readonly PerCpu[];
    add(cpu: PerCpu): void;
    remove(apicId: number): void;
    get(apicId: number): PerCpu;
    thisCpu(): PerCpu;
    on<T>(cpu: PerCpu | number, run: () => T): T;
}

// ., ./formats
export type ProcessorsErrorCode = CodeOf<'PerCpu' | 'ShootDown' | 'Processors' | 'Processors.add' | 'Processors.remove' | 'Processors.get' | 'Processors.thisCpu' | 'Processors.on'>;

// ., ./layout
export interface RegisteredVmsa {
    readonly vmsa: PhysAddr;
    readonly caa: PhysAddr;
    readonly apicId: number;
}

// ., ./vm
export interface Resolution {
    readonly run: FrameRun;
    done?(): void;
    undo?(): void;
}

// ., ./boot
export interface RootMemory {
    readonly pages: PageAllocator<VirtAddr>;
    readonly heap: HeapAllocator<VirtAddr>;
}

// . (type only), ./guest (type only)
export declare class ServingCpu implements Disposable {
    readonly cpu: PerCpu;
    readonly window: GuestWindow;
    readonly core: SvsmCore;
    constructor(state: SvsmState, cpu: PerCpu, options: GuestWindowOptions);
    get memory(): SvsmMemory;
    [Symbol.dispose](): void;
}

// ., ./visibility
export declare class SharedBox {
    readonly size: number;
    readonly gpa: PhysAddr;
    private constructor();
    static create(owner: VisibilityOwner, size: Bytes): SharedBox;
    get region(): MemoryRegion<VirtAddr>;
    get isReleased(): boolean;
    read(offset: number, length: number): Uint8Array;
    write(offset: number, bytes: Uint8Array): void;
    clear(): void;
    leak(): MemoryRegion<VirtAddr>;
    [Symbol.dispose](): void;
}

// ., ./formats
export type SharedBoxErrorCode = CodeOf<'SharedBox.create' | 'SharedBox.region' | 'SharedBox.read' | 'SharedBox.write' | 'SharedBox.clear' | 'SharedBox.leak' | 'SharedBox[Symbol.dispose]'>;

// ., ./cpu
export declare class ShootDown {
    constructor(options?: ShootDownOptions);
    get counts(): FlushCounts;
    add(target: FlushTarget): void;
    remove(target: FlushTarget): void;
    local(target: Pick<FlushTarget, 'vcpu'>, region?: MemoryRegion<VirtAddr>, pageSize?: PageSize): void;
    broadcast(region?: MemoryRegion<VirtAddr>, pageSize?: PageSize): void;
}

// ., ./cpu
export interface ShootDownOptions {
    readonly fullFlushThreshold?: number;
    readonly localFullFlushThreshold?: number;
    readonly invlpgbCountMax?: number;
    readonly trace?: MmTrace | undefined;
}

// ., ./guest
export type StructOf<Fields extends Readonly<Record<string, GuestFormat<unknown>>>> = {
    readonly [Name in keyof Fields]: Fields[Name] extends GuestFormat<infer T> ? T : never;
};

// ., ./boot
export declare class Svsm {
    readonly guest: Guest;
    readonly features: bigint;
    readonly paging: PagingConfig;
    readonly layout: AddressSpaceLayout;
    readonly memoryMap: MemoryMap;
    readonly pages: PageAllocator<VirtAddr>;
    readonly heap: HeapAllocator<VirtAddr>;
    readonly directMap: DirectMap;
    readonly kernel: PageTablePart;
    readonly processors: Processors;
    readonly visibility: PageVisibility;
    readonly state: SvsmState;
    readonly service: GuestService;
    private constructor();
    static boot(options: BootOptions): Svsm;
    get cpus(): readonly PerCpu[];
    get validated(): ValidatedPages;
    startCpu(apicId: number): PerCpu;
    thisCpu(): PerCpu;
    on<T>(cpu: PerCpu | number, run: () => T): T;
    virtToPhys(vaddr: VirtAddr): PhysAddr;
    physToVirt(paddr: PhysAddr): VirtAddr;
    mapGlobal(region: MemoryRegion<PhysAddr>, options?: MapGuardOptions): MappingGuard;
    launchFirmware(regions: Iterable<MemoryRegion<PhysAddr>>, vmpl: Vmpl): void;
    checkInvariants(): void;
    get guestMemory(): SvsmMemory;
    serve(caller: Vcpu, registers: SvsmRegisters): number;
    [Symbol.dispose](): void;
}

// ., ./boot
export interface TableSource {
    readonly memory: PhysMemory;
    readonly frames: FrameAllocator;
    readonly config: PagingConfig;
}

// ., ./boot
export interface ValidityAtBoot {
    readonly validated: Iterable<MemoryRegion<PhysAddr>>;
    readonly shared: Iterable<MemoryRegion<PhysAddr>>;
}

// ., ./vm
export interface VirtualMapping {
    readonly size: bigint;
    readonly alignment?: Bytes;
    frames(): Iterable<FrameRun>;
    fault?(offset: bigint, access: FaultAccess): Resolution | undefined;
}

// ., ./cpu
export declare class VirtualRange {
    readonly region: MemoryRegion<VirtAddr>;
    readonly pageSize: PageSize;
    readonly guardPages: number;
    constructor(region: MemoryRegion<VirtAddr>, options?: VirtualRangeOptions);
    get allocations(): number;
    allocate(pages: number, alignment?: Bytes): MemoryRegion<VirtAddr>;
    free(region: MemoryRegion<VirtAddr>): void;
}

// ., ./formats
export type VirtualRangeErrorCode = CodeOf<'VirtualRange' | 'VirtualRange.allocate' | 'VirtualRange.free'>;

// ., ./cpu
export interface VirtualRangeOptions {
    readonly pageSize?: PageSize;
    readonly guardPages?: number;
}

// ., ./visibility
export interface VisibilityCpu {
    readonly vcpu: Vcpu;
    readonly pageTable: PageTable;
    readonly ghcb: Ghcb;
}

// ., ./visibility
export interface VisibilityOwner {
    readonly visibility: PageVisibility;
}

// ., ./vm
export declare class Vmr implements Disposable {
    readonly region: MemoryRegion<VirtAddr>;
    constructor(region: MemoryRegion<VirtAddr>, options: VmrOptions);
    get size(): number;
    insert(mapping: VirtualMapping, options?: InsertOptions): MemoryRegion<VirtAddr>;
    remove(start: VirtAddr): VirtualMapping;
    attach(cpu: VmrCpu): void;
    detach(cpu: VmrCpu): void;
    handlePageFault(vaddr: VirtAddr, errorCode: number, state?: CpuState): boolean;
    entryAt(address: VirtAddr): readonly [
        place: MemoryRegion<VirtAddr>,
        mapping: VirtualMapping
    ] | undefined;
    [Symbol.iterator](): Generator<readonly [
        MemoryRegion<VirtAddr>,
        VirtualMapping
    ], undefined, undefined>;
    [Symbol.dispose](): void;
}

// ., ./vm
export interface VmrCpu {
    readonly pageTable: PageTable;
    flush(region: MemoryRegion<VirtAddr>): void;
}

// ., ./formats
export type VmrErrorCode = CodeOf<'Vmr' | 'Vmr.insert' | 'Vmr.remove' | 'Vmr.attach' | 'Vmr.detach' | 'Vmr.handlePageFault'>;

// ., ./vm
export interface VmrOptions extends PageTablePartOptions {
    readonly flags?: number;
    readonly parts?: readonly PageTablePart[];
}

// ., ./layout
export declare function addressSpaceLayout(changes?: LayoutChanges): AddressSpaceLayout;

// ., ./boot
export declare function checkInvariants(subject: InvariantSubject): void;

// ., ./guest
export declare function copyFromGuest(memory: GuestMemory, gpa: bigint, length: number): Uint8Array | undefined;

// ., ./guest
export declare function copyToGuest(memory: GuestMemory, gpa: bigint, bytes: Uint8Array): boolean;

// ., ./boot
export declare function createGlobalRanges(kernel: PageMapper, layout: AddressSpaceLayout, processors: Processors, trace?: MmTrace): MappingSpace;

// ., ./boot
export declare function createRootMemory(heap: DirectMap, processors: Processors, beforeFree?: (block: MemoryRegion<VirtAddr>) => void): RootMemory;

// ., ./boot
export declare function createValidityRecord(map: MemoryMap, validity: ValidityAtBoot, options?: {
    readonly entriesPerCall?: number;
}): SvsmState;

// ., ./boot
export declare function demandFeatures(vcpu: Vcpu, required: bigint): bigint;

// ., ./boot
export declare function directMapOf(layout: AddressSpaceLayout, heap: MemoryRegion<PhysAddr>): DirectMap;

// ., ./boot
export declare function encryptionMasksOf(guest: Guest): PageEncryptionMasks;

// ., ./guest
export declare const guestFormats: {
    readonly u8: GuestFormat<number>;
    readonly u16: GuestFormat<number>;
    readonly u32: GuestFormat<number>;
    readonly u64: GuestFormat<bigint>;
    bytes(size: number): GuestFormat<Uint8Array>;
    struct<Fields extends Readonly<Record<string, GuestFormat<unknown>>>>(fields: Fields): GuestFormat<StructOf<Fields>>;
};

// ., ./boot
export declare function invalidateEarlyMemory(cpu: PerCpu, record: ValidatedPages, regions: Iterable<MemoryRegion<PhysAddr>>, options?: {
    readonly startsShared?: boolean;
}): void;

// ., ./formats
export declare function isMmError<Code extends MmErrorCode = MmErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: MmError<C>;
}[Code];

// ., ./boot
export declare function launchFirmware(memory: SvsmMemory, record: ValidatedPages, regions: Iterable<MemoryRegion<PhysAddr>>, vmpl: Vmpl): void;

// ., ./boot
export declare function makeReadOnlyAfterInit(kernel: PageTablePart, region: MemoryRegion<VirtAddr>, shootDown: ShootDown): void;

// ., ./boot
export declare function mapKernel(source: TableSource, layout: AddressSpaceLayout, image: KernelImage, heap: DirectMap): PageTablePart;

// ., ./vm
export declare const mappings: {
    physical(region: MemoryRegion<PhysAddr>, options?: MappingRights & {
        readonly shared?: boolean;
    }): VirtualMapping;
    reserved(size: Bytes): VirtualMapping;
    allocated(store: PageStore, size: Bytes, options?: MappingRights & {
        readonly lazy?: boolean;
    }): PagedMapping;
    kernelStack(store: PageStore, options?: KernelStackOptions): KernelStack;
    file(store: PageStore, file: FileLike, offset: Bytes, size: Bytes, options?: FileMappingOptions): PagedMapping;
};

// ., ./boot
export declare function memoryOf(map: MemoryMap): RegionSet<PhysAddr>;

// ., ./vm
export declare function pageStore<A extends Address>(pages: PageAllocator<A>, contents: PageContents<A>): PageStore;

// ., ./boot
export declare function pagingOf(masks: PageEncryptionMasks, base?: PagingConfig): PagingConfig;

// ., ./boot
export declare function prepareTables(mapper: PageMapper, region: MemoryRegion<VirtAddr>, pageSize: PageSize): void;

// ., ./layout
export declare function renderLayout(layout: AddressSpaceLayout): string;

// ., ./boot
export declare function rescindRegion(vcpu: Vcpu, region: MemoryRegion<VirtAddr>, onRescinded?: OnRescinded): void;

// ., ./boot
export declare function sectionsOf(layout: AddressSpaceLayout, image: KernelImage): KernelSections;

// ., ./layout
export declare function slotRegion(levels: 4 | 5, slot: number): MemoryRegion<VirtAddr>;

// ., ./boot
export declare function validateHeap(ghcb: Ghcb, table: PageTable, heap: DirectMap, validated: Iterable<MemoryRegion<PhysAddr>>): readonly MemoryRegion<PhysAddr>[];
