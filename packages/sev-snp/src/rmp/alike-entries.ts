import { PAGE_SIZE, PAGE_SIZE_2M } from '@svsm/address';
import { asidOfWord, gpaFrameOfWords, isHugeWord } from '../formats/rmp-entry.ts';

/** The number of entries of a 2 MiB region. */
export const PAGES_PER_REGION: number = PAGE_SIZE_2M / PAGE_SIZE;

/** The bits of the frame number in the first two words, and the number of frame numbers. */
const LOW_FIELDS = 0xfff;
const HIGH_FIELDS = ~0x7_ffff;
const FRAMES = 2 ** 39;

/** Entries of several pages that differ in their GPAs at most: the GPA of a guest's page is as far from its SPA everywhere. */
export interface AlikeEntries {
  /** The words without the bits of the GPA. */
  readonly low: number;
  readonly high: number;
  readonly masks: number;
  readonly upper: number;
  /** The frame number of the GPA: relative to the page with an ASID, else absolute. */
  readonly frame: number;
}

/** A 2 MiB region in which all entries but the first are alike, with the counts of their changes. */
export interface AlikeRegion {
  readonly first: AlikeEntries;
  readonly others: AlikeEntries;
  /** The counts of changes: of the first entry, of each other entry, and of the region. */
  readonly firstVersion: number;
  readonly otherVersion: number;
  readonly version: number;
}

const BLANK: AlikeEntries = /* @__PURE__ */ Object.freeze({ low: 0, high: 0, masks: 0, upper: 0, frame: 0 });

/** A region that nobody has changed. */
export const UNTOUCHED: AlikeRegion = /* @__PURE__ */ Object.freeze({
  first: BLANK,
  others: BLANK,
  firstVersion: 0,
  otherVersion: 0,
  version: 0,
});

/** The entry in the four words from `at` on, which is that of `page`. */
export function alikeOfWords(words: Uint32Array, at: number, page: number): AlikeEntries {
  const low = words[at]!;
  const high = words[at + 1]!;
  const frame = gpaFrameOfWords(low, high);
  return {
    low: low & LOW_FIELDS,
    high: high & HIGH_FIELDS,
    masks: words[at + 2]!,
    upper: words[at + 3]!,
    frame: asidOfWord(high) === 0 ? frame : (frame - page + FRAMES) % FRAMES,
  };
}

/** Writes the words of the entry of `page` from `at` on. */
export function writeAlike(
  { low, high, masks, upper, frame }: AlikeEntries,
  page: number,
  words: Uint32Array,
  at: number,
): void {
  const gpaFrame = asidOfWord(high) === 0 ? frame : (frame + page) % FRAMES;
  words[at] = low | (gpaFrame << 12);
  words[at + 1] = high | Math.floor(gpaFrame / 2 ** 20);
  words[at + 2] = masks;
  words[at + 3] = upper;
}

/** Whether entries are alike, apart from masks and the upper half of the second quadword. */
export function areSameState(left: AlikeEntries, right: AlikeEntries): boolean {
  return left.low === right.low && left.high === right.high && left.frame === right.frame;
}

/** Whether entries are alike. */
export function areAlike(left: AlikeEntries, right: AlikeEntries): boolean {
  return areSameState(left, right) && left.masks === right.masks && left.upper === right.upper;
}

/** Whether two regions have the same entries, relative to their addresses, and the same counts; or neither is alike. */
export function areAlikeRegions(left: AlikeRegion | undefined, right: AlikeRegion | undefined): boolean {
  if (left === right) return true;
  if (left === undefined || right === undefined) return false;
  return (
    areAlike(left.first, right.first) &&
    areAlike(left.others, right.others) &&
    left.firstVersion === right.firstVersion &&
    left.otherVersion === right.otherVersion &&
    left.version === right.version
  );
}

/** The region after a change of its first entry. With a 2 MiB page, that is a change of every page. */
export function withFirst(region: AlikeRegion, first: AlikeEntries): AlikeRegion {
  if (areSameState(region.first, first)) return { ...region, first };
  const isWhole = isHugeWord(region.first.low | first.low);
  return {
    first,
    others: region.others,
    firstVersion: region.firstVersion + 1,
    otherVersion: region.otherVersion + Number(isWhole),
    version: region.version + 1,
  };
}
