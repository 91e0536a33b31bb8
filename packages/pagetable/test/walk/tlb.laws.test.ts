/** The TLB against a list of entries, and the flush requests of operations against the changes that they make. */
import { PageSize, physAddr, Virt, type VirtAddr } from '@svsm/address';
import { MemoryRegion, RegionSet, virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import type { TlbListener } from '../../src/walk/tlb-listener.ts';
import type { TlbEntry } from '../../src/walk/tlb-space.ts';
import type { MappedPage } from '../../src/walk/walk.ts';
import { FramePool } from '../support/frame-pool.ts';

const BASE = 0xffff_8000_0000_0000n;
// Around the borders of leaf tables and of a page directory.
const SPOTS = [0, 1, 2, 511, 512, 513, 1024, 262_143, 262_144, 262_656];
const addressOf = (page: number): VirtAddr => (BASE + BigInt(page) * 4096n) as VirtAddr;
const PROBES = SPOTS.map((page) => (addressOf(page) + 0x123n) as VirtAddr);
const PCIDS = [0, 1, 2];

interface Listed {
  readonly pcid: number;
  readonly isGlobal: boolean;
  readonly start: bigint;
  readonly end: bigint;
  readonly page: MappedPage;
  isStale: boolean;
  staleBy: string | undefined;
}

/** The simple TLB: a list of entries, from which each operation drops those that the manuals name (AMD64 APM vol. 2, §5.5). */
class SlowTlb {
  entries: Listed[] = [];
  pcid = 0;
  globalPages = true;

  holds(entry: Listed, vaddr: bigint): boolean {
    return (entry.isGlobal || entry.pcid === this.pcid) && entry.start <= vaddr && vaddr < entry.end;
  }

  /** The entry with the smallest page; of two with the same size, the one that is not global. */
  lookup(vaddr: bigint): Listed | undefined {
    return this.entries
      .filter((entry) => this.holds(entry, vaddr))
      .sort(
        (a, b) => Number(a.end - a.start - (b.end - b.start)) || Number(a.isGlobal) - Number(b.isGlobal),
      )[0];
  }

  insert(vaddr: bigint, page: MappedPage): void {
    const size = BigInt(page.size);
    const start = vaddr - (vaddr % size);
    this.entries = this.entries.filter(
      (entry) => !(this.holds(entry, start) && entry.start === start && entry.end === start + size),
    );
    const isGlobal = this.globalPages && (page.flags & PteFlags.Global) !== 0;
    const { pcid } = this;
    this.entries.push({ pcid, isGlobal, start, end: start + size, page, isStale: false, staleBy: undefined });
  }

  mark(start: bigint, bytes: number, operation: string | undefined, pcid?: number): void {
    for (const entry of this.entries) {
      if (entry.start >= start + BigInt(bytes) || start >= entry.end) continue;
      if (pcid !== undefined && !entry.isGlobal && entry.pcid !== pcid) continue;
      if (!entry.isStale) entry.staleBy = operation;
      entry.isStale = true;
    }
  }

  drop(goes: (entry: Listed) => boolean): void {
    this.entries = this.entries.filter((entry) => !goes(entry));
  }
}

// Mostly the same few, so that operations meet.
const spot = fc.oneof({ weight: 3, arbitrary: fc.constantFrom(0, 1024) }, fc.constantFrom(...SPOTS));
const count = fc.constantFrom(1, 2, 512, 1024);
const flags = fc.constantFrom(2, 0x102, 0x8000_0002, 0x106);
const pcid = fc.constantFrom(...PCIDS);
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const use = fc.record({ op: fc.constant('use' as const), page: spot });
const change = fc.oneof(
  fc.record({
    op: fc.constant('map' as const),
    page: spot,
    count,
    flags,
    frame: fc.constantFrom(0, 512, 1),
    remap: fc.boolean(),
  }),
  fc.record({
    op: fc.constantFrom('unmap', 'share', 'encrypt', 'unmap4k', 'share4k', 'split4k', 'collapse'),
    page: spot,
    count,
  }),
  fc.record({ op: fc.constant('protect' as const), page: spot, count, set: flags, clear: flags }),
);
const flush = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant('flushPage' as const), page: spot }) },
  fc.record({
    op: fc.constant('flushRange' as const),
    page: spot,
    count: fc.constantFrom(0, 1, 2, 513),
    stride: maybe(fc.constantFrom(PageSize.Regular, PageSize.Huge)),
    pcid: maybe(pcid),
    includeGlobal: fc.boolean(),
  }),
  fc.record({ op: fc.constant('loadCr3' as const), pcid: maybe(pcid), keep: fc.boolean() }),
  { weight: 3, arbitrary: fc.record({ op: fc.constant('switchTo' as const), pcid }) },
  fc.record({ op: fc.constant('setGlobalPages' as const), enabled: fc.boolean() }),
  fc.record({ op: fc.constantFrom('flushAll' as const, 'flushPending' as const) }),
);
const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('use' as const), it: use }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('change' as const), table: pcid, it: change }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('flush' as const), it: flush }) },
);
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;
type Flush = typeof flush extends fc.Arbitrary<infer T> ? T : never;

/** Changes a table. A change that is refused has no effect. */
function perform(table: PageTable, it: Change): void {
  const region = virtRegion(addressOf(it.page), it.count * 4096);
  try {
    if ('frame' in it) {
      table.mapRegion(region, physAddr((it.page + it.frame) * 4096), it.flags, { remap: it.remap });
    } else if ('set' in it) table.protectRegion(region, { set: it.set, clear: (it.clear & ~it.set) >>> 0 });
    else if (it.op === 'unmap') table.unmapRegion(region, { allowHoles: true });
    else if (it.op === 'share') table.setSharedRegion(region);
    else if (it.op === 'encrypt') table.setEncryptedRegion(region);
    else if (it.op === 'unmap4k') table.unmap4k(region.start);
    else if (it.op === 'share4k') table.setShared4k(region.start);
    else if (it.op === 'split4k') table.split4k(region.start);
    else table.collapse(region.start);
  } catch (error) {
    if (!isPageTableError(error)) throw error;
  }
}

function invalidate(tlb: Tlb, slow: SlowTlb, it: Flush): void {
  switch (it.op) {
    case 'flushPage': {
      const vaddr = (addressOf(it.page) + 0x777n) as VirtAddr;
      tlb.flushPage(vaddr);
      slow.drop((entry) => slow.holds(entry, vaddr));
      break;
    }
    case 'flushRange': {
      const { page, count, stride, pcid, includeGlobal } = it;
      const start = addressOf(page);
      tlb.flushRange({
        ...{ start, pages: count, includeGlobal },
        ...(stride === undefined ? {} : { stride }),
        ...(pcid === undefined ? {} : { pcid }),
      });
      slow.drop((entry) => {
        const isMeant = entry.isGlobal ? includeGlobal : pcid === undefined || entry.pcid === pcid;
        const named = Array.from({ length: count }, (_, i) => start + BigInt(i) * BigInt(stride ?? 4096));
        return isMeant && named.some((vaddr) => entry.start <= vaddr && vaddr < entry.end);
      });
      break;
    }
    case 'loadCr3': {
      const { pcid, keep } = it;
      tlb.loadCr3({ keep, ...(pcid === undefined ? {} : { pcid }) });
      slow.pcid = pcid ?? 0;
      slow.drop((entry) => !entry.isGlobal && (pcid === undefined || (!keep && entry.pcid === pcid)));
      break;
    }
    case 'switchTo':
      tlb.loadCr3({ pcid: it.pcid, keep: true });
      slow.pcid = it.pcid;
      break;
    case 'setGlobalPages':
      tlb.setGlobalPages(it.enabled);
      if (it.enabled !== slow.globalPages) slow.entries = [];
      slow.globalPages = it.enabled;
      break;
    case 'flushAll':
      tlb.flushAll();
      slow.entries = [];
      break;
    default: {
      const { pending } = tlb;
      tlb.flushPending();
      expect(tlb.pending).toEqual([]);
      slow.drop(({ start, end }) => pending.some((region) => start < region.end && region.start < end));
    }
  }
}

/** The pages of the flush, in units of its stride. */
function pagesOf({ page, count, stride = PageSize.Regular }: Extract<Flush, { op: 'flushRange' }>) {
  const start = addressOf(page) & -BigInt(stride);
  return regionOf(start, start + BigInt(count * stride));
}

const regionOf = (start: bigint, end: bigint) => MemoryRegion.fromAddresses(Virt, start as VirtAddr, end);

const shown = (entry: TlbEntry | Listed | undefined): unknown =>
  entry && {
    pcid: entry.pcid,
    isGlobal: entry.isGlobal,
    page: entry.page,
    isStale: entry.isStale,
    staleBy: entry.staleBy,
  };

/** Whether `old` contradicts the tables, so that a processor must not use it. More rights need no flush. */
function isWrong(old: MappedPage, start: bigint, table: PageTable): boolean {
  for (const offset of [0n, BigInt(old.size) / 2n, BigInt(old.size) - 4096n]) {
    const { page } = table.walk((start + offset) as VirtAddr);
    if (page === undefined || page.paddr !== old.frame + offset || page.shared !== old.shared) return true;
    const less = (had: boolean, has: boolean): boolean => had && !has;
    if (
      less(old.writable, page.writable) ||
      less(old.user, page.user) ||
      less(old.executable, page.executable)
    )
      return true;
  }
  return false;
}

/** Runs one program on the tables of three address spaces. A table reports to all address spaces, or to its own. */
function run(
  commands: readonly (typeof command extends fc.Arbitrary<infer T> ? T : never)[],
  own: boolean,
): void {
  const memory = createPhysMemory({ size: 0x80_0000 });
  const frames = new FramePool(1, 900);
  const uses: unknown[] = [];
  const tlb = new Tlb({ onStaleUse: (entry, vaddr) => uses.push([shown(entry), vaddr]) });
  const slow = new SlowTlb();
  const tables = PCIDS.map((pcid) => {
    const inner = own ? tlb.forPcid(pcid) : tlb;
    const listener: TlbListener = {
      needsFlush: (start, bytes, operation) => {
        inner.needsFlush(start, bytes, operation);
        slow.mark(start, bytes, operation, own ? pcid : undefined);
      },
    };
    const config = pagingConfig({ cBit: 51 });
    const table = PageTable.create({ memory, frames, config, tlb: listener, freeEmptyTables: pcid === 1 });
    table.mapRegion(virtRegion(addressOf(0), 0x40_0000), physAddr(0x40_0000), 0x102);
    table.mapRegion(virtRegion(addressOf(1024), 0x1000), physAddr(pcid * 4096), 0x2);
    table.mapRegion(virtRegion(addressOf(262_143), 0x2000), physAddr(0x3f_f000), pcid === 2 ? 0x102 : 0x6);
    return table;
  });

  const answers = (): unknown[] => PROBES.map((vaddr) => shown(tlb.lookup(vaddr)));
  let known = answers();
  for (const command of commands) {
    const { changes } = tlb;
    if (command.kind === 'use') {
      const vaddr = (addressOf(command.it.page) + 0x123n) as VirtAddr;
      const held = tlb.lookup(vaddr);
      const page = held === undefined ? tables[slow.pcid]!.walk(vaddr).page : undefined;
      if (page !== undefined) {
        tlb.insert(vaddr, page);
        slow.insert(vaddr, page);
      }
    } else if (command.kind === 'change') {
      perform(tables[command.table]!, command.it);
    } else {
      // `pending` does not name the PCID of a region, so the list cannot know what this drops.
      if (own && command.it.op === 'flushPending') continue;
      invalidate(tlb, slow, command.it);
      // After a flush for all PCIDs, only regions with a stale entry stay pending, of the pages that it names.
      const { it } = command;
      const isForAll = (it.op === 'flushRange' || it.op === 'loadCr3') && it.pcid === undefined;
      if (isForAll) {
        const stale = new RegionSet(
          Virt,
          slow.entries.filter(({ isStale }) => isStale).map(({ start, end }) => regionOf(start, end)),
        );
        for (const region of tlb.pending) {
          const named = it.op === 'loadCr3' ? region : region.intersect(pagesOf(it));
          if (named !== undefined) expect(stale.containsRegion(named)).toBe(true);
        }
      }
    }

    // While the count of changes stays, each lookup answers as before.
    if (tlb.changes === changes) expect(answers()).toEqual(known);
    // The TLB has the entries of the list for each PCID, and reports each stale use.
    const current = slow.pcid;
    for (const pcid of PCIDS) {
      tlb.loadCr3({ pcid, keep: true });
      slow.pcid = pcid;
      for (const vaddr of PROBES) {
        uses.length = 0;
        const expected = shown(slow.lookup(vaddr));
        expect(shown(tlb.lookup(vaddr))).toEqual(expected);
        expect(uses).toEqual(slow.lookup(vaddr)?.isStale === true ? [[expected, vaddr]] : []);
      }
    }
    tlb.loadCr3({ pcid: current, keep: true });
    slow.pcid = current;
    known = answers();

    for (const entry of slow.entries) {
      // No flush is forgotten: an entry that contradicts its tables is stale, and names an operation.
      if (!entry.isGlobal || own) {
        const table = tables[entry.pcid]!;
        if (isWrong(entry.page, entry.start, table)) expect(entry).toMatchObject({ isStale: true });
      }
      // Every stale entry lies in a pending region.
      const isCovered = tlb.pending.some(({ start, end }) => entry.start < end && start < entry.end);
      if (entry.isStale) expect([entry.staleBy, isCovered]).toEqual([expect.any(String), true]);
    }
  }

  // At the end, one flush of the pending regions leaves no stale entry.
  tlb.flushPending();
  for (const pcid of PCIDS) {
    tlb.loadCr3({ pcid, keep: true });
    for (const vaddr of PROBES) expect(tlb.lookup(vaddr)?.isStale ?? false).toBe(false);
  }
}

// P29, P30, P31, P41
test.each([
  ['to all address spaces', false],
  ['to their own', true],
])('the TLB behaves like a list of entries, and no flush is forgotten, if tables report %s', (_, own) => {
  fc.assert(fc.property(fc.array(command, { maxLength: 25, size: 'max' }), (commands) => run(commands, own)));
});
