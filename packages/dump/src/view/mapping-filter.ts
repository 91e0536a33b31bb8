import { MemoryRegion } from '@svsm/memory-region';
import type { MappedLeaf, Mapping } from '@svsm/pagetable';

/** The mappings to list: those that agree with every member. */
export interface MappingFilter {
  readonly user?: boolean | undefined;
  readonly writable?: boolean | undefined;
  readonly executable?: boolean | undefined;
  /** 4096, 2 MiB or 1 GiB, in bytes. */
  readonly pageSize?: number | undefined;
  /** Whether the memory is shared with the hypervisor. No mapping agrees if memory encryption is not configured. */
  readonly shared?: boolean | undefined;
  /** A range of physical addresses; the end is exclusive. */
  readonly physical?: { readonly start: bigint; readonly end: bigint } | undefined;
  /** Only mappings that contradict the nested page table or the RMP. A view without these has none. */
  readonly mismatched?: boolean | undefined;
}

const PAGE = 4096n;

type Facts = Pick<Mapping, 'user' | 'writable' | 'executable' | 'pageSize' | 'shared'>;

/** The parts of the mappings that agree with a filter. Those of a physical range are cut to the pages of 4 KiB that it has a part of. */
export function* filteredMappings(
  mappings: Iterable<Mapping>,
  filter: MappingFilter,
  isEncrypted: boolean,
): Generator<Mapping, undefined, undefined> {
  for (const mapping of mappings) {
    if (!agrees(mapping, filter, isEncrypted)) continue;
    const part = partOf(mapping, filter);
    if (part !== undefined) yield part;
  }
}

/** The leaves that agree with a filter. A page that is partly in a physical range is listed whole. */
export function* filteredLeaves(
  leaves: Iterable<MappedLeaf>,
  filter: MappingFilter,
  isEncrypted: boolean,
): Generator<MappedLeaf, undefined, undefined> {
  const { physical } = filter;
  for (const leaf of leaves) {
    if (!agrees({ ...leaf, pageSize: leaf.size }, filter, isEncrypted)) continue;
    if (physical !== undefined) {
      if (leaf.frame >= physical.end || leaf.frame + BigInt(leaf.size) <= physical.start) continue;
    }
    yield leaf;
  }
}

function agrees(facts: Facts, filter: MappingFilter, isEncrypted: boolean): boolean {
  const is = <Value>(wanted: Value | undefined, value: Value): boolean =>
    wanted === undefined || wanted === value;
  return (
    is(filter.user, facts.user) &&
    is(filter.writable, facts.writable) &&
    is(filter.executable, facts.executable) &&
    is<number>(filter.pageSize, facts.pageSize) &&
    (filter.shared === undefined || (isEncrypted && filter.shared === facts.shared))
  );
}

function partOf(mapping: Mapping, { physical }: MappingFilter): Mapping | undefined {
  if (physical === undefined) return mapping;
  const { region, paddr } = mapping;
  const [first, last] = [floorOf(physical.start), floorOf(physical.end + PAGE - 1n)];
  const from = first > paddr ? first - paddr : 0n;
  const to = last - paddr < region.size ? last - paddr : region.size;
  if (from >= to) return undefined;
  const start = (region.start + from) as typeof region.start;
  return {
    ...mapping,
    region: new MemoryRegion(region.kind, start, to - from),
    paddr: (paddr + from) as typeof paddr,
  };
}

/** The first byte of the page of 4 KiB with `paddr`. */
function floorOf(paddr: bigint): bigint {
  return paddr - (paddr % PAGE);
}
