import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { bootWorld, mib } from '../support/world.ts';

describe.each(['of one processor', 'of all processors'])('a guard %s', (scope) => {
  const make = () => {
    const world = bootWorld({ cpus: 2 });
    const { svsm } = world;
    const map: typeof svsm.mapGlobal = (...args) =>
      scope === 'of all processors' ? svsm.mapGlobal(...args) : svsm.thisCpu().map(...args);
    return { ...world, map };
  };

  test('reads and writes memory of the guest, until it is released', () => {
    const { svsm, map } = make();
    const page = physRegion(physAddr(0x5000), 2 * PAGE_SIZE);
    {
      using guard = map(page);
      guard.write(0xffe, Uint8Array.of(1, 2, 3, 4));
      expect([...guard.read(0xffd, 6)]).toEqual([0, 1, 2, 3, 4, 0]);
      expect(svsm.virtToPhys(guard.region.start)).toBe(0x5000n);
    }
    using again = map(page);
    expect([...again.read(0xffe, 4)]).toEqual([1, 2, 3, 4]);
  });

  test('takes 2 MiB pages where the region is made of them, else 4 KiB pages', () => {
    const { svsm, map } = make();
    using huge = map(mib(32, 4));
    using small = map(physRegion(physAddr(0x20_1000), 0x10_0000));
    using asked = map(physRegion(physAddr(0), 0x2000), { pageSize: PageSize.Regular });
    expect([huge, small, asked].map((it) => it.pageSize)).toEqual([PageSize.Huge, 0x1000, 0x1000]);
    const { pageTable } = svsm.thisCpu();
    expect(pageTable.lookup(huge.region.start)?.size).toBe(PageSize.Huge);
    expect(pageTable.lookup(asked.region.start)?.size).toBe(PageSize.Regular);
  });

  test('can be read-only, and never executable', () => {
    const { svsm, map } = make();
    using guard = map(mib(32, 2), { writable: false });
    expect(guard.read(5, 1).length).toBe(1);
    expect(() => guard.write(5, Uint8Array.of(1))).toThrow(/PF/);
    expect(svsm.thisCpu().pageTable.lookup(guard.region.start)).toMatchObject({
      writable: false,
      executable: false,
      user: false,
    });
  });

  test('cannot be used after its release, and is released once', () => {
    const { map } = make();
    const guard = map(mib(32, 2));
    guard[Symbol.dispose]();
    guard[Symbol.dispose]();
    expect(guard.isReleased).toBe(true);
    expect(() => guard.region).toThrow(/GUARD_RELEASED/);
    expect(() => guard.read(0, 1)).toThrow(/GUARD_RELEASED/);
    expect(() => guard.write(0, Uint8Array.of(1))).toThrow(/GUARD_RELEASED/);
    expect(() => guard.leak()).toThrow(/GUARD_RELEASED/);
  });

  test('keeps the mapping when it is leaked', () => {
    const { svsm, map } = make();
    const guard = map(mib(32, 2));
    const region = guard.leak();
    guard[Symbol.dispose]();
    expect(svsm.virtToPhys(region.start)).toBe(32n << 20n);
    using other = map(mib(34, 2));
    expect(other.region.overlaps(region)).toBe(false);
  });

  test('refuses accesses outside of it, regions without pages, and options that do not exist', () => {
    const { map } = make();
    using guard = map(physRegion(physAddr(0x5000), PAGE_SIZE));
    expect(() => guard.read(0, 4097)).toThrow(/INVALID_ARGUMENT/);
    expect(() => guard.read(-1, 1)).toThrow(/INVALID_ARGUMENT/);
    expect(() => guard.write(4095, Uint8Array.of(1, 2))).toThrow(/INVALID_ARGUMENT/);
    expect(() => guard.write(0, 'text' as never)).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(physRegion(physAddr(0x5000), 0))).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(physRegion(physAddr(0x5001), PAGE_SIZE))).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(mib(34, 2), { pageSize: null as never })).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(mib(33, 2), { pageSize: PageSize.Huge })).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(mib(32, 2), { pageSize: PageSize.Giant })).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(mib(32, 2), { write: true } as never)).toThrow(/INVALID_ARGUMENT/);
    expect(() => map(mib(32, 2), { writable: 1 } as never)).toThrow(/INVALID_ARGUMENT/);
  });

  test('takes no frame, and gives its addresses back', () => {
    const { svsm, map } = make();
    const before = [svsm.pages.memoryInfo().freePages, svsm.kernel.countTables()];
    const starts = Array.from({ length: 3 }, () => {
      using guard = map(mib(32, 2));
      return guard.region.start;
    });
    expect(new Set(starts).size).toBe(1);
    expect([svsm.pages.memoryInfo().freePages, svsm.kernel.countTables()]).toEqual(before);
  });
});

test('when the range is used up, nothing is left of a mapping that fails', () => {
  const { svsm } = bootWorld();
  const cpu = svsm.thisCpu();
  const large = mib(0, 2);
  using _ = cpu.map(physRegion(large.start, 400 * PAGE_SIZE));
  const before = [...cpu.pageTable.mappings()].length;
  expect(() => cpu.map(physRegion(large.start, 200 * PAGE_SIZE))).toThrow(/NO_VIRTUAL_RANGE/);
  expect([[...cpu.pageTable.mappings()].length, cpu.temp4k.allocations]).toEqual([before, 1]);
});
