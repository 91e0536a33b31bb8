import type { AccessOptions } from '@svsm/pagetable';
import type { Vmpl } from '../formats/vmpl.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { PageFaultHandler } from './page-fault.ts';
import type { RunnableVmsa } from './platform.ts';
import type { TranslationCache } from './translation-cache.ts';
import type { ControlRegisters } from './vcpu-registers.ts';

/** Options of a `Vcpu`. */
export interface VcpuOptions {
  /** The privilege level: VMPL0 if not given. */
  readonly vmpl?: Vmpl;
  /**
   * The cache of its own translations. Without one, every access walks. Processors that are given the same one take turns:
   * see `TranslationCache`.
   */
  readonly tlb?: TranslationCache;
  /** The cache of its nested translations. Without one, every access reads the nested page table and the RMP. */
  readonly nestedTlb?: NestedTlb;
  /** Registers that differ from {@link START_REGISTERS}. CR4.LA57 follows the guest's page tables. */
  readonly registers?: Partial<ControlRegisters>;
  /** The bit L of the code segment. Not given: set if the registers are those of long mode. */
  readonly csL?: boolean;
  /** Whether VMPL SSS is enabled: SEV_FEATURES[8]. `false` if not given. */
  readonly vmplSss?: boolean;
  /** The handler of its page faults: see `Vcpu.onPageFault`. Without one, each fault is thrown. */
  readonly onPageFault?: PageFaultHandler | undefined;
  /** The VMSA that it runs on. Without one it always runs, without a VMRUN. */
  readonly vmsa?: RunnableVmsa;
}

/** The names of the options. */
export const VCPU_OPTIONS: readonly (keyof VcpuOptions)[] = [
  'vmpl',
  'tlb',
  'nestedTlb',
  'registers',
  'csL',
  'vmplSss',
  'onPageFault',
  'vmsa',
];

/** Options of an access. */
export type DataAccessOptions = Pick<AccessOptions, 'implicit' | 'shadowStack'>;
