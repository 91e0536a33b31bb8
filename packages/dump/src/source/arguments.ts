import { DumpError } from './dump-error.ts';

/*
 * Checks of arguments. Plain JavaScript can pass a value of any type: the error names the value and the expectation.
 */

/** @throws DumpError `INVALID_ARGUMENT` always; `cause` is what reading the value threw */
export function refuseArgument(what: string, value: unknown, expected: string, cause?: unknown): never {
  throw new DumpError('INVALID_ARGUMENT', { what, value, expected }, cause === undefined ? {} : { cause });
}

/** @throws DumpError `INVALID_ARGUMENT` if `value` is not an integer from `first` to `last` */
export function requireInteger(what: string, value: unknown, first: number, last: number): void {
  if (Number.isInteger(value) && (value as number) >= first && (value as number) <= last) return;
  refuseArgument(what, value, `pass an integer from ${first} to ${last}`);
}

/** @throws DumpError `INVALID_ARGUMENT` if `value` is not a bigint of `bits` bits */
export function requireBits(what: string, value: unknown, bits: number): void {
  if (typeof value === 'bigint' && value >= 0n && value >> BigInt(bits) === 0n) return;
  refuseArgument(what, value, `pass a bigint from 0 to 2^${bits} - 1`);
}

/** @throws DumpError `INVALID_ARGUMENT` if `value` is neither `undefined` nor of this type */
export function requireOptional(
  what: string,
  value: unknown,
  type: 'boolean' | 'string' | 'function' | 'bigint',
): void {
  if (value !== undefined && typeof value !== type) refuseArgument(what, value, `pass a ${type}`);
}

/** @throws DumpError `INVALID_ARGUMENT` if `value` is neither `undefined` nor one of `values` */
export function requireChoice(what: string, value: unknown, values: readonly unknown[]): void {
  if (value !== undefined && !values.includes(value))
    refuseArgument(what, value, `pass one of ${values.map(String).join(', ')}`);
}

/** Whether `value` is bytes. Never throws: a proxy may. */
export function isBytes(value: unknown): value is Uint8Array {
  try {
    return value instanceof Uint8Array;
  } catch {
    return false;
  }
}

/**
 * The result of `read`, which reads from `value` alone. An error means that a part of the value cannot be read.
 *
 * @throws DumpError `INVALID_ARGUMENT`
 */
export function readArgument<Result>(
  what: string,
  value: unknown,
  expected: string,
  read: () => Result,
): Result {
  try {
    return read();
  } catch (cause) {
    return refuseArgument(what, value, expected, cause);
  }
}

/**
 * Requires an object that has these methods, which the caller implements or a class has.
 *
 * @throws DumpError `INVALID_ARGUMENT`
 */
export function requireMethods(
  what: string,
  value: unknown,
  names: readonly string[],
  expected: string = `pass an object with the methods ${names.join(', ')}`,
): void {
  const has = readArgument(what, value, expected, () => {
    const object = value as Readonly<Record<string, unknown>> | null;
    return (
      typeof object === 'object' &&
      object !== null &&
      names.every((name) => typeof object[name] === 'function')
    );
  });
  if (!has) refuseArgument(what, value, expected);
}

/**
 * Requires an object of options that can be read and has no other names than these: a misspelt one would be ignored.
 *
 * @throws DumpError `INVALID_ARGUMENT`
 */
export function requireOptions(what: string, options: unknown, names: readonly string[]): void {
  const expected = `pass an object with the options ${names.join(', ')}`;
  const unknown = readArgument(what, options, expected, () => {
    if (typeof options !== 'object' || options === null) throw new TypeError('not an object');
    for (const name of names) void (options as Record<string, unknown>)[name];
    return Object.keys(options).find((name) => !names.includes(name));
  });
  if (unknown === undefined) return;
  refuseArgument(`a name in ${what}`, unknown, `pass only options that exist: ${names.join(', ')}`);
}

/** The items of an array. @throws DumpError `INVALID_ARGUMENT` */
export function itemsOf(what: string, value: unknown, expected: string): readonly unknown[] {
  const items = readArgument(what, value, expected, () => (Array.isArray(value) ? [...value] : undefined));
  return items ?? refuseArgument(what, value, expected);
}
