import type { PhysAddr, VirtAddr } from '@svsm/address';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';

/**
 * Lets a processor of an SVSM use a page of the guest for a time: it maps the page private and writable, calls `use` once with
 * the virtual address, unmaps the page, and returns the result of `use`.
 *
 * - `gpa` is a multiple of `size`, which is 4 KiB or 2 MiB. A page of 2 MiB must be mapped by one entry of 2 MiB: PVALIDATE and
 *   RMPADJUST of 2 MiB look at it. The virtual address is a multiple of `size` too.
 * - The SVSM uses the address on this processor only, and only until `use` ends. Before the address leads to another page, the
 *   function must flush it from the TLB of this processor. No other processor has to flush.
 * - Calls are nested: while a page is mapped, the SVSM asks for others, at most 4 pages of 4 KiB and one of 2 MiB at a time for
 *   each call in progress. The hypervisor can enter the SVSM again at any exit, also at one of this function.
 * - An error that it throws before it has called `use` says that the page cannot be reached: nothing has happened. A `SnpFault`
 *   is the guest's INVALID_ADDRESS; other errors go on to the caller of the SVSM. It passes errors of `use` on. An error that
 *   it throws after `use` has ended goes on to the caller of the SVSM: what `use` did is undone, or the records say that it is
 *   done.
 */
export interface GuestPageAccess {
  <T>(gpa: PhysAddr, size: RmpPageSize, use: (gva: VirtAddr) => T): T;
  /**
   * As the function itself, of `count` consecutive pages of 2 MiB from `gpa` on: it maps them at consecutive virtual addresses, each
   * by one entry. `use` gets the first address. The SVSM calls it for pages that a list validates one after the other, while nothing
   * but pages of 4 KiB is mapped for the call. If it has no room for so many, it returns without a call of `use`: then the pages are
   * mapped one by one.
   */
  readonly run?: (gpa: PhysAddr, count: number, use: (gva: VirtAddr) => void) => void;
}

/**
 * The access of an SVSM that maps all memory of the guest permanently.
 *
 * @param gvaOf - the virtual address at which the SVSM maps a guest-physical page, private and writable. Each 2 MiB of memory
 *   is mapped as a whole, at a multiple of 2 MiB
 * @throws SnpError `INVALID_ARGUMENT` if `gvaOf` is not a function
 *
 * @example
 * ```ts
 * import { virtAddr } from '@svsm/address';
 * import { permanentMap } from '@svsm/sev-snp';
 *
 * const access = permanentMap((gpa) => virtAddr(0xffff_8000_0000_0000n + gpa));
 * ```
 */
export function permanentMap(gvaOf: (gpa: PhysAddr) => VirtAddr): GuestPageAccess {
  if (typeof gvaOf === 'function') return (gpa, _size, use) => use(gvaOf(gpa));
  const expected = 'pass a function from a guest-physical to a virtual address';
  throw new SnpError('INVALID_ARGUMENT', { what: 'the map', value: gvaOf, expected });
}
