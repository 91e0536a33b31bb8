import { expect, test } from 'vitest';
import { DEFAULT_ASSUMPTIONS } from '../src/assumptions.ts';
import { rmpupdate } from '../src/host-instructions.ts';
import { Rmp } from '../src/rmp.ts';
import { sysPhysAddr, sysPhysRegion } from '../src/sys-phys-addr.ts';
import { MiB } from './support.ts';

test('are frozen, and what is not switched stays as it is', () => {
  expect(Object.isFrozen(DEFAULT_ASSUMPTIONS)).toBe(true);
  const rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), 2 * MiB), { assumptions: { resetMaskOfVmpl0: 0xf } });
  expect(rmp.assumptions).toEqual({ ...DEFAULT_ASSUMPTIONS, resetMaskOfVmpl0: 0xf });
  rmpupdate(rmp, sysPhysAddr(0), { assigned: true, asid: 1 });
  expect(rmp.slot(sysPhysAddr(0))?.vmplMasks).toEqual([0xf, 0, 0, 0]);
});
