import { DumpError } from './problem.ts';
import { readBytes, readSize, type Source } from './source.ts';

const HEADER = 20;
const PIECE_HEADER = 12;
const MAX_PIECES = 2 ** 24;

/**
 * A sparse file: `"SPARSE01"`, its u64 size, the u32 number of pieces, and for each piece its u64 place, its u32 length and its
 * bytes. All other bytes read as zero.
 */
export class SparseSource implements Source {
  static readonly MAGIC = 'SPARSE01';
  readonly size: number;
  readonly #packed: Source;
  /** The start and the end of each piece in the file, and its place in the container. Ascending. */
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #places: Float64Array;

  /** @throws DumpError */
  constructor(packed: Source) {
    const header = readBytes(packed, 0, HEADER);
    this.#packed = packed;
    this.size = readSize(header, 8, 'the size of the sparse file');
    const count = header.readUInt32LE(16);
    if (count > MAX_PIECES || count * PIECE_HEADER > packed.size - HEADER) {
      throw new DumpError(
        `it announces ${count} pieces: more than ${MAX_PIECES}, or than its ${packed.size} bytes can have`,
      );
    }
    const pieces = readPieces(packed, count, this.size).sort((a, b) => a.start - b.start);
    pieces.forEach((piece, i) => {
      const before = pieces[i - 1];
      if (before !== undefined && before.end > piece.start) {
        throw new DumpError(`two of its pieces have byte ${piece.start} of the sparse file`);
      }
    });
    this.#starts = Float64Array.from(pieces, ({ start }) => start);
    this.#ends = Float64Array.from(pieces, ({ end }) => end);
    this.#places = Float64Array.from(pieces, ({ place }) => place);
  }

  read(position: number, into: Uint8Array): void {
    const end = position + into.length;
    if (end > this.size) throw new DumpError(`it ends at byte ${this.size}, before byte ${end}`);
    into.fill(0);
    for (let i = this.#pieceBefore(position); i < this.#starts.length; i += 1) {
      const from = Math.max(position, this.#starts[i]!);
      const to = Math.min(end, this.#ends[i]!);
      if (this.#starts[i]! >= end) return;
      if (from >= to) continue;
      const place = this.#places[i]! + (from - this.#starts[i]!);
      this.#packed.read(place, into.subarray(from - position, to - position));
    }
  }

  close(): void {
    this.#packed.close();
  }

  /** The index of the last piece that begins at or before `position`, or of the first piece. */
  #pieceBefore(position: number): number {
    let low = 0;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= position) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

function readPieces(
  packed: Source,
  count: number,
  size: number,
): { start: number; end: number; place: number }[] {
  const pieces = [];
  let at = HEADER;
  for (let i = 0; i < count; i += 1) {
    if (at + PIECE_HEADER > packed.size) throw truncated(i, count);
    const header = readBytes(packed, at, PIECE_HEADER);
    const start = readSize(header, 0, `the place of piece ${i}`);
    const end = start + header.readUInt32LE(8);
    const place = at + PIECE_HEADER;
    at = place + (end - start);
    if (at > packed.size) throw truncated(i, count);
    if (end > size)
      throw new DumpError(`piece ${i} ends at ${end}, beyond the ${size} bytes of the sparse file`);
    pieces.push({ start, end, place });
  }
  if (at !== packed.size) throw new DumpError(`${packed.size - at} bytes follow its last piece`);
  return pieces;
}

function truncated(piece: number, count: number): DumpError {
  return new DumpError(`it is truncated in piece ${piece} of ${count}`);
}
