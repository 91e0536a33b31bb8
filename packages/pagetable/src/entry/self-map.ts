import { Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { PageTableError } from './page-table-error.ts';

/**
 * The addresses of a self-map. If entry `index` of the root leads back to the root, every table of the page table appears
 * as a page of virtual memory, so the entry that maps an address has an address itself. COCONUT-SVSM uses entry 493.
 */
export interface SelfMap {
  /** The index of the root entry that leads back to the root. */
  readonly index: number;
  /** The virtual addresses of all entries of level 0, in the order of the pages that they map. */
  readonly region: MemoryRegion<VirtAddr>;
  /**
   * The virtual address of the entry at `level` that a walk for `vaddr` uses. O(levels).
   *
   * @param level - 0 (PT) to 4 (PML5); 0 if not given
   * @throws PageTableError `NON_CANONICAL`; `INVALID_SELF_MAP` if the level does not exist
   */
  entryAddress(vaddr: VirtAddr, level?: number): VirtAddr;
  /**
   * The virtual address of the table at `level` on the way to `vaddr`: its first byte. O(level).
   *
   * @param level - 0 to 3, or 4 with 5 levels; 0 if not given
   * @throws PageTableError as {@link entryAddress}
   */
  tableAddress(vaddr: VirtAddr, level?: number): VirtAddr;
}

/**
 * The addresses of a self-map through entry `index` of the root. They are arithmetic alone: no table is read. O(1).
 *
 * @param index - 0 to 511

 * @throws PageTableError `INVALID_SELF_MAP` if `index` is not 0 to 511, or `levels` is not 4 or 5
 * @example
 * ```ts
 * import { formatAddress, virtAddr } from '@svsm/address';
 * import { selfMap } from '@svsm/pagetable';
 *
 * const { region, entryAddress } = selfMap(493);
 * console.log(String(region)); // => [0xfffff68000000000-0xfffff70000000000)
 * console.log(formatAddress(entryAddress(virtAddr(0x1000)))); // => 0xfffff68000000008
 * ```
 */
export function selfMap(index: number, levels: 4 | 5 = 4): SelfMap {
  if (!Number.isInteger(index) || index < 0 || index > 511) {
    throw new PageTableError('INVALID_SELF_MAP', { value: index, problem: 'pass an index from 0 to 511' });
  }
  if (levels !== 4 && levels !== 5) {
    throw new PageTableError('INVALID_SELF_MAP', { value: levels, problem: 'pass 4 or 5 levels' });
  }
  const bits = levels === 5 ? 57 : 48;
  const kind = levels === 5 ? Virt57 : Virt;
  const canonical = (value: bigint): bigint => BigInt.asUintN(64, BigInt.asIntN(bits, value));
  const base = BigInt(index) << BigInt(bits - 9);
  // Shifts the address right by one level, below the index of the self-map: the address of the entry that maps it.
  const step = (value: bigint): bigint => base | ((BigInt.asUintN(bits, value) >> 9n) & ~7n);
  const entryAddress = (vaddr: VirtAddr, level = 0): VirtAddr => {
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
  };
  return Object.freeze({
    index,
    region: new MemoryRegion(kind, canonical(base) as VirtAddr, 1n << BigInt(bits - 9)),
    entryAddress,
    tableAddress: (vaddr: VirtAddr, level?: number): VirtAddr =>
      (entryAddress(vaddr, level) & ~0xfffn) as VirtAddr,
  });
}
