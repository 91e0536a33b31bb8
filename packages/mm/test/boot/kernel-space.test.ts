import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import {
  createPhysMemory,
  type FrameAllocator,
  PageTable,
  PtePreset,
  pagingConfig,
  Tlb,
} from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { directMapOf, makeReadOnlyAfterInit, mapKernel, sectionsOf } from '../../src/boot/kernel-space.ts';
import { ShootDown } from '../../src/cpu/shoot-down.ts';
import { COCONUT_LAYOUT } from '../../src/layout/address-space-layout.ts';

const config = pagingConfig({ cBit: 51 });

/** Frames from a memory of 1 MiB; `limit` of them. */
function source(limit = 100) {
  const memory = createPhysMemory({ size: 0x10_0000 });
  const free = Array.from({ length: limit }, (_, frame) => physAddr(0x1000 * frame)).reverse();
  const taken = new Set<PhysAddr>();
  const frames: FrameAllocator = {
    allocateFrame: () => {
      const frame = free.pop();
      if (frame === undefined) throw new Error('no frame');
      taken.add(frame);
      return frame;
    },
    freeFrame: (frame) => {
      taken.delete(frame);
      free.push(frame);
    },
  };
  return { tables: { memory, frames, config }, taken };
}

const image = {
  phys: physRegion(physAddr(0x100_0000), 0x20_0000),
  code: 0x10_0000n,
  readOnlyAfterInit: 0x1_0000n,
};
const heap = directMapOf(COCONUT_LAYOUT, physRegion(physAddr(0x120_3000), 0x61_d000));

test('the heap has the same offset in 2 MiB as its memory, so that large pages map it', () => {
  expect(heap.virt.start % 0x20_0000n).toBe(heap.phys.start % 0x20_0000n);
  const kernel = mapKernel(source().tables, COCONUT_LAYOUT, image, heap);
  expect(kernel.lookup(virtAddr(heap.virt.start))?.size).toBe(PAGE_SIZE);
  expect(kernel.lookup(virtAddr(heap.virt.start + 0x20_0000n))?.size).toBe(PageSize.Huge);
  for (let offset = 0n; offset < heap.virt.size; offset += 0x1000n)
    expect(kernel.translate(virtAddr(heap.virt.start + offset))).toBe(heap.phys.start + offset);
  expect(kernel.translate(virtAddr(heap.virt.end))).toBe(undefined);
});

test('the sections of the image follow each other', () => {
  const { code, readOnlyAfterInit, data } = sectionsOf(COCONUT_LAYOUT, image);
  expect([code.start, readOnlyAfterInit.start, data.start]).toEqual([
    COCONUT_LAYOUT.image.start,
    code.end,
    readOnlyAfterInit.end,
  ]);
  expect(code.size + readOnlyAfterInit.size + data.size).toBe(image.phys.size);
});

describe('without a frame left', () => {
  const { taken } = mapped();
  function mapped() {
    const all = source();
    mapKernel(all.tables, COCONUT_LAYOUT, image, heap);
    return all;
  }

  test.each(Array.from(taken, (_, limit) => limit))('after %i frames, all are given back', (limit) => {
    const few = source(limit);
    expect(() => mapKernel(few.tables, COCONUT_LAYOUT, image, heap)).toThrow(/OUT_OF_MEMORY/);
    expect(few.taken.size).toBe(0);
  });
});

test('read-only after the boot: all or nothing, and reported to every TLB', () => {
  const { tables, taken } = source(9);
  const kernel = mapKernel(tables, COCONUT_LAYOUT, image, heap);
  const tlb = new Tlb();
  kernel.attach(PageTable.create({ ...tables, tlb }));
  const { readOnlyAfterInit } = sectionsOf(COCONUT_LAYOUT, image);
  makeReadOnlyAfterInit(kernel, readOnlyAfterInit, new ShootDown());
  const pages = Array.from(readOnlyAfterInit.iterPages(PAGE_SIZE), (page) => kernel.lookup(page)?.writable);
  expect(new Set(pages)).toEqual(new Set([false]));
  expect(kernel.lookup(virtAddr(readOnlyAfterInit.end))?.writable).toBe(true);
  expect(tlb.pending.map(String)).toEqual([String(readOnlyAfterInit)]);
  makeReadOnlyAfterInit(kernel, virtRegion(readOnlyAfterInit.start, 0), new ShootDown());

  // A region inside a large page needs a frame.
  while (taken.size < 9) tables.frames.allocateFrame();
  const inside = virtRegion(virtAddr(heap.virt.start + 0x1f_d000n + 0x20_0000n), PAGE_SIZE);
  expect(() => makeReadOnlyAfterInit(kernel, inside, new ShootDown())).toThrow(/OUT_OF_MEMORY/);
  expect(kernel.lookup(inside.start)).toMatchObject({ writable: true, size: PageSize.Huge });
  expect(PtePreset.ReadOnly).not.toBe(PtePreset.Data);
});
