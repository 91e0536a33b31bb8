import { PAGE_SIZE } from '@svsm/address';
import type { Mapping } from '@svsm/pagetable';
import { findAppearances } from './appearances.ts';
import { backedMappings } from './backed-mappings.ts';
import { takeCensus } from './census.ts';
import type { DumpView } from './dump-view.ts';
import { dumpRecord, factsOf, mappingsOf, requireListable } from './listing.ts';
import type { DumpListingOptions } from './listing-options.ts';
import type {
  AppearanceRecord,
  DumpRecord,
  EndRecord,
  FaultRecord,
  Finding,
  FindingRecord,
} from './record.ts';

/** The first address of the upper half: a bit that is set in all addresses there. */
const UPPER_HALF = 1n << 63n;
const PRESENT = 1;
const LARGE = 0x80;
const ENTRIES = 512;
const PAGE = BigInt(PAGE_SIZE);

/**
 * Looks for mappings that a sound system does not have: see {@link Finding}. Places that cannot be read are faults. The findings about
 * mappings come by address, then those about page tables. O(n) for n pages.
 *
 * @throws DumpError as {@link listRuns}
 * @throws PageTableError as `listRuns`
 */
export function* checkTables(
  view: DumpView,
  options: DumpListingOptions = {},
): Generator<DumpRecord | FindingRecord | FaultRecord | EndRecord, undefined, undefined> {
  const expected = requireListable(view, options);
  yield dumpRecord(view);
  const faults: FaultRecord[] = [];
  let [count, pages] = [0, 0];
  for (const mapping of mappingsOf(view, options, (fault) => faults.push(fault))) {
    for (const finding of findingsOf(view, mapping)) {
      count += 1;
      yield findingOf(view, finding, mapping);
    }
    pages += Number(mapping.region.size) / mapping.pageSize;
    options.onProgress?.(pages, Math.max(pages, expected), 'pages');
  }
  for (const record of ofBacking(view, options)) {
    count += 1;
    yield record;
  }
  const isWhole = options.within === undefined && options.filter === undefined;
  for (const record of isWhole ? ofTables(view, options) : []) {
    count += 1;
    yield record;
  }
  yield* faults;
  yield { type: 'end', what: 'findings', count, bytes: null, faults: faults.length };
}

function* findingsOf(view: DumpView, mapping: Mapping): Generator<Finding, undefined, undefined> {
  if (mapping.writable && mapping.executable) yield 'writable-executable';
  if (mapping.user && mapping.region.start >= UPPER_HALF) yield 'user-in-upper-half';
  if (view.config.encryption !== undefined && mapping.shared && mapping.executable) yield 'shared-executable';
}

/** The contradictions between the mappings and what lies below them. */
function* ofBacking(
  view: DumpView,
  options: DumpListingOptions,
): Generator<FindingRecord, undefined, undefined> {
  if (view.backing === undefined) return;
  const mappings = mappingsOf(view, options, () => {});
  for (const { mapping, backing } of backedMappings(view, mappings, options)) {
    for (const mismatch of backing?.mismatches ?? []) yield findingOf(view, mismatch, mapping);
  }
}

function findingOf(view: DumpView, finding: Finding, mapping: Mapping): FindingRecord {
  const { start, end, size } = mapping.region;
  return { type: 'finding', finding, start, end, size, ...factsOf(view, mapping) };
}

/** Findings about the frames of page tables. */
function* ofTables(
  view: DumpView,
  options: DumpListingOptions,
): Generator<FindingRecord, undefined, undefined> {
  const { levelsOf } = takeCensus(view, undefined);
  const frames = [...levelsOf.keys()].map((frame) => BigInt(frame) * PAGE);
  const shared = new Set(sharedTables(view, levelsOf));
  const unsafe = new Set(frames.filter((paddr) => isNotPrivate(view, paddr)));
  const seen = new Map<bigint, AppearanceRecord[]>();
  for (const record of findAppearances(view, frames, { all: options.all })) {
    if (record.type !== 'appearance') continue;
    const known = seen.get(record.paddr);
    if (known === undefined) seen.set(record.paddr, [record]);
    else known.push(record);
  }
  for (const appearances of seen.values()) {
    const writable = appearances.filter(({ page }) => page.writable);
    for (const record of appearances) {
      if (record.page.user) yield tableFinding('user-maps-table', record);
      else if (record.page.executable) yield tableFinding('executable-table', record);
    }
    if (writable.length > 1) for (const record of writable) yield tableFinding('table-aliases', record);
  }
  for (const frame of [...levelsOf.keys()].sort((a, b) => a - b)) {
    const paddr = BigInt(frame) * PAGE;
    const [record] = seen.get(paddr) ?? [];
    for (const finding of [
      ...(shared.has(frame) ? (['shared-table'] as const) : []),
      ...(unsafe.has(paddr) ? (['table-not-private'] as const) : []),
    ]) {
      if (record !== undefined) yield tableFinding(finding, record);
      else yield { ...unmappedTable(view, paddr), finding };
    }
  }
}

/** Whether the RMP does not have a page table of a guest as a private page. Walks of page tables are private, whatever the C-bits. */
function isNotPrivate({ backing }: DumpView, paddr: bigint): boolean {
  if (backing?.rmp === undefined || !backing.isOfGuest) return false;
  const table = { paddr, size: PAGE, pageSize: PAGE_SIZE, user: false, writable: true, executable: false };
  return [...backing.of({ ...table, shared: false })].some(({ mismatches }) => mismatches.length > 0);
}

function tableFinding(finding: Finding, { vaddr, paddr, page }: AppearanceRecord): FindingRecord {
  const facts = { ...page, paddr: paddr as FindingRecord['paddr'] };
  return { type: 'finding', finding, start: vaddr, end: vaddr + PAGE, size: PAGE, ...facts };
}

/** A table that no page maps has no virtual address. */
function unmappedTable({ config }: DumpView, paddr: bigint): Omit<FindingRecord, 'finding'> {
  return {
    type: 'finding',
    start: null,
    end: null,
    size: PAGE,
    paddr: paddr as FindingRecord['paddr'],
    pageSize: PAGE_SIZE as FindingRecord['pageSize'],
    user: false,
    writable: false,
    executable: false,
    shared: config.encryption === undefined ? null : true,
  };
}

/** The frames of the tables to which an entry leads that marks them as shared. */
function* sharedTables(
  { config, memory }: DumpView,
  levelsOf: ReadonlyMap<number, ReadonlySet<number>>,
): Generator<number, undefined, undefined> {
  const { encryption } = config;
  if (encryption === undefined) return;
  const bit = 2 ** (encryption.bit - 32);
  for (const [frame, levels] of levelsOf) {
    const words = memory.words(frame, false);
    const base = memory.wordOffset(frame);
    for (const level of levels) {
      if (level === 0) continue;
      for (let i = 0; i < ENTRIES; i += 1) {
        const [low, high] = [words[base + 2 * i]!, words[base + 2 * i + 1]!];
        if ((low & PRESENT) === 0 || (level <= 2 && (low & LARGE) !== 0)) continue;
        const isShared = ((high & bit) !== 0) === (encryption.mode === 'vtom');
        const next = (high & 0xf_ffff & ~bit) * 0x10_0000 + (low >>> 12);
        if (isShared && levelsOf.has(next)) yield next;
      }
    }
  }
}
