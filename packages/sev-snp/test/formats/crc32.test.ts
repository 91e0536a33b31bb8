import { Buffer } from 'node:buffer';
import { crc32 as expected } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { crc32 } from '../../src/formats/crc32.ts';

// L14
test('is the CRC-32 of zlib, in one part or in two', () => {
  expect(crc32(Buffer.from('123456789'))).toBe(0xcbf4_3926);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), (bytes, cut) => {
      expect(crc32(bytes)).toBe(expected(bytes));
      expect(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut)))).toBe(expected(bytes));
    }),
  );
});
