import { expect, test } from 'vitest';
import { isSnpFault, SnpFault } from '../../src/rmp/snp-fault.ts';

test('messages name the event, the addresses and the bits', () => {
  const npf = new SnpFault('NPF', {
    exitCode: 0x400,
    exitInfo1: 0x8_8000_0005n,
    gpa: 0x1000n,
    gva: 0x2000n,
    spa: 0x3000n,
    nestedSize: 0x1000,
    check: 'page-size',
  });
  expect(npf.message).toBe(
    '#VMEXIT(NPF) at 0x0000000000002000, GPA 0x0000000000001000, EXITINFO1 0x880000005: failed page-size [NPF]',
  );
  const host = new SnpFault('HOST_PF', { errorCode: 0x8000_0003, spa: 0x3000n, check: 'hypervisor-owned' });
  expect(host.message).toContain('error code 0x80000003');
  const vc = new SnpFault('VC_NOT_VALIDATED', { errorCode: 0x404, gva: undefined, gpa: 0x1000n, spa: 0n });
  expect(vc.message).toBe(
    '#VC 0x404: the page at GPA 0x0000000000001000 is not validated [VC_NOT_VALIDATED]',
  );
  expect(new SnpFault('PF', { errorCode: 7, gva: 0n }).message).toContain('0x7');
});

test('isSnpFault tells faults from other errors, and by their codes', () => {
  const fault = new SnpFault('GP', { errorCode: 0, reason: 'PVALIDATE at CPL 3' });
  expect([
    isSnpFault(fault),
    isSnpFault(fault, 'GP'),
    isSnpFault(fault, 'PF'),
    isSnpFault(new Error()),
  ]).toEqual([true, true, false, false]);
  expect(Object.isFrozen(fault.details)).toBe(true);
});
