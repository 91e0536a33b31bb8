import { describeValue, PAGE_SIZE, pageNumber } from '@svsm/address';
import type { FirmwareStatus } from '../formats/firmware-status.ts';
import type { GuestState } from '../formats/guest-state.ts';
import { PageState, stateOfEntry } from '../formats/page-state.ts';
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
  readonly #memory: EncryptedMemory;
  readonly #contexts: ReadonlyMap<bigint, FirmwareContext>;
  /** The guest of the command, once it is looked up. */
  #guest: FirmwareContext | undefined;

  constructor(
    name: string,
    { rmp, memory }: FirmwarePlatform,
    contexts: ReadonlyMap<bigint, FirmwareContext>,
  ) {
    this.#name = name;
    this.#rmp = rmp;
    this.#memory = memory;
    this.#contexts = contexts;
  }

  /** Ends the command. `spa` is the page that does not fit: the context page if not given. */
  refuse(status: FirmwareStatus, spa: SysPhysAddr | undefined = this.#guest?.page, cause?: unknown): never {
    if (spa === undefined || SysPhys.isAddress(spa)) return this.#refuse(status, spa, undefined, cause);
    return this.refuseOperand(`${describeValue(spa, 'an address')} is not an address`);
  }

  /** Ends the command with INVALID_PARAM, for an operand of the wrong type or width. */
  refuseOperand(problem: string): never {
    return this.#refuse('INVALID_PARAM', undefined, problem);
  }

  #refuse(
    status: FirmwareStatus,
    spa: SysPhysAddr | undefined,
    problem: string | undefined,
    cause?: unknown,
  ): never {
    const state = spa === undefined ? undefined : stateOfEntry(this.#rmp.rawEntry(spa));
    const details = { command: this.#name, spa, state, guest: this.#guest?.state, status, problem };
    throw new SnpError('FIRMWARE_REFUSED', details, cause === undefined ? undefined : { cause });
  }

  /**
   * A copy of operands, for which each field is read once: INVALID_PARAM if that fails, or if one has another name. Reading can run
   * code of the caller, which can give other commands, so a command copies its operands before it looks at any state.
   */
  operands<Operands extends object>(
    given: Operands,
    names: readonly (keyof Operands & string)[],
  ): Readonly<Operands> {
    try {
      if (typeof given !== 'object') throw new TypeError('the operands are not an object');
      const unknown = Object.keys(given).find((name) => !(names as readonly string[]).includes(name));
      if (unknown !== undefined) throw new TypeError(`an operand ${JSON.stringify(unknown)} does not exist`);
      return Object.fromEntries(names.map((name) => [name, given[name]])) as Operands;
    } catch (cause) {
      return this.refuse('INVALID_PARAM', undefined, cause);
    }
  }

  /**
   * Refuses addresses that are not those of a 4 KiB page: INVALID_PARAM, because bits 11:0 are reserved. Refuses pages
   * beyond the end of memory: INVALID_ADDRESS.
   */
  requirePages(...pages: readonly SysPhysAddr[]): void {
    for (const spa of pages) {
      if (!SysPhys.isAddress(spa) || spa % BigInt(PAGE_SIZE) !== 0n) this.refuse('INVALID_PARAM', spa);
      this.requireMemory(spa, PAGE_SIZE);
    }
  }

  /** Refuses `size` bytes that do not all lie in memory: INVALID_ADDRESS. */
  requireMemory(spa: SysPhysAddr, size: number): void {
    if (spa + BigInt(size) > this.#memory.size) this.refuse('INVALID_ADDRESS', spa);
  }

  /** The guest with a context page: else INVALID_GUEST. */
  guest(page: SysPhysAddr): FirmwareContext {
    const isContext = stateOfEntry(this.#rmp.rawEntry(page)) === PageState.Context;
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
    return stateOfEntry(this.#rmp.rawEntry(spa));
  }

  /** The page of `spa`, in one of these states: else INVALID_PAGE_STATE. */
  page(spa: SysPhysAddr, ...states: readonly PageState[]): CommandPage {
    const entry = this.#rmp.rawEntry(spa);
    const state = stateOfEntry(entry);
    if (entry === undefined || (states.length > 0 && !states.includes(state))) {
      return this.refuse('INVALID_PAGE_STATE', spa);
    }
    this.requireMemory(spa, entry.pageSize);
    return { spa, entry, state };
  }

  /** Refuses a page of another guest: INVALID_PAGE_OWNER. */
  requireOwner({ spa, entry, state }: CommandPage, { context, asid }: ActiveGuest): void {
    const isOwned = state === PageState.Metadata ? entry.gpa === metadataGpa(context) : entry.asid === asid;
    if (!isOwned) this.refuse('INVALID_PAGE_OWNER', spa);
  }
}

/**
 * Replaces the entry of a page, and ends the arrays of its memory that anyone holds: software could write the page in its
 * new state through them, past the RMP.
 */
export function setEntry({ rmp, memory }: FirmwarePlatform, spa: SysPhysAddr, entry: RmpEntry): void {
  rmp.setRawEntry(spa, entry);
  memory.revoke(pageNumber(spa), entry.pageSize / PAGE_SIZE);
}

/**
 * The GPA field of the metadata pages of the guest with a context page: the kind of the page above the frame number (see
 * `page-state.ts`), and the frame of the context page.
 */
export function metadataGpa(context: SysPhysAddr): RmpEntry['gpa'] {
  return ((1n << 48n) | context) as RmpEntry['gpa'];
}
