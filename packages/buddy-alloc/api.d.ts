// The public declarations of @svsm/buddy-alloc: npm run api records them. Above each is its entry point.

import type { Address, AddressKind, Bytes, CodedError } from '@svsm/address';

import type { MemoryRegion, RegionBounds } from '@svsm/memory-region';

// .
export type AllocateErrorCode = CodeOf<MethodOf<'PageAllocator', 'allocatePages' | 'allocateBlock' | 'allocatePage' | 'allocateZeroedPage' | 'allocateFilePage' | 'allocateRun'>>;

// .
export interface AllocatorEvent<A extends Address> {
    readonly what: 'allocate' | 'free' | 'reserve' | 'unreserve' | 'addRegion' | 'removeRegion';
    readonly region: MemoryRegion<A>;
    readonly kind: BlockKind | undefined;
}

// .
export interface AllocatorSnapshot {
    readonly maxOrder: number;
    readonly space: SnapshotRange;
    readonly regions: readonly SnapshotRange[];
    readonly reserved: readonly SnapshotRange[];
    readonly blocks: readonly SnapshotBlock[];
}

// .
export interface Block<A extends Address> {
    readonly region: MemoryRegion<A>;
    readonly order: number;
    readonly state: BlockState;
    readonly kind: BlockKind | undefined;
}

// .
export type BlockKind = 'pages' | 'run' | 'file' | 'slab' | 'heap';

// not exported
export interface BlockOwner<A extends Address> {
    enter(operation: string): void;
    free(block: MemoryRegion<A>, freed: () => void): void;
    readonly leaks: FinalizationRegistry<MemoryRegion<A>> | undefined;
}

// .
export type BlockState = 'free' | 'allocated' | 'reserved';

// .
export declare class BuddyError<Code extends BuddyErrorCode = BuddyErrorCode> extends CodedError<Code, BuddyErrorDetails[Code]> {
    constructor(code: Code, details: BuddyErrorDetails[Code], options?: ErrorOptions);
}

// .
export type BuddyErrorCode = keyof BuddyErrorDetails;

// .
export interface BuddyErrorDetails {
    SIZE_TOO_LARGE: {
        size: bigint;
        max: bigint;
    };
    INVALID_ORDER: {
        order: unknown;
        maxOrder: number;
    };
    INVALID_MAX_ORDER: {
        maxOrder: unknown;
    };
    OUT_OF_MEMORY: {
        order: number;
        pages: number;
        largestFreeOrder: number | undefined;
        freePages: number;
    };
    NO_REGION: Record<string, never>;
    INVALID_OPTION: {
        option: string;
        value: unknown;
        expected: string;
    };
    INVALID_PAGE_COUNT: {
        pages: unknown;
    };
    INVALID_PAGE_INDEX: {
        index: unknown;
        last: number;
    };
    INVALID_REGION: {
        region: RegionBounds;
        reason: 'empty' | 'misaligned' | 'outside' | 'overlapping';
    };
    INVALID_RESERVED: {
        reserved: RegionBounds;
        region: RegionBounds;
        reason: 'misaligned' | 'outside' | 'overlapping';
    };
    OUTSIDE_REGION: {
        address: bigint;
        region: RegionBounds;
        regions: readonly RegionBounds[];
    };
    MISALIGNED_ADDRESS: {
        address: bigint;
        block: RegionBounds;
        order: number;
        state: BlockState;
    };
    BLOCK_TAIL: {
        address: bigint;
        block: RegionBounds;
        order: number;
    };
    DOUBLE_FREE: {
        address: bigint;
        block: RegionBounds;
        order: number;
    };
    RESERVED_PAGE: {
        address: bigint;
        reserved: RegionBounds;
    };
    WRONG_SIZE: {
        freed: RegionBounds;
        block: RegionBounds;
        order: number;
    };
    NOT_FREE: {
        region: RegionBounds;
        block: RegionBounds;
        state: BlockState;
    };
    NOT_RESERVED: {
        region: RegionBounds;
        block: RegionBounds;
        state: BlockState;
    };
    FILE_PAGE: {
        address: bigint;
        references: number;
    };
    NOT_FILE_PAGE: {
        address: bigint;
        block: RegionBounds;
        state: BlockState;
        kind: BlockKind | undefined;
    };
    SLAB_PAGE: {
        address: bigint;
    };
    HEAP_BLOCK: {
        address: bigint;
        block: RegionBounds;
    };
    WRONG_KIND: {
        address: bigint;
        block: RegionBounds;
        kind: BlockKind;
        expected: BlockKind;
    };
    TOO_MANY_REFERENCES: {
        address: bigint;
        references: number;
    };
    NO_PAGE_MEMORY: Record<string, never>;
    INVALID_OBJECT_SIZE: {
        size: unknown;
        max: number;
    };
    OUTSIDE_OBJECTS: {
        address: bigint;
    };
    OBJECT_INTERIOR: {
        address: bigint;
        object: RegionBounds;
    };
    DOUBLE_FREE_OBJECT: {
        address: bigint;
        object: RegionBounds;
    };
    RELEASED_BLOCK: {
        block: RegionBounds;
        gone: 'released' | 'leaked' | 'taken over';
    };
    INVALID_SNAPSHOT: {
        block: RegionBounds;
        problem: string;
    };
    OUTSIDE_MEMORY: {
        address: bigint;
        bytes: number;
        available: number;
    };
    MISALIGNED_VIEW: {
        address: bigint;
        alignment: number;
    };
    MEMORY_MISMATCH: {
        region: RegionBounds;
        memory: RegionBounds;
    };
    NO_HEAP_MEMORY: Record<string, never>;
    METADATA_FULL: {
        pages: number;
    };
    REGION_TOO_LARGE: {
        region: RegionBounds;
        maxPages: number;
    };
    INVALID_SHARED_BUFFER: {
        reason: SharedBufferProblem;
        byteLength: number | undefined;
        needed: number | undefined;
    };
    LOCK_TIMEOUT: {
        holder: number;
        waited: number;
    };
    NO_CACHE_LEFT: {
        caches: number;
    };
    CLOSED_CACHE: Record<string, never>;
    POISON_OVERWRITTEN: {
        address: bigint;
        found: number;
        expected: number;
    };
    BUSY: {
        operation: string;
        running: string;
    };
    CALLBACK_FAILED: {
        operation: string;
        result: unknown;
    };
    BROKEN_INVARIANT: {
        invariant: Invariant;
        problem: string;
    };
}

// .
export declare class ByteMemory<A extends Address> implements PageMemory<A> {
    constructor(kind: AddressKind<A>, source: ByteSource, origin: A);
    get origin(): A;
    get byteLength(): number;
    bytes(address: A, length: number): Uint8Array;
    view<View>(type: ViewConstructor<View>, address: A, length: number): View;
    clearPage(page: A): void;
    copy(from: A, to: A, length: number): void;
}

// .
export type ByteMemoryErrorCode = CodeOf<MethodOf<'ByteMemory'>>;

// .
export type ByteSource = ArrayBufferLike | {
    readonly buffer: ArrayBufferLike;
};

// not exported
type Checked<Table extends Readonly<Record<string, readonly BuddyErrorCode[]>>> = Table;

// not exported
type CodeOf<Operation extends Row> = Checked<typeof ERRORS_OF>[Operation][number];

// .
export type CreateAllocatorErrorCode = CodeOf<'new PageAllocator' | 'PageAllocator.restore'>;

// .
export type CreateSharedErrorCode = CodeOf<MethodOf<'SharedPageAllocator', 'create' | 'attach' | 'bytesFor'>>;

// not exported
export declare const ERRORS_OF: {
    readonly getOrder: readonly [
        "SIZE_TOO_LARGE"
    ];
    readonly renderMap: readonly [
        "INVALID_OPTION",
        "LOCK_TIMEOUT",
        "BUSY",
        "BROKEN_INVARIANT"
    ];
    readonly isBuddyError: readonly [
    ];
    readonly 'new PageAllocator': readonly [
        "INVALID_MAX_ORDER",
        "NO_REGION",
        "INVALID_OPTION",
        "INVALID_REGION",
        "INVALID_RESERVED",
        "MEMORY_MISMATCH",
        "METADATA_FULL"
    ];
    readonly 'PageAllocator.restore': readonly [
        "INVALID_MAX_ORDER",
        "INVALID_OPTION",
        "INVALID_REGION",
        "INVALID_RESERVED",
        "OUTSIDE_REGION",
        "NOT_FREE",
        "INVALID_SNAPSHOT",
        "MEMORY_MISMATCH",
        "METADATA_FULL"
    ];
    readonly 'PageAllocator.region': readonly [
        "BUSY"
    ];
    readonly 'PageAllocator.regions': readonly [
        "BUSY"
    ];
    readonly 'PageAllocator.maxOrder': readonly [
    ];
    readonly 'PageAllocator.allocatePages': readonly [
        "INVALID_ORDER",
        "OUT_OF_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.allocateBlock': readonly [
        "INVALID_ORDER",
        "OUT_OF_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.allocatePage': readonly [
        "OUT_OF_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.allocateZeroedPage': readonly [
        "OUT_OF_MEMORY",
        "NO_PAGE_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.allocateFilePage': readonly [
        "OUT_OF_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.getFilePage': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "NOT_FILE_PAGE",
        "TOO_MANY_REFERENCES",
        "BUSY"
    ];
    readonly 'PageAllocator.putFilePage': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "NOT_FILE_PAGE",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.allocateRun': readonly [
        "OUT_OF_MEMORY",
        "INVALID_PAGE_COUNT",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.allocateAt': readonly [
        "INVALID_REGION",
        "OUTSIDE_REGION",
        "NOT_FREE",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.freePages': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "FILE_PAGE",
        "SLAB_PAGE",
        "HEAP_BLOCK",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.freePage': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "FILE_PAGE",
        "SLAB_PAGE",
        "HEAP_BLOCK",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.reserve': readonly [
        "INVALID_REGION",
        "OUTSIDE_REGION",
        "NOT_FREE",
        "METADATA_FULL",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.unreserve': readonly [
        "INVALID_REGION",
        "OUTSIDE_REGION",
        "NOT_RESERVED",
        "METADATA_FULL",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.addRegion': readonly [
        "INVALID_REGION",
        "MEMORY_MISMATCH",
        "METADATA_FULL",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.removeRegion': readonly [
        "INVALID_REGION",
        "OUTSIDE_REGION",
        "NOT_FREE",
        "METADATA_FULL",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.pagesFor': readonly [
        "INVALID_OPTION",
        "BUSY"
    ];
    readonly 'PageAllocator.own': readonly [
        "INVALID_ORDER",
        "OUT_OF_MEMORY",
        "INVALID_REGION",
        "OUTSIDE_REGION",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "FILE_PAGE",
        "SLAB_PAGE",
        "HEAP_BLOCK",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageAllocator.blockOf': readonly [
        "BUSY"
    ];
    readonly 'PageAllocator.blocks': readonly [
        "BUSY"
    ];
    readonly 'PageAllocator.memoryInfo': readonly [
        "BUSY"
    ];
    readonly 'PageAllocator.snapshot': readonly [
        "BUSY"
    ];
    readonly 'PageAllocator.checkInvariants': readonly [
        "OUTSIDE_MEMORY",
        "POISON_OVERWRITTEN",
        "BUSY",
        "BROKEN_INVARIANT"
    ];
    readonly 'IndexedPages.allocate': readonly [
        "INVALID_ORDER",
        "OUT_OF_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'IndexedPages.free': readonly [
        "INVALID_PAGE_INDEX",
        "OUTSIDE_REGION",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "FILE_PAGE",
        "SLAB_PAGE",
        "HEAP_BLOCK",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'IndexedPages.addressOf': readonly [
        "INVALID_PAGE_INDEX"
    ];
    readonly 'IndexedPages.indexOf': readonly [
        "OUTSIDE_REGION"
    ];
    readonly 'PageSource.allocate': readonly [
        "OUT_OF_MEMORY",
        "INVALID_PAGE_COUNT",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'PageSource.free': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_KIND",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'OwnedBlock.region': readonly [
        "RELEASED_BLOCK",
        "BUSY"
    ];
    readonly 'OwnedBlock.start': readonly [
        "RELEASED_BLOCK",
        "BUSY"
    ];
    readonly 'OwnedBlock.isOwned': readonly [
        "BUSY"
    ];
    readonly 'OwnedBlock.leak': readonly [
        "RELEASED_BLOCK",
        "BUSY"
    ];
    readonly 'OwnedBlock.takeOver': readonly [
        "RELEASED_BLOCK",
        "BUSY"
    ];
    readonly 'OwnedBlock.release': readonly [
        "OUTSIDE_REGION",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "FILE_PAGE",
        "SLAB_PAGE",
        "HEAP_BLOCK",
        "RELEASED_BLOCK",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'OwnedBlock.[Symbol.dispose]': readonly [
        "OUTSIDE_REGION",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "FILE_PAGE",
        "SLAB_PAGE",
        "HEAP_BLOCK",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'new SlabCache': readonly [
        "INVALID_OPTION",
        "INVALID_OBJECT_SIZE",
        "BUSY"
    ];
    readonly 'SlabCache.allocate': readonly [
        "OUT_OF_MEMORY",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'SlabCache.free': readonly [
        "OUTSIDE_OBJECTS",
        "OBJECT_INTERIOR",
        "DOUBLE_FREE_OBJECT",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'SlabCache.info': readonly [
        "BUSY"
    ];
    readonly 'SlabCache.trim': readonly [
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'SlabCache.checkInvariants': readonly [
        "BUSY",
        "BROKEN_INVARIANT"
    ];
    readonly 'new HeapAllocator': readonly [
        "INVALID_OPTION",
        "MEMORY_MISMATCH",
        "BUSY"
    ];
    readonly 'HeapAllocator.allocate': readonly [
        "OUT_OF_MEMORY",
        "INVALID_OBJECT_SIZE",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'HeapAllocator.free': readonly [
        "OUTSIDE_OBJECTS",
        "OBJECT_INTERIOR",
        "DOUBLE_FREE_OBJECT",
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'HeapAllocator.reallocate': readonly [
        "OUT_OF_MEMORY",
        "INVALID_OBJECT_SIZE",
        "OUTSIDE_OBJECTS",
        "OBJECT_INTERIOR",
        "DOUBLE_FREE_OBJECT",
        "OUTSIDE_MEMORY",
        "METADATA_FULL",
        "POISON_OVERWRITTEN",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'HeapAllocator.sizeOf': readonly [
        "OUTSIDE_OBJECTS",
        "OBJECT_INTERIOR",
        "DOUBLE_FREE_OBJECT",
        "BUSY"
    ];
    readonly 'HeapAllocator.view': readonly [
        "INVALID_OPTION",
        "OUTSIDE_OBJECTS",
        "OBJECT_INTERIOR",
        "DOUBLE_FREE_OBJECT",
        "OUTSIDE_MEMORY",
        "MISALIGNED_VIEW",
        "NO_HEAP_MEMORY",
        "BUSY"
    ];
    readonly 'HeapAllocator.info': readonly [
        "BUSY"
    ];
    readonly 'HeapAllocator.trim': readonly [
        "OUTSIDE_MEMORY",
        "BUSY",
        "CALLBACK_FAILED"
    ];
    readonly 'HeapAllocator.checkInvariants': readonly [
        "BUSY",
        "BROKEN_INVARIANT"
    ];
    readonly 'new ByteMemory': readonly [
        "INVALID_OPTION"
    ];
    readonly 'ByteMemory.origin': readonly [
    ];
    readonly 'ByteMemory.byteLength': readonly [
    ];
    readonly 'ByteMemory.bytes': readonly [
        "OUTSIDE_MEMORY"
    ];
    readonly 'ByteMemory.view': readonly [
        "INVALID_OPTION",
        "OUTSIDE_MEMORY",
        "MISALIGNED_VIEW"
    ];
    readonly 'ByteMemory.clearPage': readonly [
        "OUTSIDE_MEMORY"
    ];
    readonly 'ByteMemory.copy': readonly [
        "OUTSIDE_MEMORY"
    ];
    readonly 'SharedPageAllocator.create': readonly [
        "INVALID_MAX_ORDER",
        "INVALID_OPTION",
        "INVALID_REGION",
        "INVALID_RESERVED",
        "REGION_TOO_LARGE",
        "INVALID_SHARED_BUFFER"
    ];
    readonly 'SharedPageAllocator.attach': readonly [
        "INVALID_OPTION",
        "INVALID_SHARED_BUFFER"
    ];
    readonly 'SharedPageAllocator.bytesFor': readonly [
        "INVALID_OPTION",
        "INVALID_REGION",
        "REGION_TOO_LARGE"
    ];
    readonly 'SharedPageAllocator.region': readonly [
    ];
    readonly 'SharedPageAllocator.maxOrder': readonly [
    ];
    readonly 'SharedPageAllocator.owner': readonly [
    ];
    readonly 'SharedPageAllocator.allocatePages': readonly [
        "INVALID_ORDER",
        "OUT_OF_MEMORY",
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.allocateBlock': readonly [
        "INVALID_ORDER",
        "OUT_OF_MEMORY",
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.allocatePage': readonly [
        "OUT_OF_MEMORY",
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.freePages': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.freePage': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.cache': readonly [
        "INVALID_OPTION",
        "LOCK_TIMEOUT",
        "NO_CACHE_LEFT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.recover': readonly [
        "INVALID_OPTION",
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.blockOf': readonly [
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.blocks': readonly [
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.memoryInfo': readonly [
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'SharedPageAllocator.checkInvariants': readonly [
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'PageCache.allocatePage': readonly [
        "OUT_OF_MEMORY",
        "LOCK_TIMEOUT",
        "CLOSED_CACHE",
        "BROKEN_INVARIANT"
    ];
    readonly 'PageCache.freePage': readonly [
        "OUTSIDE_REGION",
        "MISALIGNED_ADDRESS",
        "BLOCK_TAIL",
        "DOUBLE_FREE",
        "RESERVED_PAGE",
        "WRONG_SIZE",
        "LOCK_TIMEOUT",
        "CLOSED_CACHE",
        "BROKEN_INVARIANT"
    ];
    readonly 'PageCache.flush': readonly [
        "LOCK_TIMEOUT",
        "CLOSED_CACHE",
        "BROKEN_INVARIANT"
    ];
    readonly 'PageCache.close': readonly [
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
    readonly 'PageCache.[Symbol.dispose]': readonly [
        "LOCK_TIMEOUT",
        "BROKEN_INVARIANT"
    ];
};

// .
export type FilePageErrorCode = CodeOf<MethodOf<'PageAllocator', 'getFilePage' | 'putFilePage'>>;

// .
export type FreeErrorCode = CodeOf<MethodOf<'PageAllocator', 'freePages' | 'freePage'>>;

// .
export declare class HeapAllocator<A extends Address> {
    constructor(allocator: PageAllocator<A>, options?: HeapOptions<A>);
    allocate(size: number, align?: Bytes): A;
    free(address: A): void;
    reallocate(address: A, size: number, align?: Bytes): A;
    sizeOf(address: A): number;
    view<View>(type: ViewConstructor<View>, address: A, length: number): View;
    info(): HeapInfo;
    trim(): void;
    checkInvariants(): void;
}

// .
export type HeapErrorCode = CodeOf<MethodOf<'HeapAllocator', 'allocate' | 'free' | 'reallocate' | 'sizeOf' | 'view'>>;

// .
export interface HeapInfo {
    readonly objects: number;
    readonly bytes: number;
    readonly pages: number;
}

// .
export interface HeapOptions<A extends Address> {
    readonly memory?: ByteMemory<A> | undefined;
}

// .
export declare class IndexedPages<A extends Address> {
    private constructor();
    allocate(order: number): number;
    free(index: number): void;
    addressOf(index: number): A;
    indexOf(address: A): number;
}

// .
export type IndexedPagesErrorCode = CodeOf<MethodOf<'IndexedPages'>>;

// .
export type Invariant = 'metadata' | 'partition' | 'alignment' | 'block-counts' | 'free-counts' | 'free-lists' | 'merging' | 'runs' | 'slabs' | 'references';

// .
export interface MapSource<A extends Address> {
    readonly region: MemoryRegion<A>;
    blocks(): Iterable<{
        readonly region: MemoryRegion<A>;
        readonly state: BlockState | 'cached';
        readonly kind: BlockKind | undefined;
    }>;
}

// .
export interface MemoryInfo {
    readonly totalPages: number;
    readonly freePages: number;
    readonly allocatedPages: number;
    readonly reservedPages: number;
    readonly largestFreeOrder: number | undefined;
    readonly freeBlocks: readonly number[];
    readonly allocatedBlocks: readonly number[];
    readonly fragmentation: readonly number[];
}

// not exported
type MethodOf<Class extends string, Name extends string = string> = Extract<Row, `${Class}.${Name}`>;

// .
export declare class OwnedBlock<A extends Address> {
    constructor(owner: BlockOwner<A>, region: MemoryRegion<A>);
    get region(): MemoryRegion<A>;
    get start(): A;
    get isOwned(): boolean;
    release(): void;
    leak(): MemoryRegion<A>;
    takeOver(): OwnedBlock<A>;
    [Symbol.dispose](): void;
}

// .
export type OwnedBlockErrorCode = CodeOf<'PageAllocator.own' | MethodOf<'OwnedBlock'>>;

// .
export declare class PageAllocator<A extends Address> {
    readonly indexed: IndexedPages<A>;
    constructor(regions: MemoryRegion<A> | readonly MemoryRegion<A>[], options?: PageAllocatorOptions<A>);
    static restore<A extends Address>(kind: AddressKind<A>, snapshot: AllocatorSnapshot, options?: Pick<PageAllocatorOptions<A>, (typeof RESTORE_OPTIONS)[number]>): PageAllocator<A>;
    get region(): MemoryRegion<A>;
    get regions(): readonly MemoryRegion<A>[];
    get maxOrder(): number;
    allocatePages(order: number): MemoryRegion<A>;
    allocateBlock(order: number): A;
    allocatePage(): A;
    allocateZeroedPage(): A;
    allocateFilePage(): A;
    getFilePage(page: A): number;
    putFilePage(page: A): number;
    allocateRun(pages: number, alignment?: Bytes): MemoryRegion<A>;
    allocateAt(pages: MemoryRegion<A>): MemoryRegion<A>;
    freePages(block: MemoryRegion<A> | A): void;
    freePage(page: A): void;
    reserve(pages: MemoryRegion<A>): void;
    unreserve(pages: MemoryRegion<A>): void;
    addRegion(region: MemoryRegion<A>): void;
    removeRegion(region: MemoryRegion<A>): void;
    pagesFor(kind: 'slab' | 'heap'): PageSource<A>;
    own(block: number | MemoryRegion<A>): OwnedBlock<A>;
    blockOf(address: A): Block<A> | undefined;
    blocks(): Generator<Block<A>, undefined, undefined>;
    memoryInfo(): MemoryInfo;
    snapshot(): AllocatorSnapshot;
    checkInvariants(): void;
}

// .
export interface PageAllocatorOptions<A extends Address> {
    readonly maxOrder?: number | undefined;
    readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
    readonly space?: MemoryRegion<A> | undefined;
    readonly memory?: PageMemory<A> | undefined;
    readonly poison?: boolean | PoisonPatterns | undefined;
    readonly beforeFree?: ((block: MemoryRegion<A>, kind: BlockKind) => void) | undefined;
    readonly trace?: Tracer<A> | undefined;
    readonly onLeak?: ((block: MemoryRegion<A>) => void) | undefined;
}

// .
export declare class PageCache<A extends Address> {
    private constructor();
    allocatePage(): A;
    freePage(page: A): void;
    flush(): void;
    close(): void;
    [Symbol.dispose](): void;
}

// .
export type PageCacheErrorCode = CodeOf<'SharedPageAllocator.cache' | MethodOf<'PageCache'>>;

// .
export interface PageMemory<A extends Address> {
    clearPage(page: A): void;
    bytes?(address: A, length: number): Uint8Array;
}

// .
export interface PageSource<A extends Address> {
    readonly guard?: {
        enter(operation: string): void;
    } | undefined;
    allocate(pages: number, alignment: number): A;
    free(start: A): void;
}

// .
export type PageSourceErrorCode = CodeOf<MethodOf<'PageSource'>>;

// .
export interface PoisonPatterns {
    readonly freed?: number | undefined;
    readonly allocated?: number | undefined;
}

// not exported
export declare const RESTORE_OPTIONS: readonly [
    "memory",
    "poison",
    "beforeFree",
    "trace",
    "onLeak"
];

// .
export interface RenderMapOptions {
    readonly columns?: number | undefined;
    readonly rows?: number | undefined;
}

// .
export type ReserveErrorCode = CodeOf<MethodOf<'PageAllocator', 'allocateAt' | 'reserve' | 'unreserve' | 'addRegion' | 'removeRegion'>>;

// not exported
type Row = keyof typeof ERRORS_OF;

// .
export type SharedAllocateErrorCode = CodeOf<MethodOf<'SharedPageAllocator', 'allocatePages' | 'allocateBlock' | 'allocatePage'>>;

// .
export interface SharedAllocatorOptions<A extends Address> extends SharedOwnerOptions, SharedBufferOptions {
    readonly maxOrder?: number | undefined;
    readonly reserved?: Iterable<MemoryRegion<A>> | undefined;
    readonly buffer?: SharedArrayBuffer | undefined;
}

// .
export interface SharedBlock<A extends Address> {
    readonly region: MemoryRegion<A>;
    readonly order: number;
    readonly state: BlockState | 'cached';
    readonly kind: 'pages' | undefined;
}

// .
export interface SharedBufferOptions {
    readonly caches?: number | undefined;
}

// .
export type SharedBufferProblem = 'unavailable' | 'type' | 'too small' | 'not zeros' | 'uninitialized' | 'version' | 'kind' | 'corrupted';

// .
export type SharedFreeErrorCode = CodeOf<MethodOf<'SharedPageAllocator', 'freePages' | 'freePage'>>;

// .
export interface SharedMemoryInfo extends MemoryInfo {
    readonly cachedPages: number;
}

// .
export interface SharedOwnerOptions {
    readonly lockTimeout?: number | undefined;
}

// .
export declare class SharedPageAllocator<A extends Address> {
    readonly buffer: SharedArrayBuffer;
    private constructor();
    static create<A extends Address>(region: MemoryRegion<A>, options?: SharedAllocatorOptions<A>): SharedPageAllocator<A>;
    static attach<A extends Address>(kind: AddressKind<A>, buffer: SharedArrayBuffer, options?: SharedOwnerOptions): SharedPageAllocator<A>;
    static bytesFor<A extends Address>(region: MemoryRegion<A>, options?: SharedBufferOptions): number;
    get region(): MemoryRegion<A>;
    get maxOrder(): number;
    get owner(): number;
    allocatePages(order: number): MemoryRegion<A>;
    allocateBlock(order: number): A;
    allocatePage(): A;
    freePages(block: MemoryRegion<A> | A): void;
    freePage(page: A): void;
    cache(options?: {
        readonly pages?: number | undefined;
    }): PageCache<A>;
    recover(owner: number): boolean;
    blockOf(address: A): SharedBlock<A> | undefined;
    blocks(): Generator<SharedBlock<A>, undefined, undefined>;
    memoryInfo(): SharedMemoryInfo;
    checkInvariants(): void;
}

// .
export type SharedStateErrorCode = CodeOf<MethodOf<'SharedPageAllocator', 'recover' | 'blockOf' | 'blocks' | 'memoryInfo' | 'checkInvariants'>>;

// .
export declare class SlabCache<A extends Address> {
    readonly objectBytes: number;
    constructor(allocator: PageAllocator<A>, size: number, options?: SlabCacheOptions);
    allocate(): A;
    free(address: A): void;
    info(): SlabInfo;
    trim(): void;
    checkInvariants(): void;
}

// .
export interface SlabCacheOptions {
    readonly alignment?: Bytes | undefined;
    readonly keepEmpty?: number | undefined;
}

// .
export type SlabErrorCode = CodeOf<'new SlabCache' | MethodOf<'SlabCache', 'allocate' | 'free'>>;

// .
export interface SlabInfo {
    readonly objects: number;
    readonly capacity: number;
    readonly pages: number;
    readonly emptyPages: number;
}

// .
export interface SnapshotBlock extends SnapshotRange {
    readonly kind: BlockKind;
    readonly references: number | undefined;
}

// .
export interface SnapshotRange {
    readonly start: bigint;
    readonly end: bigint;
}

// .
export type Tracer<A extends Address> = (event: AllocatorEvent<A>) => void;

// .
export interface ViewConstructor<View> {
    readonly BYTES_PER_ELEMENT: number;
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): View;
}

// .
export declare function getOrder(bytes: Bytes): number;

// .
export declare function isBuddyError<Code extends BuddyErrorCode = BuddyErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: BuddyError<C>;
}[Code];

// .
export declare function renderMap<A extends Address>(allocator: MapSource<A>, options?: RenderMapOptions): string;
