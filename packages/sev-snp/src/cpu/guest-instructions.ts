import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { RmpEntry, RmpPageSize, VmplMasks } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { VMPL_COUNT, type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import type { NestedPage } from '../memory/nested-table.ts';
import { failedOwnershipCheck } from '../rmp/rmp-check.ts';
import { SnpFault } from '../rmp/snp-fault.ts';
import { type GuestPhysAccess, type Privilege, rmpFault } from './guest-access.ts';
import type { GuestContext } from './platform.ts';

/** A processor in a guest, as the instructions see it: a `Vcpu` is one. */
export interface GuestCpu extends Privilege {
  readonly guest: GuestContext;
  /**
   * Where `gva` leads: the guest's walk and rights for a read, or what `kind` says, then the nested walk. With
   * `update`, it counts as an access, and accessed bits are set.
   *
   * @throws SnpFault `GP`, `PF`, `NPF`, `VC_NOT_VALIDATED`
   */
  translate(gva: VirtAddr, kind?: 'read' | 'write', update?: boolean): GuestTranslation;
}

/** A guest-virtual address, translated to the end. */
export interface GuestTranslation {
  readonly gva: VirtAddr;
  readonly gpa: PhysAddr;
  readonly spa: SysPhysAddr;
  /** Whether the guest's own page table maps it private. */
  readonly isPrivate: boolean;
  /** The size of the page in the guest's own table. */
  readonly guestSize: PageSize;
  readonly nested: NestedPage;
}

/** What PVALIDATE answers. */
export interface PvalidateAnswer {
  readonly result: RmpResult;
  /** The carry flag: with SUCCESS, the page was in the state asked for already, and nothing has changed. */
  readonly unchanged: boolean;
}

/**
 * PVALIDATE: the guest accepts the page at `gva`, or takes that back. Contents and masks stay as they are: zero a
 * page before using it. Anything but SUCCESS has changed nothing. O(levels).
 *
 * Checks in the order of the VeriSMo model (`op_pvalidate`) with the size rules of AMD64 APM vol. 2, table 15-40.
 *
 * @param pageSize - a size that is not the page's gives a nested page fault with SIZEM (4 KiB asked of 2 MiB; the
 *   hypervisor may split the page and have the instruction repeated) or FAIL_SIZEMISMATCH (2 MiB asked of 4 KiB)
 * @throws SnpFault `GP` above VMPL0 or CPL 0, and what the translation raises; `NPF` if the page is not the guest's,
 *   at this address
 */
export function pvalidate(
  cpu: GuestCpu,
  gva: VirtAddr,
  pageSize: RmpPageSize,
  validate: boolean,
): PvalidateAnswer {
  const { rmp } = cpu.guest.machine;
  const { carryOnFailure } = rmp.assumptions;
  const failed = (result: RmpResult): PvalidateAnswer => answer(result, carryOnFailure === 'set');
  requireCpl0(cpu, 'PVALIDATE');
  if (cpu.vmpl !== 0) {
    if (rmp.assumptions.pvalidateAboveVmpl0 === 'FAIL_PERMISSION') return failed(RmpResult.FAIL_PERMISSION);
    throw new SnpFault('GP', { errorCode: 0, reason: `PVALIDATE at VMPL${cpu.vmpl}` });
  }
  if (isMisaligned(cpu, gva, pageSize)) return failed(RmpResult.FAIL_INPUT);
  const { entry, spa, sizeMismatch } = operand(cpu, gva, pageSize);
  if (sizeMismatch) return failed(RmpResult.FAIL_SIZEMISMATCH);
  if (entry.validated === validate) return answer(RmpResult.SUCCESS, true);
  const vmplMasks = validate ? rmp.masksOnceValidated(entry) : entry.vmplMasks;
  rmp.setRawEntry(spa, { ...entry, validated: validate, vmplMasks });
  return answer(RmpResult.SUCCESS);
}

/** What RMPADJUST sets: the mask of one level and, at VMPL0 only, whether the page is a VMSA. */
export interface RmpAdjustment {
  readonly vmpl: number;
  /** `VmplPermission`, or-ed. */
  readonly permissions: number;
  /** Ignored without a word above VMPL0, as hardware does. */
  readonly vmsa?: boolean;
}

/**
 * RMPADJUST: sets what a less privileged level may do with the page at `gva`; no more than the current level may.
 * O(levels).
 *
 * The rule on levels is that of AMD64 APM vol. 3 as quoted on linux-kernel in December 2021; the rest, of vol. 2, §15.36.7
 * and .11.
 *
 * @throws SnpFault `GP` above CPL 0, and what the translation raises; `NPF` if the page is not the guest's, at this
 *   address; `VC_NOT_VALIDATED`
 */
export function rmpadjust(
  cpu: GuestCpu,
  gva: VirtAddr,
  pageSize: RmpPageSize,
  { vmpl, permissions, vmsa = false }: RmpAdjustment,
): RmpResult {
  const { rmp } = cpu.guest.machine;
  requireCpl0(cpu, 'RMPADJUST');
  if (isMisaligned(cpu, gva, pageSize)) return RmpResult.FAIL_INPUT;
  const isReserved = (permissions & ~VmplPermission.All) !== 0;
  if (isReserved && rmp.assumptions.rmpadjustReservedBits === 'FAIL_INPUT') return RmpResult.FAIL_INPUT;
  if (vmpl >= VMPL_COUNT) return RmpResult[rmp.assumptions.rmpadjustVmplRange];
  if (vmpl <= cpu.vmpl) return RmpResult.FAIL_PERMISSION;
  const { entry, spa, sizeMismatch, invalid } = operand(cpu, gva, pageSize);
  if (!entry.validated) throw invalid();
  if (sizeMismatch) return RmpResult.FAIL_SIZEMISMATCH;
  const mask = permissions & VmplPermission.All;
  if ((mask & ~entry.vmplMasks[cpu.vmpl]) !== 0) return RmpResult.FAIL_PERMISSION;
  const vmplMasks = entry.vmplMasks.with(vmpl, mask) as unknown as VmplMasks;
  rmp.setRawEntry(spa, { ...entry, vmplMasks, vmsa: cpu.vmpl === 0 ? vmsa : entry.vmsa });
  return RmpResult.SUCCESS;
}

/** What RMPQUERY answers; without SUCCESS the other fields are 0. */
export interface RmpqueryAnswer {
  readonly result: RmpResult;
  readonly permissions: number;
  readonly vmsa: boolean;
  readonly pageSize: RmpPageSize;
}

/**
 * RMPQUERY: what a level may do with the page at `gva`, and the page's size in the RMP. O(levels). AMD64 APM vol. 2,
 * §15.36.7.
 *
 * @throws SnpFault `GP` above CPL 0, and what the translation raises; `NPF` if the page is not the guest's, at this
 *   address; `VC_NOT_VALIDATED`
 */
export function rmpquery(cpu: GuestCpu, gva: VirtAddr, vmpl: Vmpl): RmpqueryAnswer {
  const { assumptions } = cpu.guest.machine.rmp;
  requireCpl0(cpu, 'RMPQUERY');
  const { rmpqueryLevels } = assumptions;
  if ((vmpl < cpu.vmpl && rmpqueryLevels !== 'any') || (vmpl === cpu.vmpl && rmpqueryLevels === 'lower')) {
    return Object.freeze({
      result: RmpResult.FAIL_PERMISSION,
      permissions: 0,
      vmsa: false,
      pageSize: PageSize.Regular,
    });
  }
  const { entry, invalid } = operand(cpu, gva, undefined);
  if (!entry.validated && assumptions.rmpqueryNeedsValidated) throw invalid();
  const { vmsa, pageSize } = entry;
  return Object.freeze({ result: RmpResult.SUCCESS, permissions: entry.vmplMasks[vmpl], vmsa, pageSize });
}

interface Operand {
  readonly entry: RmpEntry;
  /** The page whose slot holds the entry. */
  readonly spa: SysPhysAddr;
  /** 2 MiB were asked for where there are 4 KiB. */
  readonly sizeMismatch: boolean;
  /** The #VC for a page that is not validated. */
  readonly invalid: () => SnpFault;
}

/** The entry that an instruction is about, after the checks that end in a nested page fault. */
function operand(cpu: GuestCpu, gva: VirtAddr, pageSize: RmpPageSize | undefined): Operand {
  const { guest, vmpl, cpl } = cpu;
  const { rmp } = guest.machine;
  const { operandAccess, sharedOperand, guestSizeMatters } = rmp.assumptions;
  const { gpa, spa, nested, guestSize, ...translation } = cpu.translate(gva, operandAccess, true);
  const isPrivate = translation.isPrivate || sharedOperand === 'as-private';
  const access: GuestPhysAccess = { gpa, gva, kind: operandAccess, isPrivate, vmpl, cpl };
  const owner = { spa, gpa, asid: guest.asid };
  const check = isPrivate ? failedOwnershipCheck(rmp, owner) : 'guest-owned';
  if (check !== undefined) throw rmpFault(guest, check, access, nested);
  const isHuge = pageSize === PageSize.Huge;
  if (isHuge && gpa % BigInt(PAGE_SIZE_2M) >= PAGE_SIZE) throw rmpFault(guest, 'reverse-map', access, nested);
  const entry = rmp.entry(spa) as RmpEntry;
  const nestedHuge = nested.size !== PageSize.Regular;
  if (pageSize === PageSize.Regular && (nestedHuge || entry.pageSize === PageSize.Huge)) {
    throw rmpFault(guest, 'page-size', access, nested, true);
  }
  return {
    entry,
    spa: (spa & -BigInt(entry.pageSize)) as SysPhysAddr,
    sizeMismatch:
      isHuge &&
      !(
        nestedHuge &&
        entry.pageSize === PageSize.Huge &&
        !(guestSizeMatters && guestSize === PageSize.Regular)
      ),
    invalid: () => rmpFault(guest, 'validated', access, nested),
  };
}

/** Bits 20:12 of the address of a 2 MiB operand must be 0. */
function isMisaligned(cpu: GuestCpu, gva: VirtAddr, pageSize: RmpPageSize): boolean {
  const { lowAddressBits } = cpu.guest.machine.rmp.assumptions;
  if (lowAddressBits === 'FAIL_INPUT' && gva % BigInt(PAGE_SIZE) !== 0n) return true;
  return pageSize === PageSize.Huge && (gva & BigInt(PAGE_SIZE_2M - 1)) >= PAGE_SIZE;
}

function requireCpl0({ cpl }: Privilege, instruction: string): void {
  if (cpl !== 0) throw new SnpFault('GP', { errorCode: 0, reason: `${instruction} at CPL ${cpl}` });
}

function answer(result: RmpResult, unchanged = false): PvalidateAnswer {
  return Object.freeze({ result, unchanged });
}
