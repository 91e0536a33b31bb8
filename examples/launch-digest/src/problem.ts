/** The command line is wrong. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A file cannot be read. */
export class FileError extends Error {
  override name = 'FileError';
}

export const ExitCode = {
  Done: 0,
  /** The digest is not that of the file's ID block. */
  Mismatch: 1,
  Usage: 2,
  BadFile: 3,
  /** A bug in launch-digest. */
  Bug: 70,
} as const;
