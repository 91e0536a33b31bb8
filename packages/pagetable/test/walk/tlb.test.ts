import { PageSize, physAddr, Virt, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import type { TlbEntry } from '../../src/walk/tlb-space.ts';
import type { MappedPage } from '../../src/walk/walk.ts';
import { FramePool } from '../support/frame-pool.ts';

const VA = virtAddr(0xffff_8000_0000_0000n);
const at = (offset: number): VirtAddr => (VA + BigInt(offset)) as VirtAddr;

function make() {
  const staleUses: VirtAddr[] = [];
  const tlb = new Tlb({ onStaleUse: (_, vaddr) => staleUses.push(vaddr) });
  const memory = createPhysMemory({ size: 0x10_0000 });
  const frames = new FramePool(1, 32);
  const table = PageTable.create({ memory, frames, tlb, config: pagingConfig({ cBit: 51 }) });
  /** Looks in the TLB, as a processor does; if it has no entry, walks and fills it. */
  const isShared = (vaddr: VirtAddr): boolean | undefined => {
    const held = tlb.lookup(vaddr);
    if (held !== undefined) return held.page.shared;
    const { page } = table.walk(vaddr);
    if (page !== undefined) tlb.insert(vaddr, page);
    return page?.shared;
  };
  return { tlb, table, isShared, staleUses };
}

describe('Tlb', () => {
  test('has a page for each of its addresses, and only pages that were filled in', () => {
    const { tlb, table, isShared } = make();
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    expect(isShared(at(0x1234))).toBe(false);
    expect(tlb.lookup(at(0x1f_ffff))?.page.size).toBe(PageSize.Huge);
    expect(tlb.lookup(at(0x20_0000))).toBeUndefined();
  });

  // P29, P31
  test('keeps a stale translation until it is flushed, and reports each use', () => {
    const { tlb, table, isShared, staleUses } = make();
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    isShared(at(0x3000));
    table.setShared4k(at(0x3000));
    expect(isShared(at(0x3000))).toBe(false);
    expect(staleUses).toEqual([at(0x3000)]);
    expect(tlb.pending.map(String)).toEqual(['[0xffff800000000000-0xffff800000200000)']);
    tlb.flushPending();
    expect(tlb.pending).toEqual([]);
    expect(isShared(at(0x3000))).toBe(true);
    expect(isShared(at(0x4000))).toBe(false);
    expect(staleUses).toHaveLength(1);
  });

  // P31, P41
  test('flushPage drops the page of any size that holds the address', () => {
    const { tlb, table, isShared } = make();
    table.map2m(VA, physAddr(0x20_0000), PtePreset.Data);
    table.map4k(at(0x20_0000), physAddr(0x1000), PtePreset.Data);
    isShared(VA);
    isShared(at(0x20_0000));
    tlb.flushPage(at(0x1f_f123));
    expect(tlb.lookup(VA)).toBeUndefined();
    expect(tlb.lookup(at(0x20_0000))).toBeDefined();
  });

  test('flushPage removes its page from the pending regions', () => {
    const { tlb, table } = make();
    for (const offset of [0, 0x1000, 0x2000]) table.map4k(at(offset), physAddr(offset), PtePreset.Data);
    for (const offset of [0, 0x1000, 0x2000]) table.setShared4k(at(offset));
    expect(tlb.pending.map(String)).toEqual(['[0xffff800000000000-0xffff800000003000)']);
    tlb.flushPage(at(0x1fff));
    expect(tlb.pending.map(({ size }) => size)).toEqual([0x1000n, 0x1000n]);
    tlb.flushAll();
    expect(tlb.pending).toEqual([]);
  });

  test('flushPending keeps entries that have not changed', () => {
    const { tlb, table, isShared } = make();
    table.map4k(VA, physAddr(0), PtePreset.Data);
    table.map4k(at(0x1000), physAddr(0x1000), PtePreset.Data);
    isShared(VA);
    isShared(at(0x1000));
    table.unmap4k(VA);
    tlb.flushPending();
    expect(tlb.lookup(VA)).toBeUndefined();
    expect(tlb.lookup(at(0x1000))?.isStale).toBe(false);
    tlb.flushAll();
    expect(tlb.lookup(at(0x1000))).toBeUndefined();
  });
});

describe('address spaces', () => {
  /** A TLB, two page tables with two pages each, and a function that uses them as a processor does. */
  function makeTwo(options: ConstructorParameters<typeof Tlb>[0] = {}) {
    const staleUses: (string | undefined)[] = [];
    const tlb = new Tlb({ ...options, onStaleUse: ({ staleBy }) => staleUses.push(staleBy) });
    const memory = createPhysMemory({ size: 0x10_0000 });
    const frames = new FramePool(1, 64);
    const tables = [1, 2].map((pcid) =>
      PageTable.create({ memory, frames, tlb: tlb.forPcid(pcid), config: pagingConfig({ cBit: 51 }) }),
    ) as [PageTable, PageTable];
    tables.forEach((table, i) => {
      table.map4k(VA, physAddr(0x1000 * (i + 1)), PteFlags.Writable);
      table.map4k(at(0x1000), physAddr(0x9000), PteFlags.Writable | PteFlags.Global);
    });
    const use = (pcid: 1 | 2, vaddr: VirtAddr): bigint | undefined => {
      tlb.loadCr3({ pcid, keep: true });
      const held = tlb.lookup(vaddr)?.page;
      const page = held ?? tables[pcid - 1]!.walk(vaddr).page;
      if (held === undefined && page !== undefined) tlb.insert(vaddr, page);
      return page?.frame;
    };
    return { tlb, tables, use, staleUses };
  }

  // P28, P30
  test('have their own translations, and share global ones', () => {
    const { tlb, use } = makeTwo();
    expect([use(1, VA), use(2, VA), use(1, VA)]).toEqual([0x1000n, 0x2000n, 0x1000n]);
    use(1, at(0x1000));
    tlb.loadCr3({ pcid: 2, keep: true });
    expect(tlb.lookup(at(0x1000))).toMatchObject({ isGlobal: true, pcid: 1 });
  });

  // P30, P41
  test('lose entries that are not global with a load of CR3: those of the new PCID, or of all', () => {
    const { tlb, use } = makeTwo();
    for (const pcid of [1, 2] as const) use(pcid, VA);
    use(1, at(0x1000));
    tlb.loadCr3({ pcid: 1 });
    expect(tlb.lookup(VA)).toBeUndefined();
    expect(tlb.lookup(at(0x1000))).toBeDefined();
    tlb.loadCr3({ pcid: 2, keep: true });
    expect(tlb.lookup(VA)).toBeDefined();
    tlb.loadCr3();
    expect(tlb.pcid).toBe(0);
    tlb.loadCr3({ pcid: 2, keep: true });
    expect(tlb.lookup(VA)).toBeUndefined();
    expect(tlb.lookup(at(0x1000))).toBeDefined();
  });

  // P30, P41
  test('lose global entries with a change of CR4.PGE, and have none while it is clear', () => {
    const { tlb, use } = makeTwo();
    use(1, at(0x1000));
    tlb.setGlobalPages(true);
    expect(tlb.lookup(at(0x1000))).toBeDefined();
    tlb.setGlobalPages(false);
    expect(tlb.lookup(at(0x1000))).toBeUndefined();
    use(1, at(0x1000));
    tlb.loadCr3({ pcid: 1 });
    expect(tlb.lookup(at(0x1000))).toBeUndefined();
  });

  test('a change that the table of one reports makes its entries and global ones stale', () => {
    const { tlb, tables, use, staleUses } = makeTwo();
    for (const pcid of [1, 2] as const) use(pcid, VA);
    use(2, at(0x1000));
    tables[0].protect4k(VA, { clear: PteFlags.Writable });
    use(2, VA);
    expect(staleUses).toEqual([]);
    use(1, VA);
    expect(staleUses).toEqual(['protect4k']);
    tables[0].unmap4k(at(0x1000));
    use(2, at(0x1000));
    expect(staleUses).toEqual(['protect4k', 'unmap4k']);
    // The global entry survives a load of CR3, so its page stays pending. The pages that the load has flushed do not.
    tlb.loadCr3({ pcid: 1 });
    expect(tlb.pending.map(String)).toEqual(['[0xffff800000001000-0xffff800000002000)']);
    tlb.flushPage(at(0x1000));
    tlb.loadCr3({ pcid: 1 });
    expect(tlb.pending).toEqual([]);
  });

  // P41
  test('INVLPG drops entries of the current one and global entries', () => {
    const { tlb, use, tables } = makeTwo();
    for (const pcid of [1, 2] as const) use(pcid, VA);
    tables[0].unmap4k(VA);
    tlb.flushPage(VA);
    expect(tlb.pending).toHaveLength(1);
    tlb.loadCr3({ pcid: 1, keep: true });
    expect(tlb.lookup(VA)?.isStale).toBe(true);
    tlb.flushPage(VA);
    expect(tlb.pending).toEqual([]);
    tlb.loadCr3({ pcid: 2, keep: true });
    expect(tlb.lookup(VA)).toBeUndefined();
  });

  test('a region that is pending for one is not settled by a flush of another', () => {
    const { tlb, tables } = makeTwo();
    // Neither has an entry, and the two pages are adjacent.
    tables[0].unmap4k(VA);
    tables[1].unmap4k(at(0x1000));
    expect(tlb.pending.map(({ start }) => start)).toEqual([VA, at(0x1000)]);
    tlb.loadCr3({ pcid: 2, keep: true });
    tlb.flushPage(VA);
    expect(tlb.pending).toHaveLength(2);
    tlb.loadCr3({ pcid: 2 });
    expect(tlb.pending.map(({ start }) => start)).toEqual([VA]);
    tlb.loadCr3({ pcid: 1 });
    expect(tlb.pending).toEqual([]);
  });

  // P41
  test('without PCIDs, a load of CR3 drops every entry that is not global, whatever bit 63 is', () => {
    const { tlb, tables, use } = makeTwo();
    use(1, VA);
    tables[0].unmap4k(VA);
    tlb.loadCr3({ keep: true });
    expect(tlb.pending).toEqual([]);
    tlb.loadCr3({ pcid: 1, keep: true });
    expect(tlb.lookup(VA)).toBeUndefined();
  });

  test('a new entry that is not stale keeps nothing pending', () => {
    const { tlb, table } = make();
    table.map4k(VA, physAddr(0x1000), PtePreset.ReadOnly & ~PteFlags.Global);
    table.unmap4k(VA);
    table.map4k(VA, physAddr(0x7000), PtePreset.ReadOnly & ~PteFlags.Global);
    tlb.insert(VA, table.lookup(VA)!);
    expect(tlb.pending).toHaveLength(1);
    tlb.flushRange({ start: at(0x4000_0000), pages: 1 });
    expect(tlb.pending).toHaveLength(1);
    tlb.flushRange({ start: VA, pages: 1, pcid: 3 });
    expect(tlb.pending).toEqual([]);
    expect(tlb.lookup(VA)?.isStale).toBe(false);
  });

  test('a flush of a range leaves pending what lies outside of it', () => {
    const { tlb } = makeTwo();
    tlb.needsFlush(at(0), 0x4000);
    tlb.flushRange({ start: at(0x1000), pages: 2 });
    expect(tlb.pending.map(({ start, size }) => [start, size])).toEqual([
      [at(0), 0x1000n],
      [at(0x3000), 0x1000n],
    ]);
    tlb.flushRange({ start: at(0), pages: 1, stride: PageSize.Huge });
    expect(tlb.pending).toEqual([]);
  });

  test('what is pending is bounded, however many PCIDs report', () => {
    const tlb = new Tlb();
    for (let pcid = 0; pcid < 64; pcid += 1) {
      const listener = tlb.forPcid(pcid);
      for (let k = 0; k < 300; k += 1) listener.needsFlush(at(k * 0x4000), 0x1000, 'unmap4k');
    }
    expect(tlb.pending.length).toBeLessThan(6000);
  });

  test('an entry names the first operation that made it stale', () => {
    const { tlb, tables, use } = makeTwo();
    use(1, VA);
    tables[0].protect4k(VA, { clear: PteFlags.Writable });
    tables[0].unmap4k(VA);
    expect(tlb.lookup(VA)).toMatchObject({ staleBy: 'protect4k' });
    expect(tlb.lookup(VA)?.region.kind).toBe(Virt);
  });

  test('INVLPG keeps a page pending while another PCID has a stale entry', () => {
    const { tlb, table, isShared } = make();
    table.map4k(VA, physAddr(0x1000), PtePreset.ReadOnly & ~PteFlags.Global);
    tlb.loadCr3({ pcid: 2, keep: true });
    isShared(VA);
    table.unmap4k(VA);
    tlb.loadCr3({ pcid: 1, keep: true });
    tlb.flushPage(VA);
    expect(tlb.pending).toHaveLength(1);
    tlb.loadCr3({ pcid: 2, keep: true });
    tlb.flushPage(VA);
    expect(tlb.pending).toEqual([]);
  });

  // P41
  test('INVLPG of an address that is not canonical does nothing', () => {
    const { tlb, table, isShared } = make();
    table.map4k(VA, physAddr(0x1000), PtePreset.Data);
    isShared(VA);
    tlb.flushPage(0x8000_0000_0000n as VirtAddr);
    expect(tlb.lookup(VA)).toBeDefined();
  });

  // P33
  test('INVLPGB drops a range, of one PCID or of all, with or without global entries', () => {
    const { tlb, use, tables } = makeTwo();
    const fill = (): void => {
      for (const pcid of [1, 2] as const) use(pcid, VA);
      use(1, at(0x1000));
    };
    const held = (): boolean[] =>
      ([1, 2] as const).flatMap((pcid) => {
        tlb.loadCr3({ pcid, keep: true });
        return [VA, at(0x1000)].map((vaddr) => tlb.lookup(vaddr) !== undefined);
      });
    fill();
    tlb.flushRange({ start: VA, pages: 2, pcid: 1 });
    expect(held()).toEqual([false, true, true, true]);
    fill();
    tlb.flushRange({ start: VA, pages: 2 });
    expect(held()).toEqual([false, true, false, true]);
    fill();
    tlb.flushRange({ start: VA, pages: 1, includeGlobal: true });
    expect(held()).toEqual([false, true, false, true]);
    tlb.flushRange({ start: VA, pages: 2, includeGlobal: true });
    expect(held()).toEqual([false, false, false, false]);
    fill();
    tables[0].unmap4k(VA);
    tlb.flushRange({ start: VA, pages: 1, stride: PageSize.Huge });
    expect(tlb.pending).toEqual([]);
    expect(held()).toEqual([false, true, false, true]);
  });

  test('a broadcast that flushes a part of the pending regions leaves the rest', () => {
    const { tlb, tables, use } = makeTwo();
    tables[0].map4k(at(0x2000), physAddr(0x4000), 0);
    for (const offset of [0, 0x2000]) use(1, at(offset));
    for (const offset of [0, 0x2000]) tables[0].unmap4k(at(offset));
    expect(tlb.pending).toHaveLength(2);
    tlb.flushRange({ start: VA, pages: 2 });
    expect(tlb.pending.map(({ start }) => start)).toEqual([at(0x2000)]);
  });

  test('the pending regions do not grow without limit', () => {
    const tlb = new Tlb();
    for (let i = 0; i < 5000; i += 1) tlb.needsFlush(at(0x2000 * i), 0x1000, 'unmap4k');
    expect(tlb.pending.map(String)).toEqual([
      '[0x0000000000000000-0x0000800000000000)',
      '[0xffff800000000000-0x10000000000000000)',
    ]);
    expect(tlb.pending).toHaveLength(2);
    tlb.flushPending();
    for (let i = 0; i < 5000; i += 1) tlb.needsFlush(at(0x1000 * (i % 7)), 0x1000, 'unmap4k');
    expect(tlb.pending.map(String)).toEqual(['[0xffff800000000000-0xffff800000007000)']);
  });

  test('a range past the end of the address space continues at 0', () => {
    const { tlb, table, isShared } = make();
    const last = 0xffff_ffff_ffff_f000n as VirtAddr;
    for (const vaddr of [last, virtAddr(0)]) {
      table.map4k(vaddr, physAddr(0x1000), PteFlags.Writable);
      isShared(vaddr);
    }
    tlb.flushRange({ start: last, pages: 2 });
    expect([tlb.lookup(last), tlb.lookup(virtAddr(0))]).toEqual([undefined, undefined]);
  });

  test('flushPending drops everything above the threshold', () => {
    const { tlb, use, tables } = makeTwo({ fullFlushThreshold: 1 });
    use(2, VA);
    tables[0].unmap4k(VA);
    expect(tlb.flushPending()).toBe(false);
    expect(tlb.lookup(VA)).toBeDefined();
    tables[0].map4k(VA, physAddr(0), 0);
    tables[0].unmapRegion(virtRegion(VA, 0x2000));
    expect(tlb.flushPending()).toBe(true);
    expect(tlb.lookup(VA)).toBeUndefined();
  });

  test('five levels have their own addresses', () => {
    const tlb = new Tlb({ levels: 5 });
    const memory = createPhysMemory({ size: 0x10_0000 });
    const table = PageTable.create({
      memory,
      frames: new FramePool(1, 8),
      tlb,
      config: pagingConfig({ levels: 5 }),
    });
    const vaddr = 0xff00_0000_0000_0000n as VirtAddr;
    table.map4k(vaddr, physAddr(0x1000), PtePreset.Data);
    const { page } = table.walk(vaddr);
    if (page !== undefined) tlb.insert(vaddr, page);
    table.unmap4k(vaddr);
    expect(tlb.lookup(vaddr)).toMatchObject({ isStale: true, staleBy: 'unmap4k' });
  });
});

describe('onStaleUse', () => {
  /** A TLB with a stale entry at `VA`, whose callback is `act`. */
  function stale(act: (entry: TlbEntry, table: PageTable) => void) {
    const tlb = new Tlb({ onStaleUse: (entry) => act(entry, table) });
    const memory = createPhysMemory({ size: 0x10_0000 });
    const table = PageTable.create({ memory, frames: new FramePool(1, 32), tlb });
    table.map4k(VA, physAddr(0x5000), PtePreset.Data);
    const page = table.walk(VA).page!;
    tlb.insert(VA, page);
    table.unmap4k(VA);
    return { tlb, table, page };
  }

  const CALLS: readonly ((tlb: Tlb, page: MappedPage) => unknown)[] = [
    (tlb) => tlb.lookup(VA),
    (tlb, page) => tlb.insert(at(0x2000), page),
    (tlb) => tlb.flushPage(VA),
    (tlb) => tlb.flushPageOf(0, VA),
    (tlb) => tlb.flushNonGlobal(),
    (tlb) => tlb.flushRange({ start: VA }),
    (tlb) => tlb.flushPending(),
    (tlb) => tlb.flushAll(),
    (tlb) => tlb.loadCr3({ pcid: 3 }),
    (tlb) => tlb.setGlobalPages(false),
    (tlb) => tlb.setSmep(false),
    (tlb) => tlb.setPcids(false),
  ];

  test.each(CALLS.map((call) => [String(call), call] as const))('may not call its TLB: %s', (_, call) => {
    const seen: unknown[] = [];
    const it = stale(({ page }) => {
      try {
        call(it.tlb, page);
      } catch (error) {
        seen.push(error);
      }
    });
    const { tlb } = it;
    expect(tlb.lookup(VA)).toMatchObject({ isStale: true, staleBy: 'unmap4k' });
    expect(seen).toMatchObject([{ code: 'BUSY', details: { during: 'onStaleUse' } }]);
    expect([tlb.pcid, tlb.pcids, tlb.pending.length]).toEqual([0, true, 1]);
    expect(tlb.lookup(at(0x2000))).toBeUndefined();
    expect(tlb.lookup(VA)?.isStale).toBe(true);
    // Afterwards the TLB can be used as before.
    tlb.flushAll();
    expect(() => call(tlb, it.page)).not.toThrow();
  });

  test('may change page tables, whose changes the TLB learns', () => {
    const { tlb } = stale((_, table) => table.map4k(at(0x1000), physAddr(0x6000), PtePreset.Data));
    tlb.lookup(VA);
    const changed = stale((_, table) => table.unmap4k(at(0x1000)));
    changed.table.map4k(at(0x1000), physAddr(0x6000), PtePreset.Data);
    changed.tlb.lookup(VA);
    expect(changed.tlb.pending.map(String)).toEqual([virtRegion(VA, 0x2000).toString()]);
  });

  test('that throws ends the lookup with its error, and changes nothing', () => {
    const error = new Error('stale');
    const { tlb } = stale(() => {
      throw error;
    });
    for (let k = 0; k < 2; k += 1) expect(() => tlb.lookup(VA)).toThrow(error);
    tlb.flushPage(VA);
    expect(tlb.lookup(VA)).toBeUndefined();
  });
});
