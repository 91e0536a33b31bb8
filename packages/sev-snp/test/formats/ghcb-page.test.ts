import { describe, expect, test } from 'vitest';
import {
  GHCB_BUFFER,
  GHCB_FIELDS,
  type GhcbField,
  GhcbPage,
  ghcbValidBit,
} from '../../src/formats/ghcb-page.ts';
import { codeOf } from '../support/world.ts';

const FIELDS = Object.keys(GHCB_FIELDS) as GhcbField[];
const BITMAP = 0x3f0;

// G14
test.each<[GhcbField, number, number | undefined]>([
  ['cpl', 0x0cb, 25],
  ['rax', 0x1f8, 63],
  ['exitCode', 0x390, 114],
  ['exitInfo1', 0x398, 115],
  ['exitInfo2', 0x3a0, 116],
  ['scratch', 0x3a8, 117],
  ['xcr0', 0x3e8, 125],
  ['x87StateGpa', 0x400, undefined],
  ['protocolVersion', 0xffa, undefined],
  ['usage', 0xffc, undefined],
])('%s lies at byte %i, and bit %s marks it valid', (field, offset, bit) => {
  expect([GHCB_FIELDS[field][0], ghcbValidBit(field)]).toEqual([offset, bit]);
});

test('fields share no bytes and no bit, and none lies in the bitmap or the buffer', () => {
  const taken = new Set<number>([...Array(16).keys()].map((k) => BITMAP + k));
  for (let k = 0; k < GHCB_BUFFER.size; k += 1) taken.add(GHCB_BUFFER.offset + k);
  for (const field of FIELDS) {
    const [offset, size] = GHCB_FIELDS[field];
    for (let k = offset; k < offset + size; k += 1) expect(taken.has(k), field).toBe(false);
    for (let k = offset; k < offset + size; k += 1) taken.add(k);
  }
  const bits = FIELDS.map(ghcbValidBit).filter((bit) => bit !== undefined);
  expect(new Set(bits).size).toBe(bits.length);
  expect(Math.max(...bits)).toBeLessThan(128);
});

// G14
test('writing a field changes its bytes and its bit, and nothing else', () => {
  for (const field of FIELDS) {
    const bytes = new Uint8Array(4096);
    const page = GhcbPage.over(bytes);
    const [offset, size] = GHCB_FIELDS[field];
    const value = 2n ** BigInt(8 * size) - 1n;
    page.set(field, value);
    expect(page.get(field)).toBe(value);
    const changed = [...bytes.keys()].filter((k) => bytes[k] !== 0);
    const bit = ghcbValidBit(field);
    const own = Array.from({ length: size }, (_, k) => offset + k);
    expect(changed).toEqual(
      [...own, ...(bit === undefined ? [] : [BITMAP + (bit >> 3)])].sort((a, b) => a - b),
    );
    if (bit !== undefined) expect(bytes[BITMAP + (bit >> 3)]).toBe(1 << (bit & 7));
    expect(FIELDS.filter((other) => ghcbValidBit(other) !== undefined && page.isValid(other))).toEqual(
      bit === undefined ? [] : [field],
    );
  }
});

// G14
test('marking a field keeps the marks of others in the same byte, and takes no bit from other bytes', () => {
  const bytes = new Uint8Array(4096).fill(0xff);
  const page = GhcbPage.over(bytes);
  page.invalidate();
  page.set('rcx', 0n);
  expect(
    [...bytes.subarray(BITMAP, BITMAP + 16)].flatMap((byte, i) => (byte === 0 ? [] : [i, byte])),
  ).toEqual([12, 0b10]);
  page.set('rdx', 0n);
  expect(bytes[BITMAP + 12]).toBe(0b110);
  expect([page.get('rcx'), page.get('rdx'), page.get('rbx')]).toEqual([0n, 0n, undefined]);
});

// G14
test('a field that is not marked valid is undefined, whatever its bytes', () => {
  const page = GhcbPage.over(new Uint8Array(4096).fill(0xff));
  page.invalidate();
  for (const field of FIELDS) expect(page.get(field) === undefined).toBe(ghcbValidBit(field) !== undefined);
  expect(page.get('usage')).toBe(0xffff_ffffn);
});

test('the buffer begins at 0x800, for reads and for writes', () => {
  const bytes = Uint8Array.from({ length: 4096 }, (_, k) => k % 251);
  const page = GhcbPage.over(bytes);
  expect(page.readBuffer(3, 5)).toEqual(bytes.slice(0x803, 0x808));
  page.writeBuffer(3, Uint8Array.of(0xfe, 0xff));
  expect([...bytes.subarray(0x803, 0x805)]).toEqual([0xfe, 0xff]);
});

test('a snapshot keeps the page as it was', () => {
  const page = GhcbPage.over();
  page.set('rax', 1n);
  const before = page.snapshot();
  page.set('rax', 2n);
  page.set('rbx', 3n);
  expect([before.get('rax'), before.get('rbx')]).toEqual([1n, undefined]);
  before.set('rax', 4n);
  expect(page.get('rax')).toBe(2n);
});

describe('refuses', () => {
  const page = GhcbPage.over();
  test.each<[string, () => unknown, string]>([
    ['a value that does not fit', () => page.set('cpl', 256n), 'INVALID_MESSAGE'],
    ['a negative value', () => page.set('rax', -1n), 'INVALID_MESSAGE'],
    ['a read past the buffer', () => page.readBuffer(0x7e9, 8), 'INVALID_ARGUMENT'],
    ['a read before the buffer', () => page.readBuffer(-1, 8), 'INVALID_ARGUMENT'],
    ['a write past the buffer', () => page.writeBuffer(0x7f0, new Uint8Array(1)), 'INVALID_ARGUMENT'],
    ['a page of another length', () => GhcbPage.over(new Uint8Array(4095)), 'INVALID_ARGUMENT'],
  ])('%s', (_, action, code) => {
    expect(codeOf(action)).toBe(code);
  });

  test('no access at its borders', () => {
    page.writeBuffer(0, Uint8Array.of(9));
    page.writeBuffer(0x7ef, Uint8Array.of(8));
    expect([...page.readBuffer(0, 1), ...page.readBuffer(0x7ef, 1)]).toEqual([9, 8]);
    expect([...page.readBuffer(0, 0), ...page.readBuffer(0x7f0, 0)]).toEqual([]);
    expect(page.readBuffer(0, 0x7f0).length).toBe(0x7f0);
  });

  test('no access inside the buffer', () => {
    page.writeBuffer(0x7e8, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8));
    expect(page.readBuffer(0x7ec, 4)).toEqual(Uint8Array.of(5, 6, 7, 8));
  });
});
