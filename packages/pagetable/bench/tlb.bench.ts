/**
 * The cost of a TLB that holds many entries: the loop of PR#131 on a page table that reports to it, a flush of one page, a
 * broadcast of 512 pages, one of 8 pages while half of the entries are stale, and a lookup. The baseline of each row is a TLB without entries. Medians of 21 rounds.
 */
import { PAGE_SIZE, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, PtePreset, pagingConfig, Tlb } from '@svsm/pagetable';

const ROUNDS = 21;
const PAGES = 512;
const VA = virtAddr(0xffff_8000_0000_0000n);
const at = (page: number): VirtAddr => (VA + BigInt(page * PAGE_SIZE)) as VirtAddr;
const touched = virtRegion(VA, PAGES * PAGE_SIZE);

/** A table with pages of 4 KiB, a TLB that holds the last `entries` of them, and one with half of these stale. */
function make(entries: number) {
  const tlb = new Tlb();
  let frame = 0;
  const frames = { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame: () => {} };
  const memory = createPhysMemory({ size: 0x100_0000 });
  const table = PageTable.create({ memory, frames, tlb, config: pagingConfig({ cBit: 51 }) });
  const total = PAGES + entries;
  table.mapRegion(virtRegion(VA, total * PAGE_SIZE), physAddr(0), PtePreset.Data & ~0x100, {
    pageSize: PageSize.Regular,
  });
  const stale = new Tlb();
  for (let page = PAGES; page < total; page += 1) {
    const found = table.lookup(at(page))!;
    tlb.insert(at(page), found);
    stale.insert(at(page), found);
    if (page % 2 === 0) stale.needsFlush(at(page), PAGE_SIZE);
  }
  return { tlb, stale, table };
}

type World = ReturnType<typeof make>;
const rows: readonly { name: string; per: number; run: (world: World) => void }[] = [
  {
    name: 'setShared4k and setEncrypted4k, a page',
    per: 2 * PAGES,
    run: ({ table }) => {
      for (const page of touched.iterPages(PageSize.Regular)) table.setShared4k(page);
      for (const page of touched.iterPages(PageSize.Regular)) table.setEncrypted4k(page);
    },
  },
  {
    name: 'flushPage, a page',
    per: PAGES,
    run: ({ tlb }) => {
      for (const page of touched.iterPages(PageSize.Regular)) tlb.flushPage(page);
    },
  },
  {
    name: 'flushRange of 512 pages, a page',
    per: PAGES,
    run: ({ tlb }) => tlb.flushRange({ start: VA, pages: PAGES }),
  },
  {
    name: 'flushRange of 8 pages, half stale, a page',
    per: 8,
    run: ({ stale }) => stale.flushRange({ start: at(PAGES), pages: 8 }),
  },
  {
    name: 'lookup',
    per: PAGES,
    run: ({ tlb }) => {
      for (const page of touched.iterPages(PageSize.Regular)) tlb.lookup(page);
    },
  },
];

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const sizes = [0, 1000, 50_000];
const worlds = sizes.map(make);
console.log(`A TLB with many entries; Node ${process.versions.node}`);
console.log(`  ${''.padEnd(40)}${sizes.map((size) => `${size} entries`.padStart(24)).join('')}`);
for (const { name, per, run } of rows) {
  const times = worlds.map((): number[] => []);
  for (let round = 0; round < ROUNDS + 5; round += 1) {
    for (const [i, world] of worlds.entries()) {
      const start = performance.now();
      run(world);
      if (round >= 5) times[i]!.push(((performance.now() - start) * 1e6) / per);
      world.tlb.flushPending();
    }
  }
  const cells = times.map((all) => {
    const own = median(all);
    return `${own.toFixed(0)} ns ${(own / median(times[0]!)).toFixed(2)} ×`.padStart(24);
  });
  console.log(`  ${name.padEnd(40)}${cells.join('')}`);
}
