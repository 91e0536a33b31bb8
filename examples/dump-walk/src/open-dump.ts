import type { Dump } from './dump.ts';
import { openElfCore } from './elf-core.ts';
import { ELF_MAGIC } from './elf-headers.ts';
import { FileSource, isSeekable, openFile } from './file-source.ts';
import { FOREIGN_SIZE, foreignOf, refusedByName } from './foreign.ts';
import { FRAMES_MAGIC, openFramesFile } from './frames-file.ts';
import { DumpError } from './problem.ts';
import type { Progress } from './progress.ts';
import { openRawImage } from './raw-image.ts';
import type { Segment } from './segments.ts';
import { asciiOf, readBytes, type Source } from './source.ts';
import { SparseSource } from './sparse-source.ts';
import type { TableShape } from './table-look.ts';
import { unpack } from './unpack.ts';

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

const GZIP_MAGIC = '\x1f\x8b';
/**
 * Opens the dump at `path`: recognizes its format and reads its headers, but not its memory.
 *
 * @throws DumpError
 */
export async function openDump(path: string, options: OpenOptions, progress: Progress): Promise<Dump> {
  try {
    const source = await sourceOf(path, progress);
    try {
      return openSource(path, source, options);
    } catch (error) {
      source.close();
      throw error;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Errors of the system and of zlib have a code. Any other error is a bug in dump-walk.
    const isOfFile = error instanceof DumpError || typeof code === 'string';
    if (!isOfFile) throw error;
    throw new DumpError(`${path}: ${code === 'Z_BUF_ERROR' ? 'its gzip data is truncated' : message}`, {
      cause: error,
    });
  }
}

async function sourceOf(path: string, progress: Progress): Promise<Source> {
  let fd = openFile(path);
  if (!isSeekable(fd)) fd = await unpack(fd, false, progress);
  if (startOf(new FileSource(fd)).startsWith(GZIP_MAGIC)) fd = await unpack(fd, true, progress);
  const source = new FileSource(fd);
  return startOf(source).startsWith(SparseSource.MAGIC) ? new SparseSource(source) : source;
}

/**
 * Opens a dump whose bytes are at hand. `path` is its name, of which only the ending counts.
 *
 * @throws DumpError
 */
export function openSource(
  path: string,
  source: Source,
  { raw, cr3Known, ram, shapes = [] }: OpenOptions,
): Dump {
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

function startOf(source: Source): string {
  return asciiOf(readBytes(source, 0, Math.min(FOREIGN_SIZE, source.size)));
}
