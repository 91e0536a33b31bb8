import { PAGE_SIZE, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion, RegionMap } from '@svsm/memory-region';
import { DumpError } from './problem.ts';
import type { Source } from './source.ts';

/** A range of physical memory, and its place in a file. */
export interface Segment {
  readonly paddr: number;
  readonly size: number;
  /** The place of its first byte in the file. */
  readonly offset: number;
  /** Its name in messages. */
  readonly name: string;
}

const PHYSICAL_END = 2 ** 52;

/** The map from physical memory to places in a file. */
export class Segments {
  /** The number of bytes of memory in the file. */
  readonly bytes: number;
  /** Regions of memory, each with its offset in the file minus its address. Adjacent regions with the same value are joined. */
  readonly #map: RegionMap<PhysAddr, number>;

  /**
   * Takes segments in any order. Several segments may have the same memory, as in a dump by virtual address, but always at the
   * same place in the file. O(n log n).
   *
   * @throws DumpError
   */
  constructor(segments: readonly Segment[], fileSize: number) {
    for (const segment of segments) requireInside(segment, fileSize);
    const sorted = segments.filter(({ size }) => size > 0).sort((a, b) => a.paddr - b.paddr);
    const runs: { start: number; end: number; delta: number; name: string }[] = [];
    for (const { paddr, size, offset, name } of sorted) {
      const last = runs.at(-1);
      const end = paddr + size;
      const delta = offset - paddr;
      if (last !== undefined && paddr <= last.end && delta === last.delta) last.end = Math.max(last.end, end);
      else if (last !== undefined && paddr < last.end) {
        throw new DumpError(
          `${last.name} and ${name} both have physical address 0x${paddr.toString(16)}, at two places in the file`,
        );
      } else runs.push({ start: paddr, end, delta, name });
    }
    this.bytes = runs.reduce((sum, { start, end }) => sum + (end - start), 0);
    this.#map = new RegionMap(
      Phys,
      runs.map(({ start, end, delta }) => [physRegion(physAddr(start), end - start), delta]),
    );
  }

  /** The ranges, ascending. */
  *[Symbol.iterator](): Generator<{ start: PhysAddr; end: bigint; offset: number }, undefined, undefined> {
    for (const [{ start, end }, delta] of this.#map) yield { start, end, offset: Number(start) + delta };
  }

  /** Reads the frame at `frame` × 4096 of `source` into `bytes`. Returns whether the file has all of it. */
  read(source: Source, frame: number, bytes: Uint8Array): boolean {
    const start = frame * PAGE_SIZE;
    // A frame may lie in several segments, if a segment ends within it.
    for (let done = 0; done < PAGE_SIZE; ) {
      const entry = this.#map.entryAt(physAddr(start + done));
      if (entry === undefined) return false;
      const [region, delta] = entry;
      const count = Math.min(PAGE_SIZE - done, Number(region.end) - (start + done));
      source.read(start + done + delta, bytes.subarray(done, done + count));
      done += count;
    }
    return true;
  }

  /** The place of the byte at `paddr` in the file, or `undefined` if the file does not have it. */
  offsetOf(paddr: PhysAddr): number | undefined {
    const delta = this.#map.get(paddr);
    return delta === undefined ? undefined : Number(paddr) + delta;
  }
}

function requireInside({ paddr, size, offset, name }: Segment, fileSize: number): void {
  if (offset + size > fileSize) {
    throw new DumpError(
      `${name} ends at byte ${offset + size}, beyond the end of the file at ${fileSize}: is the file truncated?`,
    );
  }
  if (paddr + size > PHYSICAL_END) {
    throw new DumpError(`${name} has physical memory from 0x${paddr.toString(16)} to beyond 2^52`);
  }
}
