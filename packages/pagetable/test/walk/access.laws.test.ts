import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cpuState } from '../../src/entry/cpu-state.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { type AccessKind, allowsAccess } from '../../src/walk/access.ts';
import type { MappedPage } from '../../src/walk/walk.ts';
import { randomFrom, runCampaign } from '../support/access-campaign.ts';
import { slowWalk } from '../support/frame-pool.ts';
import { slowAccess } from '../support/slow-access.ts';

const FRAMES = 8;
const INDEXES = [0, 1, 256, 511];
const LEVELS = [0x1000, 0x20_0000, 0x4000_0000];

const config = fc
  .record({
    levels: fc.constantFrom<4 | 5>(4, 5),
    physicalBits: fc.constantFrom(36, 40, 46, 52),
    noExecute: fc.boolean(),
    giantPages: fc.boolean(),
    vendor: fc.constantFrom<'amd' | 'intel'>('amd', 'intel'),
    encryption: fc.constantFrom(
      undefined,
      { mode: 'c-bit' as const, bit: 51 },
      { mode: 'c-bit' as const, bit: 34 },
      { mode: 'vtom' as const, bit: 35 },
    ),
  })
  .map((options) => pagingConfig(options));

/** An entry that mostly leads to one of the few frames, with few unusual bits. */
const entry = fc
  .record({
    frame: fc.integer({ min: 0, max: FRAMES - 1 }),
    flags: fc.integer({ min: 0, max: 0xfff }),
    present: fc.integer({ min: 0, max: 9 }),
    large: fc.integer({ min: 0, max: 3 }),
    high: fc.integer({ min: 0, max: 0xfff }),
    stray: fc.oneof(
      { weight: 6, arbitrary: fc.constant(0n) },
      { weight: 1, arbitrary: fc.integer({ min: 12, max: 51 }).map((bit) => 1n << BigInt(bit)) },
    ),
  })
  .map(({ frame, flags, present, large, high, stray }) => {
    const low =
      (flags & ~0x181) | (present > 0 ? 1 : 0) | (large === 0 ? 0x80 : 0) | (large === 1 ? 0x100 : 0);
    return (BigInt(high) << 52n) | (BigInt(frame) << 12n) | BigInt(low) | stray;
  });

const cpu = fc
  .record({
    cpl: fc.constantFrom<0 | 3>(0, 3),
    wp: fc.boolean(),
    smep: fc.boolean(),
    smap: fc.boolean(),
    ac: fc.boolean(),
    pkru: fc.option(fc.integer({ min: 0, max: 0xffff_ffff }), { nil: undefined }),
    pkrs: fc.option(fc.integer({ min: 0, max: 0xffff_ffff }), { nil: undefined }),
  })
  .map((state) => cpuState(state));

const access = fc.record({
  indexes: fc.array(fc.constantFrom(...INDEXES), { minLength: 5, maxLength: 5 }),
  offset: fc.integer({ min: 0, max: 0xfff }),
  stray: fc.integer({ min: 0, max: 20 }),
  kind: fc.constantFrom<AccessKind>('read', 'write', 'fetch'),
  cpu,
});

const run = (operation: () => unknown): unknown => {
  try {
    return operation();
  } catch (error) {
    return (error as { code?: string }).code;
  }
};

test('the fast walk agrees with the slow one on random tables, with loops and corrupted entries', () => {
  fc.assert(
    fc.property(
      config,
      fc.array(entry, { minLength: FRAMES * INDEXES.length, maxLength: FRAMES * INDEXES.length }),
      fc.array(access, { minLength: 1, maxLength: 10 }),
      (config, entries, accesses) => {
        const memory = createPhysMemory({ size: FRAMES * 0x1000 });
        entries.forEach((value, i) => {
          const index = INDEXES[i % INDEXES.length]!;
          writePhys64(memory, physAddr(Math.floor(i / INDEXES.length) * 0x1000 + 8 * index), value);
        });
        const table = PageTable.open(physAddr(0), { memory, config });
        for (const { indexes, offset, stray, kind, cpu } of accesses) {
          const width = config.levels === 5 ? 57 : 48;
          let vaddr = BigInt(offset);
          indexes.forEach((index, level) => {
            vaddr |= BigInt(index) << BigInt(12 + 9 * level);
          });
          vaddr = BigInt.asUintN(64, BigInt.asIntN(width, vaddr));
          if (stray === 0) vaddr ^= 1n << 60n;

          const read = (paddr: bigint): bigint | undefined =>
            paddr < FRAMES * 0x1000 ? readPhys64(memory, paddr as PhysAddr) : undefined;
          const slow = slowAccess(read, 0n, config, vaddr, kind, cpu);
          const fast = run(() => {
            const result = table.access(vaddr as VirtAddr, kind, cpu, { update: false });
            if (result.type === 'general-protection') return { t: 'gp' };
            if (result.type === 'page-fault') {
              const { errorCode, level, cr2 } = result;
              return { t: 'pf', err: errorCode, level, linear: cr2 };
            }
            const { paddr, size, shared, updates } = result;
            const set = new Map(updates.map(({ paddr, entry }) => [paddr, entry]));
            return { t: 'ok', pa: paddr, size: BigInt(size), shared, level: LEVELS.indexOf(size), set };
          });
          expect(fast).toEqual(slow.t === 'bus' ? 'BUS_ERROR' : slow);

          // `translate` checks no rights: it finds a page exactly where an access finds one or is denied.
          const translated = run(() => table.translate(vaddr as VirtAddr));
          if (slow.t === 'gp') expect(translated).toBe('NON_CANONICAL');
          else if (slow.t === 'bus') expect(translated).toBe('BUS_ERROR');
          else if (slow.t === 'pf' && (slow.err & 8) !== 0) expect(translated).toBe('RESERVED_BITS');
          else if (slow.t === 'pf' && (slow.err & 1) === 0) expect(translated).toBeUndefined();
          else expect(translated).toBe(slowWalk(memory, physAddr(0), config, vaddr as VirtAddr)?.paddr);
        }
      },
    ),
  );
});

// As many cases as fit a few seconds. `access.deep.ts` has a million.
test('the fast walk agrees with the slow one on random paths: outcome, error code, updates and memory', () => {
  const { disagreements, seen } = runCampaign(20_000, 1);
  expect(disagreements.slice(0, 3)).toEqual([]);
  expect(seen.size).toBeGreaterThan(85);
});

// P26
test('the page that an access fills in is that of a walk, and allows the same accesses as a walk', () => {
  const options = { levels: 4, cBit: 51 } as const;
  const config = pagingConfig(options);
  const bits = fc.integer({ min: 0, max: 7 }).map((bits) => (bits & 6) | ((bits & 1) << 31));
  const rights = fc.array(bits, { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(
      rights,
      fc.integer({ min: 0, max: 15 }),
      fc.boolean(),
      access,
      access,
      (rights, key, huge, a, b) => {
        const memory = createPhysMemory({ size: FRAMES * 0x1000 });
        rights.forEach((bits, i) => {
          const isLeaf = huge ? i === 2 : i === 3;
          const next = isLeaf
            ? 0x40_0000n | (BigInt(key) << 59n) | (huge ? 0x80n : 0n)
            : BigInt((i + 1) << 12);
          const noExecute = bits < 0 ? 1n << 63n : 0n;
          writePhys64(memory, physAddr(i << 12), next | noExecute | BigInt(bits & 6) | 1n | (1n << 51n));
        });
        const table = PageTable.open(physAddr(0), { memory, config });
        const vaddr = BigInt(a.offset) as VirtAddr;
        let filled: MappedPage | undefined;
        const fill = {
          insert: (_: VirtAddr, page: MappedPage) => {
            filled = page;
          },
        };
        const result = table.access(vaddr, a.kind, a.cpu, { fill });
        expect(filled !== undefined).toBe(result.type === 'translation');
        if (filled === undefined) return;
        expect(filled).toEqual(table.walk(vaddr).page);
        const again = table.access(vaddr, b.kind, b.cpu, { update: false });
        expect(allowsAccess(filled, b.kind, b.cpu)).toBe(again.type === 'translation');
        const implicit = { update: false, implicit: true };
        const byHardware = table.access(vaddr, 'read', b.cpu, implicit);
        expect(allowsAccess(filled, 'read', b.cpu, implicit)).toBe(byHardware.type === 'translation');
      },
    ),
  );
});

// Accesses to one page table, mostly in the same gibibyte, while its entries change.
test('the result of an access does not depend on earlier accesses', () => {
  const random = randomFrom(3);
  for (let round = 0; round < 60; round += 1) {
    const config = pagingConfig({
      levels: random(2) === 0 ? 4 : 5,
      physicalBits: 40,
      noExecute: random(2) === 0,
      giantPages: random(2) === 0,
      ...(random(2) === 0 ? { cBit: 51 } : {}),
    });
    const memory = createPhysMemory({ size: FRAMES * 0x1000 });
    const places = Array.from({ length: FRAMES * INDEXES.length }, (_, i) =>
      physAddr((i >> 2) * 0x1000 + 8 * INDEXES[i & 3]!),
    );
    const write = (place: PhysAddr): void => {
      const low = (random(4096) & ~0x181) | (random(8) > 0 ? 1 : 0) | (random(5) === 0 ? 0x80 : 0);
      const stray = random(12) === 0 ? 1n << BigInt(12 + random(40)) : 0n;
      const high = BigInt(random(4096)) << 52n;
      writePhys64(memory, place, high | (BigInt(random(FRAMES)) << 12n) | BigInt(low) | stray);
    };
    for (const place of places) write(place);
    const table = PageTable.open(physAddr(0), { memory, config });
    const read = (paddr: bigint): bigint | undefined =>
      paddr < FRAMES * 0x1000 ? readPhys64(memory, paddr as PhysAddr) : undefined;
    let upper = 0n;
    for (let step = 0; step < 400; step += 1) {
      if (random(20) === 0) upper = BigInt(random(8)) << 30n;
      if (random(10) === 0) write(places[random(places.length)]!);
      let vaddr = BigInt(random(4096)) | (BigInt(INDEXES[random(4)]!) << 12n);
      vaddr |= BigInt(INDEXES[random(4)]!) << 21n;
      for (let level = 2; level < 5; level += 1) {
        const index = INDEXES[Number((upper >> BigInt(30 + (level - 2))) & 1n)]!;
        vaddr |= BigInt(index) << BigInt(12 + 9 * level);
      }
      const cpu = cpuState({ cpl: random(2) === 0 ? 0 : 3, smap: random(2) === 0, wp: random(2) === 0 });
      const kind = (['read', 'write', 'fetch'] as const)[random(3)] as AccessKind;
      const update = random(3) > 0;
      const slow = slowAccess(read, 0n, config, vaddr, kind, cpu);
      const entries = new Map(places.map((paddr) => [paddr, readPhys64(memory, paddr)]));
      const found = run(() => {
        const result = table.access(vaddr as VirtAddr, kind, cpu, { update });
        if (result.type === 'general-protection') return 'gp';
        if (result.type === 'page-fault') return `#PF ${result.errorCode} at level ${result.level}`;
        return `${result.paddr} ${result.size} ${result.shared} ${result.updates.length}`;
      });
      let expected = slow.t === 'bus' ? 'BUS_ERROR' : 'gp';
      if (slow.t === 'pf') expected = `#PF ${slow.err} at level ${slow.level}`;
      if (slow.t === 'ok') expected = `${slow.pa} ${slow.size} ${slow.shared} ${slow.set.size}`;
      if (found !== expected) expect({ round, step, found }).toEqual({ round, step, found: expected });
      const set = slow.t === 'ok' && update ? slow.set : new Map<bigint, bigint>();
      for (const [paddr, entry] of entries) {
        const after = readPhys64(memory, paddr);
        if (after !== (set.get(paddr) ?? entry)) expect({ round, step, paddr, after }).toBeUndefined();
      }
    }
  }
});
