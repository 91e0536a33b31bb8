import {
  CodedError,
  describeValue,
  formatAddress,
  isCodedError,
  type MessageTable,
  type VirtAddr,
} from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { FirmwareStatus } from './firmware-status.ts';
import type { GuestState } from './guest-state.ts';
import type { PageState } from './page-state.ts';
import { nameOfResult, type RmpResult } from './rmp-result.ts';

/**
 * The `details` of each code of {@link SnpError}. Codes are only ever added.
 *
 * `INVALID_…`: the value, the message or the answer is wrong whatever the state. `OUTSIDE_RMP`: the address is sound,
 * but the RMP does not cover it. `OUT_OF_MEMORY`: no page is left. `NOT_…`, `ALREADY_…`: the page is not in the state
 * that the operation needs, or is in its final state already. `…_REFUSED`, `…_FAILED`: the hypervisor, the SVSM, the
 * firmware or an instruction answered with an error. Other codes are terms of the field.
 */
export interface SnpErrorDetails {
  /** An argument or option is wrong, whatever the state of the machine. */
  INVALID_ARGUMENT: { what: string; value: unknown; expected: string };
  /** The range of an RMP is empty, or not made of whole 2 MiB regions. */
  INVALID_RMP_RANGE: { start: bigint; end: bigint };
  /** A segment of a segmented RMP has reserved bits set. Hardware faults at the access that needs it. */
  INVALID_RMP_SEGMENT: { spa: bigint; segment: bigint };
  /** The RMP has no entry for the page. */
  OUTSIDE_RMP: { spa: bigint };
  /** The hypervisor has too little free system memory. Both counts are bytes. */
  OUT_OF_MEMORY: { needed: bigint; free: bigint };
  /** An RMPUPDATE of the hypervisor failed: the page is not in the state that the hypervisor assumes. */
  HOST_INSTRUCTION_FAILED: { instruction: string; spa: bigint; result: RmpResult };
  /**
   * The firmware refuses a command with a status. `spa` and `state` are the page that does not fit and its state: of a
   * guest that does not fit, the context page. `guest` is the state of the guest. Each is `undefined` if the command has
   * none, or if it is not an address. `problem` says what is wrong with an operand of the wrong type.
   */
  FIRMWARE_REFUSED: {
    command: string;
    spa: bigint | undefined;
    state: PageState | undefined;
    guest: GuestState | undefined;
    status: FirmwareStatus;
    problem?: string | undefined;
  };
  /** The hypervisor does not reach the GHCB of a VMGEXIT: a shared page is not mapped there. */
  UNSUPPORTED_VMGEXIT: { request: bigint };
  /** The guest has asked for its termination. */
  TERMINATED: { reasonSet: number; reason: number };
  /** A field of a message or format does not fit. */
  INVALID_MESSAGE: { field: string; value: unknown; expected: string };
  /** A field of a firmware image is malformed. `offset` is its place in the file, in bytes. */
  INVALID_IMAGE: { field: string; offset: number; value: unknown; expected: string };
  /** The answer does not fit the request: the hypervisor is broken, or lies. */
  INVALID_RESPONSE: { request: bigint; response: bigint; problem: string };
  /** The hypervisor does not announce features that are demanded. `missing` has their names. */
  MISSING_FEATURE: { required: bigint; offered: bigint; missing: readonly string[] };
  /** The hypervisor reports that it has not changed the state of a page. */
  PAGE_STATE_REFUSED: { gpa: bigint; error: number };
  /**
   * The hypervisor refused a request in the GHCB. `info1` and `info2` are SW_EXITINFO1 and SW_EXITINFO2 of the answer, or
   * `undefined` if the answer does not mark them valid.
   */
  VMGEXIT_FAILED: { exitCode: bigint; info1: bigint | undefined; info2: bigint | undefined };
  /** The hypervisor stopped a list of page state changes with SW_EXITINFO2, at the entry with this index. */
  PSC_REFUSED: { gpa: bigint; entry: number; info2: bigint };
  /** The hypervisor left a header of a page state change that an honest one never leaves. */
  INVALID_PSC_RESPONSE: { field: string; value: number; problem: string };
  /** The hypervisor claims that it has run the SVSM, but the call is pending still. */
  SVSM_NOT_RUN: { attempts: number };
  /** The SVSM refused a call with a `SvsmResult`, at the entry of its list with this index. */
  SVSM_REFUSED: { call: number; result: number; entry: number };
  /** The guest's own record has the page as validated. An attack needs a second validation. */
  ALREADY_VALIDATED: { gpa: bigint };
  /** The guest's own record has the page as not validated. */
  NOT_VALIDATED: { gpa: bigint };
  /** PVALIDATE failed with a result. */
  PVALIDATE_FAILED: { gva: bigint; validate: boolean; result: RmpResult };
  /**
   * PVALIDATE succeeded and changed nothing: the page is not the one that the guest assumes, or the guest asks twice.
   * Treat it as an attack.
   */
  PVALIDATE_UNCHANGED: { gva: bigint; validate: boolean };
  /** RMPADJUST failed with a result. */
  RMPADJUST_FAILED: { gva: bigint; result: RmpResult };
  /** The page is not mapped as the operation needs it. */
  WRONG_MAPPING: { gva: bigint; expected: string; found: string };
  /** A processor of the guest uses the page. `CHANGE`: a call in progress changes its state. */
  PAGE_IN_USE: { gpa: bigint; use: 'GHCB' | 'VMSA' | 'CALLING_AREA' | 'CHANGE' };
  /** The GHCB was released: its processor has no GHCB. */
  RELEASED_GHCB: { gpa: bigint };
  /**
   * Pages of a region have changed, and then a step failed: its error is the `cause`. The details say where each page of the
   * region is: they are the `RegionState` with which `settleRegion` brings it to one state.
   */
  REGION_CHANGE_FAILED: {
    to: 'private' | 'shared';
    private: readonly MemoryRegion<VirtAddr>[];
    shared: readonly MemoryRegion<VirtAddr>[];
    lost: readonly MemoryRegion<VirtAddr>[];
    validated: readonly MemoryRegion<VirtAddr>[];
  };
}

/** The codes of {@link SnpError}. */
export type SnpErrorCode = keyof SnpErrorDetails;

const verb = (validate: boolean): string => (validate ? 'validate' : 'rescind');

const PROBLEM_OF_USE: Readonly<Record<SnpErrorDetails['PAGE_IN_USE']['use'], string>> = {
  GHCB: 'is the GHCB of a processor: release the GHCB first',
  VMSA: 'is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first',
  CALLING_AREA: 'is the calling area of a processor: call remapCallingArea or deleteVcpuBySvsm first',
  CHANGE: 'is being changed by another call: try again when that has ended',
};

const MESSAGES: MessageTable<SnpErrorDetails> = {
  INVALID_ARGUMENT: ({ what, value, expected }) =>
    `${what} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_RMP_RANGE: ({ start, end }) =>
    `an RMP cannot cover [${formatAddress(start)}-${formatAddress(end)}): pass whole regions of 2 MiB`,
  INVALID_RMP_SEGMENT: ({ spa, segment }) =>
    `the RMP segment for ${formatAddress(spa)} has reserved bits set: ${formatAddress(segment)}`,
  OUTSIDE_RMP: ({ spa }) => `the RMP has no entry for ${formatAddress(spa)}`,
  OUT_OF_MEMORY: ({ needed, free }) =>
    `${describeValue(needed)} bytes of system memory are needed, but ${describeValue(free)} are free`,
  HOST_INSTRUCTION_FAILED: ({ instruction, spa, result }) =>
    `${instruction} of ${formatAddress(spa)} returned ${nameOfResult(result)} (${result})`,
  FIRMWARE_REFUSED: ({ command, spa, state, guest, status, problem }) => {
    const page = spa === undefined ? '' : ` for ${formatAddress(spa)} in state ${state}`;
    const owner = guest === undefined ? '' : `, of a guest in state ${guest}`;
    return `${command} is refused${page}${owner}: ${status}${problem === undefined ? '' : `: ${problem}`}`;
  },
  UNSUPPORTED_VMGEXIT: ({ request }) =>
    `the hypervisor does not reach a GHCB at ${formatAddress(request)}, which is in the GHCB MSR`,
  TERMINATED: ({ reasonSet, reason }) =>
    `the guest asks for its termination: reason set ${reasonSet}, reason ${reason}`,
  INVALID_MESSAGE: ({ field, value, expected }) =>
    `${field} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_IMAGE: ({ field, offset, value, expected }) =>
    `${field}, at offset 0x${offset.toString(16)} of the image, cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_RESPONSE: ({ request, response, problem }) =>
    `the hypervisor answered ${formatAddress(response)} to ${formatAddress(request)}: ${problem}`,
  MISSING_FEATURE: ({ offered, missing }) =>
    `the hypervisor does not announce ${missing.join(', ')}: its features are 0x${offered.toString(16)}`,
  PAGE_STATE_REFUSED: ({ gpa, error }) =>
    `the hypervisor did not change the state of ${formatAddress(gpa)}: error ${describeValue(error)}`,
  VMGEXIT_FAILED: ({ exitCode, info1, info2 }) =>
    `VMGEXIT 0x${exitCode.toString(16)} failed: SW_EXITINFO1 ${describeValue(info1)}, SW_EXITINFO2 ${describeValue(info2)}`,
  PSC_REFUSED: ({ gpa, entry, info2 }) =>
    `the hypervisor stopped at entry ${entry}, ${formatAddress(gpa)}, with 0x${info2.toString(16)}`,
  INVALID_PSC_RESPONSE: ({ field, value, problem }) =>
    `the hypervisor left ${value} in ${field} of a page state change: ${problem}`,
  SVSM_NOT_RUN: ({ attempts }) => `the hypervisor did not run the SVSM in ${attempts} attempts`,
  SVSM_REFUSED: ({ call, result, entry }) =>
    `the SVSM refused call ${call} at entry ${entry}: result 0x${result.toString(16)}`,
  ALREADY_VALIDATED: ({ gpa }) => `${formatAddress(gpa)} is validated already: do not validate it again`,
  NOT_VALIDATED: ({ gpa }) => `${formatAddress(gpa)} is not validated`,
  PVALIDATE_FAILED: ({ gva, validate, result }) =>
    `PVALIDATE (${verb(validate)}) of ${formatAddress(gva)} returned ${nameOfResult(result)} (${result})`,
  PVALIDATE_UNCHANGED: ({ gva, validate }) =>
    `PVALIDATE (${verb(validate)}) of ${formatAddress(gva)} changed nothing: the page is not the expected one`,
  RMPADJUST_FAILED: ({ gva, result }) =>
    `RMPADJUST of ${formatAddress(gva)} returned ${nameOfResult(result)} (${result})`,
  WRONG_MAPPING: ({ gva, expected, found }) =>
    `${formatAddress(gva)} must be mapped ${expected}, but is ${found}`,
  PAGE_IN_USE: ({ gpa, use }) => `${formatAddress(gpa)} ${PROBLEM_OF_USE[use]}`,
  RELEASED_GHCB: ({ gpa }) => `the GHCB at ${formatAddress(gpa)} was released: create another one`,
  REGION_CHANGE_FAILED: ({ to, lost }) => {
    const bytes = lost.reduce((sum, { size }) => sum + size, 0n);
    return `a region could not be made ${to}: ${bytes} bytes of it are neither private nor shared`;
  },
};

/**
 * The error of this package: a wrong argument, or something that software must not accept, such as a lie of the
 * hypervisor. Events that hardware raises are `SnpFault`s. Narrow it with {@link isSnpError}.
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
 * Whether `error` is a {@link SnpError}, and has `code` if one is given. Narrows `error.details` to that code. Works
 * across copies of this package.
 *
 * @example
 * ```ts
 * import { decodePscHeader, isSnpError } from '@svsm/sev-snp/formats';
 *
 * try {
 *   decodePscHeader(new Uint8Array(7));
 * } catch (error) {
 *   if (isSnpError(error, 'INVALID_ARGUMENT')) console.log(error.details.expected); // => pass 8 bytes
 * }
 * ```
 */
export function isSnpError<Code extends SnpErrorCode = SnpErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: SnpError<C> }[Code] {
  return isCodedError(error, 'SnpError', code);
}
