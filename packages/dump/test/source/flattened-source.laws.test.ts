/** Flattened files of random records, compared with the bytes that these write. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { FlattenedSource, isFlattened } from '../../src/source/flattened-source.ts';
import { flattened } from '../support/kdump-file.ts';

const record = fc.tuple(fc.nat(3000), fc.uint8Array({ maxLength: 1000 }));

test('the last record at a place counts, and places without one are zero', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 20 }), fc.nat(4000), fc.nat(4000), (records, from, to) => {
      const size = Math.max(
        0,
        ...records.map(([at, bytes]) => (bytes.length === 0 ? at : at + bytes.length)),
      );
      const whole = new Uint8Array(size);
      for (const [at, bytes] of records) whole.set(bytes, at);
      const flat = bytesSource(flattened(records));
      expect(isFlattened(flat)).toBe(true);
      const source = new FlattenedSource(flat);
      expect(source.size).toBe(size);
      const [start, end] = [from, to].map((at) => Math.min(at, size)).sort((a, b) => a - b) as [
        number,
        number,
      ];
      const into = new Uint8Array(end - start).fill(0xee);
      source.read(start, into);
      expect(into).toEqual(whole.subarray(start, end));
      const isWritten = (at: number): boolean =>
        records.some(([first, bytes]) => at >= first && at < first + bytes.length);
      let next = start;
      while (next < size && !isWritten(next)) next += 1;
      expect(source.dataFrom(start)).toBe(next);
    }),
  );
});

describe('a flattened file', () => {
  const file = flattened([[0, Buffer.alloc(100, 1)]]);

  test('that is cut off is refused at each length', () => {
    for (let length = 13; length < file.length; length += 1) {
      expect(() => new FlattenedSource(bytesSource(file.subarray(0, length)))).toThrow(
        /\[(TRUNCATED_FILE|UNSUPPORTED_FORMAT)\]/,
      );
    }
    const source = new FlattenedSource(bytesSource(file));
    expect(() => source.read(90, new Uint8Array(11))).toThrow('it ends at byte 100, before byte 101');
    source.close();
  });

  test('of another version, or with a record at an impossible place, is refused', () => {
    const other = Buffer.from(file);
    other.writeBigInt64BE(2n, 24);
    expect(() => new FlattenedSource(bytesSource(other))).toThrow('type 1 and version 2');
    const far = Buffer.from(file);
    far.writeBigInt64BE(2n ** 60n, 4096);
    expect(() => new FlattenedSource(bytesSource(far))).toThrow(
      'record 0 of the flattened dump ends at byte 0x1000000000000064 [INVALID_FILE]',
    );
  });

  test('may have only so many records that overlap', () => {
    const byte = Buffer.alloc(1);
    const records = Array.from({ length: 70_000 }, (_, i) => [i % 5, byte] as const);
    expect(() => new FlattenedSource(bytesSource(flattened(records)))).toThrow(
      'more than 65536 records of the flattened dump overlap [OUTSIDE_LIMITS]',
    );
  });
});
