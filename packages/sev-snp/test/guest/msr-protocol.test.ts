import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { encodeGhcbMsr, type GhcbMsrMessage, PageOperation } from '../../src/formats/ghcb-msr.ts';
import { registerGhcb, requestGhcbMsr, requestPageState } from '../../src/guest/msr-protocol.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { codeOf, MiB, snapshot, thrownBy, world } from '../support/world.ts';

// G1, G3, GHCB MSR 0x001, GHCB MSR 0x011, GHCB MSR 0x013, GHCB MSR 0x081
test('an honest hypervisor answers', () => {
  const { vcpu } = world();
  expect(requestGhcbMsr(vcpu, { type: 'sev-info-request' }, 'sev-info')).toMatchObject({
    minVersion: 2,
    maxVersion: 2,
    cBit: 51,
  });
  expect(requestGhcbMsr(vcpu, { type: 'features-request' }, 'features').features).toBe(0x23n);
  expect(requestGhcbMsr(vcpu, { type: 'preferred-ghcb-request' }, 'preferred-ghcb').gpa).toBeUndefined();
  const register = (gpa: number) =>
    requestGhcbMsr(vcpu, { type: 'register-ghcb-request', gpa: physAddr(gpa) }, 'register-ghcb').gpa;
  expect([register(0x5000), register(64 * MiB)]).toEqual([0x5000n, undefined]);
});

// GHCB MSR 0x100
test('an honest hypervisor ends a guest that asks for it', () => {
  const { vcpu } = world();
  const terminate = thrownBy(() =>
    requestGhcbMsr(vcpu, { type: 'terminate', reasonSet: 1, reason: 2 }, 'ghcb'),
  );
  expect(terminate).toMatchObject({ code: 'TERMINATED', details: { reasonSet: 1, reason: 2 } });
});

// G15
test.each<[string, GhcbMsrMessage]>([
  ['a code without a meaning', { type: 'unknown', value: 0x5_0ffen }],
  ['a message of Hyper-V', { type: 'hyperv-hypercall', value: 5n }],
  ['the request of an AP jump table', { type: 'ap-jump-table-request', value: 1n }],
  ['an answer', { type: 'features', features: 3n }],
  ['CPUID, which it does not answer', { type: 'cpuid-request', leaf: 1, register: 2 }],
])('an honest hypervisor leaves %s in the MSR, and the guest finds no answer', (_, message) => {
  const { vcpu } = world();
  const request = encodeGhcbMsr(message);
  vcpu.ghcbMsr = request;
  vcpu.vmgexit();
  expect(vcpu.ghcbMsr).toBe(request);
  expect(thrownBy(() => requestGhcbMsr(vcpu, message, 'ap-reset-hold'))).toMatchObject({
    code: 'INVALID_RESPONSE',
    details: { request, response: request },
  });
});

// GHCB MSR 0x014, GHCB MSR 0x015
test.each([0, 3, 4, 15])(
  'a page state change with operation %d is an error, and changes nothing',
  (operation) => {
    const { vcpu, machine } = world();
    const before = snapshot(machine.rmp);
    const request = { type: 'page-state-request', gpa: physAddr(0), operation } as const;
    expect(requestGhcbMsr(vcpu, request as never, 'page-state').error).toBe(0x8000_0000);
    expect(snapshot(machine.rmp)).toBe(before);
  },
);

test('requestPageState asks for no operation that does not exist', () => {
  const { vcpu, events } = world();
  const exits = events.length;
  for (const operation of [0, 3, 15, -1, 1n, '1']) {
    expect(codeOf(() => requestPageState(vcpu, physAddr(0), operation as never))).toBe('INVALID_ARGUMENT');
  }
  expect([events.length, vcpu.ghcbMsr]).toEqual([exits, 0n]);
});

describe('a hypervisor that lies', () => {
  const answering = (answer: bigint) => {
    class Liar extends Hypervisor {
      override vmgexit(): bigint {
        return answer;
      }
    }
    return world({ hypervisor: (machine) => new Liar(machine) }).vcpu;
  };
  // GHCB MSR 0x013
  test.each<[string, bigint, string]>([
    ['a refusal', 0xffff_ffff_ffff_f013n, 'it refuses'],
    ['another address', 0x6013n, 'it repeats another address'],
    ['another message', 0x5015n, 'it is not a register-ghcb message, or has bits set that must be 0'],
  ])('answers a registration with %s: the refusal names the problem', (_, response, problem) => {
    const error = thrownBy(() => registerGhcb(answering(response), physAddr(0x5000)));
    expect(error).toMatchObject({
      code: 'INVALID_RESPONSE',
      details: { request: 0x5012n, response, problem },
    });
  });

  const ask = (answer: bigint) => () =>
    requestPageState(answering(answer), physAddr(0), PageOperation.Shared);

  // G3
  test.each<[string, bigint, string]>([
    ['an answer to another request', 0x081n, 'INVALID_RESPONSE'],
    ['a request as the answer', 0x0020_0000_0000_0014n, 'INVALID_RESPONSE'],
    ['a reserved bit', 0x1015n, 'INVALID_RESPONSE'],
    ['an error', 0x1_0000_0015n, 'PAGE_STATE_REFUSED'],
    ['more than 64 bits', (2n ** 64n) | 0x1015n, 'INVALID_RESPONSE'],
  ])('%s: %s', (_, answer, code) => {
    expect(codeOf(ask(answer))).toBe(code);
  });

  test('is believed if it tells the truth', () => {
    expect(ask(0x015n)).not.toThrow();
  });
});
