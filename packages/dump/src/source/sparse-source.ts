import { DumpError } from './dump-error.ts';
import { Runs } from './runs.ts';
import { readFields, readSize, type Source } from './source.ts';
import { Window } from './window.ts';

const HEADER = 20;
const PIECE_HEADER = 12;
/** Far more than needed: page tables of 1 GiB, each page on its own, are 2^18 pieces. */
const MAX_PIECES = 2 ** 20;

/**
 * A sparse file: `"SPARSE01"`, its u64 size, the u32 number of pieces, and for each piece its u64 place, its u32 length and its
 * bytes. All other bytes read as zero.
 */
export class SparseSource implements Source {
  static readonly MAGIC = 'SPARSE01';
  readonly size: number;
  readonly #packed: Source;
  /** The pieces, sorted, each with its place in the container minus its place in the file. */
  readonly #pieces: Runs;

  /** @throws DumpError */
  constructor(packed: Source) {
    const header = readFields(packed, 0, Math.min(HEADER, packed.size));
    if (header.byteLength < HEADER) {
      throw new DumpError('TRUNCATED_FILE', {
        reason: `it ends at byte ${packed.size}, within the header of a sparse file`,
      });
    }
    this.#packed = packed;
    this.size = readSize(header, 8, 'the size of the sparse file');
    const count = header.getUint32(16, true);
    if (count > MAX_PIECES || count * PIECE_HEADER > packed.size - HEADER) {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `it announces ${count} pieces: more than ${MAX_PIECES}, or than its ${packed.size} bytes can have`,
      });
    }
    const pieces = readPieces(packed, count, this.size);
    const [sorted = new Runs()] = pieces.layers(1, (place) => {
      throw new DumpError('INVALID_FILE', {
        reason: `two of its pieces have byte ${place} of the sparse file`,
      });
    });
    this.#pieces = sorted;
  }

  read(position: number, into: Uint8Array): void {
    const end = position + into.length;
    if (end > this.size)
      throw new DumpError('TRUNCATED_FILE', { reason: `it ends at byte ${this.size}, before byte ${end}` });
    into.fill(0);
    for (const { from, to, delta } of this.#pieces.within(position, end)) {
      this.#packed.read(from + delta, into.subarray(from - position, to - position));
    }
  }

  dataFrom(position: number): number {
    return this.#pieces.firstFrom(position) ?? this.size;
  }

  close(): void {
    this.#packed.close();
  }
}

function readPieces(packed: Source, count: number, size: number): Runs {
  const pieces = new Runs();
  const window = new Window(packed);
  let at = HEADER;
  for (let i = 0; i < count; i += 1) {
    if (at + PIECE_HEADER > packed.size) throw truncated(i, count);
    const { fields, offset } = window.at(at, PIECE_HEADER);
    const start = readSize(fields, offset, () => `the place of piece ${i}`);
    const end = start + fields.getUint32(offset + 8, true);
    const place = at + PIECE_HEADER;
    at = place + (end - start);
    if (at > packed.size) throw truncated(i, count);
    if (end > size) {
      throw new DumpError('INVALID_FILE', {
        reason: `piece ${i} ends at ${end}, beyond the ${size} bytes of the sparse file`,
      });
    }
    pieces.add(start, end, place - start);
  }
  if (at !== packed.size)
    throw new DumpError('INVALID_FILE', { reason: `${packed.size - at} bytes follow its last piece` });
  return pieces;
}

function truncated(piece: number, count: number): DumpError {
  return new DumpError('TRUNCATED_FILE', { reason: `it is truncated in piece ${piece} of ${count}` });
}
