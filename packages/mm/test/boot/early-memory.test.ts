import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { pageStateOf } from '@svsm/sev-snp';
import { expect, test } from 'vitest';
import { bootWorld, mib } from '../support/world.ts';

const early = [mib(40, 2), physRegion(physAddr(0x10_3000), 5 * PAGE_SIZE)];

test.each([
  [false, 'GUEST-INVALID'],
  [true, 'HYPERVISOR'],
] as const)('memory of the early boot is invalid afterwards (starts shared: %s)', (startsShared, state) => {
  const { svsm, machine, guest } = bootWorld({ early, startsShared });
  const stateOf = (gpa: PhysAddr) => pageStateOf(machine.rmp.entry(guest.nested.lookup(gpa)!.spa));
  for (const region of early) {
    for (const page of region.iterPages(PAGE_SIZE)) {
      expect(stateOf(page)).toBe(state);
      expect(svsm.validated.has(page)).toBe(false);
    }
  }
  expect(stateOf(physAddr(0x10_2000))).toBe('GUEST-VALID');
  expect(svsm.validated.size).toBe((62n << 20n) - 5n * 4096n - 4096n);
});

test('memory that is not validated cannot be memory of the early boot', () => {
  expect(() => bootWorld({ early: [mib(60, 8)] })).toThrow(/BOOT_FAILED/);
});
