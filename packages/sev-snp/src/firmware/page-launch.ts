import { PAGE_SIZE, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import { GuestState } from '../formats/guest-state.ts';
import { type LaunchPage, LaunchPageType } from '../formats/launch-digest.ts';
import { PageState } from '../formats/page-state.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type EncryptedMemory, NO_KEY } from '../memory/encrypted-memory.ts';
import type { FirmwareCommand, FirmwarePlatform } from './firmware-command.ts';
import type { FirmwareContext } from './firmware-context.ts';
import { isCpuidPage, secretsPage } from './launch-content.ts';

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
  /** Whether the page belongs to a migration image: it counts in the digest alone. `false` if not given. */
  readonly imi?: boolean;
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
    imi = false,
  } = command.operands(options, ['pageSize', 'type', 'count', 'permissions', 'imi']);
  const masks = masksOf(command, permissions);
  command.requirePages(context, spa);
  if (!masks.every(isMask) || !isCount(count) || typeof imi !== 'boolean') {
    command.refuse('INVALID_PARAM', spa);
  }
  const guest = command.guest(context);
  const { rmp, memory } = platform;
  const runs: LaunchedRun[] = [];
  const requireLaunchable = (at: SysPhysAddr): true => {
    const page = command.page(at, PageState.PreGuest);
    const isHuge = page.entry.pageSize === PageSize.Huge;
    if (page.entry.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', at);
    if (!Object.values(LaunchPageType).includes(type)) command.refuse('INVALID_PARAM', at);
    if (isHuge && SMALL_TYPES.includes(type)) command.refuse('INVALID_PAGE_SIZE', at);
    command.requireState(guest, GuestState.Launch);
    command.requireOwner(page, command.requireActive(guest));
    const offset = page.entry.gpa - at;
    if (runs.at(-1)?.offset !== offset) runs.push({ frame: pageNumber(at), offset });
    return true;
  };
  requireLaunchable(spa);
  command.requireMemory(spa, count * pageSize);
  // Each page is checked before the first one changes.
  rmp.changePages(spa, count, pageSize, requireLaunchable);

  const first = pageNumber(spa);
  const frames = (count * pageSize) / PAGE_SIZE;
  if (type === LaunchPageType.Cpuid) requireCpuid(command, memory, first, frames);
  for (const [k, { frame, offset }] of runs.entries()) {
    const end = runs[k + 1]?.frame ?? first + frames;
    logPages(guest, memory, { type, permissions: masks, imi }, { frame, offset, count: end - frame });
  }
  if (type === LaunchPageType.Zero) memory.clear(first, guest.key, frames);
  else memory.rekey(first, NO_KEY, guest.key, frames);
  if (type === LaunchPageType.Secrets) {
    for (let k = 0; k < frames; k += 1) memory.writeFrame(first + k, 0, secretsPage(guest), guest.key);
  }
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

/** The first frame of pages whose addresses in the guest have one distance from their own. */
interface LaunchedRun {
  readonly frame: number;
  readonly offset: bigint;
}

/** Adds pages to the log of the guest, with the content that the host has written and the digest covers. */
function logPages(
  { launched }: FirmwareContext,
  memory: EncryptedMemory,
  page: Pick<Required<LaunchPage>, 'type' | 'permissions' | 'imi'>,
  { frame, offset, count }: LaunchedRun & { readonly count: number },
): void {
  const { type } = page;
  const isMeasured = type === LaunchPageType.Normal || type === LaunchPageType.Vmsa;
  const addUpTo = (from: number, to: number, bytes: Uint8Array | undefined): void => {
    const gpa = (BigInt(from) * BigInt(PAGE_SIZE) + offset) as PhysAddr;
    if (to > from) launched.add({ ...page, gpa }, bytes, (to - from) * PAGE_SIZE);
  };
  let next = frame;
  for (const written of isMeasured ? memory.writtenIn(frame, count, NO_KEY) : []) {
    addUpTo(next, written, undefined);
    addUpTo(written, written + 1, memory.readFrame(written, 0, PAGE_SIZE, NO_KEY));
    next = written + 1;
  }
  addUpTo(next, frame + count, undefined);
}

/** Refuses CPUID pages that are malformed: INVALID_PARAM. */
function requireCpuid(
  command: FirmwareCommand,
  memory: EncryptedMemory,
  first: number,
  frames: number,
): void {
  for (let frame = first; frame < first + frames; frame += 1) {
    const spa = (BigInt(frame) * BigInt(PAGE_SIZE)) as SysPhysAddr;
    if (!isCpuidPage(memory.readFrame(frame, 0, PAGE_SIZE, NO_KEY))) command.refuse('INVALID_PARAM', spa);
  }
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
