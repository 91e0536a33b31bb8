import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { codeOf, gvaOf, MiB, type World, world } from '../support/world.ts';

/*
 * `clear` does what a write of zeros does: the same bytes, faults, accessed and dirty bits, exits and arrays that end.
 */

const start = 4 * MiB;
const place = fc.constantFrom(0, 0x1000, 0x5000, 2 * MiB - 0x1000, 2 * MiB);
const gpa = place.map((offset) => physAddr(start + offset));
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('clear' as const),
      at: fc.constantFrom(start, start + 0x1000, start + 8, start - 0x1000, start + 2 * MiB),
      length: fc.constantFrom(0, 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * MiB, 2 * MiB + 16),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('write' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('read' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('hold' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('hide' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('swap' as const), gpa, other: gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('smash' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('unassign' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('substitute' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('rescind' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('masks' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('share' as const), gpa }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
);

function machine(withNestedTlb: boolean): World & { host: HostileHypervisor } {
  const it = world(
    { hypervisor: (made) => new HostileHypervisor(made) },
    { nestedAccessedDirty: true },
    withNestedTlb ? { nestedTlb: new NestedTlb() } : {},
  );
  return { ...it, host: it.machine.hypervisor as HostileHypervisor };
}

test.each([false, true])('clear is a write of zeros; with a nested TLB: %s', (withNestedTlb) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 14 }), (steps) => {
      const twins = [machine(withNestedTlb), machine(withNestedTlb)] as const;
      const held: Uint32Array[][] = [[], []];
      for (const one of steps) {
        const outcomes = twins.map(({ vcpu, guest, host, table, machine: { rmp } }, i) => {
          const act = (): unknown => {
            switch (one.op) {
              case 'clear':
                if (i === 0) return vcpu.clear(gvaOf(one.at), one.length);
                return vcpu.write(gvaOf(one.at), new Uint8Array(one.length));
              case 'write':
                return vcpu.write(gvaOf(Number(one.gpa)), Uint8Array.of(7, 8, 9));
              case 'read':
                return vcpu.read(gvaOf(Number(one.gpa)), 4);
              case 'hold':
                return held[i]!.push(vcpu.memory.words(Number(one.gpa) / PAGE_SIZE, true));
              case 'hide':
                return host.hide(guest, one.gpa);
              case 'swap':
                return host.swap(guest, one.gpa, one.other);
              case 'smash':
                return host.smash(guest, one.gpa);
              case 'unassign':
                return host.unassign(guest, one.gpa);
              case 'substitute':
                return host.substitute(guest, one.gpa);
              case 'rescind':
                return vcpu.pvalidate(gvaOf(Number(one.gpa)), PageSize.Regular, false);
              case 'masks': {
                const { spa = 0n as SysPhysAddr } = guest.nested.lookup(one.gpa) ?? {};
                const first = (spa & -BigInt(rmp.entry(spa)!.pageSize)) as SysPhysAddr;
                return rmp.setRawEntry(first, { ...rmp.rawEntry(first)!, vmplMasks: [1, 0, 0, 0] });
              }
              case 'share':
                return table.setShared4k(gvaOf(Number(one.gpa)));
              case 'flush':
                return vcpu.invlpgb();
            }
          };
          let result: unknown;
          const code = codeOf(() => {
            result = act();
          });
          return one.op === 'hold' ? code : [code, result];
        });
        expect(outcomes[0]).toEqual(outcomes[1]);
        expect(held[0]).toEqual(held[1]);
        expect(twins[0].events).toEqual(twins[1].events);
      }
      for (const at of [0, 0x1000, 0x5000, 2 * MiB - 0x1000, 2 * MiB, -0x1000]) {
        const pages = twins.map(({ guest, table, machine: { memory, rmp } }) => {
          const nested = guest.nested.lookup(physAddr(start + at));
          const bytes = nested && memory.read((nested.spa & -4096n) as SysPhysAddr, 4096, guest.key);
          const entry = nested && rmp.entry(nested.spa);
          return { nested, bytes, entry, page: table.lookup(gvaOf(start + at)) };
        });
        expect(pages[0]).toEqual(pages[1]);
      }
    }),
  );
});

test('2 MiB that all tables have as one page are one entry of a nested TLB, for each of its pages', () => {
  const nestedTlb = new NestedTlb();
  const it = world({}, {}, { nestedTlb });
  it.vcpu.clear(gvaOf(start), 1);
  const before = nestedTlb.size;
  it.vcpu.invlpgb();
  it.vcpu.clear(gvaOf(start), 2 * MiB);
  it.vcpu.clear(gvaOf(start + 2 * MiB), 2 * MiB);
  expect(nestedTlb.size).toBe(before + 1);
  const [lookup, spa] = [
    nestedTlb.lookup(it.guest, 0, physAddr(start + 0x5123)),
    it.guest.nested.lookup(physAddr(start))?.spa,
  ];
  expect(lookup?.page.spa).toBe(spa);
  expect(nestedTlb.frameOf(it.guest, 0, (start + 0x5000) / PAGE_SIZE, lookup!.allowed)).toBe(
    Number(spa) / PAGE_SIZE + 5,
  );
  // The host takes the page away, and the processor still has the old translation, until somebody flushes.
  it.guest.nested.unmap(physAddr(start));
  expect([...it.vcpu.read(gvaOf(start + 0x5000), 2)]).toEqual([0, 0]);
  it.vcpu.invlpgb();
  expect(codeOf(() => it.vcpu.read(gvaOf(start + 0x5000), 2))).toBe('NPF');
});
