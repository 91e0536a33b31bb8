import { PAGE_SIZE, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { PageFaultCode, PteFlags } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { isMmError } from '../../src/formats/index.ts';
import { mappings, type PagedMapping } from '../../src/vm/index.ts';
import { USER, VmWorld } from '../support/vm-world.ts';

const PAGE = BigInt(PAGE_SIZE);
const setUp = () => {
  const world = new VmWorld(2);
  const vmr = world.vmr();
  for (const cpu of world.cpus) vmr.attach(cpu);
  const write = (cpu: number, at: VirtAddr, value: number): void => {
    const paddr = world.cpus[cpu]!.access(vmr, at, 'write');
    if (typeof paddr === 'number') throw new Error(`fault 0x${paddr.toString(16)}`);
    world.setByte(paddr, value);
  };
  const read = (cpu: number, at: VirtAddr): number => {
    const paddr = world.cpus[cpu]!.access(vmr, at, 'read');
    if (typeof paddr === 'number') throw new Error(`fault 0x${paddr.toString(16)}`);
    return world.byte(paddr);
  };
  return { world, vmr, write, read };
};
const codeOf = (action: () => unknown): string => {
  try {
    action();
    return 'none';
  } catch (error) {
    return isMmError(error) ? error.code : String(error);
  }
};

describe('mappings.allocated', () => {
  // C14: upstream allocates a page for a slot that has one.
  test('takes each page once, and gives all back', () => {
    const { world, vmr } = setUp();
    const before = world.free;
    const mapping = mappings.allocated(world.store, 3 * PAGE_SIZE + 1);
    expect(before - world.free).toBe(4);
    mapping.populate();
    expect(before - world.free).toBe(4);
    const place = vmr.insert(mapping);
    expect(place.size).toBe(4n * PAGE);
    expect(codeOf(() => mapping[Symbol.dispose]())).toBe('MAPPING_IN_USE');
    vmr.remove(place.start);
    mapping[Symbol.dispose]();
    vmr[Symbol.dispose]();
    expect(world.free).toBe(before);
  });

  test('keeps its content when it is removed and inserted elsewhere', () => {
    const { world, vmr, write, read } = setUp();
    using mapping = mappings.allocated(world.store, PAGE_SIZE, { writable: true, lazy: true });
    const first = vmr.insert(mapping);
    write(0, first.start, 5);
    vmr.remove(first.start);
    const second = vmr.insert(mapping, { hint: virtAddr(0x100_0000) });
    expect(read(1, second.start)).toBe(5);
    vmr.remove(second.start);
    expect(world.stale).toEqual([]);
  });

  test.each([0, 2n ** 80n])('refuses %s bytes', (size) => {
    expect(codeOf(() => mappings.allocated(new VmWorld(1).store, size))).toBe('INVALID_ARGUMENT');
  });
});

describe('mappings.kernelStack', () => {
  test('has a guard on each side, as upstream has them', () => {
    const { store } = new VmWorld(1);
    const stack = mappings.kernelStack(store);
    // 8 pages of stack, 4 guards on each side: 64 KiB.
    expect([stack.size, stack.topOfStack, stack.present]).toEqual([0x1_0000n, 0xc000n, 8]);
    const shadow = mappings.kernelStack(store, { shadow: true });
    expect([shadow.size, shadow.topOfStack, shadow.present]).toEqual([0x3000n, 0x2000n, 1]);
  });

  test.each([1, 2, 3, 5, 6, 7, 13])('has guards on both sides for %i pages', (pages) => {
    const stack = mappings.kernelStack(new VmWorld(1).store, { size: pages * PAGE_SIZE });
    const [first] = stack.frames();
    expect(first!.offset).toBeGreaterThanOrEqual(PAGE);
    expect(stack.topOfStack).toBe(first!.offset + BigInt(pages) * PAGE);
    expect(stack.size - stack.topOfStack).toBe(first!.offset);
  });

  test('faults in the guards, and nowhere else', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr(USER, { flags: PteFlags.Global });
    vmr.attach(world.cpus[0]!);
    const stack = mappings.kernelStack(world.store, { size: 2 * PAGE_SIZE });
    const place = vmr.insert(stack);
    const outcomes = Array.from(
      place.iterPages(PAGE_SIZE),
      (at) => typeof world.cpus[0]!.access(vmr, at, 'write', 0),
    );
    expect(outcomes).toEqual(['number', 'bigint', 'bigint', 'number']);
  });

  test('is a page for shadow-stack accesses only, if it is a shadow stack', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr(USER, { flags: PteFlags.Global });
    const stack = mappings.kernelStack(world.store, { shadow: true });
    const place = vmr.insert(stack);
    vmr.attach(world.cpus[0]!);
    const at = virtAddr(place.start + PAGE);
    expect(world.cpus[0]!.pageTable.lookup(at)?.shadowStack).toBe(true);
    const { Present, Write, ShadowStack } = PageFaultCode;
    expect(vmr.handlePageFault(at, Present | Write)).toBe(false);
    expect(vmr.handlePageFault(at, Present | Write | ShadowStack)).toBe(true);
    expect(vmr.handlePageFault(place.start, Write | ShadowStack)).toBe(false);
  });
});

describe('mappings.physical', () => {
  test('maps memory private or shared, and owns nothing', () => {
    const world = new VmWorld(1);
    const vmr = world.vmr(USER, { flags: PteFlags.Global });
    vmr.attach(world.cpus[0]!);
    const region = physRegion(physAddr(0x10_0000), PAGE_SIZE);
    const device = vmr.insert(mappings.physical(region, { writable: true, shared: true }));
    expect(world.cpus[0]!.pageTable.lookup(device.start)).toMatchObject({ shared: true, writable: true });
    expect(vmr.insert(mappings.physical(region)).start).toBe(device.end);
  });

  test('refuses parts of pages', () => {
    expect(codeOf(() => mappings.physical(physRegion(physAddr(0x100), PAGE_SIZE)))).toBe('INVALID_ARGUMENT');
    expect(codeOf(() => mappings.physical(physRegion(physAddr(0x1000), 0)))).toBe('INVALID_ARGUMENT');
  });
});

describe('mappings.file', () => {
  test('shares the pages of the file, so that a write goes to the file', () => {
    const { world, vmr, write, read } = setUp();
    const file = world.file([1, 2, 3]);
    const options = { writable: true };
    const one = vmr.insert(mappings.file(world.store, file, PAGE_SIZE, 2 * PAGE_SIZE, options));
    const two = vmr.insert(mappings.file(world.store, file, 0, 3 * PAGE_SIZE, options));
    expect([read(0, one.start), read(1, two.start)]).toEqual([2, 1]);
    write(0, one.start, 20);
    expect(read(1, virtAddr(two.start + PAGE))).toBe(20);
    expect(world.byte(file.frames[1]!)).toBe(20);
  });

  test('copies a page of a private mapping when it is written, and only then', () => {
    const { world, vmr, write, read } = setUp();
    const file = world.file([1, 2]);
    const mapping = mappings.file(world.store, file, 0, 2 * PAGE_SIZE, { private: true, writable: true });
    const place = vmr.insert(mapping);
    const before = world.free;
    expect([read(0, place.start), read(1, virtAddr(place.start + PAGE))]).toEqual([1, 2]);
    expect(mapping.frameAt(0n)).toBe(file.frames[0]);
    expect(before - world.free).toBe(2); // tables
    write(0, place.start, 10);
    expect([read(1, place.start), world.byte(file.frames[0]!)]).toEqual([10, 1]);
    // The page that was not read before goes to a copy at once.
    expect(before - world.free).toBe(3);
    expect(world.stale).toEqual([]);
  });

  test('keeps the pages when the file is closed', () => {
    const { world, vmr, read } = setUp();
    const file = world.file([9]);
    const place = vmr.insert(mappings.file(world.store, file, 0, PAGE_SIZE));
    expect(read(0, place.start)).toBe(9);
    file.close();
    expect(read(1, place.start)).toBe(9);
    expect(world.pages.blockOf(file.frames[0]!)?.kind).toBe('file');
  });

  test('refuses what are not pages of the file', () => {
    const world = new VmWorld(1);
    const file = world.file([1, 2]);
    const map = (offset: number, size: number) => () => mappings.file(world.store, file, offset, size);
    expect([map(1, 1), map(0, 2 * PAGE_SIZE + 1), map(2 * PAGE_SIZE, 1)].map(codeOf)).toEqual(
      Array.from({ length: 3 }, () => 'INVALID_ARGUMENT'),
    );
    expect(codeOf(map(PAGE_SIZE, 1))).toBe('none');
  });
});

describe('PagedMapping.copyOnWrite', () => {
  const clonedWorld = () => {
    const { world, vmr, write, read } = setUp();
    const parent: PagedMapping = mappings.allocated(world.store, 2 * PAGE_SIZE, { writable: true });
    const at = vmr.insert(parent).start;
    write(0, at, 1);
    write(1, at, 2);
    const before = world.free;
    const child = parent.copyOnWrite();
    const childAt = vmr.insert(child).start;
    return { world, vmr, write, read, parent, child, at, childAt, before };
  };

  test('shares pages until one side writes: each sees its own writes only', () => {
    const { world, read, write, at, childAt, before } = clonedWorld();
    expect(world.free).toBe(before);
    expect([read(0, at), read(1, childAt)]).toEqual([2, 2]);
    write(0, at, 3);
    expect([read(1, at), read(0, childAt)]).toEqual([3, 2]);
    expect(before - world.free).toBe(1);
    // The other side has the page alone now: no copy.
    write(1, childAt, 4);
    expect([read(0, at), read(0, childAt), before - world.free]).toEqual([3, 4, 1]);
    expect(world.stale).toEqual([]);
  });

  test('keeps content through any order of removal, and loses no page', () => {
    const { world, vmr, read, write, parent, child, at, childAt } = clonedWorld();
    const grandchild = child.copyOnWrite();
    vmr.remove(at);
    parent[Symbol.dispose]();
    const there = vmr.insert(grandchild).start;
    write(0, childAt, 5);
    expect([read(0, there), read(1, childAt)]).toEqual([2, 5]);
    vmr.remove(childAt);
    child[Symbol.dispose]();
    write(1, there, 6);
    expect(read(0, there)).toBe(6);
    vmr[Symbol.dispose]();
    grandchild[Symbol.dispose]();
    const tables = world.cpus.length;
    expect(world.free).toBe(world.pages.memoryInfo().totalPages - tables);
  });

  // A read-only page that is dirty is a page of a shadow stack.
  test('never makes a page of the parent a shadow-stack page', () => {
    const { world, at } = clonedWorld();
    expect(world.cpus[0]!.pageTable.lookup(at)).toMatchObject({ writable: false, shadowStack: false });
  });
});
