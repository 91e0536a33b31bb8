import { PageSize, type PhysAddr } from '@svsm/address';
import {
  callSvsm,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  PageOperation,
  pvalidateBySvsm,
  requestGhcbMsr,
  requestPageState,
  SvsmCall,
  SvsmResult,
  type Vmpl,
  VmplPermission,
} from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, B, gvaOf, OWN, type Stage } from '../stage.ts';

const entry = (gpa: PhysAddr, validate: boolean) => ({
  gpa,
  size: 0,
  validate,
  ignoreUnchanged: false,
  reserved: 0,
});

/** The name of a result, or its number. */
function resultName(rax: bigint): string {
  const found = Object.entries(SvsmResult).find(([, result]) => BigInt(result) === rax);
  return found?.[0] ?? `0x${rax.toString(16)}`;
}

/** Asks the SVSM to make the page at `vmsa` a VMSA. Returns the name of the result. */
function createVcpu(stage: Stage, vmsa: PhysAddr, caa: PhysAddr): string {
  const { os, area } = stage.withSvsm();
  const { rax } = callSvsm(os, area, { rax: BigInt(SvsmCall.CreateVcpu), rcx: vmsa, rdx: caa });
  return resultName(rax);
}

/** Attacks on an SVSM, or by the operating system below it. */
export const SVSM: readonly Scenario[] = [
  {
    id: 'A13',
    name: 'svsm-page-to-os',
    attack: 'gives a page of the SVSM to the OS',
    stoppedBy: 'clearing',
    guestSees: 'nothing',
    duty: 'clear after validating (SVSM)',
    otherwise: 'SVSM key',
    options: (careful) => ({ clears: careful }),
    play: (stage) => {
      stage.put(OWN, 'SVSM key');
      const { os, osTable, area } = stage.withSvsm();
      stage.tell('the OS gives up a page');
      pvalidateBySvsm(os, area, [entry(A, false)]);
      requestPageState(os, A, PageOperation.Shared);
      stage.tell('the hypervisor gives it the SVSM’s page');
      stage.host.move(stage.guest, OWN, A);
      stage.tell('the OS takes its page back');
      osTable.split4k(gvaOf(A));
      pvalidateBySvsm(stage.flushTlbs() && os, area, [entry(A, true)]);
      const found = stage.get(A, os);
      return found === 'nothing' ? { stoppedBy: 'clearing', guestSees: found } : found;
    },
  },
  {
    id: 'A13',
    name: 'svsm-page-after',
    attack: 'the same; then the SVSM reads its page',
    stoppedBy: 'RMP reverse-map',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      stage.withSvsm();
      stage.host.move(stage.guest, OWN, A);
      return stage.flushTlbs().get(OWN);
    },
  },
  {
    id: 'A14',
    name: 'validate-svsm-memory',
    attack: 'an OS asks to validate a page of the SVSM',
    stoppedBy: 'SVSM',
    guestSees: 'InvalidAddress',
    play: (stage) => {
      const { os, area } = stage.withSvsm();
      pvalidateBySvsm(os, area, [entry(OWN, true)]);
      return 'access to the SVSM';
    },
  },
  {
    id: 'A14',
    name: 'vmsa-in-svsm-memory',
    attack: 'an OS asks for a VMSA in a page of the SVSM',
    stoppedBy: 'SVSM',
    guestSees: 'InvalidAddress',
    play: (stage) => {
      const guestSees = createVcpu(stage, OWN, B);
      return guestSees === 'Success' ? 'a VMSA' : { stoppedBy: 'SVSM', guestSees };
    },
  },
  {
    id: 'A14',
    name: 'vmsa-of-nothing',
    attack: 'an OS asks for a VMSA in a page of text',
    stoppedBy: 'SVSM',
    guestSees: 'InvalidParameter',
    play: (stage) => {
      const guestSees = createVcpu(stage, A, B);
      return guestSees === 'Success' ? 'a VMSA' : { stoppedBy: 'SVSM', guestSees };
    },
  },
  {
    id: 'A14',
    name: 'write-to-svsm',
    attack: 'an OS writes to a page of the SVSM',
    stoppedBy: 'RMP vmpl',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      const { os } = stage.withSvsm();
      stage.put(OWN, 'surrender', os);
      return stage.get(OWN);
    },
  },
  {
    id: 'A9',
    name: 'stale-permission',
    attack: 'an OS writes to a page that was taken from it',
    stoppedBy: 'RMP vmpl',
    guestSees: '#NPF, stopped',
    duty: 'INVLPGB after RMPADJUST',
    otherwise: 'surrender',
    play: (stage, careful) => {
      const { os } = stage.withSvsm();
      stage.put(B, 'retreat', os);
      stage.tell('the SVSM revokes the rights of VMPL1 and VMPL2');
      for (const vmpl of [1, 2]) {
        stage.vcpu.rmpadjust(gvaOf(B), PageSize.Regular, { vmpl, permissions: VmplPermission.None });
      }
      if (careful) stage.vcpu.invlpgb();
      stage.put(B, 'surrender', os);
      return stage.get(B);
    },
  },
  {
    id: 'A14',
    name: 'grant-itself',
    attack: 'an OS grants itself rights by RMPADJUST',
    stoppedBy: 'RMPADJUST levels',
    guestSees: 'FAIL_PERMISSION',
    play: (stage) => {
      const { os } = stage.withSvsm();
      const adjustment = { vmpl: os.vmpl as Vmpl, permissions: VmplPermission.All };
      const result = os.rmpadjust(gvaOf(B), PageSize.Regular, adjustment);
      return result === 2 ? { stoppedBy: 'RMPADJUST levels', guestSees: 'FAIL_PERMISSION' } : 'all rights';
    },
  },
  {
    id: 'A15',
    name: 'withhold-svsm',
    attack: 'claims that the SVSM has run',
    stoppedBy: 'CALL_PENDING',
    guestSees: 'SVSM_NOT_RUN',
    duty: 'exchange CALL_PENDING',
    otherwise: 'taken for validated',
    play: (stage, careful) => {
      const { os, area } = stage.withSvsm();
      stage.host.answers.withhold = true;
      if (careful) pvalidateBySvsm(os, area, [entry(A, true)]);
      else {
        stage.tell('the guest checks the answer, but not CALL_PENDING');
        os.write(area.gva, Uint8Array.of(1));
        requestGhcbMsr(os, { type: 'run-vmpl-request', vmpl: 0 }, 'run-vmpl');
      }
      return 'taken for validated';
    },
  },
  {
    id: 'A15',
    name: 'enter-svsm',
    attack: 'enters the SVSM without a call',
    stoppedBy: 'CALL_PENDING',
    guestSees: 'nothing',
    play: (stage) => {
      const { os } = stage.withSvsm();
      os.registers.rax = BigInt(SvsmCall.QueryProtocol);
      os.registers.rcx = 1n;
      stage.host.enter(stage.guest, 0, os);
      return os.registers.rcx === 1n
        ? { stoppedBy: 'CALL_PENDING', guestSees: 'nothing' }
        : 'a call that nobody made';
    },
  },
  {
    id: 'A15',
    name: 'late-call',
    attack: 'runs a call that the guest has given up',
    stoppedBy: 'CALL_PENDING',
    guestSees: 'its own text',
    duty: 'withdraw a call that failed',
    otherwise: 'nothing',
    play: (stage, careful) => {
      const { os, area } = stage.withSvsm();
      const clearing = { ...entry(A, true), ignoreUnchanged: true };
      stage.host.answers.msr = () => 0x666n;
      try {
        pvalidateBySvsm(os, area, [clearing]);
      } catch {
        stage.tell('the guest gives up the call and continues to use the page');
      }
      if (!careful) os.write(area.gva, Uint8Array.of(1));
      stage.host.answers = {};
      stage.host.enter(stage.guest, 0, os);
      const found = stage.get(A, os);
      return found === 'attack at dawn' ? { stoppedBy: 'CALL_PENDING', guestSees: 'its own text' } : found;
    },
  },
  {
    id: 'A15',
    name: 'run-while-withdrawn',
    attack: 'runs a call just before the guest withdraws it',
    stoppedBy: 'CALL_PENDING',
    guestSees: 'Success',
    duty: 'withdraw a call by an exchange',
    otherwise: 'nothing',
    play: (stage, careful) => {
      const { os, area } = stage.withSvsm();
      const clearing = { ...entry(A, true), ignoreUnchanged: true };
      const runLate = (): void => {
        stage.host.answers = {};
        stage.tell('the hypervisor runs the call late');
        stage.host.enter(stage.guest, 0, os);
      };
      stage.host.answers.withhold = true;
      if (careful) {
        beforeNextAccess(stage, area.gpa, runLate);
        pvalidateBySvsm(os, area, [clearing]);
        return { stoppedBy: 'CALL_PENDING', guestSees: 'Success' };
      }
      const list = [encodeSvsmListHeader({ count: 1, next: 0 }), encodeSvsmListEntry(clearing)];
      os.write(area.gva, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0, ...list.flatMap((part) => [...part])]));
      Object.assign(os.registers, { rax: BigInt(SvsmCall.Pvalidate), rcx: area.gpa + 8n });
      requestGhcbMsr(os, { type: 'run-vmpl-request', vmpl: 0 }, 'run-vmpl');
      const isPending = os.read(area.gva, 1)[0] !== 0;
      runLate();
      os.write(area.gva, Uint8Array.of(0));
      if (isPending) stage.tell('the guest thinks that the call has not run, and continues to use the page');
      return stage.get(A, os);
    },
  },
];

/** Makes the first access to a page after the next VMGEXIT exit, and runs `act` there. */
function beforeNextAccess({ host, guest }: Stage, gpa: PhysAddr, act: () => void): void {
  const { spa } = guest.nested.lookup(gpa)!;
  host.answers.msr = () => {
    host.answers.msr = undefined;
    host.splitPage(guest, gpa);
    guest.nested.unmap(gpa);
    host.flushTlbs(guest);
    host.answers.fault = () => {
      guest.nested.map(gpa, spa, PageSize.Regular);
      act();
      return true;
    };
    return undefined;
  };
}
