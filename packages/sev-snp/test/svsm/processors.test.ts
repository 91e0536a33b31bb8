import { Phys, physAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import type { VcpuContext } from '../../src/cpu/platform.ts';
import { type Processor, ProcessorTable } from '../../src/svsm/processors.ts';

/** A record of a processor at a level, with its calling area. */
function record(caa: number, vmpl = 2, vmsa?: number): Processor {
  const place = vmsa === undefined ? undefined : physAddr(vmsa);
  return { caa: physAddr(caa), vmsa: place, vmpl, apicId: undefined, rightsBefore: undefined, isBusy: false };
}

/** A processor, as far as the table looks at it. */
function vcpu(vmpl: number, vmsa?: number): VcpuContext {
  return { vmpl, vmsa: vmsa === undefined ? undefined : { gpa: physAddr(vmsa) } } as unknown as VcpuContext;
}

function filled() {
  const table = new ProcessorTable();
  const [registered, created] = [record(0x1000), record(0x5000, 2, 0x9000)];
  const known = vcpu(2);
  table.register(known, registered);
  table.addCreated(physAddr(0x9000), created);
  return { table, registered, created, known };
}

test('a processor is found by its registration, or by a VMSA that CREATE_VCPU has made, at its level', () => {
  const { table, registered, created, known } = filled();
  expect(table.of(known)).toBe(registered);
  expect(table.of(vcpu(2, 0x9000))).toBe(created);
  for (const other of [vcpu(2), vcpu(3, 0x9000), vcpu(1, 0x9000), vcpu(2, 0xa000)]) {
    expect(table.of(other)).toBeUndefined();
  }
  // The registration comes first.
  const both = vcpu(2, 0x9000);
  const second = record(0x2000);
  table.register(both, second);
  expect(table.of(both)).toBe(second);
});

test('the table lists all processors, and those that CREATE_VCPU has made', () => {
  const { table, registered, created } = filled();
  expect([...table]).toEqual([registered, created]);
  expect([...table.created]).toEqual([created]);
  expect([table.has(registered), table.has(created), table.has({ ...created })]).toEqual([true, true, false]);
  expect([table.createdAt(0x9000n), table.createdAt(0x1000n)]).toEqual([created, undefined]);
  table.deleteCreated(physAddr(0x9000));
  expect([...table]).toEqual([registered]);
  expect([table.has(created), table.createdAt(0x9000n), table.of(vcpu(2, 0x9000))]).toEqual([
    false,
    undefined,
    undefined,
  ]);
});

test('a calling area is where the record has it now', () => {
  const { table, created } = filled();
  const at = (start: number, size = 0x1000n) =>
    table.hasCallingAreaIn(new MemoryRegion(Phys, physAddr(start), size));
  expect([at(0x1000), at(0x5000), at(0x6000), at(0x4000), at(0, 0x20_0000n)]).toEqual([
    true,
    true,
    false,
    false,
    true,
  ]);
  created.caa = physAddr(0x6000);
  expect([at(0x5000), at(0x6000)]).toEqual([false, true]);
});
