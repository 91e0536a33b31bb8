/** Compiled, never run: the codes by operation. */
import {
  type AddressErrorCode,
  type AlignErrorCode,
  type ArithmeticErrorCode,
  isAddressError,
  type MakeAddressErrorCode,
  type PageArithmeticErrorCode,
  type ParseAddressErrorCode,
} from '../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

type BadAddress = 'INVALID_ADDRESS' | 'OUTSIDE_SPACE' | 'NON_CANONICAL';
check<Equal<MakeAddressErrorCode, BadAddress>>();
check<Equal<ParseAddressErrorCode, 'INVALID_ADDRESS_TEXT' | 'OUTSIDE_SPACE' | 'NON_CANONICAL'>>();
check<Equal<ArithmeticErrorCode, BadAddress | 'INVALID_BYTE_COUNT' | 'ADDRESS_OVERFLOW'>>();
check<Equal<AlignErrorCode, BadAddress | 'INVALID_ALIGNMENT' | 'ADDRESS_OVERFLOW'>>();
check<
  Equal<PageArithmeticErrorCode, 'INVALID_ADDRESS' | 'OUTSIDE_SPACE' | 'INVALID_BYTE_COUNT' | 'INVALID_LEVEL'>
>();

// Each is a part of the codes of the package.
declare const code:
  | MakeAddressErrorCode
  | ParseAddressErrorCode
  | ArithmeticErrorCode
  | AlignErrorCode
  | PageArithmeticErrorCode;
code satisfies AddressErrorCode;

// Around one operation, a switch over its codes needs no default.
export function explain(error: unknown): string {
  if (!isAddressError<ParseAddressErrorCode>(error)) throw error;
  switch (error.code) {
    case 'INVALID_ADDRESS_TEXT':
      return String(error.details.text);
    case 'OUTSIDE_SPACE':
      return String(error.details.end);
    case 'NON_CANONICAL':
      return String(error.details.holeEnd);
  }
}
