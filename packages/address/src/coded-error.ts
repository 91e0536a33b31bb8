/**
 * The base of every error that an `@svsm` package throws: a class name, a `code` that programs compare, frozen
 * `details` typed by that code, and a message for people.
 *
 * A package derives one class from it, keeps one table of messages beside it, and exports one guard.
 */
export abstract class CodedError<Code extends string, Details extends object> extends Error {
  /** What went wrong, as a literal that stays the same between releases. */
  readonly code: Code;
  /** The values that the message speaks of, frozen. */
  readonly details: Readonly<Details>;

  protected constructor(name: string, code: Code, details: Details, message: string, options?: ErrorOptions) {
    super(`${message} [${code}]`, options);
    // On the instance, not the prototype: a guard of another copy of the package reads it, and so does `console`.
    Object.defineProperty(this, 'name', {
      value: name,
      configurable: true,
      writable: true,
      enumerable: false,
    });
    this.code = code;
    this.details = Object.freeze({ ...details });
  }
}

/** One message for each code of a table of details: the shape of every package's `MESSAGES`. */
export type MessageTable<DetailsByCode> = {
  readonly [Code in keyof DetailsByCode]: (details: DetailsByCode[Code]) => string;
};

/**
 * Whether `error` is a {@link CodedError} named `name`, with `code` if one is given. It compares names and not classes,
 * so it holds for errors that another installed copy of a package, or another realm, has thrown. What is no error at
 * all (plain data that has the same fields) it refuses.
 */
export function isCodedError(
  error: unknown,
  name: string,
  code?: string,
): error is CodedError<string, Record<string, unknown>> {
  if (typeof error !== 'object' || error === null) return false;
  const candidate = error as { name?: unknown; code?: unknown; details?: unknown };
  return (
    // `instanceof Error` would refuse the errors of another realm.
    Object.prototype.toString.call(error) === '[object Error]' &&
    candidate.name === name &&
    typeof candidate.code === 'string' &&
    typeof candidate.details === 'object' &&
    candidate.details !== null &&
    (code === undefined || candidate.code === code)
  );
}

/**
 * `value` as a message shows it: integers of type `bigint` in hex, numbers in decimal, text quoted and cut, all else by
 * its type. Never throws, whatever is passed.
 */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'bigint':
      return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case 'boolean':
    case 'undefined':
      return String(value);
    default:
      return value === null ? 'null' : `a value of type ${typeof value}`;
  }
}
