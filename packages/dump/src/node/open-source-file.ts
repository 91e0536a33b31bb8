import { GZIP_MAGIC, startOf } from '../formats/open-dump.ts';
import { DumpError, withFile } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import type { Source } from '../source/source.ts';
import { FileSource, isSeekable, openFile } from './file-source.ts';
import { unpack } from './unpack.ts';

/**
 * The bytes of the file at `path`. A pipe, or a file that is compressed with gzip, is unpacked to a temporary file without a name first.
 *
 * @throws DumpError `READ_FAILED` if the system, or gzip, cannot read the file
 */
export async function openSourceFile(path: string, onProgress?: OnProgress): Promise<Source> {
  try {
    let fd = openFile(path);
    if (!isSeekable(fd)) fd = await unpack(fd, false, onProgress);
    const source = new FileSource(fd);
    if (source.size > 0 && startOf(source).startsWith(GZIP_MAGIC))
      return new FileSource(await unpack(fd, true, onProgress));
    return source;
  } catch (error) {
    throw withFile(readFailure(error), path);
  }
}

/** Errors of the system and of zlib have a code. Any other error is a bug. */
export function readFailure(error: unknown): unknown {
  if (error instanceof DumpError || !(error instanceof Error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string') return error;
  const reason = code === 'Z_BUF_ERROR' ? 'its gzip data is truncated' : message;
  return new DumpError('READ_FAILED', { reason }, { cause: error });
}
