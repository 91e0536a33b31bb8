import { DumpError } from '../source/dump-error.ts';
import { readBytes, readFields, readSize, type Source } from '../source/source.ts';

export const ELF_MAGIC = '\x7fELF';

/** A program header of an ELF64 file. Values are those of the file, and may be senseless. */
export interface ProgramHeader {
  /** Its name in messages. */
  readonly index: number;
  readonly type: number;
  /** The fields at their places in the file: p_offset at 8, p_vaddr 16, p_paddr 24, p_filesz 32, p_memsz 40. */
  readonly fields: DataView;
}

export const PT_LOAD = 1;
export const PT_NOTE = 4;

const HEADER_SIZE = 64;
const PROGRAM_HEADER_SIZE = 56;
const SECTION_HEADER_SIZE = 64;
const ET_CORE = 4;
const EM_X86_64 = 62;
/** The value of e_phnum if the number does not fit. The number is then in sh_info of section header 0. */
const PN_XNUM = 0xffff;
const HEADERS_AT_ONCE = 0x4000;
/** QEMU's `dump-guest-memory -p` writes 65,735 for an idle kernel. This many are read and sorted in a second. */
const MAX_HEADERS = 2 ** 19;

/**
 * The program headers of a core file of x86-64.
 *
 * @throws DumpError
 */
export function* programHeaders(source: Source): Generator<ProgramHeader, undefined, undefined> {
  if (source.size < HEADER_SIZE)
    throw new DumpError('TRUNCATED_FILE', {
      reason: `its ELF header is truncated: the file has ${source.size} bytes`,
    });
  const header = readFields(source, 0, HEADER_SIZE);
  requireX86Core(header);
  const size = header.getUint16(54, true);
  if (size !== PROGRAM_HEADER_SIZE) {
    throw new DumpError('INVALID_FILE', {
      reason: `its program headers have ${size} bytes; those of ELF64 have ${PROGRAM_HEADER_SIZE}`,
    });
  }
  const count = countOf(source, header);
  if (count === 0) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason:
        "it has no program headers: a core of 'xl dump-core' has memory in sections, which is not supported; " +
        'make a core file inside of the guest, with kdump',
    });
  }
  if (count > MAX_HEADERS)
    throw new DumpError('OUTSIDE_LIMITS', {
      reason: `it has ${count} program headers; at most ${MAX_HEADERS} are supported`,
    });
  const first = readSize(header, 32, 'the place of the program headers');
  if (first + count * size > source.size) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `its ${count} program headers end at byte ${first + count * size}, beyond the end of the file at ${source.size}`,
    });
  }
  for (let done = 0; done < count; done += HEADERS_AT_ONCE) {
    const some = Math.min(HEADERS_AT_ONCE, count - done);
    const bytes = readBytes(source, first + done * size, some * size);
    for (let i = 0; i < some; i += 1) {
      const fields = new DataView(bytes.buffer, i * size, size);
      yield { index: done + i, type: fields.getUint32(0, true), fields };
    }
  }
}

function requireX86Core(header: DataView): void {
  const [bits, order] = [header.getUint8(4), header.getUint8(5)];
  if (bits !== 2 || order !== 1) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: 'it is an ELF file, but not a 64-bit little-endian one, as of an x86-64 guest in long mode',
    });
  }
  const type = header.getUint16(16, true);
  if (type !== ET_CORE)
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: `it is an ELF file of type ${type}, not a core file (${ET_CORE})`,
    });
  const machine = header.getUint16(18, true);
  if (machine !== EM_X86_64) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: `it is a core file of ELF machine ${machine}, not of x86-64 (${EM_X86_64})`,
    });
  }
}

function countOf(source: Source, header: DataView): number {
  const count = header.getUint16(56, true);
  if (count !== PN_XNUM) return count;
  const sections = readSize(header, 40, 'the place of the section headers');
  if (sections === 0 || sections + SECTION_HEADER_SIZE > source.size) {
    throw new DumpError('INVALID_FILE', {
      reason: 'it has no section header 0, which must have the number of its program headers',
    });
  }
  return readFields(source, sections, SECTION_HEADER_SIZE).getUint32(44, true);
}
