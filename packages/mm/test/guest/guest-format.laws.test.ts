import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { guestFormats } from '../../src/guest/index.ts';

const { u8, u16, u32, u64, bytes, struct } = guestFormats;

describe('guestFormats', () => {
  test('encode what a DataView writes, and decode it again', () => {
    const value = fc.record({
      a: fc.nat(0xff),
      b: fc.nat(0xffff),
      c: fc.nat(0xffff_ffff),
      d: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      e: fc.uint8Array({ minLength: 3, maxLength: 3 }),
    });
    const format = struct({ a: u8, b: u16, c: u32, d: u64, e: bytes(3) });
    expect(format.size).toBe(18);
    fc.assert(
      fc.property(value, (given) => {
        const view = new DataView(new ArrayBuffer(18));
        view.setUint8(0, given.a);
        view.setUint16(1, given.b, true);
        view.setUint32(3, given.c, true);
        view.setBigUint64(7, given.d, true);
        const encoded = format.encode(given);
        expect([...encoded.subarray(0, 15)]).toEqual([...new Uint8Array(view.buffer, 0, 15)]);
        expect(format.decode(encoded)).toEqual(given);
      }),
    );
  });

  test('have no value for bytes that one field refuses', () => {
    const even = {
      size: 1,
      decode: ([byte]: Uint8Array) => (byte! % 2 === 0 ? byte : undefined),
      encode: u8.encode,
    };
    const format = struct({ first: u8, second: even });
    expect(format.decode(Uint8Array.of(1, 2))).toEqual({ first: 1, second: 2 });
    expect(format.decode(Uint8Array.of(2, 1))).toBeUndefined();
  });

  test.each([
    () => u8.encode(256),
    () => u16.encode(-1),
    () => u32.encode(0.5),
    () => u64.encode(2n ** 64n),
    () => bytes(2).encode(new Uint8Array(3)),
    () => bytes(0),
    () => struct({}),
    () => struct({ a: u8 }).encode({ a: 1, b: 2 } as never),
  ])('refuse a value or a size that does not fit', (call) => {
    expect(call).toThrow('INVALID_ARGUMENT');
  });
});
