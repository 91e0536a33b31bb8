/** Bits of EXITINFO1 of a nested page fault (AMD64 APM vol. 2, §15.25.6 and §15.36.10). */
export const NpfInfo = {
  /** The nested translation was present. */
  Present: 0x1n,
  /** The access was a write. */
  Write: 0x2n,
  /** It was a user access, as every access through nested tables is. */
  User: 0x4n,
  /** A reserved bit was set in a nested entry. */
  Reserved: 0x8n,
  /** It was an instruction fetch. */
  Fetch: 0x10n,
  /** It was a shadow-stack access. No access here is one. */
  ShadowStack: 0x40n,
  /** It failed an RMP or VMPL check. */
  Rmp: 0x8000_0000n,
  /** The fault was at the final guest-physical address. */
  FinalAddress: 0x1_0000_0000n,
  /** The fault was at a guest page table. */
  GuestTable: 0x2_0000_0000n,
  /** The access was private: the effective C-bit was 1. */
  Encrypted: 0x4_0000_0000n,
  /** PVALIDATE or RMPADJUST of 4 KiB where the RMP or the nested page table has 2 MiB. */
  SizeMismatch: 0x8_0000_0000n,
  /** The page's mask for the current VMPL forbids the access. */
  Vmpl: 0x10_0000_0000n,
  /** With VMPL SSS: bit 4 of that mask. */
  SupervisorShadowStack: 0x20_0000_0000n,
  /** The instruction cannot be restarted (OpenVMM `SevNpfInfo`). */
  NotRestartable: 0x8000_0000_0000_0000n,
} as const;

/** Exit code of a nested page fault (AMD64 APM vol. 2, appendix C). */
export const VMEXIT_NPF = 0x400;

/** Error code of #VC, vector 29, for an access to a page that is not validated (AMD64 APM vol. 2, §15.36.10). */
export const PAGE_NOT_VALIDATED = 0x404;
