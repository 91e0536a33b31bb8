import { PAGE_SIZE, physAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { isSnpError, type SnpError } from '../../src/formats/snp-error.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { makeRegionShared, settleRegion } from '../../src/guest/region-visibility.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { gvaOf, world } from '../support/world.ts';

const GPA = physAddr(0x40_3000);
const PAGE = gvaOf(0x40_3000);
const REGION = virtRegion(PAGE, PAGE_SIZE);

// A4
test.each<[string, unknown]>([
  ['an error object', new Error('the same')],
  ['a primitive', 'the same'],
])('%s that was thrown after a PVALIDATE, thrown again instead of one, rescinds nothing', (_, error) => {
  let throwAfter: string | undefined;
  const it = world({
    hypervisor: (machine) => new HostileHypervisor(machine),
    trace: ({ type }) => {
      if (type !== throwAfter) return;
      throwAfter = undefined;
      throw error;
    },
  });
  const host = it.machine.hypervisor as HostileHypervisor;
  const validated = new ValidatedPages(it.guest.memory, it.guest.memory);
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(0x20_5000), { validated });
  const share = (): SnpError<'REGION_CHANGE_FAILED'> => {
    try {
      makeRegionShared(ghcb, it.table, REGION, { validated });
    } catch (thrown) {
      if (isSnpError(thrown, 'REGION_CHANGE_FAILED')) return thrown;
      throw thrown;
    }
    throw new Error('the change has not failed');
  };
  throwAfter = 'pvalidate';
  const genuine = share();
  expect([genuine.cause, validated.has(GPA)]).toEqual([error, false]);
  settleRegion(ghcb, it.table, genuine.details, 'private', { validated });

  const hidden = host.hide(it.guest, GPA)!;
  host.answers = {
    fault: () => {
      throw error;
    },
  };
  const forged = share();
  expect([forged.cause, validated.has(GPA), it.machine.rmp.entry(hidden)?.validated]).toEqual([
    error,
    true,
    true,
  ]);
});
