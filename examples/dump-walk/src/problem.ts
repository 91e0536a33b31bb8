/** Wrong use: an option, a command or an address that is none. Its message is one line for who typed it. */
export class UsageError extends Error {}

/** A file that is not there, or is not what it should be. Its message is one line that says which and why. */
export class DumpError extends Error {}

/** How dump-walk ends. */
export const ExitCode = {
  Done: 0,
  /** Done, and the answer is no: the dumps differ, or an address is not mapped. */
  Negative: 1,
  Usage: 2,
  BadFile: 3,
  /** Done, but some of the page tables could not be read; each place was reported. */
  BadTables: 4,
  /** A mistake of dump-walk itself. */
  Bug: 70,
} as const;
