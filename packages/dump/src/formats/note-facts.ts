import type { DumpCpu, KernelFacts } from './dump.ts';
import { cpuOfNote, isQemuNote, notesOf } from './elf-notes.ts';
import { kernelFactsOf, VMCOREINFO } from './vmcoreinfo.ts';

/** The facts in the notes of a dump: the processors, as QEMU writes them, and VMCOREINFO of a kernel. */
export class NoteFacts {
  readonly cpus: DumpCpu[] = [];
  kernel: KernelFacts | undefined;

  /**
   * Reads the notes of a segment.
   *
   * @throws DumpError
   */
  add(segment: Uint8Array): void {
    for (const note of notesOf(segment)) {
      if (isQemuNote(note)) this.cpus.push(cpuOfNote(note, this.cpus.length));
      if (note.name !== VMCOREINFO) continue;
      // One without facts does not hide another.
      const facts = kernelFactsOf(note.bytes);
      if (Object.keys(facts).length > 0) this.kernel ??= facts;
    }
  }
}
