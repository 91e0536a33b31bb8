import { physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { executedBefore, executeReported } from '../../src/cpu/executed.ts';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { keyOf } from '../../src/cpu/vmrun.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { readVmsa } from '../../src/formats/vmsa.ts';
import { SnpFault } from '../../src/rmp/snp-fault.ts';
import { MiB, spaOf, world } from '../support/world.ts';

const EVENT: MachineEvent = { type: 'flush', gva: undefined };
const ERROR = new Error('the same');
const ends = (): never => {
  throw ERROR;
};

/** A processor whose `trace` may throw. */
function cpu(trace: () => void = () => {}): { guest: { machine: { trace(): void } } } {
  return { guest: { machine: { trace } } };
}

function run(one: ReturnType<typeof cpu>, execute: () => unknown): unknown {
  try {
    return executeReported(one, execute, () => EVENT);
  } catch (error) {
    return error;
  }
}

test('an error of `trace` has the answer of its instruction, once, and an error of the instruction has none', () => {
  const traced = cpu(ends);
  expect(run(traced, () => 7)).toBe(ERROR);
  expect(executedBefore(cpu(), ERROR)).toBeUndefined();
  expect(executedBefore(traced, ERROR)).toEqual({ answer: 7 });
  expect(executedBefore(traced, ERROR)).toBeUndefined();
  expect(run(traced, () => 7)).toBe(ERROR);
  expect(executedBefore(traced, new Error('the same'))).toBeUndefined();
  const failed = cpu();
  expect(run(failed, ends)).toBe(ERROR);
  expect(executedBefore(failed, ERROR)).toBeUndefined();
});

test('an instruction that succeeds forgets the error of the one before', () => {
  let isThrown = true;
  const one = cpu(() => {
    if (isThrown) ends();
  });
  expect(run(one, () => 1)).toBe(ERROR);
  isThrown = false;
  expect(run(one, () => 2)).toBe(2);
  expect(executedBefore(one, ERROR)).toBeUndefined();
});

test('a guest that does not run has no key, and any other error goes on', () => {
  const guest = (error: unknown) => ({
    get key(): number {
      throw error;
    },
  });
  const stopped = new SnpFault('VMRUN', { exitCode: -1n, vmsa: undefined });
  expect([keyOf({ key: 5 } as never), keyOf(guest(stopped) as never)]).toEqual([5, undefined]);
  expect(() => keyOf(guest(ERROR) as never)).toThrow(ERROR);
});

test('an exit code may be negative, and its VMSA has 64 bits of it', () => {
  for (const exitCode of [-1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 64n - 1n]) {
    const it = world();
    const vmsa = { spa: spaOf(it, 4 * MiB), gpa: physAddr(4 * MiB), vmcb: sysPhysAddr(31 * MiB) };
    it.vcpu.resume(createVmsa({ control: { cr3: it.vcpu.cr3 } }), vmsa);
    expect(it.vcpu.isRunning).toBe(true);
    it.vcpu.leave(exitCode, 3n, 4n);
    const image = it.machine.memory.read(vmsa.spa, 4096, it.guest.key);
    const saved = (['exitCode', 'exitInfo1', 'exitInfo2'] as const).map((field) => readVmsa(image, field));
    expect([saved, it.vcpu.isRunning]).toEqual([[BigInt.asUintN(64, exitCode), 3n, 4n], false]);
  }
});
