import { PAGE_SIZE } from '@svsm/address';
import type { Segment } from './segments.ts';

/** A range of memory that is in a file from `offset` on. */
interface Run {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
}

/** The lowest start of a PC's firmware. The RAM below 4 GiB ends below this address. */
const FIRMWARE = 0xff00_0000;
const FOUR_GIB = 2 ** 32;

/**
 * Finds the memory that `dump-guest-memory -p` has written but that no segment describes. QEMU writes every block of memory as
 * a whole, in ascending order, but makes segments only for mapped memory. In user mode under page-table isolation, the page
 * tables themselves are not mapped.
 *
 * If two segments have the same distance between address and place in the file, all memory between them is in the file. If the
 * distance changes, one block ends between them and the next begins, at an unknown place. Then each side extends as far as is
 * certain or, across 4 GiB, according to the layout of a PC.
 *
 * @param listed - the ranges of the segments: disjoint, ascending
 * @param first - the place in the file of the memory at address 0
 * @returns `listed` and the memory that was found, or only `listed` if the file has another layout
 */
export function withUnlistedMemory(listed: readonly Run[], first: number, fileSize: number): Segment[] {
  const runs = [{ start: 0, end: 0, offset: first }, ...listed];
  const found: Run[] = [];
  for (const [i, left] of runs.entries()) {
    found.push(left);
    const from = left.end - left.start + left.offset;
    const right = runs[i + 1];
    if (right === undefined) {
      // The names of sections follow the last page: a few bytes.
      const rest = Math.floor(Math.max(0, fileSize - from) / PAGE_SIZE) * PAGE_SIZE;
      found.push({ start: left.end, end: left.end + rest, offset: from });
      break;
    }
    const bytes = right.offset - from;
    const hole = right.start - left.end - bytes;
    // The segments are not ascending, or there are more bytes than addresses: this is another layout.
    if (bytes < 0 || hole < 0) return listed.map(segmentOf);
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
