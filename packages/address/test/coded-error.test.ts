import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CodedError, describeValue, isCodedError, type MessageTable } from '../src/index.ts';
import { REVOKED } from './support.ts';

// Another package has a table of details, a table of messages and a class of its own.
interface ParcelErrorDetails {
  TOO_HEAVY: { grams: number };
  NO_ADDRESS: { name: string };
}

const MESSAGES: MessageTable<ParcelErrorDetails> = {
  TOO_HEAVY: ({ grams }) => `${grams} g are too much`,
  NO_ADDRESS: ({ name }) => `${name} has no address`,
};

class ParcelError<Code extends keyof ParcelErrorDetails> extends CodedError<Code, ParcelErrorDetails[Code]> {
  constructor(code: Code, details: ParcelErrorDetails[Code], options?: ErrorOptions) {
    super('ParcelError', code, details, MESSAGES[code](details), options);
  }
}

/** Characters that could forge or reorder text on a console, and how they are shown. */
const UNPRINTABLE: readonly (readonly [string, string])[] = [
  ['\u0000', '\\u0000'],
  ['\u001b', '\\u001b'],
  ['\u007f', '\\u007f'],
  // C1: the second introduces a control sequence, as ESC [ does.
  ['\u0085', '\\u0085'],
  ['\u009b', '\\u009b'],
  // Soft hyphen, zero width, bidirectional: marks, embeddings, overrides, isolates.
  ['\u00ad', '\\u00ad'],
  ['\u061c', '\\u061c'],
  ['\u200b', '\\u200b'],
  ['\u200e', '\\u200e'],
  ['\u200f', '\\u200f'],
  ['\u202a', '\\u202a'],
  ['\u202e', '\\u202e'],
  ['\u2066', '\\u2066'],
  ['\u2069', '\\u2069'],
  ['\ufeff', '\\ufeff'],
  // Separators of lines and paragraphs.
  ['\u2028', '\\u2028'],
  ['\u2029', '\\u2029'],
  ['\ud800', '\\ud800'],
  ['\udfff', '\\udfff'],
  // A tag, which is invisible.
  ['\u{e0041}', '\\u{e0041}'],
];

const RAW = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

test('a class derived from CodedError has name, code, details and message', () => {
  const error = new ParcelError('TOO_HEAVY', { grams: 7 });
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe('ParcelError');
  expect(error.message).toBe('7 g are too much [TOO_HEAVY]');
  expect(error.details).toEqual({ grams: 7 });
  expect(Object.isFrozen(error.details)).toBe(true);
  // A console prints the stack, which begins with the name; so the name is not enumerable, or it would be printed again.
  expect(`${error}`).toBe('ParcelError: 7 g are too much [TOO_HEAVY]');
  expect(Object.keys(error)).toEqual(['code', 'details']);
});

describe('a message', () => {
  test.each(UNPRINTABLE)('shows %j escaped', (character, shown) => {
    const error = new ParcelError('NO_ADDRESS', { name: `A${character}B` });
    expect(error.message).toBe(`A${shown}B has no address [NO_ADDRESS]`);
    // The details are as they were passed.
    expect(error.details.name).toBe(`A${character}B`);
  });

  test('has no control and no format character, whatever text it names', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const { message } = new ParcelError('NO_ADDRESS', { name });
        expect(message).not.toMatch(RAW);
        if (!RAW.test(name)) expect(message).toBe(`${name} has no address [NO_ADDRESS]`);
      }),
    );
  });
});

describe('isCodedError', () => {
  const error = new ParcelError('NO_ADDRESS', { name: 'Ada' });

  test('compares name and code', () => {
    expect(isCodedError(error, 'ParcelError')).toBe(true);
    expect(isCodedError(error, 'ParcelError', 'NO_ADDRESS')).toBe(true);
    expect(isCodedError(error, 'ParcelError', 'TOO_HEAVY')).toBe(false);
    expect(isCodedError(error, 'LetterError')).toBe(false);
    expect(isCodedError(error, 'LetterError', 'NO_ADDRESS')).toBe(false);
  });

  test('refuses an object whose properties cannot be read', () => {
    expect(isCodedError(REVOKED, 'ParcelError')).toBe(false);
    const hostile = Object.defineProperty(new Error('no'), 'name', { get: () => expect.fail('no') });
    expect(isCodedError(hostile, 'ParcelError')).toBe(false);
  });

  test('never throws, and accepts only errors', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true }), (value) => {
        expect(isCodedError(value, 'ParcelError')).toBe(false);
      }),
    );
  });
});

describe('describeValue', () => {
  test.each([
    [0n, '0x0'],
    [-0n, '0x0'],
    [4096n, '0x1000'],
    [-4096n, '-0x1000'],
    [2n ** 64n, '0x10000000000000000'],
    [0, '0'],
    [-0, '-0'],
    [4096, '4096'],
    [-1, '-1'],
    [0.5, '0.5'],
    [2 ** 53, '9007199254740992'],
    [NaN, 'NaN'],
    [-Infinity, '-Infinity'],
    ['', '""'],
    ['0x1000', '"0x1000"'],
    ['line\n"two"', '"line\\n\\"two\\""'],
    ['x'.repeat(40), `"${'x'.repeat(40)}"`],
    ['x'.repeat(41), `"${'x'.repeat(40)}…"`],
    [true, 'true'],
    [undefined, 'undefined'],
    [null, 'null'],
    [{}, 'a value of type object'],
    [[1], 'a value of type object'],
    [() => 1, 'a value of type function'],
    [Symbol('s'), 'a value of type symbol'],
  ])('of %o', (value, text) => {
    expect(describeValue(value)).toBe(text);
  });

  test.each(UNPRINTABLE)('of a text with %j', (character, shown) => {
    // JSON has a shorter form for some.
    const text = describeValue(`A${character}B`);
    expect(text).toBe(`"A${shown}B"`);
    expect(JSON.parse(shown.includes('{') ? '"A"' : text)).toBe(shown.includes('{') ? 'A' : `A${character}B`);
  });

  test('has no control and no format character, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(describeValue(text)).not.toMatch(RAW);
      }),
    );
  });

  test('never throws, and stays on one short line', () => {
    const hostile = {
      toString: () => expect.fail('called'),
      [Symbol.toPrimitive]: () => expect.fail('called'),
    };
    expect(describeValue(hostile)).toBe('a value of type object');
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true }), (value) => {
        expect(describeValue(value)).toMatch(/^.{1,300}$/);
      }),
    );
  });
});
