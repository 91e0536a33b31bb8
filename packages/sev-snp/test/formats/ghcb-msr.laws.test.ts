import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeGhcbMsr, encodeGhcbMsr } from '../../src/formats/ghcb-msr.ts';

const code = fc.oneof(
  fc.constantFrom(...[0, 1, 2, 4, 5, 7, 0x11, 0x13, 0x14, 0x15, 0x17, 0x81, 0x100]),
  fc.integer({ min: 0, max: 0xfff }),
);
const value = fc
  .tuple(fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 52n - 1n }), fc.bigInt({ min: 0n, max: 0xfffn })), code)
  .map(([data, info]) => (data << 12n) | BigInt(info));

test('any 64 bits can be decoded, and encoding returns them', () => {
  fc.assert(
    fc.property(value, (value) => {
      expect(encodeGhcbMsr(decodeGhcbMsr(value))).toBe(value);
    }),
  );
});
