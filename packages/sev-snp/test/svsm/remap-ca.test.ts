import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import type { GuestPageAccess } from '../../src/svsm/guest-page-access.ts';
import { CAA, call, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf, MiB, unresolvedFault, WHOLE } from '../support/world.ts';

const NEXT = 6 * MiB + 0x3000;
const FULL = new Uint8Array(8).fill(1);

/** An SVSM whose access fails at its `at`-th step, before the use of a page or after it. Returns the world and the steps made. */
function failing(at: number): { readonly it: SvsmWorld; readonly steps: () => number } {
  const it = svsmWorld();
  for (const area of [CAA, NEXT]) it.guestCpu.write(gvaOf(area), FULL);
  const svsmCpu = it.guest.createVcpu();
  svsmCpu.loadCr3(it.vcpu.cr3);
  let steps = 0;
  const step = (): void => {
    steps += 1;
    if (steps === at + 1) unresolvedFault();
  };
  const access: GuestPageAccess = (gpa, size, use) => {
    step();
    const result = WHOLE(gpa, size, use);
    step();
    return result;
  };
  const svsm = it.state.on(svsmCpu, access);
  return { it: { ...it, svsm }, steps: () => steps };
}

/** The calling area, and the first 8 bytes of the old page and the new one. */
function stateOf({ svsm, guestCpu }: SvsmWorld): readonly [PhysAddr | undefined, number[], number[]] {
  const bytes = (area: number): number[] => [...guestCpu.read(gvaOf(area), 8)];
  return [svsm.callingArea(guestCpu), bytes(CAA), bytes(NEXT)];
}

// SVSM call 0
test.each([NEXT, CAA])(
  'REMAP_CA to 0x%s is done as a whole or not at all, whichever mapping or unmapping fails',
  (to) => {
    const request = (it: SvsmWorld): number => call(it, SvsmCall.RemapCa, { rcx: BigInt(to) });
    const whole = failing(-2);
    const before = stateOf(whole.it);
    expect(request(whole.it)).toBe(SvsmResult.Success);
    const after = stateOf(whole.it);
    expect(after[0]).toBe(physAddr(to));
    const ends = new Set<string>();
    for (let at = 0; at < whole.steps(); at += 1) {
      const { it } = failing(at);
      let result: number | 'thrown';
      try {
        result = request(it);
      } catch {
        result = 'thrown';
      }
      // An error of unmapping goes on to the owner of the access: the call has happened.
      expect(stateOf(it), `step ${at}, ${result}`).toEqual(result === 'thrown' ? after : before);
      ends.add(`${result}`);
    }
    expect([...ends]).toEqual([`${SvsmResult.InvalidAddress}`, 'thrown']);
  },
);

// SVSM call 0
test.each([NEXT, CAA])(
  'REMAP_CA to 0x%s asks for the rights of the caller to read and write, and changes nothing without them',
  (to) => {
    for (const permissions of [0x0, 0x1, 0x2, 0xd]) {
      const { it } = failing(-2);
      const before = stateOf(it);
      const adjust = (mask: number): void => {
        it.vcpu.rmpadjust(gvaOf(to), PageSize.Regular, { vmpl: 2, permissions: mask });
      };
      it.machine.hypervisor.splitPage(it.guest, physAddr(to));
      it.vcpu.pvalidate(gvaOf(to), PageSize.Regular, true);
      adjust(permissions);
      expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(to) })).toBe(SvsmResult.InvalidAddress);
      adjust(0xf);
      expect(stateOf(it), `permissions ${permissions}`).toEqual(before);
    }
  },
);

// SVSM call 0
test('REMAP_CA of which one write fails leaves both areas', () => {
  const { it } = failing(-2);
  const before = stateOf(it);
  const cpu = it.svsm.vcpu;
  const write = cpu.write.bind(cpu);
  for (const area of [NEXT, CAA]) {
    cpu.write = (gva, bytes) => (gva === gvaOf(area) ? unresolvedFault() : write(gva, bytes));
    expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(NEXT) })).toBe(SvsmResult.InvalidAddress);
    expect(stateOf(it)).toEqual(before);
  }
});

// SVSM call 0
test('REMAP_CA is refused to a processor without a calling area', () => {
  const { it } = failing(-2);
  const other = it.guest.createVcpu({ vmpl: 2 });
  expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(NEXT) }, other)).toBe(SvsmResult.InvalidRequest);
  expect([...it.guestCpu.read(gvaOf(NEXT), 8)]).toEqual([...FULL]);
});
