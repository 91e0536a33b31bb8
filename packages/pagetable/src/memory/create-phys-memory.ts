import {
  type Bytes,
  PAGE_SIZE,
  Phys,
  type PhysAddr,
  pageNumber,
  physAddr,
  showInConsoles,
} from '@svsm/address';
import { formatBounds, MemoryRegion, physRegion } from '@svsm/memory-region';
import { ANY, BOOLEAN, type Field, Fields, FUNCTION, optional } from '../entry/fields.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import type { PhysMemory } from './phys-memory.ts';
import { ReaderMemory, type ReadFrame } from './reader-memory.ts';

/** The kinds of physical memory that {@link createPhysMemory} makes. */
export type PhysMemoryOptions =
  /** Flat and zeroed: `size` bytes from `start` on. `start` is 0 if not given. */
  | { readonly size: Bytes; readonly start?: PhysAddr }
  /**
   * Flat, over the caller's buffer, shared or not, or over that of a `WebAssembly.Memory`. The bytes of the buffer are the
   * memory. If the buffer is transferred or the WebAssembly memory grows, every access throws `BUS_ERROR`; make a new
   * memory then.
   *
   * The buffer can change at any time, so each walk begins at the root. With `exclusive`, the caller promises that entries of
   * page tables in it change only through this memory (page tables over it, `writePhys`), or that `words(frame, true)` is
   * called after each other change. Then page tables remember walks, as in memory of their own. A broken promise makes them
   * return what was mapped before.
   */
  | {
      readonly buffer: ArrayBuffer | SharedArrayBuffer;
      readonly start?: PhysAddr;
      readonly exclusive?: boolean;
    }
  /** Sparse and zeroed. Regions can be terabytes large and far apart: a frame takes its 4 KiB with its first write. */
  | { readonly regions: Iterable<MemoryRegion<PhysAddr>> }
  /**
   * Read-only, from a file or a dump. A frame is fetched when it is first read. The last `cachedFrames` frames stay in a
   * cache; 1024 if not given.
   */
  | { readonly readFrame: ReadFrame; readonly cachedFrames?: number };

const WORDS_PER_FRAME = PAGE_SIZE / 4;

/**
 * Makes physical memory: flat for one run of frames in one buffer, sparse for any set of regions, or read-only through a
 * reader. Flat memory costs O(size) if it makes the buffer, otherwise O(1); sparse memory O(regions), whatever their size.
 *
 * @throws PageTableError `INVALID_MEMORY` if a start or a size is not a multiple of 4096, a size is 0, regions overlap, or
 *   the buffer cannot be made
 * @throws AddressError if a value is not an address or a byte count
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { createPhysMemory, isPageTableError, readPhys64, writePhys64 } from '@svsm/pagetable';
 *
 * // A terabyte with a hole: it takes 4 KiB for each frame that is written.
 * const low = physRegion(physAddr(0), 0xc000_0000);
 * const high = physRegion(physAddr(0x1_0000_0000), 2n ** 40n);
 * const memory = createPhysMemory({ regions: [low, high] });
 *
 * writePhys64(memory, physAddr(0x80_0000_0000), 0x1234n);
 * console.log(readPhys64(memory, physAddr(0x80_0000_0000))); // => 4660n
 * try {
 *   readPhys64(memory, physAddr(0xc000_0000));
 * } catch (error) {
 *   console.log(isPageTableError(error, 'BUS_ERROR')); // => true
 * }
 * ```
 */
export function createPhysMemory(options: PhysMemoryOptions): PhysMemory {
  requireOptions(options);
  if ('readFrame' in options) return new ReaderMemory(options.readFrame, options.cachedFrames ?? 1024);
  if ('regions' in options) return new SparseMemory(options.regions);
  const start = options.start ?? physAddr(0);
  if ('buffer' in options) {
    const { buffer, exclusive = false } = options;
    const Memory = exclusive ? FlatMemory : ChangingMemory;
    return new Memory(buffer, wholeFrames(physRegion(start, buffer.byteLength)));
  }
  const region = wholeFrames(physRegion(start, options.size));
  return new FlatMemory(zeroed(region), region);
}

/** Flat memory in one buffer. */
export class FlatMemory implements PhysMemory {
  static {
    showInConsoles(this, 'PhysMemory', (memory) => ({ region: memory.#region }));
  }

  epoch = 0;
  readonly #words: Uint32Array;
  readonly #first: number;
  readonly #region: MemoryRegion<PhysAddr>;

  constructor(buffer: ArrayBuffer | SharedArrayBuffer, region: MemoryRegion<PhysAddr>) {
    this.#words = new Uint32Array(buffer);
    this.#first = pageNumber(region.start);
    this.#region = region;
  }

  words(frame: number, write: boolean): Uint32Array {
    const words = this.#words;
    const index = frame - this.#first;
    // The array's own length is 0 once its buffer is detached. A stored count would let reads through, as `undefined`.
    if (index >>> 0 !== index || index * WORDS_PER_FRAME >= words.length) this.#refuse(frame);
    if (write) this.epoch += 1;
    return words;
  }

  wordOffset(frame: number): number {
    return (frame - this.#first) * WORDS_PER_FRAME;
  }

  #refuse(frame: number): never {
    throw busError(
      frame,
      this.#words.length > 0 ? formatBounds(this.#region) : 'no frame: its buffer is detached',
    );
  }
}

/** Flat memory whose owner can write to it at any time. Its class is its own, so that engines keep other epochs as integers. */
class ChangingMemory extends FlatMemory {
  override epoch: number = Number.NaN;
}

/** Memory of several regions, whose frames take their 4 KiB when they are first written. */
export class SparseMemory implements PhysMemory {
  static {
    showInConsoles(this, 'PhysMemory', (memory) => ({
      regions: memory.#regions,
      writtenFrames: memory.#frames.size,
    }));
  }

  epoch = 0;
  readonly #frames: Map<number, Uint32Array> = new Map();
  readonly #regions: readonly MemoryRegion<PhysAddr>[];
  readonly #zeros: Uint32Array = new Uint32Array(WORDS_PER_FRAME);

  constructor(regions: Iterable<MemoryRegion<PhysAddr>>) {
    this.#regions = [...regions]
      .map(regionOf)
      .map(wholeFrames)
      .sort((a, b) => (a.start < b.start ? -1 : 1));
    this.#regions.forEach((region, i) => {
      const next = this.#regions[i + 1];
      if (next?.overlaps(region)) throw invalid(next, `it overlaps ${region}`);
    });
  }

  words(frame: number, write: boolean): Uint32Array {
    if (write) this.epoch += 1;
    const held = this.#frames.get(frame);
    if (held !== undefined) return held;
    if (!this.#has(frame)) throw busError(frame, this.#regions.join(', ') || 'no frame');
    if (!write) return this.#zeros;
    const fresh = new Uint32Array(WORDS_PER_FRAME);
    this.#frames.set(frame, fresh);
    return fresh;
  }

  wordOffset(_frame: number): number {
    return 0;
  }

  #has(frame: number): boolean {
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const region = this.#regions[middle]!;
      const first = pageNumber(region.start);
      if (frame >= first && frame < first + region.pageCount()) return Number.isInteger(frame);
      if (frame < first) high = middle;
      else low = middle + 1;
    }
    return false;
  }
}

/** A region in options. @throws RegionError `KIND_MISMATCH` */
function regionOf(value: unknown): MemoryRegion<PhysAddr> {
  return MemoryRegion.from(Phys, value);
}

/** The value is checked where it is used; `null` would pass for `undefined` there. */
const NOT_NULL: Field = { accepts: (value) => value !== null, expected: 'pass a value, or leave it out' };
/** The fields of each kind of memory. The first one tells the kind. */
const KINDS: readonly Fields[] = /* @__PURE__ */ [
  { readFrame: FUNCTION, cachedFrames: NOT_NULL },
  { regions: { accepts: isIterable, expected: 'pass an iterable of regions' } },
  {
    buffer: { accepts: isBuffer, expected: 'pass an ArrayBuffer or a SharedArrayBuffer' },
    start: NOT_NULL,
    exclusive: /* @__PURE__ */ optional(BOOLEAN),
  },
  { size: ANY, start: NOT_NULL },
].map((fields) => new Fields('options', fields, refuseOption));

/** @throws PageTableError `INVALID_MEMORY` unless the options are those of one kind */
function requireOptions(options: PhysMemoryOptions): void {
  let kind = KINDS.length - 1;
  try {
    const names = ['readFrame', 'regions', 'buffer'];
    const found = names.findIndex((name) => name in options);
    if (found >= 0) kind = found;
  } catch {
    // The check of the fields tells what is wrong.
  }
  KINDS[kind]!.require(options);
}

function refuseOption(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_MEMORY'> {
  return new PageTableError('INVALID_MEMORY', { value, problem: `${field}: ${expected}` }, options);
}

function isIterable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

function isBuffer(value: unknown): boolean {
  const tag = Object.prototype.toString.call(value);
  return tag === '[object ArrayBuffer]' || tag === '[object SharedArrayBuffer]';
}

function zeroed(region: MemoryRegion<PhysAddr>): ArrayBuffer {
  const size = Number(region.size);
  try {
    return new ArrayBuffer(size);
  } catch (cause) {
    throw invalid(
      region.size,
      'a single buffer cannot be that large here: pass `regions` for sparse memory',
      cause,
    );
  }
}

function wholeFrames(region: MemoryRegion<PhysAddr>): MemoryRegion<PhysAddr> {
  if (region.isEmpty) throw invalid(region.size, 'it must hold at least one frame of 4096 bytes');
  if (region.alignInward(PAGE_SIZE)?.equals(region) !== true) {
    throw invalid(region, `it must start and end at multiples of ${PAGE_SIZE}`);
  }
  return region;
}

function invalid(value: MemoryRegion<PhysAddr> | bigint, problem: string, cause?: unknown): PageTableError {
  const shown = value instanceof MemoryRegion ? String(value) : value;
  return new PageTableError(
    'INVALID_MEMORY',
    { value: shown, problem },
    cause === undefined ? {} : { cause },
  );
}

function busError(frame: number, memory: string): PageTableError {
  const paddr =
    Number.isSafeInteger(frame) && frame >= 0
      ? BigInt(frame) * BigInt(PAGE_SIZE)
      : BigInt(Math.trunc(frame) || 0);
  return new PageTableError('BUS_ERROR', { paddr, memory });
}
