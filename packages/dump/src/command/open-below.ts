import { openNested } from '../backing/nested-dump.ts';
import { openRmp, openSavedRmp, type RmpTable } from '../backing/rmp-table.ts';
import type { Dump } from '../formats/dump.ts';
import { openDumpFile } from '../node/open-dump-file.ts';
import { openSourceFile } from '../node/open-source-file.ts';
import { inFile } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import type { Options } from './options.ts';

/** Files that have something that belongs to a dump, and what is in them. */
export interface Beside {
  /** The RMP, if it is not in the dump itself. */
  readonly rmp: RmpTable | undefined;
  close(): void;
}

/** Opens the file that has the RMP, if there is one. @throws DumpError */
export async function openBeside({ below }: Options, onProgress: OnProgress): Promise<Beside> {
  const { file, place } = below;
  if (file === undefined) return { rmp: undefined, close() {} };
  if (place === undefined) {
    const source = await openSourceFile(file, onProgress);
    return { rmp: inFile(file, () => openSavedRmp(source)), close: () => source.close() };
  }
  const dump = await openDumpFile(file, { onProgress, isRawIfUnknown: true });
  const { source } = dump;
  // A raw image that ends before the table is not the memory of a machine: it has the bytes of the table.
  const isTable = dump.isRaw === true && BigInt(source.size) <= place.base;
  const rmp = isTable ? inFile(file, () => openSavedRmp(source, place)) : rmpIn(dump, place);
  return { rmp, close: () => source.close() };
}

/** The RMP in the memory of a dump. @throws DumpError */
export function rmpIn(dump: Dump, place: NonNullable<Options['below']['place']>): RmpTable {
  return inFile(dump.name, () => openRmp((frame, bytes) => dump.readFrame(frame, bytes), place));
}

/** The dump, or the guest in it. @throws DumpError */
export function withNested(dump: Dump, { below }: Options): Dump {
  return below.nested === undefined ? dump : openNested(dump, below.nested);
}
