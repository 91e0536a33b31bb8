import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { CALLS, prepareOther, run, twoProcessors, X } from '../support/svsm-steps.ts';
import { codeOf, MiB, WHOLE, world } from '../support/world.ts';

test('all processors of a state have one record, and the processors that a call has made', () => {
  const it = twoProcessors();
  expect(run(CALLS['rescindX']!, it)).toBe(0);
  expect(it.state.validated.has(physAddr(X))).toBe(false);
  expect(it.state.vcpus.map(({ apicId, vmpl }) => [apicId, vmpl])).toEqual([[7, 2]]);
  expect(prepareOther(CALLS['deleteV']!, it)()).toBe(0);
  expect(it.state.vcpus).toEqual([]);
});

test('a core has the processor for which it was made', () => {
  const { guest, vcpu } = world();
  const state = new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(0), 2 * MiB)] });
  expect(state.on(vcpu, WHOLE).vcpu).toBe(vcpu);
  expect(codeOf(() => state.on(guest.createVcpu({ vmpl: 1 }), WHOLE))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => state.on(vcpu, 1 as never))).toBe('INVALID_ARGUMENT');
});

test('the SVSM owns whole pages of the memory', () => {
  const { guest } = world();
  const make = (start: number, size: number) =>
    codeOf(() => new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(start), size)] }));
  expect([make(0x800, 0x1000), make(0, 0x800), make(64 * MiB, 0x1000)]).toEqual(
    Array(3).fill('INVALID_ARGUMENT'),
  );
  expect([make(0x1000, 0x1000), make(0x800, 0)]).toEqual([undefined, undefined]);
});
