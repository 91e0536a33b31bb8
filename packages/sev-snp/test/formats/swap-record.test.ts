import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeSwapRecord, encodeSwapRecord } from '../../src/formats/swap-record.ts';
import { codeOf } from '../support/world.ts';

// T3
test('every field is where the firmware writes it', () => {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, 0x1111n, true);
  view.setBigUint64(8, 0x2222n, true);
  bytes.fill(7, 0x10, 0x20);
  view.setBigUint64(0x20, 0x1234_5000n | 0x13n, true);
  bytes.set([1, 2, 3, 4], 0x28);
  expect(decodeSwapRecord(bytes)).toEqual({
    softwareData: 0x1111n,
    iv: 0x2222n,
    tag: new Uint8Array(16).fill(7),
    gpa: 0x1234_5000n,
    valid: true,
    validated: true,
    vmsa: false,
    metadata: false,
    pageSize: 0x20_0000,
    vmplMasks: [1, 2, 3, 4],
  });
  expect(encodeSwapRecord(decodeSwapRecord(bytes))).toEqual(bytes);
});

// T3
test('any 64 bytes are a record, and another number of bytes is refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (bytes) => {
      const record = decodeSwapRecord(bytes);
      expect(decodeSwapRecord(encodeSwapRecord(record))).toEqual(record);
    }),
  );
  expect(codeOf(() => decodeSwapRecord(new Uint8Array(63)))).toBe('INVALID_ARGUMENT');
});
