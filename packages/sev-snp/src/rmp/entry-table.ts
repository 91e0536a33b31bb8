import { asidOfWord, encodeWords, isHugeWord, RMP_ENTRY_WORDS, type RmpEntry } from '../formats/rmp-entry.ts';
import { RunMap } from '../memory/run-map.ts';
import {
  type AlikeRegion,
  alikeOfWords,
  areAlike,
  areAlikeRegions,
  areSameState,
  PAGES_PER_REGION,
  UNTOUCHED,
  withFirst,
  writeAlike,
} from './alike-entries.ts';

/** An ASID has 10 bits. */
const ASID_COUNT = 1 << 10;
/** The places of a region's own counts, after the counts of its pages. */
const WHOLE = PAGES_PER_REGION;
const ANY = PAGES_PER_REGION + 1;

/** Scratch: the words of one entry. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);

/** The words and counts of a region whose entries are not alike. */
interface OwnRegion {
  /** The raw entries. */
  readonly words: Uint32Array;
  /** Counts of changes: of the entry of each page, then of the region as one page, then of any entry. */
  readonly versions: Uint32Array;
}

/**
 * The entries of an RMP by page number, with their versions and the counts of their ASIDs. Regions of 2 MiB in which all
 * entries but the first are alike are kept as runs of equal regions; the others have words of their own.
 */
export class EntryTable {
  /** The regions whose entries are alike, by region number; `undefined` for a region with words of its own. */
  readonly #alike: RunMap<AlikeRegion | undefined> = new RunMap<AlikeRegion | undefined>(
    UNTOUCHED,
    areAlikeRegions,
  );
  readonly #own: Map<number, OwnRegion> = new Map();
  /** The number of changes of entries, except to masks only. */
  #changes = 0;
  /** The number of entries of each ASID. */
  readonly #asids: Float64Array = new Float64Array(ASID_COUNT);

  /** A count that grows with every change of a {@link version}. */
  get changes(): number {
    return this.#changes;
  }

  /** Whether no entry of the region around a page was ever changed. */
  isUntouched(page: number): boolean {
    return this.#alike.get(regionOf(page)) === UNTOUCHED;
  }

  /** Writes the words of the page's own 16 bytes. */
  read(page: number, into: Uint32Array): void {
    const region = this.#alike.get(regionOf(page));
    const index = page % PAGES_PER_REGION;
    if (region !== undefined) {
      writeAlike(index === 0 ? region.first : region.others, page, into, 0);
      return;
    }
    const { words } = this.#own.get(regionOf(page)) as OwnRegion;
    for (let k = 0; k < RMP_ENTRY_WORDS; k += 1) into[k] = words[RMP_ENTRY_WORDS * index + k]!;
  }

  /** Writes the words of the entry that decides for a page: of its 2 MiB page if it is part of one, else its own. */
  readDeciding(page: number, into: Uint32Array): void {
    const region = this.#alike.get(regionOf(page));
    if (region === undefined) {
      const { words } = this.#own.get(regionOf(page)) as OwnRegion;
      const at = isHugeWord(words[0]!) ? 0 : RMP_ENTRY_WORDS * (page % PAGES_PER_REGION);
      for (let k = 0; k < RMP_ENTRY_WORDS; k += 1) into[k] = words[at + k]!;
      return;
    }
    const index = page % PAGES_PER_REGION;
    if (isHugeWord(region.first.low)) writeAlike(region.first, page - index, into, 0);
    else writeAlike(index === 0 ? region.first : region.others, page, into, 0);
  }

  /**
   * Whether `is` holds for the first word of an entry of the region around a page, from the entry with index `from` on.
   */
  hasWord(page: number, from: number, is: (word: number) => boolean): boolean {
    const number = regionOf(page);
    const region = this.#alike.get(number);
    if (region !== undefined) return (from === 0 && is(region.first.low)) || is(region.others.low);
    const { words } = this.#own.get(number) as OwnRegion;
    for (let at = from * RMP_ENTRY_WORDS; at < words.length; at += RMP_ENTRY_WORDS)
      if (is(words[at]!)) return true;
    return false;
  }

  /** The number of entries with an ASID that is not 0. */
  countOf(asid: number): number {
    return this.#asids[asid] ?? 0;
  }

  /** The version of a page or, with `huge`, of the region around it. */
  version(page: number, huge: boolean): number {
    const region = this.#alike.get(regionOf(page));
    const index = page % PAGES_PER_REGION;
    if (region !== undefined) {
      if (huge) return region.version;
      return index === 0 ? region.firstVersion : region.otherVersion;
    }
    const { versions } = this.#own.get(regionOf(page)) as OwnRegion;
    if (huge) return versions[ANY]!;
    // Both counts only grow, so the sum is equal only if both are.
    return versions[index]! + versions[WHOLE]!;
  }

  /** Replaces the page's own entry. */
  set(page: number, entry: RmpEntry): void {
    encodeWords(entry, ENTRY, 0);
    this.setWords(page, ENTRY);
  }

  /** As {@link set}, by the words of the entry. */
  setWords(page: number, entry: Uint32Array): void {
    const number = regionOf(page);
    const index = page % PAGES_PER_REGION;
    const alike = this.#alike.get(number);
    if (alike !== undefined && index === 0) {
      const first = alikeOfWords(entry, 0, page);
      this.#countAsid(alike.first.high, -1);
      this.#countAsid(first.high, 1);
      this.#changes += 1;
      this.#alike.set(number, number + 1, withFirst(alike, first));
      return;
    }
    const { words, versions } =
      alike === undefined ? (this.#own.get(number) as OwnRegion) : this.#separated(number, alike);
    const at = RMP_ENTRY_WORDS * index;
    const low = words[at]!;
    const high = words[at + 1]!;
    for (let k = 0; k < RMP_ENTRY_WORDS; k += 1) words[at + k] = entry[k]!;
    this.#countAsid(high, -1);
    this.#countAsid(words[at + 1]!, 1);
    if (words[at] === low && words[at + 1] === high) return;
    this.#changes += 1;
    versions[index]! += 1;
    versions[ANY]! += 1;
    if (index === 0 && isHugeWord(low | words[at]!)) versions[WHOLE]! += 1;
  }

  /** Replaces the entries of the region that begins at a page by words: of the first one, and of 511 equal ones. */
  setRegion(page: number, entry: Uint32Array, others: Uint32Array): void {
    if (asidOfWord(others[1]!) !== 0) {
      for (let k = 1; k < PAGES_PER_REGION; k += 1) this.setWords(page + k, others);
      this.setWords(page, entry);
      return;
    }
    const number = regionOf(page);
    const old = this.#alike.get(number) ?? this.#madeAlike(number);
    // Without an ASID, no page matters.
    const rest = alikeOfWords(others, 0, page);
    const isOther = !areSameState(old.others, rest);
    const next = withFirst(old, alikeOfWords(entry, 0, page));
    const isCounted = isOther && next.otherVersion === old.otherVersion;
    this.#changes += 1;
    this.#count(old, -1);
    this.#setAlike(number, {
      first: next.first,
      others: rest,
      firstVersion: next.firstVersion,
      otherVersion: next.otherVersion + Number(isCounted),
      version: next.version + Number(isCounted),
    });
  }

  /** The end of the regions that equal a region, relative to their addresses. */
  endOfEqual(region: number): number {
    return this.#alike.get(region) === undefined ? region + 1 : this.#alike.endOf(region);
  }

  /**
   * Makes the regions up to `end` equal to a region if its entries are alike. They were equal before it was changed. Returns
   * the first region after those that equal it.
   */
  spread(region: number, end: number): number {
    if (end === region + 1) return end;
    const before = this.#alike.get(end - 1) as AlikeRegion;
    const after = this.#compacted(region);
    if (after === undefined) return region + 1;
    this.#changes += 1;
    this.#count(before, region + 1 - end);
    this.#count(after, end - region - 1);
    this.#alike.set(region, end, after);
    return end;
  }

  /** The region as one of alike entries, if they are. Its own words are gone then: the caller keeps the answer. */
  #compacted(number: number): AlikeRegion | undefined {
    const alike = this.#alike.get(number);
    if (alike !== undefined) return alike;
    const { words, versions } = this.#own.get(number) as OwnRegion;
    const page = number * PAGES_PER_REGION;
    const others = alikeOfWords(words, RMP_ENTRY_WORDS, page + 1);
    for (let k = 2; k < PAGES_PER_REGION; k += 1) {
      const isAlike = areAlike(alikeOfWords(words, RMP_ENTRY_WORDS * k, page + k), others);
      if (!isAlike || versions[k] !== versions[1]) return undefined;
    }
    const made = {
      first: alikeOfWords(words, 0, page),
      others,
      firstVersion: versions[0]! + versions[WHOLE]!,
      otherVersion: versions[1]! + versions[WHOLE]!,
      version: versions[ANY]!,
    };
    this.#own.delete(number);
    return made;
  }

  /** A region of alike entries in place of one with words of its own. All its entries count as changed. */
  #madeAlike(number: number): AlikeRegion {
    const { words, versions } = this.#own.get(number) as OwnRegion;
    const version = Math.max(...versions.subarray(0, WHOLE)) + versions[WHOLE]! + 1;
    for (let at = 0; at < words.length; at += RMP_ENTRY_WORDS) this.#countAsid(words[at + 1]!, -1);
    this.#own.delete(number);
    return { ...UNTOUCHED, firstVersion: version, otherVersion: version, version: versions[ANY]! + 1 };
  }

  /** The words of a region that gets an entry unlike the others. */
  #separated(number: number, region: AlikeRegion): OwnRegion {
    const words = new Uint32Array(PAGES_PER_REGION * RMP_ENTRY_WORDS);
    const page = number * PAGES_PER_REGION;
    writeAlike(region.first, page, words, 0);
    for (let k = 1; k < PAGES_PER_REGION; k += 1)
      writeAlike(region.others, page + k, words, RMP_ENTRY_WORDS * k);
    const versions = new Uint32Array(PAGES_PER_REGION + 2).fill(region.otherVersion);
    versions[0] = region.firstVersion;
    versions[WHOLE] = 0;
    versions[ANY] = region.version;
    const own = { words, versions };
    this.#own.set(number, own);
    this.#alike.set(number, number + 1, undefined);
    return own;
  }

  #setAlike(number: number, region: AlikeRegion): void {
    this.#count(region, 1);
    this.#alike.set(number, number + 1, region);
  }

  /** Adds `times` regions to the counts of ASIDs. */
  #count({ first, others }: AlikeRegion, times: number): void {
    this.#countAsid(first.high, times);
    this.#countAsid(others.high, times * (PAGES_PER_REGION - 1));
  }

  #countAsid(high: number, times: number): void {
    const asid = asidOfWord(high);
    if (asid !== 0) this.#asids[asid]! += times;
  }
}

/** The number of the 2 MiB region around a page. */
export function regionOf(page: number): number {
  return Math.floor(page / PAGES_PER_REGION);
}
