import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import type { Mapping } from '@svsm/pagetable';
import type { MemoryRange } from '../formats/segments.ts';
import { isBytes, refuseArgument } from '../source/arguments.ts';
import { DumpError } from '../source/dump-error.ts';
import type { DumpView } from './dump-view.ts';
import { dumpRecord, factsOf, mappingsOf, requireListable } from './listing.ts';
import type { DumpListingOptions } from './listing-options.ts';
import type { DumpRecord, EndRecord, FaultRecord, MatchRecord } from './record.ts';
import { backingOf } from './translation.ts';

const MAX_PATTERN = PAGE_SIZE;
const PAGE = BigInt(PAGE_SIZE);
/** A search is refused if pages that are mapped repeatedly make it this many times longer than the memory, and longer than 256 MiB. */
const MAX_REPEATS = 16;
const MAX_PAGES = 2 ** 16;

/**
 * Finds a pattern of bytes in the memory that is mapped, by virtual address. A match may cross pages that are not contiguous in
 * physical memory. Memory that is mapped at several addresses is found at each. Matches may overlap. O(n) for n bytes.
 *
 * @param pattern - 1 to 4096 bytes
 * @throws DumpError `INVALID_ARGUMENT` for another pattern; `LISTING_TOO_LONG` also if it would read all memory more than 16 times;
 *   `OUTSIDE_LIMITS` for a nested page table with too many parts; {@link listRuns}
 * @throws PageTableError as `listRuns`
 */
export function* searchMemory(
  view: DumpView,
  pattern: Uint8Array,
  options: DumpListingOptions = {},
): Generator<DumpRecord | MatchRecord | FaultRecord | EndRecord, undefined, undefined> {
  if (!isBytes(pattern) || pattern.length === 0 || pattern.length > MAX_PATTERN)
    refuseArgument('pattern', pattern, `pass a Uint8Array of 1 to ${MAX_PATTERN} bytes`);
  const expected = requireListable(view, options);
  yield dumpRecord(view);
  const faults: FaultRecord[] = [];
  const memory = new Memory(view);
  let [count, pages, read] = [0, 0, 0];
  const most =
    options.all === true ? Number.POSITIVE_INFINITY : Math.max(MAX_PAGES, MAX_REPEATS * memory.pages);
  let tail: Tail | undefined;
  for (const mapping of mappingsOf(view, options, (fault) => faults.push(fault))) {
    for (const { vaddr, bytes } of memory.pagesOf(mapping)) {
      read += 1;
      if (read > most) refuse(view, read);
      const before = tail?.next === vaddr ? tail : { mapping, bytes: new Uint8Array(0) };
      const whole = joined(before.bytes, bytes);
      const start = vaddr - BigInt(before.bytes.length);
      for (const at of matchesIn(whole, pattern)) {
        count += 1;
        yield matchOf(view, at < before.bytes.length ? before.mapping : mapping, {
          vaddr: start + BigInt(at),
          size: pattern.length,
        });
      }
      // One byte less than a match, which would be found again.
      const kept = Math.min(whole.length, pattern.length - 1);
      tail = { next: vaddr + PAGE, mapping, bytes: whole.slice(whole.length - kept) };
    }
    pages += Number(mapping.region.size) / mapping.pageSize;
    options.onProgress?.(pages, Math.max(pages, expected), 'pages');
  }
  yield* faults;
  yield { type: 'end', what: 'matches', count, bytes: null, faults: faults.length };
}

function refuse({ dump }: DumpView, pages: number): never {
  const cause = 'pages are mapped repeatedly';
  throw new DumpError('LISTING_TOO_LONG', { pages, entries: 0, faults: 0, cause }, { file: dump.name });
}

/** The last bytes of a page, in which a match may begin. */
interface Tail {
  /** The virtual address after the bytes. */
  readonly next: bigint;
  /** The mapping of the page. */
  readonly mapping: Mapping;
  readonly bytes: Uint8Array;
}

function joined(before: Uint8Array, bytes: Uint8Array): Uint8Array {
  if (before.length === 0) return bytes;
  const both = new Uint8Array(before.length + bytes.length);
  both.set(before);
  both.set(bytes, before.length);
  return both;
}

function* matchesIn(bytes: Uint8Array, pattern: Uint8Array): Generator<number, undefined, undefined> {
  const first = pattern[0]!;
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (at + pattern.length > bytes.length) return;
    let i = 1;
    while (i < pattern.length && bytes[at + i] === pattern[i]) i += 1;
    if (i === pattern.length) yield at;
  }
}

/** The match at `vaddr`, of which `mapping` has the first byte. */
function matchOf(
  view: DumpView,
  mapping: Mapping,
  { vaddr, size }: { readonly vaddr: bigint; readonly size: number },
): MatchRecord {
  const paddr = mapping.paddr + (vaddr - mapping.region.start);
  const { paddr: _, ...facts } = factsOf(view, mapping);
  return { type: 'match', vaddr, size, paddr, ...facts, ...backingOf(view, facts, paddr) };
}

interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/** The memory of a dump, of which a mapping may have only parts. */
class Memory {
  readonly #view: DumpView;
  /** The ranges with bytes, ascending; `undefined` if the dump does not list its memory. */
  readonly #ranges: readonly Range[] | undefined;
  /** One page at a time. */
  readonly #bytes: Uint8Array = new Uint8Array(PAGE_SIZE);

  constructor(view: DumpView) {
    this.#view = view;
    this.#ranges = view.dump.memory && pagesOfRanges(view.dump.memory);
  }

  /** The number of pages in the dump. */
  get pages(): number {
    const { source } = this.#view.dump;
    const bytes = this.#ranges?.reduce((sum, { start, end }) => sum + Number(end - start), 0) ?? source.size;
    return bytes / PAGE_SIZE;
  }

  /** The pages of a mapping that the dump has; the next one overwrites the bytes. Memory that is zero without a place in the file is left out. */
  *pagesOf({
    region,
    paddr,
  }: Mapping): Generator<{ vaddr: bigint; bytes: Uint8Array }, undefined, undefined> {
    const end = paddr + region.size;
    for (const [from, to] of this.#partsOf(paddr, end)) {
      for (let at = from; at < to; at += PAGE) {
        const bytes = this.#bytes;
        if (!this.#view.dump.readFrame(Number(at >> 12n), bytes)) continue;
        yield { vaddr: region.start + (at - paddr), bytes };
      }
    }
  }

  *#partsOf(start: PhysAddr, end: bigint): Generator<readonly [bigint, bigint], undefined, undefined> {
    if (this.#ranges === undefined) {
      yield [start, end];
      return;
    }
    for (let i = this.#firstAt(start); i < this.#ranges.length; i += 1) {
      const range = this.#ranges[i]!;
      if (range.start >= end) return;
      const from = range.start > start ? range.start : start;
      const to = range.end < end ? range.end : end;
      if (from < to) yield [from, to];
    }
  }

  /** The index of the range with `paddr`, or of the first one after it. */
  #firstAt(paddr: bigint): number {
    const ranges = this.#ranges!;
    let low = 0;
    let high = ranges.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ranges[middle]!.end <= paddr) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whole pages that the ranges have a part of, ascending and disjoint. */
function pagesOfRanges(ranges: Iterable<MemoryRange>): Range[] {
  const pages = Array.from(ranges)
    .filter(({ isZero }) => !isZero)
    .map(({ start, end }) => ({ start: start - (start % PAGE), end: ((end + PAGE - 1n) / PAGE) * PAGE }))
    .sort((a, b) => (a.start < b.start ? -1 : 1));
  const merged: { start: bigint; end: bigint }[] = [];
  for (const { start, end } of pages) {
    const last = merged.at(-1);
    if (last === undefined || last.end < start) merged.push({ start, end });
    else if (last.end < end) last.end = end;
  }
  return merged;
}
