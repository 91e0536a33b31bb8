/** Iteration over a set and a map of 10^5 regions, compared with a hand-written iterator over an array of them. */
import { PAGE_SIZE, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, RegionMap, RegionSet } from '@svsm/memory-region';
import { compare } from './compare.ts';

const REGIONS = 100_000;
const STRIDE = 4 * PAGE_SIZE;

const regions = Array.from({ length: REGIONS }, (_, i) => physRegion(physAddr(i * STRIDE), 2 * PAGE_SIZE));
const whole = physRegion(physAddr(0), REGIONS * STRIDE);
const set = new RegionSet(Phys, regions);
const map = new RegionMap(
  Phys,
  regions.map((region) => [region, 1] as const),
);

/** An iterator over an array, and nothing else. */
class Bare {
  #next = 0;

  next(): IteratorResult<MemoryRegion<PhysAddr>, undefined> {
    if (this.#next === regions.length) return { done: true, value: undefined };
    const value = regions[this.#next]!;
    this.#next += 1;
    return { done: false, value };
  }

  [Symbol.iterator](): this {
    return this;
  }
}

function count(values: Iterable<unknown>): number {
  let counted = 0;
  for (const _ of values) counted += 1;
  return counted;
}

console.log(`Iterating over ${REGIONS} regions, counting them; Node ${process.versions.node}`);
compare(REGIONS, 'a region', [
  { name: 'bare iterator over an array', run: () => count(new Bare()) },
  { name: 'RegionSet', run: () => count(set) },
  { name: 'RegionSet.overlapping', run: () => count(set.overlapping(whole)) },
  { name: 'RegionSet.gaps', run: () => count(set.gaps(whole)) },
  { name: 'RegionMap', run: () => count(map) },
  { name: 'RegionMap.overlapping', run: () => count(map.overlapping(whole)) },
]);
