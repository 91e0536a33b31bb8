import { type PhysAddr, physAddr } from '@svsm/address';
import {
  createVmsa,
  failedVmrunCheck,
  isSnpFault,
  LaunchDigest,
  type LaunchPage,
  LaunchPageType,
  makeVmsa,
  RmpResult,
  webCryptoSha384,
} from '@svsm/sev-snp';
import type { Ending, Scenario } from '../scenario.ts';
import { A, B, bytesOf, gvaOf, type Stage } from '../stage.ts';

/** Executes VMRUN with the page at `gpa` as VMSA. Hardware reports only that it fails; the RMP tells by which check. */
export function vmrun(stage: Stage, gpa: PhysAddr): Ending | string {
  const { guest, host, machine } = stage;
  const place = { spa: stage.spaOf(gpa), gpa };
  try {
    guest.vmrun({ ...place, vmcb: host.allocatePage() });
    return 'a processor';
  } catch (fault) {
    if (!isSnpFault(fault, 'VMRUN')) throw fault;
    stage.tell(fault.message);
    const check = failedVmrunCheck(machine.rmp, 'vmsa', { ...place, asid: guest.asid });
    return { stoppedBy: `VMRUN ${check ?? 'busy'}`, guestSees: 'never runs' };
  }
}

/** Makes the page at `gpa` a VMSA that can run at VMPL1. Returns `gpa`. */
export function vmsaAt(stage: Stage, gpa: PhysAddr): PhysAddr {
  makeVmsa(stage.vcpu, gvaOf(gpa), createVmsa({ vmpl: 1 }));
  return gpa;
}

/**
 * Launches with pages that the hypervisor changes, and compares the digest with the one that the owner expects. The pages
 * are one with content, one of zeros, and `more`.
 */
export async function launched(
  change: (pages: LaunchPage[]) => readonly LaunchPage[],
  more: readonly LaunchPage[] = [],
): Promise<Ending | string> {
  const pages: LaunchPage[] = [
    {
      type: LaunchPageType.Normal,
      gpa: physAddr(0),
      bytes: Uint8Array.from({ length: 4096 }, (_, i) => i & 0xff),
    },
    { type: LaunchPageType.Zero, gpa: physAddr(0x1000) },
    ...more,
  ];
  const digestOf = async (list: readonly LaunchPage[]): Promise<string> => {
    const digest = new LaunchDigest(webCryptoSha384(crypto.subtle));
    for (const page of list) await digest.update(page);
    return Buffer.from(digest.value).toString('hex');
  };
  const [expected, got] = [await digestOf(pages), await digestOf(change([...pages]))];
  return expected === got ? 'an attested guest' : { stoppedBy: 'launch digest', guestSees: 'not attested' };
}

/** Attacks that the firmware or the checks of VMRUN stop. */
export const FIRMWARE: readonly Scenario[] = [
  {
    id: 'A16',
    name: 'own-vmsa',
    attack: 'runs a VMSA that it has written',
    stoppedBy: 'VMRUN guest-owned',
    guestSees: 'never runs',
    play: (stage) => {
      const page = stage.host.allocatePage();
      stage.host.write(page, bytesOf('a VMSA'));
      stage.host.remap(stage.guest, A, page);
      return vmrun(stage, A);
    },
  },
  {
    id: 'A16',
    name: 'data-as-vmsa',
    attack: 'runs a page of data as a VMSA',
    stoppedBy: 'VMRUN vmsa',
    guestSees: 'never runs',
    play: (stage) => vmrun(stage, A),
  },
  {
    id: 'A16',
    name: 'vmsa-twice',
    attack: 'runs a VMSA on two processors',
    stoppedBy: 'VMRUN busy',
    guestSees: 'never runs',
    play: (stage) => {
      const first = vmrun(stage, vmsaAt(stage, A));
      return first === 'a processor' ? vmrun(stage, A) : 'nothing runs';
    },
  },
  {
    id: 'A16',
    name: 'vmsa-elsewhere',
    attack: 'runs a VMSA at another address',
    stoppedBy: 'VMRUN reverse-map',
    guestSees: 'never runs',
    play: (stage) => {
      stage.host.remap(stage.guest, B, stage.spaOf(vmsaAt(stage, A)));
      return vmrun(stage, B);
    },
  },
  {
    id: 'A16',
    name: 'old-vmsa',
    attack: 'runs a VMSA with old content',
    stoppedBy: 'VMRUN vmsa',
    guestSees: 'never runs',
    play: (stage) => {
      vmsaAt(stage, A);
      stage.host.replay(stage.guest, A, stage.host.capture(stage.spaOf(A)));
      return vmrun(stage, A);
    },
  },
  ...(
    [
      ['contents', 'launches with other contents', ([a, b]) => [{ ...a!, bytes: new Uint8Array(4096) }, b!]],
      ['address', 'launches with another address', ([a, b]) => [a!, { ...b!, gpa: physAddr(0x2000) }]],
      [
        'type',
        'launches with another page type',
        ([a, b]) => [a!, { ...b!, type: LaunchPageType.Unmeasured }],
      ],
      ['order', 'launches with another order of pages', ([a, b]) => [b!, a!]],
    ] satisfies [string, string, (pages: LaunchPage[]) => readonly LaunchPage[]][]
  ).map(
    ([name, attack, change]): Scenario => ({
      id: 'A18',
      name: `launch-${name}`,
      attack,
      stoppedBy: 'launch digest',
      guestSees: 'not attested',
      play: () => launched(change),
    }),
  ),
  {
    id: 'A19',
    name: 'page-in-use',
    attack: 'takes the VMSA page of a running processor',
    stoppedBy: 'RMPUPDATE in use',
    guestSees: 'nothing',
    play: (stage) => {
      vmrun(stage, vmsaAt(stage, A));
      const result = stage.host.unassign(stage.guest, A);
      if (result !== RmpResult.FAIL_INUSE) return stage.get(A);
      return { stoppedBy: 'RMPUPDATE in use', guestSees: 'nothing' };
    },
  },
];
