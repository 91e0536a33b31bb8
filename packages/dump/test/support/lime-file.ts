/** Writes images of LiME and AVML. */
import { packSnappy } from './packer.ts';

/** A range of memory. */
export interface Range {
  readonly paddr: number;
  readonly bytes: Buffer;
  /** The sizes of the chunks of AVML, of which every other one is compressed; `undefined` for LiME. */
  readonly chunks?: readonly number[];
}

/** An image of these ranges. */
export function limeFile(ranges: readonly Range[]): Buffer {
  return Buffer.concat(
    ranges.flatMap(({ paddr, bytes, chunks }) => {
      const header = Buffer.alloc(32);
      header.write(chunks === undefined ? 'EMiL' : 'AVML', 'latin1');
      header.writeUInt32LE(chunks === undefined ? 1 : 2, 4);
      header.writeBigUInt64LE(BigInt(paddr), 8);
      header.writeBigUInt64LE(BigInt(paddr + bytes.length - 1), 16);
      if (chunks === undefined) return [header, bytes];
      const stream = framed(bytes, chunks);
      const trailer = Buffer.alloc(8);
      trailer.writeBigUInt64LE(BigInt(stream.length));
      return [header, stream, trailer];
    }),
  );
}

/** Snappy's frame format. The checksums are 0. */
function framed(bytes: Buffer, chunks: readonly number[]): Buffer {
  const parts = [Buffer.from('\xff\x06\0\0sNaPpY', 'latin1')];
  for (let at = 0, i = 0; at < bytes.length; i += 1) {
    const content = bytes.subarray(at, at + Math.max(1, chunks[i % chunks.length]!));
    const data = i % 2 === 0 ? packSnappy([{ literals: content }]) : content;
    const header = Buffer.alloc(8);
    header.writeUInt32LE((i % 2) | ((data.length + 4) << 8));
    parts.push(header, Buffer.from(data));
    at += content.length;
  }
  return Buffer.concat(parts);
}
