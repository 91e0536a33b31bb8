import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { describeValue } from '../src/index.ts';
import { RAW, UNPRINTABLE } from './unprintable.ts';

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

  test('of a number whose expected words are not text shows the number', () => {
    expect(describeValue(0.5, Object.create(null))).toBe('0.5');
  });

  test.each([
    [4096, 'pass a bigint of 64 bits', 'the number 4096 (as a bigint: 4096n)'],
    [-0, 'pass the address of a page', 'the number -0 (as a bigint: 0n)'],
    [0.5, 'pass a bigint', 'the number 0.5'],
    [2 ** 53, 'pass a bigint', 'the number 9007199254740992'],
    [NaN, 'pass a bigint', 'the number NaN'],
    // A number may be passed there.
    [0.5, 'pass a bigint or a safe integer', '0.5'],
    [3, 'pass a number of bytes', '3'],
    [4096n, 'pass an address', '0x1000'],
    ['4096', 'pass a bigint', '"4096"'],
  ])('of %o where the words are "%s"', (value, expected, text) => {
    expect(describeValue(value, expected)).toBe(text);
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
