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

/** How to open a file. */
export interface OpenOptions {
  /** Open it as a raw image, whatever it begins with. */
  readonly raw: boolean;
  /** CR3 is known. Then a file of unknown format is a raw image. */
  readonly cr3Known: boolean;
  /** The memory ranges of a raw image. If there are none, the file is memory from address 0 on. */
  readonly ram: readonly Segment[];
}

const GZIP_MAGIC = '\x1f\x8b';
const MAGIC_SIZE = 8;

/** Formats that are not supported, by their first bytes. An error that names one is better than a guess. */
const FOREIGN: readonly (readonly [magic: string, name: string])[] = [
  ['KDUMP   ', 'a kdump-compressed dump'],
  ['DISKDUMP', 'a diskdump'],
  ['PAGEDU', 'a crash dump of Windows'],
  ['EMiL', 'a LiME image'],
  ['QEVM', 'a saved state of QEMU'],
];

/**
 * Opens the dump at `path`: recognizes its format and reads its headers, but not its memory.
 *
 * @throws DumpError
 */
export async function openDump(path: string, options: OpenOptions, progress: Progress): Promise<Dump> {
  try {
    return open(await sourceOf(path, progress), options);
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
  if (foreign) throw new DumpError(`it looks like ${foreign[1]}, which is not supported`);
  if (cr3Known) return openRawImage(source, ram);
  throw new DumpError('its format is unknown; if it is a raw memory image, pass --cr3');
}

function magicOf(source: Source): string {
  return readBytes(source, 0, Math.min(MAGIC_SIZE, source.size)).toString('latin1');
}
