import { PageSize } from '@svsm/address';
import {
  createVmsa,
  Ghcb,
  GhcbExit,
  makePageShared,
  makeVmsa,
  PageOperation,
  requestGhcbMsr,
  requestPageStates,
} from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, gvaOf } from '../stage.ts';

/** Pages that a processor uses, and software of the guest that would change their state. */
export const PAGES_IN_USE: readonly Scenario[] = [
  {
    id: 'A35',
    name: 'ghcb-of-other-cpu',
    attack: 'takes the GHCB of another processor, as asked',
    stoppedBy: 'pages in use',
    guestSees: 'PAGE_IN_USE',
    duty: 'note the pages in use',
    otherwise: 'a GHCB of its own',
    play: (stage, careful) => {
      const other = stage.processor();
      other.loadCr3(stage.table.cr3);
      const theirs = Ghcb.create(other, stage.table, gvaOf(A), stage.options);
      const operation = PageOperation.Private;
      const entry = { gpa: A, operation, pageSize: PageSize.Regular, donePages: 0, reserved: 0 } as const;
      stage.tell('a processor asks for its list of pages, in which the GHCB of another one is');
      if (careful) requestPageStates(stage.ghcb(), [entry]);
      else requestGhcbMsr(stage.vcpu, { type: 'page-state-request', gpa: A, operation }, 'page-state');
      try {
        theirs.vmgexit({ exitCode: GhcbExit.HypervisorFeatures });
        return 'its answer';
      } catch {
        return 'a GHCB of its own';
      }
    },
  },
  {
    id: 'A35',
    name: 'vmsa-given-up',
    attack: 'runs a VMSA whose page the guest gives up',
    stoppedBy: 'pages in use',
    guestSees: 'PAGE_IN_USE',
    duty: 'note the pages in use',
    otherwise: 'an old processor',
    play: (stage, careful) => {
      makeVmsa(stage.vcpu, gvaOf(A), createVmsa({ control: { cr3: stage.vcpu.cr3 } }));
      const vmsa = { spa: stage.spaOf(A), gpa: A, vmcb: stage.host.allocatePage() };
      if (careful) makePageShared(stage.vcpu, stage.table, gvaOf(A), stage.options);
      else {
        stage.tell('the guest rescinds the page, which keeps its VMSA bit');
        stage.vcpu.pvalidate(gvaOf(A), PageSize.Regular, false);
      }
      stage.guest.vmrun(vmsa);
      return 'an old processor';
    },
  },
];
