import { expect, test } from 'vitest';
import { isSnpFault, SnpFault } from '../../src/rmp/snp-fault.ts';

const [gva, gpa, spa] = [0x2000n, 0x1000n, 0x3000n];

test.each<readonly [message: string, fault: SnpFault]>([
  ['#GP(0): PVALIDATE at CPL 3 [GP]', new SnpFault('GP', { errorCode: 0, reason: 'PVALIDATE at CPL 3' })],
  ['#UD: RMPADJUST does not exist here [UD]', new SnpFault('UD', { instruction: 'RMPADJUST' })],
  ['#PF at 0x0000000000002000, error code 0x17 [PF]', new SnpFault('PF', { errorCode: 0x17, gva })],
  [
    '#VC 0x404: the page at 0x0000000000002000, GPA 0x0000000000001000 is not validated [VC_NOT_VALIDATED]',
    new SnpFault('VC_NOT_VALIDATED', { errorCode: 0x404, gva, gpa, spa }),
  ],
  [
    '#VC 0x404: the page at GPA 0x0000000000001000 is not validated [VC_NOT_VALIDATED]',
    new SnpFault('VC_NOT_VALIDATED', { errorCode: 0x404, gva: undefined, gpa, spa }),
  ],
  [
    '#VC 0x400: a reserved bit is set in the nested entry for 0x0000000000002000, GPA 0x0000000000001000 [VC_MMIO]',
    new SnpFault('VC_MMIO', { errorCode: 0x400, exitInfo1: 0xdn, gva, gpa }),
  ],
  [
    '#VMEXIT(NPF) at 0x0000000000002000, GPA 0x0000000000001000, EXITINFO1 0x880000005: failed page-size [NPF]',
    new SnpFault('NPF', {
      exitCode: 0x400,
      exitInfo1: 0x8_8000_0005n,
      gpa,
      gva,
      spa,
      nestedSize: 0x1000,
      check: 'page-size',
    }),
  ],
  [
    'host #PF at SPA 0x0000000000003000, error code 0x80000003: failed hypervisor-owned [HOST_PF]',
    new SnpFault('HOST_PF', { errorCode: 0x8000_0003, spa, check: 'hypervisor-owned' }),
  ],
  [
    'host #GP(0): the VMCB at SPA 0x0000000000003000 failed hypervisor-owned [HOST_GP]',
    new SnpFault('HOST_GP', { errorCode: 0, spa, check: 'hypervisor-owned' }),
  ],
  [
    'VMRUN of the VMSA at SPA 0x0000000000003000 ended with VMEXIT_BUSY (-2) [VMRUN]',
    new SnpFault('VMRUN', { exitCode: -2n, vmsa: spa }),
  ],
  [
    'VMRUN of a guest that is not running ended with VMEXIT_INVALID (-1) [VMRUN]',
    new SnpFault('VMRUN', { exitCode: -1n, vmsa: undefined }),
  ],
])('%s', (message, fault) => {
  expect(fault.message).toBe(message);
  expect(fault.name).toBe('SnpFault');
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
