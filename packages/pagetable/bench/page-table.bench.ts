/**
 * The loop of PR#131 over 1 GiB of 4 KiB pages, page by page, compared with the same loop on bare numbers.
 *
 * A row has the mean over whole passes: each shares 262,144 pages, or takes them back, and its garbage collections count. In each
 * round every variant makes two passes in turn; a short run has 4 rounds after the warm-up, a long one 24. The bytes are those that
 * the heap grows by in a piece that is too short for a collection.
 */
import { PAGE_SIZE, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';

const PAGES = 262_144;
const WARM_UP = 6;
const RUNS = { short: 4, long: 24 };
const PIECES = 64;
const PIECE = (PAGES / PIECES) * PAGE_SIZE;

const memory = createPhysMemory({ size: 0x100_0000 });
let nextFrame = 0;
const frames = { allocateFrame: () => physAddr(PAGE_SIZE * nextFrame++), freeFrame: () => {} };
const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
const region = virtRegion(virtAddr(0xffff_8000_0000_0000n), PAGES * PAGE_SIZE);
for (const page of region.iterPages(PageSize.Regular)) {
  table.map4k(page, physAddr(page - region.start + 0x1_0000_0000n), PtePreset.Data);
}

const parts = Array.from({ length: PIECES }, (_, i) =>
  virtRegion(virtAddr(region.start + BigInt(i * PIECE)), PIECE),
);
const part = (piece: number): MemoryRegion<VirtAddr> => parts[piece]!;

// The baseline: signed page addresses, one Uint32Array, four levels, and a check of the present bits alone.
const words = memory.words(0, true);
const C_BIT = 1 << (51 - 32);
const tableAt = (at: number): number =>
  (words[at + 1]! & 0xf_ffff & ~C_BIT) * 0x10_0000 + (words[at]! >>> 12);
const leafAt = (page: number): number => {
  let at = 2 * (Math.floor(page / 0x80_0000_0000) & 511);
  if ((words[at]! & 1) === 0) throw new Error('not mapped');
  at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x4000_0000) & 511);
  if ((words[at]! & 1) === 0) throw new Error('not mapped');
  at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x20_0000) & 511);
  if ((words[at]! & 1) === 0) throw new Error('not mapped');
  at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x1000) & 511);
  if ((words[at]! & 1) === 0) throw new Error('not mapped');
  return at;
};
const bareStart = -0x8000_0000_0000;

// The same, tuned by hand: the address in two integers, indexes by shifts, no check.
const tunedLeafAt = (page: number): number => {
  const high = Math.floor(page / 0x1_0000_0000) | 0;
  const low = page | 0;
  let at = 2 * ((high >>> 7) & 511);
  at = tableAt(at) * 1024 + 2 * (((low >>> 30) | (high << 2)) & 511);
  at = tableAt(at) * 1024 + 2 * ((low >>> 21) & 511);
  return tableAt(at) * 1024 + 2 * ((low >>> 12) & 511);
};

const variants: readonly {
  name: string;
  share: (piece: number) => void;
  encrypt: (piece: number) => void;
}[] = [
  {
    name: 'bare numbers (baseline)',
    share: (piece) => {
      for (let page = bareStart + piece * PIECE, end = page + PIECE; page < end; page += PAGE_SIZE)
        words[leafAt(page) + 1]! &= ~C_BIT;
    },
    encrypt: (piece) => {
      for (let page = bareStart + piece * PIECE, end = page + PIECE; page < end; page += PAGE_SIZE)
        words[leafAt(page) + 1]! |= C_BIT;
    },
  },
  {
    name: 'bare numbers, tuned, unchecked',
    share: (piece) => {
      for (let page = bareStart + piece * PIECE, end = page + PIECE; page < end; page += PAGE_SIZE)
        words[tunedLeafAt(page) + 1]! &= ~C_BIT;
    },
    encrypt: (piece) => {
      for (let page = bareStart + piece * PIECE, end = page + PIECE; page < end; page += PAGE_SIZE)
        words[tunedLeafAt(page) + 1]! |= C_BIT;
    },
  },
  {
    name: 'iterPages, empty body',
    share: (piece) => count(part(piece)),
    encrypt: (piece) => count(part(piece)),
  },
  {
    name: 'iterPages + setShared4k',
    share: (piece) => {
      for (const page of part(piece).iterPages(PageSize.Regular)) table.setShared4k(page);
    },
    encrypt: (piece) => {
      for (const page of part(piece).iterPages(PageSize.Regular)) table.setEncrypted4k(page);
    },
  },
  {
    name: 'cursor, empty body',
    share: (piece) => countCursor(part(piece)),
    encrypt: (piece) => countCursor(part(piece)),
  },
  {
    name: 'cursor + setShared4k',
    share: (piece) => {
      for (const page of part(piece).cursor(PageSize.Regular)) table.setShared4k(page);
    },
    encrypt: (piece) => {
      for (const page of part(piece).cursor(PageSize.Regular)) table.setEncrypted4k(page);
    },
  },
  {
    name: 'a bigint loop + setShared4k',
    share: (piece) => {
      const { start, end } = part(piece);
      for (let page: bigint = start; page < end; page += 4096n) table.setShared4k(page as VirtAddr);
    },
    encrypt: (piece) => {
      const { start, end } = part(piece);
      for (let page: bigint = start; page < end; page += 4096n) table.setEncrypted4k(page as VirtAddr);
    },
  },
];

function count(pages: MemoryRegion<VirtAddr>): void {
  let seen = 0;
  for (const _ of pages.iterPages(PageSize.Regular)) seen += 1;
  if (seen !== PAGES / PIECES) throw new Error(`${seen} pages`);
}

function countCursor(pages: MemoryRegion<VirtAddr>): void {
  let seen = 0;
  for (const _ of pages.cursor(PageSize.Regular)) seen += 1;
  if (seen !== PAGES / PIECES) throw new Error(`${seen} pages`);
}

const times = variants.map((): number[] => []);
for (let round = 0; round < WARM_UP + RUNS.long; round += 1) {
  for (const [i, { share, encrypt }] of variants.entries()) {
    for (const turn of [share, encrypt]) {
      const start = performance.now();
      for (let piece = 0; piece < PIECES; piece += 1) turn(piece);
      if (round >= WARM_UP) times[i]!.push(((performance.now() - start) * 1e6) / PAGES);
    }
  }
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b) / values.length;

/** The median growth of the heap in one piece, in bytes a page: a collection in between makes single values wrong. */
function garbage(share: (piece: number) => void): number {
  const grown = Array.from({ length: 33 }, (_, i) => {
    const before = process.memoryUsage().heapUsed;
    share(i % PIECES);
    return process.memoryUsage().heapUsed - before;
  });
  return Math.max(0, grown.toSorted((a, b) => a - b)[16]!) / (PAGES / PIECES);
}

console.log(`The PR#131 loop over ${PAGES} mapped pages of 4 KiB; Node ${process.versions.node}`);
for (const [run, rounds] of Object.entries(RUNS)) {
  const taken = times.map((all) => mean(all.slice(0, 2 * rounds)));
  console.log(`  ${run} run: mean of ${2 * rounds} passes`);
  for (const [i, { name, share }] of variants.entries()) {
    const ratio = (taken[i]! / taken[0]!).toFixed(2);
    const bytes = run === 'long' ? `  ${garbage(share).toFixed(0).padStart(4)} bytes a page` : '';
    console.log(
      `    ${name.padEnd(34)} ${taken[i]!.toFixed(1).padStart(6)} ns a page  ${ratio.padStart(5)} ×${bytes}`,
    );
  }
}
