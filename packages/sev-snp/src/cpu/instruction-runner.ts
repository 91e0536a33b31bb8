import type { PhysAddr, VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { isSnpFault, type SnpFault } from '../rmp/snp-fault.ts';
import type { GuestMmu } from './guest-mmu.ts';
import { FaultHandling, type PageFaultHandler } from './page-fault.ts';
import type { GuestContext } from './platform.ts';
import { hasThrown, type TranslationCache } from './translation-cache.ts';
import type { ExitInformation } from './vcpu-state.ts';
import { VmExit } from './vmrun.ts';

/** An instruction that faults this many times is in a loop: the fault is thrown. */
const MAX_FAULTS = 64;

/** The parts of a processor that an instruction needs which exits or faults. */
export interface RunnerParts {
  readonly guest: GuestContext;
  readonly mmu: GuestMmu;
  readonly tlb: TranslationCache | undefined;
  /** Throws if the processor does not run any more. */
  readonly requireRunning: () => void;
  /** Runs a part of the hypervisor between #VMEXIT and the next VMRUN. */
  readonly duringExit: <T>(exit: ExitInformation, handle: () => T) => T;
  /** The guest's handler of page faults. */
  readonly handler: () => PageFaultHandler | undefined;
}

/** Runs instructions of a processor, and runs them again after each fault that the hypervisor or the guest resolves. */
export class InstructionRunner {
  /** CR2: the address of the last #PF, or of the last #VC for a page that is not validated. */
  cr2 = 0n;
  readonly #parts: RunnerParts;
  readonly #faults: FaultHandling = new FaultHandling();
  /** The error that `beforeSharedRead` has thrown: it is not a fault of the instruction. */
  #thrownByHook: unknown;

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  /** Runs an instruction on `gva`, which accesses memory in this way: as the operand of an instruction if not given. */
  run<T>(gva: VirtAddr | undefined, access: AccessKind | undefined, instruction: () => T): T {
    const { guest, tlb, requireRunning, duringExit } = this.#parts;
    const { machine } = guest;
    const kind = access ?? machine.rmp.assumptions.operandAccess;
    for (let faults = 1; ; faults += 1) {
      requireRunning();
      this.#thrownByHook = undefined;
      try {
        return instruction();
      } catch (error) {
        if (error === this.#thrownByHook || hasThrown(tlb, error)) throw error;
        if (!isSnpFault(error, 'NPF')) {
          this.#loadCr2(error, gva);
          if (faults < MAX_FAULTS && isSnpFault(error, 'PF') && this.#handles(error, kind)) continue;
          throw error;
        }
        const { gpa, exitInfo1 } = error.details;
        machine.trace({ type: 'npf', gpa, exitInfo1 });
        const exit = { exitCode: VmExit.NestedPageFault, exitInfo1, exitInfo2: gpa };
        const resolved = duringExit(exit, () =>
          machine.hypervisor.handleNestedPageFault(guest, gpa as PhysAddr, exitInfo1),
        );
        if (!resolved || faults === MAX_FAULTS) throw error;
      }
    }
  }

  /** Lets the hypervisor act, as its other processors do all the time. */
  beforeShared(spa: SysPhysAddr, count: number): void {
    const { guest, requireRunning } = this.#parts;
    try {
      guest.machine.hypervisor.beforeSharedRead?.(guest, spa, count);
    } catch (error) {
      this.#thrownByHook = error;
      throw error;
    }
    requireRunning();
  }

  /** Whether the guest's handler resolves a #PF. */
  #handles({ details: { errorCode } }: SnpFault<'PF'>, kind: AccessKind): boolean {
    return this.#faults.isRetried(this.#parts.handler(), { gva: this.cr2 as VirtAddr, errorCode, kind });
  }

  /** Loads CR2 if an access that begins at `gva` has raised a #PF, or a #VC for a page that is not validated. */
  #loadCr2(error: unknown, gva: VirtAddr | undefined): void {
    if (!isSnpFault(error, 'PF') && !isSnpFault(error, 'VC_NOT_VALIDATED')) return;
    const { guest, mmu } = this.#parts;
    const { cr2OnCrossing } = guest.machine.rmp.assumptions;
    const first =
      cr2OnCrossing === 'first-byte' && gva !== undefined ? mmu.linear(gva, 'read', {}) : undefined;
    this.cr2 = first ?? error.details.gva ?? this.cr2;
  }
}
