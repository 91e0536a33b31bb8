import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { createResetVmsa } from '@svsm/sev-snp';

/** An IGVM file for SEV-SNP: a VMSA, then a page with data, one without, and an ID block if there is a digest for it. */
export function igvmFile(expected?: Uint8Array): Uint8Array {
  const data = Buffer.concat([
    createResetVmsa({ cpuSignature: 0xa0_0f11, sevFeatures: 0x29n }),
    Buffer.alloc(4096, 7),
  ]);
  const headers = (start: number): Buffer =>
    Buffer.concat([
      header(1, u32(1), Buffer.of(0, 2, 1, 0), u64(0n)),
      header(0x304, u64(0xffff_ffff_f000n), u32(1), u32(start), u32(0)),
      header(0x302, u64(0x1000n), u32(1), u32(start + 4096), u64(0n)),
      header(0x302, u64(0x2000n), u32(1), u32(0), u64(0n)),
      ...(expected === undefined ? [] : [header(0x30b, u32(1), u32(0), expected, Buffer.alloc(640))]),
    ]);
  const size = headers(0).length;
  const variable = headers(24 + size);
  const fixed = (checksum: number): Buffer =>
    Buffer.concat([0x4d56_4749, 1, 24, size, 24 + size + data.length, checksum].map(u32));
  return Buffer.concat([fixed(crc32(Buffer.concat([fixed(0), variable]))), variable, data]);
}

function header(type: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([u32(type), u32(body.length), body, Buffer.alloc(-body.length & 7)]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}
