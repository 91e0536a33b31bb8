import { PAGE_SIZE, PageSize, pageNumber } from '@svsm/address';
import { GuestState } from '../formats/guest-state.ts';
import { LaunchPageType } from '../formats/launch-digest.ts';
import { PageState } from '../formats/page-state.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import type { FirmwareCommand, FirmwarePlatform } from './firmware-command.ts';

/** Operands of SNP_LAUNCH_UPDATE: `Firmware.launchUpdate`. */
export interface LaunchUpdateOptions {
  /** The size of the page: 4 KiB if not given. It must be the size in the RMP. */
  readonly pageSize?: RmpPageSize;
  /** The type of the page: `Normal` if not given. */
  readonly type?: LaunchPageType;
  /**
   * The number of consecutive pages: 1 if not given. KVM takes a range too, and gives the firmware a command for each page
   * (`KVM_SEV_SNP_LAUNCH_UPDATE`).
   */
  readonly count?: number;
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
    count = 1,
    permissions = [0, 0, 0],
  } = command.operands(options, ['pageSize', 'type', 'count', 'permissions']);
  const masks = masksOf(command, permissions);
  command.requirePages(context, spa);
  if (!masks.every(isMask) || !isCount(count)) command.refuse('INVALID_PARAM', spa);
  const guest = command.guest(context);
  const { rmp, memory } = platform;
  const requireLaunchable = (at: SysPhysAddr): true => {
    const page = command.page(at, PageState.PreGuest);
    const isHuge = page.entry.pageSize === PageSize.Huge;
    if (page.entry.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', at);
    if (!Object.values(LaunchPageType).includes(type)) command.refuse('INVALID_PARAM', at);
    if (isHuge && SMALL_TYPES.includes(type)) command.refuse('INVALID_PAGE_SIZE', at);
    command.requireState(guest, GuestState.Launch);
    command.requireOwner(page, command.requireActive(guest));
    return true;
  };
  requireLaunchable(spa);
  command.requireMemory(spa, count * pageSize);
  // Each page is checked before the first one changes.
  rmp.changePages(spa, count, pageSize, requireLaunchable);

  const first = pageNumber(spa);
  const frames = (count * pageSize) / PAGE_SIZE;
  if (type === LaunchPageType.Zero) memory.clear(first, guest.key, frames);
  else memory.rekey(first, NO_KEY, guest.key, frames);
  const vmsa = type === LaunchPageType.Vmsa;
  const fields = { vmsa, validated: true, immutable: false, lock: false };
  rmp.changePages(spa, count, pageSize, (at) => {
    const entry = rmp.rawEntry(at) as RmpEntry;
    const vmplMasks = [rmp.masksOnceValidated(entry)[0], ...masks] as const;
    rmp.setRawEntry(at, { ...entry, ...fields, vmplMasks });
    return true;
  });
  memory.revoke(first, frames);
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

function isCount(count: number): boolean {
  return Number.isSafeInteger(count) && count > 0;
}

function isMask(mask: number): boolean {
  return Number.isInteger(mask) && mask >= 0 && mask <= 0xff;
}
