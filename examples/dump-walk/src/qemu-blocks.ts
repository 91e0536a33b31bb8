import { PAGE_SIZE } from '@svsm/address';
import type { Segment } from './segments.ts';

/** A stretch of memory that a file holds from `offset` on. */
interface Run {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
}

/** Where a PC's firmware begins at the earliest: its memory below 4 GiB has ended by there. */
const FIRMWARE = 0xff00_0000;
const FOUR_GIB = 2 ** 32;

/**
 * The memory that `dump-guest-memory -p` has written but does not tell of. It writes every block of memory whole and one
 * after another, ascending, but makes segments of what is mapped alone: in user mode under page-table isolation, the page
 * tables themselves are not.
 *
 * What lies between two segments with one distance between address and place in the file is all there. Where the distance
 * changes, a block ends and the next one begins, at a place that is not told: each side is taken as far as it can be
 * without doubt, or, across 4 GiB, as a PC is laid out.
 *
 * @param told - what segments say: disjoint, ascending
 * @param first - where in the file memory begins: that at address 0
 * @returns `told` and the rest, or `told` alone if the file is not laid out like that
 */
export function withUntoldMemory(told: readonly Run[], first: number, fileSize: number): Segment[] {
  const runs = [{ start: 0, end: 0, offset: first }, ...told];
  const found: Run[] = [];
  for (const [i, left] of runs.entries()) {
    found.push(left);
    const from = left.end - left.start + left.offset;
    const right = runs[i + 1];
    if (right === undefined) {
      // After the last page there are names of sections, of a few bytes.
      const rest = Math.floor(Math.max(0, fileSize - from) / PAGE_SIZE) * PAGE_SIZE;
      found.push({ start: left.end, end: left.end + rest, offset: from });
      break;
    }
    const bytes = right.offset - from;
    const hole = right.start - left.end - bytes;
    // Not ascending, or more bytes than addresses: someone else's layout.
    if (bytes < 0 || hole < 0) return told.map(segmentOf);
    const across = left.end < FIRMWARE && right.start >= FOUR_GIB;
    const sure = hole === 0 ? bytes : Math.min(bytes, hole);
    const after = across ? Math.min(bytes, FIRMWARE - left.end) : sure;
    const before = hole === 0 ? 0 : across ? Math.min(bytes, right.start - FIRMWARE) : sure;
    found.push({ start: left.end, end: left.end + after, offset: from });
    found.push({ start: right.start - before, end: right.start, offset: right.offset - before });
  }
  return found.map(segmentOf);
}

function segmentOf({ start, end, offset }: Run): Segment {
  const name = `memory from 0x${start.toString(16)} on`;
  return { paddr: start, size: end - start, offset, name };
}
