import type { RmpEntry } from './rmp-entry.ts';

/** The states of a page, by its RMP entry (AMD-ASPFW `sev_rmp.h`, `snp_page_state_t`). */
export const PageState = {
  /** Not covered by the RMP: the hypervisor's for ever. */
  Default: 'DEFAULT',
  /** The hypervisor's, which also all memory is that a guest shares. */
  Hypervisor: 'HYPERVISOR',
  /** The hypervisor's until the firmware is reset. */
  HvFixed: 'HV-FIXED',
  /** Handed to the firmware. */
  Firmware: 'FIRMWARE',
  /** Given back by the firmware; RMPUPDATE may free it. */
  Reclaim: 'RECLAIM',
  /** A guest's context page. */
  Context: 'CONTEXT',
  /** Records of pages that are swapped out. */
  Metadata: 'METADATA',
  /** Structures of the IOMMU, locked. */
  FirmwareIommu: 'FIRMWARE-IOMMU',
  /** A guest's, before the firmware has launched it or swapped it in. */
  PreGuest: 'PRE-GUEST',
  /** A guest's and valid, in a swap. */
  PreSwap: 'PRE-SWAP',
  /** A guest's, not validated. */
  GuestInvalid: 'GUEST-INVALID',
  /** A guest's, and validated: usable private memory. */
  GuestValid: 'GUEST-VALID',
  /** A combination of fields that no operation makes. */
  Invalid: 'INVALID',
} as const;

/** One of the page states. */
export type PageState = (typeof PageState)[keyof typeof PageState];

// The firmware marks what a page of its own is for in bits of the frame number that no GPA reaches: 38:36.
const KIND_SHIFT = 48n;
const KIND_METADATA = 1n;
const KIND_IOMMU = 2n;

/**
 * The state that an entry shows; of `undefined`, which `Rmp` gives for a page that it does not cover, `DEFAULT`. O(1).
 */
export function pageStateOf(entry: RmpEntry | undefined): PageState {
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

/** Of an assigned page without ASID. */
function firmwareState({ immutable, lock, gpa, vmsa }: RmpEntry): PageState {
  if (!immutable) return lock ? PageState.Invalid : PageState.Reclaim;
  if (vmsa) return gpa === 0n ? PageState.Context : PageState.Invalid;
  if (gpa === 0n) return PageState.Firmware;
  const kind = gpa >> KIND_SHIFT;
  if (kind === KIND_METADATA) return PageState.Metadata;
  return kind === KIND_IOMMU ? PageState.FirmwareIommu : PageState.Invalid;
}
