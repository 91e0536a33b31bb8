import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DumpError } from '../source/dump-error.ts';
import { requireRead, type Source } from '../source/source.ts';

/** A file that is read by position. No bytes are cached. */
export class FileSource implements Source {
  readonly size: number;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
    this.size = fstatSync(fd).size;
  }

  read(position: number, into: Uint8Array): void {
    requireRead(position, into);
    for (let done = 0; done < into.length; ) {
      const count = this.#readSome(position + done, into.subarray(done));
      if (count === 0) {
        throw new DumpError('TRUNCATED_FILE', {
          reason: `it ends at byte ${position + done}, before byte ${position + into.length}`,
        });
      }
      done += count;
    }
  }

  #readSome(position: number, into: Uint8Array): number {
    try {
      return readSync(this.#fd, into, 0, into.length, position);
    } catch (error) {
      // A disk that fails, a network that is gone.
      throw new DumpError('READ_FAILED', { reason: (error as Error).message }, { cause: error });
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Opens the file at `path` for reading. */
export function openFile(path: string): number {
  const fd = openSync(path, 'r');
  const stats = fstatSync(fd);
  if (!stats.isDirectory() && !stats.isCharacterDevice()) return fd;
  closeSync(fd);
  // A character device such as /dev/zero may have no end.
  const reason = stats.isDirectory()
    ? 'it is a directory'
    : 'it is a character device: copy its bytes into a file first, or pass them through a pipe';
  throw new DumpError('READ_FAILED', { reason });
}

/** Whether `fd` can be read at any position: a file can, a pipe cannot. */
export function isSeekable(fd: number): boolean {
  return fstatSync(fd).isFile();
}
