import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import {
  failedVmrunCheck,
  LaunchDigest,
  type LaunchPage,
  LaunchPageType,
  RmpResult,
  VmplPermission,
  webCryptoSha384,
} from '@svsm/sev-snp';
import type { Ending, Scenario } from '../scenario.ts';
import { A, B, bytesOf, gvaOf, type Stage } from '../stage.ts';

/** What VMRUN makes of a page as a VMSA. */
function vmrun(stage: Stage, gpa: PhysAddr): Ending | string {
  const check = failedVmrunCheck(stage.machine.rmp, 'vmsa', {
    spa: stage.spaOf(gpa),
    gpa,
    asid: stage.guest.asid,
  });
  return check === undefined ? 'a processor' : { stoppedBy: `VMRUN ${check}`, guestSees: 'never runs' };
}

/** Whether a launch in which the hypervisor changed something gives the digest that the owner expects. */
async function launched(change: (pages: LaunchPage[]) => readonly LaunchPage[]): Promise<Ending | string> {
  const pages: LaunchPage[] = [
    {
      type: LaunchPageType.Normal,
      gpa: physAddr(0),
      bytes: Uint8Array.from({ length: 4096 }, (_, i) => i & 0xff),
    },
    { type: LaunchPageType.Zero, gpa: physAddr(0x1000) },
  ];
  const digestOf = async (list: readonly LaunchPage[]): Promise<string> => {
    const digest = new LaunchDigest(webCryptoSha384(crypto.subtle));
    for (const page of list) await digest.update(page);
    return Buffer.from(digest.value).toString('hex');
  };
  const [expected, got] = [await digestOf(pages), await digestOf(change([...pages]))];
  return expected === got ? 'an attested guest' : { stoppedBy: 'launch digest', guestSees: 'not attested' };
}

/** What the firmware, and VMRUN, guard. */
export const FIRMWARE: readonly Scenario[] = [
  {
    ...{ id: 'A16', name: 'own-vmsa', attack: 'runs a VMSA that it has written' },
    ...{ stoppedBy: 'VMRUN guest-owned', guestSees: 'never runs' },
    play: (stage) => {
      const page = stage.host.allocatePage();
      stage.host.write(page, bytesOf('a VMSA'));
      stage.host.remap(stage.guest, A, page);
      return vmrun(stage, A);
    },
  },
  {
    ...{ id: 'A16', name: 'data-as-vmsa', attack: 'runs a page of data as a VMSA' },
    ...{ stoppedBy: 'VMRUN vmsa', guestSees: 'never runs' },
    play: (stage) => vmrun(stage, A),
  },
  {
    ...{ id: 'A16', name: 'vmsa-elsewhere', attack: 'runs a VMSA at another address' },
    ...{ stoppedBy: 'VMRUN reverse-map', guestSees: 'never runs' },
    play: (stage) => {
      const adjustment = { vmpl: 1, permissions: VmplPermission.None, vmsa: true };
      stage.vcpu.rmpadjust(gvaOf(A), PageSize.Regular, adjustment);
      stage.host.remap(stage.guest, B, stage.spaOf(A));
      return vmrun(stage, B);
    },
  },
  {
    ...{ id: 'A16', name: 'old-vmsa', attack: 'runs a VMSA with old content' },
    ...{ stoppedBy: 'VMRUN vmsa', guestSees: 'never runs' },
    play: (stage) => {
      const adjustment = { vmpl: 1, permissions: VmplPermission.None, vmsa: true };
      stage.vcpu.rmpadjust(gvaOf(A), PageSize.Regular, adjustment);
      stage.host.replay(stage.guest, A, stage.host.capture(stage.spaOf(A)));
      return vmrun(stage, A);
    },
  },
  ...(
    [
      ['contents', 'other contents at launch', ([a, b]) => [{ ...a!, bytes: new Uint8Array(4096) }, b!]],
      ['address', 'another address at launch', ([a, b]) => [a!, { ...b!, gpa: physAddr(0x2000) }]],
      [
        'type',
        'another type of page at launch',
        ([a, b]) => [a!, { ...b!, type: LaunchPageType.Unmeasured }],
      ],
      ['order', 'another order at launch', ([a, b]) => [b!, a!]],
    ] satisfies [string, string, (pages: LaunchPage[]) => readonly LaunchPage[]][]
  ).map(
    ([name, attack, change]): Scenario => ({
      ...{ id: 'A18', name: `launch-${name}`, attack },
      ...{ stoppedBy: 'launch digest', guestSees: 'not attested' },
      play: () => launched(change),
    }),
  ),
  {
    ...{ id: 'A19', name: 'page-in-use', attack: 'takes a page that a processor runs on' },
    ...{ stoppedBy: 'RMPUPDATE in use', guestSees: 'nothing' },
    play: (stage) => {
      stage.machine.rmp.setInUse(stage.spaOf(A), true);
      const result = stage.host.unassign(stage.guest, A);
      if (result !== RmpResult.FAIL_INUSE) return stage.get(A);
      return { stoppedBy: 'RMPUPDATE in use', guestSees: 'nothing' };
    },
  },
];

/** Rows of the table of attacks that nothing here can show. */
export const NOT_MODELLED: readonly (readonly [id: string, why: string])[] = [
  ['A17', 'the roll-back of a swapped page: pages are not swapped'],
  ['A20', 'memory types: there are no caches, and all is coherent'],
  ['A21', 'stale cache lines: there are no caches'],
];
