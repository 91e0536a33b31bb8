import { PageSize } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  SVSM_LIST_MAX,
  svsmEntrySize,
} from '../../src/formats/svsm-protocol.ts';
import { codeOf } from '../support/world.ts';

test('any eight bytes are an entry and a header, and encoding returns them, without the reserved bits of the header', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 8 }), (bytes) => {
      expect(encodeSvsmListEntry(decodeSvsmListEntry(bytes))).toEqual(bytes);
      expect(encodeSvsmListHeader(decodeSvsmListHeader(bytes))).toEqual(bytes.map((b, k) => (k < 4 ? b : 0)));
    }),
  );
});

// S7
test('an entry has the bits of the protocol', () => {
  const entry = decodeSvsmListEntry(Uint8Array.of(0x1d, 0x50, 0x34, 0x12, 0, 0, 0, 0));
  expect(entry).toEqual({ gpa: 0x1234_5000n, size: 1, validate: true, ignoreUnchanged: true, reserved: 1 });
  expect([0, 1, 2, 3].map((size) => svsmEntrySize({ ...entry, size }))).toEqual([
    PageSize.Regular,
    PageSize.Huge,
    undefined,
    undefined,
  ]);
  expect(8 + 8 + 8 * SVSM_LIST_MAX).toBe(4096);
});

test.each([0, 7, 9])('%i bytes are refused', (length) => {
  expect(codeOf(() => decodeSvsmListEntry(new Uint8Array(length)))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => decodeSvsmListHeader(new Uint8Array(length)))).toBe('INVALID_ARGUMENT');
});
