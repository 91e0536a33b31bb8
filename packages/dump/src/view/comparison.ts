import { Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion, type RegionEntry, walkRanges } from '@svsm/memory-region';
import { type DumpListingOptions, dumpRecord, factsOf, mappingsOf, requireListable } from './listing.ts';
import type { ChangeRecord, DumpRecord, EndRecord, FaultRecord, PageFacts } from './record.ts';
import type { DumpView } from './view.ts';

type Side = RegionEntry<VirtAddr, PageFacts>;

/**
 * The regions that `before` and `after` map differently, by address. Accessed and dirty bits are ignored. A step is O(1) for each
 * page.
 *
 * @throws DumpError, PageTableError as {@link listRuns}
 */
export function* compareDumps(
  before: DumpView,
  after: DumpView,
  scope: DumpListingOptions = {},
): Generator<DumpRecord | ChangeRecord | FaultRecord | EndRecord, undefined, undefined> {
  for (const view of [before, after]) requireListable(view, scope);
  yield dumpRecord(before);
  yield dumpRecord(after);
  // A filter would show a change of rights as a mapping that went away.
  const both = { ...scope, filter: undefined };
  const waiting: FaultRecord[] = [];
  let [count, bytes, faults] = [0, 0n, 0];
  const pieces = walkRanges(
    sides(before, both, (fault) => waiting.push(fault)),
    sides(after, both, (fault) => waiting.push(fault)),
  );
  for (const { region, left, right } of pieces) {
    for (; waiting[0] !== undefined; faults += 1) yield waiting.shift()!;
    scope.onProgress?.(count, undefined, 'changes');
    const change = changeOf(region, left, right);
    if (change === undefined) continue;
    count += 1;
    bytes += region.size;
    yield change;
  }
  yield* waiting;
  faults += waiting.length;
  yield { type: 'end', what: 'changes', count, bytes, faults };
}

/** The runs of one dump, as 57-bit regions, because one dump may have four levels and the other five. */
function* sides(
  view: DumpView,
  scope: DumpListingOptions,
  onFault: (fault: FaultRecord) => void,
): Generator<Side, undefined, undefined> {
  for (const mapping of mappingsOf(view, scope, onFault)) {
    const { start, size } = mapping.region;
    yield [new MemoryRegion(Virt57, start, size), factsOf(view, mapping)];
  }
}

function changeOf(
  { start, end, size }: MemoryRegion<VirtAddr>,
  left: Side | undefined,
  right: Side | undefined,
): ChangeRecord | undefined {
  const before = left === undefined ? null : factsAt(left, start);
  const after = right === undefined ? null : factsAt(right, start);
  const change = nameOf(before, after);
  return change && { type: 'change', start, end, size, change, before, after };
}

/** The facts about the page that contains `start`, with the physical address of `start` itself. */
function factsAt([region, facts]: Side, start: VirtAddr): PageFacts {
  return { ...facts, paddr: (facts.paddr + (start - region.start)) as PageFacts['paddr'] };
}

function nameOf(before: PageFacts | null, after: PageFacts | null): ChangeRecord['change'] | undefined {
  if (before === null) return 'mapped';
  if (after === null) return 'unmapped';
  if (before.paddr !== after.paddr) return 'remapped';
  const sameRights =
    before.user === after.user &&
    before.writable === after.writable &&
    before.executable === after.executable;
  if (!sameRights) return 'rights';
  if (before.shared !== after.shared) return 'visibility';
  return before.pageSize === after.pageSize ? undefined : 'page-size';
}
