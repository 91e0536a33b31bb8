/** Matches in the memory of random tables, compared with a search through all bytes in virtual order. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { listLeaves } from '../../src/view/listing.ts';
import { searchMemory } from '../../src/view/search.ts';
import { translationOf } from '../../src/view/translation.ts';
import { openView } from '../../src/view/view.ts';
import { tableOf } from '../support/core-file.ts';
import { built } from '../support/random-tables.ts';
import { runHere, temporary } from '../support/support.ts';

const DATA = 0x5000;
const PAGES = 6;

/** Four tables, and a table whose entries lead to pages of data, some of which do not exist. */
function image(entries: readonly number[], data: Uint8Array): Buffer {
  const leaves = Object.fromEntries(
    entries.map((page, i) => [i, page < 0 ? 0n : BigInt(DATA + page * 0x1000) | (i === 5 ? 0x65n : 0x67n)]),
  );
  return Buffer.concat([
    tableOf({ 0: 0x1067n }),
    tableOf({ 0: 0x2067n }),
    tableOf({ 0: 0x3067n, 1: 0x4067n }),
    tableOf(leaves),
    tableOf({ 511: BigInt(DATA) | 0x67n }),
    data,
  ]);
}

function slowly(view: DumpView, pattern: Uint8Array): bigint[] {
  const bytes = new Map<bigint, number>();
  const frame = new Uint8Array(4096);
  for (const record of listLeaves(view)) {
    if (record.type !== 'leaf' || !view.dump.readFrame(Number(record.paddr >> 12n), frame)) continue;
    for (const [i, byte] of frame.entries()) bytes.set(record.start + BigInt(i), byte);
  }
  return [...bytes.keys()]
    .filter((at) => pattern.every((byte, i) => bytes.get(at + BigInt(i)) === byte))
    .sort((a, b) => (a < b ? -1 : 1));
}

const quickly = (view: DumpView, pattern: Uint8Array): bigint[] =>
  [...searchMemory(view, pattern)].flatMap((record) => (record.type === 'match' ? [record.vaddr] : []));

test('a pattern is found at each place, also across pages', () => {
  const entries = fc.array(fc.integer({ min: -1, max: PAGES + 1 }), { minLength: 1, maxLength: 8 });
  const writes = fc.array(fc.tuple(fc.nat(PAGES * 0x1000 - 1), fc.nat(2)), { maxLength: 40 });
  const near = fc.array(fc.tuple(fc.nat(PAGES - 1), fc.integer({ min: 0xffa, max: 0xfff })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(
      entries,
      writes,
      near,
      fc.uint8Array({ minLength: 1, maxLength: 5, max: 2 }),
      (list, some, ends, pattern) => {
        const data = new Uint8Array(PAGES * 0x1000).fill(9);
        for (const [at, byte] of some) data[at] = byte;
        for (const [page, at] of ends) {
          for (const [i, byte] of pattern.entries()) {
            const place = page * 0x1000 + at + i;
            if (place < data.length) data[place] = byte;
          }
        }
        const view = openView(openDump(bytesSource(image(list, data)), { cr3: 0n }), { cr3: 0n });
        expect(quickly(view, pattern)).toEqual(slowly(view, pattern));
        for (const record of searchMemory(view, pattern)) {
          if (record.type !== 'match') continue;
          const { paddr, page } = translationOf(view, record.vaddr);
          expect(record).toMatchObject({ paddr, writable: page?.writable });
        }
      },
    ),
    { numRuns: 60 },
  );
});

test('of a dump that does not list its memory, all mapped frames are read', () => {
  const view = built([
    { table: 0, index: 0, target: 1, flags: 0x67n, high: 0n },
    { table: 1, index: 0, target: 2, flags: 0x67n, high: 0n },
    { table: 2, index: 0, target: 3, flags: 0x67n, high: 0n },
    { table: 3, index: 1, target: 1, flags: 0x67n, high: 0n },
  ]);
  expect(quickly(view, Uint8Array.of(0x67, 0x20))).toEqual([0x1000n]);
});

test('refuses an empty or long pattern', () => {
  for (const bad of [new Uint8Array(0), new Uint8Array(4097), 'text' as never, undefined as never]) {
    expect(() => [...searchMemory(built([]), bad)]).toThrow('[INVALID_ARGUMENT]');
  }
});

describe('the command search', () => {
  const data = new Uint8Array(PAGES * 0x1000);
  data.set(Buffer.from('needle'), 0xffd);
  data.set([0xde, 0xad, 0xbe, 0xef], 0x3010);
  const path = temporary('search', image([0, 1, -1, 3], data));
  const rows = async (...args: string[]): Promise<string[]> =>
    (await runHere(['search', path, ...args, '--cr3', '0'])).stdout
      .split('\n')
      .filter((line) => line.startsWith('0x'));

  test('takes bytes or a text, and filters', async () => {
    expect(await rows('text:needle')).toEqual(['0x0000000000000ffd 0x0000000000005ffd 4K   urwx   -']);
    expect(await rows('de ad_be EF')).toEqual(['0x0000000000003010 0x0000000000008010 4K   urwx   -']);
    expect(await rows('0xdeadbeef', '--within', '0-3000')).toEqual([]);
    expect(await rows('deadbeef', '--rights=-x')).toEqual([]);
    const places = temporary('scattered', image([0, 2, -1, 1], data));
    const [row] = (await runHere(['search', places, '6e656500', '--cr3', '0'])).stdout
      .split('\n')
      .filter((line) => line.startsWith('0x'));
    expect(row).toBe('0x0000000000000ffd 0x0000000000005ffd 4K   urwx   -');
    expect((await runHere(['search', path, 'ff', '--cr3', '0'])).status).toBe(1);
  });

  test.each([
    [['abc'], /neither bytes in hexadecimal nor text:WORDS/],
    [[], /search needs one pattern/],
    [['aa', 'bb'], /search needs one pattern/],
    [['text:'], /the pattern has 0 bytes/],
  ])('refuses %j', async (args, message) => {
    await expect(runHere(['search', path, ...args, '--cr3', '0'])).rejects.toThrow(message);
  });
});

test('a search that would read the same pages again and again is refused', () => {
  const giant = tableOf(Object.fromEntries(Array.from({ length: 512 }, (_, i) => [i, 0xe7n])));
  const bytes = Buffer.concat([tableOf({ 0: 0x1067n, 1: 0x1067n }), giant, Buffer.alloc(2 ** 21)]);
  const view = openView(openDump(bytesSource(bytes), { cr3: 0n }), { cr3: 0n });
  const search = (): unknown[] => [...searchMemory(view, Buffer.from('deadbeef', 'hex'))];
  expect(search).toThrow(/because pages are mapped repeatedly/);
});
