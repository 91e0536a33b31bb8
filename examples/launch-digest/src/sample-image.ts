/*
 * The image that is measured without a file: the tables of an OVMF image, and no code. It shows the format from the side of
 * the writer; `decodeOvmfImage` of @svsm/sev-snp reads it.
 */
import { Buffer } from 'node:buffer';
import { OvmfGuid, OvmfSectionType } from '@svsm/sev-snp';

/** The size of the image, in bytes. */
const SIZE = 8192;
/** The distance of the SEV metadata from the end of the image, in bytes. */
const METADATA_FROM_END = 1024;

/** The layout of a build of EDK2 for SEV. */
const SECTIONS = [
  [0x80_0000, 0x9000, OvmfSectionType.SecMem],
  [0x80_a000, 0x3000, OvmfSectionType.SecMem],
  [0x80_d000, 0x1000, OvmfSectionType.Secrets],
  [0x80_e000, 0x1000, OvmfSectionType.Cpuid],
  [0x80_f000, 0x1000, OvmfSectionType.SvsmCaa],
  [0x81_0000, 0x1000, OvmfSectionType.KernelHashes],
  [0x81_1000, 0xf000, OvmfSectionType.SecMem],
] as const;

/** Makes the image. */
export function sampleImage(): Uint8Array {
  const image = Buffer.alloc(SIZE, 0xf4); // HLT
  const metadata = Buffer.concat([
    Buffer.from('ASEV'),
    ...[16 + 12 * SECTIONS.length, 1, SECTIONS.length].map(u32),
    ...SECTIONS.flatMap((section) => section.map(u32)),
  ]);
  metadata.copy(image, SIZE - METADATA_FROM_END);
  // An entry is its data, its size and its GUID. The footer is the last one, and has the size of the whole table.
  const entries = Buffer.concat([
    entry(OvmfGuid.SevMetadata, u32(METADATA_FROM_END)),
    entry(OvmfGuid.SevHashes, Buffer.concat([0x81_0c00, 0x400].map(u32))),
    entry(OvmfGuid.SevEsReset, u32(0x80_b004)),
  ]);
  const table = Buffer.concat([entries, u16(entries.length + 18), guid(OvmfGuid.Footer)]);
  table.copy(image, SIZE - 32 - table.length);
  return image;
}

function entry(name: string, data: Buffer): Buffer {
  return Buffer.concat([data, u16(data.length + 18), guid(name)]);
}

/** The first three groups of a GUID are little-endian, the last two are not. */
function guid(text: string): Buffer {
  const [a = '', b = '', c = '', ...rest] = text.split('-');
  const little = [a, b, c].map((group) => Buffer.from(group, 'hex').reverse());
  return Buffer.concat([...little, Buffer.from(rest.join(''), 'hex')]);
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
