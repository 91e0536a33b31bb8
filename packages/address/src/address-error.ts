import { CodedError, describeValue, isCodedError, type MessageTable } from './coded-error.ts';
import { formatAddress } from './format.ts';

/** What each code of {@link AddressError} carries in `details`. Codes are only ever added. */
export interface AddressErrorDetails {
  /** An address was neither a `bigint` nor a number that is a safe integer; or a number, where a `bigint` must be. */
  INVALID_ADDRESS: { kind: string; value: unknown };
  /** An address is negative or lies at or past the end of its space. */
  OUTSIDE_SPACE: { kind: string; value: bigint; end: bigint };
  /** An address lies in the non-canonical hole. */
  NON_CANONICAL: { kind: string; bits: number; value: bigint; holeStart: bigint; holeEnd: bigint };
  /** Text that is no address in hexadecimal. */
  INVALID_ADDRESS_TEXT: { kind: string; text: unknown };
  /** A byte count that is negative, fractional, NaN, an unsafe number, or no number at all. */
  INVALID_BYTE_COUNT: { value: unknown };
  /** An alignment that is no power of two, or is out of range. */
  INVALID_ALIGNMENT: { value: unknown; max: bigint };
  /**
   * Arithmetic would leave the space (at zero or at its end) or cross the non-canonical hole. `limit` is the last address
   * that can be reached in that direction.
   */
  ADDRESS_OVERFLOW: {
    kind: string;
    operation: string;
    address: bigint;
    bytes: bigint;
    at: 'zero' | 'hole' | 'end';
    limit: bigint;
  };
  /** A level of page table that is not an integer from 0 (PT) to 4 (PML5). */
  INVALID_LEVEL: { level: unknown };
  /** A description of an address kind that cannot be one. */
  INVALID_KIND: { kind: unknown; problem: string };
}

/** The codes of {@link AddressError}. */
export type AddressErrorCode = keyof AddressErrorDetails;

const MESSAGES: MessageTable<AddressErrorDetails> = {
  INVALID_ADDRESS: ({ kind, value }) =>
    `${describeValue(value)} is no ${kind} address: ` +
    (Number.isSafeInteger(value)
      ? 'a number is none until address() has checked and converted it'
      : 'pass a bigint, or a number that is a safe integer'),
  OUTSIDE_SPACE: ({ kind, value, end }) =>
    `${describeValue(value)} is outside the ${kind} address space: valid are 0x0 to ${formatAddress(end - 1n)}`,
  NON_CANONICAL: ({ kind, bits, value, holeStart, holeEnd }) =>
    `${formatAddress(value)} is no canonical ${kind} address: with ${bits} bits, valid are 0x0 to ` +
    `${formatAddress(holeStart - 1n)} and ${formatAddress(holeEnd)} to 0xffffffffffffffff`,
  INVALID_ADDRESS_TEXT: ({ kind, text }) =>
    `${describeValue(text)} is no ${kind} address: write 0x and 1 to 16 hex digits (single _ between digits), ` +
    'or 8 to 16 hex digits without 0x',
  INVALID_BYTE_COUNT: ({ value }) =>
    `${describeValue(value)} is no byte count: pass a bigint, or a number that is a safe integer, from 0 up`,
  INVALID_ALIGNMENT: ({ value, max }) =>
    `${describeValue(value)} is no alignment: pass a power of two from 1 to ${describeValue(max)}`,
  ADDRESS_OVERFLOW: ({ kind, operation, address, bytes, at, limit }) =>
    `${operation}(${formatAddress(address)}, ${describeValue(bytes)}) ${
      at === 'hole'
        ? 'enters or crosses the non-canonical hole'
        : `passes the ${at === 'zero' ? 'start' : 'end'}`
    } of the ${kind} address space: the last address on the way is ${formatAddress(limit)}`,
  INVALID_LEVEL: ({ level }) =>
    `${describeValue(level)} is no page table level: pass 0 (PT), 1 (PD), 2 (PDPT), 3 (PML4) or 4 (PML5)`,
  INVALID_KIND: ({ kind, problem }) => `${describeValue(kind)} cannot be an address kind: ${problem}`,
};

/** What this package throws. Narrow it with {@link isAddressError}. */
export class AddressError<Code extends AddressErrorCode = AddressErrorCode> extends CodedError<
  Code,
  AddressErrorDetails[Code]
> {
  constructor(code: Code, details: AddressErrorDetails[Code], options?: ErrorOptions) {
    super('AddressError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is an {@link AddressError}, with `code` if one is given; narrows `error.details` to that code. Works
 * across copies of this package.
 */
export function isAddressError<Code extends AddressErrorCode = AddressErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: AddressError<C> }[Code] {
  return isCodedError(error, 'AddressError', code);
}
