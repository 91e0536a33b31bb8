/** Kdump-compressed dumps: those of real programs, and small ones whose headers and pages are wrong. */
import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { NODE_CODECS } from '../../src/node/node-codecs.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { isDumpError } from '../../src/source/dump-error.ts';
import { tableOf } from '../support/core-file.ts';
import { flattened, type KdumpFile, kdumpFile, zlibPage } from '../support/kdump-file.ts';
import { fixture, fixtureText, runHere, temporary } from '../support/support.ts';

const TABLES = [
  tableOf({ 511: 0x2067n }),
  tableOf({ 510: 0x3067n }),
  tableOf({ 8: 0x4067n }),
  tableOf({ 0: 0x8000_0000_0000_5063n }),
];
const PAGES = TABLES.map((bytes, i) => zlibPage(0x1000 * (i + 1), bytes));
const INFO =
  'OSRELEASE=6.1.0-test\nSYMBOL(swapper_pg_dir)=ffffffff80001000\nNUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\n';
const SMALL: KdumpFile = { pages: PAGES, vmcoreinfo: INFO };

const open = (file: Buffer) => openDump(bytesSource(file), { codecs: NODE_CODECS });
const frameOf = (file: Buffer, frame: number): Buffer | undefined => {
  const bytes = Buffer.alloc(4096, 0xee);
  return open(file).readFrame(frame, bytes) ? bytes : undefined;
};

describe.each([
  ['kdump-qemu-zlib', 'zlib'],
  ['kdump-lzo', 'lzo'],
  ['kdump-snappy', 'snappy'],
  ['kdump-zstd', 'zstd'],
])('%s', (name, compression) => {
  const path = fixture(`${name}.sparse.gz`);

  test('its leaves are those of info tlb, with no option', async () => {
    const { status, stdout } = await runHere(['leaves', path, '--qemu']);
    expect(status).toBe(0);
    expect(stdout).toBe(fixtureText('kdump.info-tlb.txt.gz'));
  });

  test('its facts are shown', async () => {
    const { stdout } = await runHere(['info', path]);
    expect(stdout).toContain(`kdump-compressed (${compression}), Linux 6.1.0-56-cloud-amd64`);
    expect(stdout).toContain('CR3 0x55eb000');
    expect(stdout).toMatch(/^memory 0x00000000\w+ .*compressed$/m);
  });
});

describe('a kdump-compressed dump', () => {
  test('has the pages of its second bitmap, compressed or not', async () => {
    const file = kdumpFile({
      ...SMALL,
      pages: [...PAGES, { paddr: 0x1f_f000, bytes: Buffer.alloc(4096, 7) }],
    });
    const { status, stdout } = await runHere([temporary('kdump', file)]);
    expect(status).toBe(0);
    expect(stdout).toContain(
      '0xffffffff81000000 0xffffffff81001000      4 KiB  0x0000000000005000 4K   -rw-   -',
    );
    expect(frameOf(file, 0x1ff)).toEqual(Buffer.alloc(4096, 7));
    expect([0, 5, 0x1fe, 0x200, 2 ** 40 - 1].map((frame) => frameOf(file, frame))).toEqual(
      Array.from({ length: 5 }, () => undefined),
    );
    expect(Array.from(open(file).memory!, ({ start, end }) => [start, end])).toEqual([
      [0x1000n, 0x5000n],
      [0x1f_f000n, 0x20_0000n],
    ]);
  });

  test('leaves out pages that are zero, if it leaves out no others', () => {
    const known = [0, 1, 2, 3, 4, 9];
    expect(frameOf(kdumpFile({ ...SMALL, known, dumpLevel: 1 }), 9)).toEqual(Buffer.alloc(4096));
    expect(frameOf(kdumpFile({ ...SMALL, known, dumpLevel: 1 }), 10)).toBeUndefined();
    expect(frameOf(kdumpFile({ ...SMALL, known, dumpLevel: 31 }), 9)).toBeUndefined();
  });

  test('may be flattened', () => {
    const file = kdumpFile(SMALL);
    const flat = flattened([
      [4096, file.subarray(4096)],
      [0, file.subarray(0, 4096)],
    ]);
    expect(frameOf(flat, 2)).toEqual(TABLES[1]);
    expect(open(flat).kind).toBe('kdump-compressed (zlib), Linux 6.1.0-test');
  });

  test('with a damaged page lacks that page, and a warning says so', async () => {
    const [first, second, third, fourth] = PAGES as [(typeof PAGES)[0], ...typeof PAGES];
    const damaged = (page: (typeof PAGES)[0]) =>
      temporary('damaged', kdumpFile({ ...SMALL, pages: [first, second!, third!, page] }));
    const cut = { ...fourth!, bytes: fourth!.bytes.subarray(0, 9) };
    const { status, stdout, stderr } = await runHere(['runs', damaged(cut), '--json']);
    expect([status, stderr]).toEqual([4, '']);
    expect(stdout).toContain('"warning":"damaged-page"');
    expect(stdout).toContain('the page at 0x4000 is not sound zlib data of 4096 bytes');
    for (const [page, message] of [
      [{ ...fourth!, flags: 2 }, 'is not sound lzo data'],
      [{ ...fourth!, flags: 4 }, 'is not sound snappy data'],
      [{ ...fourth!, flags: 0x20 }, 'is not sound zstd data'],
      [{ ...fourth!, flags: 0 }, /the page at 0x4000 has \d+ bytes in the file/],
      [{ ...fourth!, bytes: Buffer.alloc(4097) }, 'the page at 0x4000 has 4097 bytes in the file'],
      [{ ...fourth!, offset: 2 ** 40 }, 'it ends at byte'],
    ] as const) {
      const run = await runHere(['runs', damaged(page)]);
      expect(run.status).toBe(4);
      expect(run.stderr).toMatch(message);
    }
  });

  test('needs a decoder', () => {
    const dump = openDump(bytesSource(kdumpFile(SMALL)));
    expect(() => dump.readFrame(1, new Uint8Array(4096))).toThrow(
      'its pages are compressed with zlib, and its decoder is missing',
    );
  });

  test.each<[string, (file: Buffer) => void, string, RegExp]>([
    ['a block size', (file) => file.writeUInt32LE(8192, 428), 'UNSUPPORTED_FORMAT', /blocks have 8192 bytes/],
    ['a version', (file) => file.writeInt32LE(7, 8), 'UNSUPPORTED_FORMAT', /version 7/],
    ['a machine', (file) => file.write('aarch64', 272), 'UNSUPPORTED_FORMAT', /the machine \\?"aarch64/],
    ['no second header', (file) => file.writeUInt32LE(0, 432), 'TRUNCATED_FILE', /second header/],
    [
      'a bitmap that is too short',
      (file) => file.writeUInt32LE(0, 436),
      'INVALID_FILE',
      /bitmaps have 0 bytes/,
    ],
    ['many pages', (file) => file.writeBigUInt64LE(2n ** 32n, 4192), 'OUTSIDE_LIMITS', /4294967296 pages/],
    [
      'another part of a split dump',
      (file) => file.writeInt32LE(1, 4096 + 12),
      'UNSUPPORTED_FORMAT',
      /makedumpfile --reassemble/,
    ],
    ['long notes', (file) => fill(file, 1n, 2n ** 30n), 'OUTSIDE_LIMITS', /1073741824 bytes/],
    ['notes outside', (file) => fill(file, 2n ** 30n, 8n), 'TRUNCATED_FILE', /beyond the end of the file/],
    [
      'a bitmap outside the file',
      (file) => {
        file.writeUInt32LE(0xffff, 436);
        file.writeBigUInt64LE(2n ** 30n, 4192);
      },
      'TRUNCATED_FILE',
      /bitmap of pages ends at byte/,
    ],
  ])('with %s is refused', (_, change, code, message) => {
    const file = kdumpFile(SMALL);
    change(file);
    let thrown: unknown;
    try {
      open(file);
    } catch (error) {
      thrown = error;
    }
    expect(isDumpError(thrown) && thrown.code).toBe(code);
    expect(String(thrown)).toMatch(message);
  });

  test('is refused at each length that its headers do not fit', () => {
    const file = kdumpFile(SMALL);
    for (let length = 8; length < 4 * 4096 + 64; length += 97) {
      expect(() => open(file.subarray(0, length)), String(length)).toThrow(
        /\[(TRUNCATED_FILE|INVALID_FILE)\]/,
      );
    }
  });
});

function fill(file: Buffer, offset: bigint, size: bigint): void {
  file.writeBigUInt64LE(offset, 4096 + 48);
  file.writeBigUInt64LE(size, 4096 + 56);
}
