import { describe, expect, test } from 'vitest';
import {
  alignDown,
  crossesPage,
  distance,
  isAligned,
  isPageAligned,
  pageNumber,
  pageOffset,
  pageTableIndex,
  physAddr,
  Virt57,
  virtAddr,
} from '../src/index.ts';
import { addressError, NOT_INTEGERS, untyped } from './support.ts';

const LOW_END = 0x0000_8000_0000_0000n;
const HIGH_START = 0xffff_8000_0000_0000n;
const END_64 = 2n ** 64n;

describe('alignDown and isAligned', () => {
  test.each([
    [virtAddr(0), 1, 0n],
    [virtAddr(0), 4096, 0n],
    [virtAddr(0), LOW_END, 0n],
    [virtAddr(1), 1, 1n],
    [virtAddr(1), 2, 0n],
    [virtAddr(0xfff), 4096, 0n],
    [virtAddr(0x1000), 4096, 0x1000n],
    [virtAddr(0x1fff), 4096n, 0x1000n],
    [virtAddr(0x3f_ffff), 0x20_0000, 0x20_0000n],
    [virtAddr(0x7fff_ffff), 0x4000_0000, 0x4000_0000n],
    [virtAddr(LOW_END - 1n), 4096, LOW_END - 4096n],
    [virtAddr(LOW_END - 1n), LOW_END, 0n],
    [virtAddr(HIGH_START), LOW_END, HIGH_START],
    [virtAddr(HIGH_START + 1n), LOW_END, HIGH_START],
    [virtAddr(END_64 - 1n), 1, END_64 - 1n],
    [virtAddr(END_64 - 1n), 4096, END_64 - 4096n],
    [virtAddr(END_64 - 1n), 2 ** 47, HIGH_START],
    [Virt57.address(2n ** 56n - 1n), 2n ** 47n, 2n ** 56n - 2n ** 47n],
    [Virt57.address(END_64 - 2n ** 56n + 1n), 2n ** 47n, END_64 - 2n ** 56n],
    [physAddr(2n ** 52n - 1n), 4096, 2n ** 52n - 4096n],
    [physAddr(2n ** 52n - 1n), 2n ** 47n, 2n ** 52n - 2n ** 47n],
  ] as const)('of %s and %s', (address, alignment, expected) => {
    expect(alignDown(address, alignment)).toBe(expected);
    expect(isAligned(address, alignment)).toBe(expected === address);
  });

  test.each(
    [...NOT_INTEGERS, 0, 0n, -0, -1, -2, -4096n, 3, 6n, 4095, 2n ** 48n, 2 ** 48, 2n ** 64n].map((a) => [a]),
  )('both refuse the alignment %o', (alignment) => {
    for (const refuse of [alignDown, isAligned]) {
      const { details } = addressError('INVALID_ALIGNMENT', () => refuse(virtAddr(0), untyped(alignment)));
      expect(details.value).toBe(alignment);
    }
  });
});

test.each([
  [virtAddr(0), 0, 0, true],
  [virtAddr(1), 0, 1, false],
  [virtAddr(0xfff), 0, 0xfff, false],
  [virtAddr(0x1000), 1, 0, true],
  [virtAddr(0x1001), 1, 1, false],
  [virtAddr(LOW_END - 1n), 0x7_ffff_ffff, 0xfff, false],
  [virtAddr(HIGH_START), 0xf_fff8_0000_0000, 0, true],
  [virtAddr(END_64 - 1n), 2 ** 52 - 1, 0xfff, false],
  [virtAddr(END_64 - 4096n), 2 ** 52 - 1, 0, true],
  [physAddr(2n ** 52n - 1n), 2 ** 40 - 1, 0xfff, false],
] as const)('pageNumber, pageOffset and isPageAligned of %s', (address, number, offset, aligned) => {
  expect(pageNumber(address)).toBe(number);
  expect(pageOffset(address)).toBe(offset);
  expect(isPageAligned(address)).toBe(aligned);
});

describe('crossesPage', () => {
  test.each([
    [0, 0, false],
    [0, 1, false],
    [0, 4096, false],
    [0, 4097, true],
    [1, 4095, false],
    [1, 4096, true],
    [0xfff, 0, false],
    [0xfff, 1, false],
    [0xfff, 2, true],
    [0x1000, 4096n, false],
    [0x1000, 4097n, true],
    [LOW_END - 1n, 1, false],
    [LOW_END - 1n, 2, true],
    [END_64 - 4096n, 4096, false],
    [END_64 - 4096n, 4097, true],
    [END_64 - 1n, 1, false],
    [END_64 - 1n, 2, true],
    [0, Number.MAX_SAFE_INTEGER, true],
    [0, 2n ** 64n, true],
  ] as const)('at %s, %s bytes: %s', (address, bytes, expected) => {
    expect(crossesPage(virtAddr(address), bytes)).toBe(expected);
  });

  test.each([...NOT_INTEGERS, -1, -1n].map((bytes) => [bytes]))('refuses %o bytes', (bytes) => {
    addressError('INVALID_BYTE_COUNT', () => crossesPage(virtAddr(0), untyped(bytes)));
  });
});

test.each([
  [0n, 0n, 0n],
  [0n, 4096n, 4096n],
  [4096n, 0n, -4096n],
  [LOW_END - 1n, HIGH_START, HIGH_START - LOW_END + 1n],
  [0n, END_64 - 1n, END_64 - 1n],
  [END_64 - 1n, 0n, 1n - END_64],
])('distance from %s to %s includes the hole', (from, to, expected) => {
  expect(distance(virtAddr(from), virtAddr(to))).toBe(expected);
});

describe('a value that is not an address of any kind', () => {
  const operations: readonly (readonly [string, (address: never) => unknown])[] = [
    ['alignDown', (address) => alignDown(address, 4096)],
    ['isAligned', (address) => isAligned(address, 4096)],
    ['isPageAligned', (address) => isPageAligned(address)],
    ['pageOffset', (address) => pageOffset(address)],
    ['pageNumber', (address) => pageNumber(address)],
    ['crossesPage', (address) => crossesPage(address, 1)],
    ['distance from', (address) => distance(address, virtAddr(0) as never)],
    ['distance to', (address) => distance(virtAddr(0), address)],
    ['pageTableIndex', (address) => pageTableIndex(address, 0)],
  ];

  test.each(operations)('is refused by %s', (_, operation) => {
    for (const value of [...NOT_INTEGERS, 0, 4096]) {
      const { details } = addressError('INVALID_ADDRESS', () => operation(untyped(value)));
      expect(details).toEqual({ kind: '64-bit', value });
    }
    for (const value of [-1n, END_64, END_64 + 4096n]) {
      const { details } = addressError('OUTSIDE_SPACE', () => operation(untyped(value)));
      expect(details).toEqual({ kind: '64-bit', value, end: END_64 });
    }
  });
});
