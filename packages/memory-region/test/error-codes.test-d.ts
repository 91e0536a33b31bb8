/** Compiled, never run: the codes by operation. */
import {
  type CombineRegionsErrorCode,
  isRegionError,
  type MakeRegionErrorCode,
  type PageCursorErrorCode,
  type RegionErrorCode,
  type RegionMapErrorCode,
  type RegionPagesErrorCode,
  type RegionSetErrorCode,
  type ResizeRegionErrorCode,
  type WalkRangesErrorCode,
} from '../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

check<Equal<MakeRegionErrorCode, 'REGION_OVERFLOW' | 'INVALID_END'>>();
check<Equal<CombineRegionsErrorCode, 'REGION_OVERFLOW' | 'NOT_CONTIGUOUS' | 'KIND_MISMATCH'>>();
check<Equal<ResizeRegionErrorCode, 'REGION_OVERFLOW' | 'OUTSIDE_REGION'>>();
check<Equal<RegionPagesErrorCode, 'INVALID_PAGE_SIZE' | 'INVALID_ARGUMENT' | 'MISALIGNED_REGION'>>();
check<Equal<PageCursorErrorCode, 'INVALID_ARGUMENT' | 'NOT_ON_PAGE'>>();
check<Equal<RegionSetErrorCode, 'INVALID_ARGUMENT' | 'KIND_MISMATCH'>>();
check<
  Equal<
    RegionMapErrorCode,
    'INVALID_ARGUMENT' | 'REGION_OVERLAP' | 'NO_SUCH_REGION' | 'EMPTY_REGION' | 'KIND_MISMATCH'
  >
>();
check<Equal<WalkRangesErrorCode, 'INVALID_ARGUMENT' | 'UNSORTED_REGIONS' | 'KIND_MISMATCH'>>();

// Each is a part of the codes of the package, and together they are all of them.
type All =
  | MakeRegionErrorCode
  | CombineRegionsErrorCode
  | ResizeRegionErrorCode
  | RegionPagesErrorCode
  | PageCursorErrorCode
  | RegionSetErrorCode
  | RegionMapErrorCode
  | WalkRangesErrorCode;
check<Equal<All, RegionErrorCode>>();

// Around one operation, a switch over its codes needs no default.
export function explain(error: unknown): bigint {
  if (!isRegionError<MakeRegionErrorCode>(error)) throw error;
  switch (error.code) {
    case 'REGION_OVERFLOW':
      return error.details.limit;
    case 'INVALID_END':
      return error.details.start;
  }
}
