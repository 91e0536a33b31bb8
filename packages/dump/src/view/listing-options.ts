import { PageSize } from '@svsm/address';
import type { VirtBounds } from '@svsm/pagetable';
import {
  itemsOf,
  readArgument,
  refuseArgument,
  requireBits,
  requireChoice,
  requireOptional,
  requireOptions,
} from '../source/arguments.ts';
import type { OnProgress } from '../source/on-progress.ts';
import { BASES, type LayoutRegion, REGION_NAMES } from './linux-layout.ts';
import type { MappingFilter } from './mapping-filter.ts';

/** The scope of a listing. */
export interface DumpListingOptions {
  /** List only these virtual addresses. */
  readonly within?: VirtBounds | undefined;
  /** List only mappings that agree with it. `compareDumps` ignores it. */
  readonly filter?: MappingFilter | undefined;
  /** List all pages, however many there are. */
  readonly all?: boolean | undefined;
  /** Name the region of each mapping, as `linuxRegions` returns them. */
  readonly regions?: readonly LayoutRegion[] | undefined;
  readonly onProgress?: OnProgress | undefined;
}

const OPTIONS = ['within', 'filter', 'all', 'regions', 'onProgress'] as const;
const FLAGS = ['user', 'writable', 'executable', 'shared', 'mismatched'] as const;
const FILTER = [...FLAGS, 'pageSize', 'physical'] as const;
const SIZES: readonly number[] = [PageSize.Regular, PageSize.Huge, PageSize.Giant];
const REGIONS = 'pass the regions that linuxRegions returns';

/** Checks the options of a listing, except `within`, which the page table checks. @throws DumpError `INVALID_ARGUMENT` */
export function requireScope(options: DumpListingOptions): void {
  requireOptions('options', options, OPTIONS);
  const { within, filter, all, regions, onProgress } = options;
  if (within !== undefined && (typeof within !== 'object' || within === null))
    refuseArgument('within', within, 'pass an object with start and end');
  if (filter !== undefined) requireFilter(filter);
  requireOptional('all', all, 'boolean');
  requireOptional('onProgress', onProgress, 'function');
  for (const region of regions === undefined ? [] : itemsOf('regions', regions, REGIONS)) {
    requireRegion(region as LayoutRegion);
  }
}

function requireFilter(filter: MappingFilter): void {
  requireOptions('filter', filter, FILTER);
  for (const flag of FLAGS) requireOptional(`${flag} of the filter`, filter[flag], 'boolean');
  requireChoice('pageSize of the filter', filter.pageSize, SIZES);
  if (filter.physical !== undefined) requireRange('physical of the filter', filter.physical);
}

function requireRegion(region: LayoutRegion): void {
  requireRange('a region', region);
  if (!REGION_NAMES.includes(region.name) || !BASES.includes(region.basis))
    refuseArgument('a region', region, REGIONS);
}

/** A range that ends at 2^64 at most. */
function requireRange(what: string, range: { readonly start: bigint; readonly end: bigint }): void {
  const expected = 'pass an object with start and end';
  const { start, end } = readArgument(what, range, expected, () => ({ start: range.start, end: range.end }));
  requireBits(`start of ${what}`, start, 64);
  if (end !== 2n ** 64n) requireBits(`end of ${what}`, end, 64);
}
