import { MemoryRegion } from '@svsm/memory-region';
import type { MappedLeaf, Mapping } from '@svsm/pagetable';
import type { BackingFacts } from '../backing/backing.ts';
import { DumpError } from '../source/dump-error.ts';
import type { DumpView } from './dump-view.ts';
import type { MappingFilter } from './mapping-filter.ts';

/** The scope of a listing, as far as it matters here. */
interface Scope {
  readonly filter?: MappingFilter | undefined;
  readonly all?: boolean | undefined;
}

/** A part of a mapping, with what lies below it. */
export interface BackedMapping {
  readonly mapping: Mapping;
  readonly backing: BackingFacts | undefined;
}

/** A leaf, with what lies below each of its parts. */
export interface BackedLeaf {
  readonly leaf: MappedLeaf;
  readonly backings: readonly BackingFacts[] | undefined;
}

/** Without `all`, a listing looks below at most this many 4 KiB pages: 1 TiB. */
const MAX_PAGES = 2 ** 28;

/** The mappings, split where what lies below them differs. */
export function* backedMappings(
  view: DumpView,
  mappings: Iterable<Mapping>,
  options: Scope,
): Generator<BackedMapping, undefined, undefined> {
  const onlyMismatched = options.filter?.mismatched === true;
  const limit = new Limit(view, options);
  for (const mapping of mappings) {
    if (view.backing === undefined) {
      if (!onlyMismatched) yield { mapping, backing: undefined };
      continue;
    }
    limit.add(mapping.region.size);
    const { size } = mapping.region;
    for (const backing of view.backing.of({ ...mapping, ...sharedOf(view, mapping), size })) {
      if (onlyMismatched && backing.mismatches.length === 0) continue;
      yield { mapping: partOf(mapping, backing), backing };
    }
  }
}

/** The leaves, with what lies below them. */
export function* backedLeaves(
  view: DumpView,
  leaves: Iterable<MappedLeaf>,
  options: Scope,
): Generator<BackedLeaf, undefined, undefined> {
  const onlyMismatched = options.filter?.mismatched === true;
  const limit = new Limit(view, options);
  for (const leaf of leaves) {
    if (view.backing === undefined) {
      if (!onlyMismatched) yield { leaf, backings: undefined };
      continue;
    }
    limit.add(BigInt(leaf.size));
    const part = {
      ...leaf,
      ...sharedOf(view, leaf),
      paddr: leaf.frame,
      size: BigInt(leaf.size),
      pageSize: leaf.size,
    };
    const backings = [...view.backing.of(part)];
    if (!onlyMismatched || backings.some(({ mismatches }) => mismatches.length > 0)) yield { leaf, backings };
  }
}

function sharedOf(
  { config }: DumpView,
  { shared }: { readonly shared: boolean },
): { shared: boolean | null } {
  return { shared: config.encryption === undefined ? null : shared };
}

function partOf(mapping: Mapping, { offset, size }: BackingFacts): Mapping {
  const { region, paddr } = mapping;
  if (size === region.size) return mapping;
  const start = (region.start + offset) as typeof region.start;
  return {
    ...mapping,
    region: new MemoryRegion(region.kind, start, size),
    paddr: (paddr + offset) as typeof paddr,
  };
}

/** Large pages make many pages from few entries. */
class Limit {
  readonly #view: DumpView;
  readonly #most: number;
  #pages = 0;

  constructor(view: DumpView, { all }: Scope) {
    this.#view = view;
    this.#most = all === true ? Number.POSITIVE_INFINITY : MAX_PAGES;
  }

  add(bytes: bigint): void {
    this.#pages += Number(bytes) / 4096;
    if (this.#pages <= this.#most) return;
    const cause = 'what lies below each page of 4 KiB is looked up';
    const { dump } = this.#view;
    throw new DumpError(
      'LISTING_TOO_LONG',
      { pages: this.#pages, entries: 0, faults: 0, cause },
      { file: dump.name },
    );
  }
}
