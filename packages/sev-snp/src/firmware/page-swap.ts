import { describeValue, PAGE_SIZE, PageSize, type PhysAddr, pageNumber } from '@svsm/address';
import { GuestState } from '../formats/guest-state.ts';
import { PageState } from '../formats/page-state.ts';
import type { RmpEntry, RmpPageSize } from '../formats/rmp-entry.ts';
import {
  decodeSwapRecord,
  encodeSwapRecord,
  SWAP_RECORD_SIZE,
  SWAP_RECORDS_PER_PAGE,
  type SwapRecord,
} from '../formats/swap-record.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import type { Rmp } from '../rmp/rmp.ts';
import { type FirmwareCommand, type FirmwarePlatform, metadataGpa, setEntry } from './firmware-command.ts';
import type { FirmwareContext } from './firmware-context.ts';
import { sealPage, unsealPage } from './page-seal.ts';

/*
 * Commands of the firmware that take pages of a guest out of memory, back into memory, and to another place, as AMD-ASPFW
 * `sev_mcmd.c` implements them, with its order of checks. A command that refuses throws `FIRMWARE_REFUSED` and changes
 * nothing.
 */

/** The place of a record: a metadata page of the guest, and an index from 0 to 63. */
export interface RecordPlace {
  readonly page: SysPhysAddr;
  readonly index: number;
}

/** The operands of SNP_PAGE_MOVE: `Firmware.pageMove`. */
export interface MoveOptions {
  readonly source: SysPhysAddr;
  readonly destination: SysPhysAddr;
  /** The size of the page: 4 KiB if not given. It must be the size in the RMP. */
  readonly pageSize?: RmpPageSize;
}

/** The operands of SNP_SWAP_OUT and SNP_SWAP_IN: `Firmware.swapOut`, `Firmware.swapIn`. */
export interface SwapOptions extends MoveOptions {
  /** The place of the record: the root record of the context if not given. */
  readonly record?: RecordPlace;
  /** Data of the hypervisor that the record keeps: 0 if not given. */
  readonly softwareData?: bigint;
}

/** The names of the operands. */
const MOVE = ['source', 'destination', 'pageSize'] as const;
const SWAP = [...MOVE, 'record', 'softwareData'] as const;

/** SNP_SWAP_OUT: `snp_mcmd_swap_out`. The type of the page follows from the state and the VMSA bit of the source. */
export function swapOut(
  command: FirmwareCommand,
  platform: FirmwarePlatform,
  context: SysPhysAddr,
  options: SwapOptions,
): void {
  const operands = swapOperands(command, options);
  const { source, destination, pageSize = PageSize.Regular, softwareData = 0n } = operands;
  requireSoftwareData(command, softwareData);
  command.requirePages(context, source, destination);
  const guest = command.guest(context);
  const place = placeOf(command, guest, operands);
  requireSize(command, source, pageSize);
  requireSize(command, destination, pageSize);
  command.requireState(guest, GuestState.Launch, GuestState.Running);
  const active = command.requireActive(guest);
  const page = command.page(source, PageState.PreSwap, PageState.PreGuest, PageState.Metadata);
  requireTarget(command, destination);
  command.requireOwner(page, active);

  const { rmp, memory } = platform;
  const { entry } = page;
  const metadata = page.state === PageState.Metadata;
  const { validated, vmsa, vmplMasks, gpa } = entry;
  const content = memory.read(source, pageSize, metadata ? NO_KEY : guest.key);
  const { bytes, tag } = sealPage(content, guest.offlineKey, guest.nextIv);
  fill(platform, destination, bytes);
  const fields = { validated, vmsa, metadata, pageSize, gpa, vmplMasks };
  const record = { softwareData, iv: guest.nextIv, tag, valid: true, ...fields };
  guest.nextIv += 1n;
  const after = metadata ? { gpa: 0n as PhysAddr } : { validated: false, vmsa: sourceVmsa(rmp, entry) };
  setEntry(platform, source, { ...entry, ...after });
  writeRecord(memory, guest, place, record);
}

/** SNP_SWAP_IN: `snp_mcmd_swap_in`, without swapping in place. */
export function swapIn(
  command: FirmwareCommand,
  platform: FirmwarePlatform,
  context: SysPhysAddr,
  options: SwapOptions,
): void {
  const operands = swapOperands(command, options);
  const { source, destination, pageSize = PageSize.Regular } = operands;
  command.requirePages(context, source, destination);
  const guest = command.guest(context);
  const place = placeOf(command, guest, operands);
  command.requireState(guest, GuestState.Launch, GuestState.Running);
  const active = command.requireActive(guest);
  const { memory } = platform;
  const record = readRecord(memory, guest, place);
  if (record?.valid !== true) command.refuse('INVALID_MDATA_ENTRY', operands.record?.page);
  requireSize(command, source, pageSize);
  requireSize(command, destination, pageSize);
  if (record.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', destination);
  const page = command.page(destination, record.metadata ? PageState.Firmware : PageState.PreGuest);
  if (!record.metadata) command.requireOwner(page, active);
  const sealed = { bytes: memory.read(source, pageSize, NO_KEY), tag: record.tag };
  const content = unsealPage(sealed, guest.offlineKey, record.iv);
  if (content === undefined) command.refuse('BAD_MEASUREMENT', source);

  memory.write(destination, content, record.metadata ? NO_KEY : guest.key);
  const { validated, vmsa, vmplMasks, gpa } = record;
  const fields = record.metadata ? { gpa: metadataGpa(context) } : { validated, vmsa, vmplMasks, gpa };
  setEntry(platform, destination, { ...page.entry, ...fields });
  writeRecord(memory, guest, place, { ...record, valid: false });
}

/** SNP_PAGE_MOVE: `snp_mcmd_page_move`. */
export function pageMove(
  command: FirmwareCommand,
  platform: FirmwarePlatform,
  context: SysPhysAddr,
  options: MoveOptions,
): void {
  const { source, destination, pageSize = PageSize.Regular } = command.operands(options, MOVE);
  command.requirePages(context, source, destination);
  const guest = command.guest(context);
  requireSize(command, source, pageSize);
  requireSize(command, destination, pageSize);
  command.requireState(guest, GuestState.Launch, GuestState.Running);
  const active = command.requireActive(guest);
  const from = command.page(source, PageState.PreSwap, PageState.PreGuest, PageState.Metadata);
  const metadata = from.state === PageState.Metadata;
  const to = command.page(destination, metadata ? PageState.Firmware : PageState.PreGuest);
  command.requireOwner(from, active);
  if (!metadata) command.requireOwner(to, active);

  const { rmp, memory } = platform;
  const key = metadata ? NO_KEY : guest.key;
  memory.write(destination, memory.read(source, pageSize, key), key);
  const { validated, vmsa, vmplMasks, gpa } = from.entry;
  if (metadata) {
    setEntry(platform, source, { ...from.entry, gpa: 0n as PhysAddr });
    setEntry(platform, destination, { ...to.entry, gpa });
    return;
  }
  const mutable = { immutable: false, lock: false };
  setEntry(platform, source, {
    ...from.entry,
    ...mutable,
    validated: false,
    vmsa: sourceVmsa(rmp, from.entry),
  });
  setEntry(platform, destination, { ...to.entry, ...mutable, validated, vmsa, vmplMasks, gpa });
}

/** The VMSA bit of a page whose content has gone to another place. */
function sourceVmsa({ assumptions }: Rmp, { vmsa }: RmpEntry): boolean {
  return vmsa && assumptions.sourceVmsa === 'kept';
}

/** Refuses a page that the RMP has with another size: INVALID_PAGE_SIZE. A page that the RMP does not cover has any size. */
function requireSize(command: FirmwareCommand, spa: SysPhysAddr, pageSize: RmpPageSize): void {
  if (command.stateOf(spa) === PageState.Default) {
    if (pageSize !== PageSize.Regular && pageSize !== PageSize.Huge) command.refuse('INVALID_PAGE_SIZE', spa);
    if (spa % BigInt(pageSize) !== 0n) command.refuse('INVALID_ADDRESS', spa);
    command.requireMemory(spa, pageSize);
  } else if (command.page(spa).entry.pageSize !== pageSize) command.refuse('INVALID_PAGE_SIZE', spa);
}

/** A copy of the operands of a swap. */
function swapOperands(command: FirmwareCommand, options: SwapOptions): SwapOptions {
  const { record, ...rest } = command.operands(options, SWAP);
  return record === undefined ? rest : { ...rest, record: command.operands(record, ['page', 'index']) };
}

/** Refuses a value that no record can keep. */
function requireSoftwareData(command: FirmwareCommand, value: unknown): void {
  const expected = 'a bigint of 64 bits';
  if (typeof value === 'bigint' && BigInt.asUintN(64, value) === value) return;
  command.refuseOperand(`${describeValue(value, expected)} is not ${expected}`);
}

/** Writes sealed bytes to a page. An array of a page of the firmware ends, as after a change of its entry. */
function fill({ rmp, memory }: FirmwarePlatform, spa: SysPhysAddr, bytes: Uint8Array): void {
  memory.write(spa, bytes, NO_KEY);
  if (rmp.covers(spa)) memory.revoke(pageNumber(spa), bytes.length / PAGE_SIZE);
}

/** Refuses a page that cannot hold sealed bytes: INVALID_PAGE_STATE. */
function requireTarget(command: FirmwareCommand, spa: SysPhysAddr): void {
  if (command.stateOf(spa) !== PageState.Default) command.page(spa, PageState.Firmware);
}

/** The address of a record in a metadata page, which is checked; `undefined` for the root record. */
function placeOf(
  command: FirmwareCommand,
  guest: FirmwareContext,
  { record, source, destination }: SwapOptions,
): SysPhysAddr | undefined {
  if (record === undefined) return undefined;
  const { page: spa, index } = record;
  command.requirePages(spa);
  const isIndex = Number.isInteger(index) && index >= 0 && index < SWAP_RECORDS_PER_PAGE;
  if (!isIndex || spa === source || spa === destination) command.refuse('INVALID_PARAM', spa);
  const { entry } = command.page(spa, PageState.Metadata);
  if (entry.gpa !== metadataGpa(guest.page)) command.refuse('INVALID_PAGE_OWNER', spa);
  return (spa + BigInt(SWAP_RECORD_SIZE * index)) as SysPhysAddr;
}

function readRecord(
  memory: FirmwarePlatform['memory'],
  guest: FirmwareContext,
  place: SysPhysAddr | undefined,
): SwapRecord | undefined {
  return place === undefined ? guest.root : decodeSwapRecord(memory.read(place, SWAP_RECORD_SIZE, NO_KEY));
}

function writeRecord(
  memory: FirmwarePlatform['memory'],
  guest: FirmwareContext,
  place: SysPhysAddr | undefined,
  record: SwapRecord,
): void {
  if (place === undefined) guest.root = record;
  else memory.write(place, encodeSwapRecord(record), NO_KEY);
}
