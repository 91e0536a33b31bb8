import type { DumpCpu } from './dump.ts';
import { DumpError } from './problem.ts';

/** One note of an ELF file. */
export interface Note {
  readonly name: string;
  readonly type: number;
  readonly bytes: Buffer;
}

const HEADER_SIZE = 12;

/**
 * The notes in a PT_NOTE segment: u32 length of the name, u32 length of the content, u32 type, then both, each padded to 4.
 *
 * @throws DumpError if one is cut off
 */
export function notesOf(segment: Buffer): Note[] {
  const notes: Note[] = [];
  for (let at = 0; at < segment.length; ) {
    const nameAt = at + HEADER_SIZE;
    const nameSize = nameAt <= segment.length ? segment.readUInt32LE(at) : 0;
    const size = nameAt <= segment.length ? segment.readUInt32LE(at + 4) : 0;
    const contentAt = nameAt + padded(nameSize);
    if (contentAt + size > segment.length) {
      throw new DumpError(`the note at byte ${at} of its notes is cut off`);
    }
    notes.push({
      name: segment.toString('latin1', nameAt, nameAt + nameSize).replace(/\0+$/, ''),
      type: segment.readUInt32LE(at + 8),
      bytes: segment.subarray(contentAt, contentAt + size),
    });
    at = contentAt + padded(size);
  }
  return notes;
}

/**
 * The processors in QEMU's notes, one each, in their order. EFER is not in there.
 *
 * @throws DumpError for a note that is not laid out as this reads it
 */
export function cpusOfNotes(notes: readonly Note[]): DumpCpu[] {
  return notes
    .filter(({ name, type }) => name === 'QEMU' && type === 0)
    .map(({ bytes }, cpu) => {
      // `struct QEMUCPUState`, version 1; the last of its 440 bytes, kernel_gs_base, came later.
      const version = bytes.length >= 8 ? bytes.readUInt32LE(0) : 0;
      if (version !== 1 || bytes.length < 432) {
        throw new DumpError(
          `the QEMU note of CPU ${cpu} is of version ${version}, ${bytes.length} bytes; this reads version 1, 432 or more`,
        );
      }
      return {
        rsp: bytes.readBigUInt64LE(56),
        rip: bytes.readBigUInt64LE(136),
        cpl: bytes.readUInt32LE(152) & 3,
        cr0: bytes.readBigUInt64LE(392),
        cr2: bytes.readBigUInt64LE(408),
        cr3: bytes.readBigUInt64LE(416),
        cr4: bytes.readBigUInt64LE(424),
      };
    });
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}
