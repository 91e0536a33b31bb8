import { expect, test } from 'vitest';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import { MiB, world } from '../support/world.ts';

test('a guest knows the memory and the C-bit of its launch', () => {
  const { guest, machine } = world({ cBit: 47 });
  expect(guest.machine).toBe(machine);
  expect(guest.memory.size).toBe(BigInt(8 * MiB));
  expect(guest.paging).toMatchObject({ levels: 4, encryption: { mode: 'c-bit', bit: 47 } });
});

test('a guest has processors at any level, each with its own state', () => {
  const { guest } = world();
  const [a, b] = [guest.createVcpu(), guest.createVcpu({ vmpl: 2 })];
  expect(a).toBeInstanceOf(Vcpu);
  expect([a.vmpl, b.vmpl, a.cpl, a.cr3]).toEqual([0, 2, 0, 0n]);
  a.loadCr3(0x5000n);
  expect(b.cr3).toBe(0n);
});
