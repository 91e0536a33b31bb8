import type { Address } from '@svsm/address';
import { isRegionError, type PageCursor } from '@svsm/memory-region';
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

/**
 * Reads the address of `page`. Returns bits 31:0 as an int32; {@link highOf} returns the other half.
 *
 * @throws RegionError `NOT_ON_PAGE`; the error of `refuse`
 */
export const lowOf = <Context>(
  page: Address | PageCursor<Address>,
  refuse: Refuse<Context>,
  context: Context,
): number =>
  typeof page === 'bigint' ? lowOfAddress(page, refuse, context) : lowOfCursor(page, refuse, context);

/** As {@link lowOf}, for an address. Of this function and the next one, engines put into a loop only the one that it calls. */
const lowOfAddress = <Context>(page: Address, refuse: Refuse<Context>, context: Context): number => {
  // Reading the cell to compare would make a bigint.
  if (page < 0n || page > LAST) return refuseValue(page, refuse, context, undefined);
  CELL[0] = page;
  return HALVES[0]! | 0;
};

/** As {@link lowOf}, for a page that is not an address. */
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
export function refuseVirtual(
  vaddr: unknown,
  { levels }: { readonly levels: 4 | 5 },
  options: ErrorOptions,
): never {
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
