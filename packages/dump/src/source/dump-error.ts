import { CodedError, describeValue, formatAddress, isCodedError, type MessageTable } from '@svsm/address';
import { printable } from './printable.ts';

/**
 * The `details` of each code of {@link DumpError}. Codes are only ever added. Each also has `file`, the name of the dump, if the
 * error is about a dump.
 *
 * `INVALID_…`: the value is wrong whatever the state. `OUTSIDE_…`: the value is sound, but lies outside what follows. `NO_…`:
 * something that the operation needs does not exist. `NOT_…`: the object is not in the state that the operation needs.
 * `…_FAILED`: the other side answered with an error.
 */
export interface DumpErrorDetails {
  /** An argument or an option, `what`, does not have one of its valid values. */
  INVALID_ARGUMENT: { what: string; value: unknown; expected: string };
  /** A header of the file contradicts its format, or the rest of the file. */
  INVALID_FILE: { reason: string };
  /** The file ends before the bytes that its headers announce. */
  TRUNCATED_FILE: { reason: string };
  /** The file is of a known format, or of a variant of one, that is not supported. The reason says what to do instead. */
  UNSUPPORTED_FORMAT: { reason: string };
  /** The first bytes are those of no known format. */
  UNKNOWN_FORMAT: Record<never, never>;
  /** A number in the file is above the limit that bounds the work on a hostile file. */
  OUTSIDE_LIMITS: { reason: string };
  /** The system, or a decoder, cannot read the file. */
  READ_FAILED: { reason: string };
  /** The dump has no CR3, and none is given. */
  NO_ROOT: Record<never, never>;
  /** A register, CR3 if none is named, leads to `paddr`, where the dump has no memory. `hint` is a sentence that says what to try. */
  NO_MEMORY: { paddr: bigint; hint: string; register?: string };
  /** The dump has no memory at `paddr`, where its Reverse Map Table should be. */
  NO_RMP: { paddr: bigint };
  /** The page table does not look like that of a Linux kernel, whose regions have names. */
  NOT_LINUX: Record<never, never>;
  /** The dump does not have the processor. */
  NO_SUCH_CPU: { cpu: number; cpus: number };
  /** The processor had paging or PAE off: `register` names the bit that is 0. */
  NOT_LONG_MODE: { cpu: number; register: string };
  /** Tables that are reached repeatedly make the listing extremely long. `cause` says how. */
  LISTING_TOO_LONG: { pages: number; entries: number; faults: number; cause: string };
}

/** The codes of {@link DumpError}. */
export type DumpErrorCode = keyof DumpErrorDetails;

const reasonOf = ({ reason }: { reason: string }): string => reason;

const MESSAGES: MessageTable<DumpErrorDetails> = {
  INVALID_ARGUMENT: ({ what, value, expected }) =>
    `${what} cannot be ${describeValue(value, expected)}: ${expected}`,
  INVALID_FILE: reasonOf,
  TRUNCATED_FILE: reasonOf,
  UNSUPPORTED_FORMAT: reasonOf,
  UNKNOWN_FORMAT: () =>
    "its format is unknown; if it is a raw memory image, pass --cr3, which 'svsm-dump roots' finds",
  OUTSIDE_LIMITS: reasonOf,
  READ_FAILED: reasonOf,
  NO_ROOT: () => "it has no CR3: pass --cr3 (and --levels or --cr4), which 'svsm-dump roots' finds",
  NO_MEMORY: ({ paddr, hint, register = 'CR3' }) =>
    `${register} points to ${formatAddress(paddr)}, where the dump has no memory. ${hint}`,
  NO_RMP: ({ paddr }) =>
    `it has no memory at ${formatAddress(paddr)}, where the RMP should be: firmware often reserves it, so that dumps of a kernel leave it out; save it on its own, and pass it with --rmp-file`,
  NOT_LINUX: () =>
    'its page table maps no text and direct map of a Linux kernel, so its regions have no names; under page-table isolation, pass the CR3 of the kernel, which svsm-dump roots finds',
  NO_SUCH_CPU: ({ cpu, cpus }) => `there is no CPU ${cpu}: it has ${cpus}, counted from 0`,
  NOT_LONG_MODE: ({ cpu, register }) =>
    `CPU ${cpu} was not in long mode: ${register} is 0; select another with --cpu`,
  LISTING_TOO_LONG: ({ pages, entries, faults, cause }) =>
    `${pages} pages from only ${entries} entries${faults > 0 ? `, and ${faults} faults` : ''}, because ${cause}: ` +
    'select some with --within, or pass --all',
};

/**
 * The error that this package throws. {@link isDumpError} narrows it by its code. Messages name options as the command
 * `svsm-dump` spells them; those of the functions have the same names in camel case. What a terminal would obey in the name or the
 * texts of a file is escaped in the message, and as it is in `details`.
 */
export class DumpError<Code extends DumpErrorCode = DumpErrorCode> extends CodedError<
  Code,
  DumpErrorDetails[Code] & { readonly file?: string }
> {
  /** @param options - `file` is the name of the dump, with which the message begins */
  constructor(
    code: Code,
    details: DumpErrorDetails[Code],
    { file, ...options }: ErrorOptions & { readonly file?: string } = {},
  ) {
    const about = file === undefined ? '' : `${file}: `;
    const all = file === undefined ? details : { ...details, file };
    super('DumpError', code, all, printable(about + MESSAGES[code](details)), options);
  }
}

/**
 * Whether `error` is a {@link DumpError} and, if `code` is given, has that code. Narrows `error.details` to the details of the
 * code. Works across installed copies of this package. O(1).
 *
 * @example
 * ```ts
 * import { bytesSource, isDumpError, openDump } from '@svsm/dump';
 *
 * try {
 *   openDump(bytesSource(new Uint8Array(4096)), { name: 'zeros' });
 * } catch (error) {
 *   if (isDumpError(error, 'UNKNOWN_FORMAT')) console.log(error.details.file); // => zeros
 * }
 * ```
 */
export function isDumpError<Code extends DumpErrorCode = DumpErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: DumpError<C> }[Code] {
  return isCodedError(error, 'DumpError', code);
}

/** Runs `work`, and names the file in a {@link DumpError} that does not name one yet. */
export function inFile<Result>(file: string, work: () => Result): Result {
  try {
    return work();
  } catch (error) {
    throw withFile(error, file);
  }
}

/** `error`, with the name of the file if it is a {@link DumpError} that does not name one yet. */
export function withFile(error: unknown, file: string): unknown {
  if (!(error instanceof DumpError)) return error;
  const { details } = error as DumpError;
  if (details.file !== undefined) return error;
  return new DumpError(error.code, details, { cause: error, file });
}
