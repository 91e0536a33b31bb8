/** The states of a guest in its context page (AMD-ASPFW `sev_guest.h`, `snp_guest_state_t`). */
export const GuestState = {
  /** After SNP_GCTX_CREATE: it has a key for its memory, and no ASID. */
  Init: 'INIT',
  /** After SNP_LAUNCH_START: the firmware launches pages. */
  Launch: 'LAUNCH',
  /** After SNP_LAUNCH_FINISH: processors run it, and the firmware launches no more pages. */
  Running: 'RUNNING',
} as const;

/** One of the states of a guest. */
export type GuestState = (typeof GuestState)[keyof typeof GuestState];
