import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, Phys, type PhysAddr } from '@svsm/address';
import type { Assumptions } from '../formats/assumptions.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import type { RmpStateFields } from '../formats/rmp-state.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY, type Rmp } from './rmp.ts';

/** The new state of a page as RMPUPDATE takes it. What is not given is 0; the page size, 4 KiB. */
export interface RmpState {
  readonly assigned: boolean;
  readonly pageSize?: RmpPageSize;
  readonly immutable?: boolean;
  readonly gpa?: PhysAddr;
  readonly asid?: number;
}

/** The greatest ASID that an entry holds; and the end of its GPAs, whose frame numbers have 36 bits. */
const MAX_ASID = 0x3ff;
const GPA_END = 1n << 48n;
const HUGE_MASK = BigInt(PAGE_SIZE_2M - 1);
const STEP = BigInt(PAGE_SIZE);

/**
 * RMPUPDATE: gives the page of `spa` to a guest, to the firmware or back to the hypervisor. A result other than
 * SUCCESS has changed nothing. O(1) for a 4 KiB page, O(512) for one of 2 MiB.
 *
 * The order of checks is that of the manual's pseudo-code (AMD64 APM vol. 3, RMPUPDATE, as quoted on the KVM mailing
 * list in July 2021), with the overlap test that silicon has beyond it; the reset of `validated`: vol. 2, §15.36.6
 * and .11.
 *
 * @param asid - whose processor executes it: 0 for the host; a guest gets FAIL_PERMISSION
 */
export function rmpupdate(rmp: Rmp, spa: SysPhysAddr, state: RmpState, asid = 0): RmpResult {
  if (asid !== 0) return RmpResult.FAIL_PERMISSION;
  const huge = state.pageSize === PageSize.Huge;
  const wanted = {
    assigned: state.assigned,
    immutable: state.immutable ?? false,
    asid: state.asid ?? 0,
    gpa: state.gpa ?? 0n,
  };
  const { assumptions } = rmp;
  const isUsed = (when: Assumptions['inUseTest']): boolean =>
    assumptions.inUseTest === when && rmp.isInUse(spa, state.pageSize ?? PageSize.Regular);
  if (isUsed('first')) return RmpResult.FAIL_INUSE;
  if (isMisaligned(rmp, spa, huge)) return RmpResult.FAIL_INPUT;
  if (!wanted.assigned && (wanted.immutable || wanted.asid !== 0)) return RmpResult.FAIL_INPUT;
  if (!fits(wanted)) return RmpResult.FAIL_INPUT;
  const page = (spa & -STEP) as SysPhysAddr;
  const old = rmp.rawEntry(page);
  if (old === undefined) return RmpResult.FAIL_INPUT;
  if (isUsed('before-entry')) return RmpResult.FAIL_INUSE;
  if (old.immutable) return RmpResult.FAIL_PERMISSION;
  const first = (page & ~HUGE_MASK) as SysPhysAddr;
  const wasHuge = rmp.rawEntry(first)?.pageSize === PageSize.Huge;
  const overlaps = page === first || assumptions.smallUpdateInHuge === 'FAIL_OVERLAP';
  if (huge ? !wasHuge && !isFree(rmp, first) : wasHuge && overlaps) return RmpResult.FAIL_OVERLAP;
  // HV-FIXED: not assigned, and yet nobody's to change.
  if (huge && !wasHuge && rmp.hasImmutable(first)) return RmpResult.FAIL_PERMISSION;
  if (isUsed('last')) return RmpResult.FAIL_INUSE;

  // An unassigned entry always stands for 4 KiB: giving back 2 MiB leaves 512 of them.
  const pageSize = huge && wanted.assigned ? PageSize.Huge : PageSize.Regular;
  const changed =
    old.assigned !== wanted.assigned ||
    old.asid !== wanted.asid ||
    old.gpa !== wanted.gpa ||
    old.pageSize !== pageSize;
  const reset = changed || wanted.asid === 0 || assumptions.rmpupdateReset === 'always';
  const masks = assumptions.defaultMasks === 'RMPUPDATE' ? assumptions.resetMaskOfVmpl0 : 0;
  const entry: RmpEntry = {
    ...old,
    assigned: wanted.assigned,
    immutable: wanted.immutable,
    asid: wanted.asid,
    gpa: wanted.gpa as PhysAddr,
    pageSize,
    ...(reset ? { validated: false, vmsa: false, vmplMasks: [masks, 0, 0, 0] as const } : {}),
  };
  if (huge) {
    rmp.setRegion(page, entry, { ...HYPERVISOR_ENTRY, assigned: wanted.assigned });
    return RmpResult.SUCCESS;
  }
  rmp.setRawEntry(page, entry);
  if (page !== first && !wasHuge) {
    addSubpages(rmp, first, Number(wanted.assigned) - Number(old.assigned));
  }
  return RmpResult.SUCCESS;
}

/**
 * PSMASH: turns the entry of a 2 MiB page into 512 entries of 4 KiB; validated and the VMPL masks survive (AMD64 APM
 * vol. 2, §15.36.11). A result other than SUCCESS has changed nothing. O(512).
 *
 * @param asid - whose processor executes it: 0 for the host; a guest gets FAIL_PERMISSION
 */
export function psmash(rmp: Rmp, spa: SysPhysAddr, asid = 0): RmpResult {
  if (asid !== 0) return RmpResult.FAIL_PERMISSION;
  if (isMisaligned(rmp, spa, true)) return RmpResult.FAIL_INPUT;
  const first = (spa & ~HUGE_MASK) as SysPhysAddr;
  const old = rmp.rawEntry(first);
  if (old === undefined) return RmpResult.FAIL_INPUT;
  if (rmp.isInUse(first, PageSize.Huge)) return RmpResult.FAIL_INUSE;
  const { psmashBadPage, psmashImmutable } = rmp.assumptions;
  if (!old.assigned || old.pageSize !== PageSize.Huge) return RmpResult[psmashBadPage];
  if (old.immutable) return RmpResult[psmashImmutable === 'bad-page' ? psmashBadPage : psmashImmutable];
  const subpages = rmp.assumptions.subpageCount === 'maintained' ? 511 : 0;
  for (let k = 0n; k < 512n; k += 1n) {
    const part: RmpEntry = {
      ...old,
      pageSize: PageSize.Regular,
      gpa: (old.gpa + k * STEP) as PhysAddr,
      subpageCount: k === 0n ? subpages : 0,
    };
    rmp.setRawEntry((first + k * STEP) as SysPhysAddr, part);
  }
  return RmpResult.SUCCESS;
}

/** What {@link rmpread} answers; without SUCCESS there is no state. */
export interface RmpreadAnswer {
  readonly result: RmpResult;
  readonly state: RmpStateFields | undefined;
}

/**
 * RMPREAD: what the entry of the page of `spa` says, apart from what is the guest's business: validated, VMSA and masks
 * are not told. The entry is the page's own: inside a 2 MiB page it says no more than that it is assigned. O(1).
 *
 * Linux `arch/x86/virt/svm/sev.c` `get_rmpentry`, and the reference of the `__rmpread` intrinsic.
 *
 * @param asid - whose processor executes it: 0 for the host; a guest gets FAIL_PERMISSION
 */
export function rmpread(rmp: Rmp, spa: SysPhysAddr, asid = 0): RmpreadAnswer {
  const fail = (result: RmpResult): RmpreadAnswer => Object.freeze({ result, state: undefined });
  if (asid !== 0) return fail(RmpResult.FAIL_PERMISSION);
  const entry = rmp.rawEntry(spa);
  if (entry === undefined) return fail(RmpResult.FAIL_INPUT);
  const { gpa, assigned, pageSize, immutable } = entry;
  const isFirst = (spa & HUGE_MASK) < STEP;
  const regionStatus = isFirst && (pageSize === PageSize.Huge || rmp.hasSubpages(spa));
  const state = Object.freeze({ gpa, assigned, pageSize, immutable, asid: entry.asid, regionStatus });
  return Object.freeze({ result: RmpResult.SUCCESS, state });
}

/** Bits 20:12 of the address of a 2 MiB operand must be 0. */
function isMisaligned(rmp: Rmp, spa: SysPhysAddr, huge: boolean): boolean {
  if (rmp.assumptions.lowAddressBits === 'FAIL_INPUT' && spa % STEP !== 0n) return true;
  return huge && (spa & HUGE_MASK) >= STEP;
}

/** Whether no entry of a region of 4 KiB entries is in the way of a 2 MiB one. */
function isFree(rmp: Rmp, first: SysPhysAddr): boolean {
  const { assigned } = rmp.rawEntry(first) as RmpEntry;
  return !rmp.hasSubpages(first) && !(assigned && rmp.assumptions.alignedPageBlocksHuge);
}

function addSubpages(rmp: Rmp, first: SysPhysAddr, count: number): void {
  if (count === 0 || rmp.assumptions.subpageCount === 'unmaintained') return;
  const entry = rmp.rawEntry(first) as RmpEntry;
  rmp.setRawEntry(first, { ...entry, subpageCount: entry.subpageCount + count });
}

function fits({ gpa, asid }: { gpa: bigint; asid: number }): boolean {
  return (
    Phys.isAddress(gpa) &&
    gpa < GPA_END &&
    (gpa & (STEP - 1n)) === 0n &&
    Number.isInteger(asid) &&
    asid >= 0 &&
    asid <= MAX_ASID
  );
}
