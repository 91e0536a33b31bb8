/** Writes kdump-compressed dumps, as makedumpfile does. */
import { deflateSync } from 'node:zlib';

/** A page of a dump: its bytes in the file, and its flags. */
export interface KdumpPage {
  readonly paddr: number;
  readonly bytes: Uint8Array;
  readonly flags?: number;
  /** The place of the bytes, if they are elsewhere in the file. */
  readonly offset?: number;
}

export interface KdumpFile {
  readonly pages: readonly KdumpPage[];
  /** The number of pages in the bitmaps. */
  readonly total?: number;
  /** The pages that the machine had, if they are not those of the dump. */
  readonly known?: readonly number[];
  readonly dumpLevel?: number;
  readonly status?: number;
  readonly vmcoreinfo?: string;
  readonly machine?: string;
  readonly version?: number;
}

const BLOCK = 4096;

/** The page at `paddr`, compressed with zlib. */
export function zlibPage(paddr: number, bytes: Uint8Array): KdumpPage {
  return { paddr, bytes: deflateSync(bytes), flags: 1 };
}

export function kdumpFile({
  pages,
  total = 0x200,
  known,
  dumpLevel = 0,
  status = 1,
  vmcoreinfo = '',
  machine = 'x86_64',
  version = 6,
}: KdumpFile): Buffer {
  const header = Buffer.alloc(3 * BLOCK);
  header.write('KDUMP   ', 0, 'latin1');
  header.writeInt32LE(version, 8);
  header.write(machine, 12 + 4 * 65, 'latin1');
  const bitmapBlocks = 2 * Math.ceil(total / 8 / BLOCK);
  for (const [at, value] of [
    [424, status],
    [428, BLOCK],
    [432, 2],
    [436, bitmapBlocks],
    [440, total],
  ] as const) {
    header.writeUInt32LE(value, at);
  }
  header.writeInt32LE(dumpLevel, BLOCK + 8);
  if (vmcoreinfo !== '') {
    header.writeBigUInt64LE(BigInt(BLOCK + 512), BLOCK + 32);
    header.writeBigUInt64LE(BigInt(vmcoreinfo.length), BLOCK + 40);
    header.write(vmcoreinfo, BLOCK + 512, 'latin1');
  }
  header.writeBigUInt64LE(BigInt(total), BLOCK + 96);
  const sorted = [...pages].sort((a, b) => a.paddr - b.paddr);
  const frames = sorted.map(({ paddr }) => paddr / BLOCK);
  const half = (bitmapBlocks / 2) * BLOCK;
  const bitmaps = Buffer.concat([bitmapOf(known ?? frames, half), bitmapOf(frames, half)]);
  const descriptors = Buffer.alloc(sorted.length * 24);
  let at = header.length + bitmaps.length + descriptors.length;
  for (const [i, { bytes, flags = 0, offset }] of sorted.entries()) {
    descriptors.writeBigUInt64LE(BigInt(offset ?? at), 24 * i);
    descriptors.writeUInt32LE(bytes.length, 24 * i + 8);
    descriptors.writeUInt32LE(flags, 24 * i + 12);
    at += bytes.length;
  }
  return Buffer.concat([header, bitmaps, descriptors, ...sorted.map(({ bytes }) => bytes)]);
}

/** A flattened file of makedumpfile with these records. */
export function flattened(records: readonly (readonly [place: number, bytes: Uint8Array])[]): Buffer {
  const header = Buffer.alloc(BLOCK);
  header.write('makedumpfile', 0, 'latin1');
  header.writeBigInt64BE(1n, 16);
  header.writeBigInt64BE(1n, 24);
  const parts = records.flatMap(([place, bytes]) => [fields(BigInt(place), BigInt(bytes.length)), bytes]);
  return Buffer.concat([header, ...parts, fields(-1n, -1n)]);
}

function fields(place: bigint, length: bigint): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64BE(place, 0);
  bytes.writeBigInt64BE(length, 8);
  return bytes;
}

function bitmapOf(frames: readonly number[], size: number): Buffer {
  const bytes = Buffer.alloc(size);
  for (const frame of frames) bytes[frame >> 3]! |= 1 << (frame & 7);
  return bytes;
}
