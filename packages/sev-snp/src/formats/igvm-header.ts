import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { type ByteFields, type FieldValues, readFields } from './byte-fields.ts';
import { type ImageBytes, refuseImage } from './image-bytes.ts';

/** Types of platforms in an IGVM file (Microsoft `igvm_defs`, `IgvmPlatformType`). */
export const IgvmPlatform = {
  Native: 0,
  VsmIsolation: 1,
  SevSnp: 2,
  Tdx: 3,
  Sev: 4,
  SevEs: 5,
} as const;

/** A platform that an IGVM file supports. */
export interface IgvmPlatformHeader {
  readonly kind: 'platform';
  /** The bit that stands for the platform in the masks of other headers. */
  readonly mask: number;
  /** One of {@link IgvmPlatform}, or another number. */
  readonly platform: number;
}

/** The policy of a guest. */
export interface IgvmPolicyHeader {
  readonly kind: 'policy';
  readonly mask: number;
  readonly policy: bigint;
}

/** The type of a page of data (Microsoft `igvm_defs`, `IgvmPageDataType`). CPUID data of both types is `cpuid`. */
export type IgvmPageType = 'normal' | 'secrets' | 'cpuid';

/** A page of 4 KiB or 2 MiB. */
export interface IgvmPageHeader {
  readonly kind: 'page';
  readonly mask: number;
  readonly gpa: PhysAddr;
  /** In bytes. */
  readonly size: number;
  readonly type: IgvmPageType;
  /** Whether the digest leaves out its bytes. */
  readonly unmeasured: boolean;
  /** Whether the page is shared with the host, and not part of the launch. */
  readonly shared: boolean;
  /** The bytes, or `undefined` for zeros. */
  readonly bytes: Uint8Array | undefined;
}

/** An area in which the loader collects parameters. */
export interface IgvmAreaHeader {
  readonly kind: 'area';
  readonly index: number;
  /** In bytes: a multiple of 4096, at most 16 MiB. */
  readonly size: number;
}

/** The place where an area of parameters goes. */
export interface IgvmInsertHeader {
  readonly kind: 'insert';
  readonly mask: number;
  readonly gpa: PhysAddr;
  readonly index: number;
}

/** The initial state of a processor. */
export interface IgvmContextHeader {
  readonly kind: 'context';
  readonly mask: number;
  readonly gpa: PhysAddr;
  readonly vcpu: number;
  /** For SEV-SNP a VMSA of 4096 bytes, for other platforms perhaps fewer; `undefined` if the header names no data. */
  readonly bytes: Uint8Array | undefined;
}

/** Memory that has to exist. A launch does not measure it. */
export interface IgvmMemoryHeader {
  readonly kind: 'memory';
  readonly mask: number;
  readonly gpa: PhysAddr;
  /** In bytes. */
  readonly size: number;
}

/** The signed identity of a guest, with the digest that its author expects. */
export interface IgvmIdBlockHeader {
  readonly kind: 'id-block';
  readonly mask: number;
  /** 48 bytes. */
  readonly digest: Uint8Array;
}

/** A header that does not take part in a launch: relocation, a parameter, a signature. */
export interface IgvmOtherHeader {
  readonly kind: 'other';
  /** Its type, without the bit that makes it optional. */
  readonly type: number;
}

/** A variable header of an IGVM file, with its offset in the file. */
export type IgvmHeader = { readonly offset: number } & (
  | IgvmPlatformHeader
  | IgvmPolicyHeader
  | IgvmPageHeader
  | IgvmAreaHeader
  | IgvmInsertHeader
  | IgvmContextHeader
  | IgvmMemoryHeader
  | IgvmIdBlockHeader
  | IgvmOtherHeader
);

/** A header as it lies in the file. */
export interface RawIgvmHeader {
  readonly image: ImageBytes;
  /** The offset of its type. Its content is 8 bytes further. */
  readonly offset: number;
  readonly type: number;
  readonly content: Uint8Array;
  /** The offset where the data of pages begins. */
  readonly dataStart: number;
}

type Body = IgvmHeader extends infer Header
  ? Header extends unknown
    ? Omit<Header, 'offset'>
    : never
  : never;
interface Format {
  readonly size: number;
  readonly decode: (raw: RawIgvmHeader) => Body;
}

const PLATFORM = { mask: [0, 4], platform: [5, 1] } as const satisfies ByteFields;
const POLICY = { policy: [0, 8], mask: [8, 4] } as const satisfies ByteFields;
const AREA = { size: [0, 8], index: [8, 4], fileOffset: [12, 4] } as const satisfies ByteFields;
const PAGE = {
  gpa: [0, 8],
  mask: [8, 4],
  fileOffset: [12, 4],
  flags: [16, 4],
  type: [20, 2],
  reserved: [22, 2],
} as const satisfies ByteFields;
const INSERT = { gpa: [0, 8], mask: [8, 4], index: [12, 4] } as const satisfies ByteFields;
const CONTEXT = {
  gpa: [0, 8],
  mask: [8, 4],
  fileOffset: [12, 4],
  vcpu: [16, 2],
} as const satisfies ByteFields;
const MEMORY = { gpa: [0, 8], mask: [8, 4], size: [12, 4] } as const satisfies ByteFields;
const ID_BLOCK = { mask: [0, 4] } as const satisfies ByteFields;
const ID_BLOCK_DIGEST = [8, 56] as const;

const PAGE_TYPES: readonly IgvmPageType[] = ['normal', 'secrets', 'cpuid', 'cpuid'];
const PageFlag = { Huge: 1, Unmeasured: 2, Shared: 4 } as const;
const HUGE = 0x20_0000;
const AREA_MAX = 0x100_0000;
// Guest-physical addresses have at most 52 bits.
const GPA_END = 1n << 52n;

/** The headers that take part in a launch, by type, with the size of their content in bytes. */
const FORMATS: Readonly<Record<number, Format>> = {
  1: { size: 16, decode: platformOf },
  257: { size: 16, decode: policyOf },
  769: { size: 16, decode: areaOf },
  770: { size: 24, decode: pageOf },
  771: { size: 16, decode: insertOf },
  772: { size: 20, decode: contextOf },
  773: { size: 24, decode: memoryOf },
  779: { size: 696, decode: idBlockOf },
};

/** Headers that do not take part in a launch of an SNP guest: relocation, parameters, measurements of other platforms. */
const IGNORED: readonly number[] = [
  ...[0x102, 0x103, 0x104, 0x105, 0x106, 0x307, 0x308, 0x309, 0x30a, 0x30c, 0x30d, 0x30e, 0x30f],
  ...[0x310, 0x311, 0x312, 0x313],
];
const OPTIONAL = 0x8000_0000;

/** @throws SnpError `INVALID_IMAGE` if the type is unknown and not optional, or a field is malformed */
export function readIgvmHeader(raw: RawIgvmHeader): IgvmHeader {
  const { offset, content } = raw;
  const type = raw.type % OPTIONAL;
  const format = FORMATS[type];
  if (format === undefined) {
    if (raw.type < OPTIONAL && !IGNORED.includes(type))
      refuseImage('the type of a header', offset, type, 'it must be known, or optional');
    return { offset, kind: 'other', type };
  }
  if (content.length !== format.size)
    refuseImage(
      'the length of a header',
      offset + 4,
      content.length,
      `for its type it must be ${format.size}`,
    );
  return { offset, ...format.decode(raw) };
}

function read<Fields extends ByteFields>({ content }: RawIgvmHeader, fields: Fields): FieldValues<Fields> {
  return readFields(content, fields);
}

function platformOf(raw: RawIgvmHeader): IgvmPlatformHeader {
  const { mask, platform } = read(raw, PLATFORM);
  if (mask === 0 || (mask & (mask - 1)) !== 0)
    refuseImage('the mask of a platform', raw.offset + 8, mask, 'it must have one bit');
  return { kind: 'platform', mask, platform };
}

function policyOf(raw: RawIgvmHeader): IgvmPolicyHeader {
  const { mask, policy } = read(raw, POLICY);
  return { kind: 'policy', mask, policy };
}

function areaOf(raw: RawIgvmHeader): IgvmAreaHeader {
  const { index, size } = read(raw, AREA);
  if (size === 0n || size % BigInt(PAGE_SIZE) !== 0n || size > AREA_MAX)
    refuseImage(
      'the size of a parameter area',
      raw.offset + 8,
      size,
      'it must be whole pages up to 16 MiB, not 0',
    );
  return { kind: 'area', index, size: Number(size) };
}

function pageOf(raw: RawIgvmHeader): IgvmPageHeader {
  const { gpa, mask, fileOffset, flags, type, reserved } = read(raw, PAGE);
  const size = (flags & PageFlag.Huge) === 0 ? PAGE_SIZE : HUGE;
  const pageType = PAGE_TYPES[type];
  if (pageType === undefined)
    refuseImage('the type of a page', raw.offset + 28, type, 'it must be from 0 to 3');
  if (reserved !== 0) refuseImage('the reserved field of a page', raw.offset + 30, reserved, 'it must be 0');
  if (pageType !== 'normal' && size === HUGE)
    refuseImage('the flags of a page', raw.offset + 24, flags, 'secrets and CPUID data have 4 KiB');
  return {
    kind: 'page',
    mask,
    gpa: addressOf(raw, gpa, size),
    size,
    type: pageType,
    unmeasured: (flags & PageFlag.Unmeasured) !== 0,
    shared: (flags & PageFlag.Shared) !== 0,
    bytes: dataOf(raw, 20, fileOffset, size),
  };
}

function insertOf(raw: RawIgvmHeader): IgvmInsertHeader {
  const { gpa, mask, index } = read(raw, INSERT);
  return { kind: 'insert', mask, gpa: addressOf(raw, gpa, PAGE_SIZE), index };
}

function contextOf(raw: RawIgvmHeader): IgvmContextHeader {
  const { gpa, mask, fileOffset, vcpu } = read(raw, CONTEXT);
  // Contexts of other platforms may be shorter, and end the file.
  const size = Math.min(PAGE_SIZE, Math.max(raw.image.bytes.length - fileOffset, 1));
  return {
    kind: 'context',
    mask,
    gpa: addressOf(raw, gpa, PAGE_SIZE),
    vcpu,
    bytes: dataOf(raw, 20, fileOffset, size),
  };
}

function memoryOf(raw: RawIgvmHeader): IgvmMemoryHeader {
  const { gpa, mask, size } = read(raw, MEMORY);
  if (size % PAGE_SIZE !== 0)
    refuseImage('the size of required memory', raw.offset + 20, size, 'it must be a multiple of 4096');
  return { kind: 'memory', mask, gpa: addressOf(raw, gpa, PAGE_SIZE), size };
}

function idBlockOf(raw: RawIgvmHeader): IgvmIdBlockHeader {
  return {
    kind: 'id-block',
    mask: read(raw, ID_BLOCK).mask,
    digest: raw.content.subarray(...ID_BLOCK_DIGEST),
  };
}

/** The address in the first 8 bytes of a header. */
function addressOf({ offset }: RawIgvmHeader, gpa: bigint, alignment: number): PhysAddr {
  if (gpa % BigInt(alignment) === 0n && gpa < GPA_END) return gpa as PhysAddr;
  return refuseImage(
    'the address of a header',
    offset + 8,
    gpa,
    `it must be a multiple of ${alignment} below 2^52`,
  );
}

/** The data that a header refers to; offset 0 refers to none. `at` is the place of `fileOffset` in the header. */
function dataOf(
  { image, offset, dataStart }: RawIgvmHeader,
  at: number,
  fileOffset: number,
  size: number,
): Uint8Array | undefined {
  if (fileOffset === 0) return undefined;
  const last = image.bytes.length - size;
  if (fileOffset < dataStart || fileOffset > last)
    refuseImage(
      'the file offset of data',
      offset + at,
      fileOffset,
      `it must be 0, or from ${dataStart} to ${last}`,
    );
  return image.part(fileOffset, size, 'the data of a page');
}
