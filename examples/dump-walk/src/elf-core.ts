import type { Dump } from './dump.ts';
import { cpusOfNotes, type Note, notesOf } from './elf-notes.ts';
import { DumpError } from './problem.ts';
import { withUnlistedMemory } from './qemu-blocks.ts';
import { type Segment, Segments } from './segments.ts';
import { sizeText } from './size-text.ts';
import { readBytes, readSize, type Source } from './source.ts';

export const ELF_MAGIC = '\x7fELF';

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const SECTION_HEADER_SIZE = 64;
const PT_LOAD = 1;
const PT_NOTE = 4;
const ET_CORE = 4;
const EM_X86_64 = 62;
/** The value of e_phnum if the number does not fit. The number is then in sh_info of section header 0. */
const PN_XNUM = 0xffff;
const HEADERS_AT_ONCE = 0x4000;
/** The two notes of a processor have 828 bytes. This limit is far above the needs of any machine. */
const MAX_NOTE_BYTES = 2 ** 26;
/** One for every 4 KiB page of 64 GiB. More would take hours to read. */
const MAX_HEADERS = 2 ** 24;

interface ProgramHeader {
  readonly index: number;
  readonly type: number;
  readonly bytes: Buffer;
}

/**
 * Opens an ELF64 core file of x86-64, as QEMU's `dump-guest-memory` writes it, with or without `-p`. PT_LOAD segments have
 * physical memory, and QEMU notes the registers. The virtual addresses of a `-p` dump only serve to recognize it: they follow
 * from the page tables, and are sign-extended wrongly in the user half.
 *
 * @throws DumpError
 */
export function openElfCore(source: Source): Dump {
  const segments: Segment[] = [];
  const notes: Note[] = [];
  let isByVirtual = false;
  let notesEnd = 0;
  for (const header of programHeaders(source)) {
    if (header.type === PT_LOAD) {
      const segment = segmentOf(header);
      if (segment !== undefined) segments.push(segment);
      isByVirtual ||= header.bytes.readBigUInt64LE(16) !== header.bytes.readBigUInt64LE(24);
    } else if (header.type === PT_NOTE) {
      const { found, end } = noteSegment(source, header);
      notes.push(...found);
      notesEnd = end;
    }
  }
  const cpus = cpusOfNotes(notes);
  const listed = new Segments(segments, source.size);
  const memory = isByVirtual && cpus.length > 0 ? withUnlisted(listed, notesEnd, source.size) : listed;
  const unlisted = memory.bytes - listed.bytes;
  return {
    kind: kindOf(segments.length, unlisted),
    source,
    cpus,
    memory,
    readFrame: (frame, bytes) => memory.read(source, frame, bytes),
    offsetOf: (paddr) => memory.offsetOf(paddr),
  };
}

function kindOf(segments: number, unlisted: number): string {
  const found = unlisted > 0 ? `, and ${sizeText(BigInt(unlisted))} outside of them` : '';
  return `ELF core, ${segments} ${segments === 1 ? 'segment' : 'segments'}${found}`;
}

/** The memory of a `-p` dump, including the part that no segment describes. */
function withUnlisted(listed: Segments, first: number, fileSize: number): Segments {
  const runs = Array.from(listed, ({ start, end, offset }) => ({
    start: Number(start),
    end: Number(end),
    offset,
  }));
  return new Segments(withUnlistedMemory(runs, first, fileSize), fileSize);
}

function* programHeaders(source: Source): Generator<ProgramHeader, undefined, undefined> {
  if (source.size < HEADER_SIZE)
    throw new DumpError(`its ELF header is truncated: the file has ${source.size} bytes`);
  const header = readBytes(source, 0, HEADER_SIZE);
  requireX86Core(header);
  const size = header.readUInt16LE(54);
  if (size !== PROGRAM_HEADER_SIZE) {
    throw new DumpError(`its program headers have ${size} bytes; those of ELF64 have ${PROGRAM_HEADER_SIZE}`);
  }
  const count = countOf(source, header);
  if (count > MAX_HEADERS)
    throw new DumpError(`it has ${count} program headers; at most ${MAX_HEADERS} are supported`);
  const first = readSize(header, 32, 'the place of the program headers');
  if (first + count * size > source.size) {
    throw new DumpError(
      `its ${count} program headers end at byte ${first + count * size}, beyond the end of the file at ${source.size}`,
    );
  }
  for (let done = 0; done < count; done += HEADERS_AT_ONCE) {
    const some = Math.min(HEADERS_AT_ONCE, count - done);
    const bytes = readBytes(source, first + done * size, some * size);
    for (let i = 0; i < some; i += 1) {
      const one = bytes.subarray(i * size, (i + 1) * size);
      yield { index: done + i, type: one.readUInt32LE(0), bytes: one };
    }
  }
}

function requireX86Core(header: Buffer): void {
  const [bits, order] = [header[4], header[5]];
  if (bits !== 2 || order !== 1) {
    throw new DumpError(
      'it is an ELF file, but not a 64-bit little-endian one, as of an x86-64 guest in long mode',
    );
  }
  const type = header.readUInt16LE(16);
  if (type !== ET_CORE)
    throw new DumpError(`it is an ELF file of type ${type}, not a core file (${ET_CORE})`);
  const machine = header.readUInt16LE(18);
  if (machine !== EM_X86_64) {
    throw new DumpError(`it is a core file of ELF machine ${machine}, not of x86-64 (${EM_X86_64})`);
  }
}

function countOf(source: Source, header: Buffer): number {
  const count = header.readUInt16LE(56);
  if (count !== PN_XNUM) return count;
  const sections = readSize(header, 40, 'the place of the section headers');
  if (sections === 0 || sections + SECTION_HEADER_SIZE > source.size) {
    throw new DumpError('it has no section header 0, which must have the number of its program headers');
  }
  return readBytes(source, sections, SECTION_HEADER_SIZE).readUInt32LE(44);
}

/** The segment, or `undefined` if the file has none of its bytes. QEMU lists device memory this way, at offset -1. */
function segmentOf({ index, bytes }: ProgramHeader): Segment | undefined {
  const name = `program header ${index}`;
  if (bytes.readBigUInt64LE(32) === 0n) return undefined;
  return {
    name,
    offset: readSize(bytes, 8, `the place of ${name}`),
    paddr: readSize(bytes, 24, `the physical address of ${name}`),
    size: readSize(bytes, 32, `the size of ${name}`),
  };
}

function noteSegment(source: Source, { index, bytes }: ProgramHeader): { found: Note[]; end: number } {
  const offset = readSize(bytes, 8, `the place of program header ${index}`);
  const size = readSize(bytes, 32, `the size of program header ${index}`);
  if (offset + size > source.size) {
    throw new DumpError(
      `its notes end at byte ${offset + size}, beyond the end of the file at ${source.size}`,
    );
  }
  if (size > MAX_NOTE_BYTES)
    throw new DumpError(`its notes have ${size} bytes; at most ${MAX_NOTE_BYTES} are supported`);
  return { found: notesOf(readBytes(source, offset, size)), end: offset + size };
}
