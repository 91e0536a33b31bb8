import { PageSize, physAddr } from '@svsm/address';
import { isPageTableError } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import { gvaOf, MiB, spaOf, type World, world } from '../support/world.ts';

/*
 * Page tables keep the words of their tables while the epoch of memory stays. The law: while the epoch of a processor's memory
 * stays, words that it has given are what it gives again.
 */

const PAGES = [2 * MiB, 2 * MiB + 0x1000, 4 * MiB];
const page = fc.constantFrom(...PAGES);
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constantFrom('store' as const, 'vcpu write' as const), page }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('pvalidate' as const), page, validate: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('rmpadjust' as const),
      page,
      permissions: fc.constantFrom(0, 1, 3),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constantFrom(
        'free' as const,
        'remap' as const,
        'flush' as const,
        'clear' as const,
        'alias' as const,
      ),
      page,
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function perform({ vcpu, guest, machine }: World, one: Step, value: number): void {
  const { hypervisor, memory } = machine;
  const frame = one.page / 4096;
  switch (one.op) {
    case 'store':
      vcpu.memory.words(frame, true)[3] = value;
      return;
    case 'vcpu write':
      vcpu.write(gvaOf(one.page), Uint8Array.of(value));
      return;
    case 'pvalidate':
      vcpu.pvalidate(gvaOf(one.page), PageSize.Regular, one.validate);
      return;
    case 'rmpadjust':
      vcpu.rmpadjust(gvaOf(one.page), PageSize.Regular, { vmpl: 1, permissions: one.permissions });
      return;
    case 'free':
      hypervisor.rmpupdate(spaOf({ guest } as World, one.page), { assigned: false });
      return;
    case 'remap':
      guest.nested.unmap(physAddr(one.page));
      guest.nested.map(physAddr(one.page), sysPhysAddr(20 * MiB), PageSize.Regular);
      return;
    case 'flush':
      hypervisor.flushTlbs(guest);
      return;
    case 'clear':
      vcpu.clear(gvaOf(one.page), 0x1000);
      return;
    default:
      memory.aliasFrame(Number(spaOf({ guest } as World, one.page) >> 12n), 20 * 256);
  }
}

const isExpected = (error: unknown): boolean => isSnpFault(error) || isPageTableError(error);

test.each([0, 1] as const)('at VMPL%d, words are what they were while the epoch stays', (vmpl) => {
  let kept = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const bare = world();
      for (const at of [2 * MiB, 4 * MiB]) bare.machine.hypervisor.splitPage(bare.guest, physAddr(at));
      const root = bare.vcpu;
      for (const at of vmpl === 0 ? [] : PAGES) {
        root.rmpadjust(gvaOf(at), PageSize.Regular, { vmpl, permissions: 3 });
      }
      const vcpu = bare.guest.createVcpu({ vmpl, nestedTlb: new NestedTlb() });
      vcpu.loadCr3(bare.table.cr3);
      const it = { ...bare, vcpu };
      const { memory } = it.vcpu;
      const read = (at: number): Uint32Array | undefined => {
        try {
          return memory.words(at / 4096, false);
        } catch (error) {
          if (isExpected(error)) return undefined;
          throw error;
        }
      };
      for (const [k, one] of steps.entries()) {
        for (const at of PAGES) read(at);
        const { epoch } = memory;
        const held = PAGES.map((at) => read(at));
        if (memory.epoch !== epoch) continue;
        try {
          // RMPADJUST and PVALIDATE of pages come from VMPL0.
          const isRoot = one.op === 'rmpadjust' || one.op === 'pvalidate';
          perform(isRoot ? { ...it, vcpu: root } : it, one, k);
        } catch (error) {
          if (!isExpected(error)) throw error;
        }
        if (memory.epoch !== epoch) continue;
        kept += 1;
        expect(PAGES.map((at) => read(at))).toEqual(held);
      }
    }),
    { numRuns: 100 },
  );
  expect(kept).toBeGreaterThan(50);
});

test('without a nested TLB, or while the processor does not run, memory has no epoch', () => {
  expect(world().vcpu.memory.epoch).toBeNaN();
  const { vcpu } = world({}, {}, { nestedTlb: new NestedTlb() });
  expect(vcpu.memory.epoch).toBeGreaterThanOrEqual(0);
});
