import { BuddyError } from './buddy-error.ts';

/**
 * Reads an object of options: each of the options `known` once, into a new object.
 *
 * @throws BuddyError `INVALID_OPTION` if it has other options, is not an object, or cannot be read
 */
export function readOptions<Options extends object>(
  options: Options,
  known: readonly (keyof Options & string)[],
): Options {
  if (typeof options !== 'object' || options === null) {
    throw new BuddyError('INVALID_OPTION', { option: 'options', value: options, expected: 'an object' });
  }
  const read: Partial<Options> = {};
  let unknown: string | undefined;
  let value: unknown;
  try {
    unknown = Object.keys(options).find((key) => !(known as readonly string[]).includes(key));
    if (unknown !== undefined) value = (options as Record<string, unknown>)[unknown];
    else for (const key of known) read[key] = options[key];
  } catch (cause) {
    const details = { option: 'options', value: options, expected: 'an object that can be read' };
    throw new BuddyError('INVALID_OPTION', details, { cause });
  }
  if (unknown === undefined) return read as Options;
  const expected = `only options that exist: ${known.join(', ')}`;
  throw new BuddyError('INVALID_OPTION', { option: unknown, value, expected });
}

/** @throws BuddyError `INVALID_OPTION` unless `value` is `undefined` or a function */
export function requireFunction(option: string, value: unknown): void {
  if (value === undefined || typeof value === 'function') return;
  throw new BuddyError('INVALID_OPTION', { option, value, expected: 'a function' });
}

/** @throws BuddyError `INVALID_OPTION` unless `value` is an object with these methods */
export function requireMethods(option: string, value: unknown, ...methods: readonly string[]): void {
  const expected = `an object with the method${methods.length === 1 ? '' : 's'} ${methods.join(', ')}`;
  let cause: unknown;
  try {
    const object = value as Record<string, unknown> | undefined | null;
    if (methods.every((method) => typeof object?.[method] === 'function')) return;
  } catch (error) {
    cause = error;
  }
  const options = cause === undefined ? undefined : { cause };
  throw new BuddyError('INVALID_OPTION', { option, value, expected }, options);
}
