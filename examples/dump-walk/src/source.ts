import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DumpError } from './problem.ts';

/** Bytes that can be read at any position: a file, or the content of a container. */
export interface Source {
  /** The number of bytes. */
  readonly size: number;
  /**
   * Fills `into` with the bytes from `position` on.
   *
   * @throws DumpError if the source ends before
   */
  read(position: number, into: Uint8Array): void;
  close(): void;
}

/** A file that is read by position. No bytes are cached. */
export class FileSource implements Source {
  readonly size: number;
  readonly #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
    this.size = fstatSync(fd).size;
  }

  read(position: number, into: Uint8Array): void {
    for (let done = 0; done < into.length; ) {
      const count = readSync(this.#fd, into, done, into.length - done, position + done);
      if (count === 0) {
        throw new DumpError(`it ends at byte ${position + done}, before byte ${position + into.length}`);
      }
      done += count;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Opens the file at `path` for reading. */
export function openFile(path: string): number {
  const fd = openSync(path, 'r');
  if (!fstatSync(fd).isDirectory()) return fd;
  closeSync(fd);
  throw new DumpError('it is a directory');
}

/** Whether `fd` can be read at any position: a file can, a pipe cannot. */
export function isSeekable(fd: number): boolean {
  return fstatSync(fd).isFile();
}

/** Reads `length` bytes from `position` on into a new buffer. */
export function readBytes(source: Source, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  source.read(position, bytes);
  return bytes;
}

/**
 * A 64-bit field with a size or a position, as a number. `what` is its name in the message.
 *
 * @throws DumpError above 2^53 - 1, where no file ends
 */
export function readSize(bytes: Buffer, offset: number, what: string): number {
  const value = bytes.readBigUInt64LE(offset);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new DumpError(`${what} is 0x${value.toString(16)}, which is too large`);
  return Number(value);
}
