// The public declarations of @svsm/address: npm run api records them. Above each is its entry point.

// .
export type Address<Name extends string = string> = bigint & {
    readonly '__address:@svsm': Name;
};

// .
export declare class AddressError<Code extends AddressErrorCode = AddressErrorCode> extends CodedError<Code, AddressErrorDetails[Code]> {
    constructor(code: Code, details: AddressErrorDetails[Code], options?: ErrorOptions);
}

// .
export type AddressErrorCode = keyof AddressErrorDetails;

// .
export interface AddressErrorDetails {
    INVALID_ADDRESS: {
        kind: string;
        value: unknown;
    };
    OUTSIDE_SPACE: {
        kind: string;
        value: bigint;
        end: bigint;
    };
    NON_CANONICAL: {
        kind: string;
        bits: number;
        value: bigint;
        holeStart: bigint;
        holeEnd: bigint;
    };
    INVALID_ADDRESS_TEXT: {
        kind: string;
        text: unknown;
    };
    INVALID_BYTE_COUNT: {
        value: unknown;
    };
    INVALID_ALIGNMENT: {
        value: unknown;
        max: bigint;
    };
    ADDRESS_OVERFLOW: {
        kind: string;
        operation: string;
        address: bigint;
        bytes: bigint;
        at: 'zero' | 'hole' | 'end';
        limit: bigint;
    };
    INVALID_LEVEL: {
        level: unknown;
    };
    INVALID_KIND: {
        kind: unknown;
        problem: string;
    };
}

// .
export interface AddressHole {
    readonly start: bigint;
    readonly end: bigint;
}

// .
export interface AddressKind<A extends Address> {
    readonly name: string;
    readonly bits: number;
    readonly end: bigint;
    readonly hole: AddressHole | undefined;
    address(value: number | bigint): A;
    tryAddress(value: unknown): A | undefined;
    isAddress(value: unknown): value is A;
    assertIsAddress(value: unknown): asserts value is A;
    parse(text: string): A;
    truncate(value: number | bigint): A;
    add(address: A, bytes: Bytes): A;
    sub(address: A, bytes: Bytes): A;
    checkedAdd(address: A, bytes: Bytes): A | undefined;
    checkedSub(address: A, bytes: Bytes): A | undefined;
    alignUp(address: A, alignment: Bytes): A;
    checkedAlignUp(address: A, alignment: Bytes): A | undefined;
    stepForward(address: A, bytes: Bytes): A;
    stepBackward(address: A, bytes: Bytes): A;
    stepsBetween(from: A, to: A): bigint;
    runEnd(address: A): bigint;
}

// .
export interface AddressKindSpec {
    readonly name: string;
    readonly bits: number;
    readonly signExtended: boolean;
}

// .
export type AlignErrorCode = CodeOf<'alignUp' | 'checkedAlignUp' | 'alignDown' | 'isAligned'>;

// .
export type ArithmeticErrorCode = CodeOf<'add' | 'sub' | 'checkedAdd' | 'checkedSub' | 'stepForward' | 'stepBackward' | 'stepsBetween' | 'runEnd' | 'distance'>;

// .
export type Bytes = number | bigint;

// not exported
type Checked<Table extends Readonly<Record<string, readonly AddressErrorCode[]>>> = Table;

// not exported
type CodeOf<Operation extends keyof typeof ERRORS_OF> = Checked<typeof ERRORS_OF>[Operation][number];

// .
export declare abstract class CodedError<Code extends string, Details extends object> extends Error {
    readonly code: Code;
    readonly details: Readonly<Details>;
    protected constructor(name: string, code: Code, details: Details, message: string, options?: ErrorOptions);
    toJSON(): {
        name: string;
        code: Code;
        message: string;
        details: unknown;
    };
}

// not exported
export declare const ERRORS_OF: {
    readonly address: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL"
    ];
    readonly tryAddress: readonly [
    ];
    readonly isAddress: readonly [
    ];
    readonly assertIsAddress: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL"
    ];
    readonly parse: readonly [
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_ADDRESS_TEXT"
    ];
    readonly truncate: readonly [
        "INVALID_ADDRESS"
    ];
    readonly add: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_BYTE_COUNT",
        "ADDRESS_OVERFLOW"
    ];
    readonly sub: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_BYTE_COUNT",
        "ADDRESS_OVERFLOW"
    ];
    readonly checkedAdd: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_BYTE_COUNT"
    ];
    readonly checkedSub: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_BYTE_COUNT"
    ];
    readonly alignUp: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_ALIGNMENT",
        "ADDRESS_OVERFLOW"
    ];
    readonly checkedAlignUp: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_ALIGNMENT"
    ];
    readonly stepForward: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_BYTE_COUNT",
        "ADDRESS_OVERFLOW"
    ];
    readonly stepBackward: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL",
        "INVALID_BYTE_COUNT",
        "ADDRESS_OVERFLOW"
    ];
    readonly stepsBetween: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL"
    ];
    readonly runEnd: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL"
    ];
    readonly virtAddr: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL"
    ];
    readonly tryVirtAddr: readonly [
    ];
    readonly isVirtAddr: readonly [
    ];
    readonly assertIsVirtAddr: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "NON_CANONICAL"
    ];
    readonly parseVirtAddr: readonly [
        "NON_CANONICAL",
        "INVALID_ADDRESS_TEXT"
    ];
    readonly virtAddrTruncate: readonly [
        "INVALID_ADDRESS"
    ];
    readonly physAddr: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE"
    ];
    readonly tryPhysAddr: readonly [
    ];
    readonly isPhysAddr: readonly [
    ];
    readonly assertIsPhysAddr: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE"
    ];
    readonly parsePhysAddr: readonly [
        "OUTSIDE_SPACE",
        "INVALID_ADDRESS_TEXT"
    ];
    readonly alignDown: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "INVALID_ALIGNMENT"
    ];
    readonly isAligned: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "INVALID_ALIGNMENT"
    ];
    readonly distance: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE"
    ];
    readonly isPageAligned: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE"
    ];
    readonly pageNumber: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE"
    ];
    readonly pageOffset: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE"
    ];
    readonly crossesPage: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "INVALID_BYTE_COUNT"
    ];
    readonly pageTableIndex: readonly [
        "INVALID_ADDRESS",
        "OUTSIDE_SPACE",
        "INVALID_LEVEL"
    ];
    readonly byteCount: readonly [
        "INVALID_BYTE_COUNT"
    ];
    readonly alignmentBytes: readonly [
        "INVALID_ALIGNMENT"
    ];
    readonly defineAddressKind: readonly [
        "INVALID_KIND"
    ];
    readonly isAddressKind: readonly [
    ];
    readonly assertIsAddressKind: readonly [
        "INVALID_KIND"
    ];
    readonly formatAddress: readonly [
        "INVALID_ADDRESS"
    ];
    readonly describeValue: readonly [
    ];
    readonly jsonValue: readonly [
    ];
    readonly isAddressError: readonly [
    ];
    readonly isCodedError: readonly [
    ];
};

// .
export type MakeAddressErrorCode = CodeOf<'address' | 'assertIsAddress'>;

// .
export type MessageTable<DetailsByCode> = {
    readonly [Code in keyof DetailsByCode]: (details: DetailsByCode[Code]) => string;
};

// .
export declare const PAGE_SHIFT = 12;

// .
export declare const PAGE_SIZE = 4096;

// .
export declare const PAGE_SIZE_1G = 1073741824;

// .
export declare const PAGE_SIZE_2M = 2097152;

// .
export type PageArithmeticErrorCode = CodeOf<'isPageAligned' | 'pageNumber' | 'pageOffset' | 'crossesPage' | 'pageTableIndex'>;

// .
export declare const PageSize: {
    readonly Regular: 4096;
    readonly Huge: 2097152;
    readonly Giant: 1073741824;
};
export type PageSize = (typeof PageSize)[keyof typeof PageSize];

// .
export type ParseAddressErrorCode = CodeOf<'parse'>;

// .
export declare const Phys: AddressKind<PhysAddr>;

// .
export type PhysAddr = Address<'phys'>;

// .
export declare const Virt: AddressKind<VirtAddr>;

// .
export declare const Virt57: AddressKind<VirtAddr>;

// .
export type VirtAddr = Address<'virt'>;

// .
export declare function alignDown<A extends Address>(address: A, alignment: Bytes): A;

// .
export declare function alignmentBytes(value: Bytes): bigint;

// .
export declare function assertIsAddressKind(value: unknown): asserts value is AddressKind<Address>;

// .
export declare function assertIsPhysAddr(value: unknown): asserts value is PhysAddr;

// .
export declare function assertIsVirtAddr(value: unknown): asserts value is VirtAddr;

// .
export declare function byteCount(value: Bytes): bigint;

// .
export declare function crossesPage(address: Address, bytes: Bytes): boolean;

// .
export declare function defineAddressKind<A extends Address>(spec: AddressKindSpec): AddressKind<A>;

// .
export declare function describeValue(value: unknown, expected?: string): string;

// .
export declare function distance<A extends Address>(from: A, to: NoInfer<A>): bigint;

// .
export declare function formatAddress(address: bigint): string;

// .
export declare function isAddressError<Code extends AddressErrorCode = AddressErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: AddressError<C>;
}[Code];

// .
export declare function isAddressKind(value: unknown): value is AddressKind<Address>;

// .
export declare function isAligned(address: Address, alignment: Bytes): boolean;

// .
export declare function isCodedError(error: unknown, name: string, code?: string): error is CodedError<string, Record<string, unknown>>;

// .
export declare function isPageAligned(address: Address): boolean;

// .
export declare function isPhysAddr(value: unknown): value is PhysAddr;

// .
export declare function isVirtAddr(value: unknown): value is VirtAddr;

// .
export declare function jsonValue(value: unknown): unknown;

// .
export declare function pageNumber(address: Address): number;

// .
export declare function pageOffset(address: Address): number;

// .
export declare function pageTableIndex(vaddr: VirtAddr, level: number): number;

// .
export declare function parsePhysAddr(text: string): PhysAddr;

// .
export declare function parseVirtAddr(text: string): VirtAddr;

// .
export declare function physAddr(value: number | bigint): PhysAddr;

// .
export declare function showInConsoles<T extends object>(type: {
    readonly prototype: T;
}, name: string, view: (value: T) => object, text?: (value: T) => string): void;

// .
export declare function tryPhysAddr(value: unknown): PhysAddr | undefined;

// .
export declare function tryVirtAddr(value: unknown): VirtAddr | undefined;

// .
export declare function virtAddr(value: number | bigint): VirtAddr;

// .
export declare function virtAddrTruncate(value: number | bigint): VirtAddr;
