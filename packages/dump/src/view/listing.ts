import { PageSize } from '@svsm/address';
import type { MappedLeaf, Mapping, OnListingFault, VirtBounds } from '@svsm/pagetable';
import { DumpError } from '../source/dump-error.ts';
import type { OnProgress } from '../source/on-progress.ts';
import { type BackedLeaf, type BackedMapping, backedLeaves, backedMappings } from './backed-mappings.ts';
import { takeCensus } from './census.ts';
import type { DumpView } from './dump-view.ts';
import { requireView } from './dump-view.ts';
import { type RegionName, regionNameAt } from './linux-layout.ts';
import { type DumpListingOptions, requireScope } from './listing-options.ts';
import { filteredLeaves, filteredMappings } from './mapping-filter.ts';
import type { DumpRecord, EndRecord, FaultRecord, LeafRecord, PageFacts, RunRecord } from './record.ts';

/**
 * A listing is refused if repeated tables make it this many times longer, and longer than this many pages, faults and tables.
 * A kernel's espfix area repeats one page 65,536 times for each 64 processors.
 */
const MAX_REPEATS = 16;
const MAX_REPEATED = 2 ** 19;

/**
 * The longest runs and the places that cannot be read, by address. A run ends where the virtual or the physical addresses are not
 * contiguous, or where page size, rights or memory differ. A step is O(1) for each page of the run.
 *
 * @throws DumpError `INVALID_ARGUMENT`, `LISTING_TOO_LONG` (unless `all` is given), both at the first step;
 *   {@link translationOf}
 * @throws PageTableError `NON_CANONICAL`, `MISALIGNED` at the first step, for the bounds
 */
export function* listRuns(
  view: DumpView,
  options: DumpListingOptions = {},
): Generator<DumpRecord | RunRecord | FaultRecord | EndRecord, undefined, undefined> {
  const expected = requireListable(view, options);
  yield dumpRecord(view);
  const iterate = (onFault: OnListingFault): Iterable<BackedMapping> =>
    backedMappings(view, mappingsIn(view, options, onFault), options);
  yield* listed(view, expected, options.onProgress, 'runs', iterate, ({ mapping, backing }) => ({
    ...runRecord(view, mapping),
    ...regionOf(options, mapping.region.start),
    ...(backing === undefined ? {} : { backing }),
  }));
}

/**
 * Each page, and the places that cannot be read, by address. A large page is listed whole, even if only a part of it is in the
 * scope. A step is O(1).
 *
 * @throws DumpError as {@link listRuns}
 * @throws PageTableError as `listRuns`
 */
export function* listLeaves(
  view: DumpView,
  options: DumpListingOptions = {},
): Generator<DumpRecord | LeafRecord | FaultRecord | EndRecord, undefined, undefined> {
  const expected = requireListable(view, options);
  yield dumpRecord(view);
  const iterate = (onFault: OnListingFault): Iterable<BackedLeaf> =>
    backedLeaves(view, leavesIn(view, options, onFault), options);
  yield* listed(view, expected, options.onProgress, 'pages', iterate, ({ leaf, backings }) => ({
    ...leafRecord(view, leaf),
    ...regionOf(options, leaf.vaddr),
    ...(backings === undefined ? {} : { backings }),
  }));
}

function regionOf({ regions }: DumpListingOptions, vaddr: bigint): { region?: RegionName | null } {
  return regions === undefined ? {} : { region: regionNameAt(regions, vaddr) };
}

/** The first record of a listing: the dump and its page table. */
export function dumpRecord({ dump, cpu, cr3, cr4, config }: DumpView): DumpRecord {
  return {
    type: 'dump',
    file: dump.name,
    kind: dump.kind,
    cpu,
    cpus: dump.cpus.length,
    cr3,
    cr4: cr4 ?? null,
    levels: config.levels,
    physicalBits: config.physicalBits,
    noExecute: config.noExecute,
    vendor: config.vendor,
    encryption: config.encryption ?? null,
  };
}

/** The record of a run. */
function runRecord(view: DumpView, mapping: Mapping): RunRecord {
  const { start, end, size } = mapping.region;
  return { type: 'run', start, end, size, ...factsOf(view, mapping) };
}

/** The facts that the pages of a run have in common. */
export function factsOf({ config }: DumpView, mapping: Omit<Mapping, 'region'>): PageFacts {
  const { paddr, pageSize, user, writable, executable, shared } = mapping;
  return {
    paddr,
    pageSize,
    user,
    writable,
    executable,
    shared: config.encryption === undefined ? null : shared,
  };
}

/** The runs of a listing. Faults go to `onFault`. */
export function mappingsOf(
  view: DumpView,
  scope: DumpListingOptions,
  onFault: (fault: FaultRecord) => void,
): Iterable<Mapping> {
  return mappingsIn(view, scope, (...fault) => onFault(faultRecord(view, ...fault)));
}

function mappingsIn(view: DumpView, scope: DumpListingOptions, onFault: OnListingFault): Iterable<Mapping> {
  const mappings = view.table.mappings({ ...bounds(scope), onFault });
  const { filter } = scope;
  return filter === undefined ? mappings : filteredMappings(mappings, filter, isEncrypted(view));
}

function leavesIn(view: DumpView, scope: DumpListingOptions, onFault: OnListingFault): Iterable<MappedLeaf> {
  const leaves = view.table.leaves({ ...bounds(scope), onFault });
  const { filter } = scope;
  return filter === undefined ? leaves : filteredLeaves(leaves, filter, isEncrypted(view));
}

function isEncrypted({ config }: DumpView): boolean {
  return config.encryption !== undefined;
}

function leafRecord({ config }: DumpView, leaf: MappedLeaf): LeafRecord {
  const { vaddr, frame, size, user, writable, executable, shared, flags } = leaf;
  return {
    type: 'leaf',
    start: vaddr,
    paddr: frame,
    pageSize: size,
    user,
    writable,
    executable,
    shared: config.encryption === undefined ? null : shared,
    flags,
  };
}

function* listed<Item, Listed extends RunRecord | LeafRecord>(
  view: DumpView,
  expected: number,
  onProgress: OnProgress | undefined,
  what: string,
  iterate: (onFault: OnListingFault) => Iterable<Item>,
  recordOf: (item: Item) => Listed,
): Generator<Listed | FaultRecord | EndRecord, undefined, undefined> {
  // A fault may be found while a run with a lower address still grows. It waits, so that records are in address order.
  const waiting: FaultRecord[] = [];
  let [count, pages, frames, faults] = [0, 0, 0, 0];
  for (const item of iterate((...fault) => waiting.push(faultRecord(view, ...fault)))) {
    const record = recordOf(item);
    for (; waiting[0] !== undefined && waiting[0].start < record.start; faults += 1) yield waiting.shift()!;
    const size = record.type === 'run' ? Number(record.size) : record.pageSize;
    count += 1;
    pages += size / record.pageSize;
    frames += size / PageSize.Regular;
    onProgress?.(pages, Math.max(pages, expected), 'pages');
    yield record;
  }
  yield* waiting;
  faults += waiting.length;
  yield { type: 'end', what, count, bytes: BigInt(frames) * 4096n, faults };
}

/**
 * Throws if the bounds are not valid, or if aliased tables make the listing extremely long. Returns the approximate number of
 * pages.
 *
 * @throws PageTableError `NON_CANONICAL`, `MISALIGNED`
 * @throws DumpError `LISTING_TOO_LONG`
 */
export function requireListable(view: DumpView, scope: DumpListingOptions): number {
  requireView('view', view);
  requireScope(scope);
  const { within, all } = scope;
  // This checks the bounds, and does not list anything yet.
  view.table.mappings(bounds(scope));
  const { pages, faults, visits, once, entries, selfMapped } = takeCensus(view, within);
  const length = pages + faults + visits;
  const isTooLong = length > MAX_REPEATED && length > MAX_REPEATS * once;
  if (!isTooLong || all === true) return pages;
  const cause =
    selfMapped.length > 0
      ? `the table at 0x${(selfMapped[0]! * PageSize.Regular).toString(16)} is reached at several levels`
      : 'tables are reached repeatedly';
  throw new DumpError('LISTING_TOO_LONG', { pages, entries, faults, cause }, { file: view.dump.name });
}

function bounds({ within }: DumpListingOptions): { within?: VirtBounds } {
  return within === undefined ? {} : { within };
}

function faultRecord({ dump }: DumpView, ...[error, place]: Parameters<OnListingFault>): FaultRecord {
  const isReserved = error.code === 'RESERVED_BITS';
  return {
    type: 'fault',
    fault: isReserved ? 'reserved-bits' : 'bus-error',
    file: dump.name,
    start: place.vaddr,
    level: place.level,
    paddr: error.details.paddr,
    entry: isReserved ? error.details.entry : null,
    reserved: isReserved ? error.details.reserved : null,
  };
}
