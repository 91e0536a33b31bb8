import type { VirtAddr } from '@svsm/address';
import { type CpuState, requireCpuState } from './cpu-state.ts';
import { PageTableError } from './page-table-error.ts';
import { CELL, HALVES, is64Bit, isCanonical, raw } from './words.ts';

/**
 * The linear address of a data access to `vaddr`, whose upper bits may hold metadata: the masked bits are replaced by the bit
 * below them. Without LAM and UAI, this is `vaddr` itself. `undefined` if the access raises #GP: the address is not canonical
 * even so. Fetches, shadow-stack accesses and implicit accesses are not masked. O(1).
 *
 * - LAM48 (Intel SDM vol. 3A, §4.4): bits 62:48 are masked, and bit 63 must be bit 47.
 * - LAM57: bits 62:57 are masked, and bit 63 must be bit 56.
 * - UAI (AMD64 APM vol. 2, §5.10): bits 63:57 are masked.
 *
 * @param vaddr - 64 bits
 * @throws PageTableError `NON_CANONICAL` if `vaddr` is not a 64-bit value; `INVALID_CPU_STATE`; `INVALID_CONFIG` for `levels`
 *
 * @example
 * ```ts
 * import { formatAddress, type VirtAddr } from '@svsm/address';
 * import { cpuState, maskAddress } from '@svsm/pagetable';
 *
 * const tagged = 0x2a00_7f00_0000_1000n as VirtAddr;
 * const linear = maskAddress(tagged, cpuState({ cpl: 3, lamUser: 57 }), 4);
 * console.log(linear && formatAddress(linear)); // => 0x00007f0000001000
 * ```
 */
export function maskAddress(vaddr: VirtAddr, cpu: CpuState, levels: 4 | 5): VirtAddr | undefined {
  if (levels !== 4 && levels !== 5) {
    throw new PageTableError('INVALID_CONFIG', { field: 'levels', value: levels, expected: 'pass 4 or 5' });
  }
  requireCpuState(cpu);
  if (!is64Bit(vaddr)) throw new PageTableError('NON_CANONICAL', { vaddr, levels });
  CELL[0] = vaddr;
  const low = HALVES[0]!;
  const high = maskedHigh(HALVES[1]! | 0, cpu, levels);
  return high === undefined ? undefined : (raw(low, high) as VirtAddr);
}

/** The high word of the linear address, from that of the pointer; `undefined` if it is not canonical. */
export function maskedHigh(high: number, cpu: CpuState, levels: 4 | 5): number | undefined {
  const masked = maskWidth(high, cpu, levels);
  const unused = 64 - masked.width;
  const linear = (high << unused) >> unused;
  if (masked.keepsSign && linear < 0 !== high < 0) return undefined;
  return isCanonical(linear, levels) ? linear : undefined;
}

/** How many low bits of a pointer are address, and whether bit 63 must agree with the highest of them. */
function maskWidth(high: number, cpu: CpuState, levels: 4 | 5): { width: number; keepsSign: boolean } {
  if (cpu.uai) return { width: 57, keepsSign: false };
  // Bit 63 of the pointer, and not the CPL, says which half it means.
  const isUser = high >= 0;
  const lamSupervisor = cpu.lamSupervisor ? (levels === 5 ? 57 : 48) : undefined;
  return { width: (isUser ? cpu.lamUser : lamSupervisor) ?? 64, keepsSign: true };
}
