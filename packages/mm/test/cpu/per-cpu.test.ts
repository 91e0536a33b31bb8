import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { PerCpu } from '../../src/cpu/per-cpu.ts';
import { bootWorld } from '../support/world.ts';

test('the shared slot is shared, and the slot of the processor is its own', () => {
  const { svsm } = bootWorld({ cpus: 2 });
  const [one, two] = svsm.cpus as readonly [PerCpu, PerCpu];
  const { shared, perCpu } = svsm.layout.slots;
  using common = svsm.mapGlobal(physRegion(physAddr(0x5000), 0x1000));
  using own = one.map(physRegion(physAddr(0x6000), 0x1000));
  expect([one, two].map(({ pageTable }) => pageTable.translate(common.region.start))).toEqual([
    0x5000n,
    0x5000n,
  ]);
  expect([one, two].map(({ pageTable }) => pageTable.translate(own.region.start))).toEqual([
    0x6000n,
    undefined,
  ]);
  expect(svsm.kernel.index).toBe(shared);
  expect([one.part.index, two.part.index]).toEqual([perCpu, perCpu]);
  expect(one.part.root).not.toBe(two.part.root);
});

test('each processor has a page of its own at the same address', () => {
  const { svsm } = bootWorld({ cpus: 3 });
  const { self } = svsm.layout.perCpu;
  for (const cpu of svsm.cpus) cpu.vcpu.write(self, Uint8Array.of(cpu.apicId + 1));
  expect(svsm.cpus.map(({ vcpu }) => vcpu.read(self, 1)[0])).toEqual([1, 2, 3]);
});

test('two processors map different memory at the same temporary address', () => {
  const { svsm } = bootWorld({ cpus: 2 });
  const guards = svsm.cpus.map((cpu) => cpu.map(physRegion(physAddr(0x5000 + 0x1000 * cpu.apicId), 0x1000)));
  for (const [index, guard] of guards.entries()) guard.write(0, Uint8Array.of(7 + index));
  expect(guards.map(({ region }) => region.start)).toEqual(Array(2).fill(svsm.layout.perCpu.temp4k.start));
  expect(guards.map((guard) => guard.read(0, 1)[0])).toEqual([7, 8]);
});

test('an entry of the shared slot that one processor changes is stale in the TLBs of all', () => {
  const { svsm, stale } = bootWorld({ cpus: 2 });
  const page = svsm.pages.allocatePage();
  for (const { vcpu } of svsm.cpus) vcpu.read(page, 1);
  svsm.thisCpu().pageTable.setShared4k(page);
  expect(svsm.cpus.map(({ tlb }) => tlb.lookup(page)?.isStale)).toEqual([true, true]);
  expect(stale.splice(0)).toHaveLength(2);
});

test('refuses an APIC ID of more than 32 bits', () => {
  const { svsm } = bootWorld();
  const { layout, processors } = svsm;
  const parts = { ...svsm.thisCpu(), layout, shootDown: processors.shootDown };
  expect(() => new PerCpu({ ...parts, apicId: 2 ** 32 })).toThrow(/INVALID_ARGUMENT/);
});
