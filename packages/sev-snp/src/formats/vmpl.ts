/** The virtual machine privilege levels: 0 is the most privileged (AMD64 APM vol. 2, §15.36.7). */
export const Vmpl = {
  /** The level of the SVSM, or of a guest without one. The only level that may execute PVALIDATE. */
  Vmpl0: 0,
  Vmpl1: 1,
  /** The level at which COCONUT-SVSM runs its guest. */
  Vmpl2: 2,
  Vmpl3: 3,
} as const;

/** One of the privilege levels. */
export type Vmpl = (typeof Vmpl)[keyof typeof Vmpl];

/** The number of privilege levels: CPUID Fn8000_001F EBX[15:12] of all parts so far. */
export const VMPL_COUNT = 4;

/**
 * Bits of the mask that an RMP entry has for each level: one byte (AMD64 APM vol. 2, table 15-36). A mask only restricts:
 * the guest's and the nested page table have to allow an access too.
 */
export const VmplPermission = {
  None: 0,
  /** Data reads and table walks. */
  Read: 0x1,
  /** Data writes. Without {@link VmplPermission.Read} it is illegal, and every data access faults. */
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
