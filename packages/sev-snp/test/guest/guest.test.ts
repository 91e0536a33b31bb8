import { Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { writeVmsa } from '../../src/formats/vmsa.ts';
import { Guest, type GuestOptions, type VcpuRequest } from '../../src/guest/guest.ts';
import { messageOf } from '../support/message-of.ts';
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
    expect(messageOf(() => it.machine.hypervisor.run(it.guest))).toMatch(
      /^the processor of onCreateVcpu cannot be .*: return a new processor of this guest at VMPL0 \[INVALID_ARGUMENT\]$/,
    );
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

describe('the options of a guest', () => {
  /** A machine with a context page whose guest has no `Guest`, and options for it. */
  function activated() {
    const it = world();
    const { firmware, hypervisor: host } = it.machine;
    const context = host.givePageToFirmware();
    firmware.guestContextCreate(context);
    firmware.launchStart(context);
    firmware.activate(context, 9);
    const options: GuestOptions = { context, nested: it.guest.nested, memory: it.guest.memory };
    return { ...it, options };
  }

  test.each<[Partial<Record<keyof GuestOptions, unknown>>, string]>([
    [
      { context: 'x' },
      '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    ],
    [{ nested: {} }, 'nested cannot be a value of type object: pass a NestedTable [INVALID_ARGUMENT]'],
    [{ levels: 6 }, 'levels cannot be 6: pass one of 4, 5 [INVALID_ARGUMENT]'],
    [
      { virtualTom: 1 },
      'virtualTom cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    ],
    [
      { context: sysPhysAddr(0) },
      'the context page cannot be 0x0: pass the context page of an activated guest that has no other Guest [INVALID_ARGUMENT]',
    ],
  ])('%o is refused, and the context page can be used', (change, message) => {
    const { machine, options } = activated();
    expect(messageOf(() => new Guest(machine, { ...options, ...change } as GuestOptions))).toBe(message);
    expect(new Guest(machine, options).asid).toBe(9);
  });

  test('a context page makes one guest', () => {
    const { machine, options } = activated();
    const guest = new Guest(machine, options);
    expect([guest.context, guest.nested, guest.virtualTom]).toEqual([
      options.context,
      options.nested,
      undefined,
    ]);
    expect(messageOf(() => new Guest(machine, options))).toContain(
      'pass the context page of an activated guest',
    );
  });

  test.each<[bigint, object | undefined]>([
    [1n << 46n, { mode: 'vtom', bit: 46 }],
    [1n << 32n, { mode: 'vtom', bit: 32 }],
    [1n << 31n, undefined],
    [(1n << 46n) + 0x20_0000n, undefined],
  ])(
    'a virtual top of memory at %s: its bit marks shared pages if it is a power of two from 2^32 on',
    (virtualTom, encryption) => {
      const { machine, options } = activated();
      const { paging, virtualTom: tom } = new Guest(machine, { ...options, virtualTom });
      expect([paging.encryption, paging.physicalBits, tom]).toEqual([encryption, machine.cBit, virtualTom]);
    },
  );

  test('bit 8 of the top level is what the machine assumes', () => {
    const vendorOf = (topLevelBit8: 'reserved' | 'ignored') =>
      world({ assumptions: { topLevelBit8 } }).guest.paging.vendor;
    expect([vendorOf('reserved'), vendorOf('ignored')]).toEqual(['amd', 'intel']);
  });
});

test('a guest that has ended has no key, so VMRUN of it fails', () => {
  const { guest, machine } = world();
  machine.firmware.decommission(guest.context);
  expect(thrownBy(() => guest.key)).toMatchObject({
    code: 'VMRUN',
    details: { exitCode: VmExit.Invalid, vmsa: undefined },
  });
});

test('each flush of the translations is a new generation', () => {
  const { guest } = world();
  const first = guest.tlbGeneration;
  guest.flushTlbs();
  guest.flushTlbs();
  expect(guest.tlbGeneration).toBe(first + 2);
});

test('the software of a level runs for processors of the guest alone, and only if the level has some', () => {
  const { guest, machine, vcpu } = world();
  const other = machine.hypervisor.launch({ size: 2 * MiB }).createVcpu();
  const like = { ...vcpu, guest, leave: () => {} } as unknown as Vcpu;
  const callers: unknown[] = [];
  expect(guest.enterVmpl(1, vcpu)).toBe(false);
  guest.onEnter(1, (caller) => callers.push(caller));
  expect([1, 0].map((vmpl) => guest.enterVmpl(vmpl, vcpu))).toEqual([true, false]);
  expect([other, like].map((caller) => guest.enterVmpl(1, caller))).toEqual([false, false]);
  expect(messageOf(() => guest.enterVmpl(0.5, vcpu))).toBe(
    'the VMPL cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
  );
  expect(callers).toEqual([vcpu]);
  expect(guest.start(vcpu)).toBe(false);
  guest.onStart((started) => callers.push(started));
  expect([vcpu, other, like].map((started) => guest.start(started))).toEqual([true, false, false]);
  expect(callers).toEqual([vcpu, vcpu]);
});

test('a processor that nobody else makes has TLBs for the levels of the guest', () => {
  for (const levels of [4, 5] as const) {
    const { guest, machine } = world({}, { levels, vmsas: [createVmsa()] }, { tlb: new Tlb({ levels }) });
    const found: unknown[] = [];
    guest.onStart(({ tlb }) => found.push((tlb as Tlb).levels));
    machine.hypervisor.run(guest);
    expect(found).toEqual([levels]);
  }
});
