import { DumpError } from '../source/dump-error.ts';
import { asciiOf, fieldsOf } from '../source/source.ts';
import type { DumpCpu } from './dump.ts';

/** One note of an ELF file. */
export interface Note {
  readonly name: string;
  readonly type: number;
  readonly bytes: Uint8Array;
}

const HEADER_SIZE = 12;
const MAX_NAME = 64;
/** The most processors of an x86-64 Linux kernel (NR_CPUS). */
const MAX_CPUS = 8192;

/**
 * The notes in a PT_NOTE segment. A note is the u32 length of its name, the u32 length of its content, the u32 type, the name
 * and the content, both padded to a multiple of 4 bytes. Zeros may follow the last note.
 *
 * @throws DumpError if a note is truncated
 */
export function* notesOf(segment: Uint8Array): Generator<Note, undefined, undefined> {
  const fields = fieldsOf(segment);
  for (let at = 0; at < segment.length; ) {
    const nameAt = at + HEADER_SIZE;
    if (nameAt > segment.length && segment.subarray(at).every((byte) => byte === 0)) return;
    const nameSize = nameAt <= segment.length ? fields.getUint32(at, true) : 0;
    const size = nameAt <= segment.length ? fields.getUint32(at + 4, true) : 0;
    const contentAt = nameAt + padded(nameSize);
    if (contentAt + size > segment.length) {
      throw new DumpError('TRUNCATED_FILE', { reason: `the note at byte ${at} of its notes is truncated` });
    }
    yield {
      name: asciiOf(segment.subarray(nameAt, nameAt + Math.min(nameSize, MAX_NAME))).replace(/\0+$/, ''),
      type: fields.getUint32(at + 8, true),
      bytes: segment.subarray(contentAt, contentAt + size),
    };
    at = contentAt + padded(size);
  }
}

/** Whether the note has the registers of a processor, as QEMU writes them. */
export function isQemuNote({ name, type }: Note): boolean {
  return name === 'QEMU' && type === 0;
}

/**
 * The processor in a note of QEMU. The note does not have EFER.
 *
 * @param cpu - the index of the processor
 * @throws DumpError if the note has an unknown layout, or if there are too many
 */
export function cpuOfNote({ bytes }: Note, cpu: number): DumpCpu {
  if (cpu >= MAX_CPUS)
    throw new DumpError('OUTSIDE_LIMITS', { reason: `it has notes of more than ${MAX_CPUS} processors` });
  const fields = fieldsOf(bytes);
  // `struct QEMUCPUState`, version 1. The last field of its 440 bytes, kernel_gs_base, was added later.
  const version = bytes.length >= 8 ? fields.getUint32(0, true) : 0;
  if (version !== 1 || bytes.length < 432) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason:
        `the QEMU note of CPU ${cpu} has version ${version} and ${bytes.length} bytes; ` +
        'version 1 with at least 432 bytes is supported',
    });
  }
  const register = (at: number): bigint => fields.getBigUint64(at, true);
  return {
    rsp: register(56),
    rip: register(136),
    cpl: fields.getUint32(152, true) & 3,
    cr0: register(392),
    cr2: register(408),
    cr3: register(416),
    cr4: register(424),
  };
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}
