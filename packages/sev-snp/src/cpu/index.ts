/**
 * A guest's processor: registers, two page walks, RMP checks, VMRUN, and the instructions of a guest.
 *
 * @packageDocumentation
 */

export {
  type GuestCpu,
  type GuestTranslation,
  type PvalidateAnswer,
  pvalidate,
  type RmpAdjustment,
  type RmpqueryAnswer,
  rmpadjust,
  rmpquery,
} from './guest-instructions.ts';
export {
  type ExecutionMode,
  executeInGuest,
  executeInHost,
  type InstructionRegisters,
  ResultFlag,
  RMP_INSTRUCTIONS,
  type RmpInstruction,
  rmpInstructionOf,
} from './instruction-registers.ts';
export type { MachineEvent } from './machine-event.ts';
export { NestedTlb } from './nested-tlb.ts';
export type { GuestPageFault, PageFaultHandler } from './page-fault.ts';
export type { ExitHandler, GuestContext, RunnableVmsa, SnpPlatform, VcpuContext } from './platform.ts';
export type { TranslationCache } from './translation-cache.ts';
export { Vcpu } from './vcpu.ts';
export type { DataAccessOptions, VcpuOptions } from './vcpu-options.ts';
export {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  INIT_REGISTERS,
  START_REGISTERS,
} from './vcpu-registers.ts';
export { createVmsa, type VmsaOptions } from './vcpu-state.ts';
export {
  failedVmrunCheck,
  VMRUN_CHECKS,
  VmExit,
  type VmrunCheck,
  type VmrunPage,
  vmexit,
  vmrun,
} from './vmrun.ts';
