import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';
import { type RmpResult, rmpResultName } from './rmp-result.ts';

/**
 * The `details` of each code of {@link SnpError}. Codes are only ever added.
 *
 * `INVALID_…`: the value, the message or the answer is wrong whatever the state. `OUTSIDE_RMP`: the address is sound, but
 * the RMP does not cover it. `OUT_OF_MEMORY`: no page is left. `NOT_…`, `ALREADY_…`: the page is not in the state that the
 * operation needs, or is in its final state already. `…_REFUSED`, `…_FAILED`: the hypervisor, the SVSM, the firmware or an
 * instruction answered with an error. Other codes are terms of the field.
 */
export interface SnpErrorDetails {
  /** An option or argument that no machine, guest or processor could have. */
  INVALID_ARGUMENT: { what: string; value: unknown; expected: string };
  /** The range that an RMP covers is not made of whole 2 MiB regions. */
  INVALID_RMP_RANGE: { start: bigint; end: bigint };
  /** A segment of a segmented RMP with reserved bits set: hardware raises a fault for the walk that needs it. */
  INVALID_RMP_SEGMENT: { spa: bigint; segment: bigint };
  /** A page that the RMP does not cover where an entry must be. */
  OUTSIDE_RMP: { spa: bigint };
  /** The hypervisor has too little free system memory. */
  OUT_OF_MEMORY: { needed: bigint; free: bigint };
  /** The hypervisor's own RMPUPDATE or PSMASH failed where it must not: the page is not in the state that it thinks. */
  HOST_INSTRUCTION_FAILED: { instruction: string; spa: bigint; result: RmpResult };
  /** The firmware refuses a page, with a status: it is not in the state that the command is for, or not of its size. */
  FIRMWARE_REFUSED: { command: string; spa: bigint; state: string; status: string };
  /** A VMGEXIT that the hypervisor does not know. A real one kills the guest. */
  UNSUPPORTED_VMGEXIT: { request: bigint };
  /** The guest has asked to be ended. */
  TERMINATED: { reasonSet: number; reason: number };
  /** A message of the GHCB MSR protocol with a field that does not fit. */
  INVALID_MESSAGE: { field: string; value: unknown; expected: string };
  /** The answer does not fit the request: the hypervisor is broken or lies. */
  INVALID_RESPONSE: { request: bigint; response: bigint; problem: string };
  /** The hypervisor says that it did not change the state of a page. */
  PAGE_STATE_REFUSED: { gpa: bigint; error: number };
  /**
   * The hypervisor did not do what a VMGEXIT through the GHCB page asked for: SW_EXITINFO1 and 2 as it left them, or
   * `undefined` if it did not mark them valid.
   */
  VMGEXIT_FAILED: { exitCode: bigint; info1: bigint | undefined; info2: bigint | undefined };
  /** The hypervisor stopped a list of page state changes: the entry that it had come to, and SW_EXITINFO2. */
  PSC_REFUSED: { gpa: bigint; entry: number; info2: bigint };
  /** The hypervisor left a header of a page state change that no honest one leaves. */
  INVALID_PSC_RESPONSE: { field: string; value: number; problem: string };
  /** The hypervisor answered that it ran the SVSM, and the call is pending still. */
  SVSM_NOT_RUN: { attempts: number };
  /** The SVSM refused a call, with a `SvsmResult`, at an entry of its list. */
  SVSM_REFUSED: { call: number; result: number; entry: number };
  /** A page is validated already, by the guest's own record: validating it again is what an attack needs. */
  ALREADY_VALIDATED: { gpa: bigint };
  /** A page is not validated, by the guest's own record. */
  NOT_VALIDATED: { gpa: bigint };
  /** PVALIDATE failed with a result. */
  PVALIDATE_FAILED: { gva: bigint; validate: boolean; result: RmpResult };
  /**
   * PVALIDATE changed nothing: another page is mapped there than the guest thinks, or it asks twice. Treat as an
   * attack.
   */
  PVALIDATE_UNCHANGED: { gva: bigint; validate: boolean };
  /** RMPADJUST failed with a result. */
  RMPADJUST_FAILED: { gva: bigint; result: RmpResult };
  /** A page is not mapped as the next step needs it. */
  WRONG_MAPPING: { gva: bigint; expected: string; found: string };
}

/** The codes of {@link SnpError}. */
export type SnpErrorCode = keyof SnpErrorDetails;

const verb = (validate: boolean): string => (validate ? 'validate' : 'rescind');

const MESSAGES: MessageTable<SnpErrorDetails> = {
  INVALID_ARGUMENT: ({ what, value, expected }) => `${what} cannot be ${describeValue(value)}: ${expected}`,
  INVALID_RMP_RANGE: ({ start, end }) =>
    `an RMP cannot cover [${formatAddress(start)}-${formatAddress(end)}): it must start and end at multiples of 2 MiB`,
  INVALID_RMP_SEGMENT: ({ spa, segment }) =>
    `the RMP segment for ${formatAddress(spa)} has reserved bits set: ${formatAddress(segment)}`,
  OUTSIDE_RMP: ({ spa }) => `the RMP has no entry for ${formatAddress(spa)}`,
  OUT_OF_MEMORY: ({ needed, free }) =>
    `${describeValue(needed)} bytes of system memory are needed, ${describeValue(free)} are free`,
  HOST_INSTRUCTION_FAILED: ({ instruction, spa, result }) =>
    `${instruction} of ${formatAddress(spa)} gave ${rmpResultName(result)} (${result})`,
  FIRMWARE_REFUSED: ({ command, spa, state, status }) =>
    `${command} refuses ${formatAddress(spa)}, which is ${state}: ${status}`,
  UNSUPPORTED_VMGEXIT: ({ request }) =>
    `the hypervisor knows no VMGEXIT with ${formatAddress(request)} in the GHCB MSR`,
  TERMINATED: ({ reasonSet, reason }) =>
    `the guest asked to be ended: reason set ${reasonSet}, reason ${reason}`,
  INVALID_MESSAGE: ({ field, value, expected }) => `${field} cannot be ${describeValue(value)}: ${expected}`,
  INVALID_RESPONSE: ({ request, response, problem }) =>
    `the hypervisor answered ${formatAddress(response)} to ${formatAddress(request)}: ${problem}`,
  PAGE_STATE_REFUSED: ({ gpa, error }) =>
    `the hypervisor did not change the state of ${formatAddress(gpa)}: error ${describeValue(error)}`,
  VMGEXIT_FAILED: ({ exitCode, info1, info2 }) =>
    `VMGEXIT 0x${exitCode.toString(16)} failed: SW_EXITINFO1 ${describeValue(info1)}, SW_EXITINFO2 ${describeValue(info2)}`,
  PSC_REFUSED: ({ gpa, entry, info2 }) =>
    `the hypervisor stopped at entry ${entry}, ${formatAddress(gpa)}, with 0x${info2.toString(16)}`,
  INVALID_PSC_RESPONSE: ({ field, value, problem }) =>
    `the hypervisor left ${value} in ${field} of a page state change: ${problem}`,
  SVSM_NOT_RUN: ({ attempts }) => `the SVSM did not run in ${attempts} attempts: the hypervisor withholds it`,
  SVSM_REFUSED: ({ call, result, entry }) =>
    `the SVSM refused call ${call} at entry ${entry}: result 0x${result.toString(16)}`,
  ALREADY_VALIDATED: ({ gpa }) => `${formatAddress(gpa)} is validated already: it must not be again`,
  NOT_VALIDATED: ({ gpa }) => `${formatAddress(gpa)} is not validated`,
  PVALIDATE_FAILED: ({ gva, validate, result }) =>
    `PVALIDATE (${verb(validate)}) of ${formatAddress(gva)} gave ${rmpResultName(result)} (${result})`,
  PVALIDATE_UNCHANGED: ({ gva, validate }) =>
    `PVALIDATE (${verb(validate)}) of ${formatAddress(gva)} changed nothing: the page is not the one it should be`,
  RMPADJUST_FAILED: ({ gva, result }) =>
    `RMPADJUST of ${formatAddress(gva)} gave ${rmpResultName(result)} (${result})`,
  WRONG_MAPPING: ({ gva, expected, found }) =>
    `${formatAddress(gva)} must be mapped ${expected}, and is ${found}`,
};

/**
 * What this package throws for what no hardware answers: wrong arguments, and a hypervisor or a page that is not what
 * software relies on. What hardware raises is a `SnpFault`. Narrow it with {@link isSnpError}.
 */
export class SnpError<Code extends SnpErrorCode = SnpErrorCode> extends CodedError<
  Code,
  SnpErrorDetails[Code]
> {
  constructor(code: Code, details: SnpErrorDetails[Code], options?: ErrorOptions) {
    super('SnpError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link SnpError}, with `code` if one is given; narrows `error.details` to that code. Works
 * across copies of this package.
 */
export function isSnpError<Code extends SnpErrorCode = SnpErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: SnpError<C> }[Code] {
  return isCodedError(error, 'SnpError', code);
}
