/** Any call after any calls: a refusal changes nothing, and a page is rescinded exactly if it has no other use. */
import { physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { D, OTHER_CAA, stateOf, twoProcessors, V, W, X, Y } from '../support/svsm-steps.ts';
import { CAA, call, entryOf, type SvsmWorld, svsmWorld, writeList } from '../support/svsm-world.ts';
import { gvaOf, MiB, spaOf } from '../support/world.ts';

const V_CAA = V + 0x1000;
const FREE = 6 * MiB + 0x9000;
const PAGES = [X, Y, W, D, V, V_CAA, CAA, OTHER_CAA, FREE, 6 * MiB];

const page = fc.constantFrom(...PAGES);
const size = fc.constantFrom(0, 0, 1);
const request = fc.oneof(
  fc.record({
    id: fc.constantFrom(SvsmCall.Pvalidate, SvsmCall.Pvalidate, SvsmCall.DepositMem),
    rcx: page,
    size,
    validate: fc.boolean(),
    ignoreUnchanged: fc.boolean(),
  }),
  fc.record({ id: fc.constantFrom(SvsmCall.RemapCa, SvsmCall.DeleteVcpu, SvsmCall.WithdrawMem), rcx: page }),
  fc.record({ id: fc.constant(SvsmCall.CreateVcpu), rcx: page, rdx: page }),
);
type Call = Readonly<{
  id: number;
  rcx: number;
  rdx?: number;
  size?: number;
  validate?: boolean;
  ignoreUnchanged?: boolean;
}>;

/** A guest with a page of 2 MiB in its record, in which the RMP has pages of 4 KiB. */
function split(): SvsmWorld {
  const it = svsmWorld();
  it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
  return it;
}

/** Some that the law needs, whatever the seed is. */
const EXAMPLES: [boolean, Call[], Call][] = [
  [true, [], { id: SvsmCall.Pvalidate, rcx: 6 * MiB, size: 1, validate: false }],
  [true, [], { id: SvsmCall.DepositMem, rcx: 6 * MiB, size: 1 }],
  [false, [], { id: SvsmCall.RemapCa, rcx: FREE }],
  [false, [{ id: SvsmCall.RemapCa, rcx: FREE }], { id: SvsmCall.RemapCa, rcx: W }],
];

/** Writes the list of a call, and returns the function that makes it. */
function prepared(
  it: SvsmWorld,
  { id, rcx, rdx = 0, size = 0, validate = false, ignoreUnchanged = false }: Call,
) {
  const isList = id === SvsmCall.Pvalidate || id === SvsmCall.DepositMem;
  const area = Number(it.svsm.callingArea(it.guestCpu));
  const isDeposit = id === SvsmCall.DepositMem;
  const flags = isDeposit ? { validate: false } : { validate, ignoreUnchanged };
  if (isList) writeList(it, [entryOf(rcx, { size, ...flags })], area + 8);
  const at = isList ? area + 8 : rcx;
  return (): number => call(it, id, { rcx: BigInt(at), rdx: BigInt(rdx), r8: 9n });
}

function isFree(it: SvsmWorld, gpa: number, areas: readonly (bigint | undefined)[]): boolean {
  const { validated, vmsa, vmplMasks } = it.machine.rmp.entry(spaOf(it, gpa))!;
  return validated && !vmsa && vmplMasks[2] === 0xf && !areas.includes(BigInt(gpa));
}

// S5, S9, S12
test('after any calls, a call that is refused changes nothing, and a moved calling area frees its old page', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(request, { maxLength: 4 }),
      request,
      (isSplit: boolean, before: Call[], last: Call) => {
        const two = isSplit ? undefined : twoProcessors();
        const it = two ?? split();
        // A hypervisor that splits a page changes no right on it.
        it.machine.hypervisor.splitPage(it.guest, physAddr(4 * MiB));
        for (const one of before) prepared(it, one)();
        const make = prepared(it, last);
        const old = it.svsm.callingArea(it.guestCpu);
        const state = stateOf(it);
        const result = make();
        if (result !== SvsmResult.Success) expect(stateOf(it)).toEqual(state);
        else if (last.id === SvsmCall.RemapCa) {
          expect(it.svsm.callingArea(it.guestCpu)).toBe(BigInt(last.rcx));
          expect(it.guestCpu.read(gvaOf(last.rcx), 8)).toEqual(new Uint8Array(8));
        }
        const areas = [it.svsm.callingArea(it.guestCpu), ...it.state.vcpus.map(({ caa }) => caa)];
        if (two !== undefined) areas.push(two.svsm.callingArea(two.other.guestCpu));
        const asked = [last.rcx, Number(old)].filter((gpa) => gpa > 6 * MiB);
        for (const gpa of new Set(asked)) {
          const expected = isFree(it, gpa, areas);
          const entry = entryOf(gpa, { validate: false });
          const area = Number(it.svsm.callingArea(it.guestCpu));
          writeList(it, [entry], area + 8);
          const isRescinded = call(it, SvsmCall.Pvalidate, { rcx: BigInt(area + 8) }) === SvsmResult.Success;
          expect([gpa, isRescinded]).toEqual([gpa, expected]);
        }
      },
    ),
    { examples: EXAMPLES },
  );
});
