/** Writes firmware images: OVMF images and IGVM files, sound or with chosen defects. Independent of the decoders. */
import { Buffer } from 'node:buffer';
import { crc32 } from 'node:zlib';

/** A GUID as a file has it. */
export function guid(text: string): Buffer {
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  return Buffer.concat([
    bytes.subarray(0, 4).reverse(),
    bytes.subarray(4, 6).reverse(),
    bytes.subarray(6, 8).reverse(),
    bytes.subarray(8),
  ]);
}

export const u16 = (value: number): Buffer => integer(value, 2);
export const u32 = (value: number): Buffer => integer(value, 4);
export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function integer(value: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntLE(value, 0, size);
  return bytes;
}

export interface OvmfSpec {
  /** In pages of 4 KiB: 1 if not given. */
  readonly pages?: number;
  /** A number that all other bytes depend on. */
  readonly content?: number;
  /** `[gpa, size, type]` each. */
  readonly sections?: readonly (readonly [gpa: number, size: number, type: number])[];
  readonly apResetEip?: number;
  readonly hashes?: readonly [gpa: number, size: number];
  readonly svsmEntry?: number;
  /** More entries, nearest to the footer first. */
  readonly entries?: readonly Buffer[];
  /** Other values of the metadata header. */
  readonly metadata?: {
    signature?: string;
    size?: number;
    version?: number;
    count?: number;
    fromEnd?: number;
  };
  readonly footer?: { guid?: string; size?: number };
}

/** An entry of the table: its data, its size and its GUID. */
export function entry(name: string, data: Buffer, size: number = data.length + 18): Buffer {
  return Buffer.concat([data, u16(size), guid(name)]);
}

/** An OVMF image. The metadata lies 1 KiB before its end. */
export function ovmfImage(spec: OvmfSpec = {}): Uint8Array {
  const {
    pages = 1,
    content = 1,
    sections,
    apResetEip,
    hashes,
    svsmEntry,
    metadata = {},
    footer = {},
  } = spec;
  const length = 4096 * pages;
  const bytes = Buffer.from(Array.from({ length }, (_, k) => (k * content * 31 + (k >> 8) + content) & 0xff));
  const entries: Buffer[] = [...(spec.entries ?? [])];
  if (apResetEip !== undefined) entries.push(entry('00f771de-1a7e-4fcb-890e-68c77e2fb44e', u32(apResetEip)));
  if (hashes !== undefined)
    entries.push(entry('7255371f-3a3b-4b04-927b-1da6efa8d454', Buffer.concat(hashes.map(u32))));
  if (svsmEntry !== undefined) entries.push(entry('a789a612-0597-4c4b-a49f-cbb1fe9d1ddd', u32(svsmEntry)));
  if (sections !== undefined) {
    const { signature = 'ASEV', version = 1, count = sections.length, fromEnd = 1024 } = metadata;
    const size = metadata.size ?? 16 + 12 * sections.length;
    Buffer.concat([
      Buffer.from(signature),
      ...[size, version, count].map(u32),
      ...sections.map((section) => Buffer.concat(section.map(u32))),
    ]).copy(bytes, length - 1024);
    entries.push(entry('dc886566-984a-4798-a75e-5585a7bf67cc', u32(fromEnd)));
  }
  const table = Buffer.concat([...entries.toReversed()]);
  const end = entry(
    footer.guid ?? '96b582de-1fb2-45f7-baea-a366c55a082d',
    Buffer.alloc(0),
    footer.size ?? table.length + 18,
  );
  Buffer.concat([table, end]).copy(bytes, length - 32 - end.length - table.length);
  return Uint8Array.from(bytes);
}

/** A variable header: its type and content; its length and padding follow. */
export function header(type: number, ...content: readonly Buffer[]): Buffer {
  const body = Buffer.concat(content);
  return Buffer.concat([u32(type), u32(body.length), body, Buffer.alloc(-body.length & 7)]);
}

export interface PageSpec {
  readonly gpa: bigint | number;
  readonly mask?: number;
  readonly flags?: number;
  readonly type?: number;
  /** The offset of its data in the data section, or nothing for zeros. */
  readonly data?: number;
}

/** Makes headers that refer to data. `dataStart` is the offset of the data section in the file. */
export type Headers = (dataStart: number) => readonly Buffer[];

export const platform = (mask: number, type: number): Buffer =>
  header(1, u32(mask), Buffer.of(0, type), u16(1), u64(0));
export const policy = (mask: number): Buffer => header(0x101, u64(0x3_0000), u32(mask), u32(0));
export const page = (dataStart: number, { gpa, mask = 1, flags = 0, type = 0, data }: PageSpec): Buffer =>
  header(
    0x302,
    u64(gpa),
    ...[mask, data === undefined ? 0 : dataStart + data, flags].map(u32),
    u16(type),
    u16(0),
  );
export const area = (index: number, size: number): Buffer => header(0x301, u64(size), u32(index), u32(0));
export const insert = (gpa: number, index: number, mask = 1): Buffer =>
  header(0x303, u64(gpa), u32(mask), u32(index));
export const context = (gpa: bigint, fileOffset: number, vcpu = 0, mask = 1): Buffer =>
  header(0x304, u64(gpa), u32(mask), u32(fileOffset), u16(vcpu), u16(0));
export const requiredMemory = (gpa: number, size: number): Buffer =>
  header(0x305, u64(gpa), ...[1, size, 0, 0].map(u32));
export const idBlock = (digest: Buffer, mask = 1): Buffer =>
  header(0x30b, u32(mask), u32(0), digest, Buffer.alloc(640));

/** Values of the fixed header in place of the right ones. */
export interface FixedSpec {
  readonly magic?: number;
  readonly version?: number;
  readonly headersOffset?: number;
  readonly headersSize?: number;
  readonly fileSize?: number;
  readonly checksum?: number;
  readonly architecture?: number;
  readonly pageSize?: number;
}

/** An IGVM file with these headers and this data. */
export function igvmFile(
  headers: Headers,
  data: Uint8Array = new Uint8Array(),
  fixed: FixedSpec = {},
): Uint8Array {
  const { version = 1 } = fixed;
  const fixedSize = version === 2 ? 32 : 24;
  const size = Buffer.concat(headers(0)).length;
  const variable = Buffer.concat(headers(fixedSize + size));
  const fields = (checksum: number): Buffer =>
    Buffer.concat(
      [
        fixed.magic ?? 0x4d56_4749,
        version,
        fixed.headersOffset ?? fixedSize,
        fixed.headersSize ?? size,
        fixed.fileSize ?? fixedSize + size + data.length,
        checksum,
        ...(version === 2 ? [fixed.architecture ?? 0, fixed.pageSize ?? 4096] : []),
      ].map(u32),
    );
  const checksum = fixed.checksum ?? crc32(Buffer.concat([fields(0), variable]));
  return Uint8Array.from(Buffer.concat([fields(checksum), variable, data]));
}

/** Recomputes the checksum of an IGVM file after a change, as far as the file has one. */
export function withChecksum(file: Uint8Array): Uint8Array {
  const bytes = Buffer.from(file);
  if (bytes.length < 24) return bytes;
  const fixedSize = bytes.readUInt32LE(4) === 2 ? 32 : 24;
  const [offset, size] = [bytes.readUInt32LE(8), bytes.readUInt32LE(12)];
  bytes.writeUInt32LE(0, 20);
  const covered = Buffer.concat([bytes.subarray(0, fixedSize), bytes.subarray(offset, offset + size)]);
  bytes.writeUInt32LE(crc32(covered), 20);
  return Uint8Array.from(bytes);
}
