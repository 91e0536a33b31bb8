import { PAGE_SIZE } from '@svsm/address';
import { refuseArgument } from '../source/arguments.ts';
import type { DumpView } from './dump-view.ts';
import { requireView } from './dump-view.ts';
import { dumpRecord } from './listing.ts';
import type { ContentRecord, DumpRecord, EndRecord, GapRecord } from './record.ts';
import { isFault, translationOf } from './translation.ts';

const SPACE_END = 2n ** 64n;
const PAGE = BigInt(PAGE_SIZE);

/**
 * The bytes at virtual addresses, in pieces of up to a page, and the gaps between them. It reads a page when its turn comes. O(1) for
 * each page.
 *
 * @param start - any 64-bit value
 * @param length - bytes; the end may be 2^64
 * @throws DumpError `INVALID_ARGUMENT` for a range that is not one of 64 bits, at the first step; {@link translationOf}
 */
export function* listContents(
  view: DumpView,
  start: bigint,
  length: bigint,
): Generator<DumpRecord | ContentRecord | GapRecord | EndRecord, undefined, undefined> {
  requireView('view', view);
  requireRange(start, length);
  yield dumpRecord(view);
  const end = start + length;
  let [bytes, faults] = [0n, 0];
  let gap: GapRecord | undefined;
  for (let at = start; at < end; ) {
    const next = at - (at % PAGE) + PAGE < end ? at - (at % PAGE) + PAGE : end;
    const piece = pieceOf(view, at, next);
    if (piece.type === 'gap') {
      const { obstacle } = piece;
      const isSame = gap?.obstacle === obstacle;
      if (gap !== undefined && !isSame) yield gap;
      if (obstacle !== 'not-in-dump' && isFault(obstacle)) faults += 1;
      const from = gap !== undefined && isSame ? gap.start : at;
      at = gapEnd(view, piece, end);
      gap = { type: 'gap', start: from, end: at, obstacle };
      continue;
    }
    if (gap !== undefined) yield gap;
    gap = undefined;
    bytes += next - at;
    yield piece;
    at = next;
  }
  if (gap !== undefined) yield gap;
  yield { type: 'end', what: 'bytes', count: Number(bytes), bytes, faults };
}

function requireRange(start: unknown, length: unknown): void {
  const expected = 'pass two bigints; the range ends at 2^64 at most';
  for (const [what, value] of [
    ['start', start],
    ['length', length],
  ] as const) {
    if (typeof value === 'bigint' && value >= 0n && value <= SPACE_END) continue;
    refuseArgument(what, value, expected);
  }
  if ((start as bigint) + (length as bigint) > SPACE_END) {
    refuseArgument('length', length, expected);
  }
}

/** The bytes from `at` to `next`, which are in one page. */
function pieceOf(
  view: DumpView,
  at: bigint,
  next: bigint,
): ContentRecord | (GapRecord & { level: number | null }) {
  const { paddr, obstacle, level } = translationOf(view, at);
  if (paddr === null) return { type: 'gap', start: at, end: next, obstacle: obstacle ?? 'not-mapped', level };
  const frame = new Uint8Array(PAGE_SIZE);
  if (!view.dump.readFrame(Number(paddr >> 12n), frame)) {
    return { type: 'gap', start: at, end: next, obstacle: 'not-in-dump', level: 0 };
  }
  const offset = Number(at % PAGE);
  return { type: 'content', vaddr: at, paddr, bytes: frame.subarray(offset, offset + Number(next - at)) };
}

/** The first address after a gap: an entry that is not present is one for all addresses below it. */
function gapEnd(
  view: DumpView,
  { start, end, level, obstacle }: GapRecord & { level: number | null },
  most: bigint,
): bigint {
  if (obstacle === 'not-canonical') return nextCanonical(start, view.config.levels, most);
  if (obstacle === 'not-in-dump' || level === null) return end;
  const span = PAGE << BigInt(9 * level);
  const after = start - (start % span) + span;
  return after < most ? after : most;
}

/** The first canonical address after one that is not. */
function nextCanonical(at: bigint, levels: 4 | 5, most: bigint): bigint {
  const upper = SPACE_END - (1n << (levels === 5 ? 56n : 47n));
  return at < upper && upper < most ? upper : most;
}
