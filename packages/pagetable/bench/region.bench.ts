/**
 * Operations on regions beside the loop over single pages, random translations beside a walk on bare numbers, and how
 * fast large regions are mapped and listed.
 *
 * Medians over rounds in which every variant runs once; ratios are of the same round.
 */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, type PhysMemory, PtePreset, pagingConfig } from '@svsm/pagetable';

const PAGES = 262_144;
const ROUNDS = 15;
const WARM_UP = 4;
const VA = virtAddr(0xffff_8000_0000_0000n);
const PA = physAddr(0x1_0000_0000);
const config = pagingConfig({ cBit: 51 });
const gibibyte = virtRegion(VA, PageSize.Giant);

/** Frames from a stack, so that every round finds the same ones. */
function pool(frames: number) {
  const free: PhysAddr[] = Array.from({ length: frames }, (_, i) => physAddr(PAGE_SIZE * (frames - 1 - i)));
  return {
    allocateFrame: (): PhysAddr => {
      const frame = free.pop();
      if (frame === undefined) throw new Error('no frame left');
      return frame;
    },
    freeFrame: (frame: PhysAddr): void => {
      free.push(frame);
    },
  };
}

function freshTable(frames: number): { table: PageTable; memory: PhysMemory } {
  const memory = createPhysMemory({ size: frames * PAGE_SIZE });
  return { memory, table: PageTable.create({ memory, frames: pool(frames), config }) };
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] as number;
const nanoseconds = (count: number, run: () => void): number => {
  const start = performance.now();
  run();
  return ((performance.now() - start) * 1e6) / count;
};

interface Variant {
  readonly name: string;
  readonly prepare?: () => void;
  readonly run: () => void;
}

/** Runs all variants in turn; ratios are to the first. */
function compare(title: string, count: number, unit: string, variants: readonly Variant[]): void {
  const times = variants.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [i, { prepare, run }] of variants.entries()) {
      prepare?.();
      const time = nanoseconds(count, run);
      if (round >= WARM_UP) (times[i] as number[]).push(time);
    }
  }
  console.log(title);
  const first = times[0] as number[];
  for (const [i, { name }] of variants.entries()) {
    const own = times[i] as number[];
    const ratio = median(own.map((time, round) => time / (first[round] as number)));
    console.log(
      `  ${name.padEnd(40)} ${median(own).toFixed(2).padStart(8)} ns ${unit}  ${ratio.toFixed(2).padStart(5)} ×`,
    );
  }
}

{
  const { table } = freshTable(1024);
  table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
  compare(
    `Share and take back ${PAGES} mapped pages of 4 KiB; Node ${process.versions.node}`,
    2 * PAGES,
    'a page',
    [
      {
        name: 'page by page (baseline)',
        run: () => {
          for (const page of gibibyte.iterPages(PageSize.Regular)) table.setShared4k(page);
          for (const page of gibibyte.iterPages(PageSize.Regular)) table.setEncrypted4k(page);
        },
      },
      {
        name: 'setSharedRegion, setEncryptedRegion',
        run: () => {
          table.setSharedRegion(gibibyte);
          table.setEncryptedRegion(gibibyte);
        },
      },
    ],
  );
}

{
  let { table } = freshTable(1024);
  const prepare = (): void => {
    ({ table } = freshTable(1024));
  };
  compare(`Map ${PAGES} pages of 4 KiB, from empty`, PAGES, 'a page', [
    {
      name: 'page by page (baseline)',
      prepare,
      run: () => {
        let frame = Number(PA);
        for (const page of gibibyte.iterPages(PageSize.Regular)) {
          table.map4k(page, physAddr(frame), PtePreset.Data);
          frame += PAGE_SIZE;
        }
      },
    },
    {
      name: 'mapRegion',
      prepare,
      run: () => table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular }),
    },
  ]);
}

{
  const { table, memory } = freshTable(1024);
  table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
  const words = memory.words(0, false);
  const tableAt = (at: number): number =>
    ((words[at + 1] as number) & 0x7_ffff) * 0x10_0000 + ((words[at] as number) >>> 12);
  const bare = (page: number): number => {
    let at = 2 * (Math.floor(page / 0x80_0000_0000) & 511);
    if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
    at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x4000_0000) & 511);
    if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
    at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x20_0000) & 511);
    if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
    at = tableAt(at) * 1024 + 2 * (Math.floor(page / 0x1000) & 511);
    if (((words[at] as number) & 1) === 0) throw new Error('not mapped');
    return tableAt(at) * 4096 + (page & 4095);
  };
  let state = 1;
  const offsets = Array.from({ length: 65_536 }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state % PageSize.Giant;
  });
  const addresses = offsets.map((offset) => (VA + BigInt(offset)) as VirtAddr);
  const numbers = offsets.map((offset) => offset - 0x8000_0000_0000);
  let sink = 0;
  compare('Translate 65536 random addresses in 1 GiB of 4 KiB pages', 65_536, 'each', [
    {
      name: 'bare numbers, one array (baseline)',
      run: () => {
        for (const address of numbers) sink += bare(address);
      },
    },
    {
      name: 'translate',
      run: () => {
        for (const address of addresses) if (table.translate(address) === undefined) sink += 1;
      },
    },
    {
      name: 'access, looking only',
      run: () => {
        for (const address of addresses) {
          if (table.access(address, 'read', undefined, { update: false }).type !== 'translation') sink += 1;
        }
      },
    },
  ]);
  if (sink < 0) throw new Error('unreachable');
}

console.log('Large regions, each from empty; the best of 5');
const best = (title: string, pages: number, frames: number, run: (table: PageTable) => void): void => {
  let least = Number.POSITIVE_INFINITY;
  let tables = 0;
  for (let round = 0; round < 5; round += 1) {
    const memory = createPhysMemory({ regions: [physRegion(physAddr(0), frames * PAGE_SIZE)] });
    const table = PageTable.create({ memory, frames: pool(frames), config });
    least = Math.min(
      least,
      nanoseconds(1, () => run(table)),
    );
    tables = table.countTables();
  }
  const perSecond = (pages / least) * 1e3;
  console.log(
    `  ${title.padEnd(40)} ${perSecond.toFixed(1).padStart(8)} million pages/s  ${tables * PAGE_SIZE} bytes of frames`,
  );
};
best('mapRegion, 1 TiB by 1 GiB', 1024, 16, (table) =>
  table.mapRegion(virtRegion(VA, 2n ** 40n), physAddr(0), PtePreset.Data),
);
best('mapRegion, 64 GiB by 2 MiB', 32_768, 128, (table) =>
  table.mapRegion(virtRegion(VA, 2n ** 36n), physAddr(0), PtePreset.Data, { pageSize: PageSize.Huge }),
);
{
  const { table } = freshTable(1024);
  table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
  let runs = 0;
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 10; round += 1) {
    const time = nanoseconds(1, () => {
      for (const _ of table.mappings()) runs += 1;
    });
    least = Math.min(least, time);
  }
  if (runs !== 10) throw new Error(`${runs} runs`);
  console.log(
    `  ${'mappings, 1 GiB of 4 KiB'.padEnd(40)} ${((PAGES / least) * 1e3).toFixed(1).padStart(8)} million pages/s  ${table.countTables() * PAGE_SIZE} bytes of frames`,
  );
}
