/** Wrong usage: an unknown option or command, or a wrong value. The message is one line for the user. */
export class UsageError extends Error {}

/** The exit codes of svsm-dump. */
export const ExitCode = {
  Done: 0,
  /** Success with a negative answer: the dumps differ, an address is not mapped, or nothing is mapped in a part. */
  Negative: 1,
  Usage: 2,
  BadFile: 3,
  /** Success, but some page tables cannot be read, or do not look like page tables. Each place was reported. */
  BadTables: 4,
  /** A bug in svsm-dump. */
  Bug: 70,
} as const;

/** The line for the user about an error: its message, without the code at its end. */
export function lineOf(error: Error): string {
  return error instanceof UsageError ? error.message : error.message.replace(/ \[[A-Z_]+\]$/, '');
}
