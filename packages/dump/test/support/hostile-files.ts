/** Files made to crash a program, to fill its memory, to keep it busy, or to take over the terminal. */
import { gzipSync } from 'node:zlib';
import { coreFile, framesFile, sparseFile, tableOf } from './core-file.ts';
import { flattened, kdumpFile } from './kdump-file.ts';
import { kernelCore } from './kernel-core.ts';
import { limeFile } from './lime-file.ts';

const TABLE = 0x67n;
const MANY = 60_000;

/** Codes that clear the screen, set the title, move the cursor, delete, or turn the direction of text. */
export const CODES = '\x1b[2J\x1b]0;title\x07\x9b1A\b\x7f\u202e\u2066\u200f\r\n\u2028';

const header = (type: number, offset: bigint, paddr: bigint, size: bigint, memorySize = size): Buffer => {
  const bytes = Buffer.alloc(56);
  bytes.writeUInt32LE(type, 0);
  for (const [i, value] of [offset, paddr ^ 1n, paddr, size, memorySize].entries()) {
    bytes.writeBigUInt64LE(BigInt.asUintN(64, value), 8 + 8 * i);
  }
  return bytes;
};

/** An ELF core with these program headers after its own header, and `content` behind them. */
function elf(headers: readonly Buffer[], content: Uint8Array = new Uint8Array(0)): Buffer {
  const bytes = Buffer.alloc(192);
  coreFile({ segments: [] }).copy(bytes, 0, 0, 192);
  bytes.writeUInt16LE(0xffff, 56);
  bytes.writeUInt32LE(headers.length, 64 + 44);
  return Buffer.concat([bytes, ...headers, content]);
}

const contentAt = (headers: number): bigint => BigInt(192 + 56 * headers);
const repeat = (count: number, make: (i: number) => Buffer): Buffer[] =>
  Array.from({ length: count }, (_, i) => make(i));
const core = (tables: readonly Buffer[]): Buffer =>
  coreFile({ segments: [{ paddr: 0x1000n, bytes: Buffer.concat(tables) }], cpus: [{ cr3: 0x1000n }] });
const all = (entry: bigint): Buffer =>
  tableOf(Object.fromEntries(Array.from({ length: 512 }, (_, i) => [i, entry])));
const deepList = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
const cpuNotes = (count: number): Buffer => {
  const one = coreFile({ segments: [], cpus: [{ cr3: 0x1000n }] }).subarray(192 + 56);
  return Buffer.concat(Array.from({ length: count }, () => one));
};

/** Each file by its name. Making one takes at most a second. */
export const HOSTILE: Readonly<Record<string, () => Buffer>> = {
  '130,000 empty notes': () =>
    gzipSync(elf([header(4, contentAt(1), 0n, 12n * 130_000n)], Buffer.alloc(12 * 130_000))),
  'notes of 30,000 processors': () => {
    const notes = cpuNotes(30_000);
    return gzipSync(elf([header(4, contentAt(1), 0n, BigInt(notes.length))], notes));
  },
  '60,000 headers over one block of notes': () =>
    gzipSync(
      elf(
        repeat(MANY, () => header(4, contentAt(MANY), 0n, 0x1_0000n)),
        Buffer.alloc(0x1_0000),
      ),
    ),
  '60 headers over 16 MiB of notes': () =>
    sparseFile(2 ** 25, [[0, elf(repeat(60, () => header(4, 0x1_0000n, 0n, 2n ** 24n - 4n)))]]),
  '60,000 headers over one block of memory': () =>
    gzipSync(
      elf(
        repeat(MANY, (i) => header(1, contentAt(MANY) + BigInt(i), 0x1000n, 0x10_0000n)),
        Buffer.alloc(0x20_0000),
      ),
    ),
  '60,000 headers that overlap in steps': () =>
    gzipSync(
      elf(
        repeat(MANY, (i) => header(1, contentAt(MANY) + BigInt(i % 2), BigInt(i), 1000n)),
        Buffer.alloc(0x1000),
      ),
    ),
  '16 million headers': () => {
    const begin = elf([]);
    begin.writeUInt32LE(2 ** 24, 64 + 44);
    return sparseFile(192 + 56 * 2 ** 24, [[0, begin]]);
  },
  'half a million headers of zero': () => {
    const begin = elf([]);
    begin.writeUInt32LE(2 ** 19, 64 + 44);
    return sparseFile(192 + 56 * 2 ** 19, [[0, begin]]);
  },
  'half a million headers of single bytes, shuffled': () => {
    const count = 2 ** 19;
    const headers = Buffer.alloc(56 * count);
    for (let i = 0; i < count; i += 1) {
      const at = 56 * i;
      headers.writeUInt32LE(1, at);
      headers.writeUInt32LE(192, at + 8);
      headers.writeUInt32LE(2 * ((i * 0x9e37_79b1) % count), at + 24);
      headers.writeUInt32LE(1, at + 32);
    }
    const begin = elf([]);
    begin.writeUInt32LE(count, 64 + 44);
    return Buffer.concat([begin, headers]);
  },
  'memory that ends at 2^52': () =>
    elf([header(1, contentAt(1), 2n ** 52n - 0x1000n, 0x1000n, 2n ** 63n)], Buffer.alloc(0x1000)),
  'zeros of 4 PiB': () =>
    kernelCore(
      [{ paddr: 0, vaddr: 1n, bytes: Buffer.alloc(0x1000), memorySize: 2 ** 52 }],
      'SYMBOL(swapper_pg_dir)=ffffffff80000000\nNUMBER(phys_base)=0\n',
    ),
  'a table whose entries all lead to itself': () => core([all(0x1000n | TABLE)]),
  'repeated tables with pages': () =>
    core([all(0x2000n | TABLE), all(0x3000n | TABLE), all(0x4000n | TABLE), all(0x9000n | TABLE)]),
  'repeated tables with reserved bits only': () => {
    const wrong = 0x9000n | TABLE | (1n << 51n);
    return framesFile({ cr3: '0x1000', maxphyaddr: 40 }, [
      [0x1000n, all(0x2000n | TABLE)],
      [0x2000n, all(0x3000n | TABLE)],
      [0x3000n, all(0x4000n | TABLE)],
      [0x4000n, all(wrong)],
    ]);
  },
  'repeated tables, few of them, with many reserved bits': () => {
    const eight = tableOf(Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i, 0x3000n | TABLE])));
    return framesFile({ cr3: '0x1000', maxphyaddr: 40 }, [
      [0x1000n, all(0x2000n | TABLE)],
      [0x2000n, eight],
      [0x3000n, tableOf({ 0: 0x4000n | TABLE })],
      [0x4000n, all(0x9000n | TABLE | (1n << 51n))],
    ]);
  },
  'repeated tables outside of memory': () =>
    core([all(0x2000n | TABLE), all(0x3000n | TABLE), all(0x77_0000_0000n | TABLE)]),
  'repeated empty tables': () =>
    core([all(0x2000n | TABLE), all(0x3000n | TABLE), all(0x4000n | TABLE), tableOf({})]),
  'deep JSON': () => gzipSync(framesFile('['.repeat(2 ** 20), [])),
  'deep JSON as a register': () => gzipSync(framesFile(`{"cr3":${deepList(2 ** 18)}}`, [])),
  'deep JSON as a width': () => gzipSync(framesFile(`{"maxphyaddr":${deepList(2 ** 18)}}`, [])),
  'a large JSON number': () => framesFile(`{"cr3":${'9'.repeat(2 ** 19)}}`, []),
  'codes in JSON': () => framesFile(`{"cr3":"${[...CODES].filter((one) => one >= ' ').join('')}"}`, []),
  'codes instead of JSON': () => framesFile(`${CODES}{}`, []),
  'codes in the release of a kernel': () =>
    kernelCore(
      [{ paddr: 0x1000, vaddr: 1n, bytes: tableOf({ 0: 0x1067n }) }],
      `OSRELEASE=${CODES.replaceAll('\n', '')}\nSYMBOL(swapper_pg_dir)=ffffffff80001000\nNUMBER(phys_base)=0\n`,
    ),
  'a million pieces': () => {
    const pieces = Buffer.alloc(20 + 12 * 2 ** 20);
    pieces.write('SPARSE01', 'latin1');
    pieces.writeBigUInt64LE(2n ** 52n, 8);
    pieces.writeUInt32LE(2 ** 20, 16);
    return gzipSync(pieces);
  },
  'a sparse file of 2^53 bytes': () => sparseFile(2 ** 53 - 1, [[0, Buffer.from('data')]]),
  'zeros, compressed a thousandfold': () => gzipSync(Buffer.alloc(2 ** 28)),
  'gzip in gzip in gzip': () => gzipSync(gzipSync(gzipSync(Buffer.alloc(2 ** 20)))),
  'a kdump of 8 TiB, with one page at its end': () => wideKdump(Buffer.of(0), 0x80),
  'a kdump with 134 million ranges of memory': () => wideKdump(Buffer.alloc(2 ** 25, 0xaa), 0xaa),
  'a flattened dump of empty records': () => {
    const records = Buffer.alloc(4096 + 16 * 2 ** 21 + 32);
    flattened([]).copy(records, 0, 0, 4096);
    return gzipSync(records);
  },
  'a flattened dump of empty records without end': () =>
    sparseFile(2 ** 45, [[0, flattened([]).subarray(0, 4096)]]),
  'an AVML image of chunks without content': () => {
    const header = limeFile([{ paddr: 0, bytes: Buffer.alloc(4096), chunks: [4096] }]).subarray(0, 32);
    const chunks = Buffer.alloc(4 * (2 ** 21 + 10));
    for (let at = 0; at < chunks.length; at += 4) chunks[at] = 0x80;
    return gzipSync(Buffer.concat([header, chunks]));
  },
  'a truncated gzip header': () => Buffer.from([0x1f, 0x8b]),
};

/** A kdump of 2^31 pages, whose bitmap begins with `bitmap` and ends with the byte `last`. All else is zero. */
function wideKdump(bitmap: Buffer, last: number): Buffer {
  const info = 'SYMBOL(swapper_pg_dir)=fffffffffffff000\nNUMBER(phys_base)=8796090925056\n';
  const file = kdumpFile({ pages: [], vmcoreinfo: info, total: 0x200 }).subarray(0, 3 * 4096);
  file.writeUInt32LE(0x2_0000, 436);
  file.writeBigUInt64LE(2n ** 31n, 4096 + 96);
  const second = 3 * 4096 + 2 ** 28;
  const end = second + 2 ** 28;
  return gzipSync(
    sparseFile(end + 2 ** 40, [
      [0, file],
      [second, bitmap],
      [end - 1, Buffer.of(last)],
    ]),
  );
}
