import { PAGE_SIZE } from '@svsm/address';
import { refuseArgument } from './arguments.ts';
import { type ByteFields, isBytes } from './byte-fields.ts';
import { crc32 } from './crc32.ts';
import { type IgvmHeader, readIgvmHeader } from './igvm-header.ts';
import { ImageBytes, refuseImage } from './image-bytes.ts';

/** An IGVM file: the headers that tell a loader how to launch a guest. */
export interface IgvmFile {
  /** The version of the format: 1 or 2. */
  readonly version: number;
  /** The variable headers, in their order. */
  readonly headers: readonly IgvmHeader[];
}

const FIXED = {
  magic: [0, 4],
  version: [4, 4],
  headersOffset: [8, 4],
  headersSize: [12, 4],
  fileSize: [16, 4],
  checksum: [20, 4],
} as const satisfies ByteFields;
const FIXED_2 = { architecture: [24, 4], pageSize: [28, 4] } as const satisfies ByteFields;
/** The size of the fixed header, by version. */
const FIXED_SIZES: readonly number[] = [0, 24, 32];
const CHECKSUM = [20, 24] as const;
/** `IGVM` in little-endian. */
const MAGIC = 0x4d56_4749;

const VARIABLE = { type: [0, 4], length: [4, 4] } as const satisfies ByteFields;
const VARIABLE_SIZE = 8;

/** The sections of headers, each with the last type of its range. Headers of a section do not follow those of a later one. */
const SECTION_ENDS = [0x100, 0x200, 0x400] as const;

/**
 * Reads an IGVM file, format 1 or 2, for x86-64 (Microsoft `igvm_defs`). O(headers). The result refers to `bytes`; it does
 * not copy them.
 *
 * @throws SnpError `INVALID_ARGUMENT` if `bytes` are not a `Uint8Array`; `INVALID_IMAGE` with offset, value and expectation
 *   if the file is malformed, or has a header that the format does not allow a loader to ignore and this package does not
 *   know
 */
export function decodeIgvmFile(bytes: Uint8Array): IgvmFile {
  if (!isBytes(bytes)) refuseArgument('an IGVM file', bytes, 'pass a Uint8Array');
  const image = new ImageBytes(bytes);
  const { version, headersOffset, headersSize } = fixedHeaderOf(image);
  const end = headersOffset + headersSize;
  const headers: IgvmHeader[] = [];
  let section = 0;
  for (let offset = headersOffset; offset < end; ) {
    const { type, length } = image.fields(offset, VARIABLE_SIZE, VARIABLE, 'a header');
    const start = offset + VARIABLE_SIZE;
    if (start + length > end)
      refuseImage('the length of a header', offset + 4, length, `the headers end at offset ${end}`);
    const content = image.part(start, length, 'a header');
    const header = readIgvmHeader({ image, offset, type, content, dataStart: end });
    section = sectionAfter(section, header, type % 0x8000_0000);
    headers.push(header);
    offset = Math.ceil((start + length) / 8) * 8;
  }
  return { version, headers };
}

function fixedHeaderOf(image: ImageBytes) {
  const { length } = image.bytes;
  const fixed = image.fields(0, FIXED_SIZES[1]!, FIXED, 'the fixed header');
  const { magic, version, headersOffset, headersSize, fileSize, checksum } = fixed;
  if (magic !== MAGIC) refuseImage('the magic number', 0, magic, `it must be ${MAGIC}: IGVM`);
  const size = FIXED_SIZES[version];
  if (size === undefined || version === 0) return refuseImage('the version', 4, version, 'it must be 1 or 2');
  const header = image.part(0, size, 'the fixed header');
  if (version === 2) {
    const { architecture, pageSize } = image.fields(0, size, FIXED_2, 'the fixed header');
    if (architecture !== 0) refuseImage('the architecture', 24, architecture, 'it must be 0: x86-64');
    if (pageSize !== PAGE_SIZE) refuseImage('the page size', 28, pageSize, 'it must be 4096');
  }
  if (fileSize !== length) refuseImage('the size of the file', 16, fileSize, `it must be ${length}`);
  if (headersOffset < size || headersOffset % 8 !== 0 || headersOffset > length)
    refuseImage(
      'the offset of the headers',
      8,
      headersOffset,
      `it must be a multiple of 8 from ${size} to ${length}`,
    );
  if (headersSize > length - headersOffset)
    refuseImage('the size of the headers', 12, headersSize, `it must be at most ${length - headersOffset}`);
  const sum = checksumOf(header, image.part(headersOffset, headersSize, 'the headers'));
  if (checksum !== sum) refuseImage('the checksum', 20, checksum, `it must be ${sum}`);
  return fixed;
}

/** The CRC-32 of both headers, with the checksum itself taken as 0. */
function checksumOf(fixed: Uint8Array, headers: Uint8Array): number {
  const copy = Uint8Array.from(fixed);
  copy.fill(0, ...CHECKSUM);
  return crc32(headers, crc32(copy));
}

/** The section of a header: 0 platforms, 1 initialization, 2 directives. An unknown optional one may stand anywhere. */
function sectionAfter(section: number, { offset }: IgvmHeader, type: number): number {
  const own = SECTION_ENDS.findIndex((last) => type <= last);
  if (own === -1) return section;
  if (own < section)
    refuseImage(
      'the type of a header',
      offset,
      type,
      'platforms come first, then initialization, then directives',
    );
  return own;
}
