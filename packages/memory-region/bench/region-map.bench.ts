/**
 * Lookup among 10^5 regions compared with a binary search on a `Float64Array`, and the growth of adding regions in random
 * order and of gap searches.
 */
import { PAGE_SIZE, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, RegionMap, RegionSet } from '@svsm/memory-region';
import { compare, median } from './compare.ts';

const REGIONS = 100_000;
const LOOKUPS = 100_000;
const STRIDE = 3 * PAGE_SIZE;

/** A fixed sequence of 32-bit numbers: every run does the same work. */
function xorshift(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

const regionAt = (i: number): MemoryRegion<PhysAddr> => physRegion(physAddr(i * STRIDE), 2 * PAGE_SIZE);
const random = xorshift(0x5eed);
const places = Float64Array.from({ length: LOOKUPS }, () => (random() % (REGIONS * STRIDE)) | 0).map(
  Math.abs,
);
const addresses = Array.from(places, (place) => physAddr(place));

const map = new RegionMap(
  Phys,
  Array.from({ length: REGIONS }, (_, i) => [regionAt(i), i] as const),
);

const starts = Float64Array.from({ length: REGIONS }, (_, i) => i * STRIDE);
const ends = starts.map((start) => start + 2 * PAGE_SIZE);
const search = (place: number): number => {
  let low = 0;
  let high = REGIONS;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (starts[middle]! <= place) low = middle + 1;
    else high = middle;
  }
  return low > 0 && place < ends[low - 1]! ? low - 1 : -1;
};

console.log(`Lookup of ${LOOKUPS} random addresses among ${REGIONS} regions; Node ${process.versions.node}`);
compare(LOOKUPS, 'a lookup', [
  {
    name: 'binary search on a Float64Array',
    run: () => {
      let sum = 0;
      for (const place of places) sum += search(place);
      return sum;
    },
  },
  {
    name: 'RegionMap.get',
    run: () => {
      let sum = 0;
      for (const address of addresses) sum += map.get(address) ?? -1;
      return sum;
    },
  },
]);

console.log('\nAdding regions to a RegionSet in random order');
const counts = [1_000, 10_000, 100_000];
const times = counts.map((count) => {
  const next = xorshift(count);
  const regions = Array.from({ length: count }, (_, i) => regionAt(i));
  for (let i = count - 1; i > 0; i -= 1) {
    const j = next() % (i + 1);
    [regions[i], regions[j]] = [regions[j]!, regions[i]!];
  }
  return median(
    Array.from({ length: 9 }, () => {
      const start = performance.now();
      const set = new RegionSet(Phys);
      for (const region of regions) set.add(region);
      return performance.now() - start;
    }),
  );
});
for (const [i, count] of counts.entries()) {
  const time = times[i]!;
  console.log(
    `  ${String(count).padStart(7)} regions  ${time.toFixed(2).padStart(8)} ms  ${((time * 1e6) / count).toFixed(0)} ns each`,
  );
}
// The slope of a line through the logarithms, by least squares.
const xs = counts.map(Math.log);
const ys = times.map(Math.log);
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const [x, y] = [mean(xs), mean(ys)];
const slope =
  xs.reduce((sum, xi, i) => sum + (xi - x) * (ys[i]! - y), 0) /
  xs.reduce((sum, xi) => sum + (xi - x) ** 2, 0);
console.log(`  grows as n^${slope.toFixed(2)}`);

console.log(
  '\nFinding a gap, and adding and removing a region there: all gaps but the last are one page too small',
);
const searches = [10, 100, 1_000, 10_000, 100_000].map((count) => {
  const crowded = new RegionMap(
    Phys,
    Array.from({ length: count }, (_, i) => [regionAt(i), i] as const),
  );
  const whole = physRegion(physAddr(0), 2n ** 40n);
  const rounds = 2_000;
  const start = performance.now();
  for (let i = 0; i < rounds; i += 1) {
    const gap = crowded.findGap(whole, 2 * PAGE_SIZE, PAGE_SIZE)!;
    crowded.set(gap, i);
    crowded.delete(gap);
  }
  return [count, ((performance.now() - start) * 1e6) / rounds] as const;
});
for (const [count, time] of searches)
  console.log(`  ${String(count).padStart(7)} regions  ${time.toFixed(0).padStart(8)} ns each`);
