import {
  CodedError,
  describeValue,
  formatAddress,
  isCodedError,
  type MessageTable,
  type PageSize,
} from '@svsm/address';

/** What each code of {@link PageTableError} carries in `details`. Codes are only ever added. */
export interface PageTableErrorDetails {
  /** A physical access outside memory. */
  BUS_ERROR: { paddr: bigint; memory: string };
  /** A write to memory that is only read. */
  READ_ONLY: { paddr: bigint };
  /** A `PhysMemory` that does not do what it must. */
  RULE_BROKEN: { rule: string; found: string };
  /** A physical memory that cannot be made as described. */
  INVALID_MEMORY: { value: unknown; problem: string };
  /** A paging configuration that no processor has. */
  INVALID_CONFIG: { field: string; value: unknown; expected: string };
  /** A virtual address that is not canonical for the table's levels, or is no address at all. */
  NON_CANONICAL: { vaddr: unknown; levels: number };
  /** An address that is no multiple of the page size. */
  MISALIGNED: { what: 'virtual' | 'physical'; address: bigint; pageSize: PageSize };
  /** A physical address that is no address, or does not fit the table's physical width. */
  OUTSIDE_PHYSICAL_RANGE: { paddr: unknown; end: bigint };
  /** Flags that an entry at this level cannot hold, or that the configuration makes reserved. */
  INVALID_FLAGS: { flags: unknown; refused: number; reason: string };
  /** Nothing is mapped at an address that should be. */
  NOT_MAPPED: { vaddr: bigint; level: number };
  /** An entry is in the way of a new mapping. */
  ALREADY_MAPPED: { vaddr: bigint; level: number; entry: bigint };
  /** The address is mapped by a page of another size than the operation is for. */
  PAGE_SIZE_MISMATCH: { vaddr: bigint; expected: PageSize; found: PageSize };
  /** A present entry has reserved bits set: the table is corrupted, or the configuration is not the one it was made for. */
  RESERVED_BITS: { vaddr: bigint; level: number; paddr: bigint; entry: bigint; reserved: bigint };
  /** The frame allocator has none left; its own error is the `cause`. */
  OUT_OF_MEMORY: { needed: number };
  /** A table that was opened without a frame allocator needs a frame. */
  NO_FRAME_ALLOCATOR: { operation: string };
  /** A frame that cannot be a table: misaligned, outside memory, past the physical width, or no address. */
  INVALID_FRAME: { frame: unknown; problem: string };
  /** Sharing was asked for in a configuration without memory encryption. */
  NO_ENCRYPTION: { operation: string };
  /** What is no page size, or 1 GiB where the configuration has none. */
  INVALID_PAGE_SIZE: { pageSize: unknown; giantPages: boolean };
  /** A region is mapped by way of one table in two places: what is done to one page would be done to another. */
  ALIASED_TABLE: { vaddr: bigint; table: bigint };
  /** The page table was destroyed; its tables belong to others now. */
  DESTROYED: { root: bigint };
  /** An index or a level that a self-map cannot have. */
  INVALID_SELF_MAP: { value: unknown; problem: string };
  /** An index that is no entry of the root, or of one that leads to no table. */
  INVALID_ROOT_ENTRY: { index: unknown; problem: string };
  /** An address that does not belong to the part of this entry of the root. */
  OUTSIDE_PART: { vaddr: bigint; index: number };
  /** A region that lies only partly in a part that is attached to the page table. */
  PART_BOUNDARY: { vaddr: bigint; index: number };
  /** A page table that a part cannot be attached to. */
  PART_MISMATCH: { problem: string };
  /** A part that is not attached to the page table from which it is to be detached. */
  PART_NOT_ATTACHED: { index: number };
  /** A part that page tables still lead to. */
  PART_IN_USE: { index: number; tables: number };
  /** What is no entry of a page table, or is at no level of it. */
  INVALID_ENTRY: { value: unknown; problem: string };
  /** A state that no processor can be in. */
  INVALID_CPU_STATE: { field: string; value: unknown; expected: string };
  /** A threshold, range or address space that a TLB cannot have. */
  INVALID_FLUSH: { field: string; value: unknown; expected: string };
  /** An access that is neither a read, nor a write, nor a fetch. */
  INVALID_ACCESS: { kind: unknown };
}

/** The codes of {@link PageTableError}. */
export type PageTableErrorCode = keyof PageTableErrorDetails;

const LEVEL_NAMES = ['PT', 'PD', 'PDPT', 'PML4', 'PML5'];

const hex = (value: unknown): string =>
  typeof value === 'bigint' && value >= 0n ? formatAddress(value) : describeValue(value);

const MESSAGES: MessageTable<PageTableErrorDetails> = {
  BUS_ERROR: ({ paddr, memory }) => `no memory at physical address ${hex(paddr)}: there is ${memory}`,
  READ_ONLY: ({ paddr }) => `the memory at physical address ${hex(paddr)} is read-only`,
  RULE_BROKEN: ({ rule, found }) => `the memory breaks the rule that ${rule}: ${found}`,
  INVALID_MEMORY: ({ value, problem }) => `${describeValue(value)} cannot be physical memory: ${problem}`,
  INVALID_CONFIG: ({ field, value, expected }) => `${field} cannot be ${describeValue(value)}: ${expected}`,
  NON_CANONICAL: ({ vaddr, levels }) =>
    `${hex(vaddr)} is no canonical virtual address of a ${levels}-level table (${levels === 5 ? 57 : 48} bits)`,
  MISALIGNED: ({ what, address, pageSize }) =>
    `${what} address ${hex(address)} is no multiple of the page size ${describeValue(BigInt(pageSize))}`,
  OUTSIDE_PHYSICAL_RANGE: ({ paddr, end }) =>
    `${hex(paddr)} is no physical address of this table: valid are 0x0 to ${hex(end - 1n)}`,
  INVALID_FLAGS: ({ flags, refused, reason }) =>
    `flags ${typeof flags === 'number' ? describeValue(BigInt(Math.trunc(flags) || 0)) : describeValue(flags)} cannot be used: ` +
    `${reason} (bits ${describeValue(BigInt(refused >>> 0))})`,
  NOT_MAPPED: ({ vaddr, level }) =>
    `nothing is mapped at ${hex(vaddr)}: its ${LEVEL_NAMES[level]} entry is not present`,
  ALREADY_MAPPED: ({ vaddr, level, entry }) =>
    `${hex(vaddr)} is mapped already: its ${LEVEL_NAMES[level]} entry is ${hex(entry)}; unmap it first`,
  PAGE_SIZE_MISMATCH: ({ vaddr, expected, found }) =>
    `${hex(vaddr)} is mapped by a page of ${describeValue(BigInt(found))} bytes, not ${describeValue(BigInt(expected))}`,
  RESERVED_BITS: ({ vaddr, level, paddr, entry, reserved }) =>
    `the ${LEVEL_NAMES[level]} entry ${hex(entry)} at ${hex(paddr)}, on the way to ${hex(vaddr)}, has reserved bits set: ${hex(reserved)}`,
  OUT_OF_MEMORY: ({ needed }) => `no frame left: the operation needs ${needed}; nothing was changed`,
  NO_FRAME_ALLOCATOR: ({ operation }) =>
    `${operation} needs a frame for a table: open the page table with \`frames\``,
  INVALID_FRAME: ({ frame, problem }) => `frame ${hex(frame)} cannot hold a table: ${problem}`,
  NO_ENCRYPTION: ({ operation }) =>
    `${operation} needs a configuration with memory encryption: a C-bit or a vTOM bit`,
  INVALID_PAGE_SIZE: ({ pageSize, giantPages }) =>
    `${describeValue(pageSize)} is no page size here: pass PageSize.Regular, Huge${giantPages ? ' or Giant' : ''}`,
  ALIASED_TABLE: ({ vaddr, table }) =>
    `the table at ${hex(table)} maps ${hex(vaddr)} and, within the same region, other addresses too: change them one by one`,
  DESTROYED: ({ root }) => `the page table at ${hex(root)} was destroyed`,
  INVALID_SELF_MAP: ({ value, problem }) =>
    `${describeValue(value)} cannot be used for a self-map: ${problem}`,
  INVALID_ROOT_ENTRY: ({ index, problem }) => `root entry ${describeValue(index)} cannot be used: ${problem}`,
  OUTSIDE_PART: ({ vaddr, index }) => `${hex(vaddr)} lies outside the part of root entry ${index}`,
  PART_BOUNDARY: ({ vaddr, index }) =>
    `the region lies partly in the part that is attached at root entry ${index}, from ${hex(vaddr)} on: change each by itself`,
  PART_MISMATCH: ({ problem }) => `the part cannot be attached to this page table: ${problem}`,
  PART_NOT_ATTACHED: ({ index }) => `the part of root entry ${index} is not attached to this page table`,
  PART_IN_USE: ({ index, tables }) =>
    `the part of root entry ${index} is attached to ${tables} page tables: detach it first`,
  INVALID_ENTRY: ({ value, problem }) => `${describeValue(value)} cannot be used for an entry: ${problem}`,
  INVALID_CPU_STATE: ({ field, value, expected }) =>
    `${field} cannot be ${describeValue(value)}: ${expected}`,
  INVALID_FLUSH: ({ field, value, expected }) => `${field} cannot be ${describeValue(value)}: ${expected}`,
  INVALID_ACCESS: ({ kind }) => `an access is 'read', 'write' or 'fetch', not ${describeValue(kind)}`,
};

/** What this package throws. Narrow it with {@link isPageTableError}. */
export class PageTableError<Code extends PageTableErrorCode = PageTableErrorCode> extends CodedError<
  Code,
  PageTableErrorDetails[Code]
> {
  constructor(code: Code, details: PageTableErrorDetails[Code], options?: ErrorOptions) {
    super('PageTableError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link PageTableError}, with `code` if one is given; narrows `error.details` to that code. Works
 * across copies of this package.
 */
export function isPageTableError<Code extends PageTableErrorCode = PageTableErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: PageTableError<C> }[Code] {
  return isCodedError(error, 'PageTableError', code);
}
