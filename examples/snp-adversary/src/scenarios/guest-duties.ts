import { PageSize } from '@svsm/address';
import {
  acceptPage,
  isSnpFault,
  makePagePrivate,
  makePageShared,
  PageOperation,
  pageRegion,
  releasePage,
  requestPageState,
} from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, B, gvaOf, type Stage } from '../stage.ts';

/** Two pages are validated at A. The guest writes to one of them, and the hypervisor maps the other. */
function switchBetween(stage: Stage, old: ReturnType<Stage['spaOf']>): string {
  stage.put(A, 'attack at noon');
  stage.host.remap(stage.guest, A, old);
  return stage.flushTlbs().get(A);
}

/** Attacks that hardware does not stop: the guest's software must do its duty. */
export const GUEST_DUTIES: readonly Scenario[] = [
  {
    id: 'A4',
    name: 'validate-twice',
    attack: 'presents another page as new memory',
    stoppedBy: 'record',
    guestSees: 'ALREADY_VALIDATED',
    duty: 'record the validated pages',
    otherwise: 'attack at dawn',
    play: (stage, careful) => {
      const old = stage.spaOf(A);
      stage.host.substitute(stage.guest, A);
      stage.flushTlbs();
      acceptPage(stage.vcpu, stage.table, gvaOf(A), careful ? stage.options : {});
      return switchBetween(stage, old);
    },
  },
  {
    id: 'A4',
    name: 'fix-not-validated',
    attack: 'maps another page, for a guest that “fixes” #VC',
    stoppedBy: 'record',
    guestSees: 'ALREADY_VALIDATED',
    duty: 'never answer #VC by PVALIDATE',
    otherwise: 'attack at dawn',
    play: (stage, careful) => {
      const old = stage.spaOf(A);
      stage.host.substitute(stage.guest, A);
      try {
        stage.flushTlbs().get(A);
      } catch (fault) {
        if (!isSnpFault(fault, 'VC_NOT_VALIDATED')) throw fault;
        stage.tell('the guest’s #VC handler validates the page');
        if (careful) stage.validated.requireNone(pageRegion(A, PageSize.Regular));
        stage.vcpu.pvalidate(gvaOf(A), PageSize.Regular, true);
      }
      return switchBetween(stage, old);
    },
  },
  {
    id: 'A4',
    name: 'rescind-elsewhere',
    attack: 'maps another page while the guest rescinds',
    stoppedBy: 'PVALIDATE carry',
    guestSees: 'PVALIDATE_UNCHANGED',
    duty: 'check the carry flag',
    otherwise: 'attack at dawn',
    play: (stage, careful) => {
      const old = stage.spaOf(A);
      stage.host.substitute(stage.guest, A);
      stage.flushTlbs();
      if (careful) releasePage(stage.vcpu, stage.table, gvaOf(A), stage.options);
      else {
        stage.tell('the guest rescinds the wrong page, and does not notice');
        stage.vcpu.pvalidate(gvaOf(A), PageSize.Regular, false);
        stage.validated.remove(pageRegion(A, PageSize.Regular));
      }
      acceptPage(stage.vcpu, stage.table, gvaOf(A), stage.options);
      return switchBetween(stage, old);
    },
  },
  {
    id: 'A4',
    name: 'error-again',
    attack: 'fails a PVALIDATE with the error of an earlier one',
    stoppedBy: 'record',
    guestSees: 'ALREADY_VALIDATED',
    duty: 'never judge by the error',
    otherwise: 'attack at dawn',
    play: (stage, careful) => {
      const old = stage.spaOf(A);
      const again = new Error('the same');
      const rescind = (gpa: typeof A): unknown => {
        try {
          releasePage(stage.vcpu, stage.table, gvaOf(gpa), stage.options);
          return undefined;
        } catch (error) {
          return error;
        }
      };
      stage.onEvent = ({ type }) => {
        if (type === 'pvalidate') throw again;
      };
      const after = rescind(B);
      stage.onEvent = undefined;
      stage.host.substitute(stage.guest, A);
      stage.host.hide(stage.guest, A);
      stage.flushTlbs();
      stage.host.answers.fault = () => {
        throw again;
      };
      if (rescind(A) === after && !careful) {
        stage.tell('the guest knows the error: last time, the page had changed');
        stage.validated.remove(pageRegion(A, PageSize.Regular));
      }
      stage.host.answers = {};
      stage.host.remap(stage.guest, A, stage.host.allocatePage());
      acceptPage(stage.vcpu, stage.table, gvaOf(A), stage.options);
      return switchBetween(stage, old);
    },
  },
  {
    id: 'A4',
    name: 'share-without-rescind',
    attack: 'keeps a page that the guest shares',
    stoppedBy: 'RMP validated',
    guestSees: '#VC 0x404',
    duty: 'rescind before sharing',
    otherwise: 'attack at dawn',
    play: (stage, careful) => {
      const old = stage.spaOf(A);
      stage.host.answers.pageState = () => 0;
      if (careful) releasePage(stage.vcpu, stage.table, gvaOf(A), stage.options);
      else {
        requestPageState(stage.vcpu, A, PageOperation.Shared);
        stage.validated.remove(pageRegion(A, PageSize.Regular));
      }
      stage.host.answers = {};
      stage.host.substitute(stage.guest, A);
      stage.flushTlbs();
      acceptPage(stage.vcpu, stage.table, gvaOf(A), stage.options);
      return switchBetween(stage, old);
    },
  },
  {
    id: 'A6',
    name: 'old-content',
    attack: 'puts old ciphertext into a page before it is accepted',
    stoppedBy: 'clearing',
    guestSees: 'nothing',
    duty: 'clear after validating',
    otherwise: 'attack at dawn',
    options: (careful) => ({ clears: careful }),
    play: (stage) => {
      const old = stage.host.capture(stage.spaOf(A));
      stage.put(A, 'attack at noon');
      makePageShared(stage.vcpu, stage.table, gvaOf(A), stage.options);
      stage.host.write(stage.spaOf(A), old);
      makePagePrivate(stage.vcpu, stage.table, gvaOf(A), stage.options);
      const found = stage.get(A);
      return found === 'nothing' ? { stoppedBy: 'clearing', guestSees: found } : found;
    },
  },
  {
    id: 'A9',
    name: 'stale-shared',
    attack: 'reads a page that a stale translation shares',
    stoppedBy: 'RMP guest-owned',
    guestSees: '#NPF, stopped',
    duty: 'flush after changing a C-bit',
    otherwise: 'the secret',
    play: (stage, careful) => {
      const page = stage.share('public');
      stage.table.setEncrypted4k(gvaOf(page));
      stage.tell(careful ? 'the guest flushes the page' : 'the guest forgets to flush the page');
      if (careful) stage.vcpu.invlpg(gvaOf(page));
      stage.put(page, 'the secret');
      return stage.hostGets(page);
    },
  },
  {
    id: 'A9',
    name: 'stale-on-other-cpu',
    attack: 'the same, with the translation on another processor',
    stoppedBy: 'RMP guest-owned',
    guestSees: '#NPF, stopped',
    duty: 'flush on every processor',
    otherwise: 'the secret',
    play: (stage, careful) => {
      const page = stage.share('public');
      const other = stage.processor();
      other.loadCr3(stage.table.cr3);
      stage.get(page, other);
      stage.table.setEncrypted4k(gvaOf(page));
      stage.vcpu.invlpg(gvaOf(page));
      if (careful) stage.vcpu.invlpgb();
      stage.put(page, 'the secret', other);
      return stage.hostGets(page);
    },
  },
  {
    id: 'A22',
    name: 'secret-in-shared',
    attack: 'reads the text in a shared page',
    stoppedBy: 'private page',
    guestSees: 'its own text',
    duty: 'secrets in private pages only',
    otherwise: 'the secret',
    play: (stage, careful) => {
      const page = careful ? A : stage.share('public');
      stage.put(page, 'the secret');
      const found = stage.hostGets(page);
      if (found !== 'noise') return found;
      return {
        stoppedBy: 'private page',
        guestSees: stage.get(page) === 'the secret' ? 'its own text' : found,
      };
    },
  },
];
