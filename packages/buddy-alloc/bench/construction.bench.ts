/** The cost of creating an allocator, and the size of its tables after some use. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { physRegion } from '@svsm/memory-region';
import { collectGarbage, median, nanoseconds } from './harness.ts';

const ROUNDS = 25;

/** The bytes of objects and typed arrays in use. */
function usedBytes(): { objects: number; tables: number } {
  // Only the second collection stops counting the memory that the first one swept.
  collectGarbage();
  collectGarbage();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { objects: heapUsed, tables: arrayBuffers };
}

console.log(`@svsm/buddy-alloc, construction; Node ${process.versions.node}; medians of ${ROUNDS}`);
console.log(
  `  ${'region'.padEnd(10)}${'first'.padStart(12)}${'others'.padStart(12)}${'objects and tables'.padStart(22)}    tables after use`,
);
for (const [name, size] of [
  ['64 MiB', 2 ** 26],
  ['16 GiB', 2 ** 34],
  ['1 TiB', 2 ** 40],
  ['64 TiB', 2 ** 46],
] as const) {
  show(name, size);
}

/** Prints one line. It is a function, so that its objects are garbage when the next line is measured. */
function show(name: string, size: number): void {
  const region = physRegion(physAddr(0), size);
  const kept: PageAllocator<ReturnType<typeof physAddr>>[] = new Array(ROUNDS);
  const before = usedBytes();
  const times = Array.from({ length: ROUNDS }, (_, round) =>
    nanoseconds(1, () => {
      kept[round] = new PageAllocator(region);
    }),
  );
  const empty = usedBytes();
  const touched = Math.min(size / PAGE_SIZE, 0x4_0000);
  for (let page = 0; page < touched; page += 1) kept[0]?.indexed.allocate(0);
  const perPage = (usedBytes().tables - empty.tables) / touched;
  const bytes = (empty.objects + empty.tables - before.objects - before.tables) / ROUNDS;
  const micro = (time: number) => `${(time / 1000).toFixed(1)} µs`.padStart(12);
  console.log(
    `  ${name.padEnd(10)}${micro(times[0]!)}${micro(median(times))}` +
      `${`${bytes.toFixed(0)} bytes`.padStart(22)}` +
      `    ${perPage.toFixed(2)} bytes a page, of ${touched} pages`,
  );
  kept.length = 0;
}
