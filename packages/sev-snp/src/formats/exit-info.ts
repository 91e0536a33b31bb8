/** Bits of EXITINFO1 of a nested page fault (AMD64 APM vol. 2, §15.25.6 and §15.36.10). */
export const NpfInfo = {
  /** The nested translation is present. */
  Present: 0x1n,
  /** The access is a write. */
  Write: 0x2n,
  /** A user access: every access through nested tables is one. */
  User: 0x4n,
  /** A reserved bit is set in a nested entry. */
  Reserved: 0x8n,
  /** The access is an instruction fetch. */
  Fetch: 0x10n,
  /** A shadow-stack access. */
  ShadowStack: 0x40n,
  /** An RMP check fails; the VMPL check is one. */
  Rmp: 0x8000_0000n,
  /** The fault is at the final guest-physical address. */
  FinalAddress: 0x1_0000_0000n,
  /** The fault is at a page table of the guest. */
  GuestTable: 0x2_0000_0000n,
  /** The access is private: the effective C-bit is 1. */
  Encrypted: 0x4_0000_0000n,
  /** PVALIDATE or RMPADJUST of 4 KiB, while the RMP or the nested page table has 2 MiB. */
  SizeMismatch: 0x8_0000_0000n,
  /** The mask of the page for the current VMPL forbids the access. */
  Vmpl: 0x10_0000_0000n,
  /** With VMPL SSS, in a fault with {@link NpfInfo.Vmpl}: bit 4 of the mask. */
  SupervisorShadowStack: 0x20_0000_0000n,
  /** The instruction cannot be restarted (OpenVMM `SevNpfInfo`). */
  NotRestartable: 0x8000_0000_0000_0000n,
} as const;

/** Exit code of a nested page fault (AMD64 APM vol. 2, appendix C). */
export const VMEXIT_NPF = 0x400;

/** Error code of #VC, vector 29, for an access to a page that is not validated (AMD64 APM vol. 2, §15.36.10). */
export const PAGE_NOT_VALIDATED = 0x404;
