import type { PhysPage } from '@svsm/memory-region';
import type { EntryFormat } from './entry-format.ts';
import { PAGE_SIZES } from './page-sizes.ts';
import { PageTableError } from './page-table-error.ts';
import { highOf, lowOfFrame, refusePhysical } from './page-words.ts';
import type { PagingConfig } from './paging-config.ts';
import { PteFlags } from './pte-flags.ts';
import { frameAddress, frameOf, raw } from './words.ts';

/**
 * The frame number of `page`. Its address must be a multiple of the page size of `level`, and `pages` pages of 4 KiB from
 * there on must fit.
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`, `MISALIGNED`; RegionError `NOT_ON_PAGE`
 */
export function requirePhysical(page: PhysPage, level: number, format: EntryFormat, pages = 1): number {
  const low = lowOfFrame(page, format);
  const high = highOf();
  requireFrame(low, high, level, format);
  const frame = frameOf(low, high);
  const last = frame + pages - 1;
  if (last >= format.frameEnd) refusePhysical(frameAddress(last), format);
  return frame;
}

/**
 * Requires the two halves of an address at which a page of `level` can begin. `map4k` calls this for every page, so it makes
 * no double.
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`, `MISALIGNED`
 */
export function requireFrame(low: number, high: number, level: number, format: EntryFormat): void {
  if ((high & format.beyondEndHi) !== 0) refusePhysical(raw(low, high), format);
  const pageSize = PAGE_SIZES[level]!;
  if ((low & (pageSize - 1)) !== 0) {
    throw new PageTableError('MISALIGNED', { what: 'physical', address: raw(low, high), pageSize });
  }
}

/**
 * Refuses to change the visibility of a page whose address has a bit above the vTOM bit. Such a page is always shared:
 * clearing the vTOM bit would not make it private, it would map another page.
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`
 */
export function refuseBeyondTop(low: number, high: number, level: number, format: EntryFormat): never {
  const paddr = frameAddress(format.frame(low, high, level));
  throw new PageTableError('OUTSIDE_PHYSICAL_RANGE', { paddr, end: format.physicalEnd });
}

/**
 * Requires flags that a leaf at `level` can have. Returns them as an int32.
 *
 * @throws PageTableError `INVALID_FLAGS`
 */
export function requireFlags(
  flags: number,
  level: number,
  format: EntryFormat,
  config: PagingConfig,
): number {
  if (typeof flags !== 'number') requireWord(flags);
  const bits = flags | 0;
  const address = level === 0 ? 0xf_f000 : 0xf_e000;
  // `map4k` calls this for every page: one test covers all problems, and the code below finds which one it was.
  const isWord = bits === flags || bits >>> 0 === flags;
  if (isWord && (bits & (address | (format.reservedHi & 0xfff0_0000))) === 0 && level < 2) return bits;
  requireWord(flags);
  if (level === 2 && !config.giantPages) refuse(flags, PteFlags.Large, '1 GiB pages are off');
  requireNoAddress(flags, address);
  requireNx(flags, format);
  return bits;
}

/** Requires flags that pages of any size can have, with PAT as `PteFlags.Pat`. @throws PageTableError `INVALID_FLAGS` */
export function requireAnySizeFlags(flags: number, format: EntryFormat): void {
  requireWord(flags);
  requireNoAddress(flags, 0xf_f000);
  requireNx(flags, format);
}

/** Requires flags that can be set and cleared in a leaf that stays present. @throws PageTableError `INVALID_FLAGS` */
export function requireChange(set: number, clear: number, format: EntryFormat): void {
  requireAnySizeFlags(set, format);
  requireWord(clear);
  requireNoAddress(clear, 0xf_f000);
  const present = (set | clear) & PteFlags.Present;
  if (present !== 0) refuse(set | clear, present, 'only mapping and unmapping change Present');
  if ((set & clear) !== 0) refuse(set, set & clear, 'the same flags are set and cleared');
}

/** Requires flags of 32 bits. @throws PageTableError `INVALID_FLAGS` */
export function requireWord(flags: number): void {
  // `|` with NoExecute makes a negative number, which stands for the same 32 bits.
  if (!Number.isInteger(flags) || flags < -0x8000_0000 || flags > 0xffff_ffff) {
    refuse(flags, 0, 'pass PteFlags, combined with |');
  }
}

function requireNoAddress(flags: number, mask: number): void {
  if ((flags & mask) !== 0) refuse(flags, flags & mask, 'they are address bits');
}

function requireNx(flags: number, format: EntryFormat): void {
  if ((flags & format.reservedHi & 0xfff0_0000) !== 0) {
    refuse(flags, PteFlags.NoExecute, 'NX is off, so its bit is reserved');
  }
}

function refuse(flags: number, refused: number, reason: string): never {
  throw new PageTableError('INVALID_FLAGS', { flags, refused, reason });
}
