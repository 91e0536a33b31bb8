import { PageSize } from '@svsm/address';
import {
  acceptPage,
  decodePscHeader,
  type Ghcb,
  GhcbExit,
  type GhcbPage,
  makePagePrivate,
  PageOperation,
  pageRegion,
  pscEntriesOf,
  registerGhcb,
  requestPageState,
  requestPageStates,
} from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, bytesOf, gvaOf, type Stage } from '../stage.ts';

/** The guest requests the state "shared" for a list of two pages. */
function shareList(ghcb: Ghcb): void {
  const entries = [A, 0x1000n + A].flatMap((gpa) => [
    ...pscEntriesOf(pageRegion(gpa as typeof A, PageSize.Regular), PageOperation.Shared),
  ]);
  requestPageStates(ghcb, entries);
}

/** Makes the hypervisor write `value` to the header of the list in a GHCB, at byte `at`. Returns the GHCB. */
function lieInHeader(stage: Stage, at: number, value: number): Ghcb {
  const ghcb = stage.ghcb();
  stage.host.answers.afterPage = (page: GhcbPage) =>
    page.writeBuffer(at, Uint8Array.of(value & 0xff, value >> 8));
  return ghcb;
}

const BAD_HEADER = { stoppedBy: 'answer: header', guestSees: 'INVALID_PSC_RESPONSE' };
const BAD_MESSAGE = { stoppedBy: 'answer: type, fields', guestSees: 'INVALID_RESPONSE' };

/** Attacks by answers, and by changes of shared memory. */
export const ANSWERS: readonly Scenario[] = [
  {
    id: 'A11',
    name: 'claim-private',
    attack: 'answers “private” and changes nothing',
    stoppedBy: 'RMP guest-owned',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      const page = stage.share('public');
      stage.host.answers.pageState = () => 0;
      makePagePrivate(stage.vcpu, stage.table, gvaOf(page), stage.options);
      return stage.get(page);
    },
  },
  {
    id: 'A11',
    name: 'refuse',
    attack: 'answers with an error',
    stoppedBy: 'answer: error',
    guestSees: 'PAGE_STATE_REFUSED',
    play: (stage) => {
      stage.host.answers.msr = () => 0x1_0000_0015n;
      stage.share('public');
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'other-message',
    attack: 'answers with another message',
    ...BAD_MESSAGE,
    play: (stage) => {
      stage.host.answers.msr = () => 0x013n;
      stage.share('public');
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'reserved-bits',
    attack: 'sets reserved bits in its answer',
    ...BAD_MESSAGE,
    play: (stage) => {
      stage.host.answers.msr = () => 0x1015n;
      stage.share('public');
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'other-ghcb',
    attack: 'confirms another GHCB address',
    ...BAD_MESSAGE,
    play: (stage) => {
      const page = stage.share();
      stage.host.answers.msr = () => 0x666_6013n;
      registerGhcb(stage.vcpu, page);
      return 'another page for a GHCB';
    },
  },
  {
    id: 'A11',
    name: 'list-half',
    attack: 'stops half way through a list, with an error',
    stoppedBy: 'answer: exit info 2',
    guestSees: 'PSC_REFUSED',
    duty: 'check SW_EXITINFO2',
    otherwise: 'noise',
    play: (stage, careful) => {
      const ghcb = stage.ghcb();
      stage.host.answers.pageState = () => 1;
      stage.vcpu.pvalidate(gvaOf(A), PageSize.Regular, false);
      if (careful) shareList(ghcb);
      else {
        stage.tell('the guest takes any answer for success');
        ghcb.vmgexit({ exitCode: GhcbExit.PageStateChange, scratch: ghcb.gpa + 0x800n });
      }
      stage.table.split4k(gvaOf(A));
      stage.table.setShared4k(gvaOf(A));
      stage.vcpu.invlpg(gvaOf(A));
      stage.tell('the guest reads the page as the answer of a device');
      return stage.get(A);
    },
  },
  {
    id: 'A11',
    name: 'refused-as-result',
    attack: 'refuses, for a guest that reads the result anyway',
    stoppedBy: 'answer: exit info 1',
    guestSees: 'VMGEXIT_FAILED',
    duty: 'check SW_EXITINFO1',
    otherwise: 'features 0x27',
    play: (stage, careful) => {
      const ghcb = stage.ghcb();
      stage.host.answers.page = () => ({ info1: 2n, info2: 0x27n });
      const ask = (): bigint => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures });
      const read = (): bigint => {
        try {
          return ask();
        } catch {
          stage.tell('the guest reads SW_EXITINFO2 only');
          return ghcb.page.get('exitInfo2') ?? 0n;
        }
      };
      return `features 0x${(careful ? ask() : read()).toString(16)}`;
    },
  },
  {
    id: 'A11',
    name: 'invalid-answer',
    attack: 'marks no field of its answer as valid',
    stoppedBy: 'answer: exit info 1',
    guestSees: 'VMGEXIT_FAILED',
    play: (stage) => {
      const ghcb = stage.ghcb();
      stage.host.answers.afterPage = (page) => page.invalidate();
      return `features 0x${ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures }).toString(16)}`;
    },
  },
  {
    id: 'A11',
    name: 'list-backwards',
    attack: 'moves backwards in a list',
    ...BAD_HEADER,
    play: (stage) => {
      const ghcb = stage.ghcb();
      stage.host.pageStatesPerExit = 1;
      let exits = 0;
      stage.host.answers.afterPage = (page) => {
        exits += 1;
        if (exits === 2) page.writeBuffer(0, Uint8Array.of(0, 0));
      };
      shareList(ghcb);
      return 'a list that never ends';
    },
  },
  {
    id: 'A11',
    name: 'list-past-end',
    attack: 'moves past the end of a list',
    ...BAD_HEADER,
    play: (stage) => {
      shareList(lieInHeader(stage, 0, 0x666));
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'list-other-end',
    attack: 'changes the end of a list',
    ...BAD_HEADER,
    play: (stage) => {
      shareList(lieInHeader(stage, 2, 0));
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'list-reserved',
    attack: 'sets reserved bits in the header of a list',
    ...BAD_HEADER,
    play: (stage) => {
      shareList(lieInHeader(stage, 4, 1));
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'list-never',
    attack: 'never makes progress in a list',
    ...BAD_HEADER,
    play: (stage) => {
      const ghcb = stage.ghcb();
      stage.host.answers.page = () => ({ info1: 0n, info2: 0n });
      shareList(ghcb);
      return 'taken for done';
    },
  },
  {
    id: 'A11',
    name: 'endless-fault',
    attack: 'claims forever to have resolved a fault',
    stoppedBy: 'RMP guest-owned',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      stage.host.answers.fault = () => true;
      stage.host.unassign(stage.guest, A);
      return stage.get(A);
    },
  },
  {
    id: 'A11',
    name: 'change-at-exit',
    attack: 'remaps a page while the guest waits',
    stoppedBy: 'RMP guest-owned',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      const page = stage.share('public');
      const own = stage.host.allocatePage();
      stage.host.write(own, bytesOf('surrender'));
      stage.host.answers.beforeResume = (guest) => {
        stage.host.answers.beforeResume = undefined;
        stage.host.remap(guest, page, own);
        stage.flushTlbs();
      };
      makePagePrivate(stage.vcpu, stage.table, gvaOf(page), stage.options);
      return stage.get(page);
    },
  },
  {
    id: 'A12',
    name: 'double-fetch',
    attack: 'changes a list between check and use',
    stoppedBy: 'reading once',
    guestSees: 'what it checked',
    duty: 'read shared memory once',
    otherwise: 'uses entry 65535',
    play: (stage, careful) => {
      const ghcb = stage.ghcb();
      stage.host.pageStatesPerExit = 1;
      const header = stage.spaOf(ghcb.gpa) + 0x800n;
      let reads = 0;
      const flip: NonNullable<typeof stage.host.answers.beforeSharedRead> = (_, spa, length) => {
        if (spa !== header || length !== 8) return;
        reads += 1;
        if (reads === 2) stage.host.write(spa, Uint8Array.of(0xff, 0xff));
      };
      if (careful) {
        stage.host.pageStatesPerExit = Number.POSITIVE_INFINITY;
        stage.host.answers.beforeSharedRead = flip;
        shareList(ghcb);
        return { stoppedBy: 'reading once', guestSees: reads === 1 ? 'what it checked' : `${reads} reads` };
      }
      ghcb.page.writeBuffer(0, Uint8Array.of(0, 0, 1, 0, 0, 0, 0, 0));
      ghcb.vmgexit({ exitCode: GhcbExit.PageStateChange, scratch: ghcb.gpa + 0x800n });
      stage.host.answers.beforeSharedRead = flip;
      const read = (): number => decodePscHeader(ghcb.page.readBuffer(0, 8)).current;
      stage.tell('the guest checks cur_entry, and reads it again to use it');
      if (read() > 1) throw new Error('checked');
      return `uses entry ${read()}`;
    },
  },
  {
    id: 'A11',
    name: 'new-memory',
    attack: 'moves a page to another address of the guest',
    stoppedBy: 'RMP reverse-map',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      requestPageState(stage.vcpu, A, PageOperation.Shared);
      stage.host.move(stage.guest, A, (A + 0x7000n) as typeof A);
      stage.host.answers.pageState = () => 0;
      stage.validated.remove(pageRegion(A, PageSize.Regular));
      acceptPage(stage.flushTlbs().vcpu, stage.table, gvaOf(A), stage.options);
      return stage.get(A);
    },
  },
];
