import type { VirtAddr } from './address.ts';
import { AddressError } from './address-error.ts';
import { bitsOf } from './bits-of.ts';

/**
 * The index, 0 to 511, of the entry for `vaddr` in a page table of `level`. O(1).
 *
 * Bits 20:12 at level 0 (PT), 29:21 at 1 (PD), 38:30 at 2 (PDPT), 47:39 at 3 (PML4), 56:48 at 4 (PML5): AMD64 APM
 * vol. 2, §5.3.
 *
 * @param level - 0 (PT) to 4 (PML5)
 * @throws AddressError `INVALID_LEVEL`, `INVALID_ADDRESS`, `OUTSIDE_SPACE`
 * @example
 * ```ts
 * import { pageTableIndex, virtAddr } from '@svsm/address';
 *
 * const vaddr = virtAddr(0xffff_8000_0020_1000n);
 * console.log([3, 2, 1, 0].map((level) => pageTableIndex(vaddr, level))); // => [ 256, 0, 1, 1 ]
 * ```
 */
export function pageTableIndex(vaddr: VirtAddr, level: number): number {
  if (level !== 0 && level !== 1 && level !== 2 && level !== 3 && level !== 4) {
    throw new AddressError('INVALID_LEVEL', { level });
  }
  return Number((bitsOf(vaddr) >> BigInt(12 + 9 * level)) & 0x1ffn);
}
