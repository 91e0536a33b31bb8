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
  /** No processor is current. */
  NO_CURRENT_CPU: Record<never, never>;
  /** The SVSM has no processor with this APIC ID. */
  NO_SUCH_CPU: { apicId: number };
  /** The SVSM has a processor with this APIC ID already. */
  ALREADY_STARTED: { apicId: number };
  /** The SVSM was disposed of. */
  NOT_BOOTED: Record<never, never>;
}

/** The codes of {@link MmError}. */
export type MmErrorCode = keyof MmErrorDetails;

const MESSAGES: MessageTable<MmErrorDetails> = {
  INVALID_ARGUMENT: ({ what, value, expected }) => `${what} cannot be ${describeValue(value)}: ${expected}`,
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
  MISSING_FEATURE: ({ step, offered, missing }) =>
    `step ${step} of the boot: the hypervisor does not announce ${missing.join(', ')}; its features are 0x${offered.toString(16)}`,
  BOOT_FAILED: ({ step, undone }) =>
    `step ${step} of the boot failed${undone ? '' : ', and the steps before it could not be undone'}`,
  ALREADY_BOOTED: ({ own }) => `an SVSM with the memory ${own} runs in this guest already`,
  GUARD_RELEASED: ({ region }) => `the guard of ${region} was released`,
  NO_CURRENT_CPU: () => 'no processor is current: call `on(cpu, …)`',
  NO_SUCH_CPU: ({ apicId }) => `there is no processor with APIC ID ${apicId}`,
  ALREADY_STARTED: ({ apicId }) => `the processor with APIC ID ${apicId} was started already`,
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
