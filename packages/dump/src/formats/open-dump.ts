import { type MemoryEncryption, pagingConfig } from '@svsm/pagetable';
import {
  itemsOf,
  readArgument,
  requireBits,
  requireChoice,
  requireInteger,
  requireOptional,
  requireOptions,
} from '../source/arguments.ts';
import { DumpError, inFile, withFile } from '../source/dump-error.ts';
import { FlattenedSource, isFlattened } from '../source/flattened-source.ts';
import { asciiOf, readBytes, requireSource, type Source } from '../source/source.ts';
import { SparseSource } from '../source/sparse-source.ts';
import type { Codecs } from './codecs.ts';
import type { Dump, DumpContent } from './dump.ts';
import { openElfCore } from './elf-core.ts';
import { ELF_MAGIC } from './elf-headers.ts';
import { FOREIGN_SIZE, foreignOf, refusedByName } from './foreign.ts';
import { FRAMES_MAGIC, openFramesFile } from './frames-file.ts';
import { KDUMP_MAGIC, openKdump } from './kdump.ts';
import { AVML_MAGIC, LIME_MAGIC, openLime } from './lime.ts';
import { openRawImage } from './raw-image.ts';
import { requireFrame, requirePaddr } from './require-dump.ts';
import { shapesOf } from './table-look.ts';

/** A range of physical memory in a raw image. */
export interface RamRange {
  /** The physical address of its first byte. */
  readonly paddr: number;
  /** Bytes. */
  readonly size: number;
  /** The place of its first byte in the file. */
  readonly offset: number;
}

/** How to open a dump. */
export interface OpenDumpOptions {
  /** The name of the file. Messages begin with it, and the endings of VMware's files count. Default: `'dump'`. */
  readonly name?: string | undefined;
  /** Open it as a raw image, whatever it begins with. Default: `true` if `ram` has ranges. */
  readonly raw?: boolean | undefined;
  /** The memory of a raw image. Default: memory from address 0 on, with the hole below 4 GiB that fits the tables. */
  readonly ram?: readonly RamRange[] | undefined;
  /** CR3 of the page table that is to be opened. A file of unknown format is a raw image only if this is given. */
  readonly cr3?: bigint | undefined;
  /** A file of unknown format is a raw image, even if `cr3` is not given. */
  readonly isRawIfUnknown?: boolean | undefined;
  /** The levels of that page table. Default: both are tried. */
  readonly levels?: 4 | 5 | undefined;
  /** Decoders for compressed pages, which `@svsm/dump/node` passes. */
  readonly codecs?: Codecs | undefined;
  /** The memory encryption of that page table. */
  readonly encryption?: MemoryEncryption | undefined;
}

export const GZIP_MAGIC = '\x1f\x8b';

/**
 * Opens a dump: recognizes its format by its first bytes and reads its headers, but not its memory. O(n log n) for n segments.
 *
 * @throws DumpError `INVALID_ARGUMENT`, `INVALID_FILE`, `TRUNCATED_FILE`, `UNSUPPORTED_FORMAT`, `UNKNOWN_FORMAT`, `OUTSIDE_LIMITS`,
 *   `READ_FAILED`
 * @throws PageTableError `INVALID_CONFIG` for a memory encryption that does not exist
 */
export function openDump(source: Source, options: OpenDumpOptions = {}): Dump {
  requireSource('source', source);
  requireOpenOptions(options);
  const { name = 'dump' } = options;
  return inFile(name, () => checked({ name, ...contentOf(name, source, options) }));
}

/** A dump whose functions check their arguments, and name it in their errors: its file may become shorter while it is read. */
function checked(dump: Dump): Dump {
  return {
    ...dump,
    readFrame(frame, bytes) {
      requireFrame(frame, bytes);
      try {
        return dump.readFrame(frame, bytes);
      } catch (error) {
        throw withFile(error, dump.name);
      }
    },
    offsetOf(paddr) {
      requirePaddr(paddr);
      return dump.offsetOf(paddr);
    },
  };
}

/** The names of the options. */
export const OPEN_OPTIONS = [
  'name',
  'raw',
  'ram',
  'cr3',
  'isRawIfUnknown',
  'levels',
  'codecs',
  'encryption',
] as const;
const RAM = 'pass an array of RamRange objects';
const MAX_ADDRESS = 2 ** 52;

/** @throws DumpError `INVALID_ARGUMENT`; PageTableError `INVALID_CONFIG` */
export function requireOpenOptions(options: OpenDumpOptions): void {
  requireOptions('options', options, OPEN_OPTIONS);
  const { name, raw, ram, cr3, isRawIfUnknown, levels, codecs, encryption } = options;
  requireOptional('name', name, 'string');
  requireOptional('raw', raw, 'boolean');
  requireOptional('isRawIfUnknown', isRawIfUnknown, 'boolean');
  requireChoice('levels', levels, [4, 5]);
  if (cr3 !== undefined) requireBits('cr3', cr3, 64);
  for (const range of ram === undefined ? [] : itemsOf('ram', ram, RAM)) {
    for (const field of ['paddr', 'size', 'offset'] as const) {
      const value = readArgument('a range of ram', range, RAM, () => (range as RamRange)[field]);
      requireInteger(`${field} of a range of ram`, value, 0, MAX_ADDRESS);
    }
  }
  if (codecs !== undefined) {
    requireOptions('codecs', codecs, ['zlib', 'zstd']);
    requireOptional('codecs.zlib', codecs.zlib, 'function');
    requireOptional('codecs.zstd', codecs.zstd, 'function');
  }
  if (encryption !== undefined) pagingConfig({ encryption });
}

function contentOf(name: string, given: Source, options: OpenDumpOptions): DumpContent {
  const { cr3, levels, encryption } = options;
  const sparse = startOf(given).startsWith(SparseSource.MAGIC) ? new SparseSource(given) : given;
  const source = isFlattened(sparse) ? new FlattenedSource(sparse) : sparse;
  if (source.size === 0) throw new DumpError('TRUNCATED_FILE', { reason: 'it is empty' });
  const ram = (options.ram ?? []).map((range) => ({ ...range, name: nameOf(range) }));
  const shapes = cr3 === undefined ? [] : shapesOf(cr3, levels, encryption);
  if (options.raw ?? ram.length > 0) return openRawImage(source, ram, shapes);
  const start = startOf(source);
  if (start.startsWith(ELF_MAGIC)) return openElfCore(source);
  if (start.startsWith(KDUMP_MAGIC)) return openKdump(source, options.codecs ?? {});
  if (start.startsWith(LIME_MAGIC) || start.startsWith(AVML_MAGIC)) return openLime(source);
  if (start.startsWith(FRAMES_MAGIC)) return openFramesFile(source);
  requireKnown(name, start);
  if (cr3 !== undefined || options.isRawIfUnknown === true) return openRawImage(source, ram, shapes);
  throw new DumpError('UNKNOWN_FORMAT', {});
}

/** @throws DumpError `UNSUPPORTED_FORMAT` for a format that is recognized, but not supported */
function requireKnown(name: string, start: string): void {
  const refuse = (reason: string): never => {
    throw new DumpError('UNSUPPORTED_FORMAT', { reason });
  };
  if (start.startsWith(GZIP_MAGIC)) refuse('it is compressed with gzip: unpack it first: gzip -d');
  const foreign = foreignOf(start);
  if (foreign) refuse(`it looks like ${foreign.name}, which is not supported: ${foreign.advice}`);
  const reason = refusedByName(name);
  if (reason !== undefined) refuse(reason);
}

/** The range as an option of the command. */
function nameOf({ paddr, size, offset }: RamRange): string {
  const [start, end, at] = [paddr, paddr + size, offset].map((value) => value.toString(16));
  return `--ram ${start}-${end}@${at}`;
}

/** The first bytes of a source, one character a byte: enough to recognize its format. */
export function startOf(source: Source): string {
  return asciiOf(readBytes(source, 0, Math.min(FOREIGN_SIZE, source.size)));
}
