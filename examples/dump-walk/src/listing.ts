import { PageSize } from '@svsm/address';
import type { MappedLeaf, Mapping, OnListingFault, VirtBounds } from '@svsm/pagetable';
import { takeCensus } from './census.ts';
import { DumpError } from './problem.ts';
import type { Progress } from './progress.ts';
import type { DumpRecord, EndRecord, FaultRecord, LeafRecord, PageFacts, RunRecord } from './record.ts';
import type { View } from './view.ts';

/** The scope of a listing. */
export interface ListingScope {
  readonly within: VirtBounds | undefined;
  /** List all pages, however many there are. */
  readonly all: boolean;
}

/**
 * A listing is refused if repeated tables make it this many times longer, and longer than this many pages, faults and tables.
 * A kernel's espfix area repeats one page 65,536 times for each 64 processors.
 */
const MAX_REPEATS = 16;
const MAX_REPEATED = 2 ** 19;

/** The longest runs and the places that cannot be read, by address. */
export function* runs(
  view: View,
  scope: ListingScope,
  progress: Progress,
): Generator<DumpRecord | RunRecord | FaultRecord | EndRecord, undefined, undefined> {
  const expected = requireListable(view, scope);
  yield dumpRecord(view);
  const iterate = (onFault: OnListingFault): Iterable<Mapping> =>
    view.table.mappings({ ...bounds(scope), onFault });
  yield* listed(view, expected, progress, 'runs', iterate, (mapping) => runRecord(view, mapping));
}

/** Each page. A large page is listed whole, even if only a part of it is in the scope. */
export function* leaves(
  view: View,
  scope: ListingScope,
  progress: Progress,
): Generator<DumpRecord | LeafRecord | FaultRecord | EndRecord, undefined, undefined> {
  const expected = requireListable(view, scope);
  yield dumpRecord(view);
  const iterate = (onFault: OnListingFault): Iterable<MappedLeaf> =>
    view.table.leaves({ ...bounds(scope), onFault });
  yield* listed(view, expected, progress, 'pages', iterate, (leaf) => leafRecord(view, leaf));
}

/** The first record of a listing: the dump and its page table. */
export function dumpRecord({ file, dump, cpu, cr3, cr4, config }: View): DumpRecord {
  return {
    type: 'dump',
    file,
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
export function runRecord(view: View, mapping: Mapping): RunRecord {
  const { start, end, size } = mapping.region;
  return { type: 'run', start, end, size, ...factsOf(view, mapping) };
}

/** The facts that the pages of a run have in common. */
export function factsOf({ config }: View, mapping: Omit<Mapping, 'region'>): PageFacts {
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
  view: View,
  scope: ListingScope,
  onFault: (fault: FaultRecord) => void,
): Generator<Mapping, undefined, undefined> {
  return view.table.mappings({
    ...bounds(scope),
    onFault: (...fault) => onFault(faultRecord(view, ...fault)),
  });
}

function leafRecord({ config }: View, leaf: MappedLeaf): LeafRecord {
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
  view: View,
  expected: number,
  progress: Progress,
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
    progress.tell(() => `${count} ${what}, ${Math.floor((100 * pages) / Math.max(pages, expected))} %`);
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
 * @throws PageTableError `NON_CANONICAL`, `MISALIGNED`; DumpError
 */
export function requireListable(view: View, scope: ListingScope): number {
  const { within, all } = scope;
  // This checks the bounds, and does not list anything yet.
  view.table.mappings(bounds(scope));
  const { pages, faults, visits, once, entries, selfMapped } = takeCensus(view, within);
  const length = pages + faults + visits;
  const isTooLong = length > MAX_REPEATED && length > MAX_REPEATS * once;
  if (!isTooLong || all) return pages;
  const cause =
    selfMapped.length > 0
      ? `the table at 0x${(selfMapped[0]! * PageSize.Regular).toString(16)} is reached at several levels`
      : 'tables are reached repeatedly';
  throw new DumpError(
    `${view.file}: ${pages} pages from only ${entries} entries${faults > 0 ? `, and ${faults} faults` : ''}, because ${cause}: select some with --within, or pass --all`,
  );
}

function bounds({ within }: ListingScope): { within?: VirtBounds } {
  return within === undefined ? {} : { within };
}

function faultRecord({ file }: View, ...[error, place]: Parameters<OnListingFault>): FaultRecord {
  const isReserved = error.code === 'RESERVED_BITS';
  return {
    type: 'fault',
    fault: isReserved ? 'reserved-bits' : 'bus-error',
    file,
    start: place.vaddr,
    level: place.level,
    paddr: error.details.paddr,
    entry: isReserved ? error.details.entry : null,
    reserved: isReserved ? error.details.reserved : null,
  };
}
