import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';
import type { BootStep } from './boot-step.ts';

/**
 * The `details` of each code of {@link MmError}. Codes are only ever added. Regions are strings, as `[0x…-0x…)`.
 *
 * `INVALID_…`: the value is wrong whatever the state. `OUTSIDE_…`: the value is sound, but lies outside what follows.
 * `NO_…`: something that the operation needs does not exist, or is used up. `NOT_…`, `ALREADY_…`: the object is not in the
 * state that the operation needs, or is in its final state already. `…_FAILED`: a step failed, and `cause` is its error.
 */
export interface MmErrorDetails {
  /** An argument or an option, `what`, does not have one of its valid values. */
  INVALID_ARGUMENT: { what: string; value: unknown; expected: string };
  /** A field of a layout contradicts the others, or the paging mode. */
  INVALID_LAYOUT: { field: string; problem: string };
  /** The memory map of the launch contradicts itself, or what it has to have is missing. */
  INVALID_MEMORY_MAP: { region: string; problem: string };
  /** A region does not fit the part of the layout that is for it. */
  OUTSIDE_LAYOUT: { region: string; part: string };
  /** A range of virtual addresses has no gap for so many pages. */
  NO_VIRTUAL_RANGE: { pages: number; alignment: number; range: string };
  /** A region overlaps a mapping, or addresses that are in use. */
  OVERLAPS_MAPPING: { region: string; found: string };
  /** No mapping, or no allocation of a range, starts at the address. */
  NOT_A_MAPPING: { vaddr: bigint };
  /** The address is not part of the direct map of the heap. */
  NOT_DIRECT_MAPPED: { address: bigint };
  /** Guest-physical addresses are not memory of the guest, or are in use by the SVSM. */
  NOT_GUEST_MEMORY: { gpa: bigint; size: bigint };
  /** Pages are neither private nor shared. They are not handed out again. */
  PAGES_LOST: { lost: readonly string[] };
  /** A page is in another state than the operation needs: it is shared, lost, changing, or not validated. */
  WRONG_VISIBILITY: {
    vaddr: bigint;
    expected: 'private' | 'shared';
    found: 'private' | 'shared' | 'lost' | 'changing' | 'not validated';
  };
  /** A step of a change of the visibility of pages fails: `cause` is its error. `lost` are the pages that could not be brought back. */
  VISIBILITY_FAILED: { to: 'private' | 'shared'; region: string; lost: readonly string[] };
  /** A page is not part of a block that its owner could free. */
  NOT_ALLOCATED: { vaddr: bigint; found: string };
  /** A page is a GHCB, a VMSA or a calling area, is mapped for a time, or is changing. */
  PAGE_IN_USE: { gpa: bigint; use: 'GHCB' | 'VMSA' | 'CALLING_AREA' | 'CHANGE' | 'MAPPING' };
  /** A shared box was released, or leaked. */
  BOX_RELEASED: { region: string };
  /** A step of the boot demands features that the hypervisor does not announce. `missing` has their names. */
  MISSING_FEATURE: { step: BootStep; required: bigint; offered: bigint; missing: readonly string[] };
  /**
   * A step of the boot failed; `cause` is its error. `undone`: the guest is as before, and can be booted again. If not, the
   * hypervisor has not let the boot take its steps back, and the guest cannot be booted.
   */
  BOOT_FAILED: { step: BootStep; undone: boolean };
  /** An SVSM runs in the guest already. `own` is its memory. */
  ALREADY_BOOTED: { own: string };
  /** A mapping guard was released, or leaked. */
  GUARD_RELEASED: { region: string };
  /** A mapping is inserted already, or is to be released while it is inserted. `size`: its bytes. */
  MAPPING_IN_USE: { size: bigint };
  /** The processor has the mappings of the region already. */
  ALREADY_ATTACHED: { region: string };
  /** The processor does not have the mappings of the region. */
  NOT_ATTACHED: { region: string };
  /** A flush failed; `cause` is its error. The change is made, and what waits for the flush is kept until it succeeds. */
  FLUSH_FAILED: { region: string };
  /** A callback calls the object whose operation is running: `region` is that of the object. */
  BUSY: { region: string };
  /** No processor is current. */
  NO_CURRENT_CPU: Record<never, never>;
  /** The SVSM has no processor with this APIC ID. */
  NO_SUCH_CPU: { apicId: number };
  /** The SVSM has a processor with this APIC ID already. */
  ALREADY_STARTED: { apicId: number };
  /** The SVSM did not change a page of the guest; `result` is a `SvsmResult`. */
  PAGE_REFUSED: { gpa: bigint; size: number; result: number };
  /** Two parts of the SVSM contradict each other about the page at an address. */
  INVARIANT_BROKEN: { vaddr: bigint; problem: string };
  /** The SVSM was disposed of. */
  NOT_BOOTED: Record<never, never>;
}

/** The codes of {@link MmError}. */
export type MmErrorCode = keyof MmErrorDetails;

const PROBLEM_OF_USE: Readonly<Record<MmErrorDetails['PAGE_IN_USE']['use'], string>> = {
  GHCB: 'is the GHCB of a processor',
  VMSA: 'is the VMSA of a processor',
  CALLING_AREA: 'is the calling area of a processor',
  CHANGE: 'is changed by another call',
  MAPPING: 'is mapped for a time',
};

const MESSAGES: MessageTable<MmErrorDetails> = {
  INVALID_ARGUMENT: ({ what, value, expected }) =>
    `${what} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_LAYOUT: ({ field, problem }) => `${field} of the layout ${problem}`,
  INVALID_MEMORY_MAP: ({ region, problem }) => `${region} of the memory map ${problem}`,
  OUTSIDE_LAYOUT: ({ region, part }) => `${region} does not lie in ${part}`,
  NO_VIRTUAL_RANGE: ({ pages, alignment, range }) =>
    `${range} has no gap of ${pages} pages at a multiple of 0x${alignment.toString(16)}`,
  OVERLAPS_MAPPING: ({ region, found }) => `${region} overlaps ${found}`,
  NOT_A_MAPPING: ({ vaddr }) => `nothing that could be freed starts at ${formatAddress(vaddr)}`,
  NOT_DIRECT_MAPPED: ({ address }) => `${formatAddress(address)} is not part of the direct map of the heap`,
  NOT_GUEST_MEMORY: ({ gpa, size }) =>
    `0x${size.toString(16)} bytes from ${formatAddress(gpa)} on are not memory that the guest may use`,
  PAGES_LOST: ({ lost }) => `${lost.join(', ')}: neither private nor shared, and not handed out again`,
  WRONG_VISIBILITY: ({ vaddr, expected, found }) =>
    `${formatAddress(vaddr)} must be ${expected}, but is ${found}`,
  VISIBILITY_FAILED: ({ to, region, lost }) =>
    `${region} cannot be made ${to}${lost.length === 0 ? '' : `; lost: ${lost.join(', ')}`}`,
  NOT_ALLOCATED: ({ vaddr, found }) => `${formatAddress(vaddr)} is not in an allocated block: it is ${found}`,
  PAGE_IN_USE: ({ gpa, use }) => `${formatAddress(gpa)} ${PROBLEM_OF_USE[use]}`,
  BOX_RELEASED: ({ region }) => `the shared box ${region} was released`,
  MISSING_FEATURE: ({ step, offered, missing }) =>
    `step ${step} of the boot: the hypervisor does not announce ${missing.join(', ')}; its features are 0x${offered.toString(16)}`,
  BOOT_FAILED: ({ step, undone }) =>
    `step ${step} of the boot failed${undone ? '' : ', and the steps before it could not be undone'}`,
  ALREADY_BOOTED: ({ own }) => `an SVSM with the memory ${own} runs in this guest already`,
  GUARD_RELEASED: ({ region }) => `the guard of ${region} was released`,
  MAPPING_IN_USE: ({ size }) => `the mapping of ${size} bytes is inserted: remove it first`,
  ALREADY_ATTACHED: ({ region }) => `the processor has the mappings of ${region} already`,
  NOT_ATTACHED: ({ region }) => `the processor does not have the mappings of ${region}`,
  FLUSH_FAILED: ({ region }) => `a flush of ${region} failed`,
  BUSY: ({ region }) => `an operation on ${region} is running: call it after the operation has returned`,
  NO_CURRENT_CPU: () => 'no processor is current: call `on(cpu, …)`',
  NO_SUCH_CPU: ({ apicId }) => `there is no processor with APIC ID ${apicId}`,
  ALREADY_STARTED: ({ apicId }) => `the processor with APIC ID ${apicId} was started already`,
  PAGE_REFUSED: ({ gpa, size, result }) =>
    `the ${size} bytes at ${formatAddress(gpa)} cannot be given to the guest: result 0x${result.toString(16)}`,
  INVARIANT_BROKEN: ({ vaddr, problem }) => `the page at ${formatAddress(vaddr)} ${problem}`,
  NOT_BOOTED: () => 'the SVSM was disposed of',
};

/** The error of this package. Narrow it with {@link isMmError}. */
export class MmError<Code extends MmErrorCode = MmErrorCode> extends CodedError<Code, MmErrorDetails[Code]> {
  constructor(code: Code, details: MmErrorDetails[Code], options?: ErrorOptions) {
    super('MmError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link MmError}, and has `code` if one is given. Narrows `error.details` to that code. Works across
 * copies of this package. O(1).
 *
 * @example
 * ```ts
 * import { addressSpaceLayout, isMmError } from '@svsm/mm';
 *
 * try {
 *   addressSpaceLayout({ slots: { shared: 511, perCpu: 511, perTask: 508, selfMap: 493 } });
 * } catch (error) {
 *   if (isMmError(error, 'INVALID_LAYOUT')) console.log(error.details.field); // => slots
 * }
 * ```
 */
export function isMmError<Code extends MmErrorCode = MmErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: MmError<C> }[Code] {
  return isCodedError(error, 'MmError', code);
}
