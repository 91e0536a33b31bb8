import type { Dump } from './dump.ts';
import { openElfCore } from './elf-core.ts';
import { ELF_MAGIC } from './elf-headers.ts';
import { FOREIGN_SIZE, foreignOf, refusedByName } from './foreign.ts';
import { FRAMES_MAGIC, openFramesFile } from './frames-file.ts';
import { DumpError } from './problem.ts';
import { openRawImage } from './raw-image.ts';
import type { Segment } from './segments.ts';
import { asciiOf, readBytes, type Source } from './source.ts';
import { SparseSource } from './sparse-source.ts';
import type { TableShape } from './table-look.ts';

/** How to open a file. */
export interface OpenOptions {
  /** Open it as a raw image, whatever it begins with. */
  readonly raw: boolean;
  /** CR3 is known. Then a file of unknown format is a raw image. */
  readonly cr3Known: boolean;
  /** The memory ranges of a raw image. If there are none, the file is memory from address 0 on, maybe with a hole. */
  readonly ram: readonly Segment[];
  /** Readings of the page table to open, by which the hole of a raw image is found. */
  readonly shapes?: readonly TableShape[];
}

export const GZIP_MAGIC = '\x1f\x8b';

/**
 * Opens a dump whose bytes are at hand, if they are not compressed. `path` is its name, of which only the ending counts.
 *
 * @throws DumpError
 */
export function openSource(
  path: string,
  given: Source,
  { raw, cr3Known, ram, shapes = [] }: OpenOptions,
): Dump {
  const source = startOf(given).startsWith(SparseSource.MAGIC) ? new SparseSource(given) : given;
  if (source.size === 0) throw new DumpError('it is empty');
  if (raw) return openRawImage(source, ram, shapes);
  const start = startOf(source);
  if (start.startsWith(ELF_MAGIC)) return openElfCore(source);
  if (start.startsWith(FRAMES_MAGIC)) return openFramesFile(source);
  if (start.startsWith(GZIP_MAGIC))
    throw new DumpError('it is compressed with gzip twice: unpack it first: gzip -d');
  const foreign = foreignOf(start);
  if (foreign)
    throw new DumpError(`it looks like ${foreign.name}, which is not supported: ${foreign.advice}`);
  const reason = refusedByName(path);
  if (reason !== undefined) throw new DumpError(reason);
  if (cr3Known) return openRawImage(source, ram, shapes);
  throw new DumpError('its format is unknown; if it is a raw memory image, pass --cr3');
}

/** The first bytes of a source, one character a byte: enough to recognize its format. */
export function startOf(source: Source): string {
  return asciiOf(readBytes(source, 0, Math.min(FOREIGN_SIZE, source.size)));
}
