import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { makePageShared } from '../../src/guest/page-visibility.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import type { NestedPage } from '../../src/memory/nested-table.ts';
import { SnpFault } from '../../src/rmp/snp-fault.ts';
import { bytesOf, codeOf, gvaOf, MiB, mapAll, thrownBy, type World, world } from '../support/world.ts';

const SHARED = 2 * MiB + 0x5000;
const PRIVATE = SHARED + PAGE_SIZE;
const TEXT = bytesOf('attack at dawn');

interface Shared extends World {
  readonly host: HostileHypervisor;
}

/** A guest with a shared page and a private one behind it, which has a text. */
function shared(): Shared {
  const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
  makePageShared(it.vcpu, it.table, gvaOf(SHARED));
  it.vcpu.write(gvaOf(PRIVATE), TEXT);
  return { ...it, host: it.machine.hypervisor as HostileHypervisor };
}

describe('while a guest reads shared memory', () => {
  // A12, R20
  test('a private page behind it that is replaced meanwhile is checked again', () => {
    const { host, guest, vcpu } = shared();
    const old = host.capture(guest.nested.lookup(physAddr(PRIVATE))?.spa as NestedPage['spa']);
    vcpu.write(gvaOf(PRIVATE), bytesOf('retreat at ten'));
    host.answers.beforeSharedRead = () => host.replay(guest, physAddr(PRIVATE), old);
    expect(codeOf(() => vcpu.read(gvaOf(PRIVATE - 8), 8 + TEXT.length))).toBe('VC_NOT_VALIDATED');
  });

  test('a private page behind it that moves away makes the instruction exit and begin anew', () => {
    const { host, guest, vcpu } = shared();
    const reads: bigint[] = [];
    const { spa } = guest.nested.lookup(physAddr(PRIVATE)) as NestedPage;
    host.answers.beforeSharedRead = (_, at) => {
      reads.push(at);
      if (reads.length === 1) host.hide(guest, physAddr(PRIVATE));
      host.flushTlbs(guest);
    };
    host.answers.fault = (gpa) => {
      guest.nested.map((gpa & -0x1000n) as PhysAddr, spa, PAGE_SIZE);
      return true;
    };
    expect(vcpu.read(gvaOf(PRIVATE - 8), 8 + TEXT.length).slice(8)).toEqual(TEXT);
    expect(reads).toHaveLength(2);
  });

  test('an error of the hypervisor reaches the caller as it is, even if it is a nested page fault', () => {
    const { host, vcpu, guest } = shared();
    const error = new SnpFault('NPF', {
      exitCode: 0x400,
      exitInfo1: 0n,
      gpa: BigInt(SHARED),
      gva: undefined,
      spa: undefined,
      nestedSize: undefined,
      check: 'nested-not-present',
    });
    let exits = 0;
    host.answers.fault = () => {
      exits += 1;
      return false;
    };
    host.answers.beforeSharedRead = () => {
      throw error;
    };
    expect(() => vcpu.read(gvaOf(SHARED), 8)).toThrow(error);
    expect(exits).toBe(0);
    host.answers.beforeSharedRead = undefined;
    host.hide(guest, physAddr(PRIVATE));
    expect(codeOf(() => vcpu.read(gvaOf(PRIVATE), 8))).toBe('NPF');
    expect(exits).toBe(1);
  });

  test('a processor that is taken away does not go on', () => {
    const { vcpu, host } = onVmsa();
    host.answers.beforeSharedRead = () => vcpu.leave(0x60n);
    expect(thrownBy(() => vcpu.read(gvaOf(PRIVATE - 8), 16))).toMatchObject({
      code: 'VMRUN',
      details: { exitCode: -1n, vmsa: vcpu.vmsa?.spa },
    });
  });
});

// R20
test('a write across pages checks the first one again after the walk to the second', () => {
  const { host, guest, vcpu } = shared();
  const { spa } = guest.nested.lookup(physAddr(PRIVATE)) as NestedPage;
  const walk = guest.nested.walk.bind(guest.nested);
  guest.nested.walk = (gpa) => {
    if (gpa >= PRIVATE + PAGE_SIZE) host.rmpupdate(spa, { assigned: false });
    return walk(gpa);
  };
  const before = host.read(spa, PAGE_SIZE);
  const across = gvaOf(PRIVATE + PAGE_SIZE - 8);
  expect(codeOf(() => vcpu.write(across, new Uint8Array(16).fill(1)))).toBe('NPF');
  expect(codeOf(() => vcpu.clear(across, 16))).toBe('NPF');
  expect(host.read(spa, PAGE_SIZE)).toEqual(before);
});

test('a write that reaches a page outside of memory writes nothing', () => {
  const { table, guest, vcpu } = shared();
  guest.nested.map(physAddr(16 * MiB), (1n << 45n) as NestedPage['spa'], PAGE_SIZE);
  table.map4k(gvaOf(PRIVATE - PAGE_SIZE + 128 * MiB), physAddr(PRIVATE), PtePreset.Data);
  table.map4k(gvaOf(PRIVATE + 128 * MiB), physAddr(16 * MiB), PtePreset.Data);
  table.setShared4k(gvaOf(PRIVATE + 128 * MiB));
  const across = gvaOf(PRIVATE + 128 * MiB - 8);
  expect(() => vcpu.write(across, new Uint8Array(16).fill(1))).toThrow(/BUS_ERROR/);
  expect(vcpu.read(gvaOf(PRIVATE + PAGE_SIZE - 8), 8)).toEqual(new Uint8Array(8));
});

interface OnVmsa {
  readonly vcpu: Vcpu;
  readonly host: HostileHypervisor;
  readonly guest: Guest;
  readonly machine: SnpMachine;
}

/** A guest on a VMSA, with a shared page, and a machine whose trace is `trace`. */
function onVmsa(trace: (event: MachineEvent) => void = () => {}): OnVmsa {
  const machine = new SnpMachine({
    memorySize: 16 * MiB,
    hypervisor: (machine) => new HostileHypervisor(machine),
    trace,
  });
  const host = machine.hypervisor as HostileHypervisor;
  const guest = host.launch({ size: 4 * MiB, vmsas: [createVmsa()] });
  const vmsa = host.vmsaOf(guest, 0);
  if (vmsa === undefined) throw new Error('no VMSA');
  const vcpu = guest.vmrun(vmsa);
  const table = mapAll(guest, vcpu);
  vcpu.invlpgb();
  makePageShared(vcpu, table, gvaOf(SHARED));
  return { vcpu, host, guest, machine };
}

test('a processor that is taken away in the walk to the second page writes nothing', () => {
  const { vcpu, guest } = onVmsa();
  vcpu.write(gvaOf(PRIVATE), TEXT);
  const across = gvaOf(PRIVATE + TEXT.length);
  const bytes = new Uint8Array(PAGE_SIZE).fill(1);
  const { spa } = guest.nested.lookup(physAddr(PRIVATE)) as NestedPage;
  const before = guest.machine.memory.read(spa, PAGE_SIZE, guest.key);
  const walk = guest.nested.walk.bind(guest.nested);
  guest.nested.walk = (gpa) => {
    if (gpa >= PRIVATE + PAGE_SIZE) vcpu.leave(0x60n);
    return walk(gpa);
  };
  expect(codeOf(() => vcpu.write(across, bytes))).toBe('VMRUN');
  expect(guest.machine.memory.read(spa, PAGE_SIZE, guest.key)).toEqual(before);
});

// The law for callbacks that throw: an instruction, an exit and an entry either happen or do not.
test('a trace that throws at any event leaves a processor that runs, or one that can be run again', () => {
  class Stop extends Error {}
  const software = ({ vcpu, host, guest }: OnVmsa): void => {
    vcpu.pvalidate(gvaOf(PRIVATE), PAGE_SIZE, true);
    host.hide(guest, physAddr(PRIVATE));
    host.flushTlbs(guest);
    vcpu.read(gvaOf(PRIVATE), 8);
    vcpu.ghcbMsr = 2n;
    vcpu.vmgexit();
    vcpu.rmpadjust(gvaOf(PRIVATE), PAGE_SIZE, { vmpl: 1, permissions: 1 });
    vcpu.loadCr3(vcpu.cr3);
  };
  const types: string[] = [];
  for (let stopAt = 0; ; stopAt += 1) {
    let count = 0;
    let isArmed = false;
    const it = onVmsa(({ type }) => {
      if (!isArmed) return;
      count += 1;
      if (count - 1 !== stopAt) return;
      types.push(type);
      throw new Stop();
    });
    const { host, guest, machine, vcpu } = it;
    const { spa } = guest.nested.lookup(physAddr(PRIVATE)) as NestedPage;
    host.answers.fault = (gpa) => {
      // The page is given away and taken back, which is traced, before it is mapped again.
      host.psmash(spa);
      guest.nested.map((gpa & -0x1000n) as PhysAddr, spa, PAGE_SIZE);
      return true;
    };
    isArmed = true;
    let hasStopped = false;
    try {
      software(it);
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      hasStopped = true;
    }
    isArmed = false;
    const { vmsa } = vcpu;
    if (vmsa === undefined) throw new Error('no VMSA');
    expect(machine.rmp.isInUse(vmsa.spa, PAGE_SIZE)).toBe(vcpu.isRunning);
    expect(machine.rmp.isInUse(vmsa.vmcb, PAGE_SIZE)).toBe(vcpu.isRunning);
    if (!vcpu.isRunning) expect(guest.vmrun(vmsa)).toBe(vcpu);
    // All of it can be done now.
    if (guest.nested.lookup(physAddr(PRIVATE)) === undefined)
      guest.nested.map(physAddr(PRIVATE), spa, PAGE_SIZE);
    software(it);
    if (!hasStopped) break;
  }
  expect([...new Set(types)].sort()).toEqual([
    'flush',
    'npf',
    'psmash',
    'pvalidate',
    'rmpadjust',
    'vmgexit',
    'vmrun',
  ]);
});
