import type { Dump } from '../formats/dump.ts';
import type { ReadFrame } from '../formats/table-look.ts';

/** Reads frames of a dump only to guess: the notices meanwhile do not count. */
export function readerOf(dump: Dump): ReadFrame {
  const { notices } = dump;
  if (notices === undefined) return (frame, bytes) => dump.readFrame(frame, bytes);
  return (frame, bytes) => notices.quietly(() => dump.readFrame(frame, bytes));
}
