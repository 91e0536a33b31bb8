import { jsonValue } from './appearance.ts';
import { printable } from './describe-value.ts';

/**
 * The base of every error that an `@svsm` package throws: a class name, a `code` that programs compare, frozen
 * `details` typed by that code, and a message for people.
 *
 * A package derives one class from it, keeps one table of messages next to that class, and exports one guard. Control and
 * format characters in a message are escaped, so text from outside cannot forge or reorder lines of a console.
 *
 * @example
 * ```ts
 * import { CodedError, type MessageTable } from '@svsm/address';
 *
 * interface ParcelErrorDetails {
 *   TOO_HEAVY: { grams: number };
 * }
 * const MESSAGES: MessageTable<ParcelErrorDetails> = { TOO_HEAVY: ({ grams }) => `${grams} g are too much` };
 *
 * class ParcelError<Code extends keyof ParcelErrorDetails> extends CodedError<Code, ParcelErrorDetails[Code]> {
 *   constructor(code: Code, details: ParcelErrorDetails[Code]) {
 *     super('ParcelError', code, details, MESSAGES[code](details));
 *   }
 * }
 * console.log(String(new ParcelError('TOO_HEAVY', { grams: 9000 }))); // => ParcelError: 9000 g are too much [TOO_HEAVY]
 * ```
 */
export abstract class CodedError<Code extends string, Details extends object> extends Error {
  /** The reason, as a literal that stays the same between releases. */
  readonly code: Code;
  /** The values that the message names, frozen. */
  readonly details: Readonly<Details>;

  protected constructor(name: string, code: Code, details: Details, message: string, options?: ErrorOptions) {
    super(`${printable(message)} [${code}]`, options);
    // On the instance, not on the prototype: the guard of another copy of the package reads it, and so does `console`.
    Object.defineProperty(this, 'name', {
      value: name,
      configurable: true,
      writable: true,
      enumerable: false,
    });
    this.code = code;
    this.details = Object.freeze({ ...details });
  }

  /** The error in a form that `JSON.stringify` accepts, for loggers: addresses and other `bigint`s as hex text, no stack. O(n). */
  toJSON(): { name: string; code: Code; message: string; details: unknown } {
    return { name: this.name, code: this.code, message: this.message, details: jsonValue(this.details) };
  }
}

/** One message for each code in a table of details: the shape of `MESSAGES` in every package. */
export type MessageTable<DetailsByCode> = {
  readonly [Code in keyof DetailsByCode]: (details: DetailsByCode[Code]) => string;
};

/**
 * Whether `error` is a {@link CodedError} named `name` and, if `code` is given, has that code. It compares names, not
 * classes, so it accepts the errors of another installed copy of the package and of another realm. It refuses plain data
 * with the same fields. O(1).
 */
export function isCodedError(
  error: unknown,
  name: string,
  code?: string,
): error is CodedError<string, Record<string, unknown>> {
  if (typeof error !== 'object' || error === null) return false;
  const candidate = error as { name?: unknown; code?: unknown; details?: unknown };
  try {
    return (
      // `instanceof Error` would refuse the errors of another realm.
      Object.prototype.toString.call(error) === '[object Error]' &&
      candidate.name === name &&
      typeof candidate.code === 'string' &&
      typeof candidate.details === 'object' &&
      candidate.details !== null &&
      (code === undefined || candidate.code === code)
    );
  } catch {
    // An object whose properties cannot be read, such as a revoked proxy.
    return false;
  }
}
