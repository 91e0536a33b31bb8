import { describeValue, type PhysAddr, pageNumber, Virt, Virt57, type VirtAddr } from '@svsm/address';
import {
  type AccessKind,
  type AccessOptions,
  allowsAccess,
  type CpuState,
  type MappedPage,
  maskAddress,
  PageFaultCode,
  PageTable,
  type PagingConfig,
  type PhysMemory,
  type ProcessorFeatures,
  PteFlags,
  pagingConfig,
  type TlbFlush,
} from '@svsm/pagetable';
import { requireBoolean } from '../formats/arguments.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import { SnpFault } from '../rmp/snp-fault.ts';
import { shadowStackMode } from './guest-access.ts';
import { GuestMemory, type GuestMemoryUser } from './guest-memory.ts';
import type { NestedTlb } from './nested-tlb.ts';
import { offsetIn, physicalPage } from './physical-page.ts';
import type { GuestContext } from './platform.ts';
import {
  type CacheOwner,
  cachedPage,
  ownerOf,
  requireIdle,
  type TranslationCache,
} from './translation-cache.ts';
import {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  guestFeatures,
  heldRegisters,
  is64BitMode,
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

/** The state of a {@link GuestMmu} that VMRUN loads. */
export interface MmuState {
  readonly registers: ControlRegisters;
  /** The bit L of the code segment. */
  readonly csL: boolean;
  /** VIRTUAL_TOM, if it is enabled. */
  readonly virtualTom: bigint | undefined;
  /** Whether VMPL SSS is enabled. */
  readonly vmplSss: boolean;
}

/** The start state of a {@link GuestMmu}, and its caches. */
export interface GuestMmuOptions extends Omit<MmuState, 'virtualTom'> {
  readonly vmpl: Vmpl;
  readonly cpl: number;
  readonly tlb: TranslationCache | undefined;
  readonly nestedTlb: NestedTlb | undefined;
}

const FRAME = 0xf_ffff_ffff_f000n;

/**
 * The memory management unit of a guest's processor, for the guest's own half of a translation: registers, TLB, walk,
 * rights, accessed and dirty bits. Each entry is read and updated through the nested page table and the RMP.
 *
 * `@svsm/pagetable` decides on the rights, both after a walk and of a page in the TLB.
 */
export class GuestMmu implements GuestMemoryUser {
  readonly #guest: GuestContext;
  readonly #tlb: TranslationCache | undefined;
  readonly #tlbOwner: CacheOwner | undefined;
  readonly #vmpl: Vmpl;
  readonly #tables: PhysMemory;
  /** VIRTUAL_TOM, if it is enabled. `#cBit`: the mask of the C-bit, or 0 with VIRTUAL_TOM. */
  #virtualTom: bigint | undefined;
  #cBit: bigint;
  #registers: ControlRegisters;
  #csL: boolean;
  #vmplSss: boolean;
  #cpl: number;
  #cpu: CpuState;
  #config: PagingConfig;
  #features: ProcessorFeatures;
  #is64Bit: boolean;
  /** Whether an address goes into the TLB as it is, and the C-bit decides: 64-bit mode, no VIRTUAL_TOM, no masked bits. */
  #isPlain: boolean;
  #table: PageTable | undefined;
  /** The number of changes of state that decides on accesses. */
  #changes = 0;
  /** The number of flushes of the guest's translations that the TLB has followed. */
  #generation: number;
  /** The address that is translated, for the faults of its walk. */
  #walkedFor: VirtAddr | undefined;

  /** @throws SnpError `INVALID_ARGUMENT` if a processor cannot have these registers, or the model does not know the mode */
  constructor(guest: GuestContext, { vmpl, cpl, tlb, nestedTlb, registers, csL, vmplSss }: GuestMmuOptions) {
    this.#guest = guest;
    this.#tlb = tlb;
    this.#tlbOwner = tlb === undefined ? undefined : ownerOf(tlb);
    this.#vmpl = vmpl;
    this.#cpl = cpl;
    this.#csL = csL;
    this.#vmplSss = vmplSss;
    this.#virtualTom = guest.virtualTom;
    this.#cBit = cBitOf(guest, guest.virtualTom);
    this.#features = this.#featuresOf(guest.virtualTom);
    this.#registers = this.#held(registers, csL);
    this.#config = this.#configOf(this.#registers);
    this.#cpu = rightsOf(this.#registers, cpl);
    this.#is64Bit = is64BitMode(this.#registers, csL);
    this.#isPlain = this.#isPlainNow();
    this.#tables = new GuestMemory(guest, this, true, nestedTlb);
    this.#generation = guest.tlbGeneration;
  }

  get registers(): ControlRegisters {
    return this.#registers;
  }

  get csL(): boolean {
    return this.#csL;
  }

  /** A far transfer loads another code segment. */
  set csL(value: boolean) {
    requireBoolean('csL', value);
    requireIdle(this.#tlbOwner);
    this.#csL = value;
    this.#enter();
  }

  get is64Bit(): boolean {
    return this.#is64Bit;
  }

  get cpl(): number {
    return this.#cpl;
  }

  set cpl(value: number) {
    requireIdle(this.#tlbOwner);
    this.#cpu = rightsOf(this.#registers, value);
    this.#cpl = value;
    this.#changes += 1;
  }

  /** A count that grows whenever the state of the processor may decide differently on an access. */
  get changes(): number {
    return this.#changes;
  }

  /** @throws PageTableError `BUSY` in the middle of a lookup of the TLB */
  requireIdle(): void {
    requireIdle(this.#tlbOwner);
  }

  get vmpl(): Vmpl {
    return this.#vmpl;
  }

  get vmplSss(): boolean {
    return this.#vmplSss;
  }

  get walkedFor(): VirtAddr | undefined {
    return this.#walkedFor;
  }

  /** Loads a register, and flushes the TLB as the load requires. @throws SnpFault `GP`; SnpError `INVALID_ARGUMENT` */
  load(register: ControlRegister, value: bigint): void {
    requireIdle(this.#tlbOwner);
    const before = this.#registers;
    const { registers, flush } = loadRegister(before, this.#csL, register, value, this.#features);
    this.#ownTlb();
    this.#set(registers);
    if (register === 'cr3') this.#flushForCr3(this.#pcid(), flush === undefined);
    else if (flush !== undefined) this.#flush(flush);
    if (register === 'cr4') this.#followCr4(before.cr4, registers.cr4);
  }

  /** Sets the state as VMRUN loads it. The TLB keeps its pages. @throws SnpError `INVALID_ARGUMENT` as the constructor */
  reset({ registers, csL, virtualTom, vmplSss }: MmuState): void {
    requireIdle(this.#tlbOwner);
    const before = { tom: this.#virtualTom, cr4: this.#registers.cr4 };
    const features = this.#featuresOf(virtualTom);
    const held = this.#held(registers, csL, features);
    this.#ownTlb();
    this.#features = features;
    this.#csL = csL;
    this.#vmplSss = vmplSss;
    this.#virtualTom = virtualTom;
    this.#cBit = cBitOf(this.#guest, virtualTom);
    this.#set(held, before.tom !== virtualTom);
    this.#followCr4(before.cr4, held.cr4);
  }

  #set(registers: ControlRegisters, isOtherFormat = false): void {
    const { cr3, cr4, efer } = this.#registers;
    this.#registers = registers;
    this.#cpu = rightsOf(registers, this.#cpl);
    const isSame = cr3 === registers.cr3 && cr4 === registers.cr4 && efer === registers.efer;
    if (!isSame || isOtherFormat) {
      this.#config = this.#configOf(registers);
      this.#table = undefined;
    }
    this.#enter();
  }

  /** Notes the mode, after a change of registers or code segment. */
  #enter(): void {
    this.#changes += 1;
    this.#is64Bit = is64BitMode(this.#registers, this.#csL);
    this.#isPlain = this.#isPlainNow();
  }

  #isPlainNow(): boolean {
    return this.#is64Bit && this.#virtualTom === undefined && !this.#hasMasks;
  }

  get #hasMasks(): boolean {
    const { uai, lamUser, lamSupervisor } = this.#cpu;
    return uai || lamSupervisor || lamUser !== undefined;
  }

  #featuresOf(virtualTom: bigint | undefined): ProcessorFeatures {
    const { machine, paging } = this.#guest;
    const { cBit } = machine;
    const { eferLmaWrites } = machine.rmp.assumptions;
    return virtualTom === undefined
      ? guestFeatures(paging.physicalBits, cBit, eferLmaWrites)
      : guestFeatures(cBit, undefined, eferLmaWrites);
  }

  #held(
    registers: ControlRegisters,
    csL: boolean,
    features: ProcessorFeatures = this.#features,
  ): ControlRegisters {
    const held = heldRegisters(registers, csL, features);
    if (held !== undefined) return held;
    const { cr0, cr3, cr4, efer } = registers;
    const value = Object.entries({ cr0, cr3, cr4, efer }).map(
      ([name, bits]) => `${name} ${describeValue(bits)}`,
    );
    const expected = 'pass a state without paging, or one of long mode, that a processor can have';
    throw new SnpError('INVALID_ARGUMENT', { what: 'the registers', value: value.join(', '), expected });
  }

  /**
   * The linear address of an access to `gva`, without the bits that EFER.UAIE masks; `undefined` if the access raises #GP. In
   * 64-bit mode an address is canonical in 48 bits, or in 57 with CR4.LA57. In other modes it has 32 bits: the segment ends
   * there.
   */
  linear(gva: VirtAddr, kind: AccessKind, { implicit, shadowStack }: AccessOptions): VirtAddr | undefined {
    if (!this.#is64Bit) return is32Bit(gva) ? gva : undefined;
    const isMasked = this.#hasMasks && kind !== 'fetch' && implicit !== true && shadowStack === undefined;
    if (!isMasked) return this.#kind.isAddress(gva) ? gva : undefined;
    if (typeof gva !== 'bigint' || BigInt.asUintN(64, gva) !== gva) return undefined;
    return maskAddress(gva, this.#cpu, this.#config.levels);
  }

  /** Whether the segment has all `length` bytes from `linear` on: in 64-bit mode always, else up to 4 GiB. */
  endsInSegment(linear: VirtAddr, length: number): boolean {
    return this.#is64Bit || is32Bit(linear + BigInt(length - 1));
  }

  /** The linear address `bytes` further on, or `undefined` past the end of its half of the space. */
  add(linear: VirtAddr, bytes: number): VirtAddr | undefined {
    return this.#kind.checkedAdd(linear, bytes);
  }

  /** The #GP(0) for an address that is not one in this mode. */
  refusal(gva: bigint): SnpFault<'GP'> {
    const what = this.#is64Bit ? 'a canonical address' : 'an address of 32 bits';
    return new SnpFault('GP', { errorCode: 0, reason: `${describeValue(gva, what)} is not ${what}` });
  }

  /**
   * Translates `gva` to a guest-physical address: by the TLB if it allows the access, else by a walk that fills the
   * TLB. A #PF drops the page from the TLB.
   *
   * @throws SnpFault `GP`, `PF`, `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`
   */
  translate(gva: VirtAddr, kind: AccessKind, options: AccessOptions = {}): GuestByte {
    const linear = this.linear(gva, kind, options);
    if (linear === undefined) throw this.refusal(gva);
    if (!this.#cpu.paging) return this.#byte(physicalPage(linear), linear, kind);
    const { shadowStack } = options;
    if (shadowStack !== undefined && !this.#cpu.cet) {
      throw new SnpFault('UD', { instruction: 'an access to a shadow stack' });
    }
    const page = this.#cached(linear, kind, options) ?? this.#walk(linear, kind, options);
    const byte = this.#byte(page, linear, kind);
    if (shadowStack !== undefined && this.#vmplSss && !byte.isPrivate) {
      const { Present, Write, User, Reserved, ShadowStack } = PageFaultCode;
      const isUser = shadowStackMode(shadowStack, this.#cpl) === 'user';
      const access = ShadowStack | (kind === 'write' ? Write : 0) | (isUser ? User : 0);
      throw new SnpFault('PF', { errorCode: this.#reportedCode(Present | Reserved | access), gva: linear });
    }
    return byte;
  }

  /**
   * The page of a private access, if the TLB holds one that allows it, for the most frequent accesses: in 64-bit mode, not to a
   * shadow stack. `gva` must have at most 64 bits.
   */
  privatePage(gva: VirtAddr, kind: AccessKind, options: AccessOptions): MappedPage | undefined {
    if (!this.#isPlain || options.shadowStack !== undefined) return undefined;
    const page = this.#cached(gva, kind, options);
    return page?.shared === true && kind !== 'fetch' ? undefined : page;
  }

  #cached(gva: VirtAddr, kind: AccessKind, options: AccessOptions): MappedPage | undefined {
    requireIdle(this.#tlbOwner);
    this.#flushIfStale();
    const page = cachedPage(this.#tlb, this.#tlbOwner, gva);
    // A write through an entry that was cached clean must set the dirty bit first.
    if (page === undefined || (kind === 'write' && (page.flags & PteFlags.Dirty) === 0)) return undefined;
    return allowsAccess(page, kind, this.#cpu, options) ? page : undefined;
  }

  /** Drops everything in the TLB if another processor has used it, or the guest's translations were flushed. */
  #flushIfStale(): void {
    if (this.#tlbOwner?.processor !== this) this.#ownTlb();
    if (this.#generation === this.#guest.tlbGeneration) return;
    this.#generation = this.#guest.tlbGeneration;
    this.#tlb?.flushAll();
  }

  /** Makes the TLB that of this processor: drops the entries of the last one, and loads CR3 and CR4. */
  #ownTlb(): void {
    const owner = this.#tlbOwner;
    if (owner === undefined || owner.processor === this) return;
    const isFirst = owner.processor === undefined;
    owner.processor = this;
    if (isFirst) return;
    this.#tlb?.flushAll();
    this.#followCr4(~this.#registers.cr4, this.#registers.cr4);
    this.#flushForCr3(this.#pcid(), true);
  }

  #byte(page: MappedPage, gva: VirtAddr, kind: AccessKind): GuestByte {
    const gpa = (page.frame + offsetIn(gva, page.size)) as PhysAddr;
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

  #flush({ pcid }: TlbFlush): void {
    if (pcid === undefined) this.#tlb?.flushAll();
    else this.#flushForCr3(this.#pcid(), false);
  }

  /** Makes the TLB follow CR4.PGE and CR4.PCIDE. */
  #followCr4(before: bigint, after: bigint): void {
    const changed = before ^ after;
    const { Cr4Pge, Cr4Pcide } = ControlBit;
    if ((changed & Cr4Pge) !== 0n) this.#tlb?.setGlobalPages?.((after & Cr4Pge) !== 0n);
    if ((changed & Cr4Pcide) !== 0n) this.#tlb?.setPcids?.((after & Cr4Pcide) !== 0n);
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

function is32Bit(address: bigint): boolean {
  return typeof address === 'bigint' && address >> 32n === 0n;
}

function cBitOf({ machine }: GuestContext, virtualTom: bigint | undefined): bigint {
  return virtualTom === undefined ? 1n << BigInt(machine.cBit) : 0n;
}
