import { PAGE_SIZE, PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { isMmError } from '../../src/formats/index.ts';
import { GuestWindow, type GuestWindowOptions } from '../../src/guest/index.ts';
import { bootWorld, MIB } from '../support/world.ts';

const GUEST = 32 * MIB;
const setUp = (options: GuestWindowOptions = {}) => {
  const world = bootWorld();
  const cpu = world.svsm.thisCpu();
  const window = new GuestWindow(cpu, options);
  const use = <T>(page: number, action: (gva: VirtAddr) => T): T =>
    window.access(physAddr(GUEST + page * PAGE_SIZE), PageSize.Regular, action);
  const flushes = (): number => world.svsm.processors.shootDown.counts.local;
  return { ...world, cpu, window, use, flushes };
};

describe('GuestWindow', () => {
  test('maps a page for a moment, private and writable', () => {
    const { cpu, use, svsm } = setUp();
    const at = use(0, (gva) => {
      expect(cpu.pageTable.lookup(gva)).toMatchObject({ shared: false, writable: true, size: PAGE_SIZE });
      cpu.vcpu.write(gva, Uint8Array.of(1, 2));
      return gva;
    });
    expect(cpu.pageTable.lookup(at)).toBeUndefined();
    expect(svsm.guestMemory.read(BigInt(GUEST), 2)).toEqual(Uint8Array.of(1, 2));
  });

  test('maps 2 MiB by one entry', () => {
    const { cpu, window } = setUp();
    window.access(physAddr(GUEST), PageSize.Huge, (gva) => {
      expect(cpu.pageTable.lookup(gva)?.size).toBe(PageSize.Huge);
    });
  });

  test('gives pages that are used together addresses of their own', () => {
    const { use } = setUp();
    const addresses = use(0, (one) => use(1, (two) => use(0, (three) => [one, two, three])));
    expect(new Set(addresses).size).toBe(3);
  });

  test('flushes once for as many pages as it has addresses, before an address leads elsewhere', () => {
    const { cpu, use, flushes, stale } = setUp({ small: 8 });
    const before = flushes();
    for (let page = 0; page < 40; page += 1) {
      use(page, (gva) => cpu.vcpu.write(gva, Uint8Array.of(page)));
    }
    for (let page = 0; page < 40; page += 1) {
      expect(use(page, (gva) => cpu.vcpu.read(gva, 1)[0])).toBe(page);
    }
    expect(flushes() - before).toBe(9);
    expect(stale).toEqual([]);
  });

  test('needs no frame, and leaves no table behind', () => {
    const { svsm, use } = setUp();
    const before = svsm.pages.memoryInfo().freePages;
    for (let page = 0; page < 100; page += 1) use(page, () => {});
    expect(svsm.pages.memoryInfo().freePages).toBe(before);
  });

  test('refuses one page more than it has addresses, and goes on afterwards', () => {
    const { use } = setUp({ small: 2 });
    const nested = () => use(0, () => use(1, () => use(2, () => 'mapped')));
    expect(nested).toThrow('NO_VIRTUAL_RANGE');
    expect(use(0, () => use(1, () => 'mapped'))).toBe('mapped');
  });

  test('unmaps a page whose use throws, or that cannot be mapped', () => {
    const { cpu, window, use } = setUp({ small: 1 });
    let at: VirtAddr | undefined;
    expect(() =>
      use(0, (gva) => {
        at = gva;
        throw new Error('use');
      }),
    ).toThrow('use');
    expect(cpu.pageTable.lookup(at!)).toBeUndefined();
    expect(() => window.access(physAddr(2n ** 51n), PageSize.Regular, () => {})).toThrow(
      'OUTSIDE_PHYSICAL_RANGE',
    );
    expect(use(0, () => 'mapped')).toBe('mapped');
  });

  test('uses no address again whose flush has failed, until one succeeds', () => {
    const { use, hook, stale, cpu } = setUp({ small: 1 });
    use(0, (gva) => cpu.vcpu.write(gva, Uint8Array.of(1)));
    hook.onEvent = ({ type }) => {
      if (type === 'flush') throw new Error('flush');
    };
    let isUsed = false;
    expect(() => use(1, () => (isUsed = true))).toThrow('flush');
    expect(isUsed).toBe(false);
    hook.onEvent = () => {};
    expect(use(1, (gva) => cpu.vcpu.read(gva, 1)[0])).toBe(0);
    expect(stale).toEqual([]);
  });

  test('maps consecutive pages of 2 MiB at consecutive addresses, each by one entry, and unmaps them', () => {
    const { cpu, window, flushes, stale } = setUp({ huge: 4 });
    const run = window.access.run!;
    const before = flushes();
    let first = 0n;
    run(physAddr(GUEST), 3, (gva) => {
      first = gva;
      for (let k = 0n; k < 3n; k += 1n) {
        const at = (gva + k * 0x20_0000n) as VirtAddr;
        expect(cpu.pageTable.lookup(at)).toMatchObject({
          frame: BigInt(GUEST) + k * 0x20_0000n,
          size: PageSize.Huge,
          shared: false,
          writable: true,
        });
        cpu.vcpu.read(at, 1);
      }
      expect(cpu.pageTable.lookup((gva + 3n * 0x20_0000n) as VirtAddr)).toBeUndefined();
    });
    expect(first).not.toBe(0n);
    for (let k = 0n; k < 3n; k += 1n) {
      expect(cpu.pageTable.lookup((first + k * 0x20_0000n) as VirtAddr)).toBeUndefined();
    }
    expect(flushes()).toBe(before);
    let read: number | undefined;
    run(physAddr(GUEST), 4, (gva) => {
      read = cpu.vcpu.read(gva, 1)[0];
    });
    expect(read).toBe(0);
    expect(flushes()).toBe(before + 1);
    expect(stale).toEqual([]);
  });

  test('maps no run while a page of 2 MiB is mapped, or of more pages than it has addresses', () => {
    const { window } = setUp({ huge: 4 });
    const run = window.access.run!;
    const one = (use: () => void): void => window.access(physAddr(GUEST), PageSize.Huge, use);
    const isRun = (count: number, within = (act: () => void): void => act()): boolean => {
      let isCalled = false;
      within(() =>
        run(physAddr(GUEST), count, () => {
          isCalled = true;
        }),
      );
      return isCalled;
    };
    expect([4, 5].map((count) => isRun(count))).toEqual([true, false]);
    expect(isRun(2, one)).toBe(false);
    expect(isRun(2, (act) => run(physAddr(GUEST), 2, act))).toBe(false);
    // The addresses above a run are there for single pages.
    expect(() => run(physAddr(GUEST), 3, () => one(() => {}))).not.toThrow();
    expect(() => run(physAddr(GUEST), 4, () => one(() => {}))).toThrow('NO_VIRTUAL_RANGE');
    expect(() => run(physAddr(GUEST), 0, () => {})).toThrow('INVALID_ARGUMENT');
    expect(() => run(physAddr(GUEST), 2, 5 as never)).toThrow('INVALID_ARGUMENT');
    expect(isRun(4)).toBe(true);
  });

  test('a run that cannot be mapped, or whose use throws, leaves nothing mapped and all addresses', () => {
    const { cpu, window } = setUp({ huge: 2 });
    const run = window.access.run!;
    expect(() => run(physAddr(2n ** 51n), 2, () => {})).toThrow('OUTSIDE_PHYSICAL_RANGE');
    let at: VirtAddr | undefined;
    const fails = (gva: VirtAddr): never => {
      at = gva;
      cpu.part.unmap2m(gva);
      throw new Error('use');
    };
    expect(() => run(physAddr(GUEST), 2, fails)).toThrow('use');
    for (const gva of [at!, (at! + 0x20_0000n) as VirtAddr]) {
      expect(cpu.pageTable.lookup(gva)).toBeUndefined();
    }
    let isMapped = false;
    run(physAddr(GUEST), 2, () => {
      isMapped = true;
    });
    expect(isMapped).toBe(true);
  });

  test('gives its addresses back when it is disposed of, or cannot be made', () => {
    const { svsm, cpu, window, use } = setUp();
    expect([cpu.temp4k.allocations, cpu.temp2m.allocations]).toEqual([1, 1]);
    use(0, () => {});
    window[Symbol.dispose]();
    expect([cpu.temp4k.allocations, cpu.temp2m.allocations]).toEqual([0, 0]);
    expect(() => new GuestWindow(cpu, { huge: 600 })).toThrow('NO_VIRTUAL_RANGE');
    expect(cpu.temp4k.allocations).toBe(0);
    expect(svsm.thisCpu()).toBe(cpu);
  });

  test.each([{ small: 0 }, { huge: 0.5 }, { size: 1 }])('refuses the options %o', (options) => {
    const { cpu } = setUp();
    try {
      new GuestWindow(cpu, options as GuestWindowOptions);
    } catch (error) {
      expect(isMmError(error, 'INVALID_ARGUMENT')).toBe(true);
    }
  });
});
