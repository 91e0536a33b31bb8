/**
 * Dumps in files, for Node: opened by their path, read by position, unpacked if they are compressed or a pipe.
 *
 * @packageDocumentation
 */

export { type OpenDumpFileOptions, openDumpFile } from './open-dump-file.ts';
