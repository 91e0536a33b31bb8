/**
 * The loop of PR#131 over 1 GiB of 4 KiB pages, page by page, compared with the same loop on bare numbers.
 *
 * In each round every variant runs once, in 64 pieces that are timed one by one. A row has the median of its pieces, and the
 * ratio of that to the median of the first row. A piece takes a tenth of a millisecond, so it is rarely interrupted on a
 * shared machine; whole rounds are interrupted often.
 */
import { PAGE_SIZE, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';

const PAGES = 262_144;
const ROUNDS = 31;
const WARM_UP = 6;
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

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const nanoseconds = (run: () => void): number => {
  const start = performance.now();
  run();
  return ((performance.now() - start) * 1e6) / (PAGES / PIECES);
};

const times = variants.map((): number[] => []);
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [i, { share, encrypt }] of variants.entries()) {
    for (const turn of [share, encrypt]) {
      for (let piece = 0; piece < PIECES; piece += 1) {
        const time = nanoseconds(() => turn(piece));
        if (round >= WARM_UP) times[i]!.push(time);
      }
    }
  }
}

const baseline = median(times[0]!);
console.log(`The PR#131 loop over ${PAGES} mapped pages of 4 KiB; Node ${process.versions.node}`);
for (const [i, { name }] of variants.entries()) {
  const own = median(times[i]!);
  console.log(
    `  ${name.padEnd(34)} ${own.toFixed(1).padStart(6)} ns a page  ${(own / baseline).toFixed(2).padStart(5)} ×`,
  );
}
