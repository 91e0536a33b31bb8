import { PAGE_SIZE, PAGE_SIZE_2M, physAddr, Virt57, virtAddr } from '@svsm/address';
import { MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { cpuState, PageFaultCode, PageTablePart, PteFlags } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { isMmError } from '../../src/formats/index.ts';
import { mappings, type VirtualMapping, type Vmr } from '../../src/vm/index.ts';
import { page, USER, VmWorld } from '../support/vm-world.ts';

const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'none';
  } catch (error) {
    return isMmError(error) ? error.code : String(error);
  }
};
const reserved = (pages: number | bigint): VirtualMapping => mappings.reserved(BigInt(pages) * 4096n);
const places = (vmr: Vmr): string[] => Array.from(vmr, ([place]) => String(place));

describe('insert', () => {
  test('takes the lowest gap, the lowest gap from a hint on, an alignment, or exactly an address', () => {
    const vmr = new VmWorld().vmr(virtRegion(page(0x10), 0x4000_0000));
    expect(vmr.insert(reserved(2)).start).toBe(page(0x10));
    expect(vmr.insert(reserved(1), { at: page(0x13) }).start).toBe(page(0x13));
    expect(vmr.insert(reserved(1)).start).toBe(page(0x12));
    expect(vmr.insert(reserved(2), { hint: page(0x12) }).start).toBe(page(0x14));
    expect(vmr.insert(reserved(1), { alignment: PAGE_SIZE_2M }).start).toBe(page(0x200));
    // Nothing has room from the hint on: the lowest gap of all.
    expect(vmr.insert(reserved(3), { hint: virtAddr(0x4000_f000) }).start).toBe(page(0x16));
  });

  test('gives a large physical region a place for large pages', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr();
    vmr.attach(world.cpus[0]!);
    vmr.insert(reserved(1));
    const place = vmr.insert(mappings.physical(physRegion(physAddr(0x4000_0000), 3 * PAGE_SIZE_2M)));
    expect(place.start).toBe(virtAddr(PAGE_SIZE_2M));
    expect(world.cpus[0]!.pageTable.lookup(place.start)?.size).toBe(PAGE_SIZE_2M);
  });

  test('refuses what overlaps, what leaves the region, and what has no room', () => {
    const vmr = new VmWorld().vmr(virtRegion(page(0x10), 0x10_000));
    vmr.insert(reserved(4), { at: page(0x14) });
    expect(codeOf(() => vmr.insert(reserved(2), { at: page(0x13) }))).toBe('OVERLAPS_MAPPING');
    expect(codeOf(() => vmr.insert(reserved(2), { at: page(0xf) }))).toBe('OUTSIDE_LAYOUT');
    expect(codeOf(() => vmr.insert(reserved(2), { at: page(0x1f) }))).toBe('OUTSIDE_LAYOUT');
    expect(codeOf(() => vmr.insert(reserved(9)))).toBe('NO_VIRTUAL_RANGE');
    expect(codeOf(() => vmr.insert(reserved(1), { at: virtAddr(0x1_0001) }))).toBe('INVALID_ARGUMENT');
    expect(codeOf(() => vmr.insert({ size: 5n, frames: () => [] }))).toBe('INVALID_ARGUMENT');
    expect(places(vmr)).toEqual(['[0x0000000000014000-0x0000000000018000)']);
  });

  // D14: upstream's user region ends at the canonicalised address above the hole.
  test('refuses a place that would run into the hole', () => {
    const vmr = new VmWorld().vmr();
    const last = virtAddr(0x7fff_ffff_f000n);
    expect(codeOf(() => vmr.insert(reserved(2), { at: last }))).toBe('OUTSIDE_LAYOUT');
    expect(vmr.insert(reserved(1), { at: last }).start).toBe(last);
    expect(vmr.insert(reserved(1), { hint: last }).start).toBe(page(0));
    expect(codeOf(() => vmr.insert(reserved(1), { at: 0x8000_0000_0000n as never }))).toBe('OUTSIDE_LAYOUT');
  });

  // D16: upstream looks for a gap of the next power of two.
  test('needs no more room than the mapping has', () => {
    const vmr = new VmWorld().vmr(virtRegion(page(1), 5 * PAGE_SIZE));
    expect(vmr.insert(reserved(5)).start).toBe(page(1));
  });

  test('refuses a mapping that is inserted already, here or elsewhere', () => {
    const world = new VmWorld();
    const [one, other] = [world.vmr(), world.vmr()];
    const mapping = reserved(1);
    const place = one.insert(mapping);
    expect(codeOf(() => one.insert(mapping))).toBe('MAPPING_IN_USE');
    expect(codeOf(() => other.insert(mapping))).toBe('MAPPING_IN_USE');
    expect(one.remove(place.start)).toBe(mapping);
    other.insert(mapping);
  });

  // D13: upstream takes the tables from the start of the mapping only.
  test.each([4, 5] as const)('maps across root entries, and takes all back, with %i levels', (levels) => {
    const world = new VmWorld(2, { levels });
    const border = levels === 5 ? 2n ** 48n : 2n ** 39n;
    const vmr = world.vmr(levels === 5 ? new MemoryRegion(Virt57, page(1), 2n ** 50n) : USER);
    const before = world.free;
    for (const cpu of world.cpus) vmr.attach(cpu);
    using mapping = mappings.allocated(world.store, 8 * PAGE_SIZE, { writable: true });
    const start = (border - 3n * 4096n) as never;
    const place = vmr.insert(mapping, { at: start });
    for (const [i, cpu] of world.cpus.entries()) {
      for (const at of place.iterPages(PAGE_SIZE)) {
        const paddr = cpu.access(vmr, at, 'write');
        expect(typeof paddr).toBe('bigint');
        world.setByte(paddr as never, i + 1);
      }
    }
    expect(world.cpus[0]!.access(vmr, place.start, 'read')).toBe(mapping.frameAt(0n));
    vmr.remove(place.start);
    for (const at of place.iterPages(PAGE_SIZE))
      expect(world.cpus[1]!.pageTable.translate(at)).toBeUndefined();
    mapping[Symbol.dispose]();
    vmr[Symbol.dispose]();
    expect(world.free).toBe(before);
    expect(world.stale).toEqual([]);
  });
});

describe('remove', () => {
  test('takes the start of a mapping, and nothing else', () => {
    const world = new VmWorld();
    const vmr = world.vmr();
    const place = vmr.insert(reserved(2));
    expect(codeOf(() => vmr.remove(page(1)))).toBe('NOT_A_MAPPING');
    expect(codeOf(() => vmr.remove(page(2)))).toBe('NOT_A_MAPPING');
    vmr.remove(place.start);
    expect(codeOf(() => vmr.remove(place.start))).toBe('NOT_A_MAPPING');
    expect(vmr.size).toBe(0);
  });

  test('flushes where the region is attached, once for each processor, and nowhere else', () => {
    const world = new VmWorld(3);
    const vmr = world.vmr();
    vmr.attach(world.cpus[0]!);
    vmr.attach(world.cpus[1]!);
    using mapping = mappings.allocated(world.store, 16 * PAGE_SIZE);
    const place = vmr.insert(mapping);
    for (const at of place.iterPages(PAGE_SIZE)) world.cpus[0]!.access(vmr, at, 'read');
    vmr.remove(place.start);
    expect(world.cpus.map(({ flushes }) => flushes)).toEqual([1, 1, 0]);
    expect(world.cpus[0]!.access(vmr, place.start, 'read')).toBe(PageFaultCode.User);
    expect(world.stale).toEqual([]);
  });
});

describe('attach', () => {
  test('shows the mappings of before and after, and detach takes them away', () => {
    const world = new VmWorld(2);
    const [one, two] = world.cpus as [(typeof world.cpus)[0], (typeof world.cpus)[0]];
    const vmr = world.vmr();
    const mapping = mappings.allocated(world.store, PAGE_SIZE);
    vmr.attach(one);
    const place = vmr.insert(mapping);
    vmr.attach(two);
    expect(two.access(vmr, place.start, 'read')).toBe(mapping.frameAt(0n));
    expect(codeOf(() => vmr.attach(two))).toBe('ALREADY_ATTACHED');
    vmr.detach(two);
    expect(two.tlb.lookup(place.start)).toBeUndefined();
    expect(two.pageTable.translate(place.start)).toBeUndefined();
    expect(one.pageTable.translate(place.start)).toBe(mapping.frameAt(0n));
    expect(codeOf(() => vmr.detach(two))).toBe('NOT_ATTACHED');
  });

  test('uses parts that exist already, and leaves them', () => {
    const world = new VmWorld(1);
    const part = PageTablePart.create(510, world.tables);
    part.attach(world.cpus[0]!.pageTable);
    const vmr = world.vmr(virtRegion(part.region.start, 0x10_0000), {
      parts: [part],
      flags: PteFlags.Global,
    });
    const place = vmr.insert(mappings.physical(physRegion(physAddr(0x10_0000), PAGE_SIZE)));
    expect(world.cpus[0]!.pageTable.lookup(place.start)?.flags).toBe(
      (PteFlags.Present | PteFlags.Accessed | PteFlags.Global | PteFlags.NoExecute) >>> 0,
    );
    vmr[Symbol.dispose]();
    expect(part.translate(place.start)).toBeUndefined();
    expect(part.tables).toEqual([world.cpus[0]!.pageTable]);
  });
});

describe('a page fault', () => {
  const { Present, Write, User, Reserved, Fetch, ProtectionKey, ShadowStack, Rmp } = PageFaultCode;
  const setUp = (options: Parameters<typeof mappings.allocated>[2]) => {
    const world = new VmWorld(2);
    const vmr = world.vmr();
    for (const cpu of world.cpus) vmr.attach(cpu);
    const mapping = mappings.allocated(world.store, 4 * PAGE_SIZE, { lazy: true, ...options });
    return { world, vmr, mapping, place: vmr.insert(mapping) };
  };

  // D15: upstream throws the resolution away.
  test('brings a page of zeros at the first access', () => {
    const { world, vmr, mapping, place } = setUp({ writable: true });
    const before = world.free;
    expect(mapping.present).toBe(0);
    const paddr = world.cpus[0]!.access(vmr, place.start, 'write') as never;
    expect([world.byte(paddr), mapping.present]).toEqual([0, 1]);
    world.setByte(paddr, 7);
    expect(world.byte(world.cpus[1]!.access(vmr, place.start, 'read') as never)).toBe(7);
    // One page, and three tables.
    expect(before - world.free).toBe(3);
  });

  test.each([
    ['a read', User, true],
    ['a write', User | Write, false],
    ['a fetch', User | Fetch, false],
    ['a supervisor read', 0, true],
    ['a supervisor fetch of a user page: SMEP', Fetch, false],
    ['a corrupted entry', User | Reserved | Present, false],
    ['a protection key', User | ProtectionKey | Present, false],
    ['an RMP check', User | Rmp | Present, false],
    ['a shadow-stack access', User | ShadowStack, false],
  ])('in a read-only mapping, by the error code of %s', (_, errorCode, isHandled) => {
    const { world, vmr, mapping, place } = setUp({});
    expect(vmr.handlePageFault(virtAddr(place.start + 0x123n), errorCode)).toBe(isHandled);
    expect(mapping.present).toBe(isHandled ? 1 : 0);
    expect(world.stale).toEqual([]);
  });

  test('of user mode is nothing for a kernel region', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr(USER, { flags: PteFlags.Global });
    const place = vmr.insert(mappings.allocated(world.store, PAGE_SIZE, { lazy: true }));
    expect(vmr.handlePageFault(place.start, User)).toBe(false);
    expect(vmr.handlePageFault(place.start, 0)).toBe(true);
  });

  test('outside of mappings, in reserved addresses, and at a value that is not an address, is not handled', () => {
    const { vmr } = setUp({});
    const place = vmr.insert(reserved(1));
    for (const at of [place.start, page(0x1000), 2n ** 63n, -1n, 2n ** 80n])
      expect(vmr.handlePageFault(at as never, User)).toBe(false);
  });

  test('that another processor has resolved is over', () => {
    const { world, vmr, place } = setUp({ writable: true });
    expect(vmr.handlePageFault(place.start, User | Write)).toBe(true);
    const before = world.free;
    // The second processor has faulted too, before the page was there.
    expect(vmr.handlePageFault(place.start, User | Write)).toBe(true);
    expect(vmr.handlePageFault(place.start, User | Write | Present)).toBe(true);
    expect(world.free).toBe(before);
    // The rights say that it cannot be over.
    expect(vmr.handlePageFault(place.start, User | Fetch | Present)).toBe(false);
  });

  test('that only SMAP explains is not taken for resolved', () => {
    const { vmr, place } = setUp({});
    vmr.handlePageFault(place.start, User);
    expect(vmr.handlePageFault(place.start, Present, cpuState({ smap: true, ac: false }))).toBe(false);
    expect(vmr.handlePageFault(place.start, Present, cpuState({ smap: true, ac: true }))).toBe(true);
  });

  test('calls nothing that calls the region again', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr();
    const place = vmr.insert({
      size: 4096n,
      frames: () => [],
      fault: () => {
        vmr.insert(reserved(1));
        return undefined;
      },
    });
    expect(codeOf(() => vmr.handlePageFault(place.start, User))).toBe('BUSY');
    expect(vmr.size).toBe(1);
  });

  test('refuses frames outside of the mapping', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr();
    const run = { offset: 4096n, paddr: physAddr(0x1000), size: 4096n, flags: 0 };
    const undone: string[] = [];
    const fault = () => ({ run, undo: () => undone.push('undo') });
    const place = vmr.insert({ size: 4096n, frames: () => [], fault });
    expect(codeOf(() => vmr.handlePageFault(place.start, User))).toBe('INVALID_ARGUMENT');
    expect(codeOf(() => vmr.insert({ size: 4096n, frames: () => [run] }))).toBe('INVALID_ARGUMENT');
    expect([undone, vmr.size]).toEqual([['undo'], 1]);
  });
});
