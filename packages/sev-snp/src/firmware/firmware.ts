import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, pageNumber } from '@svsm/address';
import { LaunchPageType } from '../formats/launch-digest.ts';
import { PageState, pageStateOf } from '../formats/page-state.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type EncryptedMemory, type MemoryKey, NO_KEY } from '../memory/encrypted-memory.ts';
import type { Rmp } from '../rmp/rmp.ts';

/** Options of {@link launchUpdate}. */
export interface LaunchUpdateOptions {
  /** The type of the page: `Normal` if not given. */
  readonly type?: LaunchPageType;
  /** The masks of VMPL1 to VMPL3: 0 if not given. */
  readonly permissions?: readonly [number, number, number];
}

/**
 * SNP_LAUNCH_UPDATE of one page, as far as memory goes: encrypts a PRE-GUEST page in place with the guest's key and makes
 * it valid. A `Zero` page is zeroed first; a `Vmsa` page gets the VMSA bit. O(4 KiB pages); only a `Zero` page touches
 * their bytes. The digest of the launch is computed apart, by `LaunchDigest`.
 *
 * The checks come in the order of AMD-ASPFW `sev_mcmd.c`, `snp_mcmd_launch_update`. The model neither writes `Secrets`
 * pages nor checks `Cpuid` pages: the caller does.
 *
 * @param spa - the first address of a 4 KiB or 2 MiB page in state PRE-GUEST
 * @param permissions - masks from 0 to 0xff
 * @throws SnpError `FIRMWARE_REFUSED` if the page is in another state, or its size does not exist for the type
 */
export function launchUpdate(
  rmp: Rmp,
  memory: EncryptedMemory,
  spa: SysPhysAddr,
  key: MemoryKey,
  { type = LaunchPageType.Normal, permissions = [0, 0, 0] }: LaunchUpdateOptions = {},
): void {
  const entry = rmp.rawEntry(spa);
  const state = pageStateOf(entry);
  const refusal = (status: string): SnpError =>
    new SnpError('FIRMWARE_REFUSED', { command: 'SNP_LAUNCH_UPDATE', spa, state, status });
  if (!permissions.every((mask) => Number.isInteger(mask) && mask >= 0 && mask <= 0xff))
    throw refusal('INVALID_PARAM');
  if (entry === undefined || state !== PageState.PreGuest) throw refusal('INVALID_PAGE_STATE');
  if (spa % BigInt(entry.pageSize) !== 0n) throw refusal('INVALID_ADDRESS');
  const isHuge = entry.pageSize === PageSize.Huge;
  if (!Object.values(LaunchPageType).includes(type)) throw refusal('INVALID_PARAM');
  if (isHuge && SMALL_TYPES.includes(type)) throw refusal('INVALID_PAGE_SIZE');
  const frames = isHuge ? PAGE_SIZE_2M / PAGE_SIZE : 1;
  for (let i = 0; i < frames; i += 1) {
    const frame = pageNumber(spa) + i;
    if (type === LaunchPageType.Zero) memory.words(frame, key, true).fill(0);
    else memory.rekey(frame, NO_KEY, key);
  }
  const vmplMasks = [rmp.masksOnceValidated(entry)[0], ...permissions] as const;
  const vmsa = type === LaunchPageType.Vmsa;
  rmp.setRawEntry(spa, { ...entry, vmplMasks, vmsa, validated: true, immutable: false, lock: false });
}

/** The types whose pages have to be 4 KiB. */
const SMALL_TYPES: readonly LaunchPageType[] = [
  LaunchPageType.Vmsa,
  LaunchPageType.Secrets,
  LaunchPageType.Cpuid,
];
