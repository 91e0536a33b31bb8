/** Bitmaps of up to 100,000 pages, compared with a list of booleans. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageBitmap } from '../../src/formats/page-bitmap.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';

const runs = fc.array(fc.tuple(fc.nat(100_000), fc.integer({ min: 1, max: 40_000 })), { maxLength: 8 });

test('has, rank and runs agree with the bits', () => {
  fc.assert(
    fc.property(runs, fc.nat(100_000), fc.array(fc.nat(110_000), { minLength: 1 }), (set, pages, asked) => {
      const bits = new Array<boolean>(110_008).fill(false);
      for (const [first, count] of set) bits.fill(true, first, Math.min(first + count, bits.length));
      const bytes = new Uint8Array(100 + bits.length / 8);
      bits.forEach((bit, i) => {
        if (bit) bytes[100 + (i >> 3)]! |= 1 << (i & 7);
      });
      const bitmap = new PageBitmap(bytesSource(bytes), 100, pages);
      const inside = bits.slice(0, pages);
      const ranks = [0];
      for (const bit of inside) ranks.push(ranks.at(-1)! + (bit ? 1 : 0));
      for (const page of asked) {
        expect(bitmap.has(page)).toBe(inside[page] ?? false);
        if (page < pages) expect(bitmap.rank(page)).toBe(ranks[page]);
      }
      const listed = new Array<boolean>(pages).fill(false);
      let before = -1;
      for (const [first, end] of bitmap.runs()) {
        expect(first).toBeGreaterThan(before);
        listed.fill(true, first, end);
        before = end;
      }
      expect(listed).toEqual(inside);
    }),
    { numRuns: 30 },
  );
});

test('a bitmap that the file does not have is refused', () => {
  expect(() => new PageBitmap(bytesSource(new Uint8Array(10)), 4, 49)).toThrow(
    'its bitmap of pages ends at byte 11, beyond the end of the file at 10 [TRUNCATED_FILE]',
  );
});
