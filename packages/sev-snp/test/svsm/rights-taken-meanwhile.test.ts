import { PageSize, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { Vmpl } from '../../src/formats/vmpl.ts';
import { call, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf } from '../support/world.ts';

const GPA = physAddr(0x60_3000);
const PAGE = gvaOf(0x60_3000);

// S12
test('a refused CREATE_VCPU gives back no right that VMPL1 has taken meanwhile', () => {
  let onEvent: (event: MachineEvent) => void = () => {};
  const it = svsmWorld({}, { trace: (event) => onEvent(event) });
  it.machine.hypervisor.splitPage(it.guest, GPA);
  const os = it.guest.createVcpu({ vmpl: Vmpl.Vmpl1 });
  os.loadCr3(it.guestCpu.cr3);
  const before = os.rmpquery(PAGE, Vmpl.Vmpl2).permissions;
  onEvent = ({ type }) => {
    if (type !== 'rmpadjust') return;
    onEvent = () => {};
    const none = { vmpl: Vmpl.Vmpl2, permissions: 0 };
    expect(os.rmpadjust(PAGE, PageSize.Regular, none)).toBe(RmpResult.SUCCESS);
  };
  // The page is not a VMSA: the call is refused.
  const result = call(it, 2, { rcx: GPA, rdx: 0x60_8000n, r8: 1n });
  const after = [Vmpl.Vmpl1, Vmpl.Vmpl2].map((vmpl) => it.vcpu.rmpquery(PAGE, vmpl).permissions);
  expect([result !== 0, before !== 0, after[0] !== 0, after[1]]).toEqual([true, true, true, 0]);
});
