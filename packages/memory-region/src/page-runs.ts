import { type Address, PageSize } from '@svsm/address';
import { RegionError } from './region-error.ts';

/** Consecutive pages of one size. */
export interface PageRun<A extends Address> {
  /** The first address of the first page. */
  readonly start: A;
  /** The size of each page in bytes. */
  readonly pageSize: PageSize;
  /** The number of pages, at least 1. */
  readonly count: number;
}

/** Options of {@link MemoryRegion.pageRuns} and {@link MemoryRegion.largestPages}. */
export interface PageRunOptions {
  /**
   * Bytes from an address of the region to a second address that must be aligned too, for example `paddr - vaddr`: a
   * multiple of 4096, which may be negative. 0 if not given.
   */
  readonly offset?: number | bigint;
  /** The largest size of a page. `PageSize.Giant` if not given. */
  readonly maxPageSize?: PageSize;
}

const SIZES: readonly PageSize[] = [PageSize.Regular, PageSize.Huge, PageSize.Giant];
const OPTIONS: readonly string[] = ['offset', 'maxPageSize'] satisfies (keyof PageRunOptions)[];

/** @throws RegionError `INVALID_PAGE_SIZE` unless `size` is a page size */
export function requirePageSize(size: PageSize): void {
  if (!SIZES.includes(size)) throw new RegionError('INVALID_PAGE_SIZE', { value: size });
}

/**
 * The sizes that pages may have, ascending: up to `maxPageSize`, and such that `offset` is a multiple.
 *
 * @throws RegionError `INVALID_PAGE_SIZE`, `INVALID_ARGUMENT`
 */
export function usableSizes(options: PageRunOptions): readonly bigint[] {
  if (typeof options !== 'object' || options === null) {
    throw new RegionError('INVALID_ARGUMENT', {
      what: 'options',
      value: options,
      expected: 'pass an object',
    });
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name));
  if (unknown !== undefined) {
    const expected = `the options are ${OPTIONS.join(' and ')}`;
    throw new RegionError('INVALID_ARGUMENT', { what: 'the name of an option', value: unknown, expected });
  }
  const { offset = 0, maxPageSize = PageSize.Giant } = options;
  requirePageSize(maxPageSize);
  const isInteger = typeof offset === 'bigint' || Number.isSafeInteger(offset);
  if (!isInteger || BigInt(offset) % BigInt(PageSize.Regular) !== 0n) {
    const expected = 'pass a multiple of 0x1000 as a bigint or a safe integer';
    throw new RegionError('INVALID_ARGUMENT', { what: 'offset', value: offset, expected });
  }
  return SIZES.filter((size) => size <= maxPageSize)
    .map(BigInt)
    .filter((size) => BigInt(offset) % size === 0n);
}

/**
 * The fewest pages of these sizes that cover the addresses from `start` up to `end`, as runs.
 *
 * @param start - a multiple of the least size, and so is `end`
 * @param sizes - ascending; each divides the next
 */
export function* runsBetween<A extends Address>(
  start: A,
  end: bigint,
  sizes: readonly bigint[],
): Generator<PageRun<A>, undefined, undefined> {
  let at: bigint = start;
  while (at < end) {
    // The largest page that fits is always best, because each size divides the next.
    const i = sizes.findLastIndex((size) => at % size === 0n && at + size <= end);
    const size = sizes[i] as bigint;
    const stop = firstFit(at, end, sizes[i + 1]) ?? end - (end % size);
    yield { start: at as A, pageSize: Number(size) as PageSize, count: Number((stop - at) / size) };
    at = stop;
  }
}

/** The first multiple of `size` from `at` on, if a page of this size fits between it and `end`. */
function firstFit(at: bigint, end: bigint, size: bigint | undefined): bigint | undefined {
  if (size === undefined) return undefined;
  const multiple = (at + size - 1n) & -size;
  return multiple + size <= end ? multiple : undefined;
}
