import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { type AccessKind, PtePreset, Tlb } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameCache, type FrameSources } from '../../src/cpu/frame-cache.ts';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { TranslationCache } from '../../src/cpu/translation-cache.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { gvaOf, MiB, mapAll, spaOf, thrownBy, type World, world } from '../support/world.ts';

/** Counts of changes, which a test moves. */
function sources() {
  const counts = { tlb: 0, nested: 0, mmu: 0, generation: 0, rmp: 0 };
  const all = {
    tlb: {
      get changes() {
        return counts.tlb;
      },
    },
    nestedTlb: {
      get changes() {
        return counts.nested;
      },
    },
    mmu: {
      requireIdle: () => {},
      get changes() {
        return counts.mmu;
      },
    },
    guest: {
      get tlbGeneration() {
        return counts.generation;
      },
      machine: {
        rmp: {
          get changes() {
            return counts.rmp;
          },
        },
      },
    },
  };
  return { counts, cache: new FrameCache(all as unknown as FrameSources) };
}

const gva = (page: number): VirtAddr => (BigInt(page) << 12n) as VirtAddr;

test('what is kept is found for its page, its kind of access, and every part of the page', () => {
  const { cache } = sources();
  expect(cache.find(gva(5), 1, 'read')).toBe(-1);
  const page = 0xf_ffff_8000_0005;
  cache.keep(gva(page), 'read', 2 ** 40, cache.changes);
  for (const [offset, length] of [
    [0n, 1],
    [0n, 4096],
    [4095n, 1],
    [8n, 8],
  ] as const) {
    expect(cache.find((gva(page) + offset) as VirtAddr, length, 'read')).toBe(2 ** 40);
  }
  for (const [offset, length] of [
    [0n, 4097],
    [4095n, 2],
    [0n, 0],
    [0n, -1],
    [0n, 1.5],
  ] as const) {
    expect(cache.find((gva(page) + offset) as VirtAddr, length, 'read')).toBe(-1);
  }
  for (const other of [
    gva(page + 64),
    gva(page - 1),
    (gva(page) + 2n ** 64n) as VirtAddr,
    -1n as VirtAddr,
    5 as never,
  ]) {
    expect(cache.find(other, 1, 'read')).toBe(-1);
  }
  const kinds = (): number[] =>
    (['read', 'write', 'fetch'] as const).map((kind) => cache.find(gva(page), 1, kind));
  expect(kinds()).toEqual([2 ** 40, -1, -1]);
  cache.keep(gva(page), 'fetch', 2 ** 40, cache.changes);
  expect(kinds()).toEqual([2 ** 40, -1, 2 ** 40]);
  cache.keep(gva(page), 'write', 2 ** 40, cache.changes);
  expect(kinds()).toEqual([2 ** 40, 2 ** 40, 2 ** 40]);
});

test.each(['tlb', 'nested', 'mmu', 'generation', 'rmp'] as const)(
  'a change of the count "%s" empties it',
  (name) => {
    const { counts, cache } = sources();
    cache.keep(gva(5), 'read', 7, cache.changes);
    cache.keep(gva(6), 'read', 8, cache.changes);
    counts[name] += 1;
    expect(cache.find(gva(5), 1, 'read')).toBe(-1);
    cache.keep(gva(6), 'write', 9, cache.changes);
    expect([5, 6].map((page) => cache.find(gva(page), 1, 'read'))).toEqual([-1, -1]);
    expect(cache.find(gva(6), 1, 'write')).toBe(9);
  },
);

test('without a count of one source it keeps nothing', () => {
  const all = {
    tlb: {},
    nestedTlb: { changes: 0 },
    mmu: { changes: 0 },
    guest: { tlbGeneration: 0, machine: { rmp: { changes: 0 } } },
  };
  for (const one of [
    all,
    { ...all, tlb: undefined },
    { ...all, tlb: { changes: 0 }, nestedTlb: undefined },
  ]) {
    const cache = new FrameCache(one as unknown as FrameSources);
    cache.keep(gva(5), 'read', 7, cache.changes);
    expect(cache.find(gva(5), 1, 'read')).toBe(-1);
  }
});

test('it grows while pages take the slots of others, so that 4096 pages find room, and a page above takes a slot', () => {
  const { cache } = sources();
  for (let round = 0; round < 4; round += 1) {
    for (let page = 0; page < 4096; page += 1) cache.keep(gva(page), 'read', page + 1, cache.changes);
  }
  for (let page = 0; page < 4096; page += 1) expect(cache.find(gva(page), 8, 'read')).toBe(page + 1);
  cache.keep(gva(4096), 'read', 1, cache.changes);
  expect([0, 1, 4096].map((page) => cache.find(gva(page), 8, 'read'))).toEqual([-1, 2, 1]);
});

/** A TLB whose changes nobody sees: a processor asks it for each access. */
function uncounted(own: Tlb): TranslationCache {
  return {
    lookup: own.lookup.bind(own),
    insert: own.insert.bind(own),
    flushPage: own.flushPage.bind(own),
    flushAll: own.flushAll.bind(own),
    loadCr3: own.loadCr3.bind(own),
    setGlobalPages: own.setGlobalPages.bind(own),
    setPcids: own.setPcids.bind(own),
  };
}

const page = fc.constantFrom(2 * MiB, 2 * MiB, 2 * MiB, 2 * MiB + 0x1000, 4 * MiB);
const kind = fc.constantFrom<AccessKind>('read', 'read', 'read', 'write', 'fetch');
const step = fc.oneof(
  { weight: 40, arbitrary: fc.record({ op: fc.constant('access' as const), page, kind }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('protect' as const),
      page,
      flags: fc.constantFrom(PtePreset.Data, PtePreset.Code, PtePreset.ReadOnly),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constantFrom('invlpg' as const, 'unmap' as const, 'share' as const),
      page,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('pvalidate' as const), page, validate: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constantFrom('assign' as const, 'remap' as const, 'flush guest' as const),
      page,
    }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('cpl' as const), cpl: fc.constantFrom(0, 3) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constantFrom('load cr3' as const, 'other processor' as const, 'end guest' as const),
      page,
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The outcome of a step: the bytes that were read, or the code of an error. */
function run(it: World, one: Step, tlb: TranslationCache, nestedTlb: NestedTlb): unknown {
  const { vcpu, table, guest, machine } = it;
  const { hypervisor } = machine;
  const act = (): unknown => {
    switch (one.op) {
      case 'access': {
        const at = gvaOf(one.page);
        if (one.kind === 'write') return vcpu.write(at, Uint8Array.of(1, 2, 3));
        return [...(one.kind === 'read' ? vcpu.read(at, 8) : vcpu.fetch(at, 8))];
      }
      case 'protect':
        return table.map4k(gvaOf(one.page), physAddr(one.page), one.flags, { remap: true });
      case 'invlpg':
        return vcpu.invlpg(gvaOf(one.page));
      case 'unmap':
        return table.unmap4k(gvaOf(one.page));
      case 'share':
        return table.setShared4k(gvaOf(one.page));
      case 'pvalidate':
        return vcpu.pvalidate(gvaOf(one.page), PageSize.Regular, one.validate);
      case 'assign':
        return hypervisor.rmpupdate(spaOf(it, one.page), { assigned: false });
      case 'remap':
        guest.nested.unmap(physAddr(one.page));
        return guest.nested.map(physAddr(one.page), sysPhysAddr(20 * MiB), PageSize.Regular);
      case 'flush guest':
        return hypervisor.flushTlbs(guest);
      case 'cpl':
        vcpu.cpl = one.cpl;
        return undefined;
      case 'load cr3':
        return vcpu.loadCr3(table.cr3);
      case 'other processor': {
        const other = guest.createVcpu({ tlb, nestedTlb });
        other.loadCr3(table.cr3);
        return [...other.read(gvaOf(one.page), 8)];
      }
      default:
        return machine.firmware.decommission(guest.context);
    }
  };
  let answer: unknown;
  const thrown = thrownBy(() => {
    try {
      answer = act();
    } catch (error) {
      if ((error as { code?: string }).code === undefined) throw error;
      answer = (error as { code: string }).code;
    }
  });
  return thrown?.code ?? answer;
}

// The law: a processor that keeps frames does what one does that asks both TLBs for each access.
test('a processor whose TLB counts its changes answers as one whose TLB does not', () => {
  const made = (own: Tlb, tlb: TranslationCache = own) => {
    const nestedTlb = new NestedTlb();
    const bare = world({}, {}, { tlb, nestedTlb });
    const it = { ...bare, table: mapAll(bare.guest, bare.vcpu, own) };
    for (const at of [2 * MiB, 4 * MiB]) it.machine.hypervisor.splitPage(it.guest, physAddr(at));
    for (const at of [2 * MiB, 4 * MiB]) it.table.split4k(gvaOf(at));
    it.vcpu.loadCr3(it.table.cr3);
    return { it, tlb, nestedTlb };
  };
  let held = 0;
  let stale = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 30, maxLength: 60 }), (steps) => {
      const uses = [0, 0];
      const tlbOf = (k: 0 | 1): Tlb =>
        new Tlb({
          onStaleUse: () => {
            uses[k]! += 1;
          },
        });
      const [first, second] = [tlbOf(0), tlbOf(1)];
      const [counted, asked] = [made(first), made(second, uncounted(second))];
      const { find } = FrameCache.prototype;
      FrameCache.prototype.find = function (this: FrameCache, ...args) {
        const frame = find.apply(this, args);
        if (frame >= 0) held += 1;
        return frame;
      };
      try {
        for (const one of steps) {
          const [left, right] = [counted, asked].map(({ it, tlb, nestedTlb }) =>
            run(it, one, tlb, nestedTlb),
          );
          expect([left, uses[0]]).toEqual([right, uses[1]]);
        }
      } finally {
        stale += uses[0]!;
        FrameCache.prototype.find = find;
      }
    }),
    { numRuns: 150 },
  );
  expect(held).toBeGreaterThan(100);
  expect(stale).toBeGreaterThan(20);
});
