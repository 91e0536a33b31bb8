import { PAGE_SIZE, PageSize, type PhysAddr, showInConsoles } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import { VmExit } from '../cpu/vmrun.ts';
import type { Assumptions } from '../formats/assumptions.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SvsmCall, type SvsmRegisters, SvsmResult } from '../formats/svsm-protocol.ts';
import { type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { EFER_SVME, readVmsa } from '../formats/vmsa.ts';
import { requireProcessor, requireRegisters } from '../guest/argument-checks.ts';
import type { GuestPageAccess } from './guest-page-access.ts';
import { GuestPages } from './guest-pages.ts';
import { depositList, pvalidateList, withdraw } from './list-calls.ts';
import { versionsOf } from './other-protocol.ts';
import { PageReach } from './page-reach.ts';
import type { PageRights } from './page-rights.ts';
import type { Processor } from './processors.ts';
import type { SvsmCallContext } from './svsm-call-context.ts';
import { SvsmMemory } from './svsm-memory.ts';
import type { SvsmStateOptions } from './svsm-options.ts';
import { serveProtocol } from './svsm-protocols.ts';
import type { SvsmRecords } from './svsm-records.ts';
import { isDone, SvsmRefusal, unlessRefused } from './svsm-refusal.ts';
import { configureVtom } from './svsm-vtom.ts';
import { createVcpu, deleteVcpu, remapCallingArea } from './vcpu-calls.ts';
import { disableVmsa, putRegisters, readImage, registersOf, restoreEfer } from './vmsa-of-caller.ts';

/** The parts of a {@link SvsmCore}. */
interface CoreParts {
  readonly records: SvsmRecords;
  readonly options: SvsmStateOptions;
  readonly vcpu: Vcpu;
  readonly access: GuestPageAccess;
}

/**
 * The SVSM on one of its processors: its side of the core protocol (AMD document 58019, §4 to §6.8), all eight calls, for
 * callers at VMPL1 to VMPL3. `SvsmState.on` makes it.
 *
 * Whatever registers and lists a guest passes, a call ends with a result. It does not throw, does not read outside of the
 * page in which a list begins, and accesses only pages of the guest on which the caller has the rights itself. Headers and
 * entries are read once.
 *
 * Calls are served as on many processors. At each exit within a call, the hypervisor can enter the SVSM for another
 * processor. A call claims pages before it can exit; another call that needs them is BUSY. A call that is refused leaves
 * pages, rights and records as they were. In a list, this holds for the entry that is refused.
 */
export class SvsmCore {
  static {
    showInConsoles(this, 'SvsmCore', ({ vcpu, memory }) => ({ vcpu, memory }));
  }

  /** The processor of the SVSM. */
  readonly vcpu: Vcpu;
  /** The guest's memory, as this processor uses it outside of calls. */
  readonly memory: SvsmMemory;
  readonly #options: SvsmStateOptions;
  readonly #state: SvsmRecords;
  readonly #memory: GuestPages;

  /** @internal `SvsmState.on` creates these. */
  constructor({ records, options, vcpu, access }: CoreParts) {
    this.vcpu = vcpu;
    this.#options = options;
    this.#state = records;
    this.#memory = new GuestPages(records, vcpu, new PageReach(access));
    this.memory = new SvsmMemory(records, this.#memory);
  }

  /**
   * Lets `vcpu` call, through the calling area at `caa`. Processors that CREATE_VCPU has made need no registration. A
   * second registration with the same VMSA moves the calling area.
   *
   * @param caa - a page of the guest
   * @param vmsa - the page of its VMSA, if it has one: arguments and results are there, and EFER.SVME is cleared during a
   *   call. A VMSA in memory of the guest becomes the SVSM's own page, to which other levels have no access
   * @throws SnpError `INVALID_ARGUMENT` if `vcpu` is not a processor, a page has another use or cannot be a VMSA, or the
   *   processor is registered with another VMSA
   */
  register(vcpu: Vcpu, caa: PhysAddr, vmsa?: PhysAddr): void {
    requireProcessor(vcpu);
    const { processors } = this.#state;
    const held = processors.of(vcpu);
    if (held !== undefined && (held.vmsa !== vmsa || held.isBusy)) {
      throw argumentError(
        'the VMSA of a processor',
        vmsa,
        'pass the address of the VMSA of the first registration, outside of calls',
      );
    }
    if (held !== undefined && held.caa === caa) return;
    const record = { caa, vmsa, vmpl: vcpu.vmpl, apicId: undefined, rightsBefore: undefined, isBusy: false };
    this.#claimed(caa, 'the calling area', () => {
      if (held === undefined && vmsa !== undefined) this.#takeVmsa(vmsa);
      if (held === undefined) processors.register(vcpu, record);
      else held.caa = caa;
    });
  }

  /** Runs `action` with a page of the guest that has no other use. */
  #claimed(gpa: PhysAddr, what: string, action: () => void): void {
    const end = isPage(gpa)
      ? unlessRefused(() => this.#state.claim({}, gpa, PAGE_SIZE, 'change'))
      : undefined;
    if (end === undefined)
      throw argumentError(what, gpa, 'pass the address of a page of the guest without another use');
    try {
      action();
    } finally {
      end();
    }
  }

  /** Makes the page of a registered VMSA the SVSM's own, as CREATE_VCPU does. */
  #takeVmsa(vmsa: PhysAddr): void {
    if (isPage(vmsa) && this.#state.owns(vmsa)) {
      const isVmsa = [...this.#state.processors].some((processor) => processor.vmsa === vmsa);
      if (isVmsa || this.#state.isDeposited(vmsa))
        throw argumentError('the VMSA', vmsa, 'pass the address of a page without another use');
      return;
    }
    this.#claimed(vmsa, 'the VMSA', () => {
      const { reach, rights } = this.#memory;
      const take = (): void => {
        const before = rights.of(vmsa, PageSize.Regular);
        rights.undoing((journal) => rights.set(before.map(asVmsa), journal));
        this.#state.take(vmsa, PageSize.Regular);
      };
      const isTaken = isDone(() => reach.holding(vmsa, PageSize.Regular, take));
      if (!isTaken) throw argumentError('the VMSA', vmsa, 'pass a private, validated page');
    });
  }

  /** The calling area of `vcpu`. @throws SnpError `INVALID_ARGUMENT` if it is not a processor */
  callingArea(vcpu: Vcpu): PhysAddr | undefined {
    requireProcessor(vcpu);
    return this.#state.processors.of(vcpu)?.caa;
  }

  /**
   * Enters the SVSM on behalf of `vcpu`. If the processor has a pending call, the call is processed and changes its
   * registers. Else nothing happens: the hypervisor can enter the SVSM at any time. So a processor that runs, or whose call
   * is in progress, has no pending call.
   *
   * If the hypervisor keeps the SVSM from delivering the results, the processor is stopped: its registers are not used
   * again, and a VMSA keeps EFER.SVME clear.
   *
   * @returns whether a call was processed
   * @throws SnpError `INVALID_ARGUMENT` if `vcpu` is not a processor
   */
  enter(vcpu: Vcpu): boolean {
    requireProcessor(vcpu);
    const processor = this.#state.processors.of(vcpu);
    if (processor === undefined || processor.isBusy) return false;
    const { vmsa } = processor;
    if (vmsa === undefined && vcpu.vmsa !== undefined && vcpu.isRunning) return false;
    const turn: Turn = { isProcessed: false, isDelivered: false };
    processor.isBusy = true;
    try {
      unlessRefused(() => {
        const { reach } = this.#memory;
        reach.holding(processor.caa, PageSize.Regular, () => {
          if (vmsa === undefined) this.#serveRegisters(vcpu, processor, turn);
          else reach.holding(vmsa, PageSize.Regular, () => this.#serveVmsa(vcpu, processor, vmsa, turn));
        });
      });
    } finally {
      processor.isBusy = turn.isProcessed && !turn.isDelivered;
    }
    return turn.isProcessed;
  }

  /** Serves the call of a processor without a VMSA. */
  #serveRegisters(vcpu: Vcpu, processor: Processor, turn: Turn): void {
    const registers = { ...vcpu.registers };
    const pending = this.#pendingOf(processor);
    if (pending === 0) return;
    this.#serve(vcpu, processor, registers, pending);
    turn.isProcessed = true;
    Object.assign(vcpu.registers, registers);
    turn.isDelivered = isDone(() => this.#clearPending(processor));
  }

  /** Serves the call of a processor by its VMSA: results first, then CALL_PENDING, EFER.SVME last. */
  #serveVmsa(vcpu: Vcpu, processor: Processor, vmsa: PhysAddr, turn: Turn): void {
    const memory = this.#memory;
    if (!memory.rights.isVmsa(vmsa) || disableVmsa(memory, vmsa, this.#isRunning) === undefined) return;
    const image = unlessRefused(() => readImage(memory, vmsa));
    // A processor that has exited for another reason continues as if nothing had happened.
    const isCall = image !== undefined && readVmsa(image, 'exitCode') === VmExit.Vmgexit;
    const pending = isCall ? this.#pendingOf(processor) : 0;
    if (image !== undefined && pending !== 0) {
      const registers = registersOf(image);
      this.#serve(vcpu, processor, registers, pending, image);
      turn.isProcessed = true;
      // The call can have deleted the VMSA: then it is an ordinary page, and nobody waits for a result.
      turn.isDelivered = !this.#state.processors.has(processor);
      if (turn.isDelivered) return;
      putRegisters(image, registers);
      memory.write(vmsa, image);
      this.#clearPending(processor);
    }
    restoreEfer(memory, vmsa, readVmsa(image ?? readImage(memory, vmsa), 'efer') | EFER_SVME);
    turn.isDelivered = true;
  }

  /**
   * Clears CALL_PENDING at the end of a call. A more privileged level can have taken the calling area from the caller
   * meanwhile: then the SVSM does not write to it, and the results are not delivered.
   *
   * @throws SvsmRefusal
   */
  #clearPending({ caa, vmpl }: Processor): void {
    this.#memory.rights.requireAccess(caa, vmpl as Vmpl);
    this.#memory.write(caa, new Uint8Array(1));
  }

  /** CALL_PENDING of a processor: 0 if no call waits. */
  #pendingOf({ caa }: Processor): number {
    return unlessRefused(() => this.#memory.read(caa, 1)[0]) ?? 0;
  }

  /** Processes a call that waits, unless CALL_PENDING has a reserved value. */
  #serve(vcpu: Vcpu, caller: Processor, registers: SvsmRegisters, pending: number, image?: Uint8Array): void {
    const isReserved = pending !== 1 && this.#assumptions.svsmCallPending === 'INVALID_FORMAT';
    if (isReserved) registers.rax = BigInt(SvsmResult.InvalidFormat);
    else this.#process(vcpu, caller, registers, image);
  }

  /**
   * Processes a call of `vcpu`. RAX is the call, the other registers are its arguments. Results replace them. BUSY if
   * another call of the processor is in progress.
   *
   * @throws SnpError `INVALID_ARGUMENT` if `vcpu` is not a processor, or a register is not an unsigned bigint of 64 bits
   */
  call(vcpu: Vcpu, registers: SvsmRegisters): void {
    requireProcessor(vcpu);
    requireRegisters(registers);
    const processor = this.#state.processors.of(vcpu);
    if (processor?.isBusy === true) {
      registers.rax = BigInt(SvsmResult.Busy);
      return;
    }
    if (processor !== undefined) processor.isBusy = true;
    try {
      this.#process(vcpu, processor, registers);
    } finally {
      if (processor !== undefined) processor.isBusy = false;
    }
  }

  #process(vcpu: Vcpu, caller: Processor | undefined, registers: SvsmRegisters, image?: Uint8Array): void {
    const number = Number(BigInt.asUintN(32, registers.rax >> 32n));
    const id = Number(BigInt.asUintN(32, registers.rax));
    const protocol = this.#options.protocols?.get(number);
    let result: number = SvsmResult.UnsupportedProtocol;
    try {
      const context = this.#context(vcpu, caller);
      if (number === 0) result = this.#dispatch(id, context, registers, image);
      else if (protocol !== undefined) result = serveProtocol(protocol, context, id, registers);
    } catch (error) {
      if (!(error instanceof SvsmRefusal)) throw error;
      result = error.result;
    }
    registers.rax = BigInt(result);
  }

  #context({ vmpl }: Vcpu, caller: Processor | undefined): SvsmCallContext {
    const { sevFeatures = 1n, entriesPerCall = Number.POSITIVE_INFINITY } = this.#options;
    return {
      state: this.#state,
      memory: this.#memory,
      vmpl,
      caller,
      assumptions: this.#assumptions,
      sevFeatures,
      entriesPerCall,
      isRunning: this.#isRunning,
    };
  }

  #dispatch(id: number, call: SvsmCallContext, registers: SvsmRegisters, image?: Uint8Array): number {
    const { rcx, rdx, r8 } = registers;
    switch (id) {
      case SvsmCall.RemapCa:
        return remapCallingArea(call, rcx);
      case SvsmCall.Pvalidate:
        return pvalidateList(call, rcx);
      case SvsmCall.CreateVcpu:
        return createVcpu(call, rcx, rdx, Number(BigInt.asUintN(32, r8)));
      case SvsmCall.DeleteVcpu:
        return deleteVcpu(call, rcx);
      case SvsmCall.DepositMem:
        return depositList(call, rcx);
      case SvsmCall.WithdrawMem:
        return withdraw(call, rcx);
      case SvsmCall.QueryProtocol:
        registers.rcx = this.#versions(Number(rcx >> 32n), Number(BigInt.asUintN(32, rcx)));
        return SvsmResult.Success;
      case SvsmCall.ConfigureVtom:
        return configureVtom(registers, this.#options.vtom, image, this.#assumptions.svsmVtomMinimum);
      default:
        return SvsmResult.UnsupportedCall;
    }
  }

  /** The versions of a protocol that has `version`, for QUERY_PROTOCOL. */
  #versions(number: number, version: number): bigint {
    const versions = number === 0 ? CORE_VERSIONS : this.#options.protocols?.get(number)?.versions;
    return versions === undefined ? 0n : versionsOf(versions, version);
  }

  get #assumptions(): Assumptions {
    return this.vcpu.guest.machine.rmp.assumptions;
  }

  readonly #isRunning = (vmsa: PhysAddr): boolean => {
    const { isRunning } = this.#options;
    return isRunning === undefined ? this.#memory.isInUse(vmsa) : isRunning(vmsa);
  };
}

/** The versions of the core protocol. */
const CORE_VERSIONS = { min: 1, max: 1 } as const;

/** One entry into the SVSM for a processor. */
interface Turn {
  isProcessed: boolean;
  /** Whether the processor may continue. */
  isDelivered: boolean;
}

/** The rights on a page as a VMSA: no level but the SVSM's has any. */
function asVmsa(page: PageRights): PageRights {
  return { ...page, masks: page.masks.map(() => VmplPermission.None), vmsa: true };
}

function isPage(gpa: bigint): boolean {
  return typeof gpa === 'bigint' && gpa % BigInt(PAGE_SIZE) === 0n;
}

function argumentError(what: string, value: unknown, expected: string): SnpError<'INVALID_ARGUMENT'> {
  return new SnpError('INVALID_ARGUMENT', { what, value, expected });
}
