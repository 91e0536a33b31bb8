import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { changePageStates } from '../../src/guest/page-state-change.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { codeOf, gvaOf, MiB, spaOf, world } from '../support/world.ts';

const entry = (gpa: PhysAddr, pageSize: PageSize = PageSize.Regular) =>
  ({ gpa, operation: PageOperation.Private, pageSize, donePages: 0, reserved: 0 }) as never;

test('a guest whose software asks to make its own GHCB private gets an error, and the GHCB stays shared', () => {
  const it = world();
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(6 * MiB + 0x1000));
  // Without the check of the guest.
  expect(codeOf(() => changePageStates(ghcb, [entry(ghcb.gpa)]))).toBe('PSC_REFUSED');
  expect(it.machine.rmp.entry(spaOf(it, Number(ghcb.gpa)))?.assigned).toBe(false);
});

test('2 MiB of which the hypervisor has mapped a part is accepted in 4 KiB', () => {
  const memory = [true, false].map((validated, k) => ({
    region: physRegion(physAddr(4 * k * MiB), 4 * MiB),
    validated,
  }));
  const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
  const host = it.machine.hypervisor as HostileHypervisor;
  const guest = host.launch({ memory });
  guest.nested.map(physAddr(4 * MiB + 0x3000), host.allocatePage(), PageSize.Regular);
  expect(host.changePageState(guest, physAddr(4 * MiB), PageOperation.Private, PageSize.Huge)).toBe(1);
  expect(host.changePageState(guest, physAddr(4 * MiB), PageOperation.Private)).toBe(0);
});
