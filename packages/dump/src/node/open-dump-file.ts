import type { Dump } from '../formats/dump.ts';
import { OPEN_OPTIONS, type OpenDumpOptions, openDump, requireOpenOptions } from '../formats/open-dump.ts';
import { refuseArgument, requireOptional, requireOptions } from '../source/arguments.ts';
import { withFile } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import { NODE_CODECS } from './node-codecs.ts';
import { openSourceFile, readFailure } from './open-source-file.ts';

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
 * @throws DumpError `READ_FAILED` if the system, or gzip, cannot read the file; else as {@link openDump}
 * @throws PageTableError as `openDump`
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
  if (typeof path !== 'string') refuseArgument('path', path, 'pass the path of a file');
  requireOptions('options', options, [...OPEN_OPTIONS, 'onProgress']);
  const { onProgress, ...others } = options;
  requireOptional('onProgress', onProgress, 'function');
  requireOpenOptions(others);
  const { name = path } = others;
  try {
    const source = await openSourceFile(path, onProgress);
    try {
      return openDump(source, { codecs: NODE_CODECS, ...others, name });
    } catch (error) {
      source.close();
      throw error;
    }
  } catch (error) {
    throw withFile(readFailure(error), name);
  }
}
