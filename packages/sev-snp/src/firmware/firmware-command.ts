import { PAGE_SIZE } from '@svsm/address';
import type { FirmwareStatus } from '../formats/firmware-status.ts';
import type { GuestState } from '../formats/guest-state.ts';
import { PageState, pageStateOf } from '../formats/page-state.ts';
import type { RmpEntry } from '../formats/rmp-entry.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { EncryptedMemory } from '../memory/encrypted-memory.ts';
import type { Rmp } from '../rmp/rmp.ts';
import type { ActiveGuest, FirmwareContext } from './firmware-context.ts';

/** The parts of a machine that the firmware works on. */
export interface FirmwarePlatform {
  readonly rmp: Rmp;
  readonly memory: EncryptedMemory;
}

/** A page of a command: its own entry, and its state. A page inside a 2 MiB page has an entry too: see `Rmp.rawEntry`. */
export interface CommandPage {
  readonly spa: SysPhysAddr;
  readonly entry: RmpEntry;
  readonly state: PageState;
}

/** A command that the firmware checks. Each method refuses it with a status, or returns what it has looked up. */
export class FirmwareCommand {
  readonly #name: string;
  readonly #rmp: Rmp;
  readonly #contexts: ReadonlyMap<bigint, FirmwareContext>;
  /** The guest of the command, once it is looked up. */
  #guest: FirmwareContext | undefined;

  constructor(name: string, { rmp }: FirmwarePlatform, contexts: ReadonlyMap<bigint, FirmwareContext>) {
    this.#name = name;
    this.#rmp = rmp;
    this.#contexts = contexts;
  }

  /** Ends the command. `spa` is the page that does not fit: the context page if not given. */
  refuse(status: FirmwareStatus, spa: SysPhysAddr | undefined = this.#guest?.page): never {
    const page = spa !== undefined && SysPhys.isAddress(spa) ? spa : undefined;
    throw new SnpError('FIRMWARE_REFUSED', {
      command: this.#name,
      spa: page,
      state: page === undefined ? undefined : pageStateOf(this.#rmp.rawEntry(page)),
      guest: this.#guest?.state,
      status,
    });
  }

  /** Refuses addresses that are not those of a 4 KiB page: INVALID_PARAM. Bits 11:0 are reserved. */
  requirePages(...pages: readonly SysPhysAddr[]): void {
    for (const spa of pages) {
      if (!SysPhys.isAddress(spa) || spa % BigInt(PAGE_SIZE) !== 0n) this.refuse('INVALID_PARAM', spa);
    }
  }

  /** The guest with a context page: else INVALID_GUEST. */
  guest(page: SysPhysAddr): FirmwareContext {
    const isContext = pageStateOf(this.#rmp.rawEntry(page)) === PageState.Context;
    const found = isContext ? this.#contexts.get(page) : undefined;
    if (found === undefined) return this.refuse('INVALID_GUEST', page);
    this.#guest = found;
    return found;
  }

  /** Refuses a guest in any other state: INVALID_GUEST_STATE. */
  requireState({ state }: FirmwareContext, ...states: readonly GuestState[]): void {
    if (state === undefined || !states.includes(state)) this.refuse('INVALID_GUEST_STATE');
  }

  /** The guest with its ASID: else INACTIVE. */
  requireActive({ active }: FirmwareContext): ActiveGuest {
    return active ?? this.refuse('INACTIVE');
  }

  /** The state of a page. */
  stateOf(spa: SysPhysAddr): PageState {
    return pageStateOf(this.#rmp.rawEntry(spa));
  }

  /** The page of `spa`, in one of these states: else INVALID_PAGE_STATE. */
  page(spa: SysPhysAddr, ...states: readonly PageState[]): CommandPage {
    const entry = this.#rmp.rawEntry(spa);
    const state = pageStateOf(entry);
    if (entry === undefined || (states.length > 0 && !states.includes(state))) {
      return this.refuse('INVALID_PAGE_STATE', spa);
    }
    return { spa, entry, state };
  }

  /** Refuses a page of another guest: INVALID_PAGE_OWNER. */
  requireOwner({ spa, entry, state }: CommandPage, { context, asid }: ActiveGuest): void {
    const isOwned = state === PageState.Metadata ? entry.gpa === metadataGpa(context) : entry.asid === asid;
    if (!isOwned) this.refuse('INVALID_PAGE_OWNER', spa);
  }
}

/**
 * The GPA field of the metadata pages of the guest with a context page: the kind of the page above the frame number (see
 * `page-state.ts`), and the frame of the context page.
 */
export function metadataGpa(context: SysPhysAddr): RmpEntry['gpa'] {
  return ((1n << 48n) | context) as RmpEntry['gpa'];
}
