import { PAGE_SIZE, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { svsmWorld } from '../support/svsm-world.ts';
import { unresolvedFault } from '../support/world.ts';

const GPA = physAddr(0x60_3000);

function fault(): unknown {
  try {
    return unresolvedFault();
  } catch (error) {
    return error;
  }
}

// S9, A4
test.each<[string, unknown]>([
  ['an error object', new Error('the same')],
  ['a fault', fault()],
  ['a primitive', 'the same'],
])('%s that was thrown after a PVALIDATE, thrown again instead of one, changes no record', (_, error) => {
  let onEvent: (event: MachineEvent) => void = () => {};
  const it = svsmWorld(
    {},
    { hypervisor: (machine) => new HostileHypervisor(machine), trace: (event) => onEvent(event) },
  );
  const host = it.machine.hypervisor as HostileHypervisor;
  onEvent = ({ type }) => {
    if (type === 'pvalidate') throw error;
  };
  const rescind = (): number => it.svsm.memory.rescind(GPA, PAGE_SIZE);
  expect(rescind).toThrow();
  expect(it.state.validated.has(GPA)).toBe(false);
  onEvent = () => {};
  it.svsm.memory.validate(GPA, PAGE_SIZE, 2);

  let hidden: SysPhysAddr | undefined;
  onEvent = ({ type }) => {
    if (type !== 'flush' || hidden !== undefined) return;
    hidden = host.hide(it.guest, GPA);
    host.answers = {
      fault: () => {
        throw error;
      },
    };
  };
  try {
    rescind();
  } catch {
    // A fault is a refusal, another error goes on.
  }
  expect([it.state.validated.has(GPA), it.machine.rmp.entry(hidden!)?.validated]).toEqual([true, true]);
});
