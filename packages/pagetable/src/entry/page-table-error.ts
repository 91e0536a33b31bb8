import {
  CodedError,
  describeValue,
  formatAddress,
  isCodedError,
  type MessageTable,
  type PageSize,
} from '@svsm/address';

/**
 * The `details` of each code of {@link PageTableError}. Codes are only ever added.
 *
 * `INVALID_…`: the value is wrong whatever the state. `OUTSIDE_…`: the value is sound, but lies outside what follows.
 * `NOT_…` and `ALREADY_…`: the entry is not in the state that the operation needs. `NO_…`: the object was made without
 * what the operation needs. `…_MISMATCH`: two values that must agree do not. `…_FAILED`: code of the caller threw an error.
 * Other codes are terms of the field.
 */
export interface PageTableErrorDetails {
  /** A physical access is outside memory. */
  BUS_ERROR: { paddr: bigint; memory: string };
  /** The memory at an address cannot be written. */
  READ_ONLY: { paddr: bigint };
  /** An implementation of `PhysMemory` breaks a rule of `PHYS_MEMORY_RULES`. */
  RULE_BROKEN: { rule: string; found: string };
  /** No physical memory can be made from these options. */
  INVALID_MEMORY: { value: unknown; problem: string };
  /** An argument, or an option of a call, has the wrong type, or the option does not exist. */
  INVALID_ARGUMENT: { what: string; value: unknown; expected: string };
  /** No processor has this paging configuration. */
  INVALID_CONFIG: { field: string; value: unknown; expected: string };
  /** The virtual address is not a bigint, or not canonical for the levels of the table. */
  NON_CANONICAL: { vaddr: unknown; levels: number };
  /** The address is not a multiple of the page size. */
  MISALIGNED: { what: 'virtual' | 'physical'; address: bigint; pageSize: PageSize };
  /** The physical address is not a bigint, is negative, or does not fit the physical width of the table. */
  OUTSIDE_PHYSICAL_RANGE: { paddr: unknown; end: bigint };
  /** An entry of this kind cannot have the flags, or the configuration reserves one of them. */
  INVALID_FLAGS: { flags: unknown; refused: number; reason: string };
  /** Nothing is mapped at the address. */
  NOT_MAPPED: { vaddr: bigint; level: number };
  /** A present entry is in the way of a new mapping. */
  ALREADY_MAPPED: { vaddr: bigint; level: number; entry: bigint };
  /** A page of another size than that of the operation maps the address. */
  PAGE_SIZE_MISMATCH: { vaddr: bigint; expected: PageSize; found: PageSize };
  /** A present entry has reserved bits set: the table is corrupted, or was made for another configuration. */
  RESERVED_BITS: { vaddr: bigint; level: number; paddr: bigint; entry: bigint; reserved: bigint };
  /** The frame allocator has no frame left. The error that it threw is the `cause`. */
  OUT_OF_MEMORY: { needed: number };
  /** The operation takes or gives back frames, and the page table was made without a frame allocator. */
  NO_FRAME_ALLOCATOR: { operation: string };
  /** The frame cannot hold a table: it is misaligned, outside memory, past the physical width, or not an address. */
  INVALID_FRAME: { frame: unknown; problem: string };
  /** The operation needs memory encryption, and the configuration has none. */
  NO_ENCRYPTION: { operation: string };
  /** The value is not a page size, or is 1 GiB and the configuration has no such pages. */
  INVALID_PAGE_SIZE: { pageSize: unknown; giantPages: boolean };
  /** One table maps two places of the region, so a change to one page would change another. */
  ALIASED_TABLE: { vaddr: bigint; table: bigint };
  /** The page table or part was destroyed. Its frames may be in other use by now. */
  DESTROYED: { root: bigint };
  /** The value is not an index or a level of a self-map, or it is an address in the self-map that was to be changed. */
  INVALID_SELF_MAP: { value: unknown; problem: string };
  /** The value is not an index of a root entry, or the entry is not present. */
  INVALID_ROOT_ENTRY: { index: unknown; problem: string };
  /** The address is not one of the part's root entry. */
  OUTSIDE_PART: { vaddr: bigint; index: number };
  /** The region lies partly inside and partly outside a part that is attached to the page table. */
  PART_BOUNDARY: { vaddr: bigint; index: number };
  /** The part cannot be attached to this page table. */
  PART_MISMATCH: { problem: string };
  /** The part is not attached to the page table from which it is detached. */
  PART_NOT_ATTACHED: { index: number };
  /** The part is attached to page tables and cannot be destroyed. */
  PART_IN_USE: { index: number; tables: number };
  /** The value is not a 64-bit entry, or the level does not exist. */
  INVALID_ENTRY: { value: unknown; problem: string };
  /** No processor can be in this state. */
  INVALID_CPU_STATE: { field: string; value: unknown; expected: string };
  /** A PCID, range or threshold passed to a `Tlb` is out of range. */
  INVALID_FLUSH: { field: string; value: unknown; expected: string };
  /** The access is not a read, a write or a fetch. */
  INVALID_ACCESS: { kind: unknown; problem?: string };
  /** A callback calls the page table, part or TLB whose operation is running. Nothing has changed. */
  BUSY: { during: string };
  /** A callback threw after the change. The change is in place and was reported. The first error is the `cause`. */
  CALLBACK_FAILED: { operation: string; callback: string };
}

/** The codes of {@link PageTableError}. */
export type PageTableErrorCode = keyof PageTableErrorDetails;

const LEVEL_NAMES = ['PT', 'PD', 'PDPT', 'PML4', 'PML5'];

const hex = (value: unknown): string =>
  typeof value === 'bigint' && value >= 0n ? formatAddress(value) : describeValue(value, 'an address');

const MESSAGES: MessageTable<PageTableErrorDetails> = {
  BUS_ERROR: ({ paddr, memory }) =>
    `there is no memory at physical address ${hex(paddr)}: memory has ${memory}`,
  READ_ONLY: ({ paddr }) => `the memory at physical address ${hex(paddr)} is read-only`,
  RULE_BROKEN: ({ rule, found }) => `the memory breaks the rule "${rule}": ${found}`,
  INVALID_MEMORY: ({ value, problem }) => `${describeValue(value)} cannot be physical memory: ${problem}`,
  INVALID_ARGUMENT: ({ what, value, expected }) =>
    `${what} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_CONFIG: ({ field, value, expected }) =>
    `${field} cannot be ${describeValue(value, expected)}: ${expected}`,
  NON_CANONICAL: ({ vaddr, levels }) =>
    `${hex(vaddr)} is not a canonical virtual address of ${levels === 5 ? 57 : 48} bits, as a page table of ${levels} levels needs`,
  MISALIGNED: ({ what, address, pageSize }) =>
    `the ${what} address ${hex(address)} is not a multiple of the page size ${describeValue(BigInt(pageSize))}`,
  OUTSIDE_PHYSICAL_RANGE: ({ paddr, end }) =>
    `${hex(paddr)} is not a physical address of this page table: valid addresses are 0x0 to ${hex(end - 1n)}`,
  INVALID_FLAGS: ({ flags, refused, reason }) =>
    `flags ${Number.isFinite(flags) ? describeValue(BigInt(Math.trunc(flags as number))) : describeValue(flags)} cannot be used: ` +
    `${reason} (bits ${describeValue(BigInt(refused >>> 0))})`,
  NOT_MAPPED: ({ vaddr, level }) =>
    `nothing is mapped at ${hex(vaddr)}: its ${LEVEL_NAMES[level]} entry is not present`,
  ALREADY_MAPPED: ({ vaddr, level, entry }) =>
    `${hex(vaddr)} is already mapped: its ${LEVEL_NAMES[level]} entry is ${hex(entry)}; unmap it first, or pass \`remap\``,
  PAGE_SIZE_MISMATCH: ({ vaddr, expected, found }) =>
    `a page of ${describeValue(BigInt(found))} bytes maps ${hex(vaddr)}, not one of ${describeValue(BigInt(expected))}`,
  RESERVED_BITS: ({ vaddr, level, paddr, entry, reserved }) =>
    `the ${LEVEL_NAMES[level]} entry ${hex(entry)} at ${hex(paddr)}, in the walk for ${hex(vaddr)}, has reserved bits set: ${hex(reserved)}`,
  OUT_OF_MEMORY: ({ needed }) => `no frame is left: the operation needs ${needed}, and nothing has changed`,
  NO_FRAME_ALLOCATOR: ({ operation }) =>
    `${operation} needs a frame allocator: pass \`frames\` when the page table is made`,
  INVALID_FRAME: ({ frame, problem }) => `frame ${hex(frame)} cannot hold a table: ${problem}`,
  NO_ENCRYPTION: ({ operation }) =>
    `${operation} needs a configuration with memory encryption: a C-bit or a vTOM bit`,
  INVALID_PAGE_SIZE: ({ pageSize, giantPages }) =>
    `${describeValue(pageSize)} is not a page size of this page table: pass PageSize.Regular, Huge${giantPages ? ' or Giant' : ''}`,
  ALIASED_TABLE: ({ vaddr, table }) =>
    `the table at ${hex(table)} maps ${hex(vaddr)} and also other addresses of the same region: change the pages one by one`,
  DESTROYED: ({ root }) => `the page table at ${hex(root)} was destroyed`,
  INVALID_SELF_MAP: ({ value, problem }) =>
    `${describeValue(value)} cannot be used with a self-map: ${problem}`,
  INVALID_ROOT_ENTRY: ({ index, problem }) => `root entry ${describeValue(index)} cannot be used: ${problem}`,
  OUTSIDE_PART: ({ vaddr, index }) => `${hex(vaddr)} is outside the part of root entry ${index}`,
  PART_BOUNDARY: ({ vaddr, index }) =>
    `the region lies only partly in the part at root entry ${index}, which it enters at ${hex(vaddr)}: change the two sides separately`,
  PART_MISMATCH: ({ problem }) => `the part cannot be attached to this page table: ${problem}`,
  PART_NOT_ATTACHED: ({ index }) => `the part of root entry ${index} is not attached to this page table`,
  PART_IN_USE: ({ index, tables }) =>
    `the part of root entry ${index} is attached to ${tables} page tables: detach it first`,
  INVALID_ENTRY: ({ value, problem }) =>
    `${describeValue(value, problem)} cannot be used for an entry: ${problem}`,
  INVALID_CPU_STATE: ({ field, value, expected }) =>
    `${field} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_FLUSH: ({ field, value, expected }) =>
    `${field} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_ACCESS: ({ kind, problem }) =>
    problem ?? `an access is 'read', 'write' or 'fetch', not ${describeValue(kind)}`,
  BUSY: ({ during }) =>
    `a page table or TLB cannot be used while its callback \`${during}\` runs: call it after the operation`,
  CALLBACK_FAILED: ({ operation, callback }) =>
    `${operation} is done, but its callback \`${callback}\` threw an error, which is the cause of this one`,
};

/** The error class of this package. Narrow a caught error with {@link isPageTableError}. */
export class PageTableError<Code extends PageTableErrorCode = PageTableErrorCode> extends CodedError<
  Code,
  PageTableErrorDetails[Code]
> {
  constructor(code: Code, details: PageTableErrorDetails[Code], options?: ErrorOptions) {
    super('PageTableError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link PageTableError} and, if `code` is given, has that code. Narrows `error.details` to the code.
 * Works across copies of this package. O(1).
 */
export function isPageTableError<Code extends PageTableErrorCode = PageTableErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: PageTableError<C> }[Code] {
  return isCodedError(error, 'PageTableError', code);
}
