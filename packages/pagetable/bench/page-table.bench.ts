/**
 * The loop of PR#131 over 1 GiB of 4 KiB pages, page by page, beside the same loop on bare numbers.
 *
 * Medians over rounds in which every variant runs once; ratios are of the same round. Noise of a shared machine then
 * moves both sides.
 */
import { PAGE_SIZE, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PtePreset, pagingConfig } from '@svsm/pagetable';

const PAGES = 262_144;
const ROUNDS = 31;
const WARM_UP = 6;

const memory = createPhysMemory({ size: 0x100_0000 });
let nextFrame = 0;
const frames = { allocateFrame: () => physAddr(PAGE_SIZE * nextFrame++), freeFrame: () => {} };
const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
const region = virtRegion(virtAddr(0xffff_8000_0000_0000n), PAGES * PAGE_SIZE);
for (const page of region.iterPages(PageSize.Regular)) {
  table.map4k(page, physAddr(page - region.start + 0x1_0000_0000n), PtePreset.Data);
}

// The baseline: signed page addresses, one Uint32Array, four levels, the present bits, and nothing else.
const words = memory.words(0, true);
const C_BIT = 1 << (51 - 32);
const tableAt = (at: number): number =>
  ((words[at + 1] as number) & 0xf_ffff & ~C_BIT) * 0x10_0000 + ((words[at] as number) >>> 12);
const leafAt = (page: number): number => {
  let at = 2 * (Math.floor(page / 0x80_0000_0000) & 511);
  if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
  at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x4000_0000) & 511);
  if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
  at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x20_0000) & 511);
  if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
  at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x1000) & 511);
  if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
  return at;
};
const bareStart = -0x8000_0000_0000;
const bareEnd = bareStart + PAGES * PAGE_SIZE;

// The same, tuned by hand: the address in two integers, indices by shifts, no check.
const tunedLeafAt = (page: number): number => {
  const high = Math.floor(page / 0x1_0000_0000) | 0;
  const low = page | 0;
  let at = 2 * ((high >>> 7) & 511);
  at = tableAt(at) * 1024 + 2 * (((low >>> 30) | (high << 2)) & 511);
  at = tableAt(at) * 1024 + 2 * ((low >>> 21) & 511);
  return tableAt(at) * 1024 + 2 * ((low >>> 12) & 511);
};

const variants: readonly { name: string; share: () => void; encrypt: () => void }[] = [
  {
    name: 'bare numbers (baseline)',
    share: () => {
      for (let page = bareStart; page < bareEnd; page += PAGE_SIZE) words[leafAt(page) + 1]! &= ~C_BIT;
    },
    encrypt: () => {
      for (let page = bareStart; page < bareEnd; page += PAGE_SIZE) words[leafAt(page) + 1]! |= C_BIT;
    },
  },
  {
    name: 'bare numbers, tuned, unchecked',
    share: () => {
      for (let page = bareStart; page < bareEnd; page += PAGE_SIZE) words[tunedLeafAt(page) + 1]! &= ~C_BIT;
    },
    encrypt: () => {
      for (let page = bareStart; page < bareEnd; page += PAGE_SIZE) words[tunedLeafAt(page) + 1]! |= C_BIT;
    },
  },
  {
    name: 'iterPages, empty body',
    share: () => count(region),
    encrypt: () => count(region),
  },
  {
    name: 'iterPages + setShared4k',
    share: () => {
      for (const page of region.iterPages(PageSize.Regular)) table.setShared4k(page);
    },
    encrypt: () => {
      for (const page of region.iterPages(PageSize.Regular)) table.setEncrypted4k(page);
    },
  },
  {
    name: 'a bigint loop + setShared4k',
    share: () => {
      for (let page: bigint = region.start; page < region.end; page += 4096n)
        table.setShared4k(page as VirtAddr);
    },
    encrypt: () => {
      for (let page: bigint = region.start; page < region.end; page += 4096n)
        table.setEncrypted4k(page as VirtAddr);
    },
  },
];

function count(pages: MemoryRegion<VirtAddr>): void {
  let seen = 0;
  for (const _ of pages.iterPages(PageSize.Regular)) seen += 1;
  if (seen !== PAGES) throw new Error(`${seen} pages`);
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] as number;
const nanoseconds = (run: () => void): number => {
  const start = performance.now();
  run();
  return ((performance.now() - start) * 1e6) / PAGES;
};

const times = variants.map((): number[] => []);
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [i, { share, encrypt }] of variants.entries()) {
    const time = (nanoseconds(share) + nanoseconds(encrypt)) / 2;
    if (round >= WARM_UP) (times[i] as number[]).push(time);
  }
}

const baseline = times[0] as number[];
console.log(`The PR#131 loop over ${PAGES} mapped pages of 4 KiB; Node ${process.versions.node}`);
for (const [i, { name }] of variants.entries()) {
  const own = times[i] as number[];
  const ratio = median(own.map((time, round) => time / (baseline[round] as number)));
  console.log(
    `  ${name.padEnd(34)} ${median(own).toFixed(1).padStart(6)} ns a page  ${ratio.toFixed(2).padStart(5)} ×`,
  );
}
