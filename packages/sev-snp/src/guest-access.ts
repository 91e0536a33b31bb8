import { PAGE_SIZE, type PhysAddr, type VirtAddr } from '@svsm/address';
import { NpfInfo, PAGE_NOT_VALIDATED, VMEXIT_NPF } from './exit-info.ts';
import type { NestedPage } from './nested-table.ts';
import type { GuestContext } from './platform.ts';
import { type AccessKind, failedRmpCheck, type RmpCheck } from './rmp-check.ts';
import { SnpFault, type SnpFaultDetails } from './snp-fault.ts';
import type { SysPhysAddr } from './sys-phys-addr.ts';
import type { Vmpl } from './vmpl.ts';

/** Whose access it is. */
export interface Privilege {
  readonly vmpl: Vmpl;
  readonly cpl: number;
}

/** An access of a guest to one of its guest-physical pages. */
export interface GuestPhysAccess extends Privilege {
  readonly gpa: PhysAddr;
  readonly kind: AccessKind;
  /** Whether the effective C-bit is 1. */
  readonly isPrivate: boolean;
  /** What the guest meant to access, if it was a virtual address. */
  readonly gva: VirtAddr | undefined;
}

/**
 * Where an access leads in system memory, after the nested page table and then the RMP have allowed it (AMD64 APM
 * vol. 2, §15.36.10: RMP checks come after, and lose to, page-table checks).
 *
 * @throws SnpFault `NPF`, `VC_NOT_VALIDATED`
 */
export function accessGuestPhys(guest: GuestContext, access: GuestPhysAccess): SysPhysAddr {
  const nested = translateNested(guest, access);
  const check = failedRmpCheck(guest.machine.rmp, {
    ...access,
    accessor: access.isPrivate ? 'snp-guest-private' : 'snp-guest-shared',
    spa: nested.spa,
    translationSize: nested.size,
    asid: guest.asid,
  });
  if (check !== undefined) throw rmpFault(guest, check, access, nested);
  return nested.spa;
}

/**
 * The nested walk of an access, without the RMP.
 *
 * @throws SnpFault `NPF`
 */
export function translateNested(guest: GuestContext, access: GuestPhysAccess): NestedPage {
  const nested = guest.nested.lookup(access.gpa);
  if (nested === undefined) throw npf(guest, 'nested-not-present', access, undefined, 0n);
  if ((isWrite(access) && !nested.writable) || (access.kind === 'fetch' && !nested.executable)) {
    throw npf(guest, 'nested-rights', access, nested, 0n);
  }
  return nested;
}

/** The fault for a failed RMP check; `sizeMismatch` if an instruction's operand is the cause. */
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
  const why = (sizeMismatch ? NpfInfo.SizeMismatch : 0n) | (check === 'vmpl' ? NpfInfo.Vmpl : 0n);
  return npf(guest, check, access, nested, NpfInfo.Rmp | why);
}

function npf(
  guest: GuestContext,
  check: SnpFaultDetails['NPF']['check'],
  { gpa, gva, kind, isPrivate }: GuestPhysAccess,
  nested: NestedPage | undefined,
  why: bigint,
): SnpFault<'NPF'> {
  const isTable = kind === 'table' || kind === 'table-update';
  const exitInfo1 =
    why |
    NpfInfo.User |
    (nested === undefined ? 0n : NpfInfo.Present) |
    (isWrite({ kind }) ? NpfInfo.Write : 0n) |
    (kind === 'fetch' ? NpfInfo.Fetch : 0n) |
    (isTable ? NpfInfo.GuestTable : NpfInfo.FinalAddress) |
    (isPrivate ? NpfInfo.Encrypted : 0n);
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

function isWrite({ kind }: Pick<GuestPhysAccess, 'kind'>): boolean {
  return kind === 'write' || kind === 'table-update';
}
