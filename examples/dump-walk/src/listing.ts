import { PageSize } from '@svsm/address';
import type { MappedLeaf, Mapping, OnListingFault, VirtBounds } from '@svsm/pagetable';
import { takeCensus } from './census.ts';
import { DumpError } from './problem.ts';
import type { Progress } from './progress.ts';
import type { DumpRecord, EndRecord, FaultRecord, LeafRecord, PageFacts, RunRecord } from './record.ts';
import type { View } from './view.ts';

/** How much to list. */
export interface ListingScope {
  readonly within: VirtBounds | undefined;
  /** However many pages there are. */
  readonly all: boolean;
}

/** A listing is refused when tables that are reached again and again make it so many times longer, and so long. */
const MAX_REPEATS = 16;
const MAX_REPEATED_PAGES = 2 ** 24;

/** The longest runs, with the places that could not be read among them, by address. */
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

/** Page by page; a large page is listed whole, also where only a part of it lies within the scope. */
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

/** What all records of a listing are about. */
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

/** A run, as its record. */
export function runRecord(view: View, mapping: Mapping): RunRecord {
  const { start, end, size } = mapping.region;
  return { type: 'run', start, end, size, ...factsOf(view, mapping) };
}

/** What the pages of a run have in common. */
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

/** The runs of a listing, without faults: these go to `onFault`. */
export function mappingsOf(
  view: View,
  scope: ListingScope,
  onFault: (fault: FaultRecord) => void,
): Generator<Mapping, undefined, undefined> {
  return view.table.mappings({
    ...bounds(scope),
    onFault: (...told) => onFault(faultRecord(view, ...told)),
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
  // A fault may be met while a run before it still grows: it waits for its turn by address.
  const waiting: FaultRecord[] = [];
  let [count, pages, frames, faults] = [0, 0, 0, 0];
  for (const item of iterate((...told) => waiting.push(faultRecord(view, ...told)))) {
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
 * Refuses bounds that are none, and a listing that aliases make absurdly long. Returns how many pages there will be, about.
 *
 * @throws PageTableError `NON_CANONICAL`, `MISALIGNED`; DumpError
 */
export function requireListable(view: View, scope: ListingScope): number {
  const { within, all } = scope;
  // Judges the bounds, and lists nothing yet.
  view.table.mappings(bounds(scope));
  const { pages, entries, selfMapped } = takeCensus(view, within);
  const isAbsurd = pages > MAX_REPEATED_PAGES && pages > MAX_REPEATS * entries;
  if (!isAbsurd || all) return pages;
  const cause =
    selfMapped.length > 0
      ? `the table at 0x${(selfMapped[0]! * PageSize.Regular).toString(16)} is reached at several levels`
      : 'tables are reached again and again';
  throw new DumpError(
    `${view.file}: ${pages} pages, of only ${entries} entries, because ${cause}: choose some --within, or list --all`,
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
