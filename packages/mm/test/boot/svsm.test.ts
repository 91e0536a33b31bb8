import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { getOrder } from '@svsm/buddy-alloc';
import { physRegion } from '@svsm/memory-region';
import { PteFlags } from '@svsm/pagetable';
import { HypervisorFeature } from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import { Svsm } from '../../src/boot/svsm.ts';
import { isMmError } from '../../src/formats/mm-error.ts';
import { addressSpaceLayout } from '../../src/layout/address-space-layout.ts';
import { bootWorld, launch, mib } from '../support/world.ts';

describe('after the boot', () => {
  test('the mailing list gets its answer', () => {
    const { svsm } = bootWorld({ cpus: 4 });
    const pages = svsm.pages.allocatePages(getOrder(4 * PAGE_SIZE));
    for (const page of pages.iterPages(PageSize.Regular)) svsm.thisCpu().pageTable.setShared4k(page);
    for (const { pageTable } of svsm.cpus) {
      const shared = Array.from(pages.iterPages(PageSize.Regular), (page) => pageTable.lookup(page)?.shared);
      expect(shared).toEqual([true, true, true, true]);
    }
  });

  test.each([4, 5] as const)(
    'the self-map with %i levels leads to the entries of the walk, at every level',
    (levels) => {
      const { svsm } = bootWorld({ levels, cpus: 2 });
      expect(svsm.layout.levels).toBe(levels);
      using guard = svsm.mapGlobal(physRegion(physAddr(0x5000), PAGE_SIZE));
      const { layout } = svsm;
      for (const { pageTable, vcpu } of svsm.cpus) {
        for (const vaddr of [
          svsm.pages.region.start,
          layout.image.start,
          layout.perCpu.self,
          guard.region.start,
        ]) {
          for (const { level, entry } of pageTable.walk(vaddr).path) {
            const at = pageTable.selfMap?.entryAddress(vaddr, level);
            const raw = at === undefined ? 0n : new DataView(vcpu.read(at, 8).buffer).getBigUint64(0, true);
            // The processor sets accessed bits on its own walks.
            expect(raw | 0x60n).toBe(entry.raw | 0x60n);
          }
        }
      }
    },
  );

  test('code can be executed and not written, data written and not executed, and what the boot wrote only read', () => {
    const { svsm } = bootWorld();
    const { pageTable } = svsm.thisCpu();
    const at = (offset: number) => pageTable.lookup(virtAddr(svsm.layout.image.start + BigInt(offset)));
    expect(at(0)).toMatchObject({ executable: true, writable: false });
    expect(at(0xf_f000)).toMatchObject({ executable: true, writable: false });
    expect(at(0x10_0000)).toMatchObject({ executable: false, writable: false });
    expect(at(0x10_f000)).toMatchObject({ executable: false, writable: false });
    expect(at(0x11_0000)).toMatchObject({ executable: false, writable: true });
    expect((at(0)?.flags ?? 0) & PteFlags.Global).not.toBe(0);
  });

  test('pages of zeros are cleared in the memory of the guest', () => {
    const { svsm } = bootWorld();
    const page = svsm.pages.allocatePage();
    svsm.thisCpu().vcpu.write(page, Uint8Array.of(1));
    svsm.pages.freePage(page);
    const zeroed = svsm.pages.allocateZeroedPage();
    expect(
      svsm
        .thisCpu()
        .vcpu.read(zeroed, PAGE_SIZE)
        .every((byte) => byte === 0),
    ).toBe(true);
  });

  test('addresses translate both ways', () => {
    const { svsm } = bootWorld();
    const page = svsm.pages.allocatePage();
    expect(svsm.physToVirt(svsm.virtToPhys(page))).toBe(page);
    expect(svsm.virtToPhys(svsm.layout.image.start)).toBe(16n << 20n);
    expect(() => svsm.virtToPhys(virtAddr(0))).toThrow(/NOT_A_MAPPING/);
    expect(() => svsm.physToVirt(physAddr(0))).toThrow(/NOT_DIRECT_MAPPED/);
  });

  test('the record has all memory but the GHCBs', () => {
    const { svsm } = bootWorld({ cpus: 3 });
    expect(svsm.validated.size).toBe((64n << 20n) - 3n * 4096n);
    for (const { ghcb } of svsm.cpus) expect(svsm.validated.has(ghcb.gpa)).toBe(false);
  });
});

describe('a second boot is refused', () => {
  test.each([
    ['over the same memory', mib(16, 8)],
    ['over other memory of the guest', mib(32, 8)],
  ])('%s', (_, own) => {
    const world = bootWorld();
    try {
      Svsm.boot({ ...world.options, own });
      expect.unreachable();
    } catch (error) {
      expect(isMmError(error, 'ALREADY_BOOTED') && error.details.own).toBe(String(mib(16, 8)));
    }
    expect(world.svsm.thisCpu().ghcb.isReleased).toBe(false);
  });

  test('until the first SVSM was disposed of', () => {
    const world = bootWorld({ cpus: 2 });
    const page = world.svsm.cpus.map(({ ghcb }) => ghcb.gpa);
    world.svsm[Symbol.dispose]();
    expect(page.every((gpa) => world.svsm.validated.has(gpa))).toBe(true);
    using again = Svsm.boot({ ...world.options, validated: [...world.svsm.validated] });
    expect(again.cpus).toHaveLength(2);
  });
});

describe('after its disposal', () => {
  test('every operation is refused', () => {
    const { svsm } = bootWorld();
    svsm[Symbol.dispose]();
    svsm[Symbol.dispose]();
    expect(() => svsm.thisCpu()).toThrow(/NOT_BOOTED/);
    expect(() => svsm.on(0, () => {})).toThrow(/NOT_BOOTED/);
    expect(() => svsm.startCpu(1)).toThrow(/NOT_BOOTED/);
    expect(() => svsm.mapGlobal(mib(32, 2))).toThrow(/NOT_BOOTED/);
    expect(() => svsm.virtToPhys(svsm.layout.image.start)).toThrow(/NOT_BOOTED/);
  });
});

describe('startCpu', () => {
  test('starts a processor that shares what the others share', () => {
    const { svsm } = bootWorld();
    const cpu = svsm.startCpu(9);
    expect(svsm.on(9, () => svsm.thisCpu())).toBe(cpu);
    const page = svsm.pages.allocatePage();
    cpu.vcpu.write(page, Uint8Array.of(5));
    expect(svsm.cpus[0]?.vcpu.read(page, 1)[0]).toBe(5);
    expect(() => svsm.startCpu(9)).toThrow(/ALREADY_STARTED/);
    expect(() => svsm.startCpu(-1)).toThrow(/INVALID_ARGUMENT/);
  });
});

describe('features', () => {
  test('that the hypervisor lacks end the boot before anything has changed', () => {
    const world = launch({ requiredFeatures: HypervisorFeature.Snp | (1n << 40n) });
    world.events.length = 0;
    try {
      Svsm.boot(world.options);
      expect.unreachable();
    } catch (error) {
      expect(isMmError(error, 'MISSING_FEATURE') && error.details).toMatchObject({
        step: 'features',
        missing: ['bit 40'],
      });
    }
    expect(world.events.map(({ type }) => type)).toEqual(['vmgexit', 'vmrun']);
    Svsm.boot({ ...world.options, requiredFeatures: 0n });
  });
});

test('with a virtual top of memory, pages above it are shared', () => {
  const { svsm } = bootWorld({ virtualTom: 1n << 46n });
  const page = svsm.pages.allocatePage();
  svsm.thisCpu().pageTable.setShared4k(page);
  expect(svsm.paging.encryption).toEqual({ mode: 'vtom', bit: 46 });
  expect(svsm.thisCpu().pageTable.lookup(page)?.shared).toBe(true);
});

test.each<[string, Parameters<typeof launch>[0], RegExp]>([
  ['a layout of other levels', { layout: addressSpaceLayout({ levels: 5 }) }, /INVALID_LAYOUT/],
  ['own memory without a heap', { own: mib(16, 2) }, /INVALID_MEMORY_MAP/],
  ['own memory that is half a page', { own: physRegion(physAddr(0), 0x80_0001) }, /INVALID_MEMORY_MAP/],
  ['a heap larger than the layout', { layout: addressSpaceLayout({ heap: physAsHeap() }) }, /OUTSIDE_LAYOUT/],
  ['no processor', { cpus: 0 }, /INVALID_ARGUMENT/],
  ['an APIC ID twice', { cpus: [1, 1] }, /INVALID_ARGUMENT/],
  ['a misspelt option', { cpu: 1 } as never, /INVALID_ARGUMENT/],
  ['an image with half a page', { image: { code: 5 } }, /INVALID_ARGUMENT/],
  ['a memory map of another type', { memory: 5 as never }, /INVALID_ARGUMENT/],
  ['a guest of another type', { guest: {} as never }, /INVALID_ARGUMENT/],
])('refuses %s', (_, options, code) => {
  const world = launch(options);
  expect(() => Svsm.boot(world.options)).toThrow(code);
});

function physAsHeap() {
  const { heap } = addressSpaceLayout();
  return heap.splitAt(virtAddr(heap.start + 0x40_0000n))[0];
}
