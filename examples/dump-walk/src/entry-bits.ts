import { PageSize } from '@svsm/address';
import { PteFlags } from '@svsm/pagetable';

/** What an entry is: which bits have which names follows from it. */
export interface EntryShape {
  readonly level: number;
  readonly leaf: boolean;
}

type NamedFlag = readonly [name: string, flag: number];

/** In every present entry (AMD64 APM vol. 2, §5.3.3, §5.4.1). */
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

/** Bits of the flags that no list above names: bit n of the entry, as `bit n`, for software or ignored. */
const LOW_OTHERS = [6, 8, 9, 10, 11];
const HIGH_OTHERS = [52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62];
const KEY_BITS = 59;
const LEVELS: Readonly<Record<PageSize, number>> = {
  [PageSize.Regular]: 0,
  [PageSize.Huge]: 1,
  [PageSize.Giant]: 2,
};
const MAX_REMEMBERED = 4096;

/** Every bit that has a name in such an entry, and whether `flags` (as {@link PteFlags}) has it. */
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

/** The names of the bits of leaves, remembered: among millions of pages there are few different flags. */
export class LeafBits {
  readonly #names: Map<number, readonly string[]> = new Map();

  /** The names of the bits in `flags` that are set, of a leaf that maps a page of `size`. */
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

/** The protection key of a leaf, bits 62:59 (APM vol. 2, §5.6.7); `null` where a table follows. */
export function protectionKey(flags: number, { leaf }: EntryShape): number | null {
  return leaf ? (flags & PteFlags.ProtectionKey) >>> 27 : null;
}

function namesOf({ level, leaf }: EntryShape): readonly NamedFlag[] {
  if (!leaf) return TABLE;
  return level === 0 ? PAGE : LARGE_PAGE;
}
