import type { Address, PhysAddr, VirtAddr } from '@svsm/address';
import { isRegionError, type PageCursor, type PhysPage, type VirtPage } from '@svsm/memory-region';
import type { EntryFormat } from './entry-format.ts';
import { PageTableError } from './page-table-error.ts';
import { CELL, HALVES } from './words.ts';

/*
 * The two words of a page that is an address or a cursor. An operation reads both at once, before anything else: what it checks
 * is what it uses, even if the object that it was passed answers differently each time.
 */

/** The last address of 64 bits. */
const LAST = 0xffff_ffff_ffff_ffffn;

/** Throws the error for a value that is neither an address of 64 bits nor a cursor. @param context - passed on to it */
type Refuse<Context> = (page: unknown, context: Context, options: ErrorOptions) => never;

/** The part of a paging configuration that the refusal of a virtual page names. */
interface Levels {
  readonly levels: 4 | 5;
}

/**
 * Reads the address of a virtual page. Returns bits 31:0 as an int32; {@link highOf} returns the other half.
 *
 * @throws RegionError `NOT_ON_PAGE`; PageTableError `NON_CANONICAL` if it is neither an address of 64 bits nor a cursor
 */
export const lowOf = (page: VirtPage, config: Levels): number =>
  typeof page === 'bigint' ? lowOfVirtual(page, config) : lowOfCursor(page, refuseVirtual, config);

/**
 * As {@link lowOf}, for a physical page.
 *
 * @throws RegionError `NOT_ON_PAGE`; PageTableError `OUTSIDE_PHYSICAL_RANGE` if it is neither an address of 64 bits nor a cursor
 */
export const lowOfFrame = (page: PhysPage, format: EntryFormat): number =>
  typeof page === 'bigint' ? lowOfPhysical(page, format) : lowOfCursor(page, refusePhysical, format);

// Of the next functions, engines put into a loop only the one that it calls.

const lowOfVirtual = (page: VirtAddr, config: Levels): number => {
  // Half of these addresses have bit 63. Reading the cell to compare would make a bigint of each.
  if (page < 0n || page > LAST) refuseVirtual(page, config);
  CELL[0] = page;
  return HALVES[0]! | 0;
};

const lowOfPhysical = (page: PhysAddr, format: EntryFormat): number => {
  // Below bit 63, engines compare 64-bit integers, in a fourth of the time.
  if (BigInt.asUintN(64, page) !== page) refusePhysical(page, format);
  CELL[0] = page;
  return HALVES[0]! | 0;
};

const lowOfCursor = <Context>(
  page: PageCursor<Address>,
  refuse: Refuse<Context>,
  context: Context,
): number => {
  let cause: unknown;
  try {
    const { low, high } = page;
    if ((low | 0) === low && (high | 0) === high) {
      HALVES[1] = high;
      return low;
    }
  } catch (error) {
    cause = error;
  }
  return refuseValue(page, refuse, context, cause);
};

/** Bits 63:32 of the address that {@link lowOf} has just read, as an int32. The next use of the cell overwrites them. */
export const highOf = (): number => HALVES[1]! | 0;

/** Refuses a virtual page. @throws PageTableError `NON_CANONICAL` */
function refuseVirtual(vaddr: unknown, { levels }: Levels, options: ErrorOptions = {}): never {
  throw new PageTableError('NON_CANONICAL', { vaddr, levels }, options);
}

/** Refuses a physical page. @throws PageTableError `OUTSIDE_PHYSICAL_RANGE` */
export function refusePhysical(
  paddr: unknown,
  { physicalEnd: end }: EntryFormat,
  options: ErrorOptions = {},
): never {
  throw new PageTableError('OUTSIDE_PHYSICAL_RANGE', { paddr, end }, options);
}

function refuseValue<Context>(
  page: unknown,
  refuse: Refuse<Context>,
  context: Context,
  cause: unknown,
): never {
  if (isRegionError(cause, 'NOT_ON_PAGE')) throw cause;
  return refuse(page, context, cause === undefined ? {} : { cause });
}
