import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { DumpError } from './problem.ts';

/** Bytes that are read where they lie: a file, or what a container holds. */
export interface Source {
  /** How many there are. */
  readonly size: number;
  /**
   * Fills `into` with the bytes from `position` on.
   *
   * @throws DumpError if they are not all there
   */
  read(position: number, into: Uint8Array): void;
  close(): void;
}

/** A file, by positioned reads: none of it is kept. */
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
        throw new DumpError(`it ends at byte ${position + done}, before ${position + into.length}`);
      }
      done += count;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Opens the file at `path` to read. */
export function openFile(path: string): number {
  const fd = openSync(path, 'r');
  if (!fstatSync(fd).isDirectory()) return fd;
  closeSync(fd);
  throw new DumpError('it is a folder');
}

/** Whether it can be read at any position, as a file can and a pipe cannot. */
export function isSeekable(fd: number): boolean {
  return fstatSync(fd).isFile();
}

/** The `length` bytes from `position` on, in a buffer of their own. */
export function readBytes(source: Source, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  source.read(position, bytes);
  return bytes;
}

/**
 * A 64-bit field that counts or places bytes, as a number.
 *
 * @throws DumpError past 2^53 - 1, where no file reaches
 */
export function readSize(bytes: Buffer, offset: number, what: string): number {
  const value = bytes.readBigUInt64LE(offset);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new DumpError(`${what} cannot be 0x${value.toString(16)}`);
  return Number(value);
}
