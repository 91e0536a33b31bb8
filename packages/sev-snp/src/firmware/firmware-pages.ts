import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr } from '@svsm/address';
import { PageState } from '../formats/page-state.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY, type Rmp } from '../rmp/rmp.ts';
import { type FirmwareCommand, type FirmwarePlatform, setEntry } from './firmware-command.ts';

/*
 * Commands on pages that name no guest, as AMD-ASPFW `sev_mcmd.c` implements them. A command that refuses throws
 * `FIRMWARE_REFUSED` and changes nothing.
 */

/** SNP_PAGE_RECLAIM: `snp_mcmd_page_reclaim`. */
export function pageReclaim(
  command: FirmwareCommand,
  platform: FirmwarePlatform,
  spa: SysPhysAddr,
  size: RmpPageSize,
): void {
  command.requirePages(spa);
  const { entry, state } = command.page(spa);
  if (entry.pageSize !== size) command.refuse('INVALID_PAGE_SIZE', spa);
  if (!entry.immutable) return;
  command.page(spa, PageState.PreGuest, PageState.PreSwap, PageState.Firmware, PageState.Metadata);
  const gpa = state === PageState.Metadata ? (0n as PhysAddr) : entry.gpa;
  setEntry(platform, spa, { ...entry, gpa, immutable: false, lock: false });
}

/** SNP_PAGE_SET_STATE of one page: `page_set_hv_fixed`. */
export function pageSetHvFixed(command: FirmwareCommand, platform: FirmwarePlatform, spa: SysPhysAddr): void {
  command.requirePages(spa);
  const { entry } = command.page(spa, PageState.Firmware);
  if (entry.pageSize !== PageSize.Regular) command.refuse('INVALID_PAGE_SIZE', spa);
  const { subpageCount } = entry;
  setEntry(platform, spa, { ...HYPERVISOR_ENTRY, immutable: true, subpageCount });
  uncount(platform.rmp, spa);
}

/** SNP_PAGE_UNSMASH: `snp_mcmd_page_unsmash`. */
export function pageUnsmash(command: FirmwareCommand, platform: FirmwarePlatform, spa: SysPhysAddr): void {
  const { rmp } = platform;
  command.requirePages(spa);
  if (spa % BigInt(PAGE_SIZE_2M) !== 0n) command.refuse('INVALID_PARAM', spa);
  const { entry: first } = command.page(spa);
  const isAligned = first.gpa % BigInt(PAGE_SIZE_2M) === 0n;
  for (let k = 0; k < PAGE_SIZE_2M / PAGE_SIZE; k += 1) {
    const entry = rmp.rawEntry(pageAt(spa, k)) as RmpEntry;
    const isAlike =
      entry.asid === first.asid &&
      entry.gpa === first.gpa + BigInt(k * PAGE_SIZE) &&
      entry.validated === first.validated &&
      entry.vmplMasks.every((mask, vmpl) => mask === first.vmplMasks[vmpl]);
    const isWhole = entry.pageSize === PageSize.Regular && entry.assigned && entry.immutable;
    const fits = isAligned && isAlike && isWhole && entry.asid !== 0 && !entry.vmsa;
    if (!fits) command.refuse('INVALID_PAGE_STATE', pageAt(spa, k));
  }
  for (let k = 1; k < PAGE_SIZE_2M / PAGE_SIZE; k += 1) {
    rmp.setRawEntry(pageAt(spa, k), { ...HYPERVISOR_ENTRY, assigned: true });
  }
  setEntry(platform, spa, { ...first, pageSize: PageSize.Huge, subpageCount: 0 });
}

/** Decrements the sub-page count of the region, after one of its pages is not assigned any more. */
function uncount(rmp: Rmp, spa: SysPhysAddr): void {
  const first = (spa & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr;
  if (spa === first || rmp.assumptions.subpageCount === 'unmaintained') return;
  const entry = rmp.rawEntry(first) as RmpEntry;
  // The count has 9 bits, and can be wrong already: a raw entry can have any.
  rmp.setRawEntry(first, { ...entry, subpageCount: (entry.subpageCount - 1) & 0x1ff });
}

function pageAt(spa: SysPhysAddr, k: number): SysPhysAddr {
  return (spa + BigInt(k * PAGE_SIZE)) as SysPhysAddr;
}
