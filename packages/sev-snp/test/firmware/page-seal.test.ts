import fc from 'fast-check';
import { expect, test } from 'vitest';
import { keyFrom, sealPage, unsealPage } from '../../src/firmware/page-seal.ts';

const words = fc
  .uint8Array({ minLength: 1, maxLength: 16 })
  .map((bytes) => new Uint8Array([...bytes, ...bytes, ...bytes, ...bytes]));
const key = fc.integer({ min: 1, max: 0xffff });
const iv = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const flipped = (bytes: Uint8Array, bit: number): Uint8Array =>
  bytes.map((byte, k) => (k === (bit >> 3) % bytes.length ? byte ^ (1 << (bit & 7)) : byte));

test('sealed content comes back with its key and its vector, and the arrays are not shared', () => {
  fc.assert(
    fc.property(words, key, iv, (content, key, iv) => {
      const before = content.slice();
      const sealed = sealPage(content, key, iv);
      expect(sealed.bytes).not.toEqual(content);
      expect([sealed.bytes.length, sealed.tag.length]).toEqual([content.length, 16]);
      const { bytes, tag } = sealed;
      const kept = bytes.slice();
      expect(unsealPage({ bytes, tag }, key, iv)).toEqual(content);
      expect([content, bytes]).toEqual([before, kept]);
      expect(sealPage(content, key, iv)).toEqual(sealed);
    }),
  );
});

test('every other bit of the content, the tag, the vector or the key unseals nothing', () => {
  fc.assert(
    fc.property(words, key, iv, fc.nat(511), (content, key, iv, bit) => {
      const { bytes, tag } = sealPage(content, key, iv);
      expect(unsealPage({ bytes: flipped(bytes, bit), tag }, key, iv)).toBeUndefined();
      expect(unsealPage({ bytes, tag: flipped(tag, bit) }, key, iv)).toBeUndefined();
      expect(unsealPage({ bytes, tag }, key, iv ^ (1n << BigInt(bit % 64)))).toBeUndefined();
      expect(unsealPage({ bytes, tag }, key ^ (1 << (bit % 16)), iv)).toBeUndefined();
    }),
  );
});

test('no two words of a keystream are equal, nor two keystreams of other keys and vectors', () => {
  const zeros = new Uint8Array(4096);
  const streams = [1, 2, 3].flatMap((key) =>
    [0n, 1n, 1n << 32n, (1n << 64n) - 1n].map((iv) => sealPage(zeros, key, iv).bytes),
  );
  for (const stream of streams) {
    const count = new Set(new Uint32Array(stream.buffer)).size;
    expect(count).toBe(1024);
  }
  expect(new Set(streams.map(String)).size).toBe(streams.length);
});

test('the four words of a tag each depend on the content, and differ', () => {
  const tagOf = (first: number): Uint32Array =>
    new Uint32Array(sealPage(Uint8Array.of(first, 0, 0, 0), 7, 9n).tag.buffer);
  const [one, two] = [tagOf(0), tagOf(1)];
  expect(new Set([...one, ...two]).size).toBe(8);
});

test('keys of other purposes and of other keys differ, and are the keystream of no vector', () => {
  const keys = [1, 2, 0x1_0001].flatMap((key) => [0, 1, 2, 3].map((purpose) => keyFrom(key, purpose)));
  const streams = [1, 2, 0x1_0001].flatMap((key) =>
    [0n, 1n, 2n, 3n, 1n << 32n].map((iv) => sealPage(new Uint8Array(32), key, iv).bytes),
  );
  expect(new Set([...keys, ...streams].map(String)).size).toBe(keys.length + streams.length);
  for (const key of keys) expect(key.length).toBe(32);
});

// A recorded machine has to end as it did: what a key and a vector give never changes.
test('the sealed bytes, the tag and the key of one input are these', () => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
  const { bytes, tag } = sealPage(
    Uint8Array.from({ length: 8 }, (_, k) => k),
    5,
    0x1_0000_0002n,
  );
  expect([hex(bytes), hex(tag), hex(keyFrom(5, 1))]).toEqual([
    'f39d9b167bd0a479',
    '9c091ae26d3ed1afab9cc9a4237c1d4c',
    'e6f430ac8153ac752323cf4d26eaf00e819564ddaf293e043fddb3edf277894f',
  ]);
});
