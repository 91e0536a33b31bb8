import type { PageSize, PhysAddr, VirtAddr } from '@svsm/address';
import { type CpuState, cpuState } from '../entry/cpu-state.ts';
import type { EntryFormat } from '../entry/entry-format.ts';
import { PageTableError } from '../entry/page-table-error.ts';
import type { PagingConfig } from '../entry/paging-config.ts';
import { PteFlags } from '../entry/pte-flags.ts';
import { byteAt, CELL, HALVES, indexAt, is64Bit, isCanonical, MAX_LEVELS, raw } from '../entry/words.ts';
import type { PhysMemory } from '../memory/phys-memory.ts';
import { type MappedPage, mappedPage } from './walk.ts';

/** What a processor does at an address. */
export type AccessKind = 'read' | 'write' | 'fetch';

/** The bits of a page fault's error code (AMD64 APM vol. 2, §8.4.2; Intel SDM vol. 3A, §4.7). */
export const PageFaultCode = {
  /** Bit 0: every entry on the way was present. */
  Present: 0x1,
  /** Bit 1: the access was a write. */
  Write: 0x2,
  /** Bit 2: it was made in user mode. */
  User: 0x4,
  /** Bit 3: a present entry has a reserved bit set. */
  Reserved: 0x8,
  /** Bit 4: it was a fetch, with EFER.NXE or CR4.SMEP on. */
  Fetch: 0x10,
  /** Bit 5: a protection key denies it. */
  ProtectionKey: 0x20,
  /** Bit 6: it was a shadow-stack access. No access here is one. */
  ShadowStack: 0x40,
  /** Bit 31: the RMP denies it (APM vol. 2, §15.36.10). What walks page tables never sets it. */
  Rmp: 0x8000_0000,
} as const;

/** How an access is made, beside its kind. */
export interface AccessOptions {
  /** `false` to look only: accessed and dirty bits stay as they are. `true` if not given. */
  readonly update?: boolean;
  /** An implicit access to a GDT, LDT, IDT or TSS: in supervisor mode at any CPL, and EFLAGS.AC does not help it. */
  readonly implicit?: boolean;
  /**
   * `true` if a walk that ends in a page fault sets accessed in the entries above that level, as QEMU does. KVM does not;
   * processors may (Intel SDM vol. 3A, §4.8). `false` if not given.
   */
  readonly accessedOnFault?: boolean;
  /** What the page is filled into if the access goes ahead: a `Tlb`. Nothing if not given. */
  readonly fill?: { insert(vaddr: VirtAddr, page: MappedPage): void };
}

/** An entry that an access has set bits in; when looking only, one that it would have. */
export interface EntryUpdate {
  /** Where the entry lies. */
  readonly paddr: PhysAddr;
  /** All 64 bits, afterwards. */
  readonly entry: bigint;
}

/** The access goes ahead. */
export interface AccessTranslation {
  readonly type: 'translation';
  /** Where the byte at the virtual address lies. */
  readonly paddr: PhysAddr;
  /** The size of the page in bytes. */
  readonly size: PageSize;
  /**
   * Whether the page is shared with the hypervisor. Of a fetch, what the entry says: the hardware makes every fetch of a
   * guest private (AMD64 APM vol. 2, §15.34.5).
   */
  readonly shared: boolean;
  /** The page, as `PageTable.lookup` returns it after the access; when looking only, as it would. */
  readonly page: MappedPage;
  /** Each entry in which accessed or dirty bits were clear and had to be set, root first. */
  readonly updates: readonly EntryUpdate[];
}

/** #PF. Nothing was changed, except for accessed bits with `accessedOnFault`. */
export interface AccessPageFault {
  readonly type: 'page-fault';
  /** {@link PageFaultCode} bits. */
  readonly errorCode: number;
  /** What CR2 then holds: the virtual address. */
  readonly cr2: VirtAddr;
  /** The level of the entry that was not present or had reserved bits; of a fault of rights, that of the leaf. */
  readonly level: number;
}

/** #GP(0): the address is not canonical. CR2 stays as it was. A stack-segment access raises #SS(0) in its place. */
export interface AccessGeneralProtection {
  readonly type: 'general-protection';
  readonly errorCode: 0;
}

/** What becomes of an access. */
export type AccessResult = AccessTranslation | AccessPageFault | AccessGeneralProtection;

const NO_UPDATES: readonly EntryUpdate[] = Object.freeze([]);
const GENERAL_PROTECTION: AccessGeneralProtection = Object.freeze({
  type: 'general-protection',
  errorCode: 0,
});
const KERNEL = /* @__PURE__ */ cpuState();

/**
 * The walk of a memory management unit: like every walk on entries of two words and no bigint, but it judges rights, and
 * reports what is wrong as the processor does instead of throwing.
 *
 * Order of checks (Intel SDM vol. 3A, §4.5, §4.7): canonical; then level by level not present, reserved bits; rights
 * only at the leaf; accessed and dirty bits last, when nothing can fault any more. When upper accessed bits are set on
 * the way to a fault is left to the processor (§4.8); here they are not.
 */
export class AccessWalk {
  readonly #memory: PhysMemory;
  readonly #format: EntryFormat;
  readonly #root: number;
  readonly #levels: number;
  readonly #hasNoExecute: boolean;
  /** The entries used, by level: their tables and where they begin in them, in words. */
  readonly #tables: Float64Array = new Float64Array(MAX_LEVELS);
  readonly #places: Uint16Array = new Uint16Array(MAX_LEVELS);
  /** What the walk has read there. */
  readonly #lows: Int32Array = new Int32Array(MAX_LEVELS);
  readonly #highs: Int32Array = new Int32Array(MAX_LEVELS);
  /**
   * The epoch of memory in which a walk, for the address with these halves, has led to this page directory (the table at
   * level 1), and what the entries above leave: an access to the same 1 GiB goes on from there.
   */
  #epoch = Number.NaN;
  #low = 0;
  #high = 0;
  #directory = 0;
  #rights = 0;
  #noExecute = 0;

  constructor(memory: PhysMemory, format: EntryFormat, root: number, config: PagingConfig) {
    this.#memory = memory;
    this.#format = format;
    this.#root = root;
    this.#levels = config.levels;
    this.#hasNoExecute = config.noExecute;
  }

  /** @throws PageTableError `NON_CANONICAL` for what is no address of 64 bits, `INVALID_ACCESS`, `BUS_ERROR` */
  run(vaddr: VirtAddr, kind: AccessKind, cpu: CpuState = KERNEL, options: AccessOptions = {}): AccessResult {
    const levels = this.#levels;
    if (!is64Bit(vaddr)) throw new PageTableError('NON_CANONICAL', { vaddr, levels });
    if (kind !== 'read' && kind !== 'write' && kind !== 'fetch') {
      throw new PageTableError('INVALID_ACCESS', { kind });
    }
    CELL[0] = vaddr;
    const low = HALVES[0]! | 0;
    const high = HALVES[1]! | 0;
    if (!isCanonical(high, levels)) return GENERAL_PROTECTION;

    const format = this.#format;
    const userMode = cpu.cpl === 3 && options.implicit !== true;
    const code =
      (kind === 'write' ? PageFaultCode.Write : 0) |
      (userMode ? PageFaultCode.User : 0) |
      (kind === 'fetch' && (this.#hasNoExecute || cpu.smep) ? PageFaultCode.Fetch : 0);
    const memory = this.#memory;
    let table = this.#root;
    let level = levels - 1;
    // R/W and U/S are ANDed over the levels, NX is ORed (AMD64 APM vol. 2, §5.6).
    let rights = -1;
    let noExecute = 0;
    if (memory.epoch === this.#epoch && high === this.#high && (low ^ this.#low) >>> 30 === 0) {
      table = this.#directory;
      level = 1;
      rights = this.#rights;
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
      if ((entryLow & PteFlags.Present) === 0) return this.#fault(code, vaddr, level, options);
      if (format.hasReserved(entryLow, entryHigh, level)) {
        return this.#fault(code | PageFaultCode.Present | PageFaultCode.Reserved, vaddr, level, options);
      }
      rights &= entryLow;
      noExecute |= entryHigh;
      this.#tables[level] = table;
      this.#places[level] = place;
      this.#lows[level] = entryLow;
      this.#highs[level] = entryHigh;
      if (format.isLeaf(entryLow, level)) break;
      table = format.frame(entryLow, entryHigh, level);
      level -= 1;
      if (level === 1) {
        this.#epoch = memory.epoch;
        this.#low = low;
        this.#high = high;
        this.#directory = table;
        this.#rights = rights;
        this.#noExecute = noExecute;
      }
    }
    const implicit = options.implicit === true;
    const denied = deniedBits(kind, rights, noExecute < 0, (entryHigh >>> 27) & 0xf, userMode, implicit, cpu);
    if (denied !== 0) return this.#fault(code | denied, vaddr, level, options);

    const write = kind === 'write';
    const updates = this.#update(level, write, options.update !== false);
    // Another processor has changed an entry: the walk begins again (AMD64 APM vol. 2, §5.4.2).
    if (updates === undefined) return this.run(vaddr, kind, cpu, options);
    const leaf = entryLow | bitsToSet(level, level, write);
    const page = mappedPage({ low: leaf, high: entryHigh, level, rights, noExecute }, low, format);
    options.fill?.insert(vaddr, page);
    return { type: 'translation', paddr: page.paddr, size: page.size, shared: page.shared, page, updates };
  }

  /** A page fault at `level`. Sets accessed bits above it, if the processor does so. */
  #fault(errorCode: number, cr2: VirtAddr, level: number, options: AccessOptions): AccessPageFault {
    if (options.accessedOnFault === true && options.update !== false) {
      for (let above = this.#levels - 1; above > level; above -= 1) this.#mark(above, PteFlags.Accessed);
    }
    return { type: 'page-fault', errorCode, cr2, level };
  }

  /**
   * Sets accessed in all entries used, dirty in the leaf of a write. Each entry is there once: a table that leads to itself
   * is an upper one and a lower one, and its entry then gets what the lower one gets. `undefined` if an entry is not what
   * the walk has read; those set before it stay set, as in hardware.
   */
  #update(leafLevel: number, write: boolean, apply: boolean): readonly EntryUpdate[] | undefined {
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
      // Every table must take a write before the first is written to.
      for (const level of levels) this.#memory.words(this.#tables[level]!, true);
      for (const level of levels) {
        if (!this.#mark(level, bitsToSet(level, leafLevel, write))) return undefined;
      }
    }
    return Object.freeze(updates);
  }

  /** Sets bits in the entry that was used at `level`. Returns whether it still was as the walk has read it. */
  #mark(level: number, bits: number): boolean {
    const before = this.#lows[level]!;
    if ((before & bits) === bits) return true;
    const table = this.#tables[level]!;
    const words = this.#memory.words(table, true);
    const at = this.#memory.wordOffset(table) + this.#places[level]!;
    return (Atomics.compareExchange(words, at, before, before | bits) | 0) === before;
  }

  #isUsedBelow(level: number, leafLevel: number): boolean {
    for (let below = level - 1; below >= leafLevel; below -= 1) {
      if (this.#tables[below] === this.#tables[level] && this.#places[below] === this.#places[level])
        return true;
    }
    return false;
  }
}

/**
 * Whether the rights of a page that was found before allow an access, as a processor judges by what its TLB holds: a
 * refusal there makes it walk again. O(1).
 */
export function allowsAccess(
  page: MappedPage,
  kind: AccessKind,
  cpu: CpuState,
  { implicit = false }: Pick<AccessOptions, 'implicit'> = {},
): boolean {
  const rights = (page.user ? PteFlags.User : 0) | (page.writable ? PteFlags.Writable : 0);
  const key = (page.flags >>> 27) & 0xf;
  const userMode = cpu.cpl === 3 && !implicit;
  return deniedBits(kind, rights, !page.executable, key, userMode, implicit, cpu) === 0;
}

/**
 * The rights of a leaf (Intel SDM vol. 3A, §4.6.1) and its protection key (§4.6.2): 0 if they allow the access, else
 * what they add to the error code.
 */
function deniedBits(
  kind: AccessKind,
  rights: number,
  noExecute: boolean,
  key: number,
  userMode: boolean,
  implicit: boolean,
  cpu: CpuState,
): number {
  const userPage = (rights & PteFlags.User) !== 0;
  const writable = (rights & PteFlags.Writable) !== 0;
  if (kind === 'fetch') {
    const allowed = !noExecute && (userMode ? userPage : !(userPage && cpu.smep));
    return allowed ? 0 : PageFaultCode.Present;
  }
  const respectsReadOnly = userMode || cpu.wp;
  let allowed = kind === 'read' || writable || !respectsReadOnly;
  if (userMode) allowed &&= userPage;
  else if (userPage && cpu.smap) allowed &&= cpu.ac && !implicit;
  // PKRU holds for user pages, PKRS for supervisor pages; bit 2·key denies all data accesses, the next one writes. User
  // mode has no business in a supervisor page whatever its key: that fault does not speak of it.
  const keys = (userPage ? cpu.pkru : userMode ? 0 : cpu.pkrs) ?? 0;
  const keyBits = keys >>> (2 * key);
  const keyDenies = (keyBits & 1) !== 0 || ((keyBits & 2) !== 0 && kind === 'write' && respectsReadOnly);
  if (keyDenies) return PageFaultCode.Present | PageFaultCode.ProtectionKey;
  return allowed ? 0 : PageFaultCode.Present;
}

function bitsToSet(level: number, leafLevel: number, write: boolean): number {
  return PteFlags.Accessed | (write && level === leafLevel ? PteFlags.Dirty : 0);
}
