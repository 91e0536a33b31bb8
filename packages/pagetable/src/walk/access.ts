import { formatAddress, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { VirtPage } from '@svsm/memory-region';
import { type CpuState, cpuState, requireCpuState } from '../entry/cpu-state.ts';
import type { EntryFormat } from '../entry/entry-format.ts';
import { maskedHigh } from '../entry/masked-address.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import { highOf, lowOf } from '../entry/page-words.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { byteAt, indexAt, isCanonical, MAX_LEVELS, raw } from '../entry/words.ts';
import type { CallGuard } from '../memory/call-guard.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import { type AccessOptions, requireAccessOptions } from './access-options.ts';
import type { TableSpace } from './table-space.ts';
import { isShadowStackPage, type MappedPage, mappedPage, requirePage } from './walk.ts';

/** The kind of an access. */
export type AccessKind = 'read' | 'write' | 'fetch';

/** The bits of a page fault's error code (AMD64 APM vol. 2, §8.4.2; Intel SDM vol. 3A, §4.7). */
export const PageFaultCode = {
  /** Bit 0: every entry of the walk was present. */
  Present: 0x1,
  /** Bit 1: the access was a write. */
  Write: 0x2,
  /** Bit 2: the access was made in user mode. */
  User: 0x4,
  /** Bit 3: a present entry has a reserved bit set. */
  Reserved: 0x8,
  /** Bit 4: the access was a fetch, with EFER.NXE or CR4.SMEP set. */
  Fetch: 0x10,
  /** Bit 5: a protection key denies the access. */
  ProtectionKey: 0x20,
  /** Bit 6: the access was a shadow-stack access. */
  ShadowStack: 0x40,
  /** Bit 31: an RMP check denies the access (APM vol. 2, §15.36.10). A page table never sets the bit. */
  Rmp: 0x8000_0000,
} as const;

/** An entry in which an access set bits, or would have set bits with `update: false`. */
export interface EntryUpdate {
  /** The physical address of the entry. */
  readonly paddr: PhysAddr;
  /** All 64 bits of the entry after the access. */
  readonly entry: bigint;
}

/** The access is allowed. */
export interface AccessTranslation {
  readonly type: 'translation';
  /** The physical address of the byte at the virtual address. */
  readonly paddr: PhysAddr;
  /** The size of the page in bytes. */
  readonly size: PageSize;
  /**
   * Whether the entry says that the page is shared with the hypervisor. Hardware treats every fetch of a guest as
   * private, whatever the entry says (AMD64 APM vol. 2, §15.34.5).
   */
  readonly shared: boolean;
  /** The page, as `PageTable.lookup` returns it after the access, or would return it with `update: false`. */
  readonly page: MappedPage;
  /** The entries in which the access had to set accessed or dirty, root first. */
  readonly updates: readonly EntryUpdate[];
}

/** #PF. Nothing has changed, except accessed bits with `accessedOnFault`. */
export interface AccessPageFault {
  readonly type: 'page-fault';
  /** The error code: a combination of {@link PageFaultCode}. */
  readonly errorCode: number;
  /** The value of CR2: the virtual address, without the metadata that LAM or UAI masks. */
  readonly cr2: VirtAddr;
  /** The level of the entry that is not present or has reserved bits set; the level of the leaf if rights deny the access. */
  readonly level: number;
}

/** #GP(0): the address is not canonical. CR2 keeps its value. An access through SS raises #SS(0) instead. */
export interface AccessGeneralProtection {
  readonly type: 'general-protection';
  readonly errorCode: 0;
}

/** The result of an access. */
export type AccessResult = AccessTranslation | AccessPageFault | AccessGeneralProtection;

const NO_UPDATES: readonly EntryUpdate[] = Object.freeze([]);
const GENERAL_PROTECTION: AccessGeneralProtection = Object.freeze({
  type: 'general-protection',
  errorCode: 0,
});
const KERNEL = /* @__PURE__ */ cpuState();
const NO_OPTIONS: AccessOptions = Object.freeze({});

/**
 * The walk of a memory management unit. It checks rights, and it reports a fault as the processor does instead of
 * throwing. Like every walk, it reads entries as two words and makes no bigint.
 *
 * Order of checks (Intel SDM vol. 3A, §4.5, §4.7): canonical address; at each level from the root, present, then
 * reserved bits; rights only at the leaf. Accessed and dirty bits are set last, when nothing can fault any more; a walk
 * that faults sets accessed bits only with `accessedOnFault`.
 */
export class AccessWalk {
  readonly #memory: PhysMemory;
  readonly #guard: CallGuard;
  readonly #format: EntryFormat;
  readonly #root: number;
  readonly #levels: 4 | 5;
  readonly #config: PagingConfig;
  readonly #hasNoExecute: boolean;
  /** The frame number of the table used at each level. */
  readonly #tables: Float64Array = new Float64Array(MAX_LEVELS);
  /** The offset of the entry used at each level, in words from the start of its table. */
  readonly #places: Uint16Array = new Uint16Array(MAX_LEVELS);
  /** The low word read at each level. */
  readonly #lows: Int32Array = new Int32Array(MAX_LEVELS);
  /** The high word read at each level. */
  readonly #highs: Int32Array = new Int32Array(MAX_LEVELS);
  // The page directory of the last walk. While memory has the same epoch, an access to the same 1 GiB starts there.
  /** The epoch of memory in which the walk reached the page directory. */
  #epoch = Number.NaN;
  /** The low half of the address of that walk. */
  #low = 0;
  /** The high half of the address of that walk. */
  #high = 0;
  /** The frame number of the page directory, the table at level 1. */
  #directory = 0;
  /** R/W and U/S of the entries above it, ANDed. */
  #rights = 0;
  /** NX of the entries above it, ORed, in the sign. */
  #noExecute = 0;

  constructor({ memory, format, frames, root }: TableSpace, config: PagingConfig) {
    this.#memory = memory;
    this.#guard = frames.guard;
    this.#format = format;
    this.#root = root;
    this.#levels = config.levels;
    this.#config = config;
    this.#hasNoExecute = config.noExecute;
  }

  /**
   * Performs one access.
   *
   * @throws PageTableError `NON_CANONICAL` if `vaddr` is not a bigint of 64 bits; `INVALID_ACCESS`; `BUS_ERROR`;
   *   `READ_ONLY`; `CALLBACK_FAILED`
   */
  run(
    vaddr: VirtPage,
    kind: AccessKind,
    cpu: CpuState = KERNEL,
    options: AccessOptions = NO_OPTIONS,
  ): AccessResult {
    const levels = this.#levels;
    if (cpu !== KERNEL) requireCpuState(cpu);
    if (options !== NO_OPTIONS) requireAccessOptions(options);
    const low = lowOf(vaddr, this.#config);
    const given = highOf();
    let high = given;
    if (kind !== 'read' && kind !== 'write' && kind !== 'fetch') {
      throw new PageTableError('INVALID_ACCESS', { kind });
    }
    if (options.shadowStack !== undefined) requireShadowStack(kind, cpu, options.shadowStack);
    if (!cpu.paging) return physicalAccess(low, high);
    if (isMasked(kind, cpu, options)) {
      const masked = maskedHigh(high, cpu, this.#levels);
      if (masked === undefined) return GENERAL_PROTECTION;
      high = masked;
    } else if (!isCanonical(high, levels)) return GENERAL_PROTECTION;

    const format = this.#format;
    const code =
      (kind === 'write' ? PageFaultCode.Write : 0) |
      (isUserMode(cpu, options) ? PageFaultCode.User : 0) |
      (options.shadowStack === undefined ? 0 : PageFaultCode.ShadowStack) |
      (kind === 'fetch' && (this.#hasNoExecute || cpu.smep) ? PageFaultCode.Fetch : 0);
    const memory = this.#memory;
    let table = this.#root;
    let level = levels - 1;
    // R/W and U/S are ANDed over the levels, NX is ORed (AMD64 APM vol. 2, §5.6).
    let rightsAbove = -1;
    let noExecute = 0;
    if (memory.epoch === this.#epoch && high === this.#high && (low ^ this.#low) >>> 30 === 0) {
      table = this.#directory;
      level = 1;
      rightsAbove = this.#rights;
      noExecute = this.#noExecute;
    } else this.#epoch = Number.NaN;
    let entryLow: number;
    let entryHigh: number;
    for (;;) {
      const place = 2 * indexAt(low, high, level);
      const words = memory.words(table, false);
      const at = memory.wordOffset(table) + place;
      entryLow = words[at]! | 0;
      entryHigh = words[at + 1]! | 0;
      if ((entryLow & PteFlags.Present) === 0) return this.#fault(code, low, high, level, options);
      if (format.hasReserved(entryLow, entryHigh, level)) {
        const reserved = code | PageFaultCode.Present | PageFaultCode.Reserved;
        return this.#fault(reserved, low, high, level, options);
      }
      noExecute |= entryHigh;
      this.#tables[level] = table;
      this.#places[level] = place;
      this.#lows[level] = entryLow;
      this.#highs[level] = entryHigh;
      if (format.isLeaf(entryLow, level)) break;
      rightsAbove &= entryLow;
      table = format.frame(entryLow, entryHigh, level);
      level -= 1;
      if (level === 1) {
        this.#epoch = memory.epoch;
        this.#low = low;
        this.#high = high;
        this.#directory = table;
        this.#rights = rightsAbove;
        this.#noExecute = noExecute;
      }
    }
    const rights = rightsAbove & entryLow;
    const granted = (rights & (PteFlags.Writable | PteFlags.User)) | (noExecute & PteFlags.NoExecute);
    const isShadowPage = isShadowStackPage(entryLow, rightsAbove);
    const denied = deniedBits(kind, granted, isShadowPage, entryHigh, cpu, options);
    if (denied !== 0) return this.#fault(code | denied, low, high, level, options);

    const write = kind === 'write';
    const updates = this.#update(level, write, options.update !== false);
    // Another processor has changed an entry: the walk starts again (AMD64 APM vol. 2, §5.4.2).
    if (updates === undefined) return this.run(raw(low, given) as VirtAddr, kind, cpu, options);
    const leaf = entryLow | bitsToSet(level, level, write);
    const page = mappedPage({ low: leaf, high: entryHigh, level, rightsAbove, noExecute }, low, format);
    if (options.fill !== undefined) this.#fill(options.fill, raw(low, high) as VirtAddr, page);
    return { type: 'translation', paddr: page.paddr, size: page.size, shared: page.shared, page, updates };
  }

  #fill(fill: NonNullable<AccessOptions['fill']>, vaddr: VirtAddr, page: MappedPage): void {
    this.#guard.enter('insert');
    try {
      fill.insert(vaddr, page);
    } catch (cause) {
      throw new PageTableError('CALLBACK_FAILED', { operation: 'access', callback: 'insert' }, { cause });
    } finally {
      this.#guard.leave();
    }
  }

  /** The page fault at `level`. With `accessedOnFault`, sets accessed in the entries above. */
  #fault(
    errorCode: number,
    low: number,
    high: number,
    level: number,
    options: AccessOptions,
  ): AccessPageFault {
    if (options.accessedOnFault === true && options.update !== false) {
      const top = this.#levels - 1;
      // Write access to every table is asked for before the first one is changed.
      for (let above = top; above > level; above -= 1) {
        if ((this.#lows[above]! & PteFlags.Accessed) === 0) this.#memory.words(this.#tables[above]!, true);
      }
      for (let above = top; above > level; above -= 1) this.#mark(above, PteFlags.Accessed);
    }
    return { type: 'page-fault', errorCode, cr2: raw(low, high) as VirtAddr, level };
  }

  /**
   * Sets accessed in all entries used, and dirty in the leaf of a write. An entry that was used at two levels, through a
   * table that leads to itself, is updated once, as the lower level demands. Returns `undefined` if an entry has changed
   * since the walk read it; the entries updated before it stay updated, as in hardware.
   */
  #update(leafLevel: number, write: boolean, apply: boolean): readonly EntryUpdate[] | undefined {
    if (this.#isMarked(leafLevel, write)) return NO_UPDATES;
    const updates: EntryUpdate[] = [];
    const levels: number[] = [];
    for (let level = this.#levels - 1; level >= leafLevel; level -= 1) {
      const low = this.#lows[level]!;
      const bits = bitsToSet(level, leafLevel, write);
      if ((low & bits) === bits || this.#isUsedBelow(level, leafLevel)) continue;
      const paddr = byteAt(this.#tables[level]!, 4 * this.#places[level]!);
      updates.push(Object.freeze({ paddr, entry: raw(low | bits, this.#highs[level]!) }));
      levels.push(level);
    }
    if (updates.length === 0) return NO_UPDATES;
    if (apply) {
      // Write access to every table is asked for before the first one is changed.
      for (const level of levels) this.#memory.words(this.#tables[level]!, true);
      for (const level of levels) {
        if (!this.#mark(level, bitsToSet(level, leafLevel, write))) return undefined;
      }
    }
    return Object.freeze(updates);
  }

  /** Whether every entry used has its bits already, as is usual. */
  #isMarked(leafLevel: number, write: boolean): boolean {
    let common = PteFlags.Accessed;
    for (let level = this.#levels - 1; level > leafLevel; level -= 1) common &= this.#lows[level]!;
    const bits = bitsToSet(leafLevel, leafLevel, write);
    return (common & PteFlags.Accessed) !== 0 && (this.#lows[leafLevel]! & bits) === bits;
  }

  /** Sets bits in the entry used at `level`. Returns whether the entry was still what the walk had read. */
  #mark(level: number, bits: number): boolean {
    const before = this.#lows[level]!;
    if ((before & bits) === bits) return true;
    const table = this.#tables[level]!;
    const words = this.#memory.words(table, true);
    const at = this.#memory.wordOffset(table) + this.#places[level]!;
    return (Atomics.compareExchange(words, at, before, before | bits) | 0) === before;
  }

  /** Whether the walk also used the entry of `level` at a lower level. */
  #isUsedBelow(level: number, leafLevel: number): boolean {
    for (let below = level - 1; below >= leafLevel; below -= 1) {
      if (this.#tables[below] === this.#tables[level] && this.#places[below] === this.#places[level])
        return true;
    }
    return false;
  }
}

/** Whether LAM or UAI may mask the address of an access: that of an explicit data access. */
function isMasked(kind: AccessKind, cpu: CpuState, { implicit, shadowStack }: Mode): boolean {
  if (kind === 'fetch' || implicit === true || shadowStack !== undefined) return false;
  return cpu.uai || cpu.lamSupervisor || cpu.lamUser !== undefined;
}

/**
 * An access without paging: the linear address is the physical address. It has 32 bits, since 64-bit mode needs paging. No
 * right is checked, nothing is filled into a TLB, and memory is private (AMD64 APM vol. 2, §15.34.5).
 *
 * @throws PageTableError `INVALID_ACCESS` for an address of more bits
 */
function physicalAccess(low: number, high: number): AccessTranslation {
  if (high !== 0) {
    const vaddr = raw(low, high);
    throw new PageTableError('INVALID_ACCESS', {
      kind: vaddr,
      problem: `without paging an address has 32 bits, and ${formatAddress(vaddr)} has more`,
    });
  }
  const paddr = raw(low, 0) as PhysAddr;
  const page: MappedPage = {
    size: PageSize.Regular,
    frame: raw(low & -PageSize.Regular, 0) as PhysAddr,
    paddr,
    shared: false,
    flags: PteFlags.Present | PteFlags.Writable | PteFlags.User | PteFlags.Accessed | PteFlags.Dirty,
    writable: true,
    user: true,
    executable: true,
    shadowStack: false,
  };
  return { type: 'translation', paddr, size: page.size, shared: false, page, updates: NO_UPDATES };
}

/**
 * Whether the rights of a page allow an access. A processor checks the rights in its TLB in this way; if they deny the
 * access, it walks the tables again. O(1).
 * @throws PageTableError `INVALID_ARGUMENT`, `INVALID_ACCESS`, `INVALID_CPU_STATE`
 */
export function allowsAccess(
  page: MappedPage,
  kind: AccessKind,
  cpu: CpuState,
  options: Pick<AccessOptions, 'implicit' | 'shadowStack'> = NO_OPTIONS,
): boolean {
  requirePage(page);
  if (kind !== 'read' && kind !== 'write' && kind !== 'fetch') {
    throw new PageTableError('INVALID_ACCESS', { kind });
  }
  requireCpuState(cpu);
  if (options !== NO_OPTIONS) requireAccessOptions(options);
  if (options.shadowStack !== undefined) requireShadowStack(kind, cpu, options.shadowStack);
  const rights =
    (page.user ? PteFlags.User : 0) |
    (page.writable ? PteFlags.Writable : 0) |
    (page.executable ? 0 : PteFlags.NoExecute);
  // Flags have the protection key where the high word of an entry has it.
  return deniedBits(kind, rights, page.shadowStack, page.flags, cpu, options) === 0;
}

type Mode = Pick<AccessOptions, 'implicit' | 'shadowStack'>;

/** Whether an access is made in user mode (Intel SDM vol. 3A, §4.6). */
function isUserMode(cpu: CpuState, { implicit, shadowStack }: Mode): boolean {
  return (cpu.cpl === 3 && implicit !== true) || shadowStack === 'user';
}

/**
 * Checks the rights of a page (Intel SDM vol. 3A, §4.6.1) and its protection key (§4.6.2). Returns 0 if they allow the
 * access, else the bits that they add to the error code.
 *
 * @param rights - R/W and U/S of all entries, and NX of any, as {@link PteFlags}
 * @param isShadowPage - whether it is a shadow-stack page
 * @param leafHigh - the high word of the leaf
 */
function deniedBits(
  kind: AccessKind,
  rights: number,
  isShadowPage: boolean,
  leafHigh: number,
  cpu: CpuState,
  mode: Mode,
): number {
  const userMode = isUserMode(cpu, mode);
  const userPage = (rights & PteFlags.User) !== 0;
  const writable = (rights & PteFlags.Writable) !== 0;
  if (kind === 'fetch') {
    const allowed = (rights & PteFlags.NoExecute) === 0 && (userMode ? userPage : !(userPage && cpu.smep));
    return allowed ? 0 : PageFaultCode.Present;
  }
  const respectsReadOnly = userMode || cpu.wp;
  let allowed: boolean;
  if (mode.shadowStack !== undefined) allowed = isShadowPage && userPage === userMode;
  else {
    allowed = kind === 'read' || writable || !respectsReadOnly;
    if (userMode) allowed &&= userPage;
    else if (userPage && cpu.smap) allowed &&= cpu.ac && mode.implicit !== true;
  }
  // PKRU has the keys of user pages, PKRS those of supervisor pages: bit 2·key denies all data accesses, the next bit
  // denies writes. A user access to a supervisor page is denied without a look at the key, so PK stays clear.
  const key = (leafHigh >>> 27) & 0xf;
  const keys = (userPage ? cpu.pkru : userMode ? 0 : cpu.pkrs) ?? 0;
  const keyBits = keys >>> (2 * key);
  const keyDenies = (keyBits & 1) !== 0 || ((keyBits & 2) !== 0 && kind === 'write' && respectsReadOnly);
  if (keyDenies) return PageFaultCode.Present | PageFaultCode.ProtectionKey;
  return allowed ? 0 : PageFaultCode.Present;
}

/** @throws PageTableError `INVALID_ACCESS` for an access to a shadow stack that a processor cannot make */
function requireShadowStack(kind: AccessKind, cpu: CpuState, shadowStack: unknown): void {
  let problem: string;
  if (shadowStack !== 'current' && shadowStack !== 'user') problem = "shadowStack is 'current' or 'user'";
  else if (kind === 'fetch') problem = 'an access to a shadow stack reads or writes; it does not fetch';
  else if (!cpu.cet) problem = 'an access to a shadow stack needs CR4.CET: pass a CpuState with cet: true';
  else return;
  throw new PageTableError('INVALID_ACCESS', { kind, problem });
}

/** The bits that an access sets in the entry of `level`. */
function bitsToSet(level: number, leafLevel: number, write: boolean): number {
  return PteFlags.Accessed | (write && level === leafLevel ? PteFlags.Dirty : 0);
}
