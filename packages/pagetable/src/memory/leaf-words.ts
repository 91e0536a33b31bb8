import { ENTRIES } from '../entry/page-sizes.ts';

/*
 * Loops over entries of a leaf table, from `words[start]` up to `words[stop]`, two words each. Their arguments are an
 * array and integers, so an engine compiles each loop once for all callers.
 */

/** The number of words in a table. */
export const TABLE_WORDS: number = 2 * ENTRIES;

/** A copy of a leaf table. Engines know the address of a constant array, and read it twice as fast as a parameter. */
const TABLE = new Uint32Array(TABLE_WORDS);

/** The result of {@link surveyWords}: the AND over all low words, the AND over all high words, the OR over all high words. */
export const SURVEY: Int32Array = new Int32Array(3);

/** Reads all entries, and puts the result into {@link SURVEY}. */
export function surveyWords(words: Uint32Array, start: number, stop: number): void {
  TABLE.set(words.subarray(start, stop));
  const count = (stop - start) | 0;
  if (count === TABLE.length) surveyTable();
  else surveyPart(count);
}

/** As {@link surveyPart}, for a whole table. Its end is a constant, so engines need not check each index. */
function surveyTable(): void {
  const first = TABLE[1]! | 0;
  let allLow = -1;
  let others = 0;
  for (let i = 0; i < TABLE_WORDS; i += 2) {
    allLow &= TABLE[i]! | 0;
    others |= (TABLE[i + 1]! | 0) ^ first;
  }
  report(allLow, first, others);
}

/** Surveys the first `count` words of {@link TABLE}. */
function surveyPart(count: number): void {
  const first = TABLE[1]! | 0;
  let allLow = -1;
  let others = 0;
  for (let i = 0; i < count; i += 2) {
    allLow &= TABLE[i]! | 0;
    others |= (TABLE[i + 1]! | 0) ^ first;
  }
  report(allLow, first, others);
}

/** Fills {@link SURVEY}. AND and OR of the high words follow from the first one and the bits in which any other differs. */
function report(allLow: number, first: number, others: number): void {
  SURVEY[0] = allLow;
  SURVEY[1] = first & ~others;
  SURVEY[2] = first | others;
}

/** The OR over all low words. */
export function anyLowWord(words: Uint32Array, start: number, stop: number): number {
  let any = 0;
  for (let i = start; i < stop; i += 2) any |= words[i]! | 0;
  return any;
}

/** Clears all bits of the high words except those of `keep`, then sets those of `set`. */
export function changeHighWords(
  words: Uint32Array,
  start: number,
  stop: number,
  keep: number,
  set: number,
): void {
  for (let i = start + 1; i < stop; i += 2) words[i] = ((words[i]! | 0) & keep) | set;
}

/** Clears all bits of the low words except those of `keep`, then sets those of `set`. */
export function changeLowWords(
  words: Uint32Array,
  start: number,
  stop: number,
  keep: number,
  set: number,
): void {
  for (let i = start; i < stop; i += 2) words[i] = ((words[i]! | 0) & keep) | set;
}

/** Writes entries: `low` and `high` in the first, and in each next one a low word that is larger by `step`. */
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

/**
 * As {@link fillWords}, for a whole table that begins at `words[start]`, through the array that engines know. No entry may lead to the
 * table yet: a copy need not write the word with the present bit last.
 */
export function fillTable(words: Uint32Array, start: number, low: number, high: number, step: number): void {
  const stop = (start + TABLE_WORDS) | 0;
  // The array of a memory that breaks its rules can be too short for a copy.
  if (stop > words.length) {
    fillWords(words, start, stop, low, high, step);
    return;
  }
  let next = low;
  for (let i = 0; i < TABLE_WORDS; i += 2) {
    TABLE[i] = next;
    TABLE[i + 1] = high;
    next = (next + step) | 0;
  }
  words.set(TABLE, start);
}
