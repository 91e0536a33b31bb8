import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatAddress, Phys, Virt } from '../src/index.ts';
import { addressError, NOT_INTEGERS, untyped } from './support.ts';

describe('formatAddress', () => {
  test.each([
    [0n, '0x0000000000000000'],
    [1n, '0x0000000000000001'],
    [0xabc_def0n, '0x000000000abcdef0'],
    [2n ** 47n - 1n, '0x00007fffffffffff'],
    [2n ** 47n, '0x0000800000000000'],
    [2n ** 52n, '0x0010000000000000'],
    [0xffff_8000_0000_0000n, '0xffff800000000000'],
    [2n ** 64n - 1n, '0xffffffffffffffff'],
    // An exclusive end.
    [2n ** 64n, '0x10000000000000000'],
    [-1n, '-0x0000000000000001'],
    [-(2n ** 64n), '-0x10000000000000000'],
  ])('%s', (address, text) => {
    expect(formatAddress(address)).toBe(text);
  });

  test('refuses everything that is not a bigint', () => {
    for (const value of [...NOT_INTEGERS, 0, 4096, -1]) {
      const { details } = addressError('INVALID_ADDRESS', () => formatAddress(untyped(value)));
      expect(details).toEqual({ kind: '64-bit', value });
    }
  });
});

describe('parse', () => {
  test.each([
    ['0x0', 0n],
    ['0x1', 1n],
    ['0x1000', 0x1000n],
    ['0xfff', 0xfffn],
    ['0xFFF', 0xfffn],
    ['0xAbCdEf', 0xabcdefn],
    ['0x0000000000001000', 0x1000n],
    ['0x10_0000', 0x10_0000n],
    ['0x1_2_3', 0x123n],
    ['0xffff_8000_0000_0000', 0xffff_8000_0000_0000n],
    ['0xffff800000000000', 0xffff_8000_0000_0000n],
    ['0xffffffffffffffff', 2n ** 64n - 1n],
    ['0x0000_7fff_ffff_ffff', 2n ** 47n - 1n],
    // Eight to sixteen bare digits, as consoles print them.
    ['00000000', 0n],
    ['00001000', 0x1000n],
    ['12345678', 0x1234_5678n],
    ['deadbeef', 0xdead_beefn],
    ['DEADBEEF', 0xdead_beefn],
    ['123456789', 0x1_2345_6789n],
    ['ffff800000000000', 0xffff_8000_0000_0000n],
    ['FFFFFFFFFFFFFFFF', 2n ** 64n - 1n],
  ])('reads %s', (text, value) => {
    expect(Virt.parse(text)).toBe(value);
  });

  test.each(
    [
      ...[
        '',
        ' ',
        '0',
        '1000',
        '1234567',
        'fffffff',
        '0x',
        '0X1000',
        '0X',
        'x1000',
        '1000h',
        '$1000',
        '#1000',
      ],
      // White space, signs, other notations.
      ...[' 0x1000', '0x1000 ', '0x1000\n', '\t0x1000', '0x 1000', '0x10 00', '00001000\n', ' 00001000'],
      ...[
        '-0x1000',
        '+0x1000',
        '-1',
        '-00001000',
        '0x-1',
        '0b1',
        '0o7',
        '0x1000n',
        '1e3',
        '0x1.0',
        '0x1,000',
        '0x1:000',
      ],
      // Underscores anywhere but singly between digits.
      ...[
        '0x_1000',
        '0x1000_',
        '0x1__000',
        '0x_',
        '_0x1000',
        '0_x1000',
        '0000_1000',
        'ffff_8000_0000_0000',
        '00001000_',
      ],
      // Characters that are not hex digits, more than sixteen digits.
      ...['0xg', '0x1000g', 'deadbeeg', '0x１０', '٠٠٠٠١٠٠٠', '0x10000000000000000', '0x00000000000000000'],
      ...[
        '00000000000000000',
        '0x0_0000_0000_0000_0000',
        '0x1000 0x2000',
        'virtual',
        'null',
        '0x0x1',
        '0x1\u0000',
      ],
    ].map((text) => [text]),
  )('refuses %j', (text) => {
    const { details, message } = addressError('INVALID_ADDRESS_TEXT', () => Virt.parse(text));
    expect(details).toEqual({ kind: 'virtual', text });
    expect(message).toContain('0x and 1 to 16 hex digits');
  });

  test.each([[4096], [4096n], [null], [undefined], [{}], [['0x1000']], [Object('0x1000')]])(
    'refuses %o, which is not text',
    (value) => {
      const { details } = addressError('INVALID_ADDRESS_TEXT', () => Virt.parse(untyped(value)));
      expect(details).toEqual({ kind: 'virtual', text: value });
    },
  );

  test('checks the value like address', () => {
    addressError('NON_CANONICAL', () => Virt.parse('0x800000000000'));
    addressError('NON_CANONICAL', () => Virt.parse('ffff7fffffffffff'));
    addressError('OUTSIDE_SPACE', () => Phys.parse('0x10_0000_0000_0000'));
  });

  test('accepts text exactly if it has one of the two forms', () => {
    const anyText = fc.string({
      unit: fc.constantFrom(...'0123456789abcdefABCDEF__xX -+ng'),
      maxLength: 20,
    });
    const almost = fc
      .tuple(fc.constantFrom('0x', '0X', '', 'x'), anyText)
      .map(([prefix, text]) => prefix + text);
    fc.assert(
      fc.property(fc.oneof(anyText, almost), (text) => {
        expect(acceptedByHand(text)).toBe(parses(text));
      }),
    );
  });
});

function parses(text: string): boolean {
  try {
    // A value outside the kind has the right form too.
    Virt.parse(text);
    return true;
  } catch (error) {
    return (error as { code?: string }).code !== 'INVALID_ADDRESS_TEXT';
  }
}

/** The documented forms, character by character. */
function acceptedByHand(text: string): boolean {
  const isDigit = (character: string | undefined) =>
    character !== undefined && '0123456789abcdefABCDEF'.includes(character) && character !== '';
  if (text.startsWith('0x')) {
    const body = [...text.slice(2)];
    const digits = body.filter(isDigit).length;
    return (
      digits >= 1 &&
      digits <= 16 &&
      body.every((c, i) => isDigit(c) || (c === '_' && isDigit(body[i - 1]) && isDigit(body[i + 1])))
    );
  }
  return text.length >= 8 && text.length <= 16 && [...text].every(isDigit);
}
