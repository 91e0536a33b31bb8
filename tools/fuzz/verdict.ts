/** The ways in which a call can end badly. */

/** One thing that a call did wrong. */
export type Verdict =
  /** An error without a code of the packages: TypeError, RangeError, the error of a getter. */
  | 'bare'
  /** A value that nobody can have meant was accepted without an error. */
  | 'silent'
  /** The call threw an error and changed the state. */
  | 'changed'
  /** No end within the limit of time, or no memory left. */
  | 'hang'
  /** A text with a control character: a message, or a result. */
  | 'raw-control'
  /** A number was passed for a bigint, and the message does not say that it is a number. */
  | 'number'
  /** The valid call threw: the maker, or the package, is wrong. */
  | 'invalid';

/** A call that failed. */
export interface Finding {
  readonly verdict: Verdict;
  /** The export: `PageTable.map4k`. */
  readonly id: string;
  /** The wrong value: `vaddr = 1`; '' if nothing was. */
  readonly label: string;
  /** The message of the error, or the result. */
  readonly seen: string;
}

const CONTROL = /[\p{Cc}\u2028\u2029\u202a-\u202e]/u;
/** The same for a result, which may have several lines. */
const CONTROL_IN_RESULT = /[^\P{Cc}\n]|[\u202a-\u202e]/u;

/** Whether an error is one of the packages: it has a code and details. Errors of Node have a code, and no details. */
export function isCoded(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, details } = error as { code?: unknown; details?: unknown };
  return typeof code === 'string' && typeof details === 'object' && details !== null;
}

/** The codes of errors that report an answer of the other side: a request was made, and it was seen. */
const REFUSALS: ReadonlySet<string> = new Set([
  'INVALID_RESPONSE',
  'MISSING_FEATURE',
  'PAGE_STATE_REFUSED',
  'PVALIDATE_UNCHANGED',
  'SVSM_NOT_RUN',
  'SVSM_REFUSED',
  'TERMINATED',
  'UNSUPPORTED_VMGEXIT',
  'VMGEXIT_FAILED',
]);

/** Whether an error says that the hypervisor, or the SVSM, has refused what a caller can have meant. */
export function isRefusal(error: unknown): boolean {
  return isCoded(error) && REFUSALS.has((error as Error & { readonly code: string }).code);
}

/** Whether a message would move the cursor, change colours or end a line of a console. */
export function hasControl(message: string): boolean {
  return CONTROL.test(message);
}

/** Whether a result is a text that would do more to a console than end a line. */
export function isControlText(result: unknown): boolean {
  return typeof result === 'string' && CONTROL_IN_RESULT.test(result);
}

/** Whether the message about a number where a bigint is due shows it as if the number were right, whatever else it says. */
export function hidesNumber(message: string): boolean {
  return /(^|cannot be )-?\d+( is not |:)/.test(message);
}

/** A value as a report shows it: on one line, cut, and never throwing. */
export function shown(value: unknown): string {
  let text: string;
  try {
    text =
      value instanceof Error
        ? `${value.name}: ${value.message}`
        : typeof value === 'object'
          ? JSON.stringify(value, plain)
          : String(value);
  } catch {
    text = `a value of type ${typeof value}`;
  }
  return JSON.stringify(String(text).slice(0, 160)).slice(1, -1);
}

function plain(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}
