import { PageSize } from '@svsm/address';
import type { Mapping } from '@svsm/pagetable';
import type { Mismatch } from '../backing/backing.ts';
import { backedMappings } from './backed-mappings.ts';
import { takeCensus } from './census.ts';
import type { DumpView } from './dump-view.ts';
import { dumpRecord, factsOf, mappingsOf, requireListable } from './listing.ts';
import type { DumpListingOptions } from './listing-options.ts';
import type {
  DumpRecord,
  EndRecord,
  FaultRecord,
  SummaryRecord,
  SummaryRow,
  SummaryWarning,
} from './record.ts';

const EXAMPLES = 4;
/** The first address of the upper half: a bit that is set in all addresses there. */
const UPPER_HALF = 1n << 63n;

/**
 * Totals by page size and rights, and warnings: W+X, and pages in one half with the rights of the other half. O(n) for n pages.
 *
 * @throws DumpError as {@link listRuns}
 * @throws PageTableError as `listRuns`
 */
export function* summarize(
  view: DumpView,
  scope: DumpListingOptions = {},
): Generator<DumpRecord | SummaryRecord | FaultRecord | EndRecord, undefined, undefined> {
  requireListable(view, scope);
  yield dumpRecord(view);
  const faults: FaultRecord[] = [];
  const rows = new Map<string, SummaryRow>();
  const writableExecutable = new Warning('writable-executable');
  const userAbove = new Warning('user-in-upper-half');
  const supervisorBelow = new Warning('supervisor-in-lower-half');
  let count = 0;
  for (const mapping of mappingsOf(view, scope, (fault) => faults.push(fault))) {
    addTo(rows, view, mapping);
    if (mapping.writable && mapping.executable) writableExecutable.add(mapping);
    const isUpper = mapping.region.start >= UPPER_HALF;
    if (mapping.user && isUpper) userAbove.add(mapping);
    if (!mapping.user && !isUpper) supervisorBelow.add(mapping);
    count += 1;
    scope.onProgress?.(count, undefined, 'runs');
  }
  const mismatches = mismatchesIn(view, scope);
  const { tables, selfMapped } = takeCensus(view, scope.within);
  const sorted = [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  const warnings = [
    ...[writableExecutable, userAbove, supervisorBelow].map((warning) => warning.record()),
    selfMapWarning(selfMapped),
    ...mismatches,
  ];
  yield* faults;
  yield {
    type: 'summary',
    tables,
    pages: sorted.reduce((sum, { pages }) => sum + pages, 0),
    bytes: sorted.reduce((sum, { bytes }) => sum + bytes, 0n),
    rows: sorted,
    warnings: warnings.filter(({ pages }) => pages > 0),
  };
  yield { type: 'end', what: 'runs', count, bytes: null, faults: faults.length };
}

function mismatchesIn(view: DumpView, scope: DumpListingOptions): SummaryWarning[] {
  if (view.backing === undefined) return [];
  const found = new Map<Mismatch, Warning>();
  for (const { mapping, backing } of backedMappings(
    view,
    mappingsOf(view, scope, () => {}),
    scope,
  )) {
    for (const mismatch of backing?.mismatches ?? []) {
      const warning = found.get(mismatch) ?? new Warning(mismatch);
      found.set(mismatch, warning);
      warning.add({ ...mapping, pageSize: PageSize.Regular });
    }
  }
  return Array.from(found.values(), (warning) => warning.record());
}

class Warning {
  readonly #name: SummaryWarning['warning'];
  readonly #examples: { start: bigint; end: bigint }[] = [];
  #pages = 0;
  #bytes = 0n;

  constructor(name: SummaryWarning['warning']) {
    this.#name = name;
  }

  add({ region: { start, end, size }, pageSize }: Mapping): void {
    this.#pages += pagesIn(start, end, pageSize);
    this.#bytes += size;
    if (this.#examples.length < EXAMPLES) this.#examples.push({ start, end });
  }

  record(): SummaryWarning {
    return { warning: this.#name, pages: this.#pages, bytes: this.#bytes, examples: this.#examples };
  }
}

/** The number of pages that a run has a part of: bounds may cut large ones. */
function pagesIn(start: bigint, end: bigint, pageSize: number): number {
  const size = BigInt(pageSize);
  return Number((end - 1n) / size - start / size) + 1;
}

function addTo(rows: Map<string, SummaryRow>, view: DumpView, mapping: Mapping): void {
  const { paddr: _, ...facts } = factsOf(view, mapping);
  // The key sorts by page size, then by rights.
  const key = JSON.stringify([
    [PageSize.Regular, PageSize.Huge, PageSize.Giant].indexOf(facts.pageSize),
    facts,
  ]);
  const { pages, bytes } = rows.get(key) ?? { pages: 0, bytes: 0n };
  const { start, end, size } = mapping.region;
  rows.set(key, { ...facts, pages: pages + pagesIn(start, end, facts.pageSize), bytes: bytes + size });
}

function selfMapWarning(tables: readonly number[]): SummaryWarning {
  const examples = tables.slice(0, EXAMPLES).map((table) => {
    const start = BigInt(table) * 4096n;
    return { start, end: start + 4096n };
  });
  return { warning: 'self-mapped', pages: tables.length, bytes: BigInt(tables.length) * 4096n, examples };
}
