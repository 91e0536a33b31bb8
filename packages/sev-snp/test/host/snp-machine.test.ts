import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { SnpMachine, type SnpMachineOptions } from '../../src/host/snp-machine.ts';
import { codeOf, MiB } from '../support/world.ts';

// C14
describe('a machine is refused with', () => {
  test.each<[string, SnpMachineOptions, string]>([
    ['too little memory', { memorySize: 2 * MiB }, 'INVALID_ARGUMENT'],
    ['memory that is not a multiple of 2 MiB', { memorySize: 5 * MiB }, 'INVALID_ARGUMENT'],
    ['a C-bit out of range', { memorySize: 4 * MiB, cBit: 52 }, 'INVALID_ARGUMENT'],
    ['a C-bit that is not an integer', { memorySize: 4 * MiB, cBit: 47.5 }, 'INVALID_ARGUMENT'],
    ['an RMP of part of a region', { memorySize: 4 * MiB, rmpCovers: MiB }, 'INVALID_RMP_RANGE'],
  ])('%s', (_, options, code) => {
    expect(codeOf(() => new SnpMachine(options))).toBe(code);
  });
});

test('a machine costs nothing for its size', () => {
  const machine = new SnpMachine({ memorySize: 2n ** 40n });
  const guest = machine.hypervisor.launch({ size: 2 * MiB });
  expect(guest.asid).toBe(1);
  expect(machine.rmp.covers(sysPhysAddr(2n ** 40n - 1n))).toBe(true);
});

test('trace receives the instructions in their order', () => {
  const events: MachineEvent[] = [];
  const machine = new SnpMachine({ memorySize: 8 * MiB, trace: (event) => events.push(event) });
  const spa = sysPhysAddr(2 * MiB);
  machine.hypervisor.rmpupdate(spa, { assigned: false });
  machine.hypervisor.psmash(spa);
  expect(events).toEqual([
    { type: 'rmpupdate', spa, state: { assigned: false }, result: 0 },
    { type: 'psmash', spa, result: 7 },
  ]);
});

test('the options set the hypervisor, assumptions, the C-bit and the range of the RMP', () => {
  class Other extends Hypervisor {}
  const machine = new SnpMachine({
    memorySize: 8 * MiB,
    rmpCovers: 4 * MiB,
    cBit: 47,
    assumptions: { rmpupdateReset: 'always' },
    hypervisor: (machine) => new Other(machine),
  });
  expect(machine.hypervisor).toBeInstanceOf(Other);
  expect(machine.rmp.assumptions.rmpupdateReset).toBe('always');
  expect(machine.rmp.covers(sysPhysAddr(4 * MiB))).toBe(false);
  expect(machine.hypervisor.launch({ size: 2 * MiB }).paging.encryption?.bit).toBe(47);
});

// C5, C6, C13
test('system-physical addresses are narrower than 52 bits, and the bits above are reserved in nested tables', () => {
  const machine = new SnpMachine({ memorySize: 8 * MiB });
  expect(machine.hostPhysicalBits).toBe(46);
  const { nested } = machine.hypervisor.launch({ size: 2 * MiB });
  const beyond = sysPhysAddr(1n << 46n);
  expect(() => nested.map(physAddr(4 * MiB), beyond, PageSize.Regular)).toThrow('OUTSIDE_PHYSICAL_RANGE');
  const wide = new SnpMachine({ memorySize: 8 * MiB, addressReduction: 0 });
  wide.hypervisor.launch({ size: 2 * MiB }).nested.map(physAddr(4 * MiB), beyond, PageSize.Regular);
  expect(codeOf(() => new SnpMachine({ memorySize: 8 * MiB, addressReduction: 21 }))).toBe(
    'INVALID_ARGUMENT',
  );
  expect(codeOf(() => new SnpMachine({ memorySize: 1n << 47n }))).toBe('INVALID_ARGUMENT');
});
