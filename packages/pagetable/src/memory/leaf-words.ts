import { ENTRIES } from '../entry/page-sizes.ts';

/**
 * Loops over entries of a leaf table, `words[start]` up to `words[stop]`, two words each. They are functions of integers
 * alone, so that an engine compiles each once, whoever calls it.
 */

/** A copy of a leaf table: an engine knows where this array is, and reads it twice as fast as one that it is given. */
const TABLE = new Uint32Array(2 * ENTRIES);

/** What {@link surveyWords} has found: the bits that all low words have, that all high words have, that any of those has. */
export const SURVEY: Int32Array = new Int32Array(3);

/** Reads all entries, for {@link SURVEY}. */
export function surveyWords(words: Uint32Array, start: number, stop: number): void {
  TABLE.set(words.subarray(start, stop));
  const count = (stop - start) | 0;
  if (count === TABLE.length) surveyTable();
  else surveyPart(count);
}

/** As {@link surveyPart}, of a whole table: where it ends is written in the code, so no index is checked. */
function surveyTable(): void {
  const first = TABLE[1]! | 0;
  let allLow = -1;
  let others = 0;
  for (let i = 0; i < 2 * ENTRIES; i += 2) {
    allLow &= TABLE[i]! | 0;
    others |= (TABLE[i + 1]! | 0) ^ first;
  }
  tell(allLow, first, others);
}

function surveyPart(count: number): void {
  const first = TABLE[1]! | 0;
  let allLow = -1;
  let others = 0;
  for (let i = 0; i < count; i += 2) {
    allLow &= TABLE[i]! | 0;
    others |= (TABLE[i + 1]! | 0) ^ first;
  }
  tell(allLow, first, others);
}

/** Of high words it is enough, and takes less, to know the first one, and in which bits any differs from it. */
function tell(allLow: number, first: number, others: number): void {
  SURVEY[0] = allLow;
  SURVEY[1] = first & ~others;
  SURVEY[2] = first | others;
}

/** The bits that any low word has. */
export function anyLowWord(words: Uint32Array, start: number, stop: number): number {
  let any = 0;
  for (let i = start; i < stop; i += 2) any |= words[i]! | 0;
  return any;
}

/** Keeps and sets bits of the high words. */
export function changeHighWords(
  words: Uint32Array,
  start: number,
  stop: number,
  keep: number,
  set: number,
): void {
  for (let i = start + 1; i < stop; i += 2) words[i] = ((words[i]! | 0) & keep) | set;
}

/** Keeps and sets bits of the low words. */
export function changeLowWords(
  words: Uint32Array,
  start: number,
  stop: number,
  keep: number,
  set: number,
): void {
  for (let i = start; i < stop; i += 2) words[i] = ((words[i]! | 0) & keep) | set;
}

/** Writes entries that lead to consecutive frames, the first one with `low` and `high`. */
export function fillWords(
  words: Uint32Array,
  start: number,
  stop: number,
  low: number,
  high: number,
  step: number,
): void {
  let next = low;
  for (let i = start; i < stop; i += 2) {
    words[i + 1] = high;
    words[i] = next;
    next = (next + step) | 0;
  }
}
