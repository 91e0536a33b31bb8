import type { Dump } from './dump.ts';
import { ELF_MAGIC, openElfCore } from './elf-core.ts';
import { FRAMES_MAGIC, openFramesFile } from './frames-file.ts';
import { DumpError } from './problem.ts';
import type { Progress } from './progress.ts';
import { openRawImage } from './raw-image.ts';
import type { Segment } from './segments.ts';
import { FileSource, isSeekable, openFile, readBytes, type Source } from './source.ts';
import { SparseSource } from './sparse-source.ts';
import { unpack } from './unpack.ts';

/** What to make of a file. */
export interface OpenOptions {
  /** It is a raw image, whatever it begins with. */
  readonly raw: boolean;
  /** CR3 is known: what begins like no known format is a raw image, then. */
  readonly cr3Known: boolean;
  /** Where a raw image holds which memory; the whole of it from address 0 if there are none. */
  readonly ram: readonly Segment[];
}

const GZIP_MAGIC = '\x1f\x8b';
const MAGIC_SIZE = 8;

/** What others write, by how it begins. Naming it beats guessing that it is a raw image. */
const FOREIGN: readonly (readonly [magic: string, name: string])[] = [
  ['KDUMP   ', 'a kdump-compressed dump'],
  ['DISKDUMP', 'a diskdump'],
  ['PAGEDU', 'a crash dump of Windows'],
  ['EMiL', 'a LiME image'],
  ['QEVM', 'a saved state of QEMU'],
];

/**
 * Opens the dump at `path`: finds out its format, and reads its headers, but none of its memory.
 *
 * @throws DumpError
 */
export async function openDump(path: string, options: OpenOptions, progress: Progress): Promise<Dump> {
  try {
    return open(await sourceOf(path, progress), options);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    // Of the system and of zlib; anything else is a mistake of dump-walk itself.
    const isOfFile = error instanceof DumpError || typeof code === 'string';
    if (!isOfFile) throw error;
    throw new DumpError(`${path}: ${code === 'Z_BUF_ERROR' ? 'its gzip data is cut off' : message}`, {
      cause: error,
    });
  }
}

async function sourceOf(path: string, progress: Progress): Promise<Source> {
  let fd = openFile(path);
  if (!isSeekable(fd)) fd = await unpack(fd, false, progress);
  if (magicOf(new FileSource(fd)).startsWith(GZIP_MAGIC)) fd = await unpack(fd, true, progress);
  const source = new FileSource(fd);
  return magicOf(source) === SparseSource.MAGIC ? new SparseSource(source) : source;
}

function open(source: Source, { raw, cr3Known, ram }: OpenOptions): Dump {
  if (source.size === 0) throw new DumpError('it is empty');
  const magic = magicOf(source);
  if (raw) return openRawImage(source, ram);
  if (magic.startsWith(ELF_MAGIC)) return openElfCore(source);
  if (magic === FRAMES_MAGIC) return openFramesFile(source);
  const foreign = FOREIGN.find(([begins]) => magic.startsWith(begins));
  if (foreign) throw new DumpError(`it looks like ${foreign[1]}, which this does not read`);
  if (cr3Known) return openRawImage(source, ram);
  throw new DumpError(`it begins like no known dump; if it is a raw image of memory, pass --cr3`);
}

function magicOf(source: Source): string {
  return readBytes(source, 0, Math.min(MAGIC_SIZE, source.size)).toString('latin1');
}
