/**
 * Single pages: all pages of a region are allocated, and freed in the same order and in random order. It compares the page
 * allocator by address and by index with bare linked lists, which take page numbers and check nothing, with the algorithm of
 * COCONUT-SVSM, and with @thi.ng/malloc, a heap in JavaScript.
 *
 * One line shows the time of the addresses alone: a bigint is an object that is created, stored in an array and collected.
 */
import { PAGE_SIZE, type VirtAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { virtRegion } from '@svsm/memory-region';
import { MemPool } from '@thi.ng/malloc';
import { bytesOf, compare, compile, nanoseconds, nanosecondsUpTo, shuffle, type Variant } from './harness.ts';
import { BareLists, LinearLists } from './rivals.ts';

const HEAP = virtAddr(0xffff_8000_0000_0000n);
const MIB = 0x10_0000;

/** The pages of a measurement of garbage. */
const PIECE = 2048;

type Loop = (from: number, to: number) => void;

/** Creates each bigint again, so that the handles lie close together and only the allocator's tables are scattered. */
function renew(handles: unknown[]): void {
  for (const [i, handle] of handles.entries()) {
    if (typeof handle === 'bigint') handles[i] = BigInt.asUintN(64, handle + 1n) - 1n;
  }
}

/** Allocates all pages, frees them in order, allocates all again, and frees them in random order. */
function variant(
  name: string,
  handles: unknown[],
  allocator: object,
  allocate: string,
  release: string,
  isRandomToo = true,
): Variant {
  const loop = (call: string) =>
    compile<Loop>({ handles, allocator }, 'from, to', `for (let i = from; i < to; i += 1) { ${call}; }`);
  const [allocateAll, freeAll] = [loop(`handles[i] = ${allocate}`), loop(release)];
  const count = handles.length;
  return {
    name,
    round: () => {
      const times = [
        nanoseconds(count, () => allocateAll(0, count)),
        nanoseconds(count, () => freeAll(0, count)),
      ];
      if (!isRandomToo) return times;
      allocateAll(0, count);
      shuffle(handles);
      renew(handles);
      return [...times, nanoseconds(count, () => freeAll(0, count))];
    },
    bytes: () => {
      const [allocatePiece, freePiece] = [() => allocateAll(0, PIECE), () => freeAll(0, PIECE)];
      const allocated = bytesOf(PIECE, allocatePiece, freePiece);
      allocatePiece();
      const freed = bytesOf(PIECE, freePiece, allocatePiece);
      freePiece();
      return [allocated, freed, freed];
    },
  };
}

/**
 * The same for a slow variant: it runs once, until it is given up, after a warm-up that gets it compiled. Each run has a new
 * allocator.
 */
function slow(
  name: string,
  count: number,
  make: () => { free(handle: number): unknown },
  allocate: string,
  columns: readonly ('in order' | 'random')[],
): Variant {
  return {
    name,
    once: true,
    round: () => {
      const handles: number[] = new Array(count).fill(0);
      const state: { allocator: object } = { allocator: make() };
      const loop = (call: string) =>
        compile<Loop>(
          { handles, state },
          'from, to',
          `const { allocator } = state; for (let i = from; i < to; i += 1) ${call};`,
        );
      const [allocateAll, freeAll] = [loop(`handles[i] = ${allocate}`), loop('allocator.free(handles[i])')];
      allocateAll(0, count);
      nanosecondsUpTo(count, freeAll, 300);
      let allocated: number | undefined;
      const frees = (['in order', 'random'] as const).map((column) => {
        if (!columns.includes(column)) return undefined;
        state.allocator = make();
        allocated = nanoseconds(count, () => allocateAll(0, count));
        if (column === 'random') shuffle(handles);
        return nanosecondsUpTo(count, freeAll);
      });
      return [columns.includes('in order') ? allocated : undefined, ...frees];
    },
  };
}

/** The other allocators, with as many pages as are allocated. */
function rivals(count: number, isSmall: boolean): Variant[] {
  // Its frees in random order take longer than everything else together. So in a larger region they run once, and are given up.
  const linear = "upstream's algorithm";
  const variants = [
    variant(
      linear,
      new Array(count).fill(0),
      new LinearLists(count),
      'allocator.allocate(0)',
      'allocator.free(handles[i])',
      isSmall,
    ),
  ];
  if (isSmall) {
    // It keeps its lists in the pages themselves, so a larger region would need all of its memory.
    const buf = new ArrayBuffer(count * (PAGE_SIZE + 8) + 4096);
    new Uint8Array(buf).fill(1);
    const malloc = `allocator.malloc(${PAGE_SIZE})`;
    variants.push(slow('@thi.ng/malloc', count, () => new MemPool({ buf }), malloc, ['in order', 'random']));
  } else {
    variants.push(
      slow(`${linear}, in random order`, count, () => new LinearLists(count), 'allocator.allocate(0)', [
        'random',
      ]),
    );
  }
  return variants;
}

/** Compares the allocators on the pages of `mib` MiB. The region of `PageAllocator` has `regionMib` MiB. */
function everyPage(mib: number, rounds: number, regionMib: number = mib): void {
  const count = (mib * MIB) / PAGE_SIZE;
  const region = virtRegion(HEAP, regionMib * MIB);
  const [byAddress, byIndex] = [new PageAllocator(region), new PageAllocator(region)];
  const indexes = (): number[] => new Array(count).fill(0);
  const addresses = (): VirtAddr[] => new Array(count);
  const cell = new BigUint64Array([HEAP]);
  const alone = { cell, halves: new Int32Array(cell.buffer), sum: 0 };
  const free = 'allocator.free(handles[i])';
  const variants = [
    variant('bare lists, page numbers', indexes(), new BareLists(count), 'allocator.allocate(0)', free),
    variant(
      'allocatePage, freePage',
      addresses(),
      byAddress,
      'allocator.allocatePage()',
      'allocator.freePage(handles[i])',
    ),
    variant('indexed', indexes(), byIndex.indexed, 'allocator.allocate(0)', free),
    variant(
      'bigints made and kept; read',
      addresses(),
      alone,
      'BigInt.asUintN(64, allocator.cell[0] + BigInt(i))',
      'allocator.cell[0] = handles[i]; allocator.sum ^= allocator.halves[0]; allocator.halves[0] = 0',
    ),
  ];
  if (mib === regionMib) variants.push(...rivals(count, mib <= 64));
  compare(
    `Every page of ${mib} MiB${mib === regionMib ? '' : `, allocated from ${regionMib / 1024} GiB`}, ns a page`,
    ['allocate', 'free in order', 'free in random order'],
    variants,
    rounds,
  );
  for (const allocator of [byAddress, byIndex]) {
    allocator.checkInvariants();
    if (allocator.memoryInfo().allocatedPages !== 0) throw new Error('pages were lost');
  }
}

console.log(
  `@svsm/buddy-alloc, single pages; Node ${process.versions.node}; ratios to the first line of each table`,
);
everyPage(64, 40);
everyPage(1024, 7);
everyPage(4096, 3);
everyPage(16 * 1024, 2);
for (const gib of [16, 1024]) {
  everyPage(64, 40, gib * 1024);
  everyPage(1024, 7, gib * 1024);
}
