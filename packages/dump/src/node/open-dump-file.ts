import type { Dump } from '../formats/dump.ts';
import { GZIP_MAGIC, type OpenDumpOptions, openDump, startOf } from '../formats/open-dump.ts';
import { DumpError, withFile } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import type { Source } from '../source/source.ts';
import { FileSource, isSeekable, openFile } from './file-source.ts';
import { NODE_CODECS } from './node-codecs.ts';
import { unpack } from './unpack.ts';

/** How to open a file with a dump. */
export interface OpenDumpFileOptions extends OpenDumpOptions {
  /** Reports how much has been unpacked. */
  readonly onProgress?: OnProgress | undefined;
}

/**
 * Opens the dump at `path`: recognizes its format and reads its headers, but not its memory. A pipe, or a file that is compressed
 * with gzip, is unpacked to a temporary file without a name first, which takes at most three quarters of the free space. Call
 * `source.close()` of the dump when it is no longer needed. O(n log n) for n segments.
 *
 * @throws DumpError `READ_FAILED` if the system, or gzip, cannot read the file; else as `openDump`
 *
 * @example
 * ```ts no-run
 * import { listRuns, openView } from '@svsm/dump';
 * import { openDumpFile } from '@svsm/dump/node';
 *
 * const dump = await openDumpFile('guest.core');
 * for (const record of listRuns(openView(dump))) if (record.type === 'run') console.log(record.start, record.size);
 * dump.source.close();
 * ```
 */
export async function openDumpFile(path: string, options: OpenDumpFileOptions = {}): Promise<Dump> {
  const { name = path } = options;
  try {
    const source = await sourceOf(path, options.onProgress);
    try {
      return openDump(source, { codecs: NODE_CODECS, ...options, name });
    } catch (error) {
      source.close();
      throw error;
    }
  } catch (error) {
    throw withFile(readFailure(error), name);
  }
}

/** Errors of the system and of zlib have a code. Any other error is a bug. */
function readFailure(error: unknown): unknown {
  if (error instanceof DumpError || !(error instanceof Error)) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  if (typeof code !== 'string') return error;
  const reason = code === 'Z_BUF_ERROR' ? 'its gzip data is truncated' : message;
  return new DumpError('READ_FAILED', { reason }, { cause: error });
}

async function sourceOf(path: string, onProgress: OnProgress | undefined): Promise<Source> {
  let fd = openFile(path);
  if (!isSeekable(fd)) fd = await unpack(fd, false, onProgress);
  if (startOf(new FileSource(fd)).startsWith(GZIP_MAGIC)) fd = await unpack(fd, true, onProgress);
  return new FileSource(fd);
}
