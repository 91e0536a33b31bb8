import { SnpError } from './snp-error.ts';

/**
 * Requires an object of options that can be read and has no other names than these: a misspelt one would be ignored.
 *
 * @param what - its name in the message
 * @throws SnpError `INVALID_ARGUMENT`
 */
export function requireOptions(what: string, options: object, names: readonly string[]): void {
  let unknown: string | undefined;
  try {
    if (typeof options !== 'object') throw new TypeError('not an object');
    unknown = Object.keys(options).find((name) => !names.includes(name));
    for (const name of names) void (options as Record<string, unknown>)[name];
  } catch (cause) {
    const expected = `pass an object with the options ${names.join(', ')}`;
    throw new SnpError('INVALID_ARGUMENT', { what, value: options, expected }, { cause });
  }
  if (unknown === undefined) return;
  const expected = `pass only options that exist: ${names.join(', ')}`;
  throw new SnpError('INVALID_ARGUMENT', { what: `a name in ${what}`, value: unknown, expected });
}

/** The check of one field: throws unless `value` is one that the field `what` can have. */
export type Check = (what: string, value: unknown) => void;

/** A field that may be `undefined` or absent. */
export function optional(check: Check): Check {
  return (what, value) => {
    if (value !== undefined) check(what, value);
  };
}

/** Requires an object that has these fields, each as its check demands, and no others. @throws SnpError `INVALID_ARGUMENT` */
export function requireFields(what: string, object: object, checks: Readonly<Record<string, Check>>): void {
  const names = Object.keys(checks);
  requireOptions(what, object, names);
  for (const name of names) checks[name]!(name, (object as Record<string, unknown>)[name]);
}
