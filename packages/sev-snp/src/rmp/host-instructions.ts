import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireInstance,
  requireInteger,
  requireRmpPageSize,
  requireWhole,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import {
  haveSameOwner,
  isAssignedWord,
  isHugeWord,
  isImmutableWord,
  RMP_ENTRY_WORDS,
  type RmpEntry,
  type RmpPageSize,
  resetGuestFields,
  withSubpages,
  writeOwned,
} from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import type { RmpStateFields } from '../formats/rmp-state.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { PAGES_PER_REGION } from './alike-entries.ts';
import { Rmp } from './rmp.ts';

/** The new state of a page, the operand of RMPUPDATE. Fields that are not given are 0, and the page size is 4 KiB. */
export interface RmpState {
  readonly assigned: boolean;
  readonly pageSize?: RmpPageSize;
  readonly immutable?: boolean;
  readonly gpa?: PhysAddr;
  readonly asid?: number;
}

const STATE: readonly (keyof RmpState)[] = ['assigned', 'pageSize', 'immutable', 'gpa', 'asid'];

/** The greatest ASID of an entry, and the end of its GPAs: frame numbers have 36 bits. */
const MAX_ASID = 0x3ff;
const GPA_END = 1n << 48n;
const HUGE_MASK = BigInt(PAGE_SIZE_2M - 1);
const STEP = BigInt(PAGE_SIZE);

/** Scratch: the words of an entry, and of the one before it. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);
const OLD = new Uint32Array(RMP_ENTRY_WORDS);

/** The entries inside a page of 2 MiB, and inside 2 MiB that nobody owns. */
const ASSIGNED_ENTRY = /* @__PURE__ */ Uint32Array.of(1, 0, 0, 0);
const BLANK_ENTRY = /* @__PURE__ */ new Uint32Array(RMP_ENTRY_WORDS);

/**
 * RMPUPDATE: gives the page of `spa` to a guest, to the firmware or back to the hypervisor. With a result other than
 * SUCCESS nothing has changed. O(1) for a 4 KiB page, O(512) for one of 2 MiB.
 *
 * The checks come in the order of the manual's pseudo-code (AMD64 APM vol. 3, RMPUPDATE, as quoted on the KVM mailing
 * list in July 2021). The overlap test inside a 2 MiB page is not in the pseudo-code, but silicon has it. The reset of
 * `validated`: vol. 2, §15.36.6 and §15.36.11.
 *
 * @param asid - the guest whose processor executes the instruction: 0 for the host; a guest gets FAIL_PERMISSION
 * @throws SnpError `INVALID_ARGUMENT` for a page size other than 4 KiB and 2 MiB, or an operand of another type;
 *   AddressError if `spa` is not an address
 *
 * @example
 * ```ts
 * import { PageSize, physAddr } from '@svsm/address';
 * import { pageStateOf, Rmp, rmpResultName, rmpupdate, sysPhysAddr, sysPhysRegion } from '@svsm/sev-snp';
 *
 * const rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), 0x40_0000));
 * const page = sysPhysAddr(0x20_0000);
 * const huge = { assigned: true, asid: 1, gpa: physAddr(0), pageSize: PageSize.Huge };
 * console.log(rmpResultName(rmpupdate(rmp, page, huge))); // => SUCCESS
 * console.log(pageStateOf(rmp.entry(page))); // => GUEST-INVALID
 * // To free one page of the 2 MiB, PSMASH has to come first.
 * console.log(rmpResultName(rmpupdate(rmp, page, { assigned: false }))); // => FAIL_OVERLAP
 * ```
 */
export function rmpupdate(rmp: Rmp, spa: SysPhysAddr, state: RmpState, asid = 0): RmpResult {
  requireOperands(rmp, spa, asid);
  const wanted = wholeState(stateOperand(state));
  return asid === 0 ? updateEntry(rmp, spa, wanted) : RmpResult.FAIL_PERMISSION;
}

/** RMPUPDATE by the host, whose operands are checked. */
export function updateEntry(rmp: Rmp, spa: SysPhysAddr, wanted: Required<RmpState>): RmpResult {
  const { assigned, pageSize: size, immutable } = wanted;
  const huge = size === PageSize.Huge;
  const { assumptions } = rmp;
  const { inUseTest } = assumptions;
  if (inUseTest === 'first' && rmp.isInUse(spa, size)) return RmpResult.FAIL_INUSE;
  if (isMisaligned(rmp, spa, huge)) return RmpResult.FAIL_INPUT;
  if (!assigned && (immutable || wanted.asid !== 0)) return RmpResult.FAIL_INPUT;
  if (!fits(wanted)) return RmpResult.FAIL_INPUT;
  const page = pageNumber(spa);
  if (!rmp.readRawWords(page, OLD)) return RmpResult.FAIL_INPUT;
  if (inUseTest === 'before-entry' && rmp.isInUse(spa, size)) return RmpResult.FAIL_INUSE;
  if (isImmutableWord(OLD[0]!)) return RmpResult.FAIL_PERMISSION;
  const first = page - (page % PAGES_PER_REGION);
  rmp.readWords(first, ENTRY);
  const wasHuge = isHugeWord(ENTRY[0]!);
  const overlaps = page === first || assumptions.smallUpdateInHuge === 'FAIL_OVERLAP';
  if (huge ? !wasHuge && !isFree(rmp, spa) : wasHuge && overlaps) return RmpResult.FAIL_OVERLAP;
  // An HV-FIXED page is not assigned, but nobody may change it.
  if (huge && !wasHuge && rmp.hasImmutable(spa)) return RmpResult.FAIL_PERMISSION;
  if (inUseTest === 'last' && rmp.isInUse(spa, size)) return RmpResult.FAIL_INUSE;

  // An unassigned entry always has 4 KiB: to give back 2 MiB leaves 512 of them.
  writeOwned(wanted, assigned ? size : PageSize.Regular, OLD, ENTRY);
  const reset = wanted.asid === 0 || !haveSameOwner(OLD, ENTRY) || assumptions.rmpupdateReset === 'always';
  if (reset)
    resetGuestFields(ENTRY, assumptions.defaultMasks === 'RMPUPDATE' ? assumptions.resetMaskOfVmpl0 : 0);
  if (huge) {
    rmp.setRegionWords(page, ENTRY, assigned ? ASSIGNED_ENTRY : BLANK_ENTRY);
    return RmpResult.SUCCESS;
  }
  rmp.writeWords(page, ENTRY);
  if (page !== first && !wasHuge) {
    addSubpages(rmp, first, Number(assigned) - Number(isAssignedWord(OLD[0]!)));
  }
  return RmpResult.SUCCESS;
}

/**
 * RMPUPDATE of `count` consecutive pages from `spa` on, in their order, up to the first that does not succeed. The pages of
 * a guest have consecutive guest-physical addresses from that of the state on. Does what a loop does, but pages that are
 * alike cost nothing: O(512) for each run of equal 2 MiB regions.
 *
 * @param state - as for {@link rmpupdate}; its address is that of the first page
 * @returns the result of the last instruction, and the number of pages that were changed
 * @throws SnpError as {@link rmpupdate}
 */
export function rmpupdatePages(
  rmp: Rmp,
  spa: SysPhysAddr,
  count: number,
  state: RmpState,
): { readonly result: RmpResult; readonly done: number } {
  requireOperands(rmp, spa, 0);
  requireInteger('the number of pages', count, 0);
  const wanted = wholeState(stateOperand(state));
  const { pageSize, gpa, asid } = wanted;
  let result: RmpResult = RmpResult.SUCCESS;
  const low = spa % STEP;
  const update = (page: SysPhysAddr): boolean => {
    const operand = (page + low) as SysPhysAddr;
    const moved = asid === 0 ? gpa : gpa + (operand - spa);
    result = updateEntry(rmp, operand, { ...wanted, gpa: moved as PhysAddr });
    return result === RmpResult.SUCCESS;
  };
  // A page whose address does not fit is refused by itself.
  const room = Phys.isAddress(gpa) && gpa < GPA_END ? Number((GPA_END - gpa) / BigInt(pageSize)) : 0;
  const fitting = asid === 0 ? count : Math.min(count, room);
  const done = rmp.changePages(spa, fitting, pageSize, update);
  if (done === fitting && fitting < count)
    update((spa - low + BigInt(done) * BigInt(pageSize)) as SysPhysAddr);
  return { result, done };
}

/**
 * PSMASH: splits the entry of a 2 MiB page into 512 entries of 4 KiB, which keep validated and the VMPL masks (AMD64 APM
 * vol. 2, §15.36.11). With a result other than SUCCESS nothing has changed. O(512).
 *
 * @param asid - the guest whose processor executes the instruction: 0 for the host; a guest gets FAIL_PERMISSION
 * @throws SnpError `INVALID_ARGUMENT` for an operand of another type; AddressError if `spa` is not an address
 */
export function psmash(rmp: Rmp, spa: SysPhysAddr, asid = 0): RmpResult {
  requireOperands(rmp, spa, asid);
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

/** The result of {@link rmpread}. Without SUCCESS `state` is `undefined`. */
export interface RmpreadAnswer {
  readonly result: RmpResult;
  readonly state: RmpStateFields | undefined;
}

/**
 * RMPREAD: the entry of the page of `spa` without the fields that belong to the guest: validated, VMSA and masks. It is
 * the page's own entry, so inside a 2 MiB page it only has assigned set. O(1).
 *
 * Linux `arch/x86/virt/svm/sev.c` `get_rmpentry`, and the page of the `__rmpread` intrinsic.
 *
 * @param asid - the guest whose processor executes the instruction: 0 for the host; a guest gets FAIL_PERMISSION
 * @throws SnpError `INVALID_ARGUMENT` for an operand of another type; AddressError if `spa` is not an address
 */
export function rmpread(rmp: Rmp, spa: SysPhysAddr, asid = 0): RmpreadAnswer {
  requireOperands(rmp, spa, asid);
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

/** A copy of the operand of RMPUPDATE, for which each field is read once: a getter could answer differently. */
export function stateOperand(state: RmpState): RmpState {
  const copy = readArgument('the new state', state, 'pass an RmpState', () => ({ ...state }));
  requireOptions('the new state', copy, STATE);
  return copy;
}

/** All fields of the result of {@link stateOperand}. @throws SnpError `INVALID_ARGUMENT` */
export function wholeState(operand: RmpState): Required<RmpState> {
  const { assigned, pageSize = PageSize.Regular, immutable = false } = operand;
  const { gpa = 0n as PhysAddr, asid = 0 } = operand;
  requireBoolean('assigned', assigned);
  requireBoolean('immutable', immutable);
  requireRmpPageSize(pageSize);
  requireWhole('the ASID', asid);
  if (typeof gpa !== 'bigint') refuseArgument('gpa', gpa, 'pass a guest-physical address');
  return { assigned, pageSize, immutable, gpa, asid };
}

function requireOperands(rmp: Rmp, spa: SysPhysAddr, asid: number): void {
  requireInstance('rmp', rmp, Rmp, 'an Rmp');
  SysPhys.assertIsAddress(spa);
  requireWhole('the ASID of the processor', asid);
}

/** Whether the operand is misaligned: bits 20:12 of the address of a 2 MiB operand must be 0. */
function isMisaligned(rmp: Rmp, spa: SysPhysAddr, huge: boolean): boolean {
  if (rmp.assumptions.lowAddressBits === 'FAIL_INPUT' && spa % STEP !== 0n) return true;
  return huge && (spa & HUGE_MASK) >= STEP;
}

/** Whether the region, which has 4 KiB entries, can become one 2 MiB page. */
function isFree(rmp: Rmp, spa: SysPhysAddr): boolean {
  const first = (spa & ~HUGE_MASK) as SysPhysAddr;
  const { assigned } = rmp.rawEntry(first) as RmpEntry;
  return !rmp.hasSubpages(first) && !(assigned && rmp.assumptions.alignedPageBlocksHuge);
}

function addSubpages(rmp: Rmp, first: number, count: number): void {
  if (count === 0 || rmp.assumptions.subpageCount === 'unmaintained') return;
  rmp.readRawWords(first, ENTRY);
  // The count can be wrong already: a raw entry can have any.
  ENTRY[0] = withSubpages(ENTRY[0]!, count);
  rmp.writeWords(first, ENTRY);
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
