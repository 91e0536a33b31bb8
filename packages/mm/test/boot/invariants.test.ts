import { PAGE_SIZE, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { PteFlags, PtePreset } from '@svsm/pagetable';
import { makePageShared } from '@svsm/sev-snp';
import { expect, test } from 'vitest';
import type { Svsm } from '../../src/boot/svsm.ts';
import { bootWorld } from '../support/world.ts';

test.each([{}, { levels: 5 as const }, { virtualTom: 1n << 46n }, { cpus: 3 }])(
  'hold after the boot, and while pages are shared: %o',
  (options) => {
    const { svsm } = bootWorld(options);
    svsm.checkInvariants();
    const block = svsm.pages.allocatePages(3);
    const [part] = block.splitAt(svsm.pages.region.kind.add(block.start, 2 * PAGE_SIZE));
    svsm.visibility.makeShared(part);
    svsm.checkInvariants();
    svsm.visibility.makePrivate(part);
    svsm.pages.freePages(block);
    svsm.checkInvariants();
  },
);

test.each<[string, (svsm: Svsm) => void, RegExp]>([
  [
    'an entry that was made shared alone',
    (svsm) => svsm.kernel.setShared4k(svsm.pages.allocatePage()),
    /is shared and validated/,
  ],
  [
    'a page that was shared past the SVSM',
    (svsm) => {
      const { vcpu, pageTable } = svsm.thisCpu();
      makePageShared(vcpu, pageTable, svsm.pages.allocatePage(), { validated: svsm.validated });
    },
    /nobody has shared it/,
  ],
  [
    'a page of the heap that is not mapped',
    (svsm) => svsm.kernel.unmap2m(virtAddr(svsm.pages.region.start + 0x20_0000n)),
    /is not mapped/,
  ],
  [
    'the last page of the heap that is not mapped',
    (svsm) => svsm.kernel.unmap2m(virtAddr(svsm.pages.region.end - 0x20_0000n)),
    /is not mapped/,
  ],
  [
    'a page of the heap that leads elsewhere',
    (svsm) => {
      const page = virtAddr(svsm.pages.region.start + 0x20_0000n);
      svsm.kernel.map2m(page, physAddr(0), PtePreset.Data, { remap: true });
    },
    /is mapped to another page/,
  ],
  [
    'a page that can be written and executed',
    (svsm) =>
      svsm.kernel.protectRegion(virtRegion(svsm.layout.image.start, PAGE_SIZE), { set: PteFlags.Writable }),
    /can be written and executed/,
  ],
  [
    'a page of the heap that the record does not have',
    (svsm) => svsm.validated.remove(physRegion(svsm.virtToPhys(svsm.pages.allocatePage()), PAGE_SIZE)),
    /is private and not validated/,
  ],
])('find %s', (_, change, message) => {
  const { svsm } = bootWorld();
  change(svsm);
  expect(() => svsm.checkInvariants()).toThrow(message);
});
