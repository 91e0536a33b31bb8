import { PAGE_SIZE } from '@svsm/address';

/** The parts of a core file. */
export interface CoreParts {
  /** The content of each segment, and its place in physical memory. `vaddr` defaults to `paddr`. */
  readonly segments: readonly {
    paddr: bigint;
    bytes?: Uint8Array;
    size?: number;
    vaddr?: bigint;
    offset?: bigint;
  }[];
  readonly cpus?: readonly Partial<Record<'cr0' | 'cr2' | 'cr3' | 'cr4' | 'rip' | 'rsp', bigint>>[];
  /** Put the number of program headers into section header 0, as QEMU does from 65,535 on. */
  readonly extended?: boolean;
}

const HEADERS = 192;

/** Makes an ELF core with the layout of QEMU's `dump-guest-memory`: headers, notes, memory. */
export function coreFile({ segments, cpus = [], extended = false }: CoreParts): Buffer {
  const notes = Buffer.concat(cpus.map((cpu) => note('QEMU', 0, cpuNote(cpu))));
  const count = segments.length + 1;
  const notesAt = HEADERS + 56 * count;
  const headers: Buffer[] = [programHeader(4, BigInt(notesAt), 0n, 0n, notes.length)];
  const content: Uint8Array[] = [];
  let at = notesAt + notes.length;
  for (const { paddr, bytes = new Uint8Array(0), size = bytes.length, vaddr = paddr, offset } of segments) {
    headers.push(programHeader(1, offset ?? BigInt(at), vaddr, paddr, size));
    content.push(bytes);
    at += bytes.length;
  }
  const header = Buffer.alloc(HEADERS);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  header.writeUInt16LE(4, 16);
  header.writeUInt16LE(62, 18);
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(HEADERS), 32);
  header.writeBigUInt64LE(64n, 40);
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(extended ? 0xffff : count, 56);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(2, 60);
  header.writeUInt32LE(extended ? count : 0, 64 + 44);
  return Buffer.concat([header, ...headers, notes, ...content]);
}

/** Makes a frames file. */
export function framesFile(
  header: object | string,
  frames: readonly (readonly [bigint, Uint8Array])[],
): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const fixed = Buffer.alloc(16);
  fixed.write('PTFRAME1', 'latin1');
  fixed.writeUInt32LE(json.length, 8);
  fixed.writeUInt32LE(frames.length, 12);
  const records = frames.flatMap(([paddr, bytes]) => {
    const place = Buffer.alloc(8);
    place.writeBigUInt64LE(paddr);
    return [place, bytes];
  });
  return Buffer.concat([fixed, json, ...records]);
}

/** Makes a sparse file. */
export function sparseFile(size: number, pieces: readonly (readonly [number, Uint8Array])[]): Buffer {
  const header = Buffer.alloc(20);
  header.write('SPARSE01', 'latin1');
  header.writeBigUInt64LE(BigInt(size), 8);
  header.writeUInt32LE(pieces.length, 16);
  const packed = pieces.flatMap(([place, bytes]) => {
    const head = Buffer.alloc(12);
    head.writeBigUInt64LE(BigInt(place));
    head.writeUInt32LE(bytes.length, 8);
    return [head, bytes];
  });
  return Buffer.concat([header, ...packed]);
}

/** Makes a page table from entries by index. */
export function tableOf(entries: Readonly<Record<number, bigint>>): Buffer {
  const table = Buffer.alloc(PAGE_SIZE);
  for (const [index, entry] of Object.entries(entries)) table.writeBigUInt64LE(entry, 8 * Number(index));
  return table;
}

function cpuNote(cpu: NonNullable<CoreParts['cpus']>[number]): Buffer {
  const { cr0 = 0x8005_0033n, cr2 = 0n, cr3 = 0n, cr4 = 0xa0n, rip = 0n, rsp = 0n } = cpu;
  const bytes = Buffer.alloc(440);
  bytes.writeUInt32LE(1, 0);
  bytes.writeUInt32LE(440, 4);
  for (const [offset, value] of [
    [56, rsp],
    [136, rip],
    [392, cr0],
    [408, cr2],
    [416, cr3],
    [424, cr4],
  ] as const) {
    bytes.writeBigUInt64LE(value, offset);
  }
  return bytes;
}

function note(name: string, type: number, content: Buffer): Buffer {
  const bytes = Buffer.alloc(12 + 8 + content.length);
  bytes.writeUInt32LE(name.length + 1, 0);
  bytes.writeUInt32LE(content.length, 4);
  bytes.writeUInt32LE(type, 8);
  bytes.write(name, 12, 'latin1');
  content.copy(bytes, 20);
  return bytes;
}

function programHeader(type: number, offset: bigint, vaddr: bigint, paddr: bigint, size: number): Buffer {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(type, 0);
  header.writeBigUInt64LE(offset, 8);
  header.writeBigUInt64LE(vaddr, 16);
  header.writeBigUInt64LE(paddr, 24);
  header.writeBigUInt64LE(BigInt(size), 32);
  header.writeBigUInt64LE(BigInt(size), 40);
  return header;
}
