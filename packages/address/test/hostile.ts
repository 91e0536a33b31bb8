/** Bad input for every operation of the package, and a way to call each by its name. */
import fc from 'fast-check';
import { ERRORS_OF } from '../src/error-codes.ts';
import * as address from '../src/index.ts';
import { integers, NOT_INTEGERS, REVOKED } from './support.ts';

export type Operation = keyof typeof ERRORS_OF;
export const OPERATIONS = Object.keys(ERRORS_OF) as Operation[];

type Call = (...args: unknown[]) => unknown;

/** The operation as functions: one, or one for each of three kinds if it is a method of a kind. */
export function callsOf(operation: Operation): Call[] {
  const free = (address as unknown as Record<string, Call>)[operation];
  if (free !== undefined) return [free];
  const kinds = [address.Virt, address.Virt57, address.Phys] as unknown as Record<string, Call>[];
  return kinds.map(
    (kind) =>
      (...args) =>
        kind[operation]!(...args),
  );
}

/** Good and bad arguments of all operations. */
export const ARGUMENTS: readonly unknown[] = [
  ...NOT_INTEGERS,
  ...[0, 1, 3, 4096, -1, 0n, 1n, 3n, 0x1fffn, -1n],
  // The edges of the kinds, and past them.
  ...[2n ** 47n - 1n, 2n ** 47n, 2n ** 52n - 1n, 2n ** 52n, 2n ** 56n, 2n ** 64n - 1n, 2n ** 64n, 2n ** 80n],
  ...['00001000', '0x800000000000', '0x10_0000_0000_0000', 'ffffffffffffffff'],
  ...[
    { name: 'k', bits: 48, signExtended: true },
    { name: 'k', bits: 8, signExtended: false },
    new Error('no'),
    REVOKED,
    address.Phys,
  ],
];

/** One argument: one of {@link ARGUMENTS}, an integer near an edge, or anything. */
export const argument: fc.Arbitrary<unknown> = fc.oneof(
  // fast-check reads the properties of its constants.
  fc.constantFrom(...ARGUMENTS.filter((value) => value !== REVOKED)),
  integers,
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withTypedArray: true }),
);

/** The error that a call throws, or `undefined`. */
export function errorOf(call: Call, args: readonly unknown[]): unknown {
  try {
    call(...args);
    return undefined;
  } catch (error) {
    return error;
  }
}
