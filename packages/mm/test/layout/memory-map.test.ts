import { PAGE_SIZE, Phys, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion, RegionMap } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { type MemoryKind, MemoryMap, type MemoryMapEntry } from '../../src/layout/memory-map.ts';
import { mib } from '../support/world.ts';

const own = mib(16, 8);

test('takes the own region out of every entry that it overlaps', () => {
  const map = new MemoryMap(
    [
      [mib(0, 18), 'guest'],
      [mib(18, 2), 'firmware'],
      [mib(20, 44), 'guest'],
    ],
    own,
  );
  expect([...map].map(([region, kind]) => `${kind} ${region}`)).toEqual([
    `guest ${mib(0, 16)}`,
    `svsm ${own}`,
    `guest ${mib(24, 40)}`,
  ]);
  expect(map.kindOf(physAddr(19n << 20n))).toBe('svsm');
});

test('joins adjacent entries of one kind, so that a region across them is memory', () => {
  const map = new MemoryMap(
    [
      [mib(4, 4), 'guest'],
      [mib(0, 4), 'guest'],
    ],
    own,
  );
  expect(map.isGuest(mib(3, 2))).toBe(true);
  expect([...map.regionsOf('guest')].map(String)).toEqual([String(mib(0, 8))]);
});

test('knows holes, and any value of 64 bits', () => {
  const map = new MemoryMap(
    [
      [mib(0, 4), 'guest'],
      [mib(8, 4), 'hole'],
    ],
    own,
  );
  const kinds = [0n, 5n << 20n, 9n << 20n, 1n << 52n, (1n << 64n) - 1n, -1n].map((gpa) => map.kindOf(gpa));
  expect(kinds).toEqual(['guest', undefined, 'hole', undefined, undefined, undefined]);
  expect([map.isGuest(mib(3, 2)), map.isGuest(mib(8, 1)), map.isGuest(mib(30, 1))]).toEqual([
    false,
    false,
    false,
  ]);
});

test('reads a RegionMap', () => {
  const entries = new RegionMap<PhysAddr, MemoryKind>(Phys, [[mib(0, 64), 'guest']]);
  expect(new MemoryMap(entries, own).kindOf(0n)).toBe('guest');
});

describe('an entry is refused', () => {
  test.each<[string, MemoryMapEntry[], RegExp]>([
    [
      'that overlaps another one',
      [
        [mib(0, 4), 'guest'],
        [mib(3, 4), 'guest'],
      ],
      /INVALID_MEMORY_MAP/,
    ],
    ['with half a page', [[physRegion(physAddr(0), 5), 'guest']], /INVALID_MEMORY_MAP/],
    ['that is empty', [[physRegion(physAddr(0), 0), 'guest']], /INVALID_MEMORY_MAP/],
    ['of a kind that does not exist', [[mib(0, 4), 'rom' as MemoryKind]], /INVALID_ARGUMENT/],
    ['of another type', [7 as never], /INVALID_ARGUMENT/],
  ])('%s', (_, entries, code) => {
    expect(() => new MemoryMap(entries, own)).toThrow(code);
  });
});

describe('the registry of VMSAs', () => {
  const make = (): MemoryMap => new MemoryMap([[mib(0, 64), 'guest']], own);
  const [vmsa, caa] = [physAddr(0x5000), physAddr(0x8008)];

  test('keeps the pages of a VMSA and its calling area from the guest until it is unregistered', () => {
    const map = make();
    map.registerVmsa(vmsa, caa, 3);
    expect(map.vmsas).toEqual([{ vmsa, caa, apicId: 3 }]);
    expect([map.kindOf(0x5fffn), map.kindOf(0x8000n), map.kindOf(0x9000n)]).toEqual(['vmsa', 'caa', 'guest']);
    expect(map.isGuest(physRegion(physAddr(0x4000), 2 * PAGE_SIZE))).toBe(false);
    map.unregisterVmsa(vmsa);
    expect([map.kindOf(0x5fffn), map.isGuest(mib(0, 1)), map.vmsas.length]).toEqual(['guest', true, 0]);
  });

  test.each<[string, PhysAddr, PhysAddr, RegExp]>([
    ['a VMSA in use', vmsa, physAddr(0xa000), /OVERLAPS_MAPPING/],
    ['a calling area in a VMSA in use', physAddr(0xa000), physAddr(0x5008), /OVERLAPS_MAPPING/],
    ['a calling area in its own VMSA', physAddr(0xa000), physAddr(0xa008), /OVERLAPS_MAPPING/],
    ['memory of the SVSM', physAddr(own.start), physAddr(0xa000), /NOT_GUEST_MEMORY/],
    ['an address that is not aligned', physAddr(0xa008), physAddr(0xb000), /INVALID_ARGUMENT/],
    ['a calling area that is not aligned', physAddr(0xa000), physAddr(0xb001), /INVALID_ARGUMENT/],
  ])('refuses %s, and registers nothing', (_, newVmsa, newCaa, code) => {
    const map = make();
    map.registerVmsa(vmsa, caa, 3);
    const before = [...map.vmsas];
    expect(() => map.registerVmsa(newVmsa, newCaa, 4)).toThrow(code);
    expect(map.vmsas).toEqual(before);
    expect(map.kindOf(0xa000n)).toBe('guest');
  });

  test('refuses to unregister what is not registered', () => {
    expect(() => make().unregisterVmsa(vmsa)).toThrow(/NOT_A_MAPPING/);
  });
});
