import { VmplPermission } from './vmpl.ts';

/**
 * What no source settles, decided in one place and switchable. Each field is a behaviour that the manuals available do
 * not state; what the default rests on is said beside it. Everything else in this package follows a source.
 */
export interface Assumptions {
  /** PVALIDATE above VMPL0: #GP(0), as the VeriSMo model has it, or the result FAIL_PERMISSION. */
  readonly pvalidateAboveVmpl0: 'GP' | 'FAIL_PERMISSION';
  /**
   * Whether the first page of a 2 MiB region, assigned as 4 KiB, makes RMPUPDATE of the whole region fail, although the
   * sub-page count leaves it out. The manual's wording, "any 4KB entry", says that it does.
   */
  readonly alignedPageBlocksHuge: boolean;
  /**
   * When RMPUPDATE clears validated, VMSA and the masks: if it changes assigned, ASID, GPA or size (`compare`: setting
   * `immutable` on a valid page must keep it valid, AMD-ASPFW's PRE-SWAP state), or whenever it succeeds (`always`).
   */
  readonly rmpupdateReset: 'compare' | 'always';
  /**
   * What RMPUPDATE gives VMPL0 when it resets the masks: "all" (AMD64 APM vol. 2, §15.36.7), shadow stacks included.
   */
  readonly resetMaskOfVmpl0: number;
  /** Whether RMPQUERY may ask for the level that executes it, and not only for less privileged ones. */
  readonly rmpqueryOwnVmpl: boolean;
  /** Whether RMPQUERY of a page that is not validated raises #VC, as RMPADJUST does, or answers. */
  readonly rmpqueryNeedsValidated: boolean;
  /** RMPADJUST with a reserved bit of the mask set: FAIL_INPUT, or as if it were clear. */
  readonly rmpadjustReservedBits: 'FAIL_INPUT' | 'ignored';
}

/** The defaults. Frozen. */
export const DEFAULT_ASSUMPTIONS: Assumptions = /* @__PURE__ */ Object.freeze({
  pvalidateAboveVmpl0: 'GP',
  alignedPageBlocksHuge: true,
  rmpupdateReset: 'compare',
  resetMaskOfVmpl0: VmplPermission.All,
  rmpqueryOwnVmpl: true,
  rmpqueryNeedsValidated: true,
  rmpadjustReservedBits: 'FAIL_INPUT',
});

/*
 * Further assumptions, which have no switch because another choice would need other code:
 *
 * - Bits 11:0 of an instruction's address operand are ignored: the page is meant.
 * - RMPADJUST for a level that does not exist is FAIL_INPUT.
 * - RMPUPDATE with a GPA or ASID that does not fit the entry (2^48, 1023) is FAIL_INPUT.
 * - PSMASH of an entry that is unassigned, 4 KiB or immutable is FAIL_BADADDR, whichever it is.
 * - RMPUPDATE of 2 MiB over an HV-FIXED page, which is not assigned, is FAIL_PERMISSION.
 * - FAIL_INUSE comes after the checks of the operands, and before those of the entry.
 * - RMPREAD tells the page's own sixteen bytes, not those of the 2 MiB page that it is part of.
 * - PVALIDATE, RMPADJUST and RMPQUERY read the page as far as guest rights go; a shared mapping (C-bit clear) fails
 *   like a wrong owner; the size of the guest's own mapping does not matter.
 * - A PVALIDATE or RMPADJUST of 2 MiB whose GPA is no multiple of 2 MiB fails the reverse-map check.
 * - Each error of PVALIDATE leaves the carry flag clear.
 * - In calls of an SVSM, a misaligned address is INVALID_PARAMETER, also in CREATE_VCPU, where COCONUT-SVSM has
 *   INVALID_ADDRESS; a VMSA may be of the caller's level and all below it, not of one level alone.
 * - A 2 MiB page of which an SVSM has a part as validated gives the result of FAIL_SIZEMISMATCH, and is not tried.
 * - WITHDRAW_MEM returns pages of 4 KiB, zeroed, whatever the size that they were deposited with.
 * - PAGE_INFO has the permissions of VMPL1, VMPL2, VMPL3 in this order, as AMD's firmware has it.
 */
