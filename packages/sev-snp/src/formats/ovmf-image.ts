import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { refuseArgument } from './arguments.ts';
import { type ByteFields, integerOf, isBytes } from './byte-fields.ts';
import { guidOf } from './guid.ts';
import { ImageBytes, refuseImage } from './image-bytes.ts';

/** Types of sections of the SEV metadata (EDK2 `OvmfPkg/ResetVector/X64/OvmfSevMetadata.nasm.inc`). */
export const OvmfSectionType = {
  /** Memory that the hypervisor validates before the start. */
  SecMem: 1,
  Secrets: 2,
  Cpuid: 3,
  /** The calling area of an SVSM. */
  SvsmCaa: 4,
  /** The hashes of kernel, initrd and command line. */
  KernelHashes: 0x10,
} as const;

/** One of the types. */
export type OvmfSectionType = (typeof OvmfSectionType)[keyof typeof OvmfSectionType];

/** A section: memory that a launch fills in as its type says. */
export interface OvmfSection {
  readonly type: OvmfSectionType;
  readonly gpa: PhysAddr;
  /** In bytes: a multiple of 4096, not 0. */
  readonly size: number;
}

/** An OVMF image, or an SVSM binary with the same tables. */
export interface OvmfImage {
  /** The whole image: the bytes that {@link decodeOvmfImage} was passed. */
  readonly bytes: Uint8Array;
  /** The data of each entry of the GUID table, by GUID. */
  readonly table: ReadonlyMap<string, Uint8Array>;
  /** The sections of the SEV metadata, in their order. Empty without metadata. */
  readonly sections: readonly OvmfSection[];
  /** The address where application processors start: the SEV-ES reset block. */
  readonly apResetEip: number | undefined;
  /** Where the guest looks for the hashes of the kernel. Its size is in bytes. */
  readonly hashesArea: { readonly gpa: PhysAddr; readonly size: number } | undefined;
  /** The offset in the image where an SVSM starts. */
  readonly svsmEntry: number | undefined;
}

/** GUIDs of the table (EDK2 `OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.nasm.inc`; COCONUT-SVSM for `Svsm`). */
export const OvmfGuid = {
  Footer: '96b582de-1fb2-45f7-baea-a366c55a082d',
  SevMetadata: 'dc886566-984a-4798-a75e-5585a7bf67cc',
  SevHashes: '7255371f-3a3b-4b04-927b-1da6efa8d454',
  SevEsReset: '00f771de-1a7e-4fcb-890e-68c77e2fb44e',
  Svsm: 'a789a612-0597-4c4b-a49f-cbb1fe9d1ddd',
} as const;

// The last entry of the table, its footer, ends 32 bytes before the end of the image.
const AFTER_FOOTER = 0x20;
const ENTRY = { size: [0, 2] } as const satisfies ByteFields;
const GUID_SIZE = 16;
const ENTRY_SIZE = 2 + GUID_SIZE;

const METADATA = {
  signature: [0, 4],
  size: [4, 4],
  version: [8, 4],
  count: [12, 4],
} as const satisfies ByteFields;
const METADATA_SIZE = 16;
/** `ASEV` in little-endian. */
const METADATA_SIGNATURE = 0x5645_5341;

const SECTION = { gpa: [0, 4], size: [4, 4], type: [8, 4] } as const satisfies ByteFields;
const SECTION_SIZE = 12;
const FOUR_GIB = 2 ** 32;

/**
 * Reads the GUID table at the end of an OVMF image, and the SEV metadata to which it points. O(table). The result refers
 * to `bytes`; it does not copy them.
 *
 * @throws SnpError `INVALID_ARGUMENT` if `bytes` are not a `Uint8Array`; `INVALID_IMAGE` with offset, value and expectation
 *   if the image is malformed
 *
 * @example
 * ```ts
 * import { decodeOvmfImage, isSnpError } from '@svsm/sev-snp/formats';
 *
 * try {
 *   decodeOvmfImage(new Uint8Array(4096));
 * } catch (error) {
 *   if (isSnpError(error, 'INVALID_IMAGE')) console.log(error.details.field, error.details.offset);
 *   // => the GUID of the table footer 4048
 * }
 * ```
 */
export function decodeOvmfImage(bytes: Uint8Array): OvmfImage {
  if (!isBytes(bytes)) refuseArgument('an OVMF image', bytes, 'pass a Uint8Array');
  if (bytes.length === 0 || bytes.length % PAGE_SIZE !== 0)
    refuseImage('the length of the image', 0, bytes.length, 'it must be a multiple of 4096, not 0');
  const image = new ImageBytes(bytes);
  const entries = tableOf(image);
  const word = (guid: string, at: number): number | undefined => wordOf(entries.get(guid), at);
  const hashesAt = word(OvmfGuid.SevHashes, 0);
  return {
    bytes,
    table: new Map([...entries].map(([guid, { data }]) => [guid, data])),
    sections: sectionsOf(image, entries.get(OvmfGuid.SevMetadata)),
    apResetEip: word(OvmfGuid.SevEsReset, 0),
    hashesArea:
      hashesAt === undefined
        ? undefined
        : { gpa: BigInt(hashesAt) as PhysAddr, size: word(OvmfGuid.SevHashes, 4)! },
    svsmEntry: word(OvmfGuid.Svsm, 0),
  };
}

/** The data of an entry, and its offset in the image. */
interface Entry {
  readonly offset: number;
  readonly data: Uint8Array;
}

/** The entries by GUID. Each has its data before its size and its GUID, so the table is read backwards from the footer. */
function tableOf(image: ImageBytes): Map<string, Entry> {
  const footer = image.bytes.length - AFTER_FOOTER - ENTRY_SIZE;
  const { size, guid } = entryAt(image, footer, 'the footer of the table');
  if (guid !== OvmfGuid.Footer)
    refuseImage('the GUID of the table footer', footer + 2, guid, `it must be ${OvmfGuid.Footer}`);
  const start = footer + ENTRY_SIZE - size;
  if (size < ENTRY_SIZE || start < 0)
    refuseImage('the size of the table', footer, size, `it must be from 18 to ${footer + ENTRY_SIZE}`);
  const entries = new Map<string, Entry>();
  for (let end = footer; end > start; ) {
    const head = end - ENTRY_SIZE;
    if (head < start)
      refuseImage('the start of the table', start, end - start, 'an entry has at least 18 bytes');
    const entry = entryAt(image, head, 'an entry of the table');
    const offset = end - entry.size;
    if (entry.size < ENTRY_SIZE || offset < start)
      refuseImage('the size of an entry', head, entry.size, `it must be from 18 to ${end - start}`);
    if (entries.has(entry.guid))
      refuseImage('the GUID of an entry', head + 2, entry.guid, 'each GUID may stand in the table once');
    entries.set(entry.guid, { offset, data: image.part(offset, entry.size - ENTRY_SIZE, 'an entry') });
    end = offset;
  }
  return entries;
}

function entryAt(image: ImageBytes, offset: number, field: string): { size: number; guid: string } {
  const { size } = image.fields(offset, ENTRY_SIZE, ENTRY, field);
  return { size, guid: guidOf(image.part(offset + 2, GUID_SIZE, field)) };
}

/** The 32-bit word at `at` of the data of an entry, or `undefined` without the entry. */
function wordOf(entry: Entry | undefined, at: number): number | undefined {
  if (entry === undefined) return undefined;
  const { offset, data } = entry;
  if (data.length < at + 4)
    refuseImage('the data of an entry', offset, data.length, `it must have at least ${at + 4} bytes`);
  return Number(integerOf(data.subarray(at, at + 4)));
}

function sectionsOf(image: ImageBytes, entry: Entry | undefined): OvmfSection[] {
  const fromEnd = wordOf(entry, 0);
  if (fromEnd === undefined) return [];
  const start = image.bytes.length - fromEnd;
  if (start < 0)
    refuseImage(
      'the offset of the SEV metadata from the end',
      entry!.offset,
      fromEnd,
      `it must be at most ${image.bytes.length}`,
    );
  const { signature, size, version, count } = image.fields(
    start,
    METADATA_SIZE,
    METADATA,
    'the header of the SEV metadata',
  );
  if (signature !== METADATA_SIGNATURE)
    refuseImage(
      'the signature of the SEV metadata',
      start,
      signature,
      `it must be ${METADATA_SIGNATURE}: ASEV`,
    );
  if (version !== 1) refuseImage('the version of the SEV metadata', start + 8, version, 'it must be 1');
  const least = METADATA_SIZE + SECTION_SIZE * count;
  if (size < least || start + size > image.bytes.length)
    refuseImage(
      'the size of the SEV metadata',
      start + 4,
      size,
      `with ${count} sections it must be from ${least} to ${fromEnd}`,
    );
  return Array.from({ length: count }, (_, k) => sectionAt(image, start + METADATA_SIZE + SECTION_SIZE * k));
}

function sectionAt(image: ImageBytes, offset: number): OvmfSection {
  const { gpa, size, type } = image.fields(offset, SECTION_SIZE, SECTION, 'a section');
  if (gpa % PAGE_SIZE !== 0)
    refuseImage('the address of a section', offset, gpa, 'it must be a multiple of 4096');
  if (size === 0 || size % PAGE_SIZE !== 0 || gpa + size > FOUR_GIB)
    refuseImage('the size of a section', offset + 4, size, 'it must be whole pages below 4 GiB, not 0');
  if (!isSectionType(type))
    refuseImage('the type of a section', offset + 8, type, 'it must be 1, 2, 3, 4 or 16');
  const isSingle = type === OvmfSectionType.Secrets || type === OvmfSectionType.Cpuid;
  if (isSingle && size !== PAGE_SIZE)
    refuseImage('the size of a section', offset + 4, size, 'a section of type 2 or 3 has 4096 bytes');
  return { type, gpa: BigInt(gpa) as PhysAddr, size };
}

function isSectionType(type: number): type is OvmfSectionType {
  return (Object.values(OvmfSectionType) as number[]).includes(type);
}
