import { PageSize, type PhysAddr } from '@svsm/address';
import type { SwapOptions } from '../../src/firmware/page-swap.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Guest } from '../../src/guest/guest.ts';
import type { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { statusOf } from './firmware-runs.ts';

/** The random commands of a hypervisor to the firmware, on guests that run and on contexts in every state. */
export class FirmwareAttacks {
  readonly #host: HostileHypervisor;
  readonly #random: (end: number) => number;
  readonly #guests: readonly Guest[];
  /** Pages that the firmware has got: context pages, pages of records, and pages with sealed bytes. */
  readonly #pages: readonly SysPhysAddr[];

  /** How the page that was swapped out last comes back to its place. */
  #swapped: { context: SysPhysAddr; options: SwapOptions } | undefined;

  constructor(host: HostileHypervisor, guests: readonly Guest[], random: (end: number) => number) {
    this.#host = host;
    this.#guests = guests;
    this.#random = random;
    this.#pages = Array.from({ length: 4 }, () => host.givePageToFirmware());
  }

  /** One command, on `spa` if it needs a page of a guest. Returns its name and its status. */
  step(spa: SysPhysAddr, gpa: PhysAddr): string {
    const { machine } = this.#host;
    const { firmware } = machine;
    const guest = this.#guests[this.#random(this.#guests.length)]!;
    const context = this.#random(4) === 0 ? this.#page() : guest.context;
    const page = this.#page();
    const record = this.#random(3) !== 0 ? {} : { record: { page: this.#page(), index: this.#random(2) } };
    const type = this.#random(4) === 0 ? LaunchPageType.Vmsa : LaunchPageType.Normal;
    const commands: Readonly<Record<string, () => unknown>> = {
      guestContextCreate: () => firmware.guestContextCreate(page),
      launchStart: () => firmware.launchStart(page),
      activate: () => firmware.activate(page, 1 + this.#random(3)),
      launchFinish: () => firmware.launchFinish(page),
      decommission: () => firmware.decommission(page),
      flush: () => {
        if (this.#random(2) === 0) firmware.wbinvd();
        firmware.dfFlush();
      },
      launchUpdate: () => firmware.launchUpdate(context, spa, { type }),
      metadataInit: () => firmware.metadataInit(context, page),
      swapOut: () => {
        firmware.swapOut(context, { source: this.#either(spa), destination: page, ...record });
        this.#swapped = { context, options: { source: page, destination: spa, ...record } };
      },
      swapIn: () => firmware.swapIn(context, { source: page, destination: this.#either(spa), ...record }),
      swapBack: () => {
        const { context, options } = this.#swapped!;
        firmware.swapIn(context, { ...options, destination: this.#either(options.destination) });
        firmware.pageReclaim(options.destination);
      },
      pageMove: () =>
        firmware.pageMove(context, { source: this.#either(spa), destination: this.#either(spa) }),
      pageReclaim: () => firmware.pageReclaim(this.#either(spa)),
      // What the commands need: the page becomes immutable, or goes to the firmware or back.
      lock: () => this.#lock(guest, spa, gpa),
      free: () => this.#host.rmpupdate(page, { assigned: false }),
      give: () => this.#host.rmpupdate(page, { assigned: true, immutable: true }),
    };
    const names = Object.keys(commands);
    const name = names[this.#random(names.length)]!;
    if (name === 'swapBack' && this.#swapped === undefined) return 'nothing to swap back';
    // Mostly the page is made immutable for the command, and given back after it: else the guests soon have no page left.
    const isBrief = this.#random(4) !== 0;
    if (isBrief && name !== 'swapBack') this.#lock(guest, spa, gpa);
    const status = statusOf(commands[name]!);
    if (isBrief && name !== 'swapOut') statusOf(() => firmware.pageReclaim(spa));
    return `${name} ${status}`;
  }

  #page(): SysPhysAddr {
    return this.#pages[this.#random(this.#pages.length)]!;
  }

  #either(spa: SysPhysAddr): SysPhysAddr {
    return this.#random(6) === 0 ? this.#page() : spa;
  }

  /** Makes a page immutable: mostly as it is, else for a guest at an address. */
  #lock(guest: Guest, spa: SysPhysAddr, gpa: PhysAddr): void {
    const { state } = this.#host.rmpread(spa);
    const isOwned = state?.assigned === true && this.#random(4) !== 0;
    const asid = isOwned ? state.asid : guest.asid;
    this.#host.rmpupdate(spa, {
      assigned: true,
      immutable: true,
      asid,
      gpa: isOwned ? state.gpa : gpa,
      pageSize: PageSize.Regular,
    });
  }
}
