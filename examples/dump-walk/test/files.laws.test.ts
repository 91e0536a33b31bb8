/** Sparse files, segments and unlisted memory, compared with plain arrays of bytes. */
import { physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withUnlistedMemory } from '../src/qemu-blocks.ts';
import { Segments } from '../src/segments.ts';
import { SparseSource } from '../src/sparse-source.ts';
import { sparseFile } from './core-file.ts';
import { sourceOf } from './support.ts';

test('a sparse file reads as the whole file', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ gap: fc.nat(40), bytes: fc.uint8Array({ maxLength: 40 }) }), { maxLength: 10 }),
      fc.nat(50),
      fc.array(fc.tuple(fc.nat(300), fc.nat(80)), { minLength: 1, maxLength: 10 }),
      fc.nat(),
      (parts, tail, reads, seed) => {
        let at = 0;
        const pieces = parts.map(({ gap, bytes }) => {
          const place = at + gap;
          at = place + bytes.length;
          return [place, bytes] as const;
        });
        const whole = new Uint8Array(at + tail);
        for (const [place, bytes] of pieces) whole.set(bytes, place);
        const shuffled = [...pieces].sort(([a], [b]) => ((a * 31 + seed) % 7) - ((b * 31 + seed) % 7));
        const source = new SparseSource(sourceOf(sparseFile(whole.length, shuffled)));
        expect(source.size).toBe(whole.length);
        for (const [position, length] of reads) {
          const into = new Uint8Array(length).fill(0xee);
          if (position + length > whole.length) {
            expect(() => source.read(position, into)).toThrow(/it ends at byte/);
            continue;
          }
          source.read(position, into);
          expect(into).toEqual(whole.subarray(position, position + length));
        }
      },
    ),
  );
});

/** Segments from a few bytes to two pages. Most are apart; some overlap and have the same place in the file. */
const segment = fc.record({
  paddr: fc.nat(0x6000),
  size: fc.oneof(fc.nat(0x20), fc.constantFrom(0x1000, 0x2000)),
  delta: fc.constantFrom(0, 0, 0x100, 0x8000),
});

test('segments map each byte to its place, and refuse a byte with two places', () => {
  fc.assert(
    fc.property(fc.array(segment, { maxLength: 8 }), (drawn) => {
      const file = Uint8Array.from({ length: 0x1_2000 }, (_, i) => (i * 7) ^ (i >> 8));
      const segments = drawn.map(({ paddr, size, delta }, i) => ({
        paddr,
        size,
        offset: paddr + delta,
        name: `segment ${i}`,
      }));
      const offsets = new Map<number, number>();
      let isTwofold = false;
      for (const { paddr, size, offset } of segments) {
        for (let i = 0; i < size; i += 1) {
          const known = offsets.get(paddr + i);
          if (known !== undefined && known !== offset + i) isTwofold = true;
          offsets.set(paddr + i, offset + i);
        }
      }
      if (isTwofold) {
        expect(() => new Segments(segments, file.length)).toThrow(/both have physical address/);
        return;
      }
      const memory = new Segments(segments, file.length);
      expect(memory.bytes).toBe(offsets.size);
      for (const paddr of [0, 0x10, 0xfff, 0x1000, 0x5fff, ...segments.map(({ paddr }) => paddr)]) {
        expect(memory.offsetOf(physAddr(paddr))).toBe(offsets.get(paddr));
      }
      for (let frame = 0; frame < 9; frame += 1) {
        const expected = Array.from({ length: 0x1000 }, (_, i) => offsets.get(frame * 0x1000 + i));
        const bytes = new Uint8Array(0x1000);
        const isWhole = !expected.includes(undefined);
        expect(memory.read(sourceOf(file), frame, bytes)).toBe(isWhole);
        if (isWhole) expect(bytes.every((byte, i) => byte === file[expected[i]!])).toBe(true);
      }
    }),
  );
});

test('adjacent segments are joined, however many there are', () => {
  const segments = Array.from({ length: 65_735 }, (_, i) => ({
    paddr: (i % 1000) * 0x1000,
    size: 0x1000,
    offset: 0x500 + (i % 1000) * 0x1000,
    name: `program header ${i}`,
  }));
  expect([...new Segments(segments, 0x100_0000)]).toEqual([{ start: 0n, end: 0x3e_8000n, offset: 0x500 }]);
});

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Blocks of memory in pages, as in a dump by virtual address. `listed` selects the pages that segments describe. */
function dumped(blocks: readonly { start: number; size: number }[], listed: (address: number) => boolean) {
  const first = 0x8c0;
  let offset = first;
  const places = new Map<number, number>();
  const runs: { start: number; end: number; offset: number }[] = [];
  for (const { start, size } of blocks) {
    for (let address = start; address < start + size; address += 0x1000) {
      const place = offset + (address - start);
      places.set(address, place);
      if (!listed(address)) continue;
      const last = runs.at(-1);
      if (last?.end === address && place - address === last.offset - last.start) last.end = address + 0x1000;
      else runs.push({ start: address, end: address + 0x1000, offset: place });
    }
    offset += size;
  }
  return { first, size: offset + 9, places, runs };
}

test('unlisted memory is found, never at a wrong place', () => {
  const block = fc.record({ gap: fc.nat(20), pages: fc.integer({ min: 1, max: 12 }) });
  fc.assert(
    fc.property(
      fc.array(block, { minLength: 1, maxLength: 3 }),
      fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }),
      (drawn, tells) => {
        let at = 0;
        const blocks = drawn.map(({ gap, pages }, i) => {
          const start = at + (i === 0 ? 0 : gap * 0x1000);
          at = start + pages * 0x1000;
          return { start, size: pages * 0x1000 };
        });
        let page = 0;
        const { first, size, places, runs } = dumped(blocks, () => tells[page++ % 40] === true);
        // Nothing is known about a block without a listed page: there may be one block more than the segments show.
        fc.pre(
          blocks.every(({ start, size }) =>
            runs.some((run) => run.start >= start && run.start < start + size),
          ),
        );
        const found = new Segments(withUnlistedMemory(runs, first, size), size);
        for (const [address, place] of places) {
          expect([place, undefined]).toContain(found.offsetOf(physAddr(address)));
        }
        for (const { start, offset } of runs) expect(found.offsetOf(physAddr(start))).toBe(offset);
      },
    ),
  );
});

test('all memory of a PC with 6 GiB is found from one listed page above 4 GiB', () => {
  const [low, rom] = [3 * GIB, 0x4_0000];
  const listed = { start: 0x1_0005_0000, end: 0x1_0005_1000, offset: 0x8c0 + low + rom + 0x5_0000 };
  const size = 0x8c0 + 6 * GIB + rom;
  const found = new Segments(withUnlistedMemory([listed], 0x8c0, size), size);
  for (const [address, place] of [
    [0, 0x8c0],
    [low - MIB, 0x8c0 + low - MIB],
    [2 ** 32 - rom, 0x8c0 + low],
    [2 ** 32, 0x8c0 + low + rom],
    [2 ** 32 + 3 * GIB - 0x1000, size - 0x1000],
  ] as const) {
    expect(found.offsetOf(physAddr(address))).toBe(place);
  }
});

test('in a file with another layout, only listed memory is found', () => {
  const runs = [
    { start: 0x1000, end: 0x2000, offset: 0x9000 },
    { start: 0x5000, end: 0x6000, offset: 0x3000 },
  ];
  expect(new Segments(withUnlistedMemory(runs, 0x100, 0x1_0000), 0x1_0000).bytes).toBe(0x2000);
});
