import { PAGE_SIZE, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { isMmError } from '../../src/formats/mm-error.ts';
import {
  addressSpaceLayout,
  COCONUT_LAYOUT,
  type LayoutChanges,
  slotRegion,
} from '../../src/layout/address-space-layout.ts';

const va = (value: bigint): VirtAddr => virtAddr(value);

test('COCONUT_LAYOUT has the constants of COCONUT-SVSM', () => {
  const { slots, perCpu, globalMappings, user, image, perTask } = COCONUT_LAYOUT;
  expect(slots).toEqual({ shared: 511, perCpu: 510, perTask: 508, selfMap: 493 });
  expect(image.start).toBe(0xffff_ff80_0000_0000n);
  expect(globalMappings.small.start).toBe(0xffff_ffc0_0000_0000n);
  expect(globalMappings.huge.start).toBe(0xffff_ffc0_0020_0000n);
  expect(globalMappings.huge.end).toBe(0xffff_ffc0_4000_0000n);
  expect([perCpu.self, perCpu.caa, perCpu.vmsa]).toEqual([
    0xffff_ff00_0000_0000n,
    0xffff_ff00_0000_2000n,
    0xffff_ff00_0000_4000n,
  ]);
  expect(perCpu.stacks.start).toBe(0xffff_ff00_0020_0000n);
  expect([perCpu.temp4k.start, perCpu.temp4k.pageCount()]).toEqual([0xffff_ff00_4000_0000n, 512]);
  expect([perCpu.temp2m.start, perCpu.temp2m.end]).toEqual([0xffff_ff00_4020_0000n, 0xffff_ff00_8000_0000n]);
  expect([perTask.start, perTask.end]).toEqual([0xffff_fe00_0000_0000n, 0xffff_fe80_0000_0000n]);
  expect([user.start, user.end]).toEqual([0n, 0x8000_0000_0000n]);
});

describe('slotRegion', () => {
  test.each([
    [4, 0, 0n, 1n << 39n],
    [4, 255, 255n << 39n, 1n << 47n],
    [4, 256, 0xffff_8000_0000_0000n, 0xffff_8080_0000_0000n],
    [4, 493, 0xffff_f680_0000_0000n, 0xffff_f700_0000_0000n],
    [4, 511, 0xffff_ff80_0000_0000n, 1n << 64n],
    [5, 0, 0n, 1n << 48n],
    [5, 256, 0xff00_0000_0000_0000n, 0xff01_0000_0000_0000n],
    [5, 511, 0xffff_0000_0000_0000n, 1n << 64n],
  ] as const)('with %i levels, slot %i', (levels, slot, start, end) => {
    const region = slotRegion(levels, slot);
    expect([region.start, region.end]).toEqual([start, end]);
  });

  test.each([
    [3, 0],
    [4, 512],
    [4, -1],
    [4, 1.5],
  ] as const)('refuses %s levels, slot %s', (levels, slot) => {
    expect(() => slotRegion(levels as 4, slot)).toThrow(/INVALID_ARGUMENT/);
  });
});

test('other slots move their parts, with the same offsets', () => {
  const layout = addressSpaceLayout({ slots: { shared: 300, perCpu: 301 } });
  expect(layout.heap.start).toBe(slotRegion(4, 300).start + (1n << 30n));
  expect(layout.perCpu.vmsa).toBe(slotRegion(4, 301).start + 0x4000n);
  expect(layout.slots.selfMap).toBe(493);
});

test('a layout is frozen, and its own input', () => {
  expect(Object.isFrozen(COCONUT_LAYOUT) && Object.isFrozen(COCONUT_LAYOUT.perCpu)).toBe(true);
  const { perTask, ...changes } = COCONUT_LAYOUT;
  expect(String(perTask)).toContain('0xfffffe00');
  expect(addressSpaceLayout(changes)).toEqual(COCONUT_LAYOUT);
});

describe('a layout is refused', () => {
  const one = virtRegion(va(0xffff_ff80_0000_0000n), 2 * PAGE_SIZE);
  test.each<[string, LayoutChanges, string]>([
    ['with a slot twice', { slots: { perCpu: 511 } }, 'slots'],
    ['with a slot of the lower half', { slots: { perTask: 255 } }, 'slots.perTask'],
    ['with a part outside its slot', { image: virtRegion(va(0xffff_ff00_0000_0000n), PAGE_SIZE) }, 'image'],
    [
      'with parts that overlap',
      { image: one, heap: virtRegion(va(0xffff_ff80_0000_1000n), PAGE_SIZE) },
      'image',
    ],
    ['with an empty part', { heap: virtRegion(va(0xffff_ff80_4000_0000n), 0) }, 'heap'],
    ['with half a page', { heap: virtRegion(va(0xffff_ff80_4000_0000n), PAGE_SIZE + 1) }, 'heap'],
    [
      'with pages of 2 MiB that are not aligned',
      { globalMappings: { huge: virtRegion(va(0xffff_ffc0_0020_1000n), 0x20_0000) } },
      'globalMappings.huge',
    ],
    [
      'with user memory in the upper half',
      { user: virtRegion(va(0xffff_8000_0000_0000n), PAGE_SIZE) },
      'user',
    ],
    [
      'with a page of the processor on its stacks',
      { perCpu: { self: va(0xffff_ff00_0020_0000n) } },
      'perCpu.self',
    ],
  ])('%s', (_, changes, field) => {
    try {
      addressSpaceLayout(changes);
      expect.unreachable();
    } catch (error) {
      expect(isMmError(error, 'INVALID_LAYOUT') && error.details.field).toBe(field);
    }
  });

  test.each<[string, unknown]>([
    ['levels', { levels: 3 }],
    ['a field that does not exist', { sots: {} }],
    ['a slot that is not an index', { slots: { shared: 512 } }],
    ['a region of another type', { heap: 7 }],
    ['an address that is not canonical', { perCpu: { self: 0x8000_0000_0000n } }],
    ['null as an address', { perCpu: { caa: null } }],
    ['no object', 5],
  ])('with %s', (_, changes) => {
    expect(() => addressSpaceLayout(changes as LayoutChanges)).toThrow(/INVALID_ARGUMENT/);
  });
});
