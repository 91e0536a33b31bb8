/** The virtual machine privilege levels: 0 is the most privileged (AMD64 APM vol. 2, §15.36.7). */
export const Vmpl = {
  /** The SVSM, or a guest that has none. The only level that may execute PVALIDATE. */
  Vmpl0: 0,
  Vmpl1: 1,
  /** Where COCONUT-SVSM runs its guest. */
  Vmpl2: 2,
  Vmpl3: 3,
} as const;

/** One of the privilege levels. */
export type Vmpl = (typeof Vmpl)[keyof typeof Vmpl];

/** How many privilege levels there are: CPUID Fn8000_001F EBX[15:12] of all parts so far. */
export const VMPL_COUNT = 4;

/**
 * What a level may do with a page: one byte of the RMP entry for each level (AMD64 APM vol. 2, table 15-36). They only
 * restrict: the guest's and the nested page table must allow an access too.
 */
export const VmplPermission = {
  None: 0,
  /** Data reads and table walks. */
  Read: 0x1,
  /** Data writes. Without {@link VmplPermission.Read} it is illegal: every data access faults. */
  Write: 0x2,
  /** Instruction fetches at CPL 3. */
  ExecuteUser: 0x4,
  /** Instruction fetches at CPL 0 to 2. */
  ExecuteSupervisor: 0x8,
  /** Supervisor shadow stack accesses, where the VMSA enables VMPL SSS. */
  SupervisorShadowStack: 0x10,
  /** Read, write, and both kinds of execute. */
  Rwx: 0xf,
  /** Every bit that has a meaning. */
  All: 0x1f,
} as const;
