/** The part of the dump tab that reads: listings, filters, walks, physical pages, searches, and files that are wrong. */
import { readFileSync } from 'node:fs';
import { deflateSync, gunzipSync, gzipSync } from 'node:zlib';
import { bytesSource } from '@svsm/dump';
import { expect, test } from 'vitest';
import { CODECS } from '../src/dump/codecs.ts';
import { countingSource } from '../src/dump/counting-source.ts';
import type { Answer } from '../src/dump/protocol.ts';
import { DumpReader, unpacked } from '../src/dump/reader.ts';

const read = (name: string): Uint8Array =>
  gunzipSync(readFileSync(new URL(`../../../packages/dump/test/fixtures/${name}`, import.meta.url)));
const reader = (): DumpReader => new DumpReader(() => {});

/** A raw image of 20 KiB: four tables, which map the last two pages: one is writable and executable. */
function tinyImage(): Uint8Array {
  const image = new BigUint64Array(5 * 512);
  image[0x0000 / 8] = 0x1067n;
  image[0x1000 / 8] = 0x2067n;
  image[0x2000 / 8] = 0x3067n;
  image[0x3000 / 8] = 0x8000_0000_0000_3063n;
  image[0x3008 / 8] = 0x4063n;
  const bytes = new Uint8Array(image.buffer);
  bytes.set(new TextEncoder().encode('a needle'), 0x4100);
  return bytes;
}

function openTiny(): DumpReader {
  const opened = reader();
  expect(opened.open(bytesSource(tinyImage()), 'tiny.raw', 0n)).toMatchObject({
    type: 'opened',
    levels: 4,
    cr3: 0n,
  });
  return opened;
}

test('a filter leaves the mappings that are writable and executable', () => {
  const tiny = openTiny();
  const starts = (answer: Answer) =>
    answer.type === 'runs' ? answer.rows.map(({ start }) => start) : answer;
  expect(starts(tiny.answer({ type: 'runs', filter: 'all' }))).toEqual([0n, 0x1000n]);
  expect(starts(tiny.answer({ type: 'runs', filter: 'w+x' }))).toEqual([0x1000n]);
  expect(starts(tiny.answer({ type: 'runs', filter: 'user' }))).toEqual([]);
});

test('a long list comes in parts, which follow each other without a gap', () => {
  const rowsOf = (answer: Answer) => (answer.type === 'runs' ? answer : undefined)!;
  const whole = reader();
  const parts = new DumpReader(() => {}, 7);
  for (const one of [whole, parts])
    one.open(bytesSource(read('case-a.frames.gz')), 'case-a.frames', undefined);
  for (const filter of ['all', 'user'] as const) {
    const { rows } = rowsOf(whole.answer({ type: 'runs', filter }));
    const found = [];
    let from: bigint | undefined;
    do {
      const part = rowsOf(parts.answer({ type: 'runs', filter, from }));
      expect(part.rows.length).toBeLessThanOrEqual(7);
      found.push(...part.rows);
      from = part.next;
    } while (from !== undefined);
    expect(rows.length).toBeGreaterThan(7);
    expect(found).toEqual(rows);
  }
});

test.each(['kdump-qemu-zlib', 'kdump-zstd', 'kdump-lzo', 'kdump-snappy'])(
  'the pages of %s are unpacked',
  (name) => {
    const kdump = reader();
    const opened = kdump.open(bytesSource(read(`${name}.sparse.gz`)), `${name}.sparse`, undefined);
    expect(opened).toMatchObject({ type: 'opened', levels: 4 });
    const listed = kdump.answer({ type: 'runs', filter: 'all' });
    expect(listed).toMatchObject({ type: 'runs', faults: 0 });
    expect(listed.type === 'runs' && listed.rows.length).toBeGreaterThan(3);
  },
);

test('a page of zlib that is damaged is noticed by its checksum', () => {
  const page = Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
  const packed = new Uint8Array(deflateSync(page));
  expect(CODECS.zlib!(packed, 4096)).toEqual(page);
  packed[packed.length - 1]! ^= 1;
  expect(() => CODECS.zlib!(packed, 4096)).toThrow();
});

test('a gzip file that is damaged, cut off or too large is refused by its name', async () => {
  const packed = gzipSync(new Uint8Array(100_000));
  const source = await unpacked(new Blob([packed]), 'a.gz');
  expect(source.size).toBe(100_000);
  await expect(unpacked(new Blob([packed.subarray(0, 40)]), 'cut.gz')).rejects.toThrow(
    'cut.gz: its gzip data',
  );
  await expect(unpacked(new Blob([packed]), 'large.gz', 1000)).rejects.toThrow('more than 1000 bytes');
});

test('a dump stays open if the next one cannot be opened', () => {
  const tiny = openTiny();
  expect(tiny.open(bytesSource(new Uint8Array(0)), 'empty.core', undefined).type).toBe('problem');
  expect(tiny.answer({ type: 'walk', address: 0x1000n })).toMatchObject({ paddr: 0x4000n });
});

test('a walk goes level by level, to a page or to an entry that is not present', () => {
  const tiny = openTiny();
  const found = tiny.answer({ type: 'walk', address: 0x1234n });
  expect(found).toMatchObject({ type: 'walk', paddr: 0x4234n });
  expect(found.type === 'walk' && found.levels.map(({ level }) => level)).toEqual([3, 2, 1, 0]);
  expect(tiny.answer({ type: 'walk', address: 0x2000n })).toMatchObject({ type: 'walk', paddr: undefined });
});

test('a physical page and a text are found', () => {
  const tiny = openTiny();
  expect(tiny.answer({ type: 'find', paddr: 0x4000n })).toMatchObject({ addresses: [0x1000n], isCut: false });
  const pattern = new TextEncoder().encode('needle');
  expect(tiny.answer({ type: 'search', pattern })).toMatchObject({ addresses: [0x1102n] });
});

test('a sparse file is opened by pieces of it', () => {
  const bytes = read('core-a-paging.sparse.gz');
  const blob = {
    size: bytes.length,
    slice: (start: number, end: number) => new Blob([bytes.slice(start, end)]),
    arrayBuffer: () => Promise.reject(new Error('read as a whole')),
  };
  let biggest = 0;
  const source = countingSource(blob, {
    readAsArrayBuffer: (part) => {
      biggest = Math.max(biggest, part.size);
      return new ArrayBuffer(part.size);
    },
  });
  source.read(0, new Uint8Array(10));
  expect(source.bytesRead).toBe(biggest);
  expect(biggest).toBeLessThan(bytes.length);
});

test.each([
  ['a text', new TextEncoder().encode('hello, this is not a dump'), 'notes.txt'],
  ['an empty file', new Uint8Array(0), 'empty.core'],
  ['a dump that ends early', read('case-a.frames.gz').subarray(0, 5000), 'cut.frames'],
  ['an archive', Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0, 0, 0), 'dump.zip'],
])('%s is refused in one sentence that names the file', (_, bytes, name) => {
  const answer = reader().open(bytesSource(bytes), name, undefined);
  expect(answer).toMatchObject({ type: 'problem', text: expect.stringContaining(name) });
});

test('a request without a dump is answered', () => {
  expect(reader().answer({ type: 'runs', filter: 'all' })).toEqual({
    type: 'problem',
    text: 'No dump is open.',
  });
});
