import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { writePhys } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { Svsm } from '../../src/boot/svsm.ts';
import { isMmError } from '../../src/formats/mm-error.ts';
import { launch, mib, type World } from '../support/world.ts';

const early = [mib(40, 4), physRegion(physAddr(0x9_0000), 3 * PAGE_SIZE)];
/** The launch has validated the first of these, and the boot has invalidated the others. */
const regions = [physRegion(physAddr(0x8_0000), 0x1_3000), mib(40, 4)];

/** A world whose early memory holds a secret, and whose image of the firmware lies before it. */
function bootWithSecrets(): World & { readonly svsm: Svsm } {
  const world = launch({ early });
  const { memory } = world.guest.createVcpu();
  for (const region of early)
    for (const page of region.iterPages(PAGE_SIZE)) writePhys(memory, page, Uint8Array.of(0x5e, 0xc2));
  writePhys(memory, physAddr(0x8_0000), Uint8Array.of(0x0f, 0x0b));
  return Object.assign(world, { svsm: Svsm.boot(world.options) });
}

/** Whether a level has all rights on the page, by the RMP. */
function rights({ machine, guest }: World, gpa: PhysAddr, vmpl: number): number | undefined {
  const { spa } = guest.nested.lookup(gpa)!;
  return machine.rmp.entry(spa)?.vmplMasks[vmpl as 1];
}

const contentOf = ({ machine, guest }: World, gpa: PhysAddr): number[] => {
  const { spa } = guest.nested.lookup(gpa)!;
  return [...machine.memory.read(spa, 2, guest.key)];
};

test('new pages are clear before the level gets rights on them, and the image keeps its content', () => {
  const world = bootWithSecrets();
  const { svsm } = world;
  let checked = 0;
  world.hook.onEvent = ({ type }) => {
    if (type !== 'rmpadjust') return;
    for (const gpa of [...early[0]!.iterPages(PageSize.Huge), ...early[1]!.iterPages(PAGE_SIZE)]) {
      if (rights(world, gpa, 2) === 0) continue;
      expect(contentOf(world, gpa)).toEqual([0, 0]);
      checked += 1;
    }
  };
  svsm.launchFirmware(regions, 2);
  expect(checked).toBeGreaterThan(4);
  expect(contentOf(world, physAddr(0x8_0000))).toEqual([0x0f, 0x0b]);
  for (const gpa of [
    physAddr(0x8_0000),
    physAddr(0x9_2000),
    physAddr(40n << 20n),
    physAddr((44n << 20n) - 4096n),
  ])
    expect([1, 2, 3].map((vmpl) => rights(world, gpa, vmpl) !== 0)).toEqual([true, true, false]);
  expect(svsm.validated.firstMissingIn(mib(40, 4))).toBe(undefined);
  svsm.checkInvariants();
});

test('goes by 2 MiB where it can', () => {
  const world = bootWithSecrets();
  world.events.length = 0;
  world.svsm.launchFirmware([mib(42, 2)], 1);
  expect(world.events.filter(({ type }) => type === 'pvalidate')).toHaveLength(1);
  const { spa } = world.guest.nested.lookup(physAddr(42n << 20n))!;
  expect(world.machine.rmp.entry(spa)?.pageSize).toBe(PageSize.Huge);
});

describe('if a page is refused', () => {
  test.each([
    ['of the SVSM', [...regions, mib(16, 2)], 0x100_0000n],
    ['that is not memory', [...regions, mib(62, 4)], 64n << 20n],
  ])('%s, rights and validations are taken back', (_, asked, gpa) => {
    const world = bootWithSecrets();
    const { svsm } = world;
    const before = [...svsm.validated].map(String);
    try {
      svsm.launchFirmware(asked, 2);
      expect.unreachable();
    } catch (error) {
      expect(isMmError(error, 'PAGE_REFUSED') && error.details.gpa).toBe(gpa);
    }
    expect([...svsm.validated].map(String)).toEqual(before);
    for (const page of [physAddr(0x8_0000), physAddr(40n << 20n)]) expect(rights(world, page, 2)).toBe(0);
    svsm.checkInvariants();
  });
});
