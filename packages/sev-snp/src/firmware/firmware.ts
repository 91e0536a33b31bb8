import { PAGE_SIZE, PageSize, pageNumber, showInConsoles } from '@svsm/address';
import { readArgument, refuseArgument, requireInstance, requireInteger } from '../formats/arguments.ts';
import { GuestState } from '../formats/guest-state.ts';
import type { Sha384 } from '../formats/launch-digest.ts';
import { launchDigestOf } from '../formats/launch-pages.ts';
import { PageState } from '../formats/page-state.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { type EncryptedMemory, NO_KEY } from '../memory/encrypted-memory.ts';
import { Rmp } from '../rmp/rmp.ts';
import { AsidTable } from './asid-table.ts';
import { FirmwareCommand, type FirmwarePlatform, metadataGpa, setEntry } from './firmware-command.ts';
import { type ActiveGuest, FirmwareContext } from './firmware-context.ts';
import { pageReclaim, pageSetHvFixed, pageUnsmash } from './firmware-pages.ts';
import { type LaunchUpdateOptions, launchUpdate } from './page-launch.ts';
import { type MoveOptions, pageMove, type SwapOptions, swapIn, swapOut } from './page-swap.ts';

/** The status of a guest: the answer of SNP_GUEST_STATUS. */
export interface GuestStatus {
  readonly state: GuestState;
  /** Its ASID: 0 if it has none. */
  readonly asid: number;
}

/**
 * The firmware of the secure processor: the only one that launches guests, knows their keys, and changes immutable pages.
 * The hypervisor asks it with commands; a guest is named by the address of its context page. The firmware refuses a
 * command that does not fit the state of the guest or of a page: it throws `FIRMWARE_REFUSED` with the status, and changes
 * nothing (SEV-SNP Firmware ABI, AMD 56860; AMD-ASPFW `sev_mcmd.c`).
 *
 * It models the state after SNP_INIT, a WBINVD and a DF_FLUSH: no guest, all ASIDs free. Policies, migration and
 * attestation are not modelled, except for the launch digest.
 *
 * @example
 * ```ts
 * import { PAGE_SIZE } from '@svsm/address';
 * import { SnpMachine } from '@svsm/sev-snp';
 *
 * const { firmware, hypervisor } = new SnpMachine({ memorySize: 32 << 20 });
 * const context = hypervisor.givePageToFirmware();
 * firmware.guestContextCreate(context);
 * firmware.launchStart(context);
 * firmware.activate(context, 1);
 * const page = hypervisor.allocatePage();
 * hypervisor.rmpupdate(page, { assigned: true, immutable: true, asid: 1 });
 * firmware.launchUpdate(context, page);
 * firmware.launchFinish(context);
 * console.log(firmware.guestStatus(context)); // => { state: 'RUNNING', asid: 1 }
 * ```
 */
export class Firmware {
  static {
    showInConsoles(this, 'Firmware', (firmware) => ({ contexts: [...firmware.#contexts.keys()] }));
  }

  readonly #platform: FirmwarePlatform;
  readonly #asids: AsidTable;
  /** The contexts by the address of their pages. */
  readonly #contexts: Map<bigint, FirmwareContext> = new Map();

  /**
   * The firmware of a machine whose SNP guests have the ASIDs 1 to `lastAsid`. O(1).
   *
   * @param lastAsid - 0 to 1022
   * @throws SnpError `INVALID_ARGUMENT`
   */
  constructor(platform: FirmwarePlatform, lastAsid: number) {
    const parts = readArgument('platform', platform, 'pass an object with rmp and memory', () => ({
      rmp: platform.rmp,
      memory: platform.memory,
    }));
    requireInstance('the RMP of the platform', parts.rmp, Rmp, 'an Rmp');
    requireMemory(parts.memory);
    requireInteger('lastAsid', lastAsid, 0, 1022);
    this.#platform = platform;
    this.#asids = new AsidTable(lastAsid);
  }

  /**
   * SNP_GCTX_CREATE: a 4 KiB page in state FIRMWARE is cleared and becomes the CONTEXT page of a new guest in state INIT.
   * O(1).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  guestContextCreate(spa: SysPhysAddr): void {
    const command = this.#command('SNP_GCTX_CREATE');
    command.requirePages(spa);
    const { entry } = command.page(spa, PageState.Firmware);
    if (entry.pageSize !== PageSize.Regular) command.refuse('INVALID_PAGE_SIZE', spa);
    this.#clear(spa, PageSize.Regular);
    setEntry(this.#platform, spa, { ...entry, vmsa: true, lock: true });
    this.#contexts.set(spa, new FirmwareContext(spa, this.#platform.memory));
  }

  /** SNP_LAUNCH_START: the guest goes from INIT to LAUNCH. O(1). @throws SnpError `FIRMWARE_REFUSED` */
  launchStart(context: SysPhysAddr): void {
    const { command, guest } = this.#commandOn('SNP_LAUNCH_START', context);
    command.requireState(guest, GuestState.Init);
    guest.state = GuestState.Launch;
  }

  /**
   * SNP_ACTIVATE: gives an ASID to a guest in state LAUNCH or RUNNING. The ASID belongs to no other guest and no page,
   * and was flushed since the last guest that ran with it: see {@link wbinvd} and {@link dfFlush}. O(1).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  activate(context: SysPhysAddr, asid: number): void {
    const { command, guest } = this.#commandOn('SNP_ACTIVATE', context);
    command.requireState(guest, GuestState.Launch, GuestState.Running);
    if (!this.#asids.has(asid)) command.refuse('INVALID_ASID');
    if (this.#platform.rmp.entriesOf(asid) !== 0) command.refuse('INVALID_CONFIG');
    if (this.#asids.isOwned(asid)) command.refuse('ASID_OWNED');
    if (guest.active !== undefined) command.refuse('ACTIVE');
    if (this.#asids.isDirty(asid)) command.refuse('DF_FLUSH_REQUIRED');
    this.#asids.take(asid);
    guest.activate(asid);
  }

  /**
   * SNP_LAUNCH_UPDATE: encrypts a PRE-GUEST page of a guest in state LAUNCH in place, with the guest's key, and makes it
   * GUEST-VALID. A `Zero` page is zeroed first; a `Vmsa` page gets the VMSA bit. All pages are checked before the first
   * one changes. O(512) for each run of alike 2 MiB regions, and O(1) for each frame with content.
   *
   * A `Secrets` page gets the guest's keys: see `decodeSecretsPage`. A `Cpuid` page needs at most 64 entries, and zeros in
   * reserved fields (INVALID_PARAM); on hardware its values are also compared with the processor's. {@link launchDigest}
   * has the page from now on.
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  launchUpdate(context: SysPhysAddr, spa: SysPhysAddr, options: LaunchUpdateOptions = {}): void {
    launchUpdate(this.#command('SNP_LAUNCH_UPDATE'), this.#platform, context, spa, options);
  }

  /**
   * The launch digest of a guest: SHA-384 over the pages that SNP_LAUNCH_UPDATE has added, as an attestation report of the
   * guest has it. It equals `launchDigestOf` of these pages. On hardware it is part of the context, and no command returns it
   * alone. O(bytes), and one hash for each 4 KiB.
   *
   * @returns 48 bytes
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  launchDigest(context: SysPhysAddr, sha384: Sha384): Promise<Uint8Array> {
    const { guest } = this.#commandOn('the launch digest', context);
    return launchDigestOf(guest.launched.pages(), sha384, undefined, this.#platform.rmp.assumptions);
  }

  /**
   * SNP_LAUNCH_FINISH: a guest with an ASID goes from LAUNCH to RUNNING. Processors can run it from now on. O(1).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  launchFinish(context: SysPhysAddr): void {
    const { command, guest } = this.#commandOn('SNP_LAUNCH_FINISH', context);
    command.requireState(guest, GuestState.Launch);
    command.requireActive(guest);
    guest.state = GuestState.Running;
  }

  /**
   * SNP_DECOMMISSION: ends a guest in any state. Its keys are lost, no processor can run it, and its context page becomes
   * FIRMWARE. If the guest was RUNNING, another guest can have its ASID only after {@link wbinvd} and {@link dfFlush}.
   * O(1).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  decommission(context: SysPhysAddr): void {
    const { command, guest } = this.#commandOn('SNP_DECOMMISSION', context);
    const { entry } = command.page(context);
    const { active, state } = guest;
    if (active !== undefined) this.#asids.release(active.asid, state === GuestState.Running);
    guest.state = undefined;
    guest.active = undefined;
    this.#contexts.delete(context);
    setEntry(this.#platform, context, { ...entry, vmsa: false });
  }

  /** WBINVD on all cores, which SNP_DF_FLUSH demands. It is an instruction of the host; the firmware sees that it ran. */
  wbinvd(): void {
    this.#asids.wbinvd();
  }

  /**
   * SNP_DF_FLUSH: the ASIDs of decommissioned guests can be used again. O(ASIDs).
   *
   * @throws SnpError `FIRMWARE_REFUSED` if a guest has run and was decommissioned since the last {@link wbinvd}
   */
  dfFlush(): void {
    if (!this.#asids.flush()) this.#command('SNP_DF_FLUSH').refuse('WBINVD_REQUIRED');
  }

  /** SNP_GUEST_STATUS: the state and the ASID of a guest. O(1). @throws SnpError `FIRMWARE_REFUSED` */
  guestStatus(context: SysPhysAddr): GuestStatus {
    const { guest } = this.#commandOn('SNP_GUEST_STATUS', context);
    return Object.freeze({ state: guest.state as GuestState, asid: guest.active?.asid ?? 0 });
  }

  /**
   * The guest with a context page, as processors and the memory controller know it: `undefined` if it has no ASID. The
   * same object until SNP_DECOMMISSION. O(1).
   *
   * @throws AddressError if `context` is not an address
   */
  activeGuest(context: SysPhysAddr): ActiveGuest | undefined {
    SysPhys.assertIsAddress(context);
    return this.#contexts.get(context)?.active;
  }

  /**
   * SNP_PAGE_RECLAIM: gives an immutable page back. PRE-GUEST becomes GUEST-INVALID, PRE-SWAP becomes GUEST-VALID,
   * FIRMWARE and METADATA become RECLAIM. A page that is mutable already stays as it is. The content stays. O(1).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  pageReclaim(spa: SysPhysAddr, pageSize: RmpPageSize = PageSize.Regular): void {
    pageReclaim(this.#command('SNP_PAGE_RECLAIM'), this.#platform, spa, pageSize);
  }

  /** SNP_PAGE_SET_STATE: a FIRMWARE page becomes HV-FIXED permanently. O(1). @throws SnpError `FIRMWARE_REFUSED` */
  pageSetHvFixed(spa: SysPhysAddr): void {
    pageSetHvFixed(this.#command('SNP_PAGE_SET_STATE'), this.#platform, spa);
  }

  /**
   * SNP_PAGE_UNSMASH: makes one 2 MiB page of 512 immutable 4 KiB pages. They belong to one guest, have consecutive
   * addresses, and the same state and masks. The page stays immutable. An instruction for this does not exist. O(512).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  pageUnsmash(spa: SysPhysAddr): void {
    pageUnsmash(this.#command('SNP_PAGE_UNSMASH'), this.#platform, spa);
  }

  /**
   * SNP_MD_INIT: a FIRMWARE page is cleared and becomes a METADATA page of a guest in state LAUNCH or RUNNING. Its 64
   * records are not in use. O(bytes).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  metadataInit(context: SysPhysAddr, spa: SysPhysAddr): void {
    const { command, guest } = this.#commandOn('SNP_MD_INIT', context, spa);
    const { entry } = command.page(spa, PageState.Firmware);
    command.requireState(guest, GuestState.Launch, GuestState.Running);
    this.#clear(spa, entry.pageSize);
    setEntry(this.#platform, spa, { ...entry, gpa: metadataGpa(context), lock: true });
  }

  /**
   * SNP_SWAP_OUT: seals a page of a guest with an ASID, in state PRE-SWAP, PRE-GUEST or METADATA, into a page in state
   * FIRMWARE or DEFAULT, and writes a record. The source becomes PRE-GUEST (a metadata page becomes FIRMWARE) and keeps
   * its content. A record that is in use is replaced: its page is lost. O(bytes).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  swapOut(context: SysPhysAddr, options: SwapOptions): void {
    swapOut(this.#command('SNP_SWAP_OUT'), this.#platform, context, options);
  }

  /**
   * SNP_SWAP_IN: unseals a page that SNP_SWAP_OUT has sealed, into a page in state PRE-GUEST (for a metadata page:
   * FIRMWARE). The page gets back its address, masks, VMSA bit and validation: it becomes PRE-SWAP if it was valid. A
   * record can be used once. O(bytes).
   *
   * @throws SnpError `FIRMWARE_REFUSED`; its status is BAD_MEASUREMENT if a bit of the page has changed
   */
  swapIn(context: SysPhysAddr, options: SwapOptions): void {
    swapIn(this.#command('SNP_SWAP_IN'), this.#platform, context, options);
  }

  /**
   * SNP_PAGE_MOVE: moves a page of a guest, in state PRE-SWAP or PRE-GUEST, to a PRE-GUEST page of the same guest, with
   * its address, masks, VMSA bit and validation. Afterwards the source is GUEST-INVALID, and the destination GUEST-VALID
   * or GUEST-INVALID. A METADATA page moves to a FIRMWARE page, and they change their states. O(bytes).
   *
   * @throws SnpError `FIRMWARE_REFUSED`
   */
  pageMove(context: SysPhysAddr, options: MoveOptions): void {
    pageMove(this.#command('SNP_PAGE_MOVE'), this.#platform, context, options);
  }

  #command(name: string): FirmwareCommand {
    return new FirmwareCommand(name, this.#platform, this.#contexts);
  }

  /** A command on a guest, and perhaps on a page. */
  #commandOn(
    name: string,
    context: SysPhysAddr,
    ...pages: readonly SysPhysAddr[]
  ): { command: FirmwareCommand; guest: FirmwareContext } {
    const command = this.#command(name);
    command.requirePages(context, ...pages);
    return { command, guest: command.guest(context) };
  }

  #clear(spa: SysPhysAddr, pageSize: RmpPageSize): void {
    this.#platform.memory.clear(pageNumber(spa), NO_KEY, pageSize / PAGE_SIZE);
  }
}

/** An `instanceof` would bring page tables into a program that has none. @throws SnpError `INVALID_ARGUMENT` */
function requireMemory(memory: EncryptedMemory): void {
  const [what, expected] = ['the memory of the platform', 'pass an EncryptedMemory'];
  const rekey = readArgument(what, memory, expected, () => memory.rekey);
  if (typeof rekey !== 'function') refuseArgument(what, memory, expected);
}
