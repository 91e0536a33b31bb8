import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { RmpResult } from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, B, bytesOf, gvaOf, type Stage, WHOLE } from '../stage.ts';

const MOVED = { stoppedBy: 'RMP reverse-map', guestSees: '#NPF, stopped' };
const NOT_ITS_OWN = { stoppedBy: 'RMP guest-owned', guestSees: '#NPF, stopped' };
const OTHER_SIZE = { stoppedBy: 'RMP page-size', guestSees: '#NPF, stopped' };
const NOT_VALIDATED = { stoppedBy: 'RMP validated', guestSees: '#VC 0x404' };
const KEPT = { stoppedBy: 'harmless', guestSees: 'its own text' };

/** Reads a page whose text the guest knows. Any other text is the work of the hypervisor. */
function kept(stage: Stage, gpa: PhysAddr, text: string): typeof KEPT | string {
  const found = stage.get(gpa);
  return found === text ? KEPT : found;
}

/** Attacks that hardware stops without help, as long as the guest does not validate a page twice. */
export const PRIVATE_PAGES: readonly Scenario[] = [
  {
    id: 'A1',
    name: 'overwrite',
    attack: 'writes to a private page',
    stoppedBy: 'RMP hypervisor-owned',
    guestSees: 'nothing',
    play: (stage) => {
      stage.host.write(stage.spaOf(A), bytesOf('surrender'));
      return 'surrender';
    },
  },
  {
    id: 'A1',
    name: 'overwrite-beside',
    attack: 'writes to a shared page as part of 2 MiB',
    stoppedBy: 'RMP hypervisor-owned',
    guestSees: 'nothing',
    play: (stage) => {
      const page = stage.share('public');
      stage.host.write(stage.spaOf(page), bytesOf('surrender'), PageSize.Huge);
      return 'surrender';
    },
  },
  {
    id: 'A1',
    name: 'replay-in-place',
    attack: 'writes old ciphertext back',
    stoppedBy: 'RMP hypervisor-owned',
    guestSees: 'nothing',
    play: (stage) => {
      const old = stage.host.capture(stage.spaOf(A));
      stage.put(A, 'attack at noon');
      stage.host.write(stage.spaOf(A), old);
      return stage.get(A);
    },
  },
  {
    id: 'A2',
    name: 'alias',
    attack: 'maps two addresses to one page',
    ...MOVED,
    play: (stage) => {
      stage.host.alias(stage.guest, A, B);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A3',
    name: 'substitute',
    attack: 'assigns and maps another page in its place',
    ...NOT_VALIDATED,
    play: (stage) => {
      stage.host.substitute(stage.guest, A);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A5',
    name: 'swap',
    attack: 'swaps two pages',
    ...MOVED,
    play: (stage) => {
      stage.host.swap(stage.guest, A, B);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A6',
    name: 'reassign',
    attack: 'takes a page, restores old ciphertext, returns it',
    ...NOT_VALIDATED,
    play: (stage) => {
      const old = stage.host.capture(stage.spaOf(A));
      stage.put(A, 'attack at noon');
      stage.host.replay(stage.guest, A, old);
      return stage.get(A);
    },
  },
  {
    id: 'A7',
    name: 'huge-over-small',
    attack: 'maps 2 MiB over 4 KiB RMP entries',
    ...OTHER_SIZE,
    play: (stage) => {
      stage.host.answers.fault = () => false;
      stage.host.mapHuge(stage.guest, A);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A7',
    name: 'small-over-huge',
    attack: 'maps 4 KiB over a 2 MiB RMP entry',
    ...OTHER_SIZE,
    play: (stage) => {
      stage.host.answers.fault = () => false;
      stage.host.mapSmall(stage.guest, WHOLE);
      return stage.flushTlbs().get(WHOLE);
    },
  },
  {
    id: 'A7',
    name: 'smash',
    attack: 'executes PSMASH and maps the page anew',
    ...KEPT,
    play: (stage) => {
      stage.host.smash(stage.guest, WHOLE);
      stage.host.mapSmall(stage.guest, WHOLE);
      return kept(stage.flushTlbs(), WHOLE, 'hold the line');
    },
  },
  {
    id: 'A7',
    name: 'size-of-pvalidate',
    attack: 'executes PSMASH before a PVALIDATE of 2 MiB',
    stoppedBy: 'PVALIDATE size',
    guestSees: 'FAIL_SIZEMISMATCH',
    play: (stage) => {
      stage.host.smash(stage.guest, WHOLE);
      const page = gvaOf((WHOLE & ~0x1f_ffffn) as PhysAddr);
      const { result } = stage.vcpu.pvalidate(page, PageSize.Huge, false);
      if (result !== RmpResult.FAIL_SIZEMISMATCH) return '2 MiB by one 4 KiB entry';
      return { stoppedBy: 'PVALIDATE size', guestSees: 'FAIL_SIZEMISMATCH' };
    },
  },
  {
    id: 'A8',
    name: 'stale-after-rmpupdate',
    attack: 'takes a page and does not flush',
    ...NOT_ITS_OWN,
    play: (stage) => {
      stage.get(A);
      stage.host.unassign(stage.guest, A);
      return stage.get(A);
    },
  },
  {
    id: 'A8',
    name: 'stale-after-remap',
    attack: 'remaps a page and does not flush',
    ...KEPT,
    play: (stage) => {
      stage.get(A);
      stage.host.remap(stage.guest, A, stage.spaOf(B));
      return kept(stage, A, 'attack at dawn');
    },
  },
  {
    id: 'A10',
    name: 'own-page',
    attack: 'maps its own page in place of a private one',
    ...NOT_ITS_OWN,
    play: (stage) => {
      const page = stage.host.allocatePage();
      stage.host.write(page, bytesOf('surrender'));
      stage.host.remap(stage.guest, A, page);
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A10',
    name: 'foreign-page',
    attack: 'maps a page of another guest',
    ...NOT_ITS_OWN,
    play: (stage) => {
      const other = stage.host.launch({ size: 2 * 1024 * 1024, pageSize: PageSize.Regular });
      stage.host.lend(stage.guest, A, other, physAddr(0x1000));
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A10',
    name: 'own-page-table',
    attack: 'maps its own page in place of a page table',
    ...NOT_ITS_OWN,
    play: (stage) => {
      stage.host.remap(stage.guest, physAddr(stage.table.root), stage.host.allocatePage());
      stage.vcpu.flushTlb();
      return stage.flushTlbs().get(A);
    },
  },
  {
    id: 'A10',
    name: 'own-code',
    attack: 'puts its own code at a shared address',
    ...NOT_ITS_OWN,
    play: (stage) => {
      const page = stage.share();
      stage.tell('the guest jumps there: a fetch is private, whatever the C-bit');
      stage.host.write(stage.spaOf(page), Uint8Array.of(0xf4));
      stage.vcpu.fetch(gvaOf(page), 1);
      return 'its code';
    },
  },
  {
    id: 'A22',
    name: 'shared-write-to-private',
    attack: 'maps a private page at a shared address',
    stoppedBy: 'RMP hypervisor-owned',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      const page = stage.share('public');
      stage.host.remap(stage.guest, page, stage.spaOf(A));
      stage.flushTlbs().put(page, 'garbage');
      return stage.get(A);
    },
  },
];
