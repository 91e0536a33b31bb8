import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import {
  callSvsm,
  createVmsa,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  pvalidateBySvsm,
  SvsmCall,
  type SvsmCore,
  SvsmResult,
  type Vcpu,
  Vmpl,
  VmplPermission,
} from '@svsm/sev-snp';
import type { Scenario } from '../scenario.ts';
import { A, B, gvaOf, MAP, type Stage } from '../stage.ts';

/** The calling area of the second processor. */
const SECOND_AREA = physAddr(B + 0x1000n);

const entry = (gpa: PhysAddr, validate: boolean, ignoreUnchanged = false) => ({
  gpa,
  size: 0,
  validate,
  ignoreUnchanged,
  reserved: 0,
});

/** The name of a result, or its number. */
function resultName(rax: bigint): string {
  const found = Object.entries(SvsmResult).find(([, result]) => BigInt(result) === rax);
  return found?.[0] ?? `0x${rax.toString(16)}`;
}

/** A second processor of the OS, with a call that is pending: it asks for one page to be validated again, and cleared. */
function secondProcessor(stage: Stage, svsm: SvsmCore, os: Vcpu): Vcpu {
  const second = stage.processor({ vmpl: Vmpl.Vmpl2 });
  second.loadCr3(os.cr3);
  svsm.register(second, SECOND_AREA);
  const area = gvaOf(SECOND_AREA);
  const list = [encodeSvsmListHeader({ count: 1, next: 0 }), encodeSvsmListEntry(entry(A, true, true))];
  second.write(area, Uint8Array.from([1, 0, 0, 0, 0, 0, 0, 0, ...list.flatMap((part) => [...part])]));
  Object.assign(second.registers, { rax: BigInt(SvsmCall.Pvalidate), rcx: SECOND_AREA + 8n });
  return second;
}

/** Makes the next access of the SVSM to a page exit: the hypervisor unmaps the page, and maps it again after `meanwhile`. */
function atExit(stage: Stage, gpa: PhysAddr, meanwhile: () => void): void {
  const { host, guest } = stage;
  const { spa } = guest.nested.lookup(gpa)!;
  const handle = host.handleNestedPageFault.bind(host);
  guest.nested.unmap(gpa);
  stage.flushTlbs();
  host.handleNestedPageFault = (context, at, exitInfo1) => {
    if (guest.nested.lookup(gpa) !== undefined || at - (at % BigInt(PAGE_SIZE)) !== gpa) {
      return handle(context, at, exitInfo1);
    }
    stage.tell('the SVSM exits, and the hypervisor enters it for another call');
    meanwhile();
    guest.nested.map(gpa, spa, PAGE_SIZE);
    return true;
  };
}

/** Attacks on an SVSM that serves several processors and several levels. */
export const SVSM_PROCESSORS: readonly Scenario[] = [
  {
    id: 'A14',
    name: 'vmsa-while-read',
    attack: 'has a VMSA’s page opened while the SVSM checks it',
    stoppedBy: 'SVSM claims',
    guestSees: 'Busy',
    play: (stage) => {
      const { state, svsm, os, area } = stage.withSvsm();
      const second = secondProcessor(stage, svsm, os);
      const sibling = stage.processor();
      sibling.loadCr3(stage.vcpu.cr3);
      os.write(gvaOf(A), createVmsa({ vmpl: Vmpl.Vmpl2 }));
      atExit(stage, A, () => state.on(sibling, MAP).enter(second));
      callSvsm(os, area, { rax: BigInt(SvsmCall.CreateVcpu), rcx: A, rdx: B });
      const guestSees = resultName(second.registers.rax);
      return guestSees === 'Busy' ? { stoppedBy: 'SVSM claims', guestSees } : 'a VMSA that it can write';
    },
  },
  {
    id: 'A14',
    name: 'page-of-other-level',
    attack: 'an OS at VMPL2 asks for a page of VMPL1',
    stoppedBy: 'SVSM',
    guestSees: 'InvalidAddress',
    play: (stage) => {
      const { os, area } = stage.withSvsm();
      stage.vcpu.rmpadjust(gvaOf(A), PAGE_SIZE, { vmpl: Vmpl.Vmpl2, permissions: VmplPermission.None });
      pvalidateBySvsm(os, area, [entry(A, true, true)]);
      return stage.get(A, os);
    },
  },
  {
    id: 'A14',
    name: 'rights-taken-meanwhile',
    attack: 'fails a call after VMPL1 took rights of VMPL2',
    stoppedBy: 'RMP vmpl',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      const { os, area } = stage.withSvsm();
      const vmpl1 = stage.processor({ vmpl: Vmpl.Vmpl1 });
      vmpl1.loadCr3(os.cr3);
      stage.onEvent = ({ type }) => {
        if (type !== 'rmpadjust') return;
        stage.onEvent = undefined;
        vmpl1.rmpadjust(gvaOf(A), PAGE_SIZE, { vmpl: Vmpl.Vmpl2, permissions: VmplPermission.None });
      };
      stage.tell(
        'the page has text: the SVSM refuses it as a VMSA, and gives back the rights that it has taken',
      );
      callSvsm(os, area, { rax: BigInt(SvsmCall.CreateVcpu), rcx: A, rdx: B });
      return stage.get(A, os);
    },
  },
  {
    id: 'A14',
    name: 'rescind-calling-area',
    attack: 'an OS asks to rescind its calling area',
    stoppedBy: 'SVSM',
    guestSees: 'InvalidAddress',
    play: (stage) => {
      const { os, area } = stage.withSvsm();
      pvalidateBySvsm(os, area, [entry(area.gpa, false)]);
      return 'an SVSM that cannot answer';
    },
  },
  {
    id: 'A15',
    name: 'enter-twice',
    attack: 'enters the SVSM again in the middle of a call',
    stoppedBy: 'record of the caller',
    guestSees: 'Success',
    play: (stage) => {
      const { state, os, area } = stage.withSvsm();
      const sibling = stage.processor();
      sibling.loadCr3(stage.vcpu.cr3);
      let isServed = false;
      atExit(stage, A, () => {
        isServed = state.on(sibling, MAP).enter(os);
      });
      os.write(gvaOf(B), Uint8Array.of(1));
      pvalidateBySvsm(os, area, [entry(A, false)]);
      return isServed ? 'a call served twice' : { stoppedBy: 'record of the caller', guestSees: 'Success' };
    },
  },
];
