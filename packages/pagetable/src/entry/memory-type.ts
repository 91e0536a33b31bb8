/** A memory type that an entry of PAT can hold. `UC-` is UC that an MTRR of type WC overrides. */
export type MemoryType = 'UC' | 'WC' | 'WT' | 'WP' | 'WB' | 'UC-';

/** A memory type that an MTRR can hold: every {@link MemoryType} but `UC-`. */
export type MtrrType = Exclude<MemoryType, 'UC-'>;

/**
 * The memory type of an access, after PAT and MTRR are combined. Two types exist on AMD processors alone, and neither PAT
 * nor an MTRR can hold them (AMD64 APM vol. 2, §7.4; P62):
 *
 * - `CD`: uncacheable as UC is, but accesses probe the caches, so they are coherent.
 * - `WC+`: write-combining as WC is, but accesses probe the caches.
 */
export type EffectiveMemoryType = MtrrType | 'CD' | 'WC+';

/**
 * The encoding of each memory type in PAT and in MTRRs (Intel SDM vol. 3A, tables 11-8 and 11-10; AMD64 APM vol. 2, tables
 * 7-6 and 7-9; P11). An MTRR cannot hold 7. The encodings 2, 3 and from 8 on are reserved.
 */
export const MemoryTypeCode = {
  /** Uncacheable, strongly ordered. */
  UC: 0,
  /** Write-combining: uncacheable, weakly ordered. */
  WC: 1,
  /** Write-through. */
  WT: 4,
  /** Write-protected: reads are cacheable, writes go to memory. */
  WP: 5,
  /** Write-back. */
  WB: 6,
  /** UC that an MTRR of type WC overrides. PAT alone can hold it. */
  'UC-': 7,
} as const;

/** The MTRR types from the most to the least restrictive (AMD64 APM vol. 2, §7.6.2, "Cache Control Precedence"). */
export const MTRR_TYPES: readonly MtrrType[] = ['UC', 'WC', 'WP', 'WT', 'WB'];

const BY_CODE: readonly (MemoryType | undefined)[] = [
  'UC',
  'WC',
  undefined,
  undefined,
  'WT',
  'WP',
  'WB',
  'UC-',
];

/** The type with this encoding, or `undefined` for a reserved encoding. */
export function memoryTypeOfCode(code: number): MemoryType | undefined {
  return BY_CODE[code];
}

/** The type with this encoding in an MTRR, or `undefined` for a reserved encoding. */
export function mtrrTypeOfCode(code: number): MtrrType | undefined {
  const type = BY_CODE[code];
  return type === 'UC-' ? undefined : type;
}

/** Whether `type` names a type that PAT can hold. */
export function isMemoryType(type: unknown): type is MemoryType {
  return BY_CODE.includes(type as MemoryType) && type !== undefined;
}

/** Whether `type` names a type that an MTRR can hold. */
export function isMtrrType(type: unknown): type is MtrrType {
  return type !== 'UC-' && isMemoryType(type);
}
