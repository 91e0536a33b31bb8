/** Every command of the firmware, on every page state, for a guest in every state. */
import { physAddr } from '@svsm/address';
import type { Firmware } from '../../src/firmware/firmware.ts';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { RMP_ENTRY_WORDS, type RmpEntry } from '../../src/formats/rmp-entry.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import { MiB } from './world.ts';

/** The states of a guest, with and without an ASID. `none` stands for a page that is not a context page. */
export const GUESTS = ['none', 'INIT', 'LAUNCH', 'LAUNCH, ASID', 'RUNNING'] as const;
export type GuestCase = (typeof GUESTS)[number];

/** The states of a page that a command meets. The page belongs to the guest of the command, if to one. */
export const PAGES: readonly PageState[] = Object.values(PageState).filter((it) => it !== PageState.Invalid);

const GPA = physAddr(0x5000);
const OWN: Partial<RmpEntry> = { assigned: true, immutable: true, lock: true };
const GUEST: Partial<RmpEntry> = { assigned: true, asid: 1, gpa: GPA, vmplMasks: [0x1f, 0, 0, 0] };

/** The fields of a page in a state. DEFAULT has none. */
function fieldsOf(state: PageState, context: SysPhysAddr): Partial<RmpEntry> {
  const kinds: Partial<Record<PageState, Partial<RmpEntry>>> = {
    HYPERVISOR: {},
    'HV-FIXED': { immutable: true },
    FIRMWARE: OWN,
    RECLAIM: { assigned: true },
    CONTEXT: { ...OWN, vmsa: true },
    METADATA: { ...OWN, gpa: physAddr((1n << 48n) | context) },
    'FIRMWARE-IOMMU': { ...OWN, gpa: physAddr((2n << 48n) | 0x1000n) },
    'PRE-GUEST': { ...GUEST, immutable: true },
    'PRE-SWAP': { ...GUEST, immutable: true, validated: true },
    'GUEST-INVALID': GUEST,
    'GUEST-VALID': { ...GUEST, validated: true },
  };
  return kinds[state] ?? {};
}

/** The page that is tried, and other pages of the command, each in a fit state. */
const SPA = sysPhysAddr(0x20_3000);
const OUTSIDE = sysPhysAddr(4 * MiB);
export const OTHER: SysPhysAddr = sysPhysAddr(0x20_5000);
export const SEALED: SysPhysAddr = sysPhysAddr(0x20_6000);
export const RECORDS: SysPhysAddr = sysPhysAddr(0x20_7000);

/** A machine with a guest in some state, and a page in some state. */
export class FirmwareScene {
  readonly machine: SnpMachine = new SnpMachine({ memorySize: 6 * MiB, rmpCovers: 4 * MiB });
  readonly firmware: Firmware = this.machine.firmware;
  readonly context: SysPhysAddr = this.machine.hypervisor.givePageToFirmware();
  readonly spa: SysPhysAddr;

  constructor(guest: GuestCase, page: PageState) {
    this.spa = page === PageState.Default ? OUTSIDE : SPA;
    this.#enter(guest);
    if (page !== PageState.Default) this.set(this.spa, page);
    this.machine.memory.write(this.spa, Uint8Array.of(1, 2, 3, 4), NO_KEY);
  }

  /** Sets the state of a page, whatever it was. */
  set(spa: SysPhysAddr, state: PageState): void {
    this.machine.rmp.setRawEntry(spa, { ...HYPERVISOR_ENTRY, ...fieldsOf(state, this.context) });
  }

  /** Swaps another page out to {@link SEALED}: a page of the guest, or of records. The record is the root record. */
  swapOut(state: PageState): void {
    this.set(OTHER, state);
    this.set(SEALED, PageState.Firmware);
    this.firmware.swapOut(this.context, { source: OTHER, destination: SEALED });
    this.set(OTHER, PageState.Hypervisor);
  }

  #enter(guest: GuestCase): void {
    const { firmware, context } = this;
    if (guest === 'none') return;
    firmware.guestContextCreate(context);
    if (guest === 'INIT') return;
    firmware.launchStart(context);
    if (guest === 'LAUNCH') return;
    firmware.activate(context, 1);
    if (guest === 'RUNNING') firmware.launchFinish(context);
  }

  /** Everything that a command could change. */
  state(): string {
    const { machine, firmware, context } = this;
    const pages = [this.spa, context, OTHER, SEALED, RECORDS];
    const bytes = pages.map((page) =>
      Buffer.from(machine.memory.read(page, 0x1000, NO_KEY)).toString('latin1'),
    );
    const status = isContext(machine, context) ? JSON.stringify(firmware.guestStatus(context)) : '';
    return [entries(machine), ...bytes, status].join('\n');
  }
}

/** All entries of the RMP. */
function entries({ rmp }: SnpMachine): string {
  const words = new Uint32Array(RMP_ENTRY_WORDS);
  const all = new Uint32Array(rmp.covered.pageCount() * RMP_ENTRY_WORDS);
  for (let page = 0; page < rmp.covered.pageCount(); page += 1) {
    rmp.readWords(page, words);
    all.set(words, page * RMP_ENTRY_WORDS);
  }
  return Buffer.from(all.buffer).toString('latin1');
}

function isContext(machine: SnpMachine, page: SysPhysAddr): boolean {
  return pageStateOf(machine.rmp.rawEntry(page)) === PageState.Context;
}

/** Brings the other pages of a command into fit states. Returns the command. */
export type CommandCase = (scene: FirmwareScene) => () => unknown;

/** The commands on guests alone. */
export const GUEST_COMMANDS: Readonly<Record<string, CommandCase>> = {
  SNP_LAUNCH_START:
    ({ firmware, context }) =>
    () =>
      firmware.launchStart(context),
  SNP_ACTIVATE:
    ({ firmware, context }) =>
    () =>
      firmware.activate(context, 2),
  SNP_LAUNCH_FINISH:
    ({ firmware, context }) =>
    () =>
      firmware.launchFinish(context),
  SNP_DECOMMISSION:
    ({ firmware, context }) =>
    () =>
      firmware.decommission(context),
  SNP_GUEST_STATUS:
    ({ firmware, context }) =>
    () =>
      firmware.guestStatus(context),
};

/** The commands on a page that name no guest. */
export const ALONE_COMMANDS: Readonly<Record<string, CommandCase>> = {
  SNP_GCTX_CREATE:
    ({ firmware, spa }) =>
    () =>
      firmware.guestContextCreate(spa),
  SNP_PAGE_RECLAIM:
    ({ firmware, spa }) =>
    () =>
      firmware.pageReclaim(spa),
  SNP_PAGE_SET_STATE:
    ({ firmware, spa }) =>
    () =>
      firmware.pageSetHvFixed(spa),
};

/** The commands on pages, by the role of the page. Pages in other roles are fit. */
export const PAGE_COMMANDS: Readonly<Record<string, CommandCase>> = {
  ...ALONE_COMMANDS,
  SNP_LAUNCH_UPDATE:
    ({ firmware, context, spa }) =>
    () =>
      firmware.launchUpdate(context, spa),
  SNP_MD_INIT:
    ({ firmware, context, spa }) =>
    () =>
      firmware.metadataInit(context, spa),
  'SNP_SWAP_OUT, source': (scene) => {
    scene.set(SEALED, PageState.Firmware);
    return () => scene.firmware.swapOut(scene.context, { source: scene.spa, destination: SEALED });
  },
  'SNP_SWAP_OUT, destination': (scene) => {
    scene.set(OTHER, PageState.PreSwap);
    return () => scene.firmware.swapOut(scene.context, { source: OTHER, destination: scene.spa });
  },
  'SNP_SWAP_OUT, page of records': (scene) => {
    scene.set(OTHER, PageState.PreSwap);
    scene.set(SEALED, PageState.Firmware);
    const record = { page: scene.spa, index: 1 };
    return () => scene.firmware.swapOut(scene.context, { source: OTHER, destination: SEALED, record });
  },
  'SNP_SWAP_IN, destination': (scene) => {
    prepare(scene, () => scene.swapOut(PageState.PreSwap));
    return () => scene.firmware.swapIn(scene.context, { source: SEALED, destination: scene.spa });
  },
  'SNP_SWAP_IN of a page of records, destination': (scene) => {
    prepare(scene, () => scene.swapOut(PageState.Metadata));
    return () => scene.firmware.swapIn(scene.context, { source: SEALED, destination: scene.spa });
  },
  'SNP_PAGE_MOVE, source': (scene) => {
    scene.set(OTHER, PageState.PreGuest);
    return () => scene.firmware.pageMove(scene.context, { source: scene.spa, destination: OTHER });
  },
  'SNP_PAGE_MOVE of a page of records, source': (scene) => {
    scene.set(OTHER, PageState.Firmware);
    return () => scene.firmware.pageMove(scene.context, { source: scene.spa, destination: OTHER });
  },
  'SNP_PAGE_MOVE, destination': (scene) => {
    scene.set(OTHER, PageState.PreSwap);
    return () => scene.firmware.pageMove(scene.context, { source: OTHER, destination: scene.spa });
  },
  'SNP_PAGE_MOVE of a page of records, destination': (scene) => {
    scene.set(OTHER, PageState.Metadata);
    return () => scene.firmware.pageMove(scene.context, { source: OTHER, destination: scene.spa });
  },
};

/** The preparation of a command; a guest that cannot do it has to be refused by the command too. */
function prepare(scene: FirmwareScene, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!isSnpError(error, 'FIRMWARE_REFUSED')) throw error;
    scene.set(SEALED, PageState.Firmware);
    scene.set(OTHER, PageState.Hypervisor);
  }
}

/** The end of a command: the status of its refusal, or `SUCCESS`. */
export function statusOf(command: () => unknown): string {
  try {
    command();
    return 'SUCCESS';
  } catch (error) {
    if (!isSnpError(error, 'FIRMWARE_REFUSED')) throw error;
    return error.details.status;
  }
}

/** The end of a command on a page: the status, or the new state of the page, or `SUCCESS` if the state is the same. */
export function pageOutcome(run: CommandCase, guest: GuestCase, page: PageState): string {
  const scene = new FirmwareScene(guest, page);
  const status = statusOf(run(scene));
  const after = pageStateOf(scene.machine.rmp.rawEntry(scene.spa));
  return status === 'SUCCESS' && after !== page ? `→ ${after}` : status;
}

/** The end of a command on a guest: the status, or the new state of the guest, or `SUCCESS` if the state is the same. */
export function guestOutcome(run: CommandCase, guest: GuestCase): string {
  const scene = new FirmwareScene(guest, PageState.Hypervisor);
  const before = guestCaseOf(scene);
  const status = statusOf(run(scene));
  const after = guestCaseOf(scene);
  return status === 'SUCCESS' && after !== before ? `→ ${after}` : status;
}

function guestCaseOf({ machine, firmware, context }: FirmwareScene): GuestCase {
  if (!isContext(machine, context)) return 'none';
  const { state, asid } = firmware.guestStatus(context);
  return state === 'LAUNCH' && asid !== 0 ? 'LAUNCH, ASID' : state;
}
