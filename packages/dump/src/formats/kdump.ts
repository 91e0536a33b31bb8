import { PAGE_SIZE, physAddr } from '@svsm/address';
import { DumpError } from '../source/dump-error.ts';
import { Notices } from '../source/notices.ts';
import { readBytes, readFields, readSize, type Source } from '../source/source.ts';
import { type Codecs, type Compression, unpackBlock } from './codecs.ts';
import { withoutDamage } from './damaged-page.ts';
import type { DumpContent } from './dump.ts';
import { NoteFacts } from './note-facts.ts';
import { PageBitmap } from './page-bitmap.ts';
import type { MemoryRange } from './segments.ts';
import { kernelFactsOf } from './vmcoreinfo.ts';

export const KDUMP_MAGIC = 'KDUMP   ';

const HEADER_SIZE = 464;
const SUB_HEADER_SIZE = 104;
const DESCRIPTOR_SIZE = 24;
/** The magic, a u32, and `struct new_utsname`: six texts of 65 bytes. */
const MACHINE_AT = 12 + 4 * 65;
const MACHINE_SIZE = 65;
/** 8 TiB of memory. The bitmap of its pages has 256 MiB. */
const MAX_PAGES = 2 ** 31;
const MAX_NOTE_BYTES = 2 ** 24;
/** The bitmap of a hostile file can have 2^30 ranges; that of a real one has up to some 10,000 for each GiB. */
const MAX_RANGES = 2 ** 19;
const EXCLUDES_ZEROS_ONLY = 1;
/** The bits of the flags of a page (makedumpfile, `diskdump_mod.h`). */
const COMPRESSIONS: readonly (readonly [flag: number, compression: Compression])[] = [
  [0x1, 'zlib'],
  [0x2, 'lzo'],
  [0x4, 'snappy'],
  [0x20, 'zstd'],
];
/** A status bit: the disk was full before the dump was complete. */
const INCOMPLETE = 0x8;

/**
 * Opens a kdump-compressed dump of x86-64, of makedumpfile or of QEMU's `dump-guest-memory -z`, `-l`, `-s` (makedumpfile,
 * `IMPLEMENTATION` and `diskdump_mod.h`). After the two headers follow the bitmap of the pages that the machine had, the bitmap of
 * the pages in the dump, a descriptor for each of these, and the pages, each compressed on its own.
 *
 * @throws DumpError
 */
export function openKdump(source: Source, codecs: Codecs): DumpContent {
  const headers = headersOf(source);
  const { facts, kernel } = notesOf(source, headers);
  const notices = new Notices();
  const pages = new KdumpPages(source, headers, { codecs, notices });
  const kinds = COMPRESSIONS.flatMap(([flag, name]) => ((headers.status & flag) === 0 ? [] : [name]));
  const kind = [
    `kdump-compressed${kinds.length === 0 ? '' : ` (${kinds.join(', ')})`}`,
    ...((headers.status & INCOMPLETE) === 0 ? [] : [' incomplete']),
    ...(headers.dumpLevel > EXCLUDES_ZEROS_ONLY ? [` dump level ${headers.dumpLevel}`] : []),
    ...(kernel?.release === undefined ? [] : [` Linux ${kernel.release}`]),
  ];
  return {
    kind: kind.join(','),
    source,
    cpus: facts.cpus,
    memory: { [Symbol.iterator]: () => pages.ranges() },
    notices,
    ...(kernel === undefined ? {} : { kernel }),
    readFrame: withoutDamage((frame, bytes) => pages.read(frame, bytes), notices),
    offsetOf: () => undefined,
  };
}

interface Headers {
  readonly status: number;
  readonly dumpLevel: number;
  /** The number of pages in the bitmaps. */
  readonly pages: number;
  /** The place of the first bitmap in the file, and of the second one, which may be the same. */
  readonly known: number;
  readonly dumped: number;
  readonly descriptors: number;
  readonly notes: { readonly offset: number; readonly size: number };
  readonly info: { readonly offset: number; readonly size: number };
}

function headersOf(source: Source): Headers {
  if (source.size < HEADER_SIZE) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `its header is truncated: the file has ${source.size} bytes`,
    });
  }
  const header = readFields(source, 0, HEADER_SIZE);
  requireMachine(source);
  const version = header.getInt32(8, true);
  const [status, blockSize, subBlocks, bitmapBlocks] = [424, 428, 432, 436].map((at) =>
    header.getUint32(at, true),
  ) as [number, number, number, number];
  if (blockSize !== PAGE_SIZE) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: `its blocks have ${blockSize} bytes; those of x86-64 have ${PAGE_SIZE}`,
    });
  }
  if (version < 1 || version > 6) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: `its header has version ${version}; versions 1 to 6 are supported`,
    });
  }
  const end = blockSize + SUB_HEADER_SIZE;
  if (subBlocks === 0 || end > source.size) {
    throw new DumpError('TRUNCATED_FILE', { reason: 'its second header is missing or truncated' });
  }
  const sub = readFields(source, blockSize, SUB_HEADER_SIZE);
  if (version >= 2 && sub.getInt32(12, true) !== 0) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason:
        'it is a part of a dump that makedumpfile --split has written: ' +
        'join all parts first: makedumpfile --reassemble PART... DUMP',
    });
  }
  const part = (since: number, at: number, name: string): { offset: number; size: number } =>
    version < since
      ? { offset: 0, size: 0 }
      : {
          offset: readSize(sub, at, () => `the place of ${name}`),
          size: readSize(sub, at + 8, () => `the size of ${name}`),
        };
  const pages = version < 6 ? header.getUint32(440, true) : readSize(sub, 96, 'the number of its pages');
  if (pages > MAX_PAGES) {
    throw new DumpError('OUTSIDE_LIMITS', {
      reason: `it has ${pages} pages; at most ${MAX_PAGES} are supported`,
    });
  }
  const bitmaps = (1 + subBlocks) * blockSize;
  const bitmapBytes = bitmapBlocks * blockSize;
  const needed = Math.ceil(pages / 8);
  if (bitmapBytes < needed) {
    throw new DumpError('INVALID_FILE', {
      reason: `its bitmaps have ${bitmapBytes} bytes, less than ${pages} pages need`,
    });
  }
  return {
    status,
    dumpLevel: sub.getInt32(8, true),
    pages,
    known: bitmaps,
    dumped: bitmapBytes >= 2 * needed ? bitmaps + bitmapBytes / 2 : bitmaps,
    descriptors: bitmaps + bitmapBytes,
    info: part(3, 32, 'its VMCOREINFO'),
    notes: part(4, 48, 'its notes'),
  };
}

/** A dump of another machine has another layout. The name may be missing. */
function requireMachine(source: Source): void {
  const bytes = readBytes(source, MACHINE_AT, MACHINE_SIZE);
  const end = bytes.indexOf(0);
  const name = String.fromCharCode(...bytes.subarray(0, end < 0 ? bytes.length : end));
  if (name === 'x86_64' || name === '') return;
  throw new DumpError('UNSUPPORTED_FORMAT', {
    reason: `it is a dump of the machine ${JSON.stringify(name)}, not of x86_64`,
  });
}

function notesOf(source: Source, { notes, info }: Headers) {
  const facts = new NoteFacts();
  const text = partOf(source, info, 'its VMCOREINFO');
  const segment = partOf(source, notes, 'its notes');
  if (segment !== undefined) facts.add(segment);
  return { facts, kernel: text === undefined ? facts.kernel : kernelFactsOf(text) };
}

function partOf(
  source: Source,
  { offset, size }: { offset: number; size: number },
  name: string,
): Uint8Array | undefined {
  if (offset === 0 || size === 0) return undefined;
  if (size > MAX_NOTE_BYTES) {
    throw new DumpError('OUTSIDE_LIMITS', {
      reason: `${name} have ${size} bytes; at most ${MAX_NOTE_BYTES} are supported`,
    });
  }
  if (offset + size > source.size) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `${name} end at byte ${offset + size}, beyond the end of the file at ${source.size}`,
    });
  }
  return readBytes(source, offset, size);
}

class KdumpPages {
  readonly #source: Source;
  readonly #codecs: Codecs;
  readonly #notices: Notices;
  readonly #known: PageBitmap;
  readonly #dumped: PageBitmap;
  readonly #descriptors: number;
  /** Whether a page that the machine had and that is not in the dump is zero. */
  readonly #othersAreZero: boolean;

  constructor(
    source: Source,
    { known, dumped, descriptors, pages, dumpLevel }: Headers,
    { codecs, notices }: { readonly codecs: Codecs; readonly notices: Notices },
  ) {
    this.#notices = notices;
    this.#source = source;
    this.#codecs = codecs;
    this.#known = new PageBitmap(source, known, pages);
    this.#dumped = known === dumped ? this.#known : new PageBitmap(source, dumped, pages);
    this.#descriptors = descriptors;
    this.#othersAreZero = dumpLevel === EXCLUDES_ZEROS_ONLY;
  }

  read(frame: number, bytes: Uint8Array): boolean {
    if (!this.#dumped.has(frame)) {
      if (!this.#othersAreZero || !this.#known.has(frame)) return false;
      bytes.fill(0);
      return true;
    }
    const at = this.#descriptors + this.#dumped.rank(frame) * DESCRIPTOR_SIZE;
    const what = (): string => `the page at 0x${(frame * PAGE_SIZE).toString(16)}`;
    const fields = readFields(this.#source, at, DESCRIPTOR_SIZE);
    const offset = readSize(fields, 0, () => `the place of ${what()}`);
    const size = fields.getUint32(8, true);
    const flags = fields.getUint32(12, true);
    const compression = COMPRESSIONS.find(([flag]) => (flags & flag) !== 0)?.[1];
    // A page that does not become smaller is not compressed.
    if (size > PAGE_SIZE || (compression === undefined && size !== PAGE_SIZE)) {
      throw new DumpError('INVALID_FILE', { reason: `${what()} has ${size} bytes in the file` });
    }
    const packed = readBytes(this.#source, offset, size);
    const page =
      compression === undefined
        ? packed
        : unpackBlock(packed, PAGE_SIZE, { compression, codecs: this.#codecs, what });
    bytes.set(page);
    return true;
  }

  /** The memory in the dump. A compressed page has no place in the file that could be told. */
  *ranges(): Generator<MemoryRange, undefined, undefined> {
    let count = 0;
    for (const [first, end] of this.#dumped.runs()) {
      count += 1;
      if (count > MAX_RANGES) {
        this.#notices.add('many-ranges', `only the first ${MAX_RANGES} ranges of its memory are listed`);
        return;
      }
      yield {
        start: physAddr(first * PAGE_SIZE),
        end: BigInt(end) * 4096n,
        offset: undefined,
        isZero: false,
      };
    }
  }
}
