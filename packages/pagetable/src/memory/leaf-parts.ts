import { PageSize } from '@svsm/address';
import { PteFlags } from '../entry/pte-flags.ts';
import { fillTable } from './leaf-words.ts';
import type { PhysMemory } from './phys-memory.ts';

/**
 * The low word of part `index` of the large page that an entry at `level` maps. It has the same bits, but PAT moves from
 * bit 12 to bit 7 if the part is a 4 KiB page (AMD64 APM vol. 2, §5.4.1). The high word is that of the large page.
 */
export function partLow(low: number, level: number, index: number): number {
  if (level === 1) {
    const pat = (low & PteFlags.PatLarge) !== 0 ? PteFlags.Pat : 0;
    return (low & 0xffe0_0000) | (low & 0xfff & ~PteFlags.Large) | pat | (index * PageSize.Regular);
  }
  return (low & 0xc000_0000) | (low & 0x1fff) | (index * PageSize.Huge);
}

/** Fills `table`, to which no entry leads yet, with the 512 parts of a large page. */
export function fillWithParts(
  memory: PhysMemory,
  table: number,
  low: number,
  high: number,
  level: number,
): void {
  const words = memory.words(table, true);
  const at = memory.wordOffset(table);
  const step = level === 1 ? PageSize.Regular : PageSize.Huge;
  fillTable(words, at, partLow(low, level, 0), high, step);
}
