import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, pageNumber } from '@svsm/address';
import { GuestState } from '../formats/guest-state.ts';
import { LaunchPageType } from '../formats/launch-digest.ts';
import { PageState } from '../formats/page-state.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import type { FirmwareCommand, FirmwarePlatform } from './firmware-command.ts';

/** Operands of SNP_LAUNCH_UPDATE: `Firmware.launchUpdate`. */
export interface LaunchUpdateOptions {
  /** The size of the page: 4 KiB if not given. It must be the size in the RMP. */
  readonly pageSize?: RmpPageSize;
  /** The type of the page: `Normal` if not given. */
  readonly type?: LaunchPageType;
  /** The masks of VMPL1 to VMPL3, each from 0 to 0xff: 0 if not given. */
  readonly permissions?: readonly [number, number, number];
}

/** SNP_LAUNCH_UPDATE: `snp_mcmd_launch_update` of AMD-ASPFW `sev_mcmd.c`, whose order of checks it has. */
export function launchUpdate(
  command: FirmwareCommand,
  { rmp, memory }: FirmwarePlatform,
  context: SysPhysAddr,
  spa: SysPhysAddr,
  options: LaunchUpdateOptions,
): void {
  const { pageSize = PageSize.Regular, type = LaunchPageType.Normal, permissions = [0, 0, 0] } = options;
  command.requirePages(context, spa);
  if (!areMasks(permissions)) command.refuse('INVALID_PARAM', spa);
  const guest = command.guest(context);
  const page = command.page(spa, PageState.PreGuest);
  const isHuge = page.entry.pageSize === PageSize.Huge;
  if (page.entry.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', spa);
  if (!Object.values(LaunchPageType).includes(type)) command.refuse('INVALID_PARAM', spa);
  if (isHuge && SMALL_TYPES.includes(type)) command.refuse('INVALID_PAGE_SIZE', spa);
  command.requireState(guest, GuestState.Launch);
  command.requireOwner(page, command.requireActive(guest));

  for (let i = 0; i < (isHuge ? PAGE_SIZE_2M / PAGE_SIZE : 1); i += 1) {
    const frame = pageNumber(spa) + i;
    if (type === LaunchPageType.Zero) memory.words(frame, guest.key, true).fill(0);
    else memory.rekey(frame, NO_KEY, guest.key);
  }
  const vmplMasks = [rmp.masksOnceValidated(page.entry)[0], ...permissions] as const;
  const vmsa = type === LaunchPageType.Vmsa;
  rmp.setRawEntry(spa, { ...page.entry, vmplMasks, vmsa, validated: true, immutable: false, lock: false });
}

/** The types whose pages have to be 4 KiB. */
const SMALL_TYPES: readonly LaunchPageType[] = [
  LaunchPageType.Vmsa,
  LaunchPageType.Secrets,
  LaunchPageType.Cpuid,
];

function areMasks(masks: readonly number[]): boolean {
  return (
    Array.isArray(masks) &&
    masks.length === 3 &&
    masks.every((mask) => Number.isInteger(mask) && mask >= 0 && mask <= 0xff)
  );
}
