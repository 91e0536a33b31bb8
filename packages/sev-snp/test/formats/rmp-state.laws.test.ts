import { PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeRmpState, encodeRmpState } from '../../src/formats/rmp-state.ts';
import { codeOf } from '../support/world.ts';

const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });

// R10
test('any sixteen bytes are a state; encoding keeps each bit with a meaning, and clears the others', () => {
  fc.assert(
    fc.property(sixteen, (bytes) => {
      const meaning = bytes.map(
        (byte, k) => byte & (k === 8 || k === 10 ? 1 : k === 9 ? 3 : k === 11 ? 0 : 0xff),
      );
      expect(encodeRmpState(decodeRmpState(bytes))).toEqual(meaning);
    }),
  );
});

// R10
test('a state has the bytes that RMPUPDATE reads', () => {
  const state = {
    gpa: physAddr(0x12_3456_7000),
    assigned: true,
    pageSize: PageSize.Huge,
    immutable: true,
    asid: 0x0304,
    regionStatus: false,
  } as const;
  expect([...encodeRmpState(state)]).toEqual([0, 0x70, 0x56, 0x34, 0x12, 0, 0, 0, 1, 1, 1, 0, 4, 3, 0, 0]);
});

test.each([0, 15, 17])('%i bytes are refused', (length) => {
  expect(codeOf(() => decodeRmpState(new Uint8Array(length)))).toBe('INVALID_ARGUMENT');
});
