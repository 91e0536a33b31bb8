import { invalidState, isArray, requireRegister } from './invalid-state.ts';
import { isMemoryType, type MemoryType, MemoryTypeCode, memoryTypeOfCode } from './memory-type.ts';
import { PageTableError } from './page-table-error.ts';
import { type LeafLevel, PteFlags } from './pte-flags.ts';

/** The eight entries of PAT, by index. Frozen; made by {@link decodePat}. */
export type Pat = readonly [
  MemoryType,
  MemoryType,
  MemoryType,
  MemoryType,
  MemoryType,
  MemoryType,
  MemoryType,
  MemoryType,
];

/**
 * IA32_PAT (MSR 0x277) after a reset: WB, WT, UC-, UC, and the same four again (Intel SDM vol. 3A, table 11-12; AMD64 APM
 * vol. 2, table 7-10 and appendix A.3; P11).
 */
export const PAT_RESET = 0x0007_0406_0007_0406n;

/**
 * Decodes IA32_PAT (MSR 0x277): byte i is the memory type of index i (Intel SDM vol. 3A, §11.12.2; AMD64 APM vol. 2,
 * §7.8.1; P11). O(1).
 *
 * @param msr - all 64 bits
 * @returns the eight types, frozen
 * @throws PageTableError `INVALID_CPU_STATE` if `msr` is not 64 bits, or a byte is a reserved encoding: WRMSR raises #GP(0)
 *   for such a value
 */
export function decodePat(msr: bigint): Pat {
  requireRegister('pat', msr);
  const types = Array.from({ length: 8 }, (_, i) => {
    const type = memoryTypeOfCode(Number((msr >> BigInt(8 * i)) & 0xffn));
    if (type === undefined) throw invalidState('pat', msr, `byte ${i} must be 0, 1, 4, 5, 6 or 7`);
    return type;
  });
  return Object.freeze(types) as unknown as Pat;
}

/**
 * Encodes eight memory types as IA32_PAT: the reverse of {@link decodePat}. O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE` if `types` are not eight memory types
 */
export function encodePat(types: Pat): bigint {
  if (!isArray(types) || types.length !== 8) throw invalidState('types', types, 'pass eight memory types');
  let msr = 0n;
  for (const [i, type] of types.entries()) {
    if (!isMemoryType(type)) throw invalidState(`types[${i}]`, type, 'pass UC, WC, WT, WP, WB or UC-');
    msr |= BigInt(MemoryTypeCode[type]) << BigInt(8 * i);
  }
  return msr;
}

/**
 * The index of the PAT entry that a page selects: 4 × PAT + 2 × PCD + PWT. PWT is bit 3, PCD bit 4; PAT is bit 7 of a page of
 * 4 KiB and bit 12 of a larger one (Intel SDM vol. 3A, §4.9.2 and table 11-11; AMD64 APM vol. 2, §7.8.2; P43, P60). O(1).
 *
 * @param flags - the flags of the page's entry, as {@link PteFlags} places them
 * @param level - 0 for a page of 4 KiB, 1 for 2 MiB, 2 for 1 GiB
 * @returns 0 to 7
 * @throws PageTableError `INVALID_ENTRY` if pages do not exist at the level, or `flags` is not an integer of 32 bits
 */
export function patIndex(flags: number, level: LeafLevel): number {
  if (level !== 0 && level !== 1 && level !== 2) {
    throw new PageTableError('INVALID_ENTRY', { value: level, problem: 'pages are at levels 0, 1 and 2' });
  }
  const low = tablePatIndex(flags);
  const pat = flags & (level === 0 ? PteFlags.Pat : PteFlags.PatLarge);
  return pat === 0 ? low : low | 4;
}

/**
 * The index of the PAT entry for reads of a table: 2 × PCD + PWT of the entry that leads to the table (Intel SDM vol. 3A,
 * §4.9.2; AMD64 APM vol. 2, §7.8.4; P60). For the root these are bits 4 and 3 of CR3; with CR4.PCIDE=1 the index is 0,
 * whatever CR3 holds (SDM §4.9.2). O(1).
 *
 * @param flags - the flags of the entry, or the low bits of CR3
 * @returns 0 to 3
 * @throws PageTableError `INVALID_ENTRY` if `flags` is not an integer of 32 bits
 */
export function tablePatIndex(flags: number): number {
  // `|` of PteFlags.NoExecute gives a negative number: the same 32 bits.
  if (!Number.isInteger(flags) || flags < -0x8000_0000 || flags > 0xffff_ffff) {
    throw new PageTableError('INVALID_ENTRY', { value: flags, problem: 'pass flags of 32 bits' });
  }
  return (flags >>> 3) & 3;
}
