import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { PageTable, PtePreset } from '@svsm/pagetable';
import { Ghcb, NestedTlb, pageRegion, svsmValidator } from '@svsm/sev-snp';
import { expect, test } from 'vitest';
import { GuestVisibility } from '../../src/visibility/guest-visibility.ts';
import { watchedTlb } from '../support/forbid-stale.ts';
import { bootWorld, mib } from '../support/world.ts';

const gvaOf = (gpa: number) => virtAddr(0xffff_8000_0000_0000n + BigInt(gpa));

/** A guest at VMPL2 in the last 16 MiB, above an SVSM that serves its calls. */
function guestWorld() {
  const world = bootWorld();
  const { svsm, guest, stale } = world;
  svsm.launchFirmware([mib(48, 16)], 2);
  const cpu = svsm.thisCpu();
  const core = svsm.state.on(cpu.vcpu, (gpa, size, use) => {
    using guard = cpu.map(pageRegion(gpa, size));
    return use(guard.region.start);
  });
  guest.onEnter(0, (caller) => core.enter(caller));

  const tlb = watchedTlb(stale);
  const vcpu = guest.createVcpu({ vmpl: 2, tlb, nestedTlb: new NestedTlb() });
  let frame = 48 << 20;
  const allocateFrame = () => {
    frame += PAGE_SIZE;
    return physAddr(frame);
  };
  const frames = { allocateFrame, freeFrame: () => {} };
  const table = PageTable.create({ memory: vcpu.memory, frames, config: guest.paging, tlb });
  for (const gpa of mib(48, 16).iterPages(PageSize.Huge))
    table.map2m(gvaOf(Number(gpa)), gpa, PtePreset.Data);
  vcpu.loadCr3(table.cr3);
  const area = { gva: gvaOf(50 << 20), gpa: physAddr(50 << 20) };
  core.register(vcpu, area.gpa);
  const ghcb = Ghcb.create(vcpu, table, gvaOf((50 << 20) + 0x1000), { validator: svsmValidator(area) });
  return { ...world, vcpu, table, visibility: new GuestVisibility(vcpu, table, ghcb, area) };
}

test('a guest above an SVSM shares pages, and gets them back private and clear', () => {
  const { vcpu, table, visibility, svsm, guest, hypervisor } = guestWorld();
  const region = virtRegion(gvaOf(52 << 20), (2 << 20) + 2 * PAGE_SIZE);
  vcpu.write(region.start, Uint8Array.of(1, 2, 3));
  visibility.makeShared(region);
  expect([visibility.isShared(region.start), table.lookup(region.start)?.shared]).toEqual([true, true]);
  expect(svsm.validated.has(physAddr(52 << 20))).toBe(false);
  const { spa } = guest.nested.lookup(physAddr(52 << 20))!;
  expect([...hypervisor.read(spa, 3)]).toEqual([0, 0, 0]);
  hypervisor.write(spa, Uint8Array.of(9));
  expect(vcpu.read(region.start, 1)[0]).toBe(9);
  visibility.makePrivate(region);
  expect([visibility.isShared(region.start), table.lookup(region.start)?.shared]).toEqual([false, false]);
  expect(vcpu.read(region.start, 1)[0]).toBe(0);
  expect(svsm.validated.has(physAddr(52 << 20))).toBe(true);
  expect(visibility.lost.isEmpty).toBe(true);
});

test('a hypervisor that refuses leaves lost pages, which come back once it agrees', () => {
  const { vcpu, visibility, hypervisor } = guestWorld();
  const region = virtRegion(gvaOf(52 << 20), 4 * PAGE_SIZE);
  hypervisor.answers = {
    page: ({ exitCode }) => (exitCode === 0x8000_0010n ? { info1: 0n, info2: 1n } : undefined),
  };
  expect(() => visibility.makeShared(region)).toThrow(/VISIBILITY_FAILED/);
  hypervisor.answers = {};
  visibility.retryLost();
  expect(visibility.lost.isEmpty).toBe(true);
  vcpu.write(region.start, Uint8Array.of(1));
  expect(
    () => new GuestVisibility(vcpu, undefined as never, undefined as never, undefined as never),
  ).toThrow();
});
