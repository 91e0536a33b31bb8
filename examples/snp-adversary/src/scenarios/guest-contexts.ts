import { PageSize } from '@svsm/address';
import { createVmsa, isSnpError, LaunchPageType, type SysPhysAddr } from '@svsm/sev-snp';
import type { Ending, Scenario } from '../scenario.ts';
import { A, bytesOf, type Stage } from '../stage.ts';
import { vmrun, vmsaAt } from './firmware.ts';

/** A page with bytes of the hypervisor, assigned to the guest at A as for a launch. */
function planted({ host, guest }: Stage, bytes: Uint8Array): SysPhysAddr {
  const page = host.allocatePage();
  host.write(page, bytes);
  host.rmpupdate(page, { assigned: true, immutable: true, asid: guest.asid, gpa: A });
  return page;
}

/** The context page of another guest, in state LAUNCH. */
function otherContext({ host, machine: { firmware } }: Stage): SysPhysAddr {
  const context = host.givePageToFirmware();
  firmware.guestContextCreate(context);
  firmware.launchStart(context);
  return context;
}

/** Frees all pages of the guest in system memory. */
function freePages({ host, guest }: Stage): void {
  for (const gpa of guest.memory.iterPages(PageSize.Huge)) {
    const { spa } = guest.nested.lookup(gpa)!;
    if (host.rmpupdate(spa, { assigned: false, pageSize: PageSize.Huge }) === 0) continue;
    for (let part = 0; part < PageSize.Huge; part += PageSize.Regular)
      host.rmpupdate((spa + BigInt(part)) as SysPhysAddr, { assigned: false });
  }
}

/** Runs a command. Returns how the firmware refuses it. */
function refused(stage: Stage, command: () => void): Ending | undefined {
  try {
    command();
    return undefined;
  } catch (error) {
    if (!isSnpError(error, 'FIRMWARE_REFUSED')) throw error;
    stage.tell(error.message);
    return { stoppedBy: error.details.status, guestSees: 'nothing' };
  }
}

/** Attacks on the guests, keys and records of the firmware. */
export const GUEST_CONTEXTS: readonly Scenario[] = [
  {
    id: 'A30',
    name: 'launch-late',
    attack: 'has a page launched into a guest that runs',
    stoppedBy: 'INVALID_GUEST_STATE',
    guestSees: 'nothing',
    play: (stage) => {
      const page = planted(stage, bytesOf('surrender'));
      const { firmware } = stage.machine;
      const ending = refused(stage, () => firmware.launchUpdate(stage.guest.context, page));
      if (ending !== undefined) return ending;
      stage.host.remap(stage.guest, A, page);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A30',
    name: 'launch-late-vmsa',
    attack: 'has a VMSA launched into a guest that runs',
    stoppedBy: 'INVALID_GUEST_STATE',
    guestSees: 'nothing',
    play: (stage) => {
      const page = planted(stage, createVmsa({ vmpl: 0 }));
      const { firmware } = stage.machine;
      const type = LaunchPageType.Vmsa;
      const ending = refused(stage, () => firmware.launchUpdate(stage.guest.context, page, { type }));
      if (ending !== undefined) return ending;
      stage.guest.vmrun({ spa: page, gpa: A, vmcb: stage.host.allocatePage() });
      return 'a processor';
    },
  },
  {
    id: 'A31',
    name: 'old-record',
    attack: 'puts an old record into a page of records',
    stoppedBy: 'INVALID_MDATA_ENTRY',
    guestSees: 'nothing',
    play: (stage) => {
      const { host, guest, machine } = stage;
      const { firmware } = machine;
      const { context, asid } = guest;
      const [page, sealed] = [host.givePageToFirmware(), host.givePageToFirmware()];
      const record = { page, index: 0 };
      const source = stage.spaOf(A);
      firmware.metadataInit(context, page);
      host.rmpupdate(source, { assigned: true, immutable: true, asid, gpa: A });
      stage.tell('the firmware seals the page');
      firmware.swapOut(context, { source, destination: sealed, record });
      const old = host.read(page, 64);
      firmware.swapIn(context, { source: sealed, destination: source, record });
      firmware.pageReclaim(source);
      stage.put(A, 'attack at noon');

      stage.tell('the hypervisor takes the page of records, writes it, and gives it back');
      firmware.pageReclaim(page);
      host.rmpupdate(page, { assigned: false });
      host.write(page, old);
      host.rmpupdate(page, { assigned: true, immutable: true });
      firmware.metadataInit(context, page);
      const destination = host.allocatePage();
      host.rmpupdate(destination, { assigned: true, immutable: true, asid, gpa: A });
      const swapIn = (): void => firmware.swapIn(context, { source: sealed, destination, record });
      const ending = refused(stage, swapIn);
      if (ending !== undefined) return ending;
      firmware.pageReclaim(destination);
      host.remap(guest, A, destination);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A34',
    name: 'old-vmsa-of-swap',
    attack: 'runs the source of a VMSA that is swapped out',
    stoppedBy: 'VMRUN vmsa',
    guestSees: 'never runs',
    play: (stage) => {
      const { host, guest, machine } = stage;
      const source = stage.spaOf(vmsaAt(stage, A));
      host.rmpupdate(source, { assigned: true, immutable: true, asid: guest.asid, gpa: A });
      stage.tell('the firmware seals the VMSA and clears the VMSA bit of its page');
      machine.firmware.swapOut(guest.context, { source, destination: host.givePageToFirmware() });
      machine.firmware.pageReclaim(source);
      return vmrun(stage, A);
    },
  },
  {
    id: 'A32',
    name: 'asid-in-use',
    attack: 'gives the ASID of the guest to another guest',
    stoppedBy: 'ASID_OWNED',
    guestSees: 'nothing',
    play: (stage) => {
      const other = otherContext(stage);
      freePages(stage);
      const ending = refused(stage, () => stage.machine.firmware.activate(other, stage.guest.asid));
      return ending ?? 'two guests with an ASID';
    },
  },
  {
    id: 'A32',
    name: 'asid-with-pages',
    attack: 'gives an ASID that has pages to a guest',
    stoppedBy: 'INVALID_CONFIG',
    guestSees: 'nothing',
    play: (stage) => {
      const { firmware } = stage.machine;
      const other = otherContext(stage);
      firmware.decommission(stage.guest.context);
      return refused(stage, () => firmware.activate(other, stage.guest.asid)) ?? 'pages of an old guest';
    },
  },
  {
    id: 'A32',
    name: 'asid-not-flushed',
    attack: 'reuses an ASID without DF_FLUSH',
    stoppedBy: 'DF_FLUSH_REQUIRED',
    guestSees: 'nothing',
    play: (stage) => {
      const { firmware } = stage.machine;
      const other = otherContext(stage);
      freePages(stage);
      firmware.decommission(stage.guest.context);
      return refused(stage, () => firmware.activate(other, stage.guest.asid)) ?? 'lines of an old guest';
    },
  },
  {
    id: 'A33',
    name: 'write-root-record',
    attack: 'writes the context page, with the root record',
    stoppedBy: 'RMP hypervisor-owned',
    guestSees: 'nothing',
    play: ({ host, guest }) => {
      host.write(guest.context, new Uint8Array(64));
      return 'the root record';
    },
  },
  {
    id: 'A33',
    name: 'write-record',
    attack: 'writes a record in a page of records',
    stoppedBy: 'RMP hypervisor-owned',
    guestSees: 'nothing',
    play: ({ host, guest, machine }) => {
      const page = host.givePageToFirmware();
      machine.firmware.metadataInit(guest.context, page);
      host.write(page, new Uint8Array(64));
      return 'a record';
    },
  },
];
