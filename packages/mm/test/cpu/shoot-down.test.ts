import { PAGE_SIZE, PageSize, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { ShootDown } from '../../src/cpu/shoot-down.ts';
import { bootWorld } from '../support/world.ts';

/** Makes each processor cache the translations of the pages of a region of the heap. */
function fill(world: ReturnType<typeof bootWorld>, pages: number) {
  const { svsm } = world;
  const region = svsm.pages.allocateRun(pages);
  svsm.kernel.split4k(region.start);
  svsm.processors.shootDown.broadcast();
  for (const page of region.iterPages(PAGE_SIZE)) for (const { vcpu } of svsm.cpus) vcpu.read(page, 1);
  const held = (): number[] =>
    svsm.cpus.map(({ tlb }) => [...region.iterPages(PAGE_SIZE)].filter((page) => tlb.lookup(page)).length);
  return { region, held };
}

describe('a flush', () => {
  test('of one processor leaves the others alone', () => {
    const world = bootWorld({ cpus: 3 });
    const { region, held } = fill(world, 4);
    expect(held()).toEqual([4, 4, 4]);
    world.svsm.on(1, () => world.svsm.thisCpu().flush(region));
    expect(held()).toEqual([4, 0, 4]);
  });

  test('of all processors drops exactly the region', () => {
    const world = bootWorld({ cpus: 3 });
    const { region, held } = fill(world, 20);
    const part = virtRegion(virtAddr(region.start + 0x2000n), 17 * PAGE_SIZE);
    world.svsm.processors.shootDown.broadcast(part);
    expect(held()).toEqual([3, 3, 3]);
  });

  test.each([
    [
      'of everything, of one processor',
      (world: ReturnType<typeof bootWorld>) => world.svsm.cpus[1]!.flush(),
      [4, 0],
    ],
    [
      'of everything, of all',
      (world: ReturnType<typeof bootWorld>) => world.svsm.processors.shootDown.broadcast(),
      [0, 0],
    ],
  ])('%s', (_, run, left) => {
    const world = bootWorld({ cpus: 2 });
    const { held } = fill(world, 4);
    run(world);
    expect(held()).toEqual(left);
  });
});

test('counts flushes, instructions, and the flushes of everything', () => {
  const { svsm } = bootWorld({
    cpus: 2,
    flush: { fullFlushThreshold: 16, localFullFlushThreshold: 12, invlpgbCountMax: 3 },
  });
  const { shootDown } = svsm.processors;
  const before = shootDown.counts;
  const since = () =>
    Object.fromEntries(
      Object.entries(shootDown.counts).map(([name, count]) => [name, count - before[name as 'local']]),
    );
  const region = (pages: number, size: PageSize = PageSize.Regular) =>
    virtRegion(svsm.pages.region.start, pages * size);
  svsm.thisCpu().flush(region(12));
  expect(since()).toEqual({ local: 1, broadcast: 0, instructions: 12, full: 0 });
  svsm.thisCpu().flush(region(13));
  expect(since()).toEqual({ local: 2, broadcast: 0, instructions: 13, full: 1 });
  shootDown.broadcast(region(9));
  expect(since()).toEqual({ local: 2, broadcast: 1, instructions: 16, full: 1 });
  shootDown.broadcast(region(16));
  expect(since()).toEqual({ local: 2, broadcast: 2, instructions: 20, full: 1 });
  shootDown.broadcast(region(17));
  expect(since()).toEqual({ local: 2, broadcast: 3, instructions: 21, full: 2 });
  shootDown.broadcast(virtRegion(svsm.layout.globalMappings.huge.start, 8 * PageSize.Huge), PageSize.Huge);
  expect(since()).toEqual({ local: 2, broadcast: 4, instructions: 23, full: 2 });
});

// Linux, `tlb_single_page_flush_ceiling`: a full flush costs less than so many INVLPG.
test.each([
  [33, 33, 0],
  [34, 1, 1],
])('flushes one processor of %i pages by %i instructions', (pages, instructions, full) => {
  const { svsm } = bootWorld();
  const { shootDown } = svsm.processors;
  const before = shootDown.counts;
  svsm.thisCpu().flush(virtRegion(svsm.pages.region.start, pages * PAGE_SIZE));
  const { counts } = shootDown;
  expect([counts.instructions - before.instructions, counts.full - before.full]).toEqual([
    instructions,
    full,
  ]);
});

test('reports each flush, and each instruction to the machine', () => {
  const seen: string[] = [];
  const world = bootWorld({
    trace: (event) => {
      if (event.type === 'flush') seen.push(`${event.scope} ${event.region?.pageCount() ?? 'all'}`);
    },
  });
  seen.length = 0;
  world.events.length = 0;
  const region = virtRegion(world.svsm.pages.region.start, 9 * PAGE_SIZE);
  world.svsm.processors.shootDown.broadcast(region);
  world.svsm.thisCpu().flush();
  expect(seen).toEqual(['broadcast 9', 'local all']);
  expect(world.events.map(({ type }) => type)).toEqual(['flush', 'flush', 'flush']);
});

test('refuses options that do not exist', () => {
  expect(() => new ShootDown({ fullFlushThreshold: -1 })).toThrow(/INVALID_ARGUMENT/);
  expect(() => new ShootDown({ localFullFlushThreshold: 0.5 })).toThrow(/INVALID_ARGUMENT/);
  expect(() => new ShootDown({ invlpgbCountMax: 0x1_0000 })).toThrow(/INVALID_ARGUMENT/);
  expect(() => new ShootDown({ other: 1 } as never)).toThrow(/INVALID_ARGUMENT/);
});
