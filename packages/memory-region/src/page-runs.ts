import { type Address, PageSize } from '@svsm/address';
import { type RegionBounds, RegionError } from './region-error.ts';

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

/**
 * The number of pages of `size` in `region`.
 *
 * @throws RegionError `INVALID_PAGE_SIZE`, `MISALIGNED_REGION`
 */
export function countPages(region: RegionBounds & { readonly size: bigint }, size: PageSize): number {
  requirePageSize(size);
  if (((region.start | region.size) & BigInt(size - 1)) !== 0n) {
    throw new RegionError('MISALIGNED_REGION', { region, pageSize: size });
  }
  return Number(region.size / BigInt(size));
}

/** @throws RegionError `INVALID_PAGE_SIZE` unless `size` is a page size */
function requirePageSize(size: PageSize): void {
  if (!SIZES.includes(size)) throw new RegionError('INVALID_PAGE_SIZE', { value: size });
}

/**
 * The sizes that pages may have, ascending: up to `maxPageSize`, and such that `offset` is a multiple.
 *
 * @throws RegionError `INVALID_PAGE_SIZE`, `INVALID_ARGUMENT`
 */
export function usableSizes(options: PageRunOptions): readonly bigint[] {
  const { offset = 0, maxPageSize = PageSize.Giant } = readOptions(options);
  requirePageSize(maxPageSize);
  const isInteger = typeof offset === 'bigint' || Number.isSafeInteger(offset);
  if (!isInteger || BigInt(offset) % BigInt(PageSize.Regular) !== 0n) {
    throw invalid('offset', offset, 'pass a multiple of 0x1000 as a bigint or a safe integer');
  }
  return SIZES.filter((size) => size <= maxPageSize)
    .map(BigInt)
    .filter((size) => BigInt(offset) % size === 0n);
}

/** A copy of `options`. @throws RegionError `INVALID_ARGUMENT` if they cannot be read, or one has another name */
function readOptions(options: PageRunOptions): {
  [Name in keyof PageRunOptions]-?: PageRunOptions[Name] | undefined;
} {
  if (typeof options !== 'object' || options === null) throw invalid('options', options, 'pass an object');
  let copy: ReturnType<typeof readOptions>;
  let other: string | undefined;
  try {
    const { offset, maxPageSize } = options;
    copy = { offset, maxPageSize };
    other = Object.keys(options).find((name) => !OPTIONS.includes(name));
  } catch (cause) {
    throw invalid('options', options, 'their properties must be readable', { cause });
  }
  if (other === undefined) return copy;
  throw invalid('the name of an option', other, `the options are ${OPTIONS.join(' and ')}`);
}

function invalid(what: string, value: unknown, expected: string, options?: ErrorOptions): RegionError {
  return new RegionError('INVALID_ARGUMENT', { what, value, expected }, options);
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

/** The pages of `runs`, one by one, as `make` returns them. */
export function* pagesOf<A extends Address, Page>(
  runs: Iterable<PageRun<A>>,
  make: (start: A, size: bigint) => Page,
): Generator<Page, undefined, undefined> {
  for (const { start, pageSize, count } of runs) {
    const size = BigInt(pageSize);
    for (let i = 0n; i < count; i += 1n) yield make((start + i * size) as A, size);
  }
}

/** The first multiple of `size` from `at` on, if a page of this size fits between it and `end`. */
function firstFit(at: bigint, end: bigint, size: bigint | undefined): bigint | undefined {
  if (size === undefined) return undefined;
  const multiple = (at + size - 1n) & -size;
  return multiple + size <= end ? multiple : undefined;
}
