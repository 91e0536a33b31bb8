import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, pageNumber } from '@svsm/address';
import { GuestState } from '../formats/guest-state.ts';
import { LaunchPageType } from '../formats/launch-digest.ts';
import { PageState } from '../formats/page-state.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { type FirmwareCommand, type FirmwarePlatform, setEntry } from './firmware-command.ts';

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
  platform: FirmwarePlatform,
  context: SysPhysAddr,
  spa: SysPhysAddr,
  options: LaunchUpdateOptions,
): void {
  const {
    pageSize = PageSize.Regular,
    type = LaunchPageType.Normal,
    permissions = [0, 0, 0],
  } = command.operands(options, ['pageSize', 'type', 'permissions']);
  const masks = masksOf(command, permissions);
  command.requirePages(context, spa);
  if (!masks.every(isMask)) command.refuse('INVALID_PARAM', spa);
  const guest = command.guest(context);
  const page = command.page(spa, PageState.PreGuest);
  const isHuge = page.entry.pageSize === PageSize.Huge;
  if (page.entry.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', spa);
  if (!Object.values(LaunchPageType).includes(type)) command.refuse('INVALID_PARAM', spa);
  if (isHuge && SMALL_TYPES.includes(type)) command.refuse('INVALID_PAGE_SIZE', spa);
  command.requireState(guest, GuestState.Launch);
  command.requireOwner(page, command.requireActive(guest));

  const { rmp, memory } = platform;
  for (let i = 0; i < (isHuge ? PAGE_SIZE_2M / PAGE_SIZE : 1); i += 1) {
    const frame = pageNumber(spa) + i;
    if (type === LaunchPageType.Zero) memory.words(frame, guest.key, true).fill(0);
    else memory.rekey(frame, NO_KEY, guest.key);
  }
  const vmplMasks = [rmp.masksOnceValidated(page.entry)[0], ...masks] as const;
  const vmsa = type === LaunchPageType.Vmsa;
  setEntry(platform, spa, { ...page.entry, vmplMasks, vmsa, validated: true, immutable: false, lock: false });
}

/** The types whose pages have to be 4 KiB. */
const SMALL_TYPES: readonly LaunchPageType[] = [
  LaunchPageType.Vmsa,
  LaunchPageType.Secrets,
  LaunchPageType.Cpuid,
];

/** A copy of the masks of VMPL1 to VMPL3: INVALID_PARAM unless there are three. */
function masksOf(
  command: FirmwareCommand,
  permissions: readonly [number, number, number],
): readonly [number, number, number] {
  const { length, 0: first, 1: second, 2: third } = command.operands(permissions, ['length', '0', '1', '2']);
  if (length !== 3) command.refuse('INVALID_PARAM');
  return [first, second, third];
}

function isMask(mask: number): boolean {
  return Number.isInteger(mask) && mask >= 0 && mask <= 0xff;
}
