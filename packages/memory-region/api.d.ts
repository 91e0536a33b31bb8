// The public declarations of @svsm/memory-region: npm run api records them. Above each is its entry point.

import type { Address, AddressKind, Bytes, CodedError, PageSize, PhysAddr, VirtAddr } from '@svsm/address';

// not exported
type Checked<Table extends Readonly<Record<string, readonly RegionErrorCode[]>>> = Table;

// not exported
type CodeOf<Operation extends keyof Table> = Table[Operation][number];

// .
export type CombineRegionsErrorCode = CodeOf<'MemoryRegion.containsRegion' | 'MemoryRegion.overlaps' | 'MemoryRegion.contiguous' | 'MemoryRegion.merge' | 'MemoryRegion.hull' | 'MemoryRegion.intersect' | 'MemoryRegion.subtract'>;

// not exported
export declare const ERRORS_OF: {
    readonly 'MemoryRegion.constructor': readonly [
        "REGION_OVERFLOW"
    ];
    readonly 'MemoryRegion.fromAddresses': readonly [
        "REGION_OVERFLOW",
        "INVALID_END"
    ];
    readonly 'MemoryRegion.tryNew': readonly [
    ];
    readonly 'MemoryRegion.unchecked': readonly [
    ];
    readonly 'MemoryRegion.from': readonly [
        "KIND_MISMATCH"
    ];
    readonly virtRegion: readonly [
        "REGION_OVERFLOW"
    ];
    readonly physRegion: readonly [
        "REGION_OVERFLOW"
    ];
    readonly 'MemoryRegion.contains': readonly [
    ];
    readonly 'MemoryRegion.containsInclusive': readonly [
    ];
    readonly 'MemoryRegion.containsRegion': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.overlaps': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.contiguous': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.equals': readonly [
    ];
    readonly 'MemoryRegion.merge': readonly [
        "NOT_CONTIGUOUS",
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.hull': readonly [
        "REGION_OVERFLOW",
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.intersect': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.subtract': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'MemoryRegion.splitAt': readonly [
        "OUTSIDE_REGION"
    ];
    readonly 'MemoryRegion.expand': readonly [
        "REGION_OVERFLOW"
    ];
    readonly 'MemoryRegion.alignOutward': readonly [
        "REGION_OVERFLOW"
    ];
    readonly 'MemoryRegion.alignInward': readonly [
    ];
    readonly 'MemoryRegion.pageCount': readonly [
        "INVALID_PAGE_SIZE",
        "MISALIGNED_REGION"
    ];
    readonly 'MemoryRegion.iterPages': readonly [
        "INVALID_PAGE_SIZE",
        "MISALIGNED_REGION"
    ];
    readonly 'MemoryRegion.cursor': readonly [
        "INVALID_PAGE_SIZE",
        "MISALIGNED_REGION"
    ];
    readonly 'MemoryRegion.largestPages': readonly [
        "INVALID_PAGE_SIZE",
        "INVALID_ARGUMENT",
        "MISALIGNED_REGION"
    ];
    readonly 'MemoryRegion.pageRuns': readonly [
        "INVALID_PAGE_SIZE",
        "INVALID_ARGUMENT",
        "MISALIGNED_REGION"
    ];
    readonly 'MemoryRegion.toString': readonly [
    ];
    readonly 'PageCursor.goTo': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly 'PageCursor.next': readonly [
    ];
    readonly 'PageCursor.return': readonly [
    ];
    readonly pageAddress: readonly [
        "NOT_ON_PAGE",
        "INVALID_ARGUMENT"
    ];
    readonly 'RegionSet.constructor': readonly [
        "INVALID_ARGUMENT",
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.add': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.remove': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.contains': readonly [
    ];
    readonly 'RegionSet.containsRegion': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.overlaps': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.regionAt': readonly [
    ];
    readonly 'RegionSet.overlapping': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.gaps': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.union': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.intersect': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.subtract': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.difference': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.equals': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionSet.toString': readonly [
    ];
    readonly 'RegionMap.constructor': readonly [
        "INVALID_ARGUMENT",
        "REGION_OVERLAP",
        "EMPTY_REGION",
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.set': readonly [
        "REGION_OVERLAP",
        "EMPTY_REGION",
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.overlay': readonly [
        "EMPTY_REGION",
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.delete': readonly [
        "NO_SUCH_REGION",
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.get': readonly [
    ];
    readonly 'RegionMap.entryAt': readonly [
    ];
    readonly 'RegionMap.overlapping': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.gaps': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.findGap': readonly [
        "KIND_MISMATCH"
    ];
    readonly 'RegionMap.coalesced': readonly [
        "INVALID_ARGUMENT"
    ];
    readonly walkRanges: readonly [
        "INVALID_ARGUMENT",
        "UNSORTED_REGIONS",
        "KIND_MISMATCH"
    ];
    readonly unionRanges: readonly [
        "INVALID_ARGUMENT",
        "UNSORTED_REGIONS",
        "KIND_MISMATCH"
    ];
    readonly intersectRanges: readonly [
        "INVALID_ARGUMENT",
        "UNSORTED_REGIONS",
        "KIND_MISMATCH"
    ];
    readonly subtractRanges: readonly [
        "INVALID_ARGUMENT",
        "UNSORTED_REGIONS",
        "KIND_MISMATCH"
    ];
    readonly differenceRanges: readonly [
        "INVALID_ARGUMENT",
        "UNSORTED_REGIONS",
        "KIND_MISMATCH"
    ];
    readonly formatBounds: readonly [
        "INVALID_ARGUMENT"
    ];
    readonly isRegionError: readonly [
    ];
};

// .
export type MakeRegionErrorCode = CodeOf<'MemoryRegion.constructor' | 'MemoryRegion.fromAddresses' | 'virtRegion' | 'physRegion'>;

// .
export declare class MemoryRegion<A extends Address> {
    constructor(kind: AddressKind<A>, start: A, size: Bytes);
    static fromAddresses<A extends Address>(kind: AddressKind<A>, start: A, end: bigint): MemoryRegion<A>;
    static tryNew<A extends Address>(kind: AddressKind<A>, start: unknown, size: unknown): MemoryRegion<A> | undefined;
    static from<A extends Address>(kind: AddressKind<A>, value: unknown): MemoryRegion<A>;
    static unchecked<A extends Address>(kind: AddressKind<A>, start: A, size: bigint): MemoryRegion<A>;
    get kind(): AddressKind<A>;
    get start(): A;
    get end(): bigint;
    get size(): bigint;
    get last(): A | undefined;
    get isEmpty(): boolean;
    contains(address: A): boolean;
    containsInclusive(address: bigint): boolean;
    containsRegion(other: MemoryRegion<A>): boolean;
    overlaps(other: MemoryRegion<A>): boolean;
    contiguous(other: MemoryRegion<A>): boolean;
    equals(other: MemoryRegion<A>): boolean;
    merge(other: MemoryRegion<A>): MemoryRegion<A>;
    hull(other: MemoryRegion<A>): MemoryRegion<A>;
    intersect(other: MemoryRegion<A>): MemoryRegion<A> | undefined;
    subtract(other: MemoryRegion<A>): MemoryRegion<A>[];
    splitAt(at: A): [
        MemoryRegion<A>,
        MemoryRegion<A>
    ];
    expand(bytes: Bytes): MemoryRegion<A>;
    alignOutward(alignment: Bytes): MemoryRegion<A>;
    alignInward(alignment: Bytes): MemoryRegion<A> | undefined;
    pageCount(size?: PageSize): number;
    iterPages(size: PageSize): PageIterator<A>;
    cursor(size: PageSize): PageCursor<A>;
    largestPages(options?: PageRunOptions): Generator<MemoryRegion<A>, undefined, undefined>;
    pageRuns(options?: PageRunOptions): Generator<PageRun<A>, undefined, undefined>;
    toString(): string;
    get [Symbol.toStringTag](): string;
}

// .
export interface PageCursor<A extends Address> {
    readonly address: A;
    readonly low: number;
    readonly high: number;
    readonly index: number;
    readonly count: number;
    readonly pageSize: PageSize;
    goTo(index: number): this;
    next(): IteratorResult<PageCursor<A>, undefined>;
    return(): IteratorResult<PageCursor<A>, undefined>;
    [Symbol.iterator](): PageCursor<A>;
}

// .
export type PageCursorErrorCode = CodeOf<Extract<keyof Table, `PageCursor.${string}`> | 'pageAddress'>;

// .
export type PageIterator<A extends Address> = ReturnType<A[]['values']>;

// .
export interface PageRun<A extends Address> {
    readonly start: A;
    readonly pageSize: PageSize;
    readonly count: number;
}

// .
export interface PageRunOptions {
    readonly offset?: number | bigint;
    readonly maxPageSize?: PageSize;
}

// .
export type PhysPage = PhysAddr | PageCursor<PhysAddr>;

// .
export interface RangePiece<A extends Address, L, R> {
    readonly region: MemoryRegion<A>;
    readonly left: RegionEntry<A, L> | undefined;
    readonly right: RegionEntry<A, R> | undefined;
}

// .
export interface RegionBounds {
    readonly start: bigint;
    readonly end: bigint;
}

// .
export type RegionEntry<A extends Address, V> = readonly [
    region: MemoryRegion<A>,
    value: V
];

// .
export declare class RegionError<Code extends RegionErrorCode = RegionErrorCode> extends CodedError<Code, RegionErrorDetails[Code]> {
    constructor(code: Code, details: RegionErrorDetails[Code], options?: ErrorOptions);
}

// .
export type RegionErrorCode = keyof RegionErrorDetails;

// .
export interface RegionErrorDetails {
    REGION_OVERFLOW: {
        kind: string;
        start: bigint;
        size: bigint;
        limit: bigint;
    };
    INVALID_END: {
        kind: string;
        start: bigint;
        end: unknown;
    };
    INVALID_PAGE_SIZE: {
        value: unknown;
    };
    INVALID_ARGUMENT: {
        what: string;
        value: unknown;
        expected: string;
    };
    MISALIGNED_REGION: {
        region: RegionBounds;
        pageSize: number;
    };
    NOT_ON_PAGE: {
        hasEnded: boolean;
    };
    NOT_CONTIGUOUS: {
        left: RegionBounds;
        right: RegionBounds;
    };
    OUTSIDE_REGION: {
        region: RegionBounds;
        at: unknown;
    };
    REGION_OVERLAP: {
        region: RegionBounds;
        existing: RegionBounds;
    };
    NO_SUCH_REGION: {
        region: RegionBounds;
    };
    EMPTY_REGION: {
        region: RegionBounds;
    };
    UNSORTED_REGIONS: {
        side: 'left' | 'right';
        index: number;
        before: RegionBounds;
        region: RegionBounds;
    };
    KIND_MISMATCH: {
        expected: string;
        actual: string;
    };
}

// .
export declare class RegionMap<A extends Address, V> implements Iterable<RegionEntry<A, V>> {
    readonly kind: AddressKind<A>;
    constructor(kind: AddressKind<A>, entries?: Iterable<RegionEntry<A, V>>);
    get size(): number;
    set(region: MemoryRegion<A>, value: V): this;
    overlay(region: MemoryRegion<A>, value: V): this;
    delete(region: MemoryRegion<A>): V;
    get(address: A): V | undefined;
    entryAt(address: A): RegionEntry<A, V> | undefined;
    overlapping(region: MemoryRegion<A>): Generator<RegionEntry<A, V>, undefined, undefined>;
    gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined>;
    findGap(within: MemoryRegion<A>, size: Bytes, alignment?: Bytes): MemoryRegion<A> | undefined;
    coalesced(equal?: (left: V, right: V) => boolean): Generator<RegionEntry<A, V>, undefined, undefined>;
    [Symbol.iterator](): Generator<RegionEntry<A, V>, undefined, undefined>;
}

// .
export type RegionMapErrorCode = CodeOf<Extract<keyof Table, `RegionMap.${string}`>>;

// .
export type RegionPagesErrorCode = CodeOf<'MemoryRegion.pageCount' | 'MemoryRegion.iterPages' | 'MemoryRegion.cursor' | 'MemoryRegion.largestPages' | 'MemoryRegion.pageRuns'>;

// .
export declare class RegionSet<A extends Address> implements Iterable<MemoryRegion<A>> {
    readonly kind: AddressKind<A>;
    constructor(kind: AddressKind<A>, regions?: Iterable<MemoryRegion<A>>);
    get regionCount(): number;
    get size(): bigint;
    get isEmpty(): boolean;
    add(region: MemoryRegion<A>): this;
    remove(region: MemoryRegion<A>): this;
    contains(address: A): boolean;
    containsRegion(region: MemoryRegion<A>): boolean;
    overlaps(region: MemoryRegion<A>): boolean;
    regionAt(address: A): MemoryRegion<A> | undefined;
    overlapping(region: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined>;
    gaps(within: MemoryRegion<A>): Generator<MemoryRegion<A>, undefined, undefined>;
    union(other: RegionSet<A>): RegionSet<A>;
    intersect(other: RegionSet<A>): RegionSet<A>;
    subtract(other: RegionSet<A>): RegionSet<A>;
    difference(other: RegionSet<A>): RegionSet<A>;
    equals(other: RegionSet<A>): boolean;
    [Symbol.iterator](): Generator<MemoryRegion<A>, undefined, undefined>;
    toString(): string;
}

// .
export type RegionSetErrorCode = CodeOf<Extract<keyof Table, `RegionSet.${string}`>>;

// .
export type ResizeRegionErrorCode = CodeOf<'MemoryRegion.splitAt' | 'MemoryRegion.expand' | 'MemoryRegion.alignOutward' | 'MemoryRegion.alignInward'>;

// not exported
type Table = Checked<typeof ERRORS_OF>;

// .
export type VirtPage = VirtAddr | PageCursor<VirtAddr>;

// .
export type WalkRangesErrorCode = CodeOf<'walkRanges' | 'unionRanges' | 'intersectRanges' | 'subtractRanges' | 'differenceRanges'>;

// .
export declare function differenceRanges<A extends Address>(left: Iterable<MemoryRegion<A>>, right: Iterable<MemoryRegion<NoInfer<A>>>): Generator<MemoryRegion<A>, undefined, undefined>;

// .
export declare function formatBounds(bounds: RegionBounds): string;

// .
export declare function intersectRanges<A extends Address>(left: Iterable<MemoryRegion<A>>, right: Iterable<MemoryRegion<NoInfer<A>>>): Generator<MemoryRegion<A>, undefined, undefined>;

// .
export declare function isRegionError<Code extends RegionErrorCode = RegionErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: RegionError<C>;
}[Code];

// .
export declare function pageAddress<A extends Address>(page: A | PageCursor<A>): A;

// .
export declare function physRegion(start: PhysAddr, size: Bytes): MemoryRegion<PhysAddr>;

// .
export declare function subtractRanges<A extends Address>(left: Iterable<MemoryRegion<A>>, right: Iterable<MemoryRegion<NoInfer<A>>>): Generator<MemoryRegion<A>, undefined, undefined>;

// .
export declare function unionRanges<A extends Address>(left: Iterable<MemoryRegion<A>>, right: Iterable<MemoryRegion<NoInfer<A>>>): Generator<MemoryRegion<A>, undefined, undefined>;

// .
export declare function virtRegion(start: VirtAddr, size: Bytes): MemoryRegion<VirtAddr>;

// .
export declare function walkRanges<A extends Address, L, R>(left: Iterable<RegionEntry<A, L>>, right: Iterable<RegionEntry<NoInfer<A>, R>>): Generator<RangePiece<A, L, R>, undefined, undefined>;
