import { CodedError, isCodedError, type MessageTable } from './coded-error.ts';
import { describeValue } from './describe-value.ts';
import { hex16 } from './hex.ts';

/**
 * The `details` of each code of {@link AddressError}. Codes are only ever added.
 *
 * `INVALID_…`: the value is wrong whatever the state: wrong type, out of its range, not one of the choices.
 * `OUTSIDE_SPACE`: the value is sound, but lies outside the address space. Other codes are terms of the field.
 */
export interface AddressErrorDetails {
  /** The value is neither a `bigint` nor a safe integer, or it is a number where an address must be a `bigint`. */
  INVALID_ADDRESS: { kind: string; value: unknown };
  /** The value is negative, or at or past `end`, the exclusive end of the space. */
  OUTSIDE_SPACE: { kind: string; value: bigint; end: bigint };
  /** The value lies in the non-canonical hole. */
  NON_CANONICAL: { kind: string; bits: number; value: bigint; holeStart: bigint; holeEnd: bigint };
  /** The text is not an address in hexadecimal. */
  INVALID_ADDRESS_TEXT: { kind: string; text: unknown };
  /** The byte count is negative, fractional, NaN, an unsafe number, or not a number. */
  INVALID_BYTE_COUNT: { value: unknown };
  /** The alignment is not a power of two from 1 to `max` bytes. */
  INVALID_ALIGNMENT: { value: unknown; max: bigint };
  /**
   * The result would lie below zero, past the end of the space, or in or beyond the non-canonical hole. `limit` is the
   * last address that can be reached in that direction.
   */
  ADDRESS_OVERFLOW: {
    kind: string;
    operation: string;
    address: bigint;
    bytes: bigint;
    at: 'zero' | 'hole' | 'end';
    limit: bigint;
  };
  /** The page table level is not an integer from 0 (PT) to 4 (PML5). */
  INVALID_LEVEL: { level: unknown };
  /** The description of an address kind is not valid, or a value is not an address kind; `problem` says why. */
  INVALID_KIND: { kind: unknown; problem: string };
}

/** The codes of {@link AddressError}. */
export type AddressErrorCode = keyof AddressErrorDetails;

const MESSAGES: MessageTable<AddressErrorDetails> = {
  INVALID_ADDRESS: ({ kind, value }) =>
    `${describeValue(value, Number.isSafeInteger(value) ? 'pass a bigint' : '')} is not a ${kind} address: ` +
    (Number.isSafeInteger(value)
      ? 'convert a number with address() first'
      : 'pass a bigint or a safe integer'),
  OUTSIDE_SPACE: ({ kind, value, end }) =>
    `${describeValue(value)} is outside the ${kind} address space: valid addresses are 0x0 to ${hex16(end - 1n)}`,
  NON_CANONICAL: ({ kind, bits, value, holeStart, holeEnd }) =>
    `${hex16(value)} is not a canonical ${kind} address: with ${bits} bits, valid addresses are 0x0 to ` +
    `${hex16(holeStart - 1n)} and ${hex16(holeEnd)} to 0xffffffffffffffff`,
  INVALID_ADDRESS_TEXT: ({ kind, text }) =>
    `${describeValue(text)} is not a ${kind} address: write 0x and 1 to 16 hex digits (single _ between digits), ` +
    'or 8 to 16 hex digits without 0x',
  INVALID_BYTE_COUNT: ({ value }) =>
    `${describeValue(value)} is not a byte count: pass a bigint or a safe integer that is at least 0`,
  INVALID_ALIGNMENT: ({ value, max }) =>
    `${describeValue(value)} is not an alignment: pass a power of two from 1 to ${describeValue(max)}`,
  ADDRESS_OVERFLOW: ({ kind, operation, address, bytes, at, limit }) =>
    `${operation}(${hex16(address)}, ${describeValue(bytes)}) ${
      at === 'hole'
        ? 'enters or crosses the non-canonical hole'
        : `passes the ${at === 'zero' ? 'start' : 'end'}`
    } of the ${kind} address space: the last address in that direction is ${hex16(limit)}`,
  INVALID_LEVEL: ({ level }) =>
    `${describeValue(level)} is not a page table level: pass 0 (PT), 1 (PD), 2 (PDPT), 3 (PML4) or 4 (PML5)`,
  INVALID_KIND: ({ kind, problem }) => `${describeValue(kind)} cannot be an address kind: ${problem}`,
};

/** The error that this package throws. {@link isAddressError} narrows it by its code. */
export class AddressError<Code extends AddressErrorCode = AddressErrorCode> extends CodedError<
  Code,
  AddressErrorDetails[Code]
> {
  constructor(code: Code, details: AddressErrorDetails[Code], options?: ErrorOptions) {
    super('AddressError', code, details, MESSAGES[code](details), options);
  }
}

/**
 * Whether `error` is an {@link AddressError} and, if `code` is given, has that code. Narrows `error.details` to the
 * details of the code. Works across installed copies of this package. O(1).
 *
 * @example
 * ```ts
 * import { isAddressError, physAddr } from '@svsm/address';
 *
 * try {
 *   physAddr(1n << 52n);
 * } catch (error) {
 *   if (isAddressError(error, 'OUTSIDE_SPACE')) console.log(error.details.end); // => 4503599627370496n
 * }
 * ```
 */
export function isAddressError<Code extends AddressErrorCode = AddressErrorCode>(
  error: unknown,
  code?: Code,
): error is { [C in Code]: AddressError<C> }[Code] {
  return isCodedError(error, 'AddressError', code);
}
