import { describeValue, type PhysAddr, pageNumber, Virt, Virt57, type VirtAddr } from '@svsm/address';
import {
  type AccessKind,
  type AccessOptions,
  allowsAccess,
  type CpuState,
  type MappedPage,
  PageFaultCode,
  PageTable,
  type PagingConfig,
  type PhysMemory,
  PteFlags,
  pagingConfig,
} from '@svsm/pagetable';
import { SnpFault } from '../rmp/snp-fault.ts';
import type { Privilege } from './guest-access.ts';
import { GuestMemory } from './guest-memory.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';
import type { TranslationCache } from './translation-cache.ts';
import {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  loadRegister,
  rightsOf,
} from './vcpu-registers.ts';

/** A translated byte: the guest's own half of a translation. */
export interface GuestByte {
  readonly gpa: PhysAddr;
  /** Whether an access to it is private: the effective C-bit. */
  readonly isPrivate: boolean;
  /** The page of the guest's table that maps it. */
  readonly page: MappedPage;
}

/** The start state of a {@link GuestMmu}, and its caches. */
export interface GuestMmuOptions extends Privilege {
  readonly tlb: TranslationCache | undefined;
  readonly nestedTlb: NestedTlb | undefined;
  readonly registers: ControlRegisters;
}

const FRAME = 0xf_ffff_ffff_f000n;

/**
 * The memory management unit of a guest's processor, for the guest's own half of a translation: registers, TLB, walk,
 * rights, accessed and dirty bits. Each entry is read and updated through the nested page table and the RMP.
 *
 * `@svsm/pagetable` decides on the rights, both after a walk and of a page in the TLB.
 */
export class GuestMmu {
  readonly #guest: GuestContext;
  readonly #tlb: TranslationCache | undefined;
  readonly #vmpl: Privilege['vmpl'];
  readonly #tables: PhysMemory;
  /** VIRTUAL_TOM, if it is enabled. `#cBit`: the mask of the C-bit, or 0 with VIRTUAL_TOM. */
  #virtualTom: bigint | undefined;
  #cBit: bigint;
  #registers: ControlRegisters;
  #cpl: number;
  #cpu: CpuState;
  #config: PagingConfig;
  #table: PageTable | undefined;
  /** The number of flushes of the guest's translations that the TLB has followed. */
  #generation: number;
  /** The address that is translated, for the faults of its walk. */
  #walkedFor: VirtAddr | undefined;

  constructor(guest: GuestContext, { vmpl, cpl, tlb, nestedTlb, registers }: GuestMmuOptions) {
    this.#guest = guest;
    this.#tlb = tlb;
    this.#vmpl = vmpl;
    this.#cpl = cpl;
    this.#registers = registers;
    this.#virtualTom = guest.virtualTom;
    this.#cBit = cBitOf(guest, guest.virtualTom);
    this.#config = this.#configOf(registers);
    this.#cpu = rightsOf(registers, cpl);
    const user = () => ({ vmpl: this.#vmpl, cpl: this.#cpl, gva: this.#walkedFor, isWalk: true });
    this.#tables = new GuestMemory(guest, user, nestedTlb);
    this.#generation = guest.tlbGeneration;
  }

  get registers(): ControlRegisters {
    return this.#registers;
  }

  get cpl(): number {
    return this.#cpl;
  }

  set cpl(value: number) {
    this.#cpu = rightsOf(this.#registers, value);
    this.#cpl = value;
  }

  /** Loads a register, and flushes the TLB as the load requires. @throws SnpFault `GP`; SnpError `INVALID_ARGUMENT` */
  load(register: ControlRegister, value: bigint): void {
    const limits = { physicalBits: this.#config.physicalBits, cBit: this.#cBit };
    const { value: stored, effect, pcid } = loadRegister(this.#registers, register, value, limits);
    this.reset({ ...this.#registers, [register]: stored }, this.#virtualTom);
    if (effect === 'all') this.#tlb?.flushAll();
    else if (register === 'cr3') this.#flushForCr3(pcid, effect === 'none');
    else if (effect === 'address-space') this.#flushForCr3(this.#pcid(), false);
    if (register === 'cr4') this.#tlb?.setGlobalPages?.((stored & ControlBit.Cr4Pge) !== 0n);
  }

  /** Sets the registers as VMRUN loads them. The TLB keeps its pages. */
  reset(registers: ControlRegisters, virtualTom: bigint | undefined): void {
    const held = this.#registers;
    this.#cpu = rightsOf(registers, this.#cpl);
    this.#registers = registers;
    const isSameTable = registers.cr3 === held.cr3 && virtualTom === this.#virtualTom;
    const isSameFormat = registers.cr4 === held.cr4 && registers.efer === held.efer;
    this.#virtualTom = virtualTom;
    this.#cBit = cBitOf(this.#guest, virtualTom);
    if (isSameTable && isSameFormat) return;
    this.#config = this.#configOf(registers);
    this.#table = undefined;
  }

  get virtualTom(): bigint | undefined {
    return this.#virtualTom;
  }

  /** Whether `gva` is canonical: 48 bits, or 57 with CR4.LA57. */
  isCanonical(gva: VirtAddr): boolean {
    return this.#kind.isAddress(gva);
  }

  /** The address `bytes` further on, or `undefined` past the end of its half of the space. */
  add(gva: VirtAddr, bytes: number): VirtAddr | undefined {
    return this.#kind.checkedAdd(gva, bytes);
  }

  /**
   * Translates `gva` to a guest-physical address: by the TLB if it allows the access, else by a walk that fills the
   * TLB. A #PF drops the page from the TLB.
   *
   * @throws SnpFault `GP`, `PF`, `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`
   */
  translate(gva: VirtAddr, kind: AccessKind, options: AccessOptions = {}): GuestByte {
    if (!this.isCanonical(gva)) {
      throw notCanonical(gva);
    }
    const held = this.#cached(gva, kind, options);
    if (held !== undefined) return this.#byte(held, gva, kind);
    return this.#byte(this.#walk(gva, kind, options), gva, kind);
  }

  /** The page of a private access, if the TLB holds one that allows it. `gva` must have at most 64 bits. */
  privatePage(gva: VirtAddr, kind: AccessKind, options: AccessOptions): MappedPage | undefined {
    const page = this.#virtualTom === undefined ? this.#cached(gva, kind, options) : undefined;
    return page?.shared === true && kind !== 'fetch' ? undefined : page;
  }

  #cached(gva: VirtAddr, kind: AccessKind, options: AccessOptions): MappedPage | undefined {
    this.#flushIfStale();
    const page = this.#tlb?.lookup(gva)?.page;
    // A write through an entry that was cached clean must set the dirty bit first.
    if (page === undefined || (kind === 'write' && (page.flags & PteFlags.Dirty) === 0)) return undefined;
    return allowsAccess(page, kind, this.#cpu, options) ? page : undefined;
  }

  /** Drops everything in the TLB if the guest's translations were flushed since the last access. */
  #flushIfStale(): void {
    if (this.#generation === this.#guest.tlbGeneration) return;
    this.#generation = this.#guest.tlbGeneration;
    this.#tlb?.flushAll();
  }

  #byte(page: MappedPage, gva: VirtAddr, kind: AccessKind): GuestByte {
    const gpa = (page.frame + (gva & BigInt(page.size - 1))) as PhysAddr;
    const virtualTom = this.#virtualTom;
    const isPrivate = kind === 'fetch' || (virtualTom === undefined ? !page.shared : gpa < virtualTom);
    return { gpa, isPrivate, page };
  }

  #walk(gva: VirtAddr, kind: AccessKind, options: AccessOptions): MappedPage {
    this.#walkedFor = gva;
    const { accessedOnFault } = this.#guest.machine.rmp.assumptions;
    const result = this.#openTable().access(gva, kind, this.#cpu, {
      ...options,
      accessedOnFault: accessedOnFault === 'upper-entries',
    });
    if (result.type === 'translation') {
      if (options.update !== false) this.#tlb?.insert(gva, result.page);
      return result.page;
    }
    if (options.update !== false) this.#tlb?.flushPage(gva);
    throw new SnpFault('PF', { errorCode: this.#reportedCode(result.errorCode), gva });
  }

  #reportedCode(errorCode: number): number {
    const { reservedFaultPresent } = this.#guest.machine.rmp.assumptions;
    const isReserved = (errorCode & PageFaultCode.Reserved) !== 0;
    return isReserved && !reservedFaultPresent ? errorCode & ~PageFaultCode.Present : errorCode;
  }

  #openTable(): PageTable {
    if (this.#table !== undefined) return this.#table;
    const root = (this.#registers.cr3 & FRAME & ~this.#cBit) as PhysAddr;
    // A root that cannot be read makes this access fault; it is not an error of the page table.
    this.#tables.words(pageNumber(root), false);
    this.#table = PageTable.open(root, { memory: this.#tables, config: this.#config });
    return this.#table;
  }

  #flushForCr3(pcid: number | undefined, keep: boolean): void {
    const tlb = this.#tlb;
    if (tlb?.loadCr3 !== undefined) tlb.loadCr3(pcid === undefined ? {} : { pcid, keep });
    else if (!keep) tlb?.flushAll();
  }

  #pcid(): number | undefined {
    const { cr3, cr4 } = this.#registers;
    return (cr4 & ControlBit.Cr4Pcide) === 0n ? undefined : Number(cr3 & 0xfffn);
  }

  get #kind(): typeof Virt {
    return this.#config.levels === 5 ? Virt57 : Virt;
  }

  /** The format of the page tables. With VIRTUAL_TOM, addresses end below the C-bit, which is reserved (§15.36.8). */
  #configOf({ cr4, efer }: ControlRegisters): PagingConfig {
    const { paging, machine } = this.#guest;
    const virtualTom = this.#virtualTom;
    const { encryption: _, ...plain } = paging;
    return pagingConfig({
      ...(virtualTom === undefined ? paging : { ...plain, physicalBits: machine.cBit }),
      levels: (cr4 & ControlBit.Cr4La57) === 0n ? 4 : 5,
      noExecute: (efer & ControlBit.EferNxe) !== 0n,
      globalPages: (cr4 & ControlBit.Cr4Pge) !== 0n,
    });
  }
}

/** The #GP(0) for an access to an address that is not canonical. */
export function notCanonical(gva: bigint): SnpFault<'GP'> {
  return new SnpFault('GP', { errorCode: 0, reason: `${describeValue(gva)} is not a canonical address` });
}

function cBitOf({ machine }: GuestContext, virtualTom: bigint | undefined): bigint {
  return virtualTom === undefined ? 1n << BigInt(machine.cBit) : 0n;
}
