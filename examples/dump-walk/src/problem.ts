/** Wrong usage: an unknown option or command, or a wrong value. The message is one line for the user. */
export class UsageError extends Error {}

/** A file is missing or has a wrong format. The message is one line that names the file and the reason. */
export class DumpError extends Error {}

/** The exit codes of dump-walk. */
export const ExitCode = {
  Done: 0,
  /** Success with a negative answer: the dumps differ, an address is not mapped, or nothing is mapped in a part. */
  Negative: 1,
  Usage: 2,
  BadFile: 3,
  /** Success, but some page tables cannot be read, or do not look like page tables. Each place was reported. */
  BadTables: 4,
  /** A bug in dump-walk. */
  Bug: 70,
} as const;
