import { Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion, type RegionEntry, walkRanges } from '@svsm/memory-region';
import { type BackingFacts, followsInRmp } from '../backing/backing.ts';
import { backedMappings } from './backed-mappings.ts';
import type { DumpView } from './dump-view.ts';
import { dumpRecord, factsOf, mappingsOf, requireListable } from './listing.ts';
import type { DumpListingOptions } from './listing-options.ts';
import type { ChangeRecord, ChangeSide, DumpRecord, EndRecord, FaultRecord, PageFacts } from './record.ts';

type Side = RegionEntry<VirtAddr, ChangeSide>;

/**
 * The regions that `before` and `after` map differently, by address. Accessed and dirty bits are ignored. If both views have an RMP, a
 * region whose pages have other entries is a change too. A step is O(1) for each page.
 *
 * @throws DumpError as {@link listRuns}
 * @throws PageTableError as `listRuns`
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
  for (const { mapping, backing } of backedMappings(view, mappingsOf(view, scope, onFault), scope)) {
    const { start, size } = mapping.region;
    const below = backing === undefined ? {} : { backing };
    yield [new MemoryRegion(Virt57, start, size), { ...factsOf(view, mapping), ...below }];
  }
}

function changeOf(
  { start, end, size }: MemoryRegion<VirtAddr>,
  left: Side | undefined,
  right: Side | undefined,
): ChangeRecord | undefined {
  const before = left === undefined ? null : sideAt(left, start, size);
  const after = right === undefined ? null : sideAt(right, start, size);
  const change = nameOf(before, after);
  return change && { type: 'change', start, end, size, change, before, after };
}

/** The facts about the page that contains `start`, with the physical address of `start` itself. */
function sideAt([region, { backing, ...facts }]: Side, start: VirtAddr, size: bigint): ChangeSide {
  const offset = start - region.start;
  const at = { ...facts, paddr: (facts.paddr + offset) as PageFacts['paddr'] };
  return backing === undefined ? at : { ...at, backing: partOfBacking(backing, offset, size) };
}

/** The layers below a part. The guest-physical addresses of a guest's pages follow one another. */
function partOfBacking(backing: BackingFacts, offset: bigint, size: bigint): BackingFacts {
  const { spa, rmp } = backing;
  return {
    ...backing,
    offset: 0n,
    size,
    spa: spa === null ? null : spa + offset,
    rmp: rmp === null || rmp.asid === 0 ? rmp : { ...rmp, gpa: rmp.gpa + offset },
  };
}

function nameOf(before: ChangeSide | null, after: ChangeSide | null): ChangeRecord['change'] | undefined {
  if (before === null) return 'mapped';
  if (after === null) return 'unmapped';
  if (before.paddr !== after.paddr) return 'remapped';
  const sameRights =
    before.user === after.user &&
    before.writable === after.writable &&
    before.executable === after.executable;
  if (!sameRights) return 'rights';
  if (before.shared !== after.shared) return 'visibility';
  if (before.pageSize !== after.pageSize) return 'page-size';
  return isSameBacking(before.backing, after.backing) ? undefined : 'backing';
}

/** Whether two parts of one region have the same layers below. If only one dump has an RMP, nothing is compared. */
function isSameBacking(before: BackingFacts | undefined, after: BackingFacts | undefined): boolean {
  if (before === undefined || after === undefined) return true;
  return before.spa === after.spa && followsInRmp(before.rmp, 0n, after.rmp);
}
