import { DumpError } from '../source/dump-error.ts';
import { Runs } from '../source/runs.ts';
import { readBytes, type Source } from '../source/source.ts';
import { Window } from '../source/window.ts';
import { unpackBlock } from './codecs.ts';
import { sizeOfSnappy } from './snappy.ts';

const HEADER = 4;
const CHECKSUM = 4;
const COMPRESSED = 0x00;
const PLAIN = 0x01;
/** Chunks of these types, and above, may be skipped. */
const SKIPPABLE = 0x80;
const MAX_CHUNK = 0x1_0000;
/** 128 GiB in chunks of 64 KiB. */
const MAX_CHUNKS = 2 ** 21;
const MAX_CACHED = 64;

/**
 * The content of streams in Snappy's frame format (google/snappy, `framing_format.txt`), one after another: chunks of up to 64 KiB.
 * Their checksums are not checked. It keeps the places of the chunks, and the content of 64 of them.
 */
export class SnappyFrames implements Source {
  readonly #packed: Source;
  /** The chunks by their place in the content. Delta is from there to the data in the file. */
  readonly #chunks: Runs = new Runs();
  /** The number of bytes of each chunk in the file; 0 if it is not compressed. */
  readonly #sizes: number[] = [];
  readonly #cached: Map<number, Uint8Array> = new Map();
  readonly #window: Window;
  #size = 0;
  #skipped = 0;

  constructor(packed: Source) {
    this.#packed = packed;
    this.#window = new Window(packed);
  }

  get size(): number {
    return this.#size;
  }

  /**
   * Adds the stream at `start` of the file, of which the content has `length` bytes. Returns the place after it.
   *
   * @throws DumpError
   */
  addStream(start: number, length: number): number {
    const end = this.#size + length;
    let at = start;
    while (this.#size < end) {
      if (at + HEADER > this.#packed.size) throw truncated(at);
      const { fields, offset } = this.#window.at(at, HEADER);
      const header = fields.getUint32(offset, true);
      const [type, size] = [header & 0xff, header >>> 8];
      at += HEADER;
      if (at + size > this.#packed.size) throw truncated(at);
      if (type === COMPRESSED || type === PLAIN) this.#add(at + CHECKSUM, size - CHECKSUM, type);
      else if (type < SKIPPABLE) {
        throw new DumpError('INVALID_FILE', { reason: `its snappy chunk at byte ${at} has type ${type}` });
      } else this.#skip();
      at += size;
    }
    if (this.#size > end) {
      throw new DumpError('INVALID_FILE', {
        reason: `its snappy data before byte ${at} is longer than announced`,
      });
    }
    return at;
  }

  read(position: number, into: Uint8Array): void {
    const end = position + into.length;
    if (end > this.#size) {
      throw new DumpError('TRUNCATED_FILE', { reason: `it ends at byte ${this.#size}, before byte ${end}` });
    }
    for (let at = position; at < end; ) {
      const index = this.#chunks.indexAt(at);
      const offset = at - this.#chunks.start(index);
      const part = this.#content(index).subarray(offset, offset + end - at);
      into.set(part, at - position);
      at += part.length;
    }
  }

  close(): void {
    this.#packed.close();
  }

  /** Chunks without content count too: a hostile file can have nothing else. */
  #skip(): void {
    this.#skipped += 1;
    if (this.#skipped > MAX_CHUNKS) throw tooMany();
  }

  #add(place: number, size: number, type: number): void {
    const unpacked = type === PLAIN ? size : this.#unpackedSize(place, size);
    if (size <= 0 || unpacked === undefined || unpacked > MAX_CHUNK || unpacked === 0) {
      throw new DumpError('INVALID_FILE', { reason: `its snappy chunk at byte ${place} has no sound size` });
    }
    if (this.#chunks.length === MAX_CHUNKS) throw tooMany();
    this.#chunks.add(this.#size, this.#size + unpacked, place - this.#size);
    this.#sizes.push(type === PLAIN ? 0 : size);
    this.#size += unpacked;
  }

  #unpackedSize(place: number, size: number): number | undefined {
    const length = Math.min(5, size);
    if (length <= 0) return undefined;
    const { fields, offset } = this.#window.at(place, length);
    return sizeOfSnappy(new Uint8Array(fields.buffer, fields.byteOffset + offset, length))?.size;
  }

  #content(index: number): Uint8Array {
    const known = this.#cached.get(index);
    if (known !== undefined) return known;
    const [start, end, size] = [this.#chunks.start(index), this.#chunks.end(index), this.#sizes[index]!];
    const place = start + this.#chunks.delta(index);
    const bytes = readBytes(this.#packed, place, size === 0 ? end - start : size);
    const what = (): string => `the chunk at byte ${place}`;
    const content =
      size === 0 ? bytes : unpackBlock(bytes, end - start, { compression: 'snappy', codecs: {}, what });
    if (this.#cached.size >= MAX_CACHED) this.#cached.clear();
    this.#cached.set(index, content);
    return content;
  }
}

function tooMany(): DumpError {
  return new DumpError('OUTSIDE_LIMITS', { reason: `it has more than ${MAX_CHUNKS} snappy chunks` });
}

function truncated(at: number): DumpError {
  return new DumpError('TRUNCATED_FILE', { reason: `its snappy data is truncated at byte ${at}` });
}
