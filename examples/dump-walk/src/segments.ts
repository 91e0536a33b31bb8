import { PAGE_SIZE, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion, RegionMap } from '@svsm/memory-region';
import { DumpError } from './problem.ts';
import type { Source } from './source.ts';

/** A stretch of physical memory, and where a file holds it. */
export interface Segment {
  readonly paddr: number;
  readonly size: number;
  /** Of its first byte in the file. */
  readonly offset: number;
  /** What messages call it. */
  readonly name: string;
}

const PHYSICAL_END = 2 ** 52;

/** Which part of a file holds which part of physical memory. */
export class Segments {
  /** How many bytes of memory the file holds. */
  readonly bytes: number;
  /** Regions of memory with the offset in the file minus the address: two that touch and have the same one are one. */
  readonly #map: RegionMap<PhysAddr, number>;

  /**
   * Segments in any order. The same memory may be named many times, as a dump by virtual address does, but always at one
   * place of the file. O(n log n).
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
          `${last.name} and ${name} both hold physical address 0x${paddr.toString(16)}, at two places of the file`,
        );
      } else runs.push({ start: paddr, end, delta, name });
    }
    this.bytes = runs.reduce((sum, { start, end }) => sum + (end - start), 0);
    this.#map = new RegionMap(
      Phys,
      runs.map(({ start, end, delta }) => [physRegion(physAddr(start), end - start), delta]),
    );
  }

  /** What there is, ascending. */
  *[Symbol.iterator](): Generator<{ start: PhysAddr; end: bigint; offset: number }, undefined, undefined> {
    for (const [{ start, end }, delta] of this.#map) yield { start, end, offset: Number(start) + delta };
  }

  /** Reads the frame at `frame` × 4096 of `source` into `bytes`. Returns whether all of it is there. */
  read(source: Source, frame: number, bytes: Uint8Array): boolean {
    const start = frame * PAGE_SIZE;
    // A frame lies in one segment, but where a segment ends within it.
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

  /** Where the file holds the byte at `paddr`, or `undefined` if it does not. */
  offsetOf(paddr: PhysAddr): number | undefined {
    const delta = this.#map.get(paddr);
    return delta === undefined ? undefined : Number(paddr) + delta;
  }
}

function requireInside({ paddr, size, offset, name }: Segment, fileSize: number): void {
  if (offset + size > fileSize) {
    throw new DumpError(
      `${name} ends at byte ${offset + size}, past the file's ${fileSize}: it is cut off, or no such dump`,
    );
  }
  if (paddr + size > PHYSICAL_END) {
    throw new DumpError(`${name} holds physical memory from 0x${paddr.toString(16)} to past 2^52`);
  }
}
