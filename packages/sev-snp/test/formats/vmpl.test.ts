import { expect, test } from 'vitest';
import { VMPL_COUNT, Vmpl, VmplPermission } from '../../src/formats/vmpl.ts';

// V4
test('the levels have their numbers', () => {
  expect(Object.values(Vmpl)).toEqual(Array.from({ length: VMPL_COUNT }, (_, vmpl) => vmpl));
});

// V1
test('the permissions are the bits of a mask (AMD64 APM vol. 2, table 15-36)', () => {
  const { Read, Write, ExecuteUser, ExecuteSupervisor, SupervisorShadowStack, Rwx, All, None } =
    VmplPermission;
  expect([Read, Write, ExecuteUser, ExecuteSupervisor, SupervisorShadowStack]).toEqual([1, 2, 4, 8, 16]);
  expect([None, Rwx, All]).toEqual([0, 15, 31]);
});
