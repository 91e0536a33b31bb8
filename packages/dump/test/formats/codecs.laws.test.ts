/** The decoders of LZO and Snappy, compared with the instructions that a block was made of, and given damaged blocks. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { unpackLzo } from '../../src/formats/lzo.ts';
import { unpackSnappy } from '../../src/formats/snappy.ts';
import { made, type Piece, packLzo, packSnappy } from '../support/packer.ts';

const literals = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 30 }),
  fc.uint8Array({ minLength: 1, maxLength: 3 }),
  fc
    .integer({ min: 200, max: 3000 })
    .map((length) => Uint8Array.from({ length }, (_, i) => (i * 31) ^ (i >> 5))),
);
const copies = fc.record({
  length: fc.oneof(fc.integer({ min: 2, max: 12 }), fc.integer({ min: 20, max: 700 })),
  distance: fc.oneof(fc.integer({ min: 1, max: 3100 }), fc.integer({ min: 0x3ff0, max: 0xc000 })),
});

/** Alternating literals and copies that both formats can express. */
const blocks = fc
  .tuple(
    fc.uint8Array({ minLength: 4, maxLength: 300 }),
    fc.boolean(),
    fc.array(fc.tuple(copies, fc.option(literals)), { maxLength: 12 }),
  )
  .map(([first, isLong, rest]) => {
    const start = isLong ? Uint8Array.from({ length: 50_000 }, (_, i) => (i * 131) ^ (i >> 7)) : first;
    const pieces: Piece[] = [{ literals: start }];
    let [size, state] = [start.length, 4];
    for (const [{ length, distance }, more] of rest) {
      const back = ((distance - 1) % Math.min(size, 0xbfff)) + 1;
      const isShort = length === 2 && (state === 0 || state === 4 || back > 1024);
      const isMiddle = length === 3 && back > 2048 && !(state === 4 && back <= 3072);
      const one = { distance: back, length: isShort || isMiddle ? 4 : length };
      pieces.push(one);
      size += one.length;
      state = 0;
      if (more === null) continue;
      pieces.push({ literals: more });
      size += more.length;
      state = Math.min(4, more.length);
    }
    return pieces;
  });

describe.each([
  ['LZO', unpackLzo, packLzo],
  ['Snappy', unpackSnappy, packSnappy],
] as const)('%s', (_, unpack, pack) => {
  test('a block gives the bytes of its instructions, and no other size', () => {
    fc.assert(
      fc.property(blocks, (pieces) => {
        const expected = Uint8Array.from(made(pieces));
        const packed = pack(pieces);
        expect(unpack(packed, expected.length)).toEqual(expected);
        expect(unpack(packed, expected.length - 1)).toBeUndefined();
        expect(unpack(packed, expected.length + 1)).toBeUndefined();
        expect(unpack(packed.subarray(0, -1), expected.length)).toBeUndefined();
        expect(unpack(Uint8Array.from([...packed, 0]), expected.length)).toBeUndefined();
      }),
    );
  });

  test('a damaged block gives a page or nothing, and ends', () => {
    fc.assert(
      fc.property(blocks, fc.array(fc.tuple(fc.nat(), fc.nat(255))), (pieces, changes) => {
        const packed = pack(pieces);
        for (const [at, byte] of changes) packed[at % packed.length] = byte;
        expect([4096, undefined]).toContain(unpack(packed, 4096)?.length);
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect([300, undefined]).toContain(unpack(bytes, 300)?.length);
      }),
    );
  });
});

test('a block of LZO may begin with a count of literals', () => {
  const text = Uint8Array.of(1, 2, 3, 4, 5);
  expect(unpackLzo(Uint8Array.of(17 + 5, ...text, 0x11, 0, 0), 5)).toEqual(text);
  // One literal, then a copy of two bytes.
  expect(unpackLzo(Uint8Array.of(18, 9, 0, 0, 0x11, 0, 0), 3)).toEqual(Uint8Array.of(9, 9, 9));
});
