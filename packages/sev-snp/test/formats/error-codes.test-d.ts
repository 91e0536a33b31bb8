/** Compiled, never run: the codes by operation. */
import type { ERRORS_OF } from '../../src/formats/error-codes.ts';
import {
  type ApCreationErrorCode,
  type DecodeErrorCode,
  type EncodeErrorCode,
  type FirmwareErrorCode,
  type GhcbErrorCode,
  isSnpError,
  type LaunchErrorCode,
  type LaunchPagesErrorCode,
  type MachineErrorCode,
  type PageStateErrorCode,
  type RmpErrorCode,
  type SnpErrorCode,
  type SvsmCallErrorCode,
  type ValidatedPagesErrorCode,
  type VisibilityErrorCode,
  type VmgexitErrorCode,
} from '../../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

check<
  Equal<DecodeErrorCode, 'INVALID_ARGUMENT' | 'INVALID_IMAGE' | 'INVALID_MESSAGE' | 'INVALID_RMP_SEGMENT'>
>();
check<Equal<LaunchPagesErrorCode, 'INVALID_ARGUMENT' | 'INVALID_IMAGE' | 'INVALID_MESSAGE'>>();
check<Equal<EncodeErrorCode, 'INVALID_ARGUMENT' | 'INVALID_MESSAGE'>>();
check<Equal<RmpErrorCode, 'INVALID_ARGUMENT' | 'INVALID_MESSAGE' | 'INVALID_RMP_RANGE' | 'OUTSIDE_RMP'>>();
check<Equal<MachineErrorCode, 'INVALID_ARGUMENT' | 'INVALID_RMP_RANGE'>>();
check<Equal<FirmwareErrorCode, 'FIRMWARE_REFUSED'>>();
check<
  Equal<
    LaunchErrorCode,
    'INVALID_ARGUMENT' | 'OUT_OF_MEMORY' | 'HOST_INSTRUCTION_FAILED' | 'FIRMWARE_REFUSED' | 'INVALID_MESSAGE'
  >
>();
check<Equal<VmgexitErrorCode, 'INVALID_ARGUMENT' | 'OUT_OF_MEMORY' | 'UNSUPPORTED_VMGEXIT' | 'TERMINATED'>>();

type Pvalidate = 'PVALIDATE_FAILED' | 'PVALIDATE_UNCHANGED';
type Visible = 'INVALID_ARGUMENT' | 'WRONG_MAPPING' | 'NOT_VALIDATED' | 'PAGE_IN_USE' | Pvalidate;
check<
  Equal<
    GhcbErrorCode,
    | Visible
    | VmgexitErrorCode
    | 'INVALID_MESSAGE'
    | 'INVALID_RESPONSE'
    | 'MISSING_FEATURE'
    | 'PAGE_STATE_REFUSED'
    | 'VMGEXIT_FAILED'
    | 'ALREADY_VALIDATED'
    | 'RELEASED_GHCB'
  >
>();
type Lists = 'UNSUPPORTED_VMGEXIT' | 'VMGEXIT_FAILED' | 'PSC_REFUSED' | 'INVALID_PSC_RESPONSE';
check<
  Equal<
    PageStateErrorCode,
    | 'INVALID_ARGUMENT'
    | 'INVALID_MESSAGE'
    | 'INVALID_RESPONSE'
    | 'PAGE_STATE_REFUSED'
    | 'PAGE_IN_USE'
    | 'RELEASED_GHCB'
    | Lists
  >
>();
check<
  Equal<
    VisibilityErrorCode,
    | Visible
    | 'ALREADY_VALIDATED'
    | 'INVALID_RESPONSE'
    | 'PAGE_STATE_REFUSED'
    | 'RELEASED_GHCB'
    | 'REGION_CHANGE_FAILED'
  >
>();
check<Equal<ValidatedPagesErrorCode, 'INVALID_ARGUMENT' | 'ALREADY_VALIDATED' | 'NOT_VALIDATED'>>();
check<
  Equal<
    ApCreationErrorCode,
    | 'INVALID_ARGUMENT'
    | 'RMPADJUST_FAILED'
    | 'PAGE_IN_USE'
    | 'OUT_OF_MEMORY'
    | 'UNSUPPORTED_VMGEXIT'
    | 'INVALID_MESSAGE'
    | 'VMGEXIT_FAILED'
    | 'RELEASED_GHCB'
  >
>();
check<
  Equal<
    SvsmCallErrorCode,
    'INVALID_ARGUMENT' | 'INVALID_MESSAGE' | 'INVALID_RESPONSE' | 'SVSM_NOT_RUN' | 'SVSM_REFUSED'
  >
>();

// Every code of the package has an operation, and the table has no others.
check<Equal<(typeof ERRORS_OF)[keyof typeof ERRORS_OF][number], SnpErrorCode>>();

// Each is a part of the codes of the package.
declare const code:
  | ApCreationErrorCode
  | DecodeErrorCode
  | EncodeErrorCode
  | FirmwareErrorCode
  | GhcbErrorCode
  | LaunchErrorCode
  | LaunchPagesErrorCode
  | MachineErrorCode
  | PageStateErrorCode
  | RmpErrorCode
  | SvsmCallErrorCode
  | ValidatedPagesErrorCode
  | VisibilityErrorCode
  | VmgexitErrorCode;
code satisfies SnpErrorCode;

// Around one operation, a switch over its codes needs no default.
export function explain(error: unknown): string {
  if (!isSnpError<SvsmCallErrorCode>(error)) throw error;
  switch (error.code) {
    case 'INVALID_ARGUMENT':
      return error.details.what;
    case 'INVALID_MESSAGE':
      return error.details.field;
    case 'INVALID_RESPONSE':
      return error.details.problem;
    case 'SVSM_NOT_RUN':
      return String(error.details.attempts);
    case 'SVSM_REFUSED':
      return String(error.details.result);
  }
}
