import type { RegionErrorCode } from './region-error.ts';

/** The codes of `RegionError` that each operation can throw. */
export const ERRORS_OF = {
  'MemoryRegion.constructor': ['REGION_OVERFLOW'],
  'MemoryRegion.fromAddresses': ['REGION_OVERFLOW', 'INVALID_END'],
  'MemoryRegion.tryNew': [],
  'MemoryRegion.unchecked': [],
  'MemoryRegion.from': ['KIND_MISMATCH'],
  virtRegion: ['REGION_OVERFLOW'],
  physRegion: ['REGION_OVERFLOW'],

  'MemoryRegion.contains': [],
  'MemoryRegion.containsInclusive': [],
  'MemoryRegion.containsRegion': ['KIND_MISMATCH'],
  'MemoryRegion.overlaps': ['KIND_MISMATCH'],
  'MemoryRegion.contiguous': ['KIND_MISMATCH'],
  'MemoryRegion.equals': [],
  'MemoryRegion.merge': ['NOT_CONTIGUOUS', 'KIND_MISMATCH'],
  'MemoryRegion.hull': ['REGION_OVERFLOW', 'KIND_MISMATCH'],
  'MemoryRegion.intersect': ['KIND_MISMATCH'],
  'MemoryRegion.subtract': ['KIND_MISMATCH'],

  'MemoryRegion.splitAt': ['OUTSIDE_REGION'],
  'MemoryRegion.expand': ['REGION_OVERFLOW'],
  'MemoryRegion.alignOutward': ['REGION_OVERFLOW'],
  'MemoryRegion.alignInward': [],

  'MemoryRegion.pageCount': ['INVALID_PAGE_SIZE', 'MISALIGNED_REGION'],
  'MemoryRegion.iterPages': ['INVALID_PAGE_SIZE', 'MISALIGNED_REGION'],
  'MemoryRegion.cursor': ['INVALID_PAGE_SIZE', 'MISALIGNED_REGION'],
  'MemoryRegion.largestPages': ['INVALID_PAGE_SIZE', 'INVALID_ARGUMENT', 'MISALIGNED_REGION'],
  'MemoryRegion.pageRuns': ['INVALID_PAGE_SIZE', 'INVALID_ARGUMENT', 'MISALIGNED_REGION'],
  'MemoryRegion.toString': [],

  'PageCursor.goTo': ['INVALID_ARGUMENT'],
  'PageCursor.next': [],
  'PageCursor.return': [],
  pageAddress: ['NOT_ON_PAGE', 'INVALID_ARGUMENT'],

  'RegionSet.constructor': ['INVALID_ARGUMENT', 'KIND_MISMATCH'],
  'RegionSet.add': ['KIND_MISMATCH'],
  'RegionSet.remove': ['KIND_MISMATCH'],
  'RegionSet.contains': [],
  'RegionSet.containsRegion': ['KIND_MISMATCH'],
  'RegionSet.overlaps': ['KIND_MISMATCH'],
  'RegionSet.regionAt': [],
  'RegionSet.overlapping': ['KIND_MISMATCH'],
  'RegionSet.gaps': ['KIND_MISMATCH'],
  'RegionSet.union': ['KIND_MISMATCH'],
  'RegionSet.intersect': ['KIND_MISMATCH'],
  'RegionSet.subtract': ['KIND_MISMATCH'],
  'RegionSet.difference': ['KIND_MISMATCH'],
  'RegionSet.equals': ['KIND_MISMATCH'],
  'RegionSet.toString': [],

  'RegionMap.constructor': ['INVALID_ARGUMENT', 'REGION_OVERLAP', 'EMPTY_REGION', 'KIND_MISMATCH'],
  'RegionMap.set': ['REGION_OVERLAP', 'EMPTY_REGION', 'KIND_MISMATCH'],
  'RegionMap.overlay': ['EMPTY_REGION', 'KIND_MISMATCH'],
  'RegionMap.delete': ['NO_SUCH_REGION', 'KIND_MISMATCH'],
  'RegionMap.get': [],
  'RegionMap.entryAt': [],
  'RegionMap.overlapping': ['KIND_MISMATCH'],
  'RegionMap.gaps': ['KIND_MISMATCH'],
  'RegionMap.findGap': ['KIND_MISMATCH'],
  'RegionMap.coalesced': ['INVALID_ARGUMENT'],

  walkRanges: ['INVALID_ARGUMENT', 'UNSORTED_REGIONS', 'KIND_MISMATCH'],
  unionRanges: ['INVALID_ARGUMENT', 'UNSORTED_REGIONS', 'KIND_MISMATCH'],
  intersectRanges: ['INVALID_ARGUMENT', 'UNSORTED_REGIONS', 'KIND_MISMATCH'],
  subtractRanges: ['INVALID_ARGUMENT', 'UNSORTED_REGIONS', 'KIND_MISMATCH'],
  differenceRanges: ['INVALID_ARGUMENT', 'UNSORTED_REGIONS', 'KIND_MISMATCH'],
  formatBounds: ['INVALID_ARGUMENT'],
  isRegionError: [],
} as const;

/** Refuses a table with a code that `RegionError` does not have. */
type Checked<Table extends Readonly<Record<string, readonly RegionErrorCode[]>>> = Table;
type Table = Checked<typeof ERRORS_OF>;
type CodeOf<Operation extends keyof Table> = Table[Operation][number];

/** The codes that making a region throws: the constructor, `fromAddresses`, `virtRegion`, `physRegion`. */
export type MakeRegionErrorCode = CodeOf<
  'MemoryRegion.constructor' | 'MemoryRegion.fromAddresses' | 'virtRegion' | 'physRegion'
>;

/**
 * The codes that comparing or combining two regions throws: `containsRegion`, `overlaps`, `contiguous`, `merge`, `hull`,
 * `intersect`, `subtract`.
 */
export type CombineRegionsErrorCode = CodeOf<
  | 'MemoryRegion.containsRegion'
  | 'MemoryRegion.overlaps'
  | 'MemoryRegion.contiguous'
  | 'MemoryRegion.merge'
  | 'MemoryRegion.hull'
  | 'MemoryRegion.intersect'
  | 'MemoryRegion.subtract'
>;

/** The codes that changing the bounds of a region throws: `splitAt`, `expand`, `alignOutward`. */
export type ResizeRegionErrorCode = CodeOf<
  'MemoryRegion.splitAt' | 'MemoryRegion.expand' | 'MemoryRegion.alignOutward' | 'MemoryRegion.alignInward'
>;

/** The codes that dividing a region into pages throws: `pageCount`, `iterPages`, `cursor`, `largestPages`, `pageRuns`. */
export type RegionPagesErrorCode = CodeOf<
  | 'MemoryRegion.pageCount'
  | 'MemoryRegion.iterPages'
  | 'MemoryRegion.cursor'
  | 'MemoryRegion.largestPages'
  | 'MemoryRegion.pageRuns'
>;

/** The codes that a page cursor throws: `goTo`, and the use of a cursor that is not on a page. */
export type PageCursorErrorCode = CodeOf<Extract<keyof Table, `PageCursor.${string}`> | 'pageAddress'>;

/** The codes that the methods of a `RegionSet` throw. */
export type RegionSetErrorCode = CodeOf<Extract<keyof Table, `RegionSet.${string}`>>;

/** The codes that the methods of a `RegionMap` throw. */
export type RegionMapErrorCode = CodeOf<Extract<keyof Table, `RegionMap.${string}`>>;

/**
 * The codes that reading two sorted lists throws: `walkRanges`, `unionRanges`, `intersectRanges`, `subtractRanges`,
 * `differenceRanges`.
 */
export type WalkRangesErrorCode = CodeOf<
  'walkRanges' | 'unionRanges' | 'intersectRanges' | 'subtractRanges' | 'differenceRanges'
>;
