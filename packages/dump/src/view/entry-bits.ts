import { PageSize } from '@svsm/address';
import { PteFlags } from '@svsm/pagetable';

/** The kind of an entry, which determines the names of its bits. */
export interface EntryShape {
  readonly level: number;
  readonly leaf: boolean;
}

type NamedFlag = readonly [name: string, flag: number];

/** The bits of every present entry (AMD64 APM vol. 2, §5.3.3, §5.4.1). */
const COMMON: readonly NamedFlag[] = [
  ['P', PteFlags.Present],
  ['RW', PteFlags.Writable],
  ['US', PteFlags.User],
  ['PWT', PteFlags.WriteThrough],
  ['PCD', PteFlags.CacheDisable],
  ['A', PteFlags.Accessed],
];
const NX: NamedFlag = ['NX', PteFlags.NoExecute];
const PAGE: readonly NamedFlag[] = [
  ...COMMON,
  ['D', PteFlags.Dirty],
  ['PAT', PteFlags.Pat],
  ['G', PteFlags.Global],
  NX,
];
const LARGE_PAGE: readonly NamedFlag[] = [
  ...COMMON,
  ['D', PteFlags.Dirty],
  ['PS', PteFlags.Large],
  ['G', PteFlags.Global],
  ['PAT', PteFlags.PatLarge],
  NX,
];
const TABLE: readonly NamedFlag[] = [...COMMON, ['PS', PteFlags.Large], NX];

/** The bits of an entry that no list above names. They are for software or ignored, and called `bit6`, `bit52` and so on. */
const LOW_OTHERS = [6, 8, 9, 10, 11];
const HIGH_OTHERS = [52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62];
const KEY_BITS = 59;
const LEVELS: Readonly<Record<PageSize, number>> = {
  [PageSize.Regular]: 0,
  [PageSize.Huge]: 1,
  [PageSize.Giant]: 2,
};
const MAX_REMEMBERED = 4096;

/** Every bit that has a name in such an entry, and whether it is set in `flags` (as {@link PteFlags}). */
export function namedBits(flags: number, shape: EntryShape): Record<string, boolean> {
  const names = namesOf(shape);
  const bits: Record<string, boolean> = {};
  for (const [name, flag] of names) bits[name] = (flags & flag) !== 0;
  const known = names.reduce((mask, [, flag]) => mask | flag, 0);
  for (const bit of LOW_OTHERS)
    if ((known & (1 << bit)) === 0) bits[`bit${bit}`] = (flags & (1 << bit)) !== 0;
  for (const bit of HIGH_OTHERS) {
    if (!shape.leaf || bit < KEY_BITS) bits[`bit${bit}`] = (flags & (1 << (bit - 32))) !== 0;
  }
  return bits;
}

/** The names of the bits that are set. */
export function setBits(flags: number, shape: EntryShape): string[] {
  const names = Object.entries(namedBits(flags, shape)).flatMap(([name, isSet]) => (isSet ? [name] : []));
  const key = protectionKey(flags, shape);
  return key === null || key === 0 ? names : [...names, `key${key}`];
}

/** Caches the names of the bits of leaves: millions of pages have few different flags. */
export class LeafBits {
  readonly #names: Map<number, readonly string[]> = new Map();

  /** The names of the bits that are set in `flags`, for a leaf that maps a page of `size`. */
  of(flags: number, size: PageSize): readonly string[] {
    const level = LEVELS[size];
    const key = flags * 4 + level;
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    if (this.#names.size >= MAX_REMEMBERED) this.#names.clear();
    const names = setBits(flags, { level, leaf: true });
    this.#names.set(key, names);
    return names;
  }
}

/** The protection key of a leaf, bits 62:59 (APM vol. 2, §5.6.7); `null` for an entry that points to a table. */
export function protectionKey(flags: number, { leaf }: EntryShape): number | null {
  return leaf ? (flags & PteFlags.ProtectionKey) >>> 27 : null;
}

function namesOf({ level, leaf }: EntryShape): readonly NamedFlag[] {
  if (!leaf) return TABLE;
  return level === 0 ? PAGE : LARGE_PAGE;
}
