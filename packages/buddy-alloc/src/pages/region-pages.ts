import { type Address, type AddressKind, PAGE_SIZE } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { BuddyError } from './buddy-error.ts';
import { type PageRange, rangeAt } from './page-range.ts';
import { pageNumberOf } from './words.ts';

type ReservedProblem = 'misaligned' | 'outside' | 'overlapping';

/** The elements of `values`, any value. @throws BuddyError `INVALID_OPTION` if it is not iterable */
function listOf<T>(values: Iterable<T>, option: string): readonly T[] {
  try {
    // A text is iterable, too: the empty one would pass for no regions.
    if (typeof values === 'string') throw new TypeError('a text');
    return [...values];
  } catch (cause) {
    const details = { option, value: values, expected: 'an array of regions' };
    throw new BuddyError('INVALID_OPTION', details, { cause });
  }
}

/** The elements of an array, or the only element, any value. Never throws. */
export function arrayOf<T>(value: T | readonly T[]): readonly T[] {
  try {
    if (Array.isArray(value)) return [...value];
  } catch {
    // Whoever uses the element finds that it cannot be read.
  }
  return [value as T];
}

/** Whether `value` is a region of this copy of the package, with addresses of `kind`. Never throws. O(1). */
export function isOwnRegion(value: MemoryRegion<Address>, kind: AddressKind<Address>): boolean {
  try {
    return value.kind === kind && value instanceof MemoryRegion && typeof value.start === 'bigint';
  } catch {
    return false;
  }
}

/** Returns `value` if it is a region with any kind of address, and otherwise `undefined`. O(1). */
export function asRegion<A extends Address>(value: MemoryRegion<A> | undefined): MemoryRegion<A> | undefined {
  if (value === undefined) return undefined;
  try {
    const { kind, start, size } = value;
    const isKind = typeof kind.assertIsAddress === 'function' && typeof kind.runEnd === 'function';
    if (!isKind || typeof start !== 'bigint' || typeof size !== 'bigint') return undefined;
    // Another copy of the package has another class. Its region is copied, so that it is read only here.
    return value instanceof MemoryRegion ? value : new MemoryRegion(kind, start, size);
  } catch {
    return undefined;
  }
}

/** Stands for a value that is not a region: `MemoryRegion` refuses it with `KIND_MISMATCH`. */
const NO_REGION = {} as never;

/** The pages of `region`; `undefined` if it does not consist of whole pages. O(1). */
export function wholePages(region: MemoryRegion<Address>): PageRange | undefined {
  if (((region.start | region.end) & 0xfffn) !== 0n) return undefined;
  // The end may be 2^64, which does not fit in 64 bits.
  const start = pageNumberOf(region.start);
  return { start, end: start + Number(region.size / BigInt(PAGE_SIZE)) };
}

/**
 * Returns `region`, any value, if it is a region with the same kind of addresses as `hull`. O(1).
 *
 * @throws RegionError `KIND_MISMATCH`, also for an object that only looks like a region
 */
export function requireKind<A extends Address>(
  region: MemoryRegion<A>,
  hull: MemoryRegion<A>,
): MemoryRegion<A> {
  const own = asRegion(region);
  // `overlaps` throws if the kinds differ.
  if (own?.kind !== hull.kind) hull.overlaps(own ?? NO_REGION);
  return own as MemoryRegion<A>;
}

/** The pages of `region`, at least one. O(1). @throws BuddyError `INVALID_REGION` */
export function pagesOfRegion(region: MemoryRegion<Address>): PageRange {
  if (region.isEmpty) throw new BuddyError('INVALID_REGION', { region, reason: 'empty' });
  const range = wholePages(region);
  if (range === undefined) throw new BuddyError('INVALID_REGION', { region, reason: 'misaligned' });
  return range;
}

/**
 * The pages to reserve when an allocator is created: ascending, ranges that touch joined. Empty regions add nothing.
 * O(regions · log regions).
 *
 * @param space - the region in which they must lie
 * @param hull - the region that error messages name
 * @param ranges - the allocator's pages, ascending and disjoint
 * @throws BuddyError `INVALID_RESERVED`, `INVALID_OPTION`; RegionError `KIND_MISMATCH`
 */
export function reservedRanges<A extends Address>(
  regions: Iterable<MemoryRegion<A>>,
  space: MemoryRegion<A>,
  hull: MemoryRegion<A>,
  ranges: readonly PageRange[],
): PageRange[] {
  const list = listOf(regions, 'reserved');
  const parts: { range: PageRange; refusal: (reason: ReservedProblem) => BuddyError }[] = [];
  for (const value of list) {
    const reserved = requireKind(value, hull);
    const refusal = (reason: ReservedProblem) =>
      new BuddyError('INVALID_RESERVED', { reserved, region: hull, reason });
    if (!space.containsRegion(reserved)) throw refusal('outside');
    const range = wholePages(reserved);
    if (range === undefined) throw refusal('misaligned');
    if (reserved.isEmpty) continue;
    const around = rangeAt(ranges, range.start);
    if (around === undefined || around.end < range.end) throw refusal('outside');
    parts.push({ range, refusal });
  }
  parts.sort((left, right) => left.range.start - right.range.start);
  const joined: { start: number; end: number }[] = [];
  for (const { range, refusal } of parts) {
    const last = joined.at(-1);
    if (last === undefined || range.start > last.end) joined.push({ ...range });
    else if (range.start === last.end) last.end = range.end;
    else throw refusal('overlapping');
  }
  return joined;
}
