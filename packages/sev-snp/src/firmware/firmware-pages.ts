import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr } from '@svsm/address';
import { PageState, pageStateOf } from '../formats/page-state.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY, type Rmp } from '../rmp/rmp.ts';

/*
 * Commands of the firmware that change the state of pages, as far as the RMP goes, as AMD-ASPFW `sev_mcmd.c` implements
 * them. A command refuses every state that it is not for: it throws `FIRMWARE_REFUSED` and changes nothing. The commands
 * that swap pages are in `page-swap.ts`.
 */

/**
 * SNP_PAGE_RECLAIM: gives an immutable page back. PRE-GUEST becomes GUEST-INVALID, PRE-SWAP becomes GUEST-VALID, FIRMWARE
 * and METADATA become RECLAIM. A page that is mutable already stays as it is. O(1).
 *
 * @throws SnpError `FIRMWARE_REFUSED`
 */
export function pageReclaim(rmp: Rmp, spa: SysPhysAddr, pageSize: RmpPageSize): void {
  const command = command4k('SNP_PAGE_RECLAIM', rmp, spa);
  const { entry, state } = command;
  if (entry.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE');
  switch (state) {
    case PageState.Reclaim:
    case PageState.GuestInvalid:
    case PageState.GuestValid:
      break;
    case PageState.PreGuest:
    case PageState.PreSwap:
      rmp.setRawEntry(spa, { ...entry, immutable: false, lock: false });
      break;
    case PageState.Firmware:
    case PageState.Metadata:
      rmp.setRawEntry(spa, { ...entry, immutable: false, lock: false, gpa: 0n as PhysAddr });
      break;
    default:
      command.refuse('INVALID_PAGE_STATE');
  }
}

/** SNP_GCTX_CREATE: a FIRMWARE page becomes the CONTEXT page of a guest. O(1). @throws SnpError `FIRMWARE_REFUSED` */
export function guestContextCreate(rmp: Rmp, spa: SysPhysAddr): void {
  move('SNP_GCTX_CREATE', rmp, spa, PageState.Firmware, { vmsa: true });
}

/** SNP_DECOMMISSION: a CONTEXT page becomes FIRMWARE. O(1). @throws SnpError `FIRMWARE_REFUSED` */
export function decommission(rmp: Rmp, spa: SysPhysAddr): void {
  move('SNP_DECOMMISSION', rmp, spa, PageState.Context, { vmsa: false });
}

/**
 * SNP_MD_INIT: a FIRMWARE page becomes METADATA, for the guest with the context at `context`. O(1).
 *
 * @throws SnpError `FIRMWARE_REFUSED`
 */
export function metadataInit(rmp: Rmp, spa: SysPhysAddr, context: SysPhysAddr): void {
  if (pageStateOf(rmp.rawEntry(context)) !== PageState.Context) {
    command4k('SNP_MD_INIT', rmp, context).refuse('INVALID_GUEST');
  }
  // The kind of a firmware page lies above the frame number: see `page-state.ts`.
  const gpa = ((1n << 48n) | context) as PhysAddr;
  move('SNP_MD_INIT', rmp, spa, PageState.Firmware, { gpa });
}

/** SNP_PAGE_SET_STATE: a FIRMWARE page becomes HV-FIXED permanently. O(1). @throws SnpError `FIRMWARE_REFUSED` */
export function pageSetHvFixed(rmp: Rmp, spa: SysPhysAddr): void {
  const command = command4k('SNP_PAGE_SET_STATE', rmp, spa);
  if (command.state !== PageState.Firmware) command.refuse('INVALID_PAGE_STATE');
  if (command.entry.pageSize !== PageSize.Regular) command.refuse('INVALID_PAGE_SIZE');
  const { subpageCount } = command.entry;
  rmp.setRawEntry(spa, { ...HYPERVISOR_ENTRY, immutable: true, subpageCount });
  uncount(rmp, spa);
}

/**
 * SNP_PAGE_UNSMASH: makes one 2 MiB page of 512 immutable 4 KiB pages. They belong to one guest, have consecutive
 * addresses, and the same state and masks. The page stays immutable. An instruction for this does not exist. O(512).
 *
 * @throws SnpError `FIRMWARE_REFUSED`
 */
export function pageUnsmash(rmp: Rmp, spa: SysPhysAddr): void {
  const { entry: first, refuse } = command4k('SNP_PAGE_UNSMASH', rmp, spa);
  if (spa % BigInt(PAGE_SIZE_2M) !== 0n) refuse('INVALID_ADDRESS');
  for (let k = 0; k < PAGE_SIZE_2M / PAGE_SIZE; k += 1) {
    const entry = rmp.rawEntry(pageAt(spa, k)) as RmpEntry;
    const isAlike =
      entry.pageSize === PageSize.Regular &&
      entry.immutable &&
      entry.asid === first.asid &&
      entry.gpa === first.gpa + BigInt(k * PAGE_SIZE) &&
      entry.validated === first.validated &&
      entry.vmplMasks.every((mask, vmpl) => mask === first.vmplMasks[vmpl]);
    if (!isAlike || !entry.assigned || entry.asid === 0 || entry.vmsa) refuse('INVALID_PAGE_STATE');
  }
  if (first.gpa % BigInt(PAGE_SIZE_2M) !== 0n) refuse('INVALID_ADDRESS');
  for (let k = 1; k < PAGE_SIZE_2M / PAGE_SIZE; k += 1) {
    rmp.setRawEntry(pageAt(spa, k), { ...HYPERVISOR_ENTRY, assigned: true });
  }
  rmp.setRawEntry(spa, { ...first, pageSize: PageSize.Huge, subpageCount: 0 });
}

/** Changes fields of a 4 KiB page, if it is in the state that the command needs. */
function move(name: string, rmp: Rmp, spa: SysPhysAddr, from: PageState, fields: Partial<RmpEntry>): void {
  const { entry, state, refuse } = command4k(name, rmp, spa);
  if (state !== from) refuse('INVALID_PAGE_STATE');
  if (entry.pageSize !== PageSize.Regular) refuse('INVALID_PAGE_SIZE');
  rmp.setRawEntry(spa, { ...entry, ...fields, lock: true });
}

interface Command {
  readonly entry: RmpEntry;
  readonly state: PageState;
  readonly refuse: (status: string) => never;
}

/** The page of a command. A page inside a 2 MiB page is refused. */
function command4k(command: string, rmp: Rmp, spa: SysPhysAddr): Command {
  const entry = rmp.rawEntry(spa);
  const state = pageStateOf(entry);
  const refuse = (status: string): never => {
    throw new SnpError('FIRMWARE_REFUSED', { command, spa, state, status });
  };
  if (spa % BigInt(PAGE_SIZE) !== 0n) return refuse('INVALID_ADDRESS');
  if (entry === undefined) return refuse('INVALID_PAGE_STATE');
  const isInHuge = spa % BigInt(PAGE_SIZE_2M) !== 0n && rmp.entry(spa)?.pageSize === PageSize.Huge;
  if (isInHuge) return refuse('INVALID_PAGE_SIZE');
  return { entry, state, refuse };
}

/** Decrements the sub-page count of the region, after one of its pages is not assigned any more. */
function uncount(rmp: Rmp, spa: SysPhysAddr): void {
  const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
  if (spa === first || rmp.assumptions.subpageCount === 'unmaintained') return;
  const entry = rmp.rawEntry(first) as RmpEntry;
  rmp.setRawEntry(first, { ...entry, subpageCount: entry.subpageCount - 1 });
}

function pageAt(spa: SysPhysAddr, k: number): SysPhysAddr {
  return (spa + BigInt(k * PAGE_SIZE)) as SysPhysAddr;
}
