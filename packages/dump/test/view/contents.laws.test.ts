/** Bytes at virtual addresses of random tables, compared with a translation and a read of each byte. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { listContents } from '../../src/view/contents.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { translationOf } from '../../src/view/translation.ts';
import { coreFile, tableOf } from '../support/core-file.ts';
import { built, entry } from '../support/random-tables.ts';
import { runHere, temporary } from '../support/support.ts';

/** For each address, its byte, or the reason why it has none. */
function slowly(view: DumpView, start: bigint, length: number): (number | string)[] {
  const frame = new Uint8Array(4096);
  return Array.from({ length }, (_, i) => {
    const { paddr, obstacle } = translationOf(view, start + BigInt(i));
    if (paddr === null) return obstacle!;
    return view.dump.readFrame(Number(paddr >> 12n), frame) ? frame[Number(paddr % 4096n)]! : 'not-in-dump';
  });
}

function quickly(view: DumpView, start: bigint, length: number): (number | string)[] {
  const all: (number | string)[] = [];
  let next = start;
  for (const record of listContents(view, start, BigInt(length))) {
    if (record.type === 'content') {
      expect(record.vaddr).toBe(next);
      all.push(...record.bytes);
      next += BigInt(record.bytes.length);
    } else if (record.type === 'gap') {
      expect(record.start).toBe(next);
      all.push(...new Array<string>(Number(record.end - record.start)).fill(record.obstacle));
      next = record.end;
    }
  }
  expect(next).toBe(start + BigInt(length));
  return all;
}

const place = fc
  .tuple(
    fc.constantFrom(
      0n,
      0x1f_f000n,
      0x20_0000n,
      0x3fff_f000n,
      0x8000_0000_0000n - 0x2000n,
      2n ** 64n - 0x3000n,
    ),
    fc.nat(0x2000),
  )
  .map(([page, offset]) => page + BigInt(offset));

test('every byte, or gap, is that of its own translation', () => {
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 30 }), place, fc.nat(0x1000), (entries, start, length) => {
      const view = built(entries);
      expect(quickly(view, start, length)).toEqual(slowly(view, start, length));
    }),
  );
});

test('a range of the whole space ends soon', () => {
  const records = [...listContents(built([]), 0n, 2n ** 64n)];
  expect(records.slice(1)).toEqual([
    { type: 'gap', start: 0n, end: 2n ** 47n, obstacle: 'not-mapped' },
    { type: 'gap', start: 2n ** 47n, end: 2n ** 64n - 2n ** 47n, obstacle: 'not-canonical' },
    { type: 'gap', start: 2n ** 64n - 2n ** 47n, end: 2n ** 64n, obstacle: 'not-mapped' },
    { type: 'end', what: 'bytes', count: 0, bytes: 0n, faults: 0 },
  ]);
});

test('refuses a range that is not one of 64 bits', () => {
  for (const [start, length] of [
    [-1n, 1n],
    [0n, 2n ** 64n + 1n],
    [2n ** 63n, 2n ** 63n + 1n],
    [0 as never, 1n],
  ] as const) {
    expect(() => [...listContents(built([]), start, length)]).toThrow('[INVALID_ARGUMENT]');
  }
});

describe('the command read', () => {
  /** Two pages at 0x1000 and 0x2000, and one that the dump does not have. */
  const pages = Buffer.alloc(0x2000);
  pages.write('a text over the page', 0xff6, 'latin1');
  const tables = Buffer.concat([
    tableOf({ 0: 0x2067n }),
    tableOf({ 0: 0x3067n }),
    tableOf({ 0: 0x4067n }),
    tableOf({ 1: 0x5067n, 2: 0x6067n, 3: 0x77_0000_0067n }),
  ]);
  const path = temporary(
    'read',
    coreFile({
      segments: [{ paddr: 0x1000n, bytes: Buffer.concat([tables, pages]) }],
      cpus: [{ cr3: 0x1000n, cr4: 0xa0n }],
    }),
  );
  const lines = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('0x'));

  test('prints hexadecimal digits and characters, by 16 addresses a line', async () => {
    const { status, stdout } = await runHere(['read', path, '1ff6', '1c']);
    expect(status).toBe(0);
    expect(lines(stdout)).toEqual([
      '0x0000000000001ff6                    61 20 74 65 78 74 20 6f 76 65        a text ove',
      '0x0000000000002000  72 20 74 68 65 20 70 61 67 65 00 00 00 00 00 00  r the page......',
      '0x0000000000002010  00 00                                            ..',
    ]);
  });

  test('prints texts, JSON, or the bytes as they are', async () => {
    const texts = await runHere(['read', path, '1000', '2000', '--format', 'strings']);
    expect(texts.stdout.trimEnd()).toBe('0x0000000000001ff6 a text over the page');
    const json = (await runHere(['read', path, '2000', '3', '--json'])).stdout.split('\n');
    expect(JSON.parse(json[1]!)).toEqual({
      type: 'content',
      vaddr: '0x0000000000002000',
      paddr: '0x0000000000006000',
      bytes: '722074',
    });
    const raw = await runHere(['read', path, '1000', '2000', '--format', 'raw']);
    expect([raw.status, raw.stdout]).toEqual([0, pages.toString('latin1')]);
  });

  test('names addresses without bytes on standard error', async () => {
    const { status, stdout, stderr } = await runHere(['read', path, 'ff8', '3010']);
    expect(status).toBe(1);
    expect(stderr).toBe(
      'svsm-dump: 0x0000000000000ff8 0x0000000000001000 not mapped\n' +
        'svsm-dump: 0x0000000000003000 0x0000000000004000 mapped to memory that the dump does not have\n' +
        'svsm-dump: 0x0000000000004000 0x0000000000004008 not mapped\n',
    );
    expect(stdout).toContain('# 8192 bytes');
    await expect(runHere(['read', path, '1000'])).rejects.toThrow(
      'read needs an address and a number of bytes',
    );
    await expect(runHere(['read', path, '1000', '1', '--format', 'x'])).rejects.toThrow(
      'is not hex, strings or raw',
    );
  });
});
