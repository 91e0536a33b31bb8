/** A registered processor: its VMSA and its calling area have no other use, whatever pages are registered. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { D, OTHER_CAA, onSteps, stateOf, twoProcessors, V, W, X, Y } from '../support/svsm-steps.ts';
import { CAA, call, entryOf, pvalidateList, type SvsmWorld, writeList } from '../support/svsm-world.ts';
import { codeOf, MiB, spaOf, unresolvedFault } from '../support/world.ts';

const OWN = 0x1000;
const OUTSIDE = 64 * MiB;
const FREE = 6 * MiB + 0x9000;
const PAGES = [X, Y, W, D, V, FREE, CAA, OTHER_CAA, OWN, OUTSIDE, W + 8];
const VALID = [X, W, FREE];

/** The state without the content of pages: the calls below have lists. */
function recordsOf(it: SvsmWorld, vcpu: Vcpu): unknown {
  return { ...(stateOf(it, [vcpu]) as object), memory: undefined };
}

/** The results of all calls that name a page: it is the guest's to change or to use if one of them succeeds. */
function resultsOfCalls(it: SvsmWorld, gpa: number): number[] {
  const page = BigInt(gpa);
  const free = BigInt(FREE + PAGE_SIZE);
  const results = [true, false].flatMap((validate) =>
    [true, false].map(
      (ignoreUnchanged) => pvalidateList(it, [entryOf(gpa, { validate, ignoreUnchanged })])[0],
    ),
  );
  writeList(it, [entryOf(gpa, { validate: false })]);
  return [
    ...results,
    call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) }),
    call(it, SvsmCall.CreateVcpu, { rcx: page, rdx: free, r8: 9n }),
    call(it, SvsmCall.CreateVcpu, { rcx: free, rdx: page, r8: 9n }),
    call(it, SvsmCall.RemapCa, { rcx: page }),
  ];
}

// A14, S5, S12
test('a processor is registered with pages that nobody else can use from then on, or nothing changes', () => {
  const page = fc.oneof(fc.constantFrom(...VALID), fc.constantFrom(...PAGES));
  fc.assert(
    fc.property(
      page,
      fc.option(page, { nil: undefined }),
      fc.option(fc.nat(12), { nil: -1 }),
      (caa, vmsa, failing) => {
        const it = twoProcessors();
        const vcpu = it.guest.createVcpu({ vmpl: 2 });
        const before = stateOf(it, [vcpu]);
        let isFailing = true;
        let hasFailed = false;
        onSteps(it.vcpu, (step, name) => {
          // INVLPGB has no operand in memory: it does not fault.
          if (step !== failing || !isFailing || name === 'invlpgb') return undefined;
          hasFailed = true;
          return unresolvedFault();
        });
        const at = vmsa === undefined ? undefined : (BigInt(vmsa) as never);
        const code = codeOf(() => it.svsm.register(vcpu, BigInt(caa) as never, at));
        isFailing = false;
        const isCallingArea = [...VALID, Y].includes(caa);
        const isVmsa = vmsa === undefined || vmsa === OWN || (VALID.includes(vmsa) && vmsa !== caa);
        const isFit = isCallingArea && isVmsa;
        if (code !== undefined) {
          expect([code, isFit && !hasFailed]).toEqual(['INVALID_ARGUMENT', false]);
          expect(stateOf(it, [vcpu])).toEqual(before);
          return;
        }
        expect(isFit).toBe(true);
        expect(it.svsm.callingArea(vcpu)).toBe(BigInt(caa));
        const registered = recordsOf(it, vcpu);
        for (const used of vmsa === undefined ? [caa] : [caa, vmsa])
          expect(new Set(resultsOfCalls(it, used))).toEqual(new Set([SvsmResult.InvalidAddress]));
        expect(recordsOf(it, vcpu)).toEqual(registered);
        if (vmsa === undefined || vmsa === OWN) return;
        const { vmsa: isVmsaInRmp, vmplMasks } = it.machine.rmp.entry(spaOf(it, vmsa))!;
        expect([isVmsaInRmp, vmplMasks.slice(1)]).toEqual([true, [0, 0, 0]]);
        const other = it.guest.createVcpu({ vmpl: 2 });
        expect(codeOf(() => it.svsm.register(other, physAddr(FREE + PAGE_SIZE), at))).toBe(
          'INVALID_ARGUMENT',
        );
      },
    ),
    {
      examples: [
        [X, undefined, -1],
        [X, W, -1],
        [X, OWN, -1],
        [X, D, -1],
        [X, W, 8],
      ],
    },
  );
});
