import { PageSize, type PhysAddr } from '@svsm/address';
import { invalidState } from './invalid-state.ts';
import { MTRR_TYPES, type MtrrType } from './memory-type.ts';
import { FIXED_END, type FixedRange, type Mtrrs, requireMtrrs, TOP_MEM2_START } from './mtrr.ts';
import { PageTableError } from './page-table-error.ts';

/**
 * The answer of the MTRRs for a page.
 *
 * - `conflict`: variable ranges of different types cover the memory, and the manuals leave the result undefined.
 * - `mixed`: parts of the page have different types.
 */
export type MtrrVerdict = MtrrType | 'conflict' | 'mixed';

/** Where reads and writes of an address go. Frozen; made by {@link accessTarget}. */
export interface AccessTarget {
  readonly reads: 'memory' | 'io';
  readonly writes: 'memory' | 'io';
  /** Whether AMD's manual defines the combination with the address's MTRR type. */
  readonly isDefined: boolean;
}

/**
 * The type that the MTRRs give the page of `size` bytes that holds `paddr`. The first rule that applies decides (Intel SDM
 * vol. 3A, §11.11.4.1; AMD64 APM vol. 2, §7.7.2 to §7.7.4; P63, P64):
 *
 * 1. With the MTRRs disabled, UC.
 * 2. Below 1 MiB with the fixed ranges enabled, the type of the fixed range.
 * 3. The type of the variable ranges that cover the address: UC wins, and WT wins over WB. Other combinations of different
 *    types are a `conflict`.
 * 4. On AMD with Tom2ForceMemTypeWB, WB from 4 GiB to TOP_MEM2 (APM §3.2.1; P70).
 * 5. The default type.
 *
 * A page with parts of different types is `mixed` (SDM §11.11.9; P66). Cost: O(ranges) for 4 KiB. For a larger page also
 * O(log(size)) per range; a mask that selects scattered pages costs up to one step per 4 KiB.
 *
 * @param paddr - a physical address, aligned or not
 * @param size - the page size in bytes; 4 KiB if not given
 * @throws PageTableError `INVALID_CPU_STATE`; `OUTSIDE_PHYSICAL_RANGE`, `INVALID_PAGE_SIZE`
 */
export function mtrrType(mtrrs: Mtrrs, paddr: PhysAddr, size: PageSize = PageSize.Regular): MtrrVerdict {
  requireMtrrs(mtrrs);
  const types = typesWithin(mtrrs, paddr, size);
  return types.length === 1 ? types[0]! : 'mixed';
}

/**
 * Where accesses to `paddr` go on an AMD processor: below 1 MiB as RdMem and WrMem of the fixed range say; from there to
 * 4 GiB to memory below TOP_MEM; from 4 GiB on to memory below TOP_MEM2; else to I/O. What SYSCFG disables counts as I/O
 * (AMD64 APM vol. 2, §7.9.1, §7.9.4; P69, P70). I/O range registers are not modelled. O(ranges).
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`; `INVALID_CPU_STATE` for the MTRRs of an Intel processor
 */
export function accessTarget(mtrrs: Mtrrs, paddr: PhysAddr): AccessTarget {
  requireMtrrs(mtrrs);
  if (mtrrs.vendor !== 'amd') {
    throw invalidState('vendor', mtrrs.vendor, 'access targets exist on AMD processors alone');
  }
  const [type] = typesWithin(mtrrs, paddr, PageSize.Regular);
  const reads = isMemory(mtrrs, paddr, 'readsMemory');
  const writes = isMemory(mtrrs, paddr, 'writesMemory');
  return Object.freeze({
    reads: reads ? 'memory' : 'io',
    writes: writes ? 'memory' : 'io',
    isDefined: isDefinedTarget(reads, writes, type!),
  });
}

/**
 * The different types on a page, from the most to the least restrictive; `conflict` comes last.
 *
 * @throws PageTableError `OUTSIDE_PHYSICAL_RANGE`, `INVALID_PAGE_SIZE`
 */
export function typesWithin(
  mtrrs: Mtrrs,
  paddr: PhysAddr,
  size: PageSize,
): readonly (MtrrType | 'conflict')[] {
  if (size !== PageSize.Regular && size !== PageSize.Huge && size !== PageSize.Giant) {
    throw new PageTableError('INVALID_PAGE_SIZE', { pageSize: size, giantPages: true });
  }
  const { end } = mtrrs;
  if (typeof paddr !== 'bigint' || paddr < 0n || paddr >= end) {
    throw new PageTableError('OUTSIDE_PHYSICAL_RANGE', { paddr, end });
  }
  const found = new Set<MtrrType | 'conflict'>();
  collect(mtrrs, paddr & -BigInt(size), BigInt(size), found);
  return [...MTRR_TYPES, 'conflict' as const].filter((type) => found.has(type));
}

/** The type of the 4 KiB page that holds `paddr`. */
export function typeAt(mtrrs: Mtrrs, paddr: bigint): MtrrType | 'conflict' {
  if (!mtrrs.enabled) return 'UC';
  if (mtrrs.fixedEnabled && paddr < FIXED_END) return fixedRangeAt(mtrrs, paddr).type;
  let type: MtrrType | 'conflict' | undefined;
  for (const range of mtrrs.variable) {
    if (((paddr ^ range.base) & range.mask) === 0n) type = overlap(type, range.type);
  }
  if (type !== undefined) return type;
  const isForced = mtrrs.forcesWriteBack && paddr >= TOP_MEM2_START && paddr < (mtrrs.topMem2 ?? 0n);
  return isForced ? 'WB' : mtrrs.defaultType;
}

/** The type of memory that a range of type `next` covers too. UC wins even over types that conflict. */
function overlap(type: MtrrType | 'conflict' | undefined, next: MtrrType): MtrrType | 'conflict' {
  if (type === undefined || type === next) return next;
  if (type === 'UC' || next === 'UC') return 'UC';
  const isThrough = (type === 'WT' || type === 'WB') && (next === 'WT' || next === 'WB');
  return isThrough ? 'WT' : 'conflict';
}

/** Adds the types in a block: `size` is a power of two, and `start` a multiple of it. */
function collect(mtrrs: Mtrrs, start: bigint, size: bigint, found: Set<MtrrType | 'conflict'>): void {
  if (size === 4096n || isUniform(mtrrs, start, size)) {
    found.add(typeAt(mtrrs, start));
    return;
  }
  const half = size >> 1n;
  collect(mtrrs, start, half, found);
  collect(mtrrs, start + half, half, found);
}

/** Whether no border lies inside the block, so that all of its pages have one type. */
function isUniform(mtrrs: Mtrrs, start: bigint, size: bigint): boolean {
  if (!mtrrs.enabled) return true;
  if (mtrrs.fixedEnabled && start < FIXED_END) return false;
  const { topMem2 } = mtrrs;
  if (mtrrs.forcesWriteBack && topMem2! > start && topMem2! < start + size) return false;
  return mtrrs.variable.every(({ base, mask }) => {
    const isDecidedAbove = (mask & (size - 1n)) === 0n;
    return isDecidedAbove || ((start ^ base) & mask & -size) !== 0n;
  });
}

function fixedRangeAt(mtrrs: Mtrrs, paddr: bigint): FixedRange {
  const address = Number(paddr);
  if (address < 0x8_0000) return mtrrs.fixed[address >>> 16]!;
  if (address < 0xc_0000) return mtrrs.fixed[8 + ((address - 0x8_0000) >>> 14)]!;
  return mtrrs.fixed[24 + ((address - 0xc_0000) >>> 12)]!;
}

function isMemory(mtrrs: Mtrrs, paddr: bigint, side: 'readsMemory' | 'writesMemory'): boolean {
  if (paddr < FIXED_END) return mtrrs.fixedTargets && fixedRangeAt(mtrrs, paddr)[side];
  return paddr < ((paddr < TOP_MEM2_START ? mtrrs.topMem : mtrrs.topMem2) ?? 0n);
}

/** AMD64 APM vol. 2, table 7-13: all combinations but the reserved ones. */
function isDefinedTarget(reads: boolean, writes: boolean, type: MtrrType | 'conflict'): boolean {
  if (type === 'conflict') return false;
  if (reads && writes) return type !== 'WP';
  if (reads) return type === 'UC' || type === 'WP';
  return writes ? type === 'UC' : type !== 'WB';
}
