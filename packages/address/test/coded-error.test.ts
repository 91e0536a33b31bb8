import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CodedError, isCodedError, type MessageTable } from '../src/index.ts';
import { REVOKED } from './support.ts';
import { RAW, UNPRINTABLE } from './unprintable.ts';

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
