import { PAGE_SIZE, type PhysAddr, type VirtAddr } from '@svsm/address';
import { NpfInfo, PAGE_NOT_VALIDATED, VMEXIT_NPF } from '../formats/exit-info.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import type { MemoryKey } from '../memory/encrypted-memory.ts';
import type { NestedPage, NestedRights } from '../memory/nested-table.ts';
import { failedAccessCheck, type RmpAccessKind, type RmpCheck } from '../rmp/rmp-check.ts';
import { SnpFault, type SnpFaultDetails } from '../rmp/snp-fault.ts';
import { type NestedTlb, pageAt } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';

/** The privilege of an access. */
export interface Privilege {
  readonly vmpl: Vmpl;
  readonly cpl: number;
  /** Whether the processor runs with VMPL SSS. `false` if not given. */
  readonly vmplSss?: boolean;
}

/** An access of a guest to a guest-physical page. */
export interface GuestPhysAccess extends Privilege {
  readonly gpa: PhysAddr;
  readonly kind: RmpAccessKind;
  /** Whether the effective C-bit is 1. */
  readonly isPrivate: boolean;
  /** The virtual address of the access, if it has one. */
  readonly gva: VirtAddr | undefined;
  /** The mode of an access to a shadow stack. Not given for other accesses. */
  readonly shadowStack?: 'user' | 'supervisor' | undefined;
}

/** An access with all its fields. They are read once, and each access has them in the same order: engines like that. */
export function guestPhysAccess(
  { vmpl, cpl, vmplSss = false }: Privilege,
  gpa: PhysAddr,
  gva: VirtAddr | undefined,
  kind: RmpAccessKind,
  isPrivate: boolean,
  shadowStack?: GuestPhysAccess['shadowStack'],
): GuestPhysAccess {
  return { vmpl, cpl, vmplSss, gpa, gva, kind, isPrivate, shadowStack };
}

/** The place of a part of an access: its translation, and the key. */
export interface AccessedPlace {
  readonly access: GuestPhysAccess;
  readonly nested: NestedPage;
  readonly spa: SysPhysAddr;
  readonly key: MemoryKey;
}

/**
 * The system-physical address of an access, which the nested page table and then the RMP have to allow (AMD64 APM vol. 2,
 * §15.36.10: RMP checks come after page-table checks).
 *
 * @param tlb - cached translations, possibly stale. If they allow the access, tables and RMP are not read
 * @throws SnpFault `NPF`, `VC_NOT_VALIDATED`, `VC_MMIO`
 */
export function accessGuestPhys(guest: GuestContext, access: GuestPhysAccess, tlb?: NestedTlb): SysPhysAddr {
  return accessedPage(guest, access, tlb).spa;
}

/** As {@link accessGuestPhys}, but returns the nested translation, for {@link recheckRmp}. */
export function accessedPage(guest: GuestContext, access: GuestPhysAccess, tlb?: NestedTlb): NestedPage {
  // Where processors set accessed and dirty bits, each kind of access has to walk once.
  const held = tlb?.lookup(guest, access.vmpl, access.gpa);
  const bit = tlb === undefined ? 0 : accessBit(access.kind, access.isPrivate, access.cpl, needsSss(access));
  if (held !== undefined) {
    const page = pageAt(held, access.gpa);
    if ((held.allowed & bit) !== 0) return page;
    const { gmet, accessedDirty } = guest.nested;
    const isAllowed = !accessedDirty && deniedByNested(page, access, gmet) === undefined;
    if (isAllowed && deniedByRmp(guest, page, access) === undefined) {
      held.allowed |= bit;
      return page;
    }
  }
  const nested = walkNested(guest, access);
  recheckRmp(guest, { access, nested });
  tlb?.insert(guest, access.vmpl, access.gpa, nested, bit);
  return nested;
}

/**
 * The RMP checks of an access whose translation is known. No walk runs, so nothing of the hypervisor does.
 *
 * @throws SnpFault `NPF`, `VC_NOT_VALIDATED`
 */
export function recheckRmp(
  guest: GuestContext,
  { access, nested }: Pick<AccessedPlace, 'access' | 'nested'>,
): void {
  const check = deniedByRmp(guest, nested, access);
  if (check !== undefined) throw rmpFault(guest, check, access, nested);
}

/**
 * The nested half of a translation, without the RMP checks.
 *
 * @param tlb - as for {@link accessGuestPhys}
 * @throws SnpFault `NPF`, `VC_MMIO`
 */
export function translateNested(guest: GuestContext, access: GuestPhysAccess, tlb?: NestedTlb): NestedPage {
  const held = tlb?.lookup(guest, access.vmpl, access.gpa);
  const page = held === undefined ? undefined : pageAt(held, access.gpa);
  const isAllowed = page !== undefined && deniedByNested(page, access, guest.nested.gmet) === undefined;
  return isAllowed ? page : walkNested(guest, access);
}

function walkNested(guest: GuestContext, access: GuestPhysAccess): NestedPage {
  const nested = copied(guest.nested.walk(access.gpa));
  if (nested === 'reserved') {
    const { gpa, gva } = access;
    const exitInfo1 = NpfInfo.Present | NpfInfo.Reserved | infoOf(access, guest.nested.gmet);
    throw new SnpFault('VC_MMIO', { errorCode: VMEXIT_NPF, exitInfo1, gpa, gva });
  }
  const denied = deniedByNested(nested, access, guest.nested.gmet);
  if (denied !== undefined) throw npf(guest, denied, access, nested, 0n);
  guest.nested.markUsed(access.gpa, isNestedWrite(access.kind));
  return nested as NestedPage;
}

/** A walk's answer with each field read once: the hypervisor owns the table, and a getter could answer differently. */
function copied(walked: NestedPage | 'reserved' | undefined): NestedPage | 'reserved' | undefined {
  if (walked === undefined || walked === 'reserved') return walked;
  const { spa, size, writable, user, executable, accessed, dirty } = walked;
  SysPhys.assertIsAddress(spa);
  return { spa, size, writable, user, executable, accessed, dirty };
}

function deniedByNested(
  nested: NestedPage | undefined,
  access: GuestPhysAccess,
  gmet: boolean,
): 'nested-not-present' | 'nested-rights' | undefined {
  if (nested === undefined) return 'nested-not-present';
  return allowsNested(nested, access, gmet) ? undefined : 'nested-rights';
}

/**
 * Whether the nested rights allow an access (AMD64 APM vol. 2, §15.25.5, §15.25.7). Every access is a user access, whatever the
 * CPL, and the walk of a guest's page table is a user write. With GMET, U/S=1 forbids supervisor fetches, and U/S=0 forbids
 * nothing (§15.25.13, table 15-21).
 */
function allowsNested(
  { user, writable, executable }: NestedRights,
  access: Privileged,
  gmet: boolean,
): boolean {
  if (!gmet && !user) return false;
  if (access.kind !== 'fetch') return writable || !isNestedWrite(access.kind);
  return executable && !(gmet && user && access.cpl !== 3);
}

type Privileged = Pick<GuestPhysAccess, 'kind' | 'cpl'>;

/** Whether the nested page table has to allow a write: so for each walk of a guest's page table, even one that sets no bit. */
function isNestedWrite(kind: RmpAccessKind): boolean {
  return kind !== 'read' && kind !== 'fetch';
}

function deniedByRmp(guest: GuestContext, nested: NestedPage, access: GuestPhysAccess): RmpCheck | undefined {
  const { kind, gpa, vmpl, cpl, isPrivate } = access;
  return failedAccessCheck(guest.machine.rmp, {
    accessor: isPrivate ? 'snp-guest-private' : 'snp-guest-shared',
    kind,
    spa: nested.spa,
    translationSize: nested.size,
    gpa,
    asid: guest.asid,
    vmpl,
    cpl,
    supervisorShadowStack: needsSss(access),
  });
}

/** A number for each kind of access. Comparisons, because every access of a guest asks: a search takes longer than all of them. */
function numberOf(kind: RmpAccessKind): number {
  if (kind === 'read') return 0;
  if (kind === 'write') return 1;
  if (kind === 'fetch') return 2;
  return kind === 'table' ? 3 : 4;
}

/** A bit for each kind of access that nested table or RMP can decide differently. A `NestedTlb` records these bits. */
export function accessBit(kind: RmpAccessKind, isPrivate: boolean, cpl: number, sss = false): number {
  if (sss) return 1 << (11 + numberOf(kind));
  const isUserFetch = kind === 'fetch' && cpl === 3;
  return 1 << (isUserFetch ? 10 : 2 * numberOf(kind) + (isPrivate ? 1 : 0));
}

/** The mode of an access to a shadow stack, by the option of `PageTable.access`: WRUSS is a user access at every CPL. */
export function shadowStackMode(
  option: 'current' | 'user' | undefined,
  cpl: number,
): GuestPhysAccess['shadowStack'] {
  if (option === undefined) return undefined;
  return option === 'user' || cpl === 3 ? 'user' : 'supervisor';
}

/** Whether the mask needs the bit of supervisor shadow stacks (AMD64 APM vol. 2, §15.36.7). */
function needsSss({ shadowStack, vmplSss, isPrivate }: GuestPhysAccess): boolean {
  return vmplSss === true && shadowStack === 'supervisor' && isPrivate;
}

/** The fault for a failed RMP check. `sizeMismatch`: the size of an instruction's operand is the cause. */
export function rmpFault(
  guest: GuestContext,
  check: RmpCheck,
  access: GuestPhysAccess,
  nested: NestedPage,
  sizeMismatch = false,
): SnpFault<'NPF'> | SnpFault<'VC_NOT_VALIDATED'> {
  if (check === 'validated') {
    const { gva, gpa } = access;
    return new SnpFault('VC_NOT_VALIDATED', { errorCode: PAGE_NOT_VALIDATED, gva, gpa, spa: nested.spa });
  }
  const why =
    (sizeMismatch ? NpfInfo.SizeMismatch : 0n) | (check === 'vmpl' ? vmplInfo(guest, access, nested) : 0n);
  return npf(guest, check, access, nested, NpfInfo.Rmp | why);
}

/** The bits of EXITINFO1 for a failed VMPL check (AMD64 APM vol. 2, §15.36.10). */
function vmplInfo(guest: GuestContext, { vmpl, vmplSss }: Privilege, { spa }: NestedPage): bigint {
  const mask = guest.machine.rmp.entry(spa)?.vmplMasks[vmpl] ?? 0;
  const isSss = vmplSss === true && (mask & VmplPermission.SupervisorShadowStack) !== 0;
  return NpfInfo.Vmpl | (isSss ? NpfInfo.SupervisorShadowStack : 0n);
}

function npf(
  guest: GuestContext,
  check: SnpFaultDetails['NPF']['check'],
  access: GuestPhysAccess,
  nested: NestedPage | undefined,
  why: bigint,
): SnpFault<'NPF'> {
  const { gpa, gva } = access;
  const exitInfo1 = why | infoOf(access, guest.nested.gmet) | (nested === undefined ? 0n : NpfInfo.Present);
  const isByte = guest.machine.rmp.assumptions.exitInfo2 === 'byte';
  return new SnpFault('NPF', {
    exitCode: VMEXIT_NPF,
    exitInfo1,
    gpa: isByte ? gpa : gpa & -BigInt(PAGE_SIZE),
    gva,
    spa: nested?.spa,
    nestedSize: nested?.size,
    check,
  });
}

/** The bits of EXITINFO1 that describe the access itself. With GMET, U is the privilege of a fetch in the guest. */
function infoOf({ kind, cpl, isPrivate, shadowStack }: GuestPhysAccess, gmet: boolean): bigint {
  const isTable = kind === 'table' || kind === 'table-update';
  const isSupervisor = gmet && kind === 'fetch' && cpl !== 3;
  return (
    (isSupervisor ? 0n : NpfInfo.User) |
    (isNestedWrite(kind) ? NpfInfo.Write : 0n) |
    (kind === 'fetch' ? NpfInfo.Fetch : 0n) |
    (shadowStack === undefined ? 0n : NpfInfo.ShadowStack) |
    (isTable ? NpfInfo.GuestTable : NpfInfo.FinalAddress) |
    (isPrivate ? NpfInfo.Encrypted : 0n)
  );
}
