import { PAGE_SIZE, physAddr, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { isRegionError, MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { PtePreset, Tlb } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { makeRegionPrivate, makeRegionShared, settleRegion } from '../../src/guest/region-visibility.ts';
import { virtKindOf, virtRegionOf } from '../../src/guest/virt-kind.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { bytesOf, gvaOf, MiB, mapAll, textOf } from '../support/world.ts';

function guestWith(levels: 4 | 5) {
  const machine = new SnpMachine({ memorySize: 32 * MiB });
  const guest = machine.hypervisor.launch({ size: 8 * MiB, levels });
  const tlb = new Tlb({ levels });
  const vcpu = guest.createVcpu({ tlb });
  const table = mapAll(guest, vcpu, tlb);
  const ghcb = Ghcb.create(vcpu, table, gvaOf(0x5000));
  return { guest, vcpu, table, ghcb };
}

test('a guest has virtual addresses of 48 bits, or of 57 with 5 levels', () => {
  expect([4, 5].map((levels) => virtKindOf(guestWith(levels as 4 | 5).guest))).toEqual([Virt, Virt57]);
});

test('a region of 48 bits is one of 57 bits, and not the reverse', () => {
  const [narrow, wide] = [Virt, Virt57].map((kind) => new MemoryRegion(kind, gvaOf(0), PAGE_SIZE));
  expect(virtRegionOf(Virt57, narrow).equals(wide as typeof narrow & object)).toBe(true);
  expect(virtRegionOf(Virt, narrow)).toBe(narrow);
  expect(virtRegionOf(Virt57, wide)).toBe(wide);
  const isRefused = (kind: typeof Virt, value: unknown): boolean => {
    try {
      return virtRegionOf(kind, value) === undefined;
    } catch (error) {
      return isRegionError(error, 'KIND_MISMATCH');
    }
  };
  const refused = (value: unknown): boolean[] => [Virt, Virt57].map((kind) => isRefused(kind, value));
  expect(refused(wide)).toEqual([true, false]);
  expect(refused(physRegion(physAddr(0), PAGE_SIZE))).toEqual([true, true]);
});

test('with 5 levels, regions above 2^47 change there and back', () => {
  const { vcpu, table, ghcb } = guestWith(5);
  const gva = (1n << 50n) as VirtAddr;
  const region = new MemoryRegion(Virt57, gva, 3 * PAGE_SIZE);
  table.mapRegion(region, physAddr(4 * MiB), PtePreset.Data & ~0x8000_0000);
  const flushed: string[] = [];
  const flush = (part: MemoryRegion<VirtAddr>): void => {
    flushed.push(`${part.kind.name} ${part}`);
    vcpu.flushTlb();
  };
  makeRegionShared(ghcb, table, region, { flush });
  vcpu.write(gva, bytesOf('shared'));
  expect([table.lookup(gva)?.shared, textOf(vcpu.read(gva, 6))]).toEqual([true, 'shared']);
  makeRegionPrivate(ghcb, table, region, { flush });
  expect([table.lookup(gva)?.shared, vcpu.read(gva, 6)]).toEqual([false, new Uint8Array(6)]);
  settleRegion(ghcb, table, { private: [region], shared: [], lost: [] }, 'shared', { flush });
  expect(table.lookup(gva)?.shared).toBe(true);
  expect(new Set(flushed)).toEqual(new Set([`virtual57 ${region}`]));
});

test('with 5 levels, a region of 48-bit addresses changes too', () => {
  const { table, ghcb } = guestWith(5);
  const region = virtRegion(gvaOf(4 * MiB), 2 * PAGE_SIZE);
  makeRegionShared(ghcb, table, region);
  expect(table.lookup(region.start)?.shared).toBe(true);
});
