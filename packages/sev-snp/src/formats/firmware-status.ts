/**
 * The status codes with which the model's firmware refuses commands (Linux `include/uapi/linux/psp-sev.h`;
 * AMD-ASPFW `sev_mcmd.c`).
 */
export const FirmwareStatus = {
  /** The guest's context is in a state in which the command is not allowed. */
  INVALID_GUEST_STATE: 0x02,
  /** Pages are assigned to the ASID, so no guest can be activated with it. */
  INVALID_CONFIG: 0x03,
  /** The guest has no ASID. */
  INACTIVE: 0x08,
  /** The page does not lie in memory, or its address is not a multiple of its size. */
  INVALID_ADDRESS: 0x09,
  /** The tag of a swapped-out page is wrong: the page, or its record, has changed. */
  BAD_MEASUREMENT: 0x0b,
  /** Another guest has the ASID. */
  ASID_OWNED: 0x0c,
  INVALID_ASID: 0x0d,
  /** A guest was decommissioned, and WBINVD has not run since. */
  WBINVD_REQUIRED: 0x0e,
  /** A guest has run with the ASID, and DF_FLUSH has not run since it was decommissioned. */
  DF_FLUSH_REQUIRED: 0x0f,
  /** The page is not the context page of a guest. */
  INVALID_GUEST: 0x10,
  /** The guest has an ASID already. */
  ACTIVE: 0x12,
  INVALID_PARAM: 0x16,
  INVALID_PAGE_SIZE: 0x19,
  INVALID_PAGE_STATE: 0x1a,
  INVALID_MDATA_ENTRY: 0x1b,
  INVALID_PAGE_OWNER: 0x1c,
} as const;

/** The name of a status code. */
export type FirmwareStatus = keyof typeof FirmwareStatus;
