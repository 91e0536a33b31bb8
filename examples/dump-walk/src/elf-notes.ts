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
 * The notes in a PT_NOTE segment. A note is the u32 length of its name, the u32 length of its content, the u32 type, the name
 * and the content, both padded to a multiple of 4 bytes.
 *
 * @throws DumpError if a note is truncated
 */
export function notesOf(segment: Buffer): Note[] {
  const notes: Note[] = [];
  for (let at = 0; at < segment.length; ) {
    const nameAt = at + HEADER_SIZE;
    const nameSize = nameAt <= segment.length ? segment.readUInt32LE(at) : 0;
    const size = nameAt <= segment.length ? segment.readUInt32LE(at + 4) : 0;
    const contentAt = nameAt + padded(nameSize);
    if (contentAt + size > segment.length) {
      throw new DumpError(`the note at byte ${at} of its notes is truncated`);
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
 * The processors in QEMU's notes, one for each note. The notes do not have EFER.
 *
 * @throws DumpError if a note has an unknown layout
 */
export function cpusOfNotes(notes: readonly Note[]): DumpCpu[] {
  return notes
    .filter(({ name, type }) => name === 'QEMU' && type === 0)
    .map(({ bytes }, cpu) => {
      // `struct QEMUCPUState`, version 1. The last field of its 440 bytes, kernel_gs_base, was added later.
      const version = bytes.length >= 8 ? bytes.readUInt32LE(0) : 0;
      if (version !== 1 || bytes.length < 432) {
        throw new DumpError(
          `the QEMU note of CPU ${cpu} has version ${version} and ${bytes.length} bytes; ` +
            'version 1 with at least 432 bytes is supported',
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
