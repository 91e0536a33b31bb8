/** Sparse files, segments and unlisted memory, compared with plain arrays of bytes. */
import { physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PcLayout, pcLayouts } from '../../src/formats/qemu-blocks.ts';
import { Segments } from '../../src/formats/segments.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { Notices } from '../../src/source/notices.ts';
import { Runs } from '../../src/source/runs.ts';
import { SparseSource } from '../../src/source/sparse-source.ts';
import { sparseFile } from '../support/core-file.ts';

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
        const source = new SparseSource(bytesSource(sparseFile(whole.length, shuffled)));
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

/** Segments from a few bytes to two pages. Most are apart; some overlap, at the same place in the file or at another one. */
const segment = fc.record({
  paddr: fc.nat(0x6000),
  size: fc.oneof(fc.nat(0x20), fc.constantFrom(0x1000, 0x2000)),
  delta: fc.constantFrom(0, 0, 0x100, 0x8000),
});

test('segments map each byte to its places, and all copies must agree', () => {
  fc.assert(
    fc.property(
      fc.array(segment, { maxLength: 8 }),
      fc.array(segment, { maxLength: 3 }),
      fc.boolean(),
      (drawn, tails, isEqual) => {
        // If all bytes are equal, so are all copies.
        const file = Uint8Array.from({ length: 0x1_2000 }, (_, i) => (isEqual ? 7 : (i * 7) ^ (i >> 8)));
        const runs = new Runs();
        const zeros = new Runs();
        const places = new Map<number, Set<number>>();
        const isZero = new Set<number>();
        for (const { paddr, size, delta } of drawn) {
          runs.add(paddr, paddr + size, delta);
          for (let i = paddr; i < paddr + size; i += 1)
            places.set(i, (places.get(i) ?? new Set()).add(i + delta));
        }
        for (const { paddr, size } of tails) {
          zeros.add(paddr, paddr + size, 0);
          for (let i = paddr; i < paddr + size; i += 1) if (!places.has(i)) isZero.add(i);
        }
        const notices = new Notices();
        const memory = new Segments(runs, { zeros, notices });
        expect([memory.bytes, memory.zeroBytes]).toEqual([places.size, isZero.size]);
        for (const paddr of [0, 0x10, 0xfff, 0x1000, 0x5fff, ...drawn.map(({ paddr }) => paddr)]) {
          const found = memory.offsetOf(physAddr(paddr));
          if (found === undefined) expect(places.has(paddr)).toBe(false);
          else expect(places.get(paddr)).toContain(found);
        }
        const listed = [...memory];
        expect(listed.reduce((sum, { start, end }) => sum + Number(end - BigInt(start)), 0)).toBe(
          [...places.values()].reduce((sum, { size }) => sum + size, isZero.size),
        );
        let isDifferent = false;
        for (let frame = 0; frame < 9; frame += 1) {
          const addresses = Array.from({ length: 0x1000 }, (_, i) => frame * 0x1000 + i);
          const bytes = new Uint8Array(0x1000);
          const isWhole = addresses.every((i) => places.has(i) || isZero.has(i));
          expect(memory.read(bytesSource(file), frame, bytes)).toBe(isWhole);
          const copies = addresses.map((i) => [...(places.get(i) ?? [])].map((place) => file[place]!));
          isDifferent ||= copies.some((values) => new Set(values).size > 1);
          if (!isWhole) continue;
          expect(
            bytes.every((byte, i) => (copies[i]!.length > 0 ? copies[i]!.includes(byte) : byte === 0)),
          ).toBe(true);
        }
        expect(notices.isEmpty).toBe(!isDifferent);
      },
    ),
  );
});

test('memory at more than four places is refused', () => {
  const at = (count: number) => {
    const runs = new Runs();
    for (let i = 0; i < count; i += 1) runs.add(0x1000 + i, 0x2000 + i, 0x1000 * i);
    return new Segments(runs);
  };
  expect(at(4).hasCopies).toBe(true);
  expect(() => at(5)).toThrow('physical address 0x1004 is at more than 4 places in the file');
});

test('adjacent segments are joined, however many there are', () => {
  const segments = Array.from({ length: 65_735 }, (_, i) => ({
    paddr: (i % 1000) * 0x1000,
    size: 0x1000,
    offset: 0x500 + (i % 1000) * 0x1000,
    name: `program header ${i}`,
  }));
  expect([...Segments.of(segments, 0x100_0000)]).toEqual([
    { start: 0n, end: 0x3e_8000n, offset: 0x500, isZero: false },
  ]);
});

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const FIRST = 0x8c0;

/** The blocks of a PC as QEMU writes them: RAM around the VGA hole, memory of the graphics card, firmware, RAM above 4 GiB. */
function pcBlocks(low: number, high: number, video: number, firmware: number, hole = true) {
  return [
    ...(hole ? [[0, 0xa_0000] as const, [0xc_0000, low] as const] : [[0, low] as const]),
    [0xfd00_0000, 0xfd00_0000 + video] as const,
    [2 ** 32 - firmware, 2 ** 32] as const,
    [2 ** 32, 2 ** 32 + high] as const,
  ].filter(([start, end]) => end > start);
}

/** The runs of some of the pages of blocks, and the size of the file. */
function dumped(blocks: readonly (readonly [number, number])[], pages: readonly number[]) {
  let offset = FIRST;
  const deltas = blocks.map(([start, end]) => {
    const delta = offset - start;
    offset += end - start;
    return { start, end, delta };
  });
  const runs = new Runs();
  for (const page of pages) {
    const block = deltas.find(({ start, end }) => page >= start && page < end);
    if (block !== undefined) runs.add(page, page + 0x1000, block.delta);
  }
  const listed = [...runs.joined().sorted()];
  return { deltas, facts: { listed, blockEnds: new Set<number>(), first: FIRST, fileSize: offset + 9 } };
}

const has = ({ blocks }: PcLayout, paddr: number): number | undefined =>
  blocks.find(({ start, end }) => paddr >= start && paddr < end)?.delta;

test('the true layout of a PC is among those found, and every one agrees with the segments', () => {
  const machine = fc.constantFrom<readonly [low: number, high: number]>(
    [128 * MIB, 0],
    [3 * GIB, 0],
    [2 * GIB, GIB],
    [3 * GIB, 3 * GIB],
    [0xd000_0000, 0],
  );
  const page = fc.oneof(
    fc.nat(0xff),
    fc.integer({ min: 0xc0, max: 0x7fff }),
    fc.integer({ min: 0xf_ffc0, max: 0x10_ffff }),
  );
  fc.assert(
    fc.property(
      machine,
      fc.constantFrom(0, 16 * MIB, 4 * MIB),
      fc.constantFrom(0x4_0000, 0x2_0000),
      fc.boolean(),
      fc.array(page, { maxLength: 20 }),
      ([low, high], video, firmware, hole, drawn) => {
        const { deltas, facts } = dumped(
          pcBlocks(low, high, video, firmware, hole),
          drawn.map((one) => one * 0x1000),
        );
        const layouts = pcLayouts(facts);
        const isTrue = (layout: PcLayout): boolean =>
          [0x1000, 0xf_f000, low - 0x1000, 2 ** 32 + high - 0x1000].every(
            (paddr) =>
              has(layout, paddr) === deltas.find((one) => paddr >= one.start && paddr < one.end)?.delta,
          );
        expect(layouts.some(isTrue)).toBe(true);
        for (const layout of layouts) {
          for (const { start, delta } of facts.listed) {
            if (start < layout.lowEnd || start >= 2 ** 32) expect(has(layout, start)).toBe(delta);
          }
        }
      },
    ),
  );
});

test('RAM of 3 GiB ends where the memory of the graphics card begins in the file', () => {
  const { facts } = dumped(pcBlocks(3 * GIB, 0, 16 * MIB, 0x4_0000), [0x10_0000, 0xbff0_0000]);
  const [best] = pcLayouts(facts);
  expect(best).toMatchObject({ lowEnd: 3 * GIB, ram: 3 * GIB });
  expect([0xa_0000, 0xb_f000, 0xc000_0000, 0xc104_0000].map((paddr) => has(best!, paddr))).toEqual(
    Array.from({ length: 4 }, () => undefined),
  );
  expect(has(best!, 0xc_0000)).toBe(FIRST - 0x2_0000);
});

test('a cut-off segment shows where a block ends', () => {
  const { facts } = dumped(pcBlocks(240 * MIB, 0, 16 * MIB, 0x4_0000), [0x10_0000]);
  expect(pcLayouts(facts)[0]).toMatchObject({ lowEnd: 256 * MIB });
  expect(pcLayouts({ ...facts, blockEnds: new Set([240 * MIB]) })[0]).toMatchObject({ lowEnd: 240 * MIB });
});

test('segments that are not those of a PC have no layout', () => {
  const listed = [
    { start: 0x1000, end: 0x2000, delta: 0x8000 },
    { start: 0x5000, end: 0x6000, delta: -0x2000 },
  ];
  expect(pcLayouts({ listed, blockEnds: new Set(), first: 0x100, fileSize: 0x1_0000 })).toEqual([]);
});
