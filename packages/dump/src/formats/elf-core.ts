import { DumpError } from '../source/dump-error.ts';
import { Notices } from '../source/notices.ts';
import { Runs } from '../source/runs.ts';
import { sizeText } from '../source/size-text.ts';
import { readBytes, readSize, type Source } from '../source/source.ts';
import type { DumpContent, DumpCpu, KernelFacts } from './dump.ts';
import { type ProgramHeader, PT_LOAD, PT_NOTE, programHeaders } from './elf-headers.ts';
import { NoteFacts } from './note-facts.ts';
import { withUnlistedMemory } from './qemu-memory.ts';
import { requireInside, Segments } from './segments.ts';

/** The two notes of a processor have 828 bytes, and QEMU limits a note of the guest to 1 MiB. This is for all notes together. */
const MAX_NOTE_BYTES = 2 ** 24;
/** The most PT_NOTE headers. Real files have one. */
const MAX_NOTE_HEADERS = 64;
/** The value of p_paddr in `/proc/kcore` for memory without a fixed physical address. */
const NO_ADDRESS = 2n ** 64n - 1n;
/** The kernel's half, up to the end of the regions that it may randomize. The direct map is the lowest of them. */
const KERNEL_START = 0xff00_0000_0000_0000n;
const RANDOM_END = 0xffff_fe00_0000_0000n;
/** The largest direct map: of 4 levels. */
const DIRECT_MAP_SIZE = 2n ** 46n;
const GIB = 2n ** 30n;
/** The most segments without physical addresses. `/proc/kcore` has one for each range of memory. */
const MAX_WITHOUT_ADDRESS = 4096;

/**
 * Opens an ELF64 core file of x86-64: of QEMU's `dump-guest-memory`, with or without `-p`, or of a kernel (`/proc/vmcore`, also
 * through `makedumpfile -E`). PT_LOAD segments have physical memory. QEMU's notes have registers; the note VMCOREINFO of a
 * kernel says where its page tables are. The virtual addresses of a `-p` dump only serve to recognize it: they follow from the
 * page tables, and are sign-extended wrongly in the user half.
 *
 * @throws DumpError
 */
export function openElfCore(source: Source): DumpContent {
  const { loads, cpus, kernel, notesEnd } = partsOf(source);
  const notices = new Notices();
  // QEMU cuts off segments where a block ends, but what follows in the machine is not zero.
  const zeros = cpus.length > 0 ? new Runs() : loads.tails;
  const listed = new Segments(loads.runs, { zeros, notices });
  const isByVirtual = loads.isByVirtual && cpus.length > 0;
  const { memory, layout } = isByVirtual
    ? withUnlistedMemory({ source, listed, blockEnds: loads.blockEnds, first: notesEnd, cpus })
    : { memory: listed, layout: '' };
  const facts = [
    `ELF core, ${loads.count} ${loads.count === 1 ? 'segment' : 'segments'}`,
    ...(memory.bytes > listed.bytes
      ? [` and ${sizeText(BigInt(memory.bytes - listed.bytes))} outside of them`]
      : []),
    ...(layout === '' ? [] : [` ${layout}`]),
    ...(loads.isByDirectMap
      ? [` physical addresses by the direct map at 0x${(loads.directMap ?? 0n).toString(16)}`]
      : []),
    ...(kernel?.release === undefined ? [] : [` Linux ${kernel.release}`]),
  ];
  return {
    kind: facts.join(','),
    source,
    cpus,
    memory,
    notices,
    ...(kernel === undefined ? {} : { kernel: withDirectMap(kernel, loads.directMap) }),
    readFrame: (frame, bytes) => memory.read(source, frame, bytes),
    offsetOf: (paddr) => memory.offsetOf(paddr),
  };
}

function withDirectMap(kernel: KernelFacts, directMap: bigint | undefined): KernelFacts {
  return directMap === undefined ? kernel : { ...kernel, directMap };
}

interface Parts {
  readonly loads: Loads;
  readonly cpus: readonly DumpCpu[];
  readonly kernel: KernelFacts | undefined;
  /** The place in the file after the last notes. */
  readonly notesEnd: number;
}

function partsOf(source: Source): Parts {
  const loads = new Loads(source.size);
  const notes = new NoteFacts();
  let [notesEnd, noteBytes, noteHeaders] = [0, 0, 0];
  for (const header of programHeaders(source)) {
    if (header.type === PT_LOAD) loads.add(header);
    if (header.type !== PT_NOTE) continue;
    const { offset, size } = noteSegment(source, header);
    noteBytes += size;
    noteHeaders += 1;
    if (noteBytes > MAX_NOTE_BYTES || noteHeaders > MAX_NOTE_HEADERS) {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `its notes have more than ${MAX_NOTE_BYTES} bytes, or more than ${MAX_NOTE_HEADERS} program headers`,
      });
    }
    notes.add(readBytes(source, offset, size));
    notesEnd = offset + size;
  }
  loads.requireAddresses();
  return { loads, cpus: notes.cpus, kernel: notes.kernel, notesEnd };
}

/** The PT_LOAD headers. */
class Loads {
  /** The number of headers with memory in the file. */
  count = 0;
  /** Whether some virtual address differs from the physical one. */
  isByVirtual = false;
  readonly runs: Runs = new Runs();
  /** The ranges from p_filesz to p_memsz. */
  readonly tails: Runs = new Runs();
  /** The physical addresses at which such a range begins. A hostile file can have many; a PC has less than 16 blocks. */
  readonly blockEnds: Set<number> = new Set();
  readonly #fileSize: number;
  /** The virtual address of physical address 0 in the direct map of a kernel, if a header shows it. */
  directMap: bigint | undefined;
  /** Whether the physical addresses follow from it. */
  isByDirectMap = false;
  readonly #withoutAddress: ProgramHeader[] = [];
  #atZero = 0;

  constructor(fileSize: number) {
    this.#fileSize = fileSize;
  }

  add({ index, fields }: ProgramHeader): void {
    const paddr = fields.getBigUint64(24, true);
    const isInFile = fields.getBigUint64(32, true) !== 0n;
    if (paddr === NO_ADDRESS) {
      if (this.#withoutAddress.length < MAX_WITHOUT_ADDRESS)
        this.#withoutAddress.push({ index, type: PT_LOAD, fields });
      return;
    }
    const vaddr = fields.getBigUint64(16, true);
    const isOfDirectMap = isRandomized(vaddr) && vaddr >= paddr && (vaddr - paddr) % GIB === 0n;
    if (isOfDirectMap && isInFile) this.directMap ??= vaddr - paddr;
    const name = `program header ${index}`;
    const start =
      isInFile || paddr < 2n ** 52n ? readSize(fields, 24, () => `the physical address of ${name}`) : 0;
    const size = readSize(fields, 32, () => `the size of ${name}`);
    // QEMU lists device memory without bytes in the file, at offset -1.
    const memorySize = Number(fields.getBigUint64(40, true));
    if (memorySize < size) {
      throw new DumpError('INVALID_FILE', {
        reason: `${name} has ${size} bytes in the file for ${memorySize} bytes of memory`,
      });
    }
    if (isInFile) {
      const offset = readSize(fields, 8, () => `the place of ${name}`);
      requireInside({ paddr: start, size, offset, name }, this.#fileSize);
      this.runs.add(start, start + size, offset - start);
      this.count += 1;
      if (start === 0) this.#atZero += 1;
      if (memorySize > size && this.blockEnds.size < 64) this.blockEnds.add(start + size);
    }
    const end = start + memorySize;
    if (end <= 2 ** 52) this.tails.add(start + size, end, 0);
    this.isByVirtual ||= vaddr !== paddr;
  }

  /**
   * Places segments without physical addresses by the direct map, as `/proc/kcore` of an old kernel has them. The lowest segment of the
   * kernel's half begins in the first GiB of it. Other segments, as of vmalloc, stay out.
   */
  #placeByDirectMap(): void {
    const places = this.#withoutAddress
      .map(({ fields }) => fields.getBigUint64(16, true))
      .filter(isRandomized);
    if (this.count > 0 || places.length === 0) return;
    const lowest = places.reduce((low, vaddr) => (vaddr < low ? vaddr : low));
    const base = lowest - (lowest % GIB);
    for (const { index, fields } of this.#withoutAddress) {
      const paddr = fields.getBigUint64(16, true) - base;
      const end = paddr + fields.getBigUint64(32, true);
      if (paddr < 0n || end > DIRECT_MAP_SIZE) continue;
      fields.setBigUint64(24, paddr, true);
      this.add({ index, type: PT_LOAD, fields });
    }
    this.directMap = base;
    this.isByDirectMap = true;
  }

  /** @throws DumpError if no header names a physical address, or all name 0 */
  requireAddresses(): void {
    this.#placeByDirectMap();
    const hasNone = this.count === 0 && this.#withoutAddress.length > 0;
    if (!hasNone && (this.#atZero < 2 || this.#atZero < this.count)) return;
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason:
        'its program headers name no physical addresses, as in /proc/kcore of an old kernel or the core of a process: ' +
        'make the dump with dump-guest-memory, kdump or makedumpfile -E',
    });
  }
}

function isRandomized(vaddr: bigint): boolean {
  return vaddr >= KERNEL_START && vaddr < RANDOM_END;
}

function noteSegment(source: Source, { index, fields }: ProgramHeader): { offset: number; size: number } {
  const offset = readSize(fields, 8, () => `the place of program header ${index}`);
  const size = readSize(fields, 32, () => `the size of program header ${index}`);
  if (offset + size > source.size) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `its notes end at byte ${offset + size}, beyond the end of the file at ${source.size}`,
    });
  }
  return { offset, size };
}
