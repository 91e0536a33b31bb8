import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber, type VirtAddr } from '@svsm/address';
import type { VirtPage } from '@svsm/memory-region';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireInteger,
  requireRmpPageSize,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import { addressOf } from '../formats/page-address.ts';
import {
  isHugeWord,
  isValidatedWord,
  isVmsaWord,
  maskOfWord,
  RMP_ENTRY_WORDS,
  type RmpPageSize,
  withMask,
  withValidated,
  withVmsa,
} from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { VMPL_COUNT, type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import type { NestedPage } from '../memory/nested-table.ts';
import { PAGES_PER_REGION } from '../rmp/alike-entries.ts';
import { validationResetsMasks } from '../rmp/rmp.ts';
import { failedOwnershipCheck } from '../rmp/rmp-check.ts';
import { SnpFault } from '../rmp/snp-fault.ts';
import { requireGuest } from './context-checks.ts';
import { type GuestPhysAccess, guestPhysAccess, type Privilege, rmpFault } from './guest-access.ts';
import type { GuestContext } from './platform.ts';

/** A processor of a guest, as the instructions see it. `Vcpu` implements it. */
export interface GuestCpu extends Privilege {
  readonly guest: GuestContext;
  /** Whether it is in 64-bit mode. RMPADJUST and RMPQUERY exist only there. */
  readonly is64Bit: boolean;
  /**
   * Translates `gva`: the guest's walk with the rights for `kind` (a read if not given), then the nested walk. With
   * `update`, it counts as an access and sets accessed bits.
   *
   * @throws SnpFault `GP`, `PF`, `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`
   */
  translate(gva: VirtAddr, kind?: 'read' | 'write', update?: boolean): GuestTranslation;
}

/** The complete translation of a guest-virtual address. */
export interface GuestTranslation {
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
  readonly spa: SysPhysAddr;
  /** Whether the guest's own page table maps the page private. */
  readonly isPrivate: boolean;
  /** The size of the page in the guest's own table. */
  readonly guestSize: PageSize;
  readonly nested: NestedPage;
}

/** The outcome of PVALIDATE. */
export interface PvalidateAnswer {
  readonly result: RmpResult;
  /** The carry flag. With SUCCESS it means that the page was in the requested state already, and nothing has changed. */
  readonly unchanged: boolean;
}

/**
 * PVALIDATE: the guest accepts `page`, or rescinds that. Content and masks stay as they are: zero a page
 * before you use it. With a result other than SUCCESS nothing has changed. O(levels).
 *
 * The checks come in the order of the VeriSMo model (`op_pvalidate`), with the size rules of AMD64 APM vol. 2, table
 * 15-40.
 *
 * @param pageSize - 4 KiB for a 2 MiB page raises a nested page fault with SIZEM: the hypervisor can split the page, and
 *   the instruction runs again. 2 MiB for a 4 KiB page returns FAIL_SIZEMISMATCH
 * @throws SnpError `INVALID_ARGUMENT` if `cpu` is not a processor, for another page size, or a `validate` that is not a
 *   boolean; SnpFault `GP` above VMPL0 or CPL 0, and the faults of the translation; `NPF` if the page does not belong to the guest
 *   at this address
 */
export function pvalidate(
  cpu: GuestCpu,
  page: VirtPage,
  pageSize: RmpPageSize,
  validate: boolean,
): PvalidateAnswer {
  const gva = addressOf(page);
  requireCpu(cpu);
  return validatePage(cpu, gva, pageSize, validate);
}

/** {@link pvalidate} by a processor that is one. */
export function validatePage(
  cpu: GuestCpu,
  gva: VirtAddr,
  pageSize: RmpPageSize,
  validate: boolean,
): PvalidateAnswer {
  requireRmpPageSize(pageSize);
  requireBoolean('whether to validate', validate);
  const { rmp } = cpu.guest.machine;
  const carry = rmp.assumptions.carryOnFailure === 'set';
  requireExecutable(cpu, 'PVALIDATE', true);
  if (cpu.vmpl !== 0) {
    if (rmp.assumptions.pvalidateAboveVmpl0 === 'FAIL_PERMISSION')
      return answer(RmpResult.FAIL_PERMISSION, carry);
    throw new SnpFault('GP', { errorCode: 0, reason: `PVALIDATE at VMPL${cpu.vmpl}` });
  }
  if (isMisaligned(cpu, gva, pageSize)) return answer(RmpResult.FAIL_INPUT, carry);
  const found = operand(cpu, gva, pageSize);
  if (found.sizeMismatch) return answer(RmpResult.FAIL_SIZEMISMATCH, carry);
  if (isValidatedWord(ENTRY[1]!) === validate) return answer(RmpResult.SUCCESS, true);
  const { assumptions } = rmp;
  if (validate && validationResetsMasks(assumptions, maskOfWord(ENTRY[2]!, 0)))
    ENTRY[2] = assumptions.resetMaskOfVmpl0;
  ENTRY[1] = withValidated(ENTRY[1]!, validate);
  change(cpu, found);
  return answer(RmpResult.SUCCESS);
}

/** The operand of RMPADJUST: the mask of one level and, at VMPL0 only, the VMSA bit. */
export interface RmpAdjustment {
  readonly vmpl: number;
  /** An OR of `VmplPermission`. */
  readonly permissions: number;
  /** Above VMPL0 it is ignored without an error, as on hardware. */
  readonly vmsa?: boolean;
}

/**
 * RMPADJUST: sets the mask of a less privileged level for `page`, to rights that the current level has.
 * O(levels).
 *
 * The test of the level: AMD64 APM vol. 3, as quoted on linux-kernel in December 2021. The other rules: vol. 2, §15.36.7
 * and §15.36.11.
 *
 * @throws SnpError `INVALID_ARGUMENT` for another page size, a level or mask that is not a byte, or a VMSA bit that is not a
 *   boolean; SnpFault `UD` outside 64-bit mode, `GP` above CPL 0, and the faults of the translation; `NPF` if the page does not
 *   belong to the guest at this address; `VC_NOT_VALIDATED`
 */
export function rmpadjust(
  cpu: GuestCpu,
  page: VirtPage,
  pageSize: RmpPageSize,
  adjustment: RmpAdjustment,
): RmpResult {
  requireCpu(cpu);
  requireRmpPageSize(pageSize);
  return adjustPage(cpu, addressOf(page), pageSize, adjustmentOperand(adjustment));
}

/** {@link rmpadjust} by a processor that is one. @param adjustment - a copy, as {@link adjustmentOperand} returns it */
export function adjustPage(
  cpu: GuestCpu,
  gva: VirtAddr,
  pageSize: RmpPageSize,
  { vmpl, permissions, vmsa = false }: RmpAdjustment,
): RmpResult {
  requireRmpPageSize(pageSize);
  requireInteger('the VMPL', vmpl, 0, 255);
  requireInteger('the permissions', permissions, 0, 255);
  requireBoolean('the VMSA bit', vmsa);
  const { rmp } = cpu.guest.machine;
  requireExecutable(cpu, 'RMPADJUST');
  if (isMisaligned(cpu, gva, pageSize)) return RmpResult.FAIL_INPUT;
  const isReserved = (permissions & ~VmplPermission.All) !== 0;
  if (isReserved && rmp.assumptions.rmpadjustReservedBits === 'FAIL_INPUT') return RmpResult.FAIL_INPUT;
  if (vmpl >= VMPL_COUNT) return RmpResult[rmp.assumptions.rmpadjustVmplRange];
  if (vmpl <= cpu.vmpl) return RmpResult.FAIL_PERMISSION;
  const found = operand(cpu, gva, pageSize);
  if (!isValidatedWord(ENTRY[1]!)) throw notValidated(cpu, found);
  if (found.sizeMismatch) return RmpResult.FAIL_SIZEMISMATCH;
  const mask = permissions & VmplPermission.All;
  if ((mask & ~maskOfWord(ENTRY[2]!, cpu.vmpl)) !== 0) return RmpResult.FAIL_PERMISSION;
  ENTRY[2] = withMask(ENTRY[2]!, vmpl, mask);
  if (cpu.vmpl === 0) ENTRY[1] = withVmsa(ENTRY[1]!, vmsa);
  change(cpu, found);
  return RmpResult.SUCCESS;
}

/** The outcome of RMPQUERY. Without SUCCESS the other fields are 0. */
export interface RmpqueryAnswer {
  readonly result: RmpResult;
  readonly permissions: number;
  readonly vmsa: boolean;
  readonly pageSize: RmpPageSize;
}

/**
 * RMPQUERY: the mask of a level for `page`, the VMSA bit, and the size of the page in the RMP (AMD64 APM
 * vol. 2, §15.36.7). O(levels).
 *
 * @throws SnpError `INVALID_ARGUMENT` for a level that is not a byte; SnpFault `UD` outside 64-bit mode, `GP` above CPL 0, and
 *   the faults of the translation; `NPF` if the page does not belong to the guest at this address; `VC_NOT_VALIDATED`
 */
export function rmpquery(cpu: GuestCpu, page: VirtPage, vmpl: Vmpl): RmpqueryAnswer {
  const gva = addressOf(page);
  requireCpu(cpu);
  requireInteger('the VMPL', vmpl, 0, 255);
  const { assumptions } = cpu.guest.machine.rmp;
  const failed = (result: RmpResult): RmpqueryAnswer =>
    Object.freeze({ result, permissions: 0, vmsa: false, pageSize: PageSize.Regular });
  requireExecutable(cpu, 'RMPQUERY');
  const { rmpqueryLevels, rmpadjustVmplRange } = assumptions;
  if (vmpl >= VMPL_COUNT) return failed(RmpResult[rmpadjustVmplRange]);
  const isDenied =
    (vmpl < cpu.vmpl && rmpqueryLevels !== 'any') || (vmpl === cpu.vmpl && rmpqueryLevels === 'lower');
  if (isDenied) return failed(RmpResult.FAIL_PERMISSION);
  const found = operand(cpu, gva, undefined);
  if (!isValidatedWord(ENTRY[1]!) && assumptions.rmpqueryNeedsValidated) throw notValidated(cpu, found);
  return Object.freeze({
    result: RmpResult.SUCCESS,
    permissions: maskOfWord(ENTRY[2]!, vmpl),
    vmsa: isVmsaWord(ENTRY[1]!),
    pageSize: isHugeWord(ENTRY[0]!) ? PageSize.Huge : PageSize.Regular,
  });
}

/** Scratch: the words of the entry of an operand, from {@link operand} until something else runs. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);

interface Operand {
  /** The number of the page whose 16 bytes hold the entry. */
  readonly page: number;
  /** The operand has 2 MiB, the page 4 KiB. */
  readonly sizeMismatch: boolean;
  /** The access for which the page was translated, and the nested half of the translation. */
  readonly access: GuestPhysAccess;
  readonly nested: NestedPage;
}

/** The #VC for a page that is not validated. */
function notValidated({ guest }: GuestCpu, { access, nested }: Operand): SnpFault {
  return rmpFault(guest, 'validated', access, nested);
}

/** The operand of an instruction, after the checks that end in a nested page fault. `ENTRY` has its entry. */
function operand(cpu: GuestCpu, gva: VirtAddr, pageSize: RmpPageSize | undefined): Operand {
  const { guest, vmpl, cpl } = cpu;
  const { rmp } = guest.machine;
  const { operandAccess, sharedOperand, guestSizeMatters } = rmp.assumptions;
  const translation = cpu.translate(gva, operandAccess, true);
  const { gpa, spa, nested, guestSize } = translation;
  // The walk reads a table of the hypervisor: the guest may have ended meanwhile, and its ASID belong to another one.
  void guest.key;
  const isPrivate = translation.isPrivate || sharedOperand === 'as-private';
  const access = guestPhysAccess({ vmpl, cpl }, gpa, gva, operandAccess, isPrivate);
  const owner = { spa, gpa, asid: guest.asid };
  const check = isPrivate ? failedOwnershipCheck(rmp, owner, ENTRY) : 'guest-owned';
  if (check !== undefined) throw rmpFault(guest, check, access, nested);
  const isHuge = pageSize === PageSize.Huge;
  if (isHuge && (gpa & OFFSET_2M) >= PAGE_SIZE) throw rmpFault(guest, 'reverse-map', access, nested);
  const entryHuge = isHugeWord(ENTRY[0]!);
  const nestedHuge = nested.size !== PageSize.Regular;
  if (pageSize === PageSize.Regular && (nestedHuge || entryHuge)) {
    throw rmpFault(guest, 'page-size', access, nested, true);
  }
  const guestFits = !guestSizeMatters || guestSize !== PageSize.Regular;
  const page = pageNumber(spa);
  return {
    page: entryHuge ? page - (page % PAGES_PER_REGION) : page,
    sizeMismatch: isHuge && !(nestedHuge && entryHuge && guestFits),
    access,
    nested,
  };
}

/** Writes `ENTRY` as the entry of an operand. Arrays of the memory of a page end with its state. */
function change({ guest }: GuestCpu, { page }: Operand): void {
  const { rmp, memory } = guest.machine;
  rmp.writeWords(page, ENTRY);
  memory.revoke(page, isHugeWord(ENTRY[0]!) ? PAGES_PER_REGION : 1);
}

const OFFSET = BigInt(PAGE_SIZE - 1);
const OFFSET_2M = BigInt(PAGE_SIZE_2M - 1);

/** Whether the operand is misaligned: bits 20:12 of the address of a 2 MiB operand must be 0. */
function isMisaligned(cpu: GuestCpu, gva: VirtAddr, pageSize: RmpPageSize): boolean {
  const { lowAddressBits } = cpu.guest.machine.rmp.assumptions;
  if (lowAddressBits === 'FAIL_INPUT' && (gva & OFFSET) !== 0n) return true;
  return pageSize === PageSize.Huge && (gva & OFFSET_2M) >= PAGE_SIZE;
}

/** A copy of the operand of RMPADJUST, for which each field is read once. @throws SnpError `INVALID_ARGUMENT` */
export function adjustmentOperand(adjustment: RmpAdjustment): RmpAdjustment {
  const expected = 'pass an object with vmpl and permissions';
  const copy = readArgument('the adjustment', adjustment, expected, () => ({ ...adjustment }));
  requireOptions('the adjustment', copy, ADJUSTMENT);
  return copy;
}

const ADJUSTMENT: readonly (keyof RmpAdjustment)[] = ['vmpl', 'permissions', 'vmsa'];

/** Requires a processor of a guest. @throws SnpError `INVALID_ARGUMENT` */
function requireCpu(cpu: GuestCpu): void {
  const expected = 'pass a Vcpu';
  if (!readArgument('the processor', cpu, expected, isCpu)) refuseArgument('the processor', cpu, expected);
}

function isCpu(cpu: GuestCpu): boolean {
  const { vmpl, cpl, is64Bit, guest } = cpu;
  requireGuest(guest);
  const isLevel = Number.isInteger(vmpl) && Number.isInteger(cpl);
  return isLevel && typeof is64Bit === 'boolean' && typeof cpu.translate === 'function';
}

/** @throws SnpFault `UD` if the instruction does not exist in the mode of the processor, `GP` above CPL 0 */
function requireExecutable({ cpl, is64Bit, guest }: GuestCpu, instruction: string, in32 = false): void {
  const isUndefined = !is64Bit && !in32;
  const isFirst = guest.machine.rmp.assumptions.exceptionOrder === 'UD-first';
  if (isUndefined && (isFirst || cpl === 0)) throw new SnpFault('UD', { instruction });
  if (cpl !== 0) throw new SnpFault('GP', { errorCode: 0, reason: `${instruction} at CPL ${cpl}` });
}

function answer(result: RmpResult, unchanged = false): PvalidateAnswer {
  return Object.freeze({ result, unchanged });
}
