import { PageFaultCode } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { NpfInfo, PAGE_NOT_VALIDATED, VMEXIT_NPF } from '../../src/formats/exit-info.ts';

test('the bits of EXITINFO1 (AMD64 APM vol. 2, §15.25.6, §15.36.10; Linux PFERR_*)', () => {
  const positions = Object.fromEntries(
    Object.entries(NpfInfo).map(([name, bit]) => [name, bit.toString(2).length - 1]),
  );
  expect(positions).toEqual({
    Present: 0,
    Write: 1,
    User: 2,
    Reserved: 3,
    Fetch: 4,
    Rmp: 31,
    ShadowStack: 6,
    FinalAddress: 32,
    GuestTable: 33,
    Encrypted: 34,
    SizeMismatch: 35,
    Vmpl: 36,
    SupervisorShadowStack: 37,
    NotRestartable: 63,
  });
});

test('the #PF error code and EXITINFO1 use the same bits for the same names', () => {
  const { ProtectionKey, ...both } = PageFaultCode;
  for (const [name, bit] of Object.entries(both)) expect(NpfInfo[name as 'Rmp']).toBe(BigInt(bit));
  expect(ProtectionKey).toBe(0x20);
});

// R27, R23
test('the codes of NPF and of #VC', () => {
  expect([VMEXIT_NPF, PAGE_NOT_VALIDATED]).toEqual([0x400, 0x404]);
});
