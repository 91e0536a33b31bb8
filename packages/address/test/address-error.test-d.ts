/** Compiled, never run: how errors narrow. */
import {
  AddressError,
  type AddressErrorCode,
  type AddressErrorDetails,
  CodedError,
  isAddressError,
  type MessageTable,
} from '../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

declare const error: unknown;

// With a code, the details are those of the code.
if (isAddressError(error, 'ADDRESS_OVERFLOW')) {
  check<Equal<typeof error.code, 'ADDRESS_OVERFLOW'>>();
  check<Equal<typeof error.details.at, 'zero' | 'hole' | 'end'>>();
  error.details.limit satisfies bigint;
  error.message satisfies string;
  // @ts-expect-error an overflow has no hole in its details
  error.details.holeStart;
  // @ts-expect-error details are frozen
  error.details.at = 'hole';
}

// Without one, comparing the code narrows.
if (isAddressError(error)) {
  check<Equal<typeof error.code, AddressErrorCode>>();
  // @ts-expect-error not every error has a level
  error.details.level;
  if (error.code === 'INVALID_LEVEL') error.details.level satisfies unknown;
  if (error.code === 'NON_CANONICAL') error.details.holeEnd satisfies bigint;
  switch (error.code) {
    case 'INVALID_KIND':
      error.details.problem satisfies string;
      break;
    case 'INVALID_ALIGNMENT':
      error.details.max satisfies bigint;
      // @ts-expect-error only INVALID_KIND has a problem
      error.details.problem;
      break;
  }
}

// @ts-expect-error NOT_A_CODE is not one of the codes
isAddressError(error, 'NOT_A_CODE');
// @ts-expect-error every code has its own details
new AddressError('INVALID_LEVEL', { value: 5 });
// @ts-expect-error the base class is abstract
new CodedError('AddressError', 'INVALID_LEVEL', {}, '');

// A table without a message for every code does not compile.
declare const messages: MessageTable<AddressErrorDetails>;
check<Equal<keyof typeof messages, AddressErrorCode>>();
// @ts-expect-error a message is missing
const incomplete: MessageTable<{ A: object; B: object }> = { A: () => '' };
incomplete satisfies object;
