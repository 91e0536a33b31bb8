/** Images of LiME and AVML: the same memory in both, random ranges and chunks, and damaged ones. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { tableOf } from '../support/core-file.ts';
import { limeFile } from '../support/lime-file.ts';
import { runHere, temporary } from '../support/support.ts';

const open = (file: Buffer) => openDump(bytesSource(file));
const TABLES = Buffer.concat([
  tableOf({ 0: 0x2067n, 511: 0x2067n }),
  tableOf({ 0: 0x3067n, 510: 0x3067n }),
  tableOf({ 0: 0x4067n, 8: 0x4067n }),
  tableOf({ 0: 0x9067n, 1: 0x1063n }),
]);
const LOW = { paddr: 0x1000, bytes: TABLES };
const HIGH = { paddr: 0x1_0000_0000, bytes: Buffer.alloc(0x3000, 7) };

describe.each([
  ['LiME', {}, 'LiME image, 2 ranges'],
  ['AVML', { chunks: [0x1_0000] }, 'AVML image, 2 ranges'],
  ['AVML in small chunks', { chunks: [1000, 5000, 77] }, 'AVML image, 2 ranges'],
])('an image of %s', (_, how, kind) => {
  const file = limeFile([
    { ...LOW, ...how },
    { ...HIGH, ...how },
  ]);
  const path = temporary('lime', file);

  test('has its memory at its addresses', async () => {
    const dump = open(file);
    expect(dump.kind).toBe(kind);
    const frame = Buffer.alloc(4096);
    expect(dump.readFrame(0x10_0002, frame)).toBe(true);
    expect(frame).toEqual(HIGH.bytes.subarray(0, 4096));
    expect([0, 5, 0x10_0003].map((one) => dump.readFrame(one, frame))).toEqual([false, false, false]);
    const { status, stdout } = await runHere([path, '--cr3', '1000', '--within', 'ffffffff81000000+2000']);
    expect(status).toBe(0);
    expect(stdout).toContain(
      '0xffffffff81001000 0xffffffff81002000      4 KiB  0x0000000000001000 4K   -rwx',
    );
  });

  test('needs a CR3, which roots finds', async () => {
    await expect(runHere([path])).rejects.toThrow(
      "it has no CR3: pass --cr3 (and --levels or --cr4), which 'svsm-dump roots'",
    );
    const { stdout } = await runHere(['roots', path, '--levels', '4']);
    expect(stdout).toContain('0x0000000000001000 4 levels');
  });

  test('is refused at each length that is not whole', () => {
    for (let length = 8; length < file.length; length += 61) {
      expect(() => open(file.subarray(0, length)), String(length)).toThrow(/\[(TRUNCATED|INVALID)_FILE\]/);
    }
  });
});

describe('overlapping ranges', () => {
  const changed = Buffer.from(TABLES);
  changed[0x1000 + 8 * 7] = 1;
  const packed = { chunks: [0x1000] };

  test.each([
    ['LiME', {}, {}, 'at 4184 and at 20600 in the file; the first is used'],
    ['AVML', packed, packed, 'at 4152 and at 20536 in its unpacked content; the first is used'],
    ['both', packed, {}, 'in a compressed range and in another one; the compressed one is used'],
  ])('of %s have a warning where their bytes differ', (_, how, other, places) => {
    const dump = open(
      limeFile([
        { ...LOW, ...how },
        { ...LOW, bytes: changed, ...other },
      ]),
    );
    const frame = Buffer.alloc(4096);
    expect(dump.readFrame(1, frame)).toBe(true);
    expect(dump.notices?.take()).toEqual([]);
    expect(dump.readFrame(2, frame)).toBe(true);
    expect(frame).toEqual(TABLES.subarray(0x1000, 0x2000));
    const [notice, ...others] = dump.notices?.take() ?? [];
    expect(notice?.warning).toBe('copies-differ');
    expect(notice?.message).toContain(`0x20`);
    expect(notice?.message).toContain(`has different bytes ${places}`);
    expect(others).toEqual([]);
  });

  test('of a raw image have it too', () => {
    const image = Buffer.concat([TABLES, changed]);
    const ram = [0, TABLES.length].map((offset) => ({ paddr: 0, size: TABLES.length, offset }));
    const dump = openDump(bytesSource(image), { ram });
    expect(dump.readFrame(1, Buffer.alloc(4096))).toBe(true);
    expect(dump.notices?.take()).toMatchObject([{ warning: 'copies-differ' }]);
  });

  test('may come in any order', () => {
    const dump = open(limeFile([HIGH, LOW]));
    expect(Array.from(dump.memory!, ({ start }) => start)).toEqual([0x1000n, 0x1_0000_0000n]);
  });
});

test('random ranges and chunks have the bytes that were written', () => {
  const chunks = fc.option(fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 5 }), {
    nil: undefined,
  });
  const range = fc.record({
    gap: fc.nat(3),
    pages: fc.integer({ min: 1, max: 4 }),
    seed: fc.nat(250),
    chunks,
  });
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 5 }), (list) => {
      let frame = 0;
      const expected = new Map<number, Buffer>();
      const ranges = list.map(({ gap, pages, seed, chunks }) => {
        const first = frame + gap;
        const bytes = Buffer.from(Uint8Array.from({ length: pages * 4096 }, (_, i) => seed + (i >> 8) + i));
        for (let i = 0; i < pages; i += 1) expected.set(first + i, bytes.subarray(i * 4096, (i + 1) * 4096));
        frame = first + pages;
        return { paddr: first * 4096, bytes, ...(chunks === undefined ? {} : { chunks }) };
      });
      const dump = open(limeFile(ranges));
      for (let i = 0; i <= frame; i += 1) {
        const bytes = Buffer.alloc(4096);
        expect(dump.readFrame(i, bytes)).toBe(expected.has(i));
        if (expected.has(i)) expect(bytes.equals(expected.get(i)!)).toBe(true);
      }
      const listed = Array.from(dump.memory!).reduce((sum, { start, end }) => sum + end - start, 0n);
      expect(listed).toBe(BigInt(expected.size) * 4096n);
    }),
  );
});

describe('a wrong image', () => {
  const file = limeFile([LOW, { ...HIGH, chunks: [0x1000] }]);
  const patched = (change: (bytes: Buffer) => void): Buffer => {
    const copy = Buffer.from(file);
    change(copy);
    return copy;
  };
  const second = 32 + TABLES.length;

  test.each<[string, (bytes: Buffer) => void, RegExp]>([
    ['another version', (bytes) => bytes.writeUInt32LE(2, 4), /version 2; version 1 of LiME.*UNSUPPORTED/],
    ['another magic', (bytes) => bytes.write('XXXX', second), /range 1 .* does not begin with EMiL.*INVALID/],
    ['an end before its start', (bytes) => bytes.writeBigUInt64LE(0n, 16), /from 0x1000 to 0x0 .*INVALID/],
    ['an end beyond 2^52', (bytes) => bytes.writeBigUInt64LE(2n ** 52n, 16), /to 0x10000000000000 .*INVALID/],
    ['a chunk of unknown type', (bytes) => bytes.writeUInt8(2, second + 42), /has type 2.*INVALID/],
    [
      'a chunk of a wrong size',
      (bytes) => bytes.writeUInt8(0xff, second + 51),
      /no sound size.*INVALID|longer/,
    ],
  ])('with %s is refused', (_, change, message) => {
    expect(() => open(patched(change))).toThrow(message);
  });

  test('with a damaged chunk lacks its pages, and says so', () => {
    const dump = open(patched((bytes) => bytes.writeUInt8(0x77, second + 53)));
    expect(dump.readFrame(0x10_0000, new Uint8Array(4096))).toBe(false);
    expect(dump.notices?.take()).toMatchObject([{ warning: 'damaged-page' }]);
    expect(dump.readFrame(0x10_0001, new Uint8Array(4096))).toBe(true);
  });
});
