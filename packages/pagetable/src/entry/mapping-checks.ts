import type { PhysAddr } from '@svsm/address';
import type { EntryFormat } from './entry-format.ts';
import { PAGE_SIZES } from './page-sizes.ts';
import { PageTableError } from './page-table-error.ts';
import type { PagingConfig } from './paging-config.ts';
import { PteFlags } from './pte-flags.ts';
import { CELL, frameAddress, HALVES } from './words.ts';

/**
 * The frame number of `paddr`, from which on `pages` pages of 4 KiB must fit.
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`; `MISALIGNED` unless it is a multiple of the page size of `level`
 */
export function requirePhysical(paddr: PhysAddr, level: number, format: EntryFormat, pages = 1): number {
  const end = format.physicalEnd;
  if (typeof paddr !== 'bigint' || paddr < 0n || paddr >= end) {
    throw new PageTableError('OUTSIDE_PHYSICAL_RANGE', { paddr, end });
  }
  const pageSize = PAGE_SIZES[level]!;
  CELL[0] = paddr;
  const low = HALVES[0]!;
  if ((low & (pageSize - 1)) !== 0) {
    throw new PageTableError('MISALIGNED', { what: 'physical', address: paddr, pageSize });
  }
  if (pages > 1) {
    const last = paddr + BigInt(pages - 1) * 4096n;
    if (last >= end) throw new PageTableError('OUTSIDE_PHYSICAL_RANGE', { paddr: last, end });
  }
  return HALVES[1]! * 0x10_0000 + (low >>> 12);
}

/**
 * With vTOM, a page whose address lies beyond that bit is shared for good: it cannot be made private, and another bit in
 * its address would make it another page.
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`
 */
export function refuseBeyondTop(low: number, high: number, level: number, format: EntryFormat): never {
  const paddr = frameAddress(format.frame(low, high, level));
  throw new PageTableError('OUTSIDE_PHYSICAL_RANGE', { paddr, end: format.physicalEnd });
}

/**
 * Flags as an int32, which `|` and `&` of them are in any case.
 *
 * @throws PageTableError `INVALID_FLAGS` unless a leaf at `level` can hold `flags`
 */
export function requireFlags(
  flags: number,
  level: number,
  format: EntryFormat,
  config: PagingConfig,
): number {
  const bits = flags | 0;
  const address = level === 0 ? 0xf_f000 : 0xf_e000;
  // One test for all, on a way that each `map4k` goes; which it was is found out after.
  const isWord = bits === flags || bits >>> 0 === flags;
  if (isWord && (bits & (address | (format.reservedHi & 0xfff0_0000))) === 0 && level < 2) return bits;
  requireWord(flags);
  if (level === 2 && !config.giantPages) refuse(flags, PteFlags.Large, 'there are no 1 GiB pages');
  requireNoAddress(flags, address);
  requireNx(flags, format);
  return bits;
}

/** @throws PageTableError `INVALID_FLAGS` unless pages of any size can hold `flags`, PAT as `PteFlags.Pat` */
export function requireAnySizeFlags(flags: number, format: EntryFormat): void {
  requireWord(flags);
  requireNoAddress(flags, 0xf_f000);
  requireNx(flags, format);
}

/** @throws PageTableError `INVALID_FLAGS` unless they can be set and cleared in a leaf that stays present */
export function requireChange(set: number, clear: number, format: EntryFormat): void {
  requireAnySizeFlags(set, format);
  requireWord(clear);
  requireNoAddress(clear, 0xf_f000);
  const present = (set | clear) & PteFlags.Present;
  if (present !== 0) refuse(set | clear, present, 'map and unmap change what is present');
  if ((set & clear) !== 0) refuse(set, set & clear, 'they are both set and cleared');
}

function requireWord(flags: number): void {
  // `|` of NoExecute gives a negative number: that is the same 32 bits.
  if (!Number.isInteger(flags) || flags < -0x8000_0000 || flags > 0xffff_ffff) {
    refuse(flags, 0, 'pass PteFlags, or-ed');
  }
}

function requireNoAddress(flags: number, mask: number): void {
  if ((flags & mask) !== 0) refuse(flags, flags & mask, 'bits of the address are set');
}

function requireNx(flags: number, format: EntryFormat): void {
  if ((flags & format.reservedHi & 0xfff0_0000) !== 0) {
    refuse(flags, PteFlags.NoExecute, 'NX is off, which reserves it');
  }
}

function refuse(flags: number, refused: number, reason: string): never {
  throw new PageTableError('INVALID_FLAGS', { flags, refused, reason });
}
