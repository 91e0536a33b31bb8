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
    if (typeof options !== 'object' || options === null) throw new TypeError('not an object');
    for (const name in options) {
      if (unknown === undefined && !names.includes(name) && Object.hasOwn(options, name)) unknown = name;
    }
    for (let k = 0; k < names.length; k += 1) void (options as Record<string, unknown>)[names[k]!];
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
export function requireFields(what: string, object: object, checks: Checks): void {
  const names = namesOf(checks);
  requireOptions(what, object, names);
  for (let k = 0; k < names.length; k += 1) {
    const name = names[k]!;
    checks[name]!(name, (object as Record<string, unknown>)[name]);
  }
}

type Checks = Readonly<Record<string, Check>>;

const NAMES: WeakMap<Checks, readonly string[]> = /* @__PURE__ */ new WeakMap();

/** The names of the fields that have a check. Tables of checks never change. */
function namesOf(checks: Checks): readonly string[] {
  const held = NAMES.get(checks);
  if (held !== undefined) return held;
  const names = Object.keys(checks);
  NAMES.set(checks, names);
  return names;
}
