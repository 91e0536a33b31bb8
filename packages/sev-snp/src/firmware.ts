import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, pageNumber } from '@svsm/address';
import { type EncryptedMemory, type MemoryKey, NO_KEY } from './encrypted-memory.ts';
import { PageState, pageStateOf } from './page-state.ts';
import type { Rmp } from './rmp.ts';
import { SnpError } from './snp-error.ts';
import type { SysPhysAddr } from './sys-phys-addr.ts';

/**
 * The firmware's SNP_LAUNCH_UPDATE of one page, as far as memory goes: a PRE-GUEST page is encrypted in place with the
 * guest's key and becomes valid, for VMPL0 alone. O(4 KiB pages), which it need not touch.
 *
 * SEV-SNP firmware ABI (AMD document 56860), SNP_LAUNCH_UPDATE; AMD-ASPFW `sev_mcmd.c`. The launch digest is not
 * computed.
 *
 * @param spa - the first address of a page whose RMP entry the hypervisor has made PRE-GUEST, 4 KiB or 2 MiB
 * @throws SnpError `FIRMWARE_REFUSED` if it is in another state
 */
export function launchUpdate(rmp: Rmp, memory: EncryptedMemory, spa: SysPhysAddr, key: MemoryKey): void {
  const entry = rmp.slot(spa);
  const state = pageStateOf(entry);
  if (entry === undefined || state !== PageState.PreGuest) {
    throw new SnpError('FIRMWARE_REFUSED', { command: 'SNP_LAUNCH_UPDATE', spa, state });
  }
  const frames = entry.pageSize === PageSize.Huge ? PAGE_SIZE_2M / PAGE_SIZE : 1;
  for (let i = 0; i < frames; i += 1) memory.rekey(pageNumber(spa) + i, NO_KEY, key);
  rmp.setSlot(spa, { ...entry, validated: true, immutable: false, lock: false });
}
