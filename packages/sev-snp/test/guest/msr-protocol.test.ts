import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { requestGhcbMsr, requestPageState } from '../../src/guest/msr-protocol.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { codeOf, MiB, thrownBy, world } from '../support/world.ts';

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
test('an honest hypervisor ends a guest that asks for it, or makes an unknown request', () => {
  const { vcpu } = world();
  const terminate = thrownBy(() =>
    requestGhcbMsr(vcpu, { type: 'terminate', reasonSet: 1, reason: 2 }, 'ghcb'),
  );
  expect(terminate).toMatchObject({ code: 'TERMINATED', details: { reasonSet: 1, reason: 2 } });
  vcpu.ghcbMsr = 0xf00n;
  expect(codeOf(() => vcpu.vmgexit())).toBe('UNSUPPORTED_VMGEXIT');
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
