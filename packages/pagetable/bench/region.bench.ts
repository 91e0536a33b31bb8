/**
 * Operations on regions compared with the loop over single pages, single operations compared with the same on bare numbers,
 * and the speed of mapping and listing large regions. The slow cases are included: memory that can change at any time, sparse
 * memory, addresses far apart, a first access that splits.
 *
 * In each round every variant runs once over its whole region. Time is processor time of all threads, so it includes garbage
 * collections, and leaves out other work of a shared machine. A row has the median of its runs, and the ratio of that to the
 * median of the first row. Loops are called in 64 pieces, so that they are compiled by themselves. Medians of pieces would leave
 * out the collections, which take up to 40 % of a loop by address.
 */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable, type PhysMemory, PtePreset, pagingConfig } from '@svsm/pagetable';

const PAGES = 262_144;
const ROUNDS = 50;
const WARM_UP = 20;
const VA = virtAddr(0xffff_8000_0000_0000n);
const PA = physAddr(0x1_0000_0000);
const config = pagingConfig({ cBit: 51 });
const gibibyte = virtRegion(VA, PageSize.Giant);

/** An allocator with a stack of frames: every round gets the same ones. */
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

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
const nanoseconds = (count: number, run: () => void): number => {
  const start = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(start);
  return ((user + system) * 1e3) / count;
};

interface Variant {
  readonly name: string;
  readonly prepare?: () => void;
  /** The number of pieces; 1 if not given. */
  readonly pieces?: number;
  readonly run: (piece: number) => void;
}

/** Runs all variants in turn, `count` units each in a round. Ratios are to the first variant. */
function compare(title: string, count: number, unit: string, variants: readonly Variant[]): void {
  const times = variants.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [i, { prepare, pieces = 1, run }] of variants.entries()) {
      prepare?.();
      const time = nanoseconds(count, () => {
        for (let piece = 0; piece < pieces; piece += 1) run(piece);
      });
      if (round >= WARM_UP) times[i]!.push(time);
    }
  }
  console.log(title);
  const base = median(times[0]!);
  for (const [i, { name }] of variants.entries()) {
    const own = median(times[i]!);
    console.log(
      `  ${name.padEnd(40)} ${own.toFixed(2).padStart(8)} ns ${unit}  ${(own / base).toFixed(3).padStart(6)} ×`,
    );
  }
}

const PIECES = 64;
/** The pieces of the gibibyte. */
const PARTS = Array.from({ length: PIECES }, (_, i) =>
  virtRegion((VA + BigInt((i * PageSize.Giant) / PIECES)) as VirtAddr, PageSize.Giant / PIECES),
);

/** A walk on bare numbers: signed addresses, one array, four levels, and a check of the present bits alone. */
function bareTable(words: Uint32Array) {
  const tableAt = (at: number): number => (words[at + 1]! & 0x7_ffff) * 0x10_0000 + (words[at]! >>> 12);
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
  let free = 1;
  const tableBelow = (at: number): number => {
    if ((words[at]! & 1) !== 0) return tableAt(at) * 1024;
    const table = free++;
    words.fill(0, table * 1024, table * 1024 + 1024);
    words[at + 1] = 0x8_0000;
    words[at] = (table << 12) | 0x27;
    return table * 1024;
  };
  return {
    leafAt,
    translate: (address: number): number => tableAt(leafAt(address)) * 4096 + (address & 4095),
    clear: (): void => {
      free = 1;
      words.fill(0, 0, 1024);
    },
    map: (page: number, paddr: number): void => {
      let at = 2 * (Math.floor(page / 0x80_0000_0000) & 511);
      at = tableBelow(at) + 2 * (Math.floor(page / 0x4000_0000) & 511);
      at = tableBelow(at) + 2 * (Math.floor(page / 0x20_0000) & 511);
      at = tableBelow(at) + 2 * (Math.floor(page / 0x1000) & 511);
      if ((words[at]! & 1) !== 0) throw new Error('mapped');
      words[at + 1] = (0x8008_0000 | Math.floor(paddr / 0x1_0000_0000)) >>> 0;
      words[at] = (paddr | 0x163) >>> 0;
    },
  };
}

/** Shares a piece of the gibibyte page by page, and takes it back. */
function loop(one: PageTable): (piece: number) => void {
  return (piece) => {
    const part = PARTS[piece]!;
    for (const page of part.iterPages(PageSize.Regular)) one.setShared4k(page);
    for (const page of part.iterPages(PageSize.Regular)) one.setEncrypted4k(page);
  };
}

const BARE_START = -0x8000_0000_0000;
const C_BIT = 1 << (51 - 32);

{
  const { table, memory } = freshTable(1024);
  table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
  const bareShare = (words: Uint32Array, leafAt: (page: number) => number) => (piece: number) => {
    const start = BARE_START + (piece * PageSize.Giant) / PIECES;
    const end = start + PageSize.Giant / PIECES;
    for (let page = start; page < end; page += PAGE_SIZE) words[leafAt(page) + 1]! &= ~C_BIT;
    for (let page = start; page < end; page += PAGE_SIZE) words[leafAt(page) + 1]! |= C_BIT;
  };
  compare(
    `Share and take back ${PAGES} mapped pages of 4 KiB; Node ${process.versions.node}`,
    2 * PAGES,
    'a page',
    [
      { name: 'page by page (baseline)', pieces: PIECES, run: loop(table) },
      {
        name: 'setSharedRegion, setEncryptedRegion',
        pieces: 2,
        run: (piece) => {
          if (piece === 0) table.setSharedRegion(gibibyte);
          else table.setEncryptedRegion(gibibyte);
        },
      },
      {
        name: 'bare numbers, page by page',
        pieces: PIECES,
        run: bareShare(memory.words(0, true), bareTable(memory.words(0, true)).leafAt),
      },
    ],
  );
}

{
  let { table } = freshTable(1024);
  const prepare = (): void => {
    ({ table } = freshTable(1024));
  };
  const bareWords = new Uint32Array(1024 * 1024);
  const bare = bareTable(bareWords);
  const frameAddresses = Array.from({ length: PAGES }, (_, i) => physAddr(Number(PA) + i * PAGE_SIZE));
  const mapPart = (piece: number): void => {
    let i = (piece * PAGES) / PIECES;
    for (const page of PARTS[piece]!.iterPages(PageSize.Regular)) {
      table.map4k(page, frameAddresses[i++]!, PtePreset.Data);
    }
  };
  compare(`Map ${PAGES} pages of 4 KiB, from empty`, PAGES, 'a page', [
    { name: 'map4k page by page (baseline)', prepare, pieces: PIECES, run: mapPart },
    {
      name: 'mapRegion',
      prepare,
      run: () => table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular }),
    },
    {
      name: 'bare numbers, page by page',
      prepare: bare.clear,
      pieces: PIECES,
      run: (piece) => {
        const first = (piece * PAGES) / PIECES;
        for (let i = first; i < first + PAGES / PIECES; i += 1) {
          bare.map(BARE_START + i * PAGE_SIZE, 0x1_0000_0000 + i * PAGE_SIZE);
        }
      },
    },
    {
      name: 'unmap4k page by page',
      prepare: () => {
        prepare();
        table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
      },
      pieces: PIECES,
      run: (piece) => {
        for (const page of PARTS[piece]!.iterPages(PageSize.Regular)) {
          table.unmap4k(page);
        }
      },
    },
    {
      name: 'share page by page, 2 MiB pages split',
      prepare: () => {
        prepare();
        table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Huge });
      },
      pieces: PIECES,
      run: (piece) => {
        for (const page of PARTS[piece]!.iterPages(PageSize.Regular)) {
          table.setShared4k(page);
        }
      },
    },
    {
      name: 'setSharedRegion, 2 MiB pages kept',
      prepare: () => {
        prepare();
        table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Huge });
      },
      run: () => table.setSharedRegion(gibibyte),
    },
  ]);
}

{
  const { table, memory } = freshTable(1024);
  table.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
  const bare = bareTable(memory.words(0, false));
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state;
  };
  const offsets = Array.from({ length: 65_536 }, () => random() % PageSize.Giant);
  const inPieces = <T>(values: readonly T[]): readonly (readonly T[])[] =>
    Array.from({ length: PIECES }, (_, i) => values.slice(i * 1024, (i + 1) * 1024));
  const addresses = inPieces(offsets.map((offset) => (VA + BigInt(offset)) as VirtAddr));
  const numbers = inPieces(offsets.map((offset) => BARE_START + offset));
  // The same number of pages in 64 different GiB: consecutive walks use different page directories.
  const far = freshTable(1024).table;
  for (let i = 0; i < 64; i += 1) {
    far.mapRegion(
      virtRegion((VA + BigInt(i) * 0x4000_0000n) as VirtAddr, 8 * PageSize.Huge),
      PA,
      PtePreset.Data,
      {
        pageSize: PageSize.Regular,
      },
    );
  }
  const spread = inPieces(
    Array.from({ length: 65_536 }, () => {
      const offset = BigInt(random() % (8 * PageSize.Huge)) + BigInt(random() % 64) * 0x4000_0000n;
      return (VA + offset) as VirtAddr;
    }),
  );
  const cell = new BigUint64Array(1);
  const halves = new Uint32Array(cell.buffer);
  let sink = 0;
  compare('Translate 65536 random addresses in 1 GiB of 4 KiB pages', 65_536, 'each', [
    {
      name: 'bare numbers, one array (baseline)',
      pieces: PIECES,
      run: (piece) => {
        for (const address of numbers[piece] ?? []) sink += bare.translate(address);
      },
    },
    {
      name: 'translate',
      pieces: PIECES,
      run: (piece) => {
        for (const address of addresses[piece] ?? []) if (table.translate(address) === undefined) sink += 1;
      },
    },
    {
      name: 'of that, reading the bigints alone',
      pieces: PIECES,
      run: (piece) => {
        for (const address of addresses[piece] ?? []) {
          cell[0] = address;
          sink += halves[0]!;
        }
      },
    },
    {
      name: 'translate, spread over 64 GiB',
      pieces: PIECES,
      run: (piece) => {
        for (const address of spread[piece] ?? []) if (far.translate(address) === undefined) sink += 1;
      },
    },
    {
      name: 'lookup',
      pieces: PIECES,
      run: (piece) => {
        for (const address of addresses[piece] ?? []) if (table.lookup(address) === undefined) sink += 1;
      },
    },
    {
      name: 'lookup, spread over 64 GiB',
      pieces: PIECES,
      run: (piece) => {
        for (const address of spread[piece] ?? []) if (far.lookup(address) === undefined) sink += 1;
      },
    },
    {
      name: 'walk',
      pieces: PIECES,
      run: (piece) => {
        for (const address of addresses[piece] ?? []) if (table.walk(address).page === undefined) sink += 1;
      },
    },
    {
      name: 'access, looking only',
      pieces: PIECES,
      run: (piece) => {
        for (const address of addresses[piece] ?? []) {
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

{
  // This comes last: engines make code that has run with one kind of memory faster than code that has run with three.
  const fill = (memory: PhysMemory): PageTable => {
    const one = PageTable.create({ memory, frames: pool(1024), config });
    one.mapRegion(gibibyte, PA, PtePreset.Data, { pageSize: PageSize.Regular });
    return one;
  };
  const ofCaller = fill(createPhysMemory({ buffer: new ArrayBuffer(0x40_0000) }));
  const exclusive = fill(createPhysMemory({ buffer: new ArrayBuffer(0x40_0000), exclusive: true }));
  const sparse = fill(createPhysMemory({ regions: [physRegion(physAddr(0), 0x40_0000)] }));
  compare('The same loop in other memory', 2 * PAGES, 'a page', [
    { name: 'flat (baseline)', pieces: PIECES, run: loop(fill(createPhysMemory({ size: 0x40_0000 }))) },
    { name: 'sparse', pieces: PIECES, run: loop(sparse) },
    { name: "a buffer of the caller's, exclusive", pieces: PIECES, run: loop(exclusive) },
    { name: "a buffer of the caller's: walks each time", pieces: PIECES, run: loop(ofCaller) },
  ]);
}
