import { requireInteger, requireMethods } from './arguments.ts';
import { DumpError } from './dump-error.ts';
import { requireRead, type Source } from './source.ts';

/** The parts of a `Blob` (or a `File`) that are used here. */
export interface BlobLike {
  readonly size: number;
  /** The bytes from `start` up to but not including `end`. */
  slice(start: number, end: number): BlobLike;
  /** All bytes. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** The parts of a `FileReaderSync` that are used here. */
export interface BlobReader {
  /** All bytes, which are read before it returns. */
  readAsArrayBuffer(blob: BlobLike): ArrayBuffer;
}

const PAGE = 4096;
/** Blobs are read in blocks of 64 KiB: a call to the browser costs more than the bytes. */
const BLOCK = 16 * PAGE;
const MAX_BLOCKS = 512;

/**
 * A source of the bytes of a `Blob` or `File`, which are read when they are needed, in blocks of 64 KiB. At most 32 MiB of them are
 * kept. A walk reads synchronously, which only the `FileReaderSync` of a worker can do. On the main thread, read a small blob as a
 * whole: `bytesSource(new Uint8Array(await blob.arrayBuffer()))`. O(1).
 *
 * @param reader - `new FileReaderSync()`
 * @throws DumpError `INVALID_ARGUMENT` if `blob` or `reader` does not have the methods that are needed
 */
export function blobSource(blob: BlobLike, reader: BlobReader): Source {
  requireMethods('blob', blob, ['slice', 'arrayBuffer'], 'pass a Blob or a File');
  requireInteger('the size of blob', blob.size, 0, Number.MAX_SAFE_INTEGER);
  const expected = 'pass a FileReaderSync, which exists in a worker';
  requireMethods('reader', reader, ['readAsArrayBuffer'], expected);
  return new BlobSource(blob, reader);
}

class BlobSource implements Source {
  readonly size: number;
  readonly #blob: BlobLike;
  readonly #reader: BlobReader;
  /** The blocks that were used last, in the order of their last use. */
  readonly #blocks: Map<number, Uint8Array> = new Map();

  constructor(blob: BlobLike, reader: BlobReader) {
    this.#blob = blob;
    this.#reader = reader;
    this.size = blob.size;
  }

  read(position: number, into: Uint8Array): void {
    requireRead(position, into);
    const end = position + into.length;
    if (end > this.size) {
      throw new DumpError('TRUNCATED_FILE', { reason: `it ends at byte ${this.size}, before byte ${end}` });
    }
    for (let at = position; at < end; ) {
      const index = Math.floor(at / BLOCK);
      const offset = at - index * BLOCK;
      const part = this.#block(index).subarray(offset, offset + end - at);
      into.set(part, at - position);
      at += part.length;
    }
  }

  close(): void {
    this.#blocks.clear();
  }

  #block(index: number): Uint8Array {
    const known = this.#blocks.get(index);
    if (known !== undefined) {
      this.#blocks.delete(index);
      this.#blocks.set(index, known);
      return known;
    }
    const start = index * BLOCK;
    const length = Math.min(BLOCK, this.size - start);
    const bytes = this.#readBlock(start, start + length);
    // A file that became shorter since it was chosen.
    if (bytes.length !== length) {
      throw new DumpError('TRUNCATED_FILE', { reason: `it ends before byte ${start + length}` });
    }
    const [oldest] = this.#blocks.keys();
    if (this.#blocks.size >= MAX_BLOCKS && oldest !== undefined) this.#blocks.delete(oldest);
    this.#blocks.set(index, bytes);
    return bytes;
  }

  #readBlock(start: number, end: number): Uint8Array {
    try {
      return new Uint8Array(this.#reader.readAsArrayBuffer(this.#blob.slice(start, end)));
    } catch (error) {
      throw new DumpError('READ_FAILED', { reason: String(error) }, { cause: error });
    }
  }
}
