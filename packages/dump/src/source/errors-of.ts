import type { DumpErrorCode } from './dump-error.ts';

/** The codes of reading a dump: its file may become shorter or fail, and a compressed page may need a decoder that is missing. */
const READS = ['TRUNCATED_FILE', 'READ_FAILED', 'UNSUPPORTED_FORMAT'] as const;
const WALKS = ['INVALID_ARGUMENT', ...READS] as const;
const LISTINGS = [...WALKS, 'LISTING_TOO_LONG'] as const;
const OPENING = [...WALKS, 'INVALID_FILE', 'UNKNOWN_FORMAT', 'OUTSIDE_LIMITS'] as const;
const VIEWS = [...WALKS, 'NO_SUCH_CPU', 'NOT_LONG_MODE', 'NO_ROOT', 'NO_MEMORY', 'OUTSIDE_LIMITS'] as const;
const REGIONS = [...LISTINGS, 'NO_MEMORY', 'NOT_LINUX'] as const;
const RMPS = [...WALKS, 'NO_RMP', 'INVALID_FILE'] as const;

/**
 * The codes of `DumpError` that each operation can throw; a generator throws them at a step. A class stands for its constructor.
 * Operations without a row throw none. A source that the caller implements may throw other errors, which come out as they are.
 */
export const ERRORS_OF: Readonly<Record<string, readonly DumpErrorCode[]>> = {
  // Opening.
  bytesSource: ['INVALID_ARGUMENT'],
  blobSource: ['INVALID_ARGUMENT'],
  openDump: OPENING,
  openDumpFile: OPENING,
  openView: VIEWS,

  // Listings.
  listRuns: LISTINGS,
  listLeaves: LISTINGS,
  compareDumps: LISTINGS,
  summarize: LISTINGS,
  checkTables: LISTINGS,
  findAppearances: LISTINGS,
  searchMemory: [...LISTINGS, 'OUTSIDE_LIMITS'],
  translationOf: WALKS,
  listTranslations: WALKS,
  listWalks: WALKS,
  listContents: WALKS,
  linuxRegions: REGIONS,
  listRegions: REGIONS,
  findRoots: [...WALKS, 'OUTSIDE_LIMITS'],
  describeDump: [...WALKS, 'OUTSIDE_LIMITS'],

  // Below the page tables.
  openNested: [...WALKS, 'NO_MEMORY'],
  NestedPaging: [...WALKS, 'NO_MEMORY'],
  'NestedPaging.translate': WALKS,
  'NestedPaging.runs': [...READS, 'OUTSIDE_LIMITS'],
  openRmp: RMPS,
  openSavedRmp: RMPS,
  listRmp: WALKS,
  Backing: [...WALKS, 'OUTSIDE_LIMITS'],
  'Backing.of': WALKS,

  // Notices.
  'Notices.add': ['INVALID_ARGUMENT'],
  'Notices.quietly': ['INVALID_ARGUMENT'],
};
