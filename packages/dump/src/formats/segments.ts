import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { DumpError } from '../source/dump-error.ts';
import type { Notices } from '../source/notices.ts';
import { Runs } from '../source/runs.ts';
import { readBytes, type Source } from '../source/source.ts';

/** A range of physical memory, and its place in a file. */
export interface Segment {
  readonly paddr: number;
  readonly size: number;
  /** The place of its first byte in the file. */
  readonly offset: number;
  /** Its name in messages. */
  readonly name: string;
}

/** A range of physical memory in a dump. */
export interface MemoryRange {
  readonly start: PhysAddr;
  readonly end: bigint;
  /** The place of its first byte in the file; `undefined` if it has none, because it is zero or compressed. */
  readonly offset: number | undefined;
  /** Whether the file lists the memory without its bytes, which are zero. */
  readonly isZero: boolean;
}

interface SegmentsOptions {
  readonly zeros?: Runs | undefined;
  readonly notices?: Notices | undefined;
  readonly container?: string | undefined;
}

const PHYSICAL_END = 2 ** 52;
/** The most places that one byte may have. A kernel's vmcore has its text at two. */
const MAX_COPIES = 4;
const ZEROS = new Uint8Array(PAGE_SIZE);

/**
 * The map from physical memory to places in a file.
 *
 * Several segments may have the same memory: at the same place in the file, as in a dump by virtual address, or at several
 * places, as in the vmcore of a kernel, which has the kernel's text twice. The copies must have the same bytes. They are
 * compared when a frame is read.
 */
export class Segments {
  /** The number of bytes of memory in the file. Each address counts once. */
  readonly bytes: number;
  /** The number of bytes that are zero and have no place in the file. */
  readonly zeroBytes: number;
  /** Each layer has the memory at one place at most. All but the first are empty in most dumps. */
  readonly #layers: readonly Runs[];
  readonly #zeros: Runs;
  readonly #notices: Notices | undefined;
  readonly #container: string;

  /**
   * Takes runs of physical addresses in any order. O(n log n).
   *
   * @param zeros - ranges that read as zero where no run has them
   * @throws DumpError
   */
  constructor(runs: Runs, { zeros = new Runs(), notices, container = 'the file' }: SegmentsOptions = {}) {
    const joined = runs.joined();
    this.bytes = joined.covered();
    this.#layers = joined.layers(MAX_COPIES, (paddr) => {
      throw new DumpError('OUTSIDE_LIMITS', {
        reason: `physical address 0x${paddr.toString(16)} is at more than ${MAX_COPIES} places in the file`,
      });
    });
    this.#zeros = zeros.joined();
    this.zeroBytes = zeros.length === 0 ? 0 : joined.with(this.#zeros).covered() - this.bytes;
    this.#notices = notices;
    this.#container = container;
  }

  /**
   * Takes segments in any order.
   *
   * @param notices - where to say that copies of the same memory differ
   * @param container - what the places are in
   * @throws DumpError
   */
  static of(segments: Iterable<Segment>, fileSize: number, notices?: Notices, container?: string): Segments {
    const runs = new Runs();
    for (const segment of segments) {
      requireInside(segment, fileSize);
      runs.add(segment.paddr, segment.paddr + segment.size, segment.offset - segment.paddr);
    }
    return new Segments(runs, { notices, container });
  }

  /** Whether some memory is at several places in the file. */
  get hasCopies(): boolean {
    return this.#layers.length > 1;
  }

  /** The ranges, ascending. Memory at several places is listed for each. */
  *[Symbol.iterator](): Generator<MemoryRange, undefined, undefined> {
    let all = new Runs();
    for (const layer of this.#layers) all = all.with(layer);
    for (const { start, end, delta } of all.sorted()) {
      yield { start: physAddr(start), end: BigInt(end), offset: start + delta, isZero: false };
    }
    for (const { start, end } of this.#zeros.without(all)) {
      yield { start: physAddr(start), end: BigInt(end), offset: undefined, isZero: true };
    }
  }

  /** Reads the frame at `frame` × 4096 of `source` into `bytes`. Returns whether the file has all of it. */
  read(source: Source, frame: number, bytes: Uint8Array): boolean {
    const start = frame * PAGE_SIZE;
    const [first] = this.#layers;
    const index = first?.indexAt(start) ?? -1;
    if (this.#layers.length === 1 && index >= 0 && first!.end(index) >= start + PAGE_SIZE) {
      source.read(start + first!.delta(index), bytes);
      return true;
    }
    return this.#readPieces(source, start, bytes);
  }

  /** The first place of the byte at `paddr` in the file, or `undefined` if the file does not have it. */
  offsetOf(paddr: PhysAddr): number | undefined {
    for (const layer of this.#layers) {
      const index = layer.indexAt(Number(paddr));
      if (index >= 0) return Number(paddr) + layer.delta(index);
    }
    return undefined;
  }

  /** Reads a frame that lies in several segments. Where a byte has several places, all are read and compared. */
  #readPieces(source: Source, start: number, bytes: Uint8Array): boolean {
    const end = start + PAGE_SIZE;
    let isKnown: Uint8Array | undefined;
    let known = 0;
    for (const layer of this.#layers) {
      for (const { from, to, delta } of layer.within(start, end)) {
        isKnown ??= new Uint8Array(PAGE_SIZE);
        const into = bytes.subarray(from - start, to - start);
        const marks = isKnown.subarray(from - start, to - start);
        if (marks.includes(1)) {
          const piece = readBytes(source, from + delta, to - from);
          const { added, different } = merge(into, marks, piece);
          known += added;
          if (different >= 0) this.#differ(from + different, from + different + delta);
        } else {
          source.read(from + delta, into);
          known += into.length;
        }
        marks.fill(1);
      }
    }
    if (known === PAGE_SIZE) return true;
    for (const { from, to } of this.#zeros.within(start, end)) {
      const into = bytes.subarray(from - start, to - start);
      if (isKnown === undefined) known += into.length;
      else known += merge(into, isKnown.subarray(from - start, to - start), ZEROS).added;
      if (isKnown === undefined) into.fill(0);
    }
    return known === PAGE_SIZE;
  }

  #differ(paddr: number, place: number): void {
    const first = this.offsetOf(physAddr(paddr));
    this.#notices?.add(
      'copies-differ',
      `physical address 0x${paddr.toString(16)} has different bytes at ${first} and at ${place} in ${this.#container}; ` +
        'the first is used',
    );
  }
}

/**
 * Copies the bytes of `piece` that are not known yet. Returns their number, and the index of the first known byte that differs, or -1.
 */
function merge(
  into: Uint8Array,
  isKnown: Uint8Array,
  piece: Uint8Array,
): { readonly added: number; readonly different: number } {
  let [added, different] = [0, -1];
  for (let i = 0; i < into.length; i += 1) {
    if (isKnown[i] === 0) {
      into[i] = piece[i]!;
      added += 1;
    } else if (different < 0 && into[i] !== piece[i]) different = i;
  }
  return { added, different };
}

/**
 * Checks that a segment ends within its file, and below 2^52.
 *
 * @throws DumpError
 */
export function requireInside(segment: Segment, fileSize: number): void {
  const { offset, size } = segment;
  if (offset + size > fileSize) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `${segment.name} ends at byte ${offset + size}, beyond the end of the file at ${fileSize}: is the file truncated?`,
    });
  }
  const { paddr } = segment;
  if (paddr + size > PHYSICAL_END) {
    throw new DumpError('INVALID_FILE', {
      reason: `${segment.name} has physical memory from 0x${paddr.toString(16)} to beyond 2^52`,
    });
  }
}
