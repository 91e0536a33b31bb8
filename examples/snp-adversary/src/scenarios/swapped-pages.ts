import type { PhysAddr } from '@svsm/address';
import type { SysPhysAddr } from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, B, type Stage } from '../stage.ts';

/** Swaps page A of the guest out. Returns the page with its sealed bytes, and a function that swaps them in at an address. */
function swappedOut(stage: Stage): { sealed: SysPhysAddr; swapInAt: (gpa: PhysAddr) => SysPhysAddr } {
  const { host, guest, machine } = stage;
  const { firmware } = machine;
  const { context } = guest;
  const sealed = host.givePageToFirmware();
  const source = stage.spaOf(A);
  stage.tell('the firmware seals the page');
  host.rmpupdate(source, { assigned: true, immutable: true, asid: guest.asid, gpa: A });
  firmware.swapOut(context, { source, destination: sealed });
  firmware.pageReclaim(sealed);
  host.rmpupdate(sealed, { assigned: false });
  const swapInAt = (gpa: PhysAddr): SysPhysAddr => {
    stage.tell('the hypervisor asks the firmware to unseal it');
    const destination = host.allocatePage();
    host.rmpupdate(destination, { assigned: true, immutable: true, asid: guest.asid, gpa });
    firmware.swapIn(context, { source: sealed, destination });
    firmware.pageReclaim(destination);
    return destination;
  };
  return { sealed, swapInAt };
}

/** Attacks on a page that is swapped out. */
export const SWAPPED_PAGES: readonly Scenario[] = [
  {
    id: 'A17',
    name: 'swap-changed',
    attack: 'changes a page that is swapped out',
    stoppedBy: 'firmware',
    guestSees: 'FIRMWARE_REFUSED',
    play: (stage) => {
      const { sealed, swapInAt } = swappedOut(stage);
      const [byte = 0] = stage.host.read(sealed, 1);
      stage.host.write(sealed, Uint8Array.of(byte ^ 1));
      stage.host.remap(stage.guest, A, swapInAt(A));
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A17',
    name: 'swap-twice',
    attack: 'swaps a page in twice',
    stoppedBy: 'firmware',
    guestSees: 'FIRMWARE_REFUSED',
    play: (stage) => {
      const { swapInAt } = swappedOut(stage);
      stage.host.remap(stage.guest, A, swapInAt(A));
      stage.flushTlbs().put(A, 'attack at noon');
      stage.host.remap(stage.guest, A, swapInAt(A));
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A17',
    name: 'swap-elsewhere',
    attack: 'swaps a page in at another address',
    stoppedBy: 'RMP reverse-map',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      const { swapInAt } = swappedOut(stage);
      stage.host.remap(stage.guest, B, swapInAt(B));
      return stage.flushTlbs().get(B);
    },
  },
];
