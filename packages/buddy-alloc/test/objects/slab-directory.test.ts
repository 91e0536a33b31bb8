import { expect, test } from 'vitest';
import { SlabDirectory } from '../../src/objects/slab-directory.ts';

test('a directory distinguishes pages that differ in only one part of their address', () => {
  const addresses = [0x40_0000n, 0n, 0x1000n, 0x3f_f000n, 0x1_0040_0000n, 0xffff_ffff_ffc0_0000n];
  const directory = new SlabDirectory(0n);
  for (const address of addresses) {
    expect(directory.at(address)).toBe(0);
    directory.set(address, 1 + addresses.indexOf(address));
    expect(directory.at(address)).toBe(1 + addresses.indexOf(address));
  }
  for (const [index, address] of addresses.entries()) {
    expect(directory.at(address + 8n)).toBe(1 + index);
    for (const other of [address - 2n ** 64n, address + 2n ** 64n]) expect(directory.at(other)).toBe(0);
  }
  expect(directory.at(0x80_0000n)).toBe(0);
});
