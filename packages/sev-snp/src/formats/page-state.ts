import type { RmpEntry } from './rmp-entry.ts';

/** The states of a page, by its RMP entry (AMD-ASPFW `sev_rmp.h`, `snp_page_state_t`). */
export const PageState = {
  /** Not covered by the RMP: always the hypervisor's. */
  Default: 'DEFAULT',
  /** The hypervisor's. Memory that a guest shares is in this state too. */
  Hypervisor: 'HYPERVISOR',
  /** The hypervisor's until the firmware is reset. */
  HvFixed: 'HV-FIXED',
  /** Given to the firmware. */
  Firmware: 'FIRMWARE',
  /** Given back by the firmware: RMPUPDATE can free it. */
  Reclaim: 'RECLAIM',
  /** The context page of a guest. */
  Context: 'CONTEXT',
  /** Records of swapped-out pages. */
  Metadata: 'METADATA',
  /** Structures of the IOMMU, locked. */
  FirmwareIommu: 'FIRMWARE-IOMMU',
  /** A guest's, before the firmware launches it or swaps it in. */
  PreGuest: 'PRE-GUEST',
  /** A guest's, valid and immutable: before it is swapped out, or after it was swapped in. */
  PreSwap: 'PRE-SWAP',
  /** A guest's, not validated. */
  GuestInvalid: 'GUEST-INVALID',
  /** A guest's, validated: usable private memory. */
  GuestValid: 'GUEST-VALID',
  /** A combination of fields that no operation makes. */
  Invalid: 'INVALID',
} as const;

/** One of the page states. */
export type PageState = (typeof PageState)[keyof typeof PageState];

// The kind of a firmware page: bits 38:36 of the frame number, which no GPA of a guest reaches.
const KIND_SHIFT = 48n;
const KIND_METADATA = 1n;
const KIND_IOMMU = 2n;

/** As `pageStateOf`, for an entry that an RMP returns: its fields are not checked. */
export function stateOfEntry(entry: RmpEntry | undefined): PageState {
  if (entry === undefined) return PageState.Default;
  const { assigned, validated, asid, immutable } = entry;
  if (!assigned) {
    if (validated || asid !== 0) return PageState.Invalid;
    return immutable ? PageState.HvFixed : PageState.Hypervisor;
  }
  if (asid !== 0) {
    if (immutable) return validated ? PageState.PreSwap : PageState.PreGuest;
    return validated ? PageState.GuestValid : PageState.GuestInvalid;
  }
  if (validated) return PageState.Invalid;
  return firmwareState(entry);
}

/** The state of an assigned page without an ASID. */
function firmwareState({ immutable, lock, gpa, vmsa }: RmpEntry): PageState {
  if (!immutable) return lock ? PageState.Invalid : PageState.Reclaim;
  if (vmsa) return gpa === 0n ? PageState.Context : PageState.Invalid;
  if (gpa === 0n) return PageState.Firmware;
  const kind = gpa >> KIND_SHIFT;
  if (kind === KIND_METADATA) return PageState.Metadata;
  return kind === KIND_IOMMU ? PageState.FirmwareIommu : PageState.Invalid;
}
