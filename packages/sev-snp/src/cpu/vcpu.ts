import { PAGE_SIZE, type PhysAddr, pageOffset, type VirtAddr } from '@svsm/address';
import type { AccessKind, AccessOptions, PhysMemory } from '@svsm/pagetable';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import type { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { Vmpl } from '../formats/vmpl.ts';
import { readVmsa, writeVmsa } from '../formats/vmsa.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { isSnpFault, SnpFault } from '../rmp/snp-fault.ts';
import { accessBit, accessGuestPhys, type Privilege, translateNested } from './guest-access.ts';
import {
  type GuestCpu,
  type GuestTranslation,
  type PvalidateAnswer,
  pvalidate,
  type RmpAdjustment,
  type RmpqueryAnswer,
  rmpadjust,
  rmpquery,
} from './guest-instructions.ts';
import { GuestMemory } from './guest-memory.ts';
import { GuestMmu } from './guest-mmu.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext, RunnableVmsa } from './platform.ts';
import type { TranslationCache } from './translation-cache.ts';
import {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  START_REGISTERS,
} from './vcpu-registers.ts';
import { saveState, stateOfVmsa } from './vcpu-state.ts';
import { VmExit, vmexit } from './vmrun.ts';

/** What a {@link Vcpu} starts with. */
export interface VcpuOptions {
  /** VMPL0 if not given. */
  readonly vmpl?: Vmpl;
  /** What keeps its translations. Without one, every access walks. */
  readonly tlb?: TranslationCache;
  /** What keeps its nested translations. Without one, nested page table and RMP are asked on every access. */
  readonly nestedTlb?: NestedTlb;
  /** What differs of its registers from {@link START_REGISTERS}; CR4.LA57 is as the guest's page tables are. */
  readonly registers?: Partial<ControlRegisters>;
  /** What it is run by. Without one it always runs: no VMRUN stands before its instructions. */
  readonly vmsa?: RunnableVmsa;
}

/** How an access is made, beside its kind. */
export type DataAccessOptions = Pick<AccessOptions, 'implicit'>;

const NO_OPTIONS: DataAccessOptions = {};

// An address is split into halves by way of memory: several times faster than shifting bigints.
const CELL = new BigUint64Array(1);
const HALVES = new Uint32Array(CELL.buffer);

/** A nested page fault that the hypervisor resolves this often, for one instruction, is a loop: it is thrown. */
const MAX_EXITS = 64;

/**
 * A processor in an SNP guest, in 64-bit mode. It reads and writes by guest-virtual address, end to end: its own page
 * table, each of whose entries it reads through the nested page table and the RMP; the rights there, by CPL, CR0.WP, SMEP,
 * SMAP and protection keys; accessed and dirty bits; the nested page table; the RMP; and the key that the C-bit, or the
 * virtual top of memory, chooses.
 *
 * An instruction that exits with a nested page fault is repeated if the hypervisor resolves it, and else throws it.
 * One that throws has changed nothing of memory and RMP but accessed and dirty bits, as on hardware.
 *
 * Every method that takes an address throws `SnpFault`: `GP` for one that is not canonical, `PF`, `NPF`,
 * `VC_NOT_VALIDATED`.
 */
export class Vcpu implements GuestCpu {
  readonly guest: GuestContext;
  /** Its privilege level, fixed: a VMSA is for one. */
  readonly vmpl: Vmpl;
  /** The GHCB MSR, C001_0130: written with a request, read after {@link vmgexit}. */
  ghcbMsr = 0n;
  /** The registers that a call of the SVSM has its arguments in: what its VMSA shows to VMPL0 while it does not run. */
  readonly registers: SvsmRegisters = { rax: 0n, rcx: 0n, rdx: 0n, r8: 0n, r9: 0n };
  /**
   * The guest's private memory by guest-physical address, as software that maps all of it reaches it: where its page
   * tables lie.
   */
  readonly memory: PhysMemory;
  readonly #tlb: TranslationCache | undefined;
  readonly #nestedTlb: NestedTlb | undefined;
  readonly #mmu: GuestMmu;
  #cr2 = 0n;
  #vmsa: RunnableVmsa | undefined;
  #isRunning = false;

  /**
   * @throws SnpError `INVALID_ARGUMENT` if there is no such privilege level
   */
  constructor(guest: GuestContext, options: VcpuOptions = {}) {
    const { vmpl = Vmpl.Vmpl0, tlb, nestedTlb } = options;
    if (!Object.values(Vmpl).includes(vmpl)) {
      throw new SnpError('INVALID_ARGUMENT', { what: 'VMPL', value: vmpl, expected: 'pass 0 to 3' });
    }
    this.guest = guest;
    this.vmpl = vmpl;
    this.#tlb = tlb;
    this.#nestedTlb = nestedTlb;
    this.#vmsa = options.vmsa;
    const la57 = guest.paging.levels === 5 ? ControlBit.Cr4La57 : 0n;
    const registers = { ...START_REGISTERS, cr4: START_REGISTERS.cr4 | la57, ...options.registers };
    this.#mmu = new GuestMmu(guest, { vmpl, cpl: 0, tlb, nestedTlb, registers });
    const user = () => ({ ...this.#privilege, gva: undefined, isWalk: false });
    const data = new GuestMemory(guest, user, nestedTlb);
    this.memory = {
      epoch: Number.NaN,
      words: (frame, write) => this.#restarting(undefined, () => data.words(frame, write)),
      wordOffset: () => 0,
    };
  }

  /** Its privilege level, 0 to 3. @throws PageTableError `INVALID_CPU_STATE` for another one */
  get cpl(): number {
    return this.#mmu.cpl;
  }

  set cpl(value: number) {
    this.#mmu.cpl = value;
  }

  /** The registers that decide how it accesses memory: a copy. */
  get controlRegisters(): ControlRegisters {
    return this.#mmu.registers;
  }

  /** CR3, with the C-bit if it was loaded with it. */
  get cr3(): bigint {
    return this.#mmu.registers.cr3;
  }

  /** CR2: the address of the last #PF, or of the last #VC for a page that is not validated. */
  get cr2(): bigint {
    return this.#cr2;
  }

  /**
   * Loads a register, as MOV to CR0, CR3, CR4, WRMSR, POPF and WRPKRU do, and flushes of the TLB what belongs to that
   * (AMD64 APM vol. 2, §5.5.2).
   *
   * @throws SnpFault `GP` for a value that the processor refuses; SnpError `INVALID_ARGUMENT` for one that is too wide
   */
  load(register: ControlRegister, value: bigint): void {
    this.#mmu.load(register, value);
    if (register === 'cr3') this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /** MOV to CR3, as {@link load}: uses the page table with that root, and flushes all but global translations. @throws as {@link Vcpu.load} */
  loadCr3(value: bigint): void {
    this.load('cr3', value);
  }

  /** INVLPG: forgets the translation of the page of `gva`. */
  invlpg(gva: VirtAddr): void {
    this.#tlb?.flushPage(gva);
    this.guest.machine.trace({ type: 'flush', gva });
  }

  /**
   * INVLPGB for the guest's ASID, and TLBSYNC: all of its processors forget all translations, nested ones and what they have
   * cached of the RMP too. What RMPADJUST must be followed by.
   */
  invlpgb(): void {
    this.guest.flushTlbs();
    this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /** Forgets all of its own translations, as a change of CR4.PGE does; not nested ones. */
  flushTlb(): void {
    this.#tlb?.flushAll();
    this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /** The `length` bytes from `gva` on, across pages. O(length + pages · levels²). */
  read(gva: VirtAddr, length: number, options: DataAccessOptions = NO_OPTIONS): Uint8Array {
    return this.#copyOut(gva, length, 'read', options);
  }

  /** As {@link read}, for instructions: always private, whatever the C-bit (AMD64 APM vol. 2, §15.34.5). */
  fetch(gva: VirtAddr, length: number): Uint8Array {
    return this.#copyOut(gva, length, 'fetch', NO_OPTIONS);
  }

  /** Writes `bytes` from `gva` on, across pages; if one of them cannot be written to, none is. */
  write(gva: VirtAddr, bytes: Uint8Array, options: DataAccessOptions = NO_OPTIONS): void {
    const frame = this.#cachedFrame(gva, bytes.length, 'write', options);
    if (frame >= 0) {
      const offset = Number(gva & 0xfffn);
      this.guest.machine.memory.writeFrame(frame, offset, bytes, this.guest.key);
      return;
    }
    const pieces = this.#restarting(gva, () => this.#pieces(gva, bytes.length, 'write', options));
    const { memory } = this.guest.machine;
    for (const { spa, key, start, count } of pieces)
      memory.write(spa, bytes.subarray(start, start + count), key);
  }

  /** PVALIDATE, as {@link pvalidate} describes it. */
  pvalidate(gva: VirtAddr, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer {
    const answer = this.#restarting(gva, () => pvalidate(this, gva, pageSize, validate));
    this.guest.machine.trace({ type: 'pvalidate', gva, pageSize, validate, ...answer });
    return answer;
  }

  /** RMPADJUST, as {@link rmpadjust} describes it. */
  rmpadjust(gva: VirtAddr, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult {
    const result = this.#restarting(gva, () => rmpadjust(this, gva, pageSize, adjustment));
    this.guest.machine.trace({ type: 'rmpadjust', gva, result });
    return result;
  }

  /** RMPQUERY, as {@link rmpquery} describes it. */
  rmpquery(gva: VirtAddr, vmpl: Vmpl): RmpqueryAnswer {
    return this.#restarting(gva, () => rmpquery(this, gva, vmpl));
  }

  /**
   * VMGEXIT: exits to the hypervisor, which reads a request from the GHCB MSR and may put an answer there.
   *
   * @throws SnpError `UNSUPPORTED_VMGEXIT`, `TERMINATED`, `OUT_OF_MEMORY`; SnpFault `VMRUN` if the processor does not run,
   *   or cannot be run again
   */
  vmgexit(): void {
    const { machine } = this.guest;
    this.#requireRunning();
    const request = this.ghcbMsr;
    machine.trace({ type: 'vmgexit', request });
    const answer = this.#outside(VmExit.Vmgexit, 0n, 0n, () =>
      machine.hypervisor.vmgexit(this.guest, request, this),
    );
    this.ghcbMsr = BigInt.asUintN(64, answer);
    machine.trace({ type: 'vmrun', response: this.ghcbMsr });
  }

  /** The VMSA that it is run by. */
  get vmsa(): RunnableVmsa | undefined {
    return this.#vmsa;
  }

  /** Whether it is between VMRUN and #VMEXIT, so that its VMSA is in use. One without a VMSA always is. */
  get isRunning(): boolean {
    return this.#vmsa === undefined || this.#isRunning;
  }

  /**
   * Continues with the state in `image`, a VMSA of 4096 bytes that has passed the checks of VMRUN. The guest calls it.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `image` is not 4096 bytes long
   */
  resume(image: Uint8Array, vmsa: RunnableVmsa): void {
    const { cpl, control, cr2, virtualTom, registers } = stateOfVmsa(image, this.controlRegisters.pkrs);
    this.#vmsa = vmsa;
    this.#isRunning = true;
    this.#mmu.reset(control, virtualTom);
    this.#mmu.cpl = cpl;
    this.#cr2 = cr2;
    Object.assign(this.registers, registers);
    // Software asks for a flush by clearing PCPU_ID, and sees by another value that it was done (§15.36.15).
    if (readVmsa(image, 'pcpuId') !== 0n) return;
    this.#tlb?.flushAll();
    this.#nestedTlb?.flushAll();
    writeVmsa(image, 'pcpuId', 1n);
    this.guest.machine.memory.write(vmsa.spa, image, this.guest.key);
  }

  /**
   * #VMEXIT: saves the state, the exit code and both infos in the VMSA, whose page is not in use any more. Does nothing
   * unless the processor runs on a VMSA.
   *
   * @throws SnpError `INVALID_MESSAGE` if an info has more than 64 bits
   */
  leave(exitCode: bigint, exitInfo1 = 0n, exitInfo2 = 0n): void {
    const vmsa = this.#vmsa;
    if (vmsa === undefined || !this.#isRunning) return;
    const { machine, key } = this.guest;
    const image = machine.memory.read(vmsa.spa, PAGE_SIZE, key);
    const { virtualTom } = this.#mmu;
    const state = { cpl: this.cpl, control: this.controlRegisters, cr2: this.#cr2, virtualTom };
    saveState(image, { ...state, registers: this.registers }, { exitCode, exitInfo1, exitInfo2 });
    machine.memory.write(vmsa.spa, image, key);
    vmexit(machine, vmsa);
    this.#isRunning = false;
  }

  /** What the hypervisor does between #VMEXIT and the next VMRUN. */
  #outside<T>(exitCode: bigint, exitInfo1: bigint, exitInfo2: bigint, handle: () => T): T {
    const wasRunning = this.#isRunning;
    this.leave(exitCode, exitInfo1, exitInfo2);
    const answer = handle();
    if (wasRunning && this.#vmsa !== undefined) this.guest.vmrun(this.#vmsa);
    return answer;
  }

  /**
   * Where `gva` leads, if it were read (or what `kind` says), without the RMP's checks of the page itself. The hypervisor
   * gets no chance to resolve a nested page fault.
   *
   * @param update - whether it counts as an access, to be cached and noted in accessed bits: as an instruction's operand
   *   does. `false` if not given
   */
  translate(gva: VirtAddr, kind: 'read' | 'write' = 'read', update = false): GuestTranslation {
    const { gpa, isPrivate, page } = this.#mmu.translate(gva, kind, { update });
    const access = { ...this.#privilege, gpa, gva, kind, isPrivate };
    const nested = translateNested(this.guest, access, this.#nestedTlb);
    return Object.freeze({ gva, gpa, spa: nested.spa, isPrivate, guestSize: page.size, nested });
  }

  get #privilege(): Privilege {
    return { vmpl: this.vmpl, cpl: this.cpl };
  }

  #copyOut(gva: VirtAddr, length: number, kind: AccessKind, options: DataAccessOptions): Uint8Array {
    const frame = this.#cachedFrame(gva, length, kind, options);
    if (frame >= 0) {
      return this.guest.machine.memory.readFrame(frame, Number(gva & 0xfffn), length, this.guest.key);
    }
    const pieces = this.#restarting(gva, () => this.#pieces(gva, length, kind, options));
    const { memory, hypervisor } = this.guest.machine;
    const bytes = new Uint8Array(length);
    for (const { spa, key, start, count } of pieces) {
      if (key === NO_KEY) hypervisor.beforeSharedRead?.(this.guest, spa, count);
      memory.readInto(spa, bytes.subarray(start, start + count), key);
    }
    return bytes;
  }

  /**
   * The system frame of a private access within one page that both TLBs allow, else -1: what most accesses come to, without
   * a bigint or an object made on the way.
   */
  #cachedFrame(gva: VirtAddr, length: number, kind: AccessKind, options: DataAccessOptions): number {
    const nestedTlb = this.#nestedTlb;
    if (nestedTlb === undefined || !this.isRunning || typeof gva !== 'bigint' || length === 0) return -1;
    CELL[0] = gva;
    const low = HALVES[0]!;
    if (CELL[0] !== gva || (low & 0xfff) + length > PAGE_SIZE) return -1;
    const page = this.#mmu.privatePage(gva, kind, options);
    if (page === undefined) return -1;
    CELL[0] = page.frame;
    const first = HALVES[1]! * 2 ** 20 + (HALVES[0]! >>> 12);
    const frame = first + ((low >>> 12) & (page.size / PAGE_SIZE - 1));
    return nestedTlb.frameOf(this.guest, frame, accessBit(kind, true, this.#mmu.cpl));
  }

  /** The access page by page, all of them allowed. */
  #pieces(gva: VirtAddr, length: number, kind: AccessKind, options: DataAccessOptions): Piece[] {
    const pieces: Piece[] = [];
    for (let start = 0; start < length; ) {
      const at = this.#mmu.isCanonical(gva) ? this.#mmu.add(gva, start) : undefined;
      if (at === undefined) throw notCanonical(gva);
      const count = Math.min(PAGE_SIZE - pageOffset(at), length - start);
      pieces.push({ ...this.#piece(at, kind, options), start, count });
      start += count;
    }
    return pieces;
  }

  #piece(gva: VirtAddr, kind: AccessKind, options: DataAccessOptions): { spa: SysPhysAddr; key: number } {
    const { gpa, isPrivate } = this.#mmu.translate(gva, kind, options);
    const access = { ...this.#privilege, gva, gpa, kind, isPrivate };
    return {
      spa: accessGuestPhys(this.guest, access, this.#nestedTlb),
      key: isPrivate ? this.guest.key : NO_KEY,
    };
  }

  /** Runs an instruction about `gva`, again after each nested page fault that the hypervisor resolves. */
  #restarting<T>(gva: VirtAddr | undefined, instruction: () => T): T {
    const { machine } = this.guest;
    this.#requireRunning();
    for (let exits = 1; ; exits += 1) {
      try {
        return instruction();
      } catch (error) {
        if (!isSnpFault(error, 'NPF')) throw this.#noted(error, gva);
        const { gpa, exitInfo1 } = error.details;
        machine.trace({ type: 'npf', gpa, exitInfo1 });
        const resolved = this.#outside(VmExit.NestedPageFault, exitInfo1, gpa, () =>
          machine.hypervisor.handleNestedPageFault(this.guest, gpa as PhysAddr, exitInfo1),
        );
        if (!resolved || exits === MAX_EXITS) throw error;
      }
    }
  }

  /** What does not run executes nothing: the hypervisor has taken what it was run by. */
  #requireRunning(): void {
    const vmsa = this.#vmsa;
    if (vmsa !== undefined && !this.#isRunning) {
      throw new SnpFault('VMRUN', { exitCode: VmExit.Invalid, vmsa: vmsa.spa });
    }
  }

  /** The fault that an access to `gva` and what follows it has raised, with CR2 loaded. */
  #noted(error: unknown, gva: VirtAddr | undefined): unknown {
    if (isSnpFault(error, 'PF') || isSnpFault(error, 'VC_NOT_VALIDATED')) {
      const { cr2OnCrossing } = this.guest.machine.rmp.assumptions;
      const first = cr2OnCrossing === 'first-byte' ? gva : undefined;
      this.#cr2 = first ?? error.details.gva ?? this.#cr2;
    }
    return error;
  }
}

interface Piece {
  readonly spa: SysPhysAddr;
  readonly key: number;
  /** Where in the access it begins, and its bytes. */
  readonly start: number;
  readonly count: number;
}

function notCanonical(gva: bigint): SnpFault<'GP'> {
  return new SnpFault('GP', { errorCode: 0, reason: `${String(gva)} is no canonical address` });
}
