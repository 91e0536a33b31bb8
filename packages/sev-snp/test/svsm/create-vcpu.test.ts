/** CREATE_VCPU of several VMSAs: which of them are made, by the assumptions about it. */
import { expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import type { Assumptions } from '../../src/formats/assumptions.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { writeVmsa } from '../../src/formats/vmsa.ts';
import { call, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf, MiB, spaOf } from '../support/world.ts';

const MADE = SvsmResult.Success;
const REFUSED = SvsmResult.InvalidParameter;

/** The results of a guest at VMPL2 that makes VMSAs, each of a level and an APIC id, in its order. */
function resultsOf(assumptions: Partial<Assumptions>, vmsas: readonly [vmpl: number, apicId: number][]) {
  const it = svsmWorld({}, { assumptions });
  return vmsas.map(([vmpl, apicId], k) => {
    const vmsa = 6 * MiB + 0x2000 * k;
    const image = createVmsa();
    writeVmsa(image, 'vmpl', BigInt(vmpl));
    it.guestCpu.write(gvaOf(vmsa), image);
    const [rcx, rdx, r8] = [BigInt(vmsa), BigInt(vmsa + 0x1000), BigInt(apicId)];
    const result = call(it, SvsmCall.CreateVcpu, { rcx, rdx, r8 });
    expect(it.machine.rmp.entry(spaOf(it, vmsa))!.vmsa).toBe(result === MADE);
    return result;
  });
}

// SVSM call 2
test.each<[Assumptions['svsmVmsaLevels'], number[]]>([
  ['own-and-lower', [REFUSED, REFUSED, MADE, MADE, REFUSED]],
  ['own', [REFUSED, REFUSED, MADE, REFUSED, REFUSED]],
])('a guest at VMPL2 makes VMSAs of the levels that the assumption %s permits', (svsmVmsaLevels, results) => {
  const vmsas = [0, 1, 2, 3, 4].map((vmpl): [number, number] => [vmpl, vmpl]);
  expect(resultsOf({ svsmVmsaLevels }, vmsas)).toEqual(results);
});

// SVSM call 2
test.each<[Assumptions['svsmSecondVmsa'], number]>([
  ['accepted', MADE],
  ['refused', REFUSED],
])(
  'a second VMSA of an APIC id and a level is %s by the assumption, and others are made',
  (svsmSecondVmsa, second) => {
    const results = resultsOf({ svsmSecondVmsa }, [
      [2, 1],
      [2, 1],
      [3, 1],
      [2, 5],
      [3, 5],
      [3, 1],
      [2, 0xffff_ffff],
    ]);
    expect(results).toEqual([MADE, second, MADE, MADE, MADE, second, REFUSED]);
  },
);
