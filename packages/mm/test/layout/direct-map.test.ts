import { PAGE_SIZE, physAddr, virtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { DirectMap } from '../../src/layout/direct-map.ts';

const virt = virtRegion(virtAddr(0xffff_ff80_4000_0000n), 8 * PAGE_SIZE);
const phys = physRegion(physAddr(0x20_0000), 8 * PAGE_SIZE);
const map = new DirectMap(virt, phys);

test('translates both ways, every byte', () => {
  for (const offset of [0n, 1n, 0xfffn, 0x1000n, 0x7fffn]) {
    const vaddr = virtAddr(virt.start + offset);
    expect(map.toPhys(vaddr)).toBe(phys.start + offset);
    expect(map.toVirt(map.toPhys(vaddr))).toBe(vaddr);
  }
  const part = virtRegion(virtAddr(virt.start + 0x1000n), PAGE_SIZE);
  expect(map.virtOf(map.physOf(part)).equals(part)).toBe(true);
});

test('refuses addresses and regions outside of the heap', () => {
  expect(() => map.toPhys(virtAddr(virt.end))).toThrow(/NOT_DIRECT_MAPPED/);
  expect(() => map.toPhys(virtAddr(virt.start - 1n))).toThrow(/NOT_DIRECT_MAPPED/);
  expect(() => map.toVirt(physAddr(0))).toThrow(/NOT_DIRECT_MAPPED/);
  expect(() => map.toPhys(undefined as never)).toThrow(/INVALID_ARGUMENT/);
  expect(() => map.physOf(virtRegion(virt.start, 9 * PAGE_SIZE))).toThrow(/NOT_DIRECT_MAPPED/);
  expect(() => map.virtOf(physRegion(physAddr(0x1f_f000), 2 * PAGE_SIZE))).toThrow(/NOT_DIRECT_MAPPED/);
});

test('refuses regions of two sizes, or with parts of pages', () => {
  expect(() => new DirectMap(virt, physRegion(phys.start, PAGE_SIZE))).toThrow(/INVALID_ARGUMENT/);
  expect(() => new DirectMap(virtRegion(virt.start, 5), physRegion(phys.start, 5))).toThrow(
    /INVALID_ARGUMENT/,
  );
});

test('frames for page tables are pages of the allocator', () => {
  const pages = new PageAllocator(virt);
  const frames = map.framesOf(pages);
  const frame = frames.allocateFrame();
  expect(pages.blockOf(map.toVirt(frame))?.region.size).toBe(BigInt(PAGE_SIZE));
  frames.freeFrame(frame);
  expect(pages.memoryInfo().allocatedPages).toBe(0);
});
