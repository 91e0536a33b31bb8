import { describe, expect, test } from 'vitest';
import { type Address, type AddressKind, formatAddress, Phys, Virt, Virt57 } from '../src/index.ts';
import { addressError, NOT_INTEGERS, SysPhys, untyped } from './support.ts';

const OUT = 'OUTSIDE_SPACE';
const HOLE = 'NON_CANONICAL';

/** For each value, the verdict of each kind: valid, or the code of the error. */
const EDGES: readonly [value: bigint, virt: string, virt57: string, phys: string, sysPhys: string][] = [
  [-(2n ** 64n), OUT, OUT, OUT, OUT],
  [-1n, OUT, OUT, OUT, OUT],
  [0n, 'valid', 'valid', 'valid', 'valid'],
  [1n, 'valid', 'valid', 'valid', 'valid'],
  [2n ** 46n - 1n, 'valid', 'valid', 'valid', 'valid'],
  [2n ** 46n, 'valid', 'valid', 'valid', OUT],
  [2n ** 47n - 1n, 'valid', 'valid', 'valid', OUT],
  [2n ** 47n, HOLE, 'valid', 'valid', OUT],
  [2n ** 48n - 1n, HOLE, 'valid', 'valid', OUT],
  [2n ** 48n, HOLE, 'valid', 'valid', OUT],
  [2n ** 52n - 1n, HOLE, 'valid', 'valid', OUT],
  [2n ** 52n, HOLE, 'valid', OUT, OUT],
  [2n ** 56n - 1n, HOLE, 'valid', OUT, OUT],
  [2n ** 56n, HOLE, HOLE, OUT, OUT],
  [2n ** 57n - 1n, HOLE, HOLE, OUT, OUT],
  [2n ** 57n, HOLE, HOLE, OUT, OUT],
  [2n ** 63n, HOLE, HOLE, OUT, OUT],
  [2n ** 64n - 2n ** 57n, HOLE, HOLE, OUT, OUT],
  [2n ** 64n - 2n ** 56n - 1n, HOLE, HOLE, OUT, OUT],
  [2n ** 64n - 2n ** 56n, HOLE, 'valid', OUT, OUT],
  [2n ** 64n - 2n ** 48n, HOLE, 'valid', OUT, OUT],
  [2n ** 64n - 2n ** 47n - 1n, HOLE, 'valid', OUT, OUT],
  [2n ** 64n - 2n ** 47n, 'valid', 'valid', OUT, OUT],
  [2n ** 64n - 1n, 'valid', 'valid', OUT, OUT],
  [2n ** 64n, OUT, OUT, OUT, OUT],
  [2n ** 64n + 1n, OUT, OUT, OUT, OUT],
];

const KINDS: readonly [name: string, kind: AddressKind<Address>, column: 1 | 2 | 3 | 4][] = [
  ['Virt', Virt, 1],
  ['Virt57', Virt57, 2],
  ['Phys', Phys, 3],
  ['a third kind', SysPhys, 4],
];

describe.each(KINDS)('%s', (_, kind, column) => {
  test.each(EDGES.map((row) => [`0x${row[0].toString(16)}`, row[0], row[column]] as const))(
    'all functions agree on %s: %#',
    (_, value, verdict) => {
      if (verdict === 'valid') {
        expect(kind.address(value)).toBe(value);
        expect(kind.tryAddress(value)).toBe(value);
        expect(kind.isAddress(value)).toBe(true);
        expect(() => kind.assertIsAddress(value)).not.toThrow();
        expect(kind.parse(formatAddress(value))).toBe(value);
        expect(kind.truncate(value)).toBe(value);
        return;
      }
      const code = verdict as typeof OUT | typeof HOLE;
      const { message } = addressError(code, () => kind.address(value));
      expect(message).toContain(value.toString(16).replace('-', ''));
      addressError(code, () => kind.assertIsAddress(value));
      expect(kind.tryAddress(value)).toBeUndefined();
      expect(kind.isAddress(value)).toBe(false);
      if (value >= 0n && value < 2n ** 64n) addressError(code, () => kind.parse(formatAddress(value)));
    },
  );

  test.each(NOT_INTEGERS.map((value) => [value]))('every function refuses %o', (value) => {
    const { details } = addressError('INVALID_ADDRESS', () => kind.address(untyped(value)));
    expect(details).toEqual({ kind: kind.name, value });
    expect(kind.tryAddress(value)).toBeUndefined();
    expect(kind.isAddress(value)).toBe(false);
    addressError('INVALID_ADDRESS', () => kind.assertIsAddress(value));
    addressError('INVALID_ADDRESS', () => kind.truncate(untyped(value)));
  });

  test('only address and tryAddress convert a number; the others refuse it', () => {
    for (const value of [0, -0, 1, 0x1000, 2 ** 32, 2 ** 45]) {
      expect(kind.address(value)).toBe(BigInt(value));
      expect(kind.tryAddress(value)).toBe(BigInt(value));
      expect(kind.isAddress(value)).toBe(false);
      const { message } = addressError('INVALID_ADDRESS', () => kind.assertIsAddress(value));
      expect(message).toContain('convert a number with address() first');
    }
    const { details } = addressError(OUT, () => kind.address(-1));
    expect(details.value).toBe(-1n);
  });

  test('refuses a number that may have been rounded', () => {
    addressError('INVALID_ADDRESS', () => kind.address(2 ** 53));
    if (kind.hole === undefined) addressError(OUT, () => kind.address(Number.MAX_SAFE_INTEGER));
  });

  test('is frozen', () => {
    expect(Object.isFrozen(kind)).toBe(true);
    if (kind.hole) expect(Object.isFrozen(kind.hole)).toBe(true);
    expect(() => Object.assign(kind, { end: 0n })).toThrow(TypeError);
  });
});

test('name, bits, end and hole of each kind', () => {
  const about = ({ name, bits, end, hole }: AddressKind<Address>) => ({ name, bits, end, hole });
  expect(about(Virt)).toEqual({
    name: 'virtual',
    bits: 48,
    end: 2n ** 64n,
    hole: { start: 0x0000_8000_0000_0000n, end: 0xffff_8000_0000_0000n },
  });
  expect(about(Virt57)).toEqual({
    name: 'virtual57',
    bits: 57,
    end: 2n ** 64n,
    hole: { start: 0x0100_0000_0000_0000n, end: 0xff00_0000_0000_0000n },
  });
  expect(about(Phys)).toEqual({ name: 'physical', bits: 52, end: 2n ** 52n, hole: undefined });
});

describe('truncate', () => {
  const cases: readonly [value: number | bigint, virt: bigint, virt57: bigint, phys: bigint][] = [
    [0, 0n, 0n, 0n],
    // The three examples of COCONUT-SVSM's sign_extend, at 48 bits.
    [0x0001_0000_0000_0000n, 0n, 0x0001_0000_0000_0000n, 0x1_0000_0000_0000n],
    [0xffff_0000_0000_1000n, 0x1000n, 0xffff_0000_0000_1000n, 0xf_0000_0000_1000n],
    [0x8000_0000_0000n, 0xffff_8000_0000_0000n, 0x8000_0000_0000n, 0x8000_0000_0000n],
    [2n ** 47n - 1n, 2n ** 47n - 1n, 2n ** 47n - 1n, 2n ** 47n - 1n],
    [2n ** 52n, 0n, 2n ** 52n, 0n],
    [2n ** 56n, 0n, 0xff00_0000_0000_0000n, 0n],
    [2n ** 57n, 0n, 0n, 0n],
    [2n ** 64n, 0n, 0n, 0n],
    [2n ** 64n + 0x1234n, 0x1234n, 0x1234n, 0x1234n],
    [-1, 2n ** 64n - 1n, 2n ** 64n - 1n, 2n ** 52n - 1n],
    [-4096n, 2n ** 64n - 4096n, 2n ** 64n - 4096n, 2n ** 52n - 4096n],
    [Number.MAX_SAFE_INTEGER, 2n ** 64n - 1n, 2n ** 53n - 1n, 2n ** 52n - 1n],
  ];
  test.each(cases)('of %s', (value, virt, virt57, phys) => {
    expect(Virt.truncate(value)).toBe(virt);
    expect(Virt57.truncate(value)).toBe(virt57);
    expect(Phys.truncate(value)).toBe(phys);
  });
});
