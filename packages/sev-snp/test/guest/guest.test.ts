import { Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import { writeVmsa } from '../../src/formats/vmsa.ts';
import type { VcpuRequest } from '../../src/guest/guest.ts';
import { codeOf, MiB, snapshot, thrownBy, type World, world } from '../support/world.ts';

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

describe('a factory of processors', () => {
  /** A guest with a VMSA of the boot processor at the level. */
  const launched = (vmpl = 0): World => world({}, { vmsas: [createVmsa({ vmpl })] });

  class OwnVcpu extends Vcpu {}

  test('makes the processor that VMRUN runs, with its TLBs and its class, once', () => {
    const { guest, machine } = launched();
    const [tlb, nestedTlb] = [new Tlb(), new NestedTlb()];
    const requests: VcpuRequest[] = [];
    guest.onCreateVcpu((request) => {
      requests.push(request);
      return new OwnVcpu(guest, { ...request, tlb, nestedTlb });
    });
    const started: Vcpu[] = [];
    guest.onStart((vcpu) => started.push(vcpu));
    machine.hypervisor.run(guest);
    started[0]?.leave(VmExit.Halt);
    machine.hypervisor.run(guest);
    expect(started[0]).toBeInstanceOf(OwnVcpu);
    expect([started[0]?.tlb, started[0]?.nestedTlb, started[0] === started[1]]).toEqual([
      tlb,
      nestedTlb,
      true,
    ]);
    expect(requests).toEqual([{ vmpl: 0, vmsa: started[0]?.vmsa }]);
  });

  test('without one, a processor has TLBs of its own, which it shows', () => {
    const { guest, machine } = launched();
    guest.onStart((vcpu) => {
      expect([vcpu.tlb, vcpu.nestedTlb]).toEqual([expect.any(Tlb), expect.any(NestedTlb)]);
    });
    machine.hypervisor.run(guest);
  });

  test.each<[string, (it: World, request: VcpuRequest) => unknown]>([
    ['no processor', () => undefined],
    ['a processor of another level', (it) => it.guest.createVcpu({ vmpl: 2 })],
    [
      'a processor of another guest',
      (it, request) => it.machine.hypervisor.launch({ size: MiB * 2 }).createVcpu(request),
    ],
    ['an object like a processor', (it) => ({ guest: it.guest, vmpl: 0, resume: () => {} })],
  ])('that returns %s is refused, and the VMSA is free again', (_, make) => {
    const it = launched();
    it.guest.onCreateVcpu((request) => make(it, request) as Vcpu);
    expect(codeOf(() => it.machine.hypervisor.run(it.guest))).toBe('INVALID_ARGUMENT');
    expectRunnable(it);
  });

  test('that throws leaves everything as it was', () => {
    const it = launched();
    it.guest.onCreateVcpu(() => {
      throw new RangeError('no processor left');
    });
    const before = snapshot(it.machine.rmp);
    expect(() => it.machine.hypervisor.run(it.guest)).toThrow('no processor left');
    expect(snapshot(it.machine.rmp)).toBe(before);
    expectRunnable(it);
  });

  test('that runs the same VMSA finds it in use', () => {
    const it = launched();
    let inner: unknown;
    it.guest.onCreateVcpu((request) => {
      inner = thrownBy(() => it.guest.vmrun(request.vmsa))?.details;
      return it.guest.createVcpu(request);
    });
    it.guest.onStart(() => {});
    it.machine.hypervisor.run(it.guest);
    expect(inner).toMatchObject({ exitCode: VmExit.Busy });
  });

  test('gives no processor to two VMSAs', () => {
    const it = world({}, { vmsas: [createVmsa(), createVmsa()] });
    const one = it.guest.createVcpu();
    it.guest.onCreateVcpu(() => one);
    it.guest.onStart(() => {});
    it.machine.hypervisor.run(it.guest, 0);
    expect(codeOf(() => it.machine.hypervisor.run(it.guest, 1))).toBe('INVALID_ARGUMENT');
  });

  test('that changes the level in the VMSA does not get it run', () => {
    const it = launched();
    it.guest.onCreateVcpu((request) => {
      const image = it.machine.memory.read(request.vmsa.spa, 4096, it.guest.key);
      writeVmsa(image, 'vmpl', 1n);
      it.machine.memory.write(request.vmsa.spa, image, it.guest.key);
      return it.guest.createVcpu(request);
    });
    expect(thrownBy(() => it.machine.hypervisor.run(it.guest))?.details).toMatchObject({
      exitCode: VmExit.Invalid,
    });
  });

  function expectRunnable({ guest, machine }: World): void {
    let runs = 0;
    guest.onCreateVcpu((request) => guest.createVcpu(request));
    guest.onStart(() => {
      runs += 1;
    });
    machine.hypervisor.run(guest);
    expect(runs).toBe(1);
  }
});
