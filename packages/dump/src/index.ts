/**
 * Memory dumps of x86-64 machines: their formats, their memory, and the page tables in it. It reads bytes through a `Source`, and
 * uses no API of a platform.
 *
 * @packageDocumentation
 */

export type { Backing, BackingFacts, Mismatch, NestedFacts, RmpFacts } from './backing/backing.ts';
export { type NestedDump, openNested } from './backing/nested-dump.ts';
export type { NestedOptions, NestedPaging } from './backing/nested-paging.ts';
export { openRmp, openSavedRmp, type RmpPlace, type RmpTable } from './backing/rmp-table.ts';
export type { Codecs, Decoder } from './formats/codecs.ts';
export type { Dump, DumpCpu, KernelFacts } from './formats/dump.ts';
export { type OpenDumpOptions, openDump, type RamRange } from './formats/open-dump.ts';
export type { MemoryRange } from './formats/segments.ts';
export { type BlobLike, type BlobReader, blobSource } from './source/blob-source.ts';
export { bytesSource } from './source/bytes-source.ts';
export { DumpError, type DumpErrorCode, type DumpErrorDetails, isDumpError } from './source/dump-error.ts';
export type { Notice, Notices } from './source/notices.ts';
export type { OnProgress } from './source/on-progress.ts';
export type { Source } from './source/source.ts';
export { type FindOptions, findAppearances } from './view/appearances.ts';
export { checkTables } from './view/check.ts';
export { compareDumps } from './view/comparison.ts';
export { listContents } from './view/contents.ts';
export type { DumpView } from './view/dump-view.ts';
export { describeDump } from './view/inventory.ts';
export type { LayoutRegion, RegionName } from './view/linux-layout.ts';
export { listLeaves, listRuns } from './view/listing.ts';
export type { DumpListingOptions } from './view/listing-options.ts';
export type { MappingFilter } from './view/mapping-filter.ts';
export type {
  AppearanceRecord,
  ChangeRecord,
  ChangeSide,
  ContentRecord,
  CpuRecord,
  DumpRecord,
  EndRecord,
  FaultRecord,
  FileRecord,
  Finding,
  FindingRecord,
  GapRecord,
  LeafRecord,
  MatchRecord,
  MemoryRecord,
  Obstacle,
  PageFacts,
  RegionRecord,
  ReportRecord,
  RmpRecord,
  RootRecord,
  RunRecord,
  StepRecord,
  SummaryRecord,
  SummaryRow,
  SummaryWarning,
  TranslationRecord,
  WalkRecord,
  WarningRecord,
} from './view/record.ts';
export { linuxRegions, listRegions } from './view/regions.ts';
export { listRmp, type RmpListingOptions } from './view/rmp-listing.ts';
export { findRoots, type RootSearchOptions } from './view/root-search.ts';
export { searchMemory } from './view/search.ts';
export { summarize } from './view/summary.ts';
export { listTranslations, translationOf } from './view/translation.ts';
export { openView, type ViewOptions } from './view/view.ts';
export { listWalks } from './view/walks.ts';
