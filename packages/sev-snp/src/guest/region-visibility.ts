import type { VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { requireOneOf } from '../formats/arguments.ts';
import type { Ghcb } from './ghcb.ts';
import type { VisibilityOptions } from './page-visibility.ts';
import { RegionChange } from './region-change.ts';
import type { RegionState } from './region-state.ts';

/**
 * Makes a private region shared, as `makePageShared` does for a page. It works in pages of 2 MiB wherever the guest's
 * page table and the bounds of the region allow it, and requests page state changes in lists of at most 253 entries through
 * the GHCB; of a single page of 4 KiB by the MSR protocol. Where the RMP has 4 KiB pages, PVALIDATE goes by these. The flush comes
 * once, at the end.
 *
 * Before anything changes, all pages are checked, and large pages that the region cuts are split. If a later step fails, the
 * error is `REGION_CHANGE_FAILED`: its `details` say which pages are shared, still private, or lost. {@link settleRegion}
 * brings them to one state. Pages of lists that were not requested stay private and keep their content.
 *
 * Processors may change different pages at the same time. A change of a page that another call is changing is refused with
 * `PAGE_IN_USE`: lock the region, or try again.
 *
 * O(pages of 2 MiB + pages of 4 KiB). One exit for each list, and those in which the hypervisor returns early.
 *
 * @param table - the page table of the processor of `ghcb`
 * @param region - whole 4 KiB pages
 * @throws SnpError `INVALID_ARGUMENT`, `RELEASED_GHCB`, `PAGE_IN_USE`, `WRONG_MAPPING`, `NOT_VALIDATED`: nothing has
 *   changed; `REGION_CHANGE_FAILED`; PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`: nothing has changed
 */
export function makeRegionShared(
  ghcb: Ghcb,
  table: PageTable,
  region: MemoryRegion<VirtAddr>,
  options: VisibilityOptions = {},
): void {
  const rules = { mapped: 'private', moves: true } as const;
  new RegionChange(ghcb, table, { ...NONE, private: [region] }, options, rules).toShared();
}

/**
 * Makes a shared region private and clears it, as `makePagePrivate` does for a page. Page sizes, lists and failures are
 * as for {@link makeRegionShared}; the flush comes once, before the first request. Pages of lists that were not requested
 * are mapped shared again.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `RELEASED_GHCB`, `PAGE_IN_USE`, `WRONG_MAPPING`, `ALREADY_VALIDATED`: nothing has
 *   changed; `REGION_CHANGE_FAILED`; PageTableError `OUT_OF_MEMORY`, `NO_FRAME_ALLOCATOR`: nothing has changed
 */
export function makeRegionPrivate(
  ghcb: Ghcb,
  table: PageTable,
  region: MemoryRegion<VirtAddr>,
  options: VisibilityOptions = {},
): void {
  const rules = { mapped: 'shared', moves: true } as const;
  new RegionChange(ghcb, table, { ...NONE, shared: [region] }, options, rules).toPrivate();
}

/**
 * The steps of {@link makeRegionShared} before the change of the entries, as `releasePage` is for a page. Call
 * `table.setSharedRegion(region)` and flush afterwards. In the `details` of `REGION_CHANGE_FAILED`, pages that the hypervisor
 * has taken are `shared`, though they are still mapped private.
 *
 * @throws SnpError as {@link makeRegionShared}
 */
export function releaseRegion(
  ghcb: Ghcb,
  table: PageTable,
  region: MemoryRegion<VirtAddr>,
  options: VisibilityOptions = {},
): void {
  const rules = { mapped: 'private', moves: false } as const;
  new RegionChange(ghcb, table, { ...NONE, private: [region] }, options, rules).toShared();
}

/**
 * The steps of {@link makeRegionPrivate} after the change of the entries, which is `table.setEncryptedRegion(region)` and a
 * flush, as `acceptPage` is for a page. If it fails, the pages that are not private yet are `lost`.
 *
 * @throws SnpError as {@link makeRegionPrivate}
 */
export function acceptRegion(
  ghcb: Ghcb,
  table: PageTable,
  region: MemoryRegion<VirtAddr>,
  options: VisibilityOptions = {},
): void {
  const rules = { mapped: 'private', moves: false } as const;
  new RegionChange(ghcb, table, { ...NONE, lost: [region] }, options, rules).toPrivate();
}

/**
 * Brings regions in different states to one state, forward or back, after a change has failed: all pages become shared, or
 * private, validated and clear. Back to the state before, it needs no more exits than the change that failed: pages that are in
 * the final state need none, and the others go in lists, in 2 MiB pages wherever both kinds make up a 2 MiB page. A 2 MiB page
 * becomes private as a whole, and clear.
 *
 * The report of the hypervisor counts for nothing: PVALIDATE decides. A lost page whose validation stands is rescinded first,
 * which has to report a change: it fails until the hypervisor has put back the page that was validated. Call it again with
 * the `details` of its own `REGION_CHANGE_FAILED`.
 *
 * @param state - the `details` of `REGION_CHANGE_FAILED`, or lists of regions
 * @param to - the state of all pages afterwards
 * @throws SnpError `INVALID_ARGUMENT`, also if a page is in two lists; `RELEASED_GHCB`, `PAGE_IN_USE`, `WRONG_MAPPING`,
 *   `ALREADY_VALIDATED`, `NOT_VALIDATED`: nothing has changed; `REGION_CHANGE_FAILED`; PageTableError `OUT_OF_MEMORY`,
 *   `NO_FRAME_ALLOCATOR`: nothing has changed
 */
export function settleRegion(
  ghcb: Ghcb,
  table: PageTable,
  state: RegionState,
  to: 'private' | 'shared',
  options: VisibilityOptions = {},
): void {
  requireOneOf('the state', to, ['private', 'shared']);
  const change = new RegionChange(ghcb, table, state, options, { moves: true });
  if (to === 'shared') change.toShared();
  else change.toPrivate();
}

const NONE: RegionState = { private: [], shared: [], lost: [] };
