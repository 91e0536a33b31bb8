import { CodedError, PageSize } from '@svsm/address';
import { SnpError } from './snp-error.ts';

/*
 * Checks of arguments. Plain JavaScript can pass a value of any type: each check costs a `typeof` or an `instanceof`, and its
 * error names the value and the expectation.
 */

/** @throws SnpError `INVALID_ARGUMENT` always; `cause` is what reading the value threw */
export function refuseArgument(what: string, value: unknown, expected: string, cause?: unknown): never {
  throw new SnpError(
    'INVALID_ARGUMENT',
    { what, value, expected },
    cause === undefined ? undefined : { cause },
  );
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not a boolean */
export function requireBoolean(what: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') refuseArgument(what, value, 'pass a boolean');
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not an integer from `first` to `last` */
export function requireInteger(
  what: string,
  value: unknown,
  first: number,
  last: number = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  if (Number.isInteger(value) && (value as number) >= first && (value as number) <= last) return;
  const expected = last === Number.MAX_SAFE_INTEGER ? `from ${first} on` : `from ${first} to ${last}`;
  refuseArgument(what, value, `pass an integer ${expected}`);
}

/** Requires a number of steps, which may be unlimited. @throws SnpError `INVALID_ARGUMENT` */
export function requireCount(what: string, value: unknown, least = 0): asserts value is number {
  if (value === Number.POSITIVE_INFINITY || (Number.isInteger(value) && (value as number) >= least)) return;
  refuseArgument(what, value, `pass an integer from ${least} on, or Infinity`);
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not an unsigned integer of 64 bits */
export function requireUint64(what: string, value: unknown): asserts value is bigint {
  if (typeof value === 'bigint' && value >> 64n === 0n) return;
  refuseArgument(what, value, 'pass an unsigned bigint of 64 bits');
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not a function */
export function requireFunction(what: string, value: unknown): void {
  if (typeof value !== 'function') refuseArgument(what, value, 'pass a function');
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not one of `values` */
export function requireOneOf(what: string, value: unknown, values: readonly unknown[]): void {
  if (!values.includes(value)) refuseArgument(what, value, `pass one of ${values.join(', ')}`);
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not an integer: a page number, a key, a count */
export function requireWhole(what: string, value: unknown): void {
  if (!Number.isInteger(value)) refuseArgument(what, value, 'pass an integer');
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not a page size of the RMP */
export function requireRmpPageSize(value: unknown): void {
  if (value !== PageSize.Regular && value !== PageSize.Huge)
    refuseArgument('the page size', value, 'pass 4096 or 2097152');
}

/** @throws SnpError `INVALID_ARGUMENT` if `value` is not an instance of `type`, whose name is `name` */
export function requireInstance(what: string, value: unknown, type: ClassOf<unknown>, name: string): void {
  if (!isInstance(value, type)) refuseArgument(what, value, `pass ${name}`);
}

/** A class, whose constructor may be private. */
type ClassOf<T> = { readonly prototype: T };

/** Whether `value` is an instance of `type`. Never throws: a proxy may. */
export function isInstance<T>(value: unknown, type: ClassOf<T>): value is T {
  try {
    return value instanceof (type as unknown as new () => T);
  } catch {
    return false;
  }
}

/**
 * Requires an object with methods, which the caller implements or a class of this package has.
 *
 * @throws SnpError `INVALID_ARGUMENT`
 */
export function requireMethods(what: string, value: unknown, names: readonly string[]): void {
  let cause: unknown;
  try {
    if (typeof value === 'object' && hasMethods(value as Readonly<Record<string, unknown>>, names)) return;
  } catch (thrown) {
    cause = thrown;
  }
  refuseArgument(what, value, `pass an object with the methods ${names.join(', ')}`, cause);
}

function hasMethods(object: Readonly<Record<string, unknown>>, names: readonly string[]): boolean {
  for (let k = 0; k < names.length; k += 1) if (typeof object[names[k]!] !== 'function') return false;
  return true;
}

/** For {@link readArgument}: throws for `undefined` and `null`, whose spread is an empty object. */
export function requireObject<T extends object>(value: T): T {
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object');
  return value;
}

/**
 * The result of `read`, which computes from `value` alone and runs no other code of the caller than that of its properties.
 * An error without a code means that a part of the value has another type.
 *
 * @throws SnpError `INVALID_ARGUMENT`; the errors with a code that `read` throws
 */
export function readArgument<Value, Result>(
  what: string,
  value: Value,
  expected: string,
  read: (value: Value) => Result,
): Result {
  try {
    return read(value);
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    return refuseArgument(what, value, expected, cause);
  }
}

/** Requires a list that can be iterated: its own errors come out as they are. @throws SnpError `INVALID_ARGUMENT` */
export function requireIterable(what: string, value: unknown): asserts value is Iterable<unknown> {
  const expected = 'pass an array or another iterable';
  const isIterable = readArgument(
    what,
    value,
    expected,
    () => typeof value === 'object' && typeof (value as Iterable<unknown>)[Symbol.iterator] === 'function',
  );
  if (!isIterable) refuseArgument(what, value, expected);
}
