import type { Dump } from './dump.ts';
import { FileSource, isSeekable, openFile } from './file-source.ts';
import { GZIP_MAGIC, type OpenOptions, openSource, startOf } from './open-source.ts';
import { DumpError } from './problem.ts';
import type { Progress } from './progress.ts';
import type { Source } from './source.ts';
import { unpack } from './unpack.ts';

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
  return new FileSource(fd);
}
