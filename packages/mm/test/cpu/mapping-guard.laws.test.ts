import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, PageTable } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Svsm } from '../../src/boot/svsm.ts';
import { MappingGuard, type MappingSpace } from '../../src/cpu/mapping-guard.ts';
import { VirtualRange } from '../../src/cpu/virtual-range.ts';
import { isMmError } from '../../src/formats/mm-error.ts';
import { FailingWorld, failuresOf } from '../support/injection.ts';
import { bootWorld, mib } from '../support/world.ts';

const PLACES = {
  'one processor': (svsm: Svsm, region: MemoryRegion<PhysAddr>) => svsm.thisCpu().map(region),
  'all processors': (svsm: Svsm, region: MemoryRegion<PhysAddr>) => svsm.mapGlobal(region),
};

describe.each(Object.entries(PLACES))('a mapping of %s', (_, map) => {
  const region = physRegion(physAddr(0x5000), 3 * PAGE_SIZE);
  const use = (svsm: Svsm): void => {
    using guard = map(svsm, region);
    for (const cpu of svsm.cpus.slice(0, 1)) cpu.vcpu.read(guard.region.start, 3 * PAGE_SIZE);
  };
  const booted = () => {
    const world = new FailingWorld();
    return { world, svsm: Svsm.boot(world.options) };
  };

  test('at whatever point it fails: nothing is left after the next release, and no address is handed out while a TLB holds it', () => {
    const { world, svsm } = booted();
    world.arm();
    use(svsm);
    const points = [...failuresOf(world.passed)];
    expect(points.length).toBeGreaterThan(3);
    for (const point of points) {
      const { world, svsm } = booted();
      use(svsm);
      const before = world.stateOf(svsm);
      let guard: MappingGuard | undefined;
      world.arm(point);
      try {
        guard = map(svsm, region);
        svsm.thisCpu().vcpu.read(guard.region.start, 1);
        guard[Symbol.dispose]();
      } catch {
        world.disarm();
        // Either the mapping was never made, or its addresses stay taken until the flush has happened.
        if (guard !== undefined && svsm.thisCpu().tlb.pending.length > 0) {
          using other = map(svsm, region);
          expect(other.read(0, 1).length).toBe(1);
        }
        guard?.[Symbol.dispose]();
      }
      world.disarm();
      expect(world.stateOf(svsm), JSON.stringify(point)).toEqual(before);
      expect(world.stale, JSON.stringify(point)).toEqual([]);
      use(svsm);
    }
  });
});

test('random mappings on several processors: no stale translation is used, and everything comes back', () => {
  const step = fc.oneof(
    fc.record({
      cpu: fc.nat(2),
      isGlobal: fc.boolean(),
      page: fc.integer({ min: 0, max: 400 }),
      pages: fc.integer({ min: 1, max: 4 }),
      huge: fc.boolean(),
    }),
    fc.nat(10),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { svsm, stale } = bootWorld({ cpus: 3 });
      const tables = [svsm.kernel, ...svsm.cpus.map(({ part }) => part)].map((part) => part.countTables());
      const held: { guard: MappingGuard; cpu: number; isGlobal: boolean; phys: bigint }[] = [];
      const content = new Map<bigint, number>();
      for (const one of steps) {
        if (typeof one === 'number') {
          const [last] = held.splice(one % Math.max(held.length, 1), 1);
          if (last !== undefined) svsm.on(last.cpu, () => last.guard[Symbol.dispose]());
          continue;
        }
        const { cpu, isGlobal, page, pages, huge } = one;
        const region = huge
          ? mib(32 + 2 * (page % 8), 2 * pages)
          : physRegion(physAddr(page * PAGE_SIZE), pages * PAGE_SIZE);
        svsm.on(cpu, () => {
          const guard = isGlobal ? svsm.mapGlobal(region) : svsm.thisCpu().map(region);
          held.push({ guard, cpu, isGlobal, phys: region.start });
        });
        for (const { guard, cpu: owner, isGlobal: everywhere, phys } of held) {
          svsm.on(everywhere ? cpu : owner, () => {
            expect(guard.read(0, 1)[0]).toBe(content.get(phys) ?? 0);
            const value = (content.get(phys) ?? 0) === 200 ? 1 : 200;
            guard.write(0, Uint8Array.of(value));
            content.set(phys, value);
          });
        }
      }
      for (const { guard } of held) guard[Symbol.dispose]();
      expect(stale).toEqual([]);
      expect([svsm.kernel, ...svsm.cpus.map(({ part }) => part)].map((part) => part.countTables())).toEqual(
        tables,
      );
      expect(svsm.cpus.map(({ temp4k, temp2m }) => temp4k.allocations + temp2m.allocations)).toEqual([
        0, 0, 0,
      ]);
    }),
    { numRuns: Math.ceil(Number(process.env['FC_NUM_RUNS']) / 5) },
  );
});

describe('regions at the edges of the address space', () => {
  const flushed: MemoryRegion<VirtAddr>[] = [];
  function spaceAt(
    start: bigint,
    pages: number,
    frames = 100,
  ): MappingSpace & { readonly table: PageTable; taken(): number } {
    let next = 0;
    const memory = createPhysMemory({ size: 0x20_0000 });
    const allocateFrame = (): PhysAddr => {
      if (next >= frames) throw new Error('no frame');
      return physAddr(0x1000 * next++);
    };
    const table = PageTable.create({ memory, frames: { allocateFrame, freeFrame: () => (next -= 1) } });
    const range = new VirtualRange(virtRegion(virtAddr(start), pages * PAGE_SIZE), { guardPages: 0 });
    return {
      table,
      taken: () => next,
      mapper: table,
      small: range,
      huge: range,
      isGlobal: true,
      vcpu: () => {
        throw new Error('no processor');
      },
      flush: (region) => flushed.push(region),
    };
  }

  test.each([
    ['across 512 GiB', 0xffff_ff7f_ffff_e000n],
    ['up to the hole', 0x7fff_ffff_c000n],
    ['from the hole on', 0xffff_8000_0000_0000n],
    ['up to 2^64', 0xffff_ffff_ffff_c000n],
    ['across 1 GiB and 2 MiB', 0xffff_ff80_3fff_e000n],
  ])('%s, every page is mapped, unmapped and flushed', (_, start) => {
    const space = spaceAt(start, 4);
    const phys = physRegion(physAddr(0x10_0000), 4 * PAGE_SIZE);
    const guard = MappingGuard.create(space, phys);
    const pages = [...guard.region.iterPages(PageSize.Regular)];
    expect(pages.map((page) => space.table.translate(page))).toEqual([...phys.iterPages(PageSize.Regular)]);
    expect(() => MappingGuard.create(space, phys)).toThrow(/NO_VIRTUAL_RANGE/);
    flushed.length = 0;
    guard[Symbol.dispose]();
    expect(flushed.map(({ start: at, size }) => [at, size])).toEqual([[start, 0x4000n]]);
    expect(pages.map((page) => space.table.translate(page))).toEqual(Array(4).fill(undefined));
    expect(space.small.allocations).toBe(0);
  });

  test('across 512 GiB, whatever frame is missing, nothing is left of a mapping that fails half-way', () => {
    const start = 0xffff_ff7f_ffff_e000n;
    const phys = physRegion(physAddr(0x10_0000), 4 * PAGE_SIZE);
    let failures = 0;
    for (let frames = 1; ; frames += 1) {
      const space = spaceAt(start, 4, frames);
      try {
        MappingGuard.create(space, phys);
        break;
      } catch (error) {
        failures += 1;
        expect(isMmError(error)).toBe(false);
        expect([space.taken(), space.small.allocations, [...space.table.mappings()].length]).toEqual([
          1, 0, 0,
        ]);
      }
    }
    // Two subtrees of three tables each.
    expect(failures).toBe(6);
  });
});
