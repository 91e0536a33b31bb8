import { pageOffset, showInConsoles, type VirtAddr } from '@svsm/address';
import type { VirtPage } from '@svsm/memory-region';
import type { AccessKind, PhysMemory } from '@svsm/pagetable';
import { refuseArgument, requireFunction, requireInteger, requireUint64 } from '../formats/arguments.ts';
import { isBytes } from '../formats/byte-fields.ts';
import { addressOf } from '../formats/page-address.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import type { RmpResult } from '../formats/rmp-result.ts';
import type { SvsmRegisters } from '../formats/svsm-protocol.ts';
import { Vmpl } from '../formats/vmpl.ts';
import { readVmsa, writeVmsa } from '../formats/vmsa.ts';
import { SnpFault } from '../rmp/snp-fault.ts';
import { cachedFrame } from './cached-frame.ts';
import { executeReported } from './executed.ts';
import { FrameCache, NO_OPTIONS } from './frame-cache.ts';
import { guestPhysAccess, translateNested } from './guest-access.ts';
import {
  adjustmentOperand,
  adjustPage,
  type GuestCpu,
  type GuestTranslation,
  type PvalidateAnswer,
  type RmpAdjustment,
  type RmpqueryAnswer,
  rmpquery,
  validatePage,
} from './guest-instructions.ts';
import { loadBytes } from './guest-load.ts';
import { GuestMemory, softwareMemory } from './guest-memory.ts';
import { GuestMmu } from './guest-mmu.ts';
import { type AccessPath, exchangeBytes, exchangeQword, storeBytes, storeZeros } from './guest-store.ts';
import { InstructionRunner } from './instruction-runner.ts';
import { noteVcpu } from './is-vcpu.ts';
import type { MachineEvent } from './machine-event.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { PageFaultHandler } from './page-fault.ts';
import type { GuestContext, RunnableVmsa } from './platform.ts';
import type { TranslationCache } from './translation-cache.ts';
import { requireAccess, requireQword, requireVcpuOptions, startRegisters } from './vcpu-checks.ts';
import type { DataAccessOptions, VcpuOptions } from './vcpu-options.ts';
import { ControlBit, type ControlRegister, type ControlRegisters } from './vcpu-registers.ts';
import { type ExitInformation, requireExit, stateOfVmsa } from './vcpu-state.ts';
import { runnableVmsa, saveAndExit, VmExit } from './vmrun.ts';

/**
 * A processor of an SNP guest, in 64-bit mode, or in another mode before software enters that. It accesses memory by guest-virtual
 * address. An access goes through the guest's page table, whose entries are read through the nested page table and the RMP; the
 * rights by CPL, CR0.WP, SMEP, SMAP and protection keys; accessed and dirty bits; the nested page table; the RMP; and the key,
 * which the C-bit or the virtual top of memory selects.
 *
 * An instruction that exits with a nested page fault runs again if the hypervisor resolves the fault; else the fault is
 * thrown. An instruction that throws has changed nothing in memory and RMP but accessed and dirty bits, as on hardware.
 * Each page is checked when it is used: what the hypervisor changes in the middle of an access is found.
 *
 * Every method with an address throws `SnpFault`: `GP` if it is not canonical, `PF`, `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`.
 */
export class Vcpu implements GuestCpu {
  static {
    showInConsoles(this, 'Vcpu', ({ vmpl, cpl, cr3, isRunning }) => ({ vmpl, cpl, cr3, isRunning }));
  }

  readonly guest: GuestContext;
  /** The privilege level. It is fixed: a VMSA has one level. */
  readonly vmpl: Vmpl;
  /** The registers with the arguments of an SVSM call. While the processor does not run, its VMSA shows them to VMPL0. */
  readonly registers: SvsmRegisters = { rax: 0n, rcx: 0n, rdx: 0n, r8: 0n, r9: 0n };
  /**
   * The guest's private memory by guest-physical address, as software reaches it that maps all of it. Page tables of the
   * guest lie here. Use its words at once: see `EncryptedMemory.words`.
   */
  readonly memory: PhysMemory;
  /** The cache of its own translations, and that of its nested ones, as its options have them. */
  readonly tlb: TranslationCache | undefined;
  readonly nestedTlb: NestedTlb | undefined;
  /**
   * Called when an instruction raises a #PF, after CR2 is loaded and before the fault is thrown. The handler may do all that software
   * may do: change page tables, use this processor, exit. A fault of its own accesses is thrown to it. An error that it throws goes
   * on to the caller of the instruction, which has changed nothing. After 64 exits and retries of one instruction, the fault is
   * thrown. `translate` does not call it. Setting another value than a function or `undefined` throws SnpError `INVALID_ARGUMENT`.
   */
  get onPageFault(): PageFaultHandler | undefined {
    return this.#onPageFault;
  }

  set onPageFault(handler: PageFaultHandler | undefined) {
    if (handler !== undefined) requireFunction('onPageFault', handler);
    this.#onPageFault = handler;
  }

  #onPageFault: PageFaultHandler | undefined;
  readonly #mmu: GuestMmu;
  readonly #path: AccessPath;
  readonly #frames: FrameCache;
  readonly #runner: InstructionRunner;
  #ghcbMsr = 0n;
  #vmsa: RunnableVmsa | undefined;
  #isRunning = false;

  /**
   * @throws SnpError `INVALID_ARGUMENT` if the privilege level does not exist, a processor cannot have the registers, or the
   *   model does not know their mode: 32-bit and PAE paging
   */
  constructor(guest: GuestContext, options: VcpuOptions = {}) {
    requireVcpuOptions(guest, options);
    noteVcpu(this);
    const { vmpl = Vmpl.Vmpl0, tlb, nestedTlb, onPageFault } = options;
    this.guest = guest;
    this.vmpl = vmpl;
    this.tlb = tlb;
    this.nestedTlb = nestedTlb;
    this.#onPageFault = onPageFault;
    this.#vmsa = options.vmsa === undefined ? undefined : runnableVmsa(options.vmsa);
    const registers = startRegisters(guest, options.registers);
    const { csL = (BigInt(registers.efer) & ControlBit.EferLma) !== 0n, vmplSss = false } = options;
    this.#mmu = new GuestMmu(guest, { vmpl, cpl: 0, tlb, nestedTlb, registers, csL, vmplSss });
    this.#frames = new FrameCache({ guest, vmpl, mmu: this.#mmu, tlb, nestedTlb });
    const requireRunning = (): void => this.#requireRunning();
    this.#runner = new InstructionRunner({
      guest,
      mmu: this.#mmu,
      tlb: options.tlb,
      requireRunning,
      duringExit: (exit, handle) => this.#duringExit(exit, handle),
      handler: () => this.#onPageFault,
    });
    const beforeShared = this.#runner.beforeShared.bind(this.#runner);
    this.#path = { guest, mmu: this.#mmu, nestedTlb, requireRunning, beforeShared };
    const data = new GuestMemory(guest, this.#mmu, false, nestedTlb);
    const run = (access: () => Uint32Array) => this.#runner.run(undefined, undefined, access);
    this.memory = softwareMemory(data, () => this.isRunning, run);
  }

  /** The CPL, 0 to 3. @throws PageTableError `INVALID_CPU_STATE` for another value */
  get cpl(): number {
    return this.#mmu.cpl;
  }

  set cpl(value: number) {
    this.#mmu.cpl = value;
  }

  /**
   * The bit L of the code segment, which far transfers load: while EFER.LMA is 1, `true` is 64-bit mode and `false`
   * compatibility mode, whose addresses have 32 bits.
   *
   * @throws SnpError `INVALID_ARGUMENT` for a value that is not a boolean
   */
  get csL(): boolean {
    return this.#mmu.csL;
  }

  set csL(value: boolean) {
    this.#mmu.csL = value;
  }

  /** Whether it is in 64-bit mode: EFER.LMA and {@link Vcpu.csL} are 1. */
  get is64Bit(): boolean {
    return this.#mmu.is64Bit;
  }

  /** The registers that decide how memory is accessed. */
  get controlRegisters(): ControlRegisters {
    return this.#mmu.registers;
  }

  /** CR3, with the C-bit if it was loaded with it. */
  get cr3(): bigint {
    return this.#mmu.registers.cr3;
  }

  /**
   * The GHCB MSR, C001_0130. Write a request to it, and read the answer after {@link vmgexit}.
   *
   * @throws SnpError `INVALID_ARGUMENT` for a value that is not an unsigned bigint of 64 bits
   */
  get ghcbMsr(): bigint {
    return this.#ghcbMsr;
  }

  set ghcbMsr(value: bigint) {
    requireUint64('the GHCB MSR', value);
    this.#ghcbMsr = value;
  }

  /** CR2: the address of the last #PF, or of the last #VC for a page that is not validated. */
  get cr2(): bigint {
    return this.#runner.cr2;
  }

  /**
   * Loads a register, as MOV to CR0, CR3 or CR4, WRMSR, POPF and WRPKRU do, with the flush of the TLB that belongs to the
   * load. The rules are those of `setCr0`, `setCr3`, `setCr4` and `writeEfer` of `@svsm/pagetable`, for a processor of AMD.
   *
   * @throws SnpFault `GP` for a value that the processor refuses; SnpError `INVALID_ARGUMENT` for a value that does not
   *   fit the register, or that turns on paging without EFER.LME
   */
  load(register: ControlRegister, value: bigint): void {
    this.#mmu.load(register, value);
    if (register === 'cr3') this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /**
   * MOV to CR3, as {@link load}: uses the page table with that root, and flushes all but global translations.
   *
   * @throws as {@link Vcpu.load}
   */
  loadCr3(value: bigint): void {
    this.load('cr3', value);
  }

  /** INVLPG: drops the translation of a page. */
  invlpg(page: VirtPage): void {
    const gva = addressOf(page);
    this.tlb?.flushPage(gva);
    this.guest.machine.trace({ type: 'flush', gva });
  }

  /**
   * INVLPGB for the guest's ASID, and TLBSYNC: all its processors drop all translations, including nested ones and
   * verdicts of the RMP. It has to follow an RMPADJUST that takes rights away.
   */
  invlpgb(): void {
    this.guest.flushTlbs();
    this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /** Drops all translations of the guest's own page tables, as a change of CR4.PGE does; not nested ones. */
  flushTlb(): void {
    this.tlb?.flushAll();
    this.guest.machine.trace({ type: 'flush', gva: undefined });
  }

  /**
   * Reads `length` bytes from an address, or from the start of a page on, page by page. O(length + pages · levels²).
   *
   * @throws SnpError `INVALID_ARGUMENT` for a length that is not an integer from 0 on, or options that do not exist; SnpFault
   */
  read(page: VirtPage, length: number, options: DataAccessOptions = NO_OPTIONS): Uint8Array {
    return this.#copyOut(addressOf(page), length, 'read', options);
  }

  /**
   * Fetches instructions: as {@link read}, but always private, whatever the C-bit (AMD64 APM vol. 2, §15.34.5).
   *
   * @throws as {@link Vcpu.read}
   */
  fetch(page: VirtPage, length: number): Uint8Array {
    return this.#copyOut(addressOf(page), length, 'fetch', NO_OPTIONS);
  }

  /**
   * Writes `bytes` from an address, or from the start of a page on, across pages. If one page cannot be written, nothing is.
   *
   * @throws SnpError `INVALID_ARGUMENT` for bytes that are not a `Uint8Array`, or options that do not exist; SnpFault
   */
  write(page: VirtPage, bytes: Uint8Array, options: DataAccessOptions = NO_OPTIONS): void {
    const gva = addressOf(page);
    if (!isBytes(bytes)) refuseArgument('the bytes', bytes, 'pass a Uint8Array');
    const frame = this.#cachedFrame(gva, bytes.length, 'write', options);
    const { machine } = this.guest;
    if (frame >= 0) machine.memory.writeFrame(frame, pageOffset(gva), bytes, this.guest.key);
    else this.#runner.run(gva, 'write', () => storeBytes(this.#path, gva, bytes, options));
  }

  /**
   * Writes `length` zeros from an address, or from the start of a page on, with the checks and faults of {@link write}. Zeros cost
   * no memory. 2 MiB that guest, host and RMP have as one page are one access, O(levels²), and one entry of a `NestedTlb`; else
   * O(pages · levels²).
   *
   * @throws SnpError `INVALID_ARGUMENT` for a length that is not an integer from 0 on; SnpFault
   */
  clear(page: VirtPage, length: number): void {
    const gva = addressOf(page);
    this.#runner.run(gva, 'write', () => storeZeros(this.#path, gva, length, NO_OPTIONS));
  }

  /**
   * XCHG of a byte: writes `value`, 0 to 255, and returns the byte that was there. It needs the rights of a write. Faults and
   * exits come before the read, so nothing runs between read and write. O(levels²).
   *
   * @throws SnpError `INVALID_ARGUMENT`; SnpFault as {@link write}
   */
  exchange(page: VirtPage, value: number): number {
    requireInteger('the byte', value, 0, 0xff);
    const gva = addressOf(page);
    const exchange = () => exchangeBytes(this.#path, gva, 1, () => Uint8Array.of(value));
    return this.#runner.run(gva, 'write', exchange)[0]!;
  }

  /**
   * CMPXCHG of 8 bytes with LOCK: writes `value` if `expected` was there, and returns what was there. Rights, faults and exits
   * are those of {@link exchange}. O(levels²).
   *
   * @param page - a multiple of 8, or a cursor
   * @throws SnpError `INVALID_ARGUMENT`; SnpFault as {@link write}
   */
  compareExchange(page: VirtPage, expected: bigint, value: bigint): bigint {
    const gva = addressOf(page);
    requireQword(gva, expected, value);
    return this.#runner.run(gva, 'write', () => exchangeQword(this.#path, gva, expected, value));
  }

  /** PVALIDATE: see `pvalidate`. @throws SnpError `INVALID_ARGUMENT`; SnpFault as there */
  pvalidate(page: VirtPage, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer {
    const gva = addressOf(page);
    const execute = () => validatePage(this, gva, pageSize, validate);
    const event = { type: 'pvalidate', gva, pageSize, validate } as const;
    return this.#reported(gva, execute, (answer) => ({ ...event, ...answer }));
  }

  /** RMPADJUST: see `rmpadjust`. @throws SnpError `INVALID_ARGUMENT`; SnpFault as there */
  rmpadjust(page: VirtPage, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult {
    const gva = addressOf(page);
    const operand = adjustmentOperand(adjustment);
    const execute = () => adjustPage(this, gva, pageSize, operand);
    return this.#reported(gva, execute, (result) => ({ type: 'rmpadjust', gva, result }));
  }

  #reported<T>(gva: VirtAddr, execute: () => T, eventOf: (answer: T) => MachineEvent): T {
    return executeReported(this, () => this.#runner.run(gva, undefined, execute), eventOf);
  }

  /** RMPQUERY: see {@link rmpquery}. @throws SnpError `INVALID_ARGUMENT`; SnpFault as there */
  rmpquery(page: VirtPage, vmpl: Vmpl): RmpqueryAnswer {
    const gva = addressOf(page);
    return this.#runner.run(gva, undefined, () => rmpquery(this, gva, vmpl));
  }

  /**
   * VMGEXIT: exits to the hypervisor, which reads a request from the GHCB MSR and may put an answer there.
   *
   * @throws SnpError `UNSUPPORTED_VMGEXIT`, `TERMINATED`, `OUT_OF_MEMORY`, `INVALID_ARGUMENT` if the answer is not a bigint;
   *   SnpFault `VMRUN` if the processor does not run, or cannot be run again
   */
  vmgexit(): void {
    const { machine } = this.guest;
    this.#requireRunning();
    const request = this.#ghcbMsr;
    machine.trace({ type: 'vmgexit', request });
    const exit = { exitCode: VmExit.Vmgexit, exitInfo1: 0n, exitInfo2: 0n };
    const answer = this.#duringExit(exit, () => machine.hypervisor.vmgexit(this.guest, request, this));
    this.#requireRunning();
    if (typeof answer !== 'bigint') refuseArgument('the answer of the hypervisor', answer, 'return a bigint');
    this.#ghcbMsr = BigInt.asUintN(64, answer);
    machine.trace({ type: 'vmrun', response: this.#ghcbMsr });
  }

  /** The VMSA that it runs on. */
  get vmsa(): RunnableVmsa | undefined {
    return this.#vmsa;
  }

  /** Whether it is between VMRUN and #VMEXIT, so that its VMSA is in use. Without a VMSA it always runs. */
  get isRunning(): boolean {
    return this.#vmsa === undefined || this.#isRunning;
  }

  /**
   * Continues with the state in `image`, a VMSA of 4096 bytes that has passed the checks of VMRUN. The guest calls it.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `image` is not 4096 bytes long, or its registers are those of no processor
   */
  resume(image: Uint8Array, vmsa: RunnableVmsa): void {
    const state = stateOfVmsa(image, this.controlRegisters.pkrs);
    const { cpl, control, csL, cr2, virtualTom, vmplSss, registers } = state;
    const runnable = runnableVmsa(vmsa);
    this.#mmu.reset({ registers: control, csL, virtualTom, vmplSss });
    this.#mmu.cpl = cpl;
    this.#vmsa = runnable;
    this.#isRunning = true;
    this.#runner.cr2 = cr2;
    Object.assign(this.registers, registers);
    // Software clears PCPU_ID to request a flush. Another value tells it that the flush was done (§15.36.15).
    if (readVmsa(image, 'pcpuId') !== 0n) return;
    this.tlb?.flushAll();
    this.nestedTlb?.flushAll();
    writeVmsa(image, 'pcpuId', 1n);
    this.guest.machine.memory.write(runnable.spa, image, this.guest.key);
  }

  /**
   * #VMEXIT: saves the state, the exit code and both infos in the VMSA, whose page is not in use any more. Does nothing
   * unless the processor runs on a VMSA. A decommissioned guest has no key: nothing is saved, and the use ends all the same.
   *
   * @throws SnpError `INVALID_MESSAGE` if the code or an info is not a bigint of 64 bits
   */
  leave(exitCode: bigint, exitInfo1 = 0n, exitInfo2 = 0n): void {
    requireExit({ exitCode, exitInfo1, exitInfo2 });
    const vmsa = this.#vmsa;
    if (vmsa === undefined || !this.#isRunning) return;
    const { cpl, csL, registers: control } = this.#mmu;
    const state = { cpl, csL, control, cr2: this.#runner.cr2, registers: this.registers };
    saveAndExit(this.guest, vmsa, state, { exitCode, exitInfo1, exitInfo2 });
    this.#isRunning = false;
  }

  /** Runs `handle`, a part of the hypervisor, between #VMEXIT and the next VMRUN. */
  #duringExit<T>({ exitCode, exitInfo1, exitInfo2 }: ExitInformation, handle: () => T): T {
    const wasRunning = this.#isRunning;
    this.leave(exitCode, exitInfo1, exitInfo2);
    const answer = handle();
    if (wasRunning && this.#vmsa !== undefined) this.guest.vmrun(this.#vmsa);
    return answer;
  }

  /**
   * Translates an address, or the start of a page, with the rights for `kind`, without the RMP checks of the page itself. A nested
   * page fault is thrown: the hypervisor cannot resolve it.
   *
   * @param update - whether it counts as an access, which fills the TLB and sets accessed bits, as an operand of an
   *   instruction does: `false` if not given
   */
  translate(page: VirtPage, kind: 'read' | 'write' = 'read', update = false): GuestTranslation {
    const gva = addressOf(page);
    const { gpa, isPrivate, page: found } = this.#mmu.translate(gva, kind, { update });
    const access = guestPhysAccess(this.#mmu, gpa, gva, kind, isPrivate);
    const nested = translateNested(this.guest, access, this.nestedTlb);
    return Object.freeze({ gva, gpa, spa: nested.spa, isPrivate, guestSize: found.size, nested });
  }

  #copyOut(gva: VirtAddr, length: number, kind: AccessKind, options: DataAccessOptions): Uint8Array {
    const frame = this.#cachedFrame(gva, length, kind, options);
    const { machine } = this.guest;
    if (frame >= 0) return machine.memory.readFrame(frame, pageOffset(gva), length, this.guest.key);
    return this.#runner.run(gva, kind, () => loadBytes(this.#path, gva, length, kind, options));
  }

  /** The system frame of an access, if both TLBs allow it; else -1. */
  #cachedFrame(gva: VirtAddr, length: number, kind: AccessKind, options: DataAccessOptions): number {
    const { nestedTlb } = this;
    if (options !== NO_OPTIONS) requireAccess(options);
    if (nestedTlb === undefined || !this.isRunning) return -1;
    if (options === NO_OPTIONS) return this.#frames.frameOf(gva, length, kind, nestedTlb);
    return cachedFrame(this, this.#mmu, nestedTlb, gva, length, kind, options);
  }

  /** A processor that does not run cannot execute: the hypervisor has taken away its VMSA, or the guest does not run. */
  #requireRunning(): void {
    const vmsa = this.#vmsa;
    if (vmsa !== undefined && !this.#isRunning) {
      throw new SnpFault('VMRUN', { exitCode: VmExit.Invalid, vmsa: vmsa.spa });
    }
    // A guest that the firmware has not launched yet, or has decommissioned, has no key: see `GuestContext.key`.
    void this.guest.key;
  }
}
