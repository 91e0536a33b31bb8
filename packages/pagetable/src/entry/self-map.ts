import { Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { PageTableError } from './page-table-error.ts';

/**
 * The self-map: if entry `index` of the root leads back to the root, each table of the page table is a page of virtual
 * memory, and the entry that maps an address has an address itself. COCONUT-SVSM uses entry 493.
 */
export interface SelfMap {
  /** The entry of the root that leads back to it. */
  readonly index: number;
  /** Where all entries of level 0 lie, one after the other. */
  readonly region: MemoryRegion<VirtAddr>;
  /**
   * The virtual address of the entry at `level` on the way to `vaddr`.
   *
   * @throws PageTableError `NON_CANONICAL`, `INVALID_SELF_MAP` for a level that there is not
   */
  entryAddress(vaddr: VirtAddr, level?: number): VirtAddr;
}

/**
 * The arithmetic of a self-map by entry `index` of the root. O(1).
 *
 * @throws PageTableError `INVALID_SELF_MAP` if `index` is not 0 to 511
 */
export function selfMap(index: number, levels: 4 | 5 = 4): SelfMap {
  if (!Number.isInteger(index) || index < 0 || index > 511) {
    throw new PageTableError('INVALID_SELF_MAP', { value: index, problem: 'pass an index from 0 to 511' });
  }
  const bits = levels === 5 ? 57 : 48;
  const kind = levels === 5 ? Virt57 : Virt;
  const canonical = (value: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(bits, value));
  const base = BigInt(index) << BigInt(bits - 9);
  // One step: the address, shifted right by one level, below the self-map's own index.
  const step = (value: bigint): bigint =>
    base | ((BigInt.asUintN(bits, value) >> 9n) & ((1n << BigInt(bits - 9)) - 8n));
  return Object.freeze({
    index,
    region: new MemoryRegion(kind, canonical(base) as VirtAddr, 1n << BigInt(bits - 9)),
    entryAddress: (vaddr: VirtAddr, level = 0): VirtAddr => {
      if (!kind.isAddress(vaddr)) throw new PageTableError('NON_CANONICAL', { vaddr, levels });
      if (!Number.isInteger(level) || level < 0 || level >= levels) {
        throw new PageTableError('INVALID_SELF_MAP', {
          value: level,
          problem: `levels are 0 to ${levels - 1}`,
        });
      }
      let address: bigint = vaddr;
      for (let i = 0; i <= level; i += 1) address = step(address);
      return canonical(address) as VirtAddr;
    },
  });
}
