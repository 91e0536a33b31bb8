/**
 * `value` as messages show it: a `bigint` in hex, a number in decimal, text in quotes and cut after 40 characters, any
 * other value by its type. Control and format characters of a text are escaped. Never throws. O(1).
 *
 * @param value - any value
 * @param expected - the words that say what to pass instead; if they ask for a bigint or an address, a number is shown as such,
 *   with the bigint to write
 * @example
 * ```ts
 * import { describeValue } from '@svsm/address';
 *
 * console.log(describeValue(4096n), describeValue(4096), describeValue('\u202e0x1')); // => 0x1000 4096 "\u202e0x1"
 * console.log(describeValue(4096, 'pass a bigint')); // => the number 4096 (as a bigint: 4096n)
 * ```
 */
export function describeValue(value: unknown, expected?: string): string {
  switch (typeof value) {
    case 'bigint':
      return value < 0n ? `-0x${(-value).toString(16)}` : `0x${value.toString(16)}`;
    case 'number':
      return typeof expected === 'string' && asksForBigint(expected) ? describeNumber(value) : decimal(value);
    case 'string':
      return printable(JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value));
    case 'boolean':
    case 'undefined':
      return String(value);
    default:
      return value === null ? 'null' : `a value of type ${typeof value}`;
  }
}

function asksForBigint(expected: string): boolean {
  return /bigint|address/.test(expected) && !/number|integer/.test(expected);
}

function describeNumber(value: number): string {
  const text = `the number ${decimal(value)}`;
  return Number.isSafeInteger(value) ? `${text} (as a bigint: ${BigInt(value)}n)` : text;
}

function decimal(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value);
}

/** Control and format characters, lone surrogates, and separators of lines and paragraphs. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** `text` with such characters escaped. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const digits = (character.codePointAt(0) as number).toString(16);
    return digits.length > 4 ? `\\u{${digits}}` : `\\u${digits.padStart(4, '0')}`;
  });
}
