import { PAGE_SIZE } from '@svsm/address';

/** A PT_LOAD header of a kernel: a range of memory, and where the file says it is in virtual memory. */
export interface Load {
  readonly paddr: number;
  readonly vaddr: bigint;
  readonly bytes: Uint8Array;
  /** p_memsz, if it is larger than the bytes: pages that makedumpfile has left out. */
  readonly memorySize?: number;
}

/**
 * Makes a core file as `/proc/vmcore` has it (fs/proc/vmcore.c of Linux): the program headers follow the ELF header, all notes
 * are merged into one PT_NOTE on a page of their own, and each PT_LOAD has its own copy of its memory, page after page.
 */
export function kernelCore(loads: readonly Load[], vmcoreinfo: string, cpus = 1): Buffer {
  const notes = Buffer.concat([
    ...Array.from({ length: cpus }, () => note('CORE', 1, Buffer.alloc(336))),
    note('VMCOREINFO', 0, Buffer.from(vmcoreinfo)),
  ]);
  const headersSize = padded(64 + 56 * (loads.length + 1));
  let at = headersSize + padded(notes.length);
  const headers = [
    programHeader(4, [headersSize, 0n, 0n, notes.length, notes.length]),
    ...loads.map(({ paddr, vaddr, bytes, memorySize = bytes.length }) => {
      const offset = at;
      at += padded(bytes.length);
      return programHeader(1, [
        bytes.length === 0 ? 0 : offset,
        vaddr,
        BigInt(paddr),
        bytes.length,
        memorySize,
      ]);
    }),
  ];
  const file = Buffer.alloc(at);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(4, 16);
  file.writeUInt16LE(62, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(64, 52);
  file.writeUInt16LE(56, 54);
  file.writeUInt16LE(headers.length, 56);
  for (const [i, header] of headers.entries()) header.copy(file, 64 + 56 * i);
  notes.copy(file, headersSize);
  let content = headersSize + padded(notes.length);
  for (const { bytes } of loads) {
    file.set(bytes, content);
    content += padded(bytes.length);
  }
  return file;
}

function programHeader(
  type: number,
  [offset, vaddr, paddr, fileSize, memorySize]: readonly [number, bigint, bigint, number, number],
): Buffer {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(type, 0);
  for (const [i, value] of [BigInt(offset), vaddr, paddr, BigInt(fileSize), BigInt(memorySize)].entries()) {
    header.writeBigUInt64LE(value, 8 + 8 * i);
  }
  return header;
}

function note(name: string, type: number, content: Buffer): Buffer {
  const nameSize = Math.ceil((name.length + 1) / 4) * 4;
  const bytes = Buffer.alloc(12 + nameSize + Math.ceil(content.length / 4) * 4);
  bytes.writeUInt32LE(name.length + 1, 0);
  bytes.writeUInt32LE(content.length, 4);
  bytes.writeUInt32LE(type, 8);
  bytes.write(name, 12, 'latin1');
  content.copy(bytes, 12 + nameSize);
  return bytes;
}

function padded(size: number): number {
  return Math.ceil(size / PAGE_SIZE) * PAGE_SIZE;
}
