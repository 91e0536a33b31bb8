import { CodedError, formatAddress, isCodedError, type MessageTable, type PageSize } from '@svsm/address';
import type { PAGE_NOT_VALIDATED, VMEXIT_NPF } from '../formats/exit-info.ts';
import type { RmpCheck } from './rmp-check.ts';

/** The `details` of each code of {@link SnpFault}. Codes are only ever added. */
export interface SnpFaultDetails {
  /**
   * #GP(0) in the guest: a non-canonical address, a register value that is refused, or an instruction at a wrong level.
   */
  GP: { errorCode: 0; reason: string };
  /** #UD: the instruction does not exist in this mode, or SNP is not enabled. */
  UD: { instruction: string };
  /**
   * #PF in the guest: its own page table forbids the access. `errorCode` has the bits of `PageFaultCode` of
   * `@svsm/pagetable`.
   */
  PF: { errorCode: number; gva: bigint };
  /**
   * #VC in the guest with error code 0x404: a private access to a page that is not validated. If the guest has validated
   * it, the hypervisor has put another page there: never answer with PVALIDATE.
   */
  VC_NOT_VALIDATED: {
    errorCode: typeof PAGE_NOT_VALIDATED;
    gva: bigint | undefined;
    gpa: bigint;
    spa: bigint;
  };
  /**
   * #VC in the guest with error code 0x400: the nested entry has a reserved bit set, as hypervisors mark MMIO. The
   * fault does not exit by itself (AMD64 APM vol. 2, §15.35.4). `exitInfo1` is the value that an exit would have.
   */
  VC_MMIO: { errorCode: typeof VMEXIT_NPF; exitInfo1: bigint; gpa: bigint; gva: bigint | undefined };
  /** A nested page fault that the hypervisor did not resolve. `exitInfo1` has the bits of `NpfInfo`. */
  NPF: {
    exitCode: typeof VMEXIT_NPF;
    exitInfo1: bigint;
    /** EXITINFO2: the guest-physical address. */
    gpa: bigint;
    gva: bigint | undefined;
    /** The nested translation and its page size; `undefined` if the nested page table maps nothing. */
    spa: bigint | undefined;
    nestedSize: PageSize | undefined;
    /** The check that failed. Hardware reports no more than the bits of `exitInfo1`. */
    check: RmpCheck | 'nested-not-present' | 'nested-rights';
  };
  /**
   * #PF in the host: a write to a page that is not its own. `errorCode` has the bits of `PageFaultCode` of
   * `@svsm/pagetable`.
   */
  HOST_PF: { errorCode: number; spa: bigint; check: RmpCheck };
  /** #GP(0) in the host: VMRUN with a VMCB that is not a page of the hypervisor. */
  HOST_GP: { errorCode: 0; spa: bigint; check: RmpCheck };
  /**
   * VMRUN of a VMSA ended at once, with a negative exit code of `VmExit`: the processor cannot continue. `vmsa` is
   * `undefined` if the guest as a whole cannot run.
   */
  VMRUN: { exitCode: bigint; vmsa: bigint | undefined };
}

/** The codes of {@link SnpFault}. */
export type SnpFaultCode = keyof SnpFaultDetails;

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
const at = (gva: bigint | undefined): string => (gva === undefined ? '' : `${formatAddress(gva)}, `);

const MESSAGES: MessageTable<SnpFaultDetails> = {
  GP: ({ reason }) => `#GP(0): ${reason}`,
  UD: ({ instruction }) => `#UD: ${instruction} does not exist here`,
  PF: ({ errorCode, gva }) => `#PF at ${formatAddress(gva)}, error code ${hex(errorCode)}`,
  VC_NOT_VALIDATED: ({ gva, gpa }) =>
    `#VC 0x404: the page at ${at(gva)}GPA ${formatAddress(gpa)} is not validated`,
  VC_MMIO: ({ gva, gpa }) =>
    `#VC 0x400: a reserved bit is set in the nested entry for ${at(gva)}GPA ${formatAddress(gpa)}`,
  NPF: ({ exitInfo1, gpa, gva, check }) =>
    `#VMEXIT(NPF) at ${at(gva)}GPA ${formatAddress(gpa)}, EXITINFO1 ${hex(exitInfo1)}: failed ${check}`,
  HOST_PF: ({ errorCode, spa, check }) =>
    `host #PF at SPA ${formatAddress(spa)}, error code ${hex(errorCode)}: failed ${check}`,
  HOST_GP: ({ spa, check }) => `host #GP(0): the VMCB at SPA ${formatAddress(spa)} failed ${check}`,
  VMRUN: ({ exitCode, vmsa }) =>
    `VMRUN ${vmsa === undefined ? 'of a guest that is not running' : `of the VMSA at SPA ${formatAddress(vmsa)}`} ended with ${exitCode === -2n ? 'VMEXIT_BUSY' : 'VMEXIT_INVALID'} (${exitCode})`,
};

/**
 * An event that hardware raises, with the bits that it reports. Wrong arguments are `SnpError`s. Narrow it with
 * {@link isSnpFault}.
 */
export class SnpFault<Code extends SnpFaultCode = SnpFaultCode> extends CodedError<
  Code,
  SnpFaultDetails[Code]
> {
  constructor(code: Code, details: SnpFaultDetails[Code], options?: ErrorOptions) {
    super('SnpFault', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is a {@link SnpFault}, and has `code` if one is given. Narrows `error.details` to that code. Works
 * across copies of this package.
 */
export function isSnpFault<Code extends SnpFaultCode = SnpFaultCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: SnpFault<C> }[Code] {
  return isCodedError(error, 'SnpFault', code);
}
