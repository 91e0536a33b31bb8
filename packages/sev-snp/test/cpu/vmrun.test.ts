import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import {
  failedVmrunCheck,
  VMRUN_CHECKS,
  VmExit,
  type VmrunPage,
  vmexit,
  vmrun,
} from '../../src/cpu/vmrun.ts';
import { VMSA_LAUNCH_GPA } from '../../src/formats/launch-digest.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';
import type { Hypervisor } from '../../src/host/hypervisor.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import { codeOf, gvaOf, MiB, mapAll, rmpOf, thrownBy, world } from '../support/world.ts';

// AMD64 APM vol. 2, table 15-41, cell by cell.
// R24
test.each<[VmrunPage, string, string]>([
  ['vmcb', 'hypervisor-owned', '#GP(0)'],
  ['avic-backing-page', 'hypervisor-owned', 'VMEXIT_INVALID'],
  ['vmsa', 'covered guest-owned reverse-map mutable vmsa', 'VMEXIT_INVALID'],
  ['vmsa-without-snp', 'hypervisor-owned', 'VMEXIT_INVALID'],
  ['host-save-area', 'hypervisor-owned', '#GP(0)'],
  ['vmsave-target', 'hypervisor-owned', '#GP(0)'],
])('%s: %s, else %s', (page, checks, failure) => {
  expect([VMRUN_CHECKS[page].checks.join(' '), VMRUN_CHECKS[page].failure]).toEqual([checks, failure]);
});

describe('the VMSA of an SNP guest', () => {
  const spa = sysPhysAddr(0x5000);
  const good: RmpEntry = { ...HYPERVISOR_ENTRY, assigned: true, asid: 1, gpa: physAddr(0x9000), vmsa: true };
  // A16
  test.each<[string, Partial<RmpEntry>, SysPhysAddr]>([
    ['covered', {}, sysPhysAddr(64 * MiB)],
    ['guest-owned', { asid: 2 }, spa],
    ['reverse-map', { gpa: physAddr(0xa000) }, spa],
    ['mutable', { immutable: true }, spa],
    ['vmsa', { vmsa: false }, spa],
  ])('fails %s', (check, fields, at) => {
    const rmp = rmpOf();
    const who = { spa: at, gpa: physAddr(0x9000), asid: 1 };
    rmp.setRawEntry(spa, good);
    if (at === spa) expect(failedVmrunCheck(rmp, 'vmsa', who)).toBeUndefined();
    rmp.setRawEntry(spa, { ...good, ...fields });
    expect(failedVmrunCheck(rmp, 'vmsa', who)).toBe(check);
  });

  test('passes without validation and with masks of 0', () => {
    const rmp = rmpOf();
    rmp.setRawEntry(spa, { ...good, validated: false, vmplMasks: [0, 0, 0, 0] });
    expect(failedVmrunCheck(rmp, 'vmsa', { spa, gpa: physAddr(0x9000), asid: 1 })).toBeUndefined();
  });
});

/** A guest that starts with one VMSA, and what is needed to run it. */
function launched(image = createVmsa({ control: { cr3: 0x1234_5000n } })) {
  const it = world({}, { vmsas: [image] });
  const vmsa = it.machine.hypervisor.vmsaOf(it.guest, 0)!;
  const change = (field: Parameters<typeof writeVmsa>[1], value: bigint): void => {
    const held = it.machine.memory.read(vmsa.spa, 0x1000, it.guest.key);
    writeVmsa(held, field, value);
    it.machine.memory.write(vmsa.spa, held, it.guest.key);
  };
  return { it, vmsa, change, host: it.machine.hypervisor as Hypervisor };
}

describe('VMRUN', () => {
  // R24, R33, L6
  test('runs a VMSA of the launch, at its launch GPA, and marks its pages as in use', () => {
    const { it, vmsa } = launched();
    expect(vmsa.gpa).toBe(VMSA_LAUNCH_GPA);
    expect(vmrun(it.machine, vmsa, it.guest)).toBeUndefined();
    const free = (spa: SysPhysAddr) => it.machine.hypervisor.rmpupdate(spa, { assigned: false });
    expect([free(vmsa.spa), free(vmsa.vmcb)]).toEqual([RmpResult.FAIL_INUSE, RmpResult.FAIL_INUSE]);
    expect(vmrun(it.machine, vmsa, it.guest)).toBe(VmExit.Busy);
    vmexit(it.machine, vmsa);
    expect(free(vmsa.vmcb)).toBe(RmpResult.SUCCESS);
    expect(free(vmsa.spa)).toBe(RmpResult.SUCCESS);
    expect(vmrun(it.machine, vmsa, it.guest)).toBe(VmExit.Invalid);
  });

  // R24
  test('a VMCB of a guest raises #GP(0) in the host; an AVIC backing page of a guest gives VMEXIT_INVALID', () => {
    const { it, vmsa } = launched();
    const guests = it.guest.nested.lookup(physAddr(0))!.spa;
    expect(thrownBy(() => vmrun(it.machine, { ...vmsa, vmcb: guests }, it.guest))).toMatchObject({
      code: 'HOST_GP',
      details: { errorCode: 0, spa: guests, check: 'hypervisor-owned' },
    });
    expect(vmrun(it.machine, { ...vmsa, avicBackingPage: guests }, it.guest)).toBe(VmExit.Invalid);
    const page = it.machine.hypervisor.allocatePage();
    expect(vmrun(it.machine, { ...vmsa, avicBackingPage: page }, it.guest)).toBeUndefined();
    expect(it.machine.rmp.isInUse(page, PageSize.Regular)).toBe(true);
  });

  // R32
  test.each<[string, Parameters<typeof writeVmsa>[1], bigint]>([
    ['EFER.SVME clear', 'efer', 0xd00n],
    ['SNP not active', 'sevFeatures', 0n],
    ['a VMPL that does not exist', 'vmpl', 4n],
    ['CR0 wider than 32 bits', 'cr0', 0x1_8001_0001n],
    ['long mode without PAE', 'cr4', 0n],
    ['long mode without protection', 'cr0', 0x8000_0000n],
    ['CR0.NW without CD', 'cr0', 0xa001_0011n],
    ['a bit of CR3 above an address', 'cr3', 1n << 52n],
    ['a bit of CR4 that must be 0', 'cr4', 0x1_0000_00a0n],
    ['a bit of EFER that must be 0', 'efer', 0x1_0000_1d00n],
    ['EFER.LMSLE', 'efer', 0x3d00n],
    ['CR4.CET without CR0.WP', 'cr0', 0x8000_0011n],
    ['a bit of DR6[63:32]', 'dr6', 1n << 32n],
    ['a bit of DR7[63:32]', 'dr7', 1n << 63n],
    ['CS.L with CS.D in long mode', 'csAttributes', 0x69bn],
    ['a reserved bit of S_CET', 'sCet', 4n],
    ['a reserved bit of U_CET', 'uCet', 1n << 63n],
    ['a PAT with type 2', 'pat', 0x0007_0206_0007_0406n],
    ['a PAT with type 8', 'pat', 0x0807_0406_0007_0406n],
    ['ReflectVC', 'sevFeatures', 0x5n],
    ['restricted injection', 'sevFeatures', 0x9n],
    ['alternate injection', 'sevFeatures', 0x11n],
    ['a feature of a later part', 'sevFeatures', 1n | (1n << 63n)],
    ['RFLAGS.VM', 'rflags', 0x2_0002n],
    ['a reserved bit of RFLAGS', 'rflags', 0xan],
    ['an injected event', 'eventInjection', 0x8000_0020n],
    ['a virtual interrupt', 'vintrCtrl', 0x100n],
    ['XCR0[0] clear', 'xcr0', 0n],
  ])('%s gives VMEXIT_INVALID, and no page is in use', (state, field, value) => {
    const { it, vmsa, change } = launched();
    if (state.startsWith('CR4.CET')) change('cr4', 0x80_00a0n);
    change(field, value);
    expect(vmrun(it.machine, vmsa, it.guest)).toBe(VmExit.Invalid);
    expect(it.machine.rmp.isInUse(vmsa.vmcb, PageSize.Regular)).toBe(false);
  });

  // R33
  test('BUSY in VINTR_CTRL gives VMEXIT_BUSY, whatever else the VMSA has, until software clears it', () => {
    const { it, vmsa, change } = launched();
    for (const vintrCtrl of [1n << 63n, (1n << 63n) | 0x100n]) {
      change('vintrCtrl', vintrCtrl);
      expect(vmrun(it.machine, vmsa, it.guest)).toBe(VmExit.Busy);
      expect(it.machine.rmp.isInUse(vmsa.vmcb, PageSize.Regular)).toBe(false);
    }
    change('efer', 0n);
    expect(vmrun(it.machine, vmsa, it.guest)).toBe(VmExit.Busy);
    change('vintrCtrl', 0n);
    expect(vmrun(it.machine, vmsa, it.guest)).toBe(VmExit.Invalid);
  });

  // R32
  test.each<[string, Parameters<typeof writeVmsa>[1], bigint]>([
    ['the low halves of DR6 and DR7', 'dr6', 0xffff_ffffn],
    ['shadow stacks', 'sCet', 3n],
    ['a PAT of zeros', 'pat', 0n],
    ['every type of PAT', 'pat', 0x0706_0504_0100_0000n],
    ['VMPL SSS', 'sevFeatures', 0x101n],
    ['the D bit without L', 'csAttributes', 0x49bn],
  ])('%s is a state that runs', (_, field, value) => {
    const { it, vmsa, change } = launched();
    change(field, value);
    expect(vmrun(it.machine, vmsa, it.guest)).toBeUndefined();
  });
});

describe('a processor with a VMSA', () => {
  // R34, R35
  test('starts with the state in it, and saves its state there at each exit', () => {
    const control = { cr3: 0x10_0000n, cr4: 0x20_00a0n, pkru: 0x55n };
    const { it, vmsa, host } = launched(createVmsa({ control, vmpl: 0 }));
    const seen: bigint[] = [];
    it.guest.onStart((vcpu) => {
      expect(vcpu.isRunning).toBe(true);
      expect(vcpu.controlRegisters).toMatchObject(control);
      vcpu.registers.rax = 77n;
      vcpu.cpl = 3;
      vcpu.ghcbMsr = 0x002n;
      vcpu.vmgexit();
      seen.push(vcpu.registers.rax);
    });
    host.run(it.guest);
    const image = it.machine.memory.read(vmsa.spa, 0x1000, it.guest.key);
    expect([readVmsa(image, 'rax'), readVmsa(image, 'cpl'), readVmsa(image, 'exitCode')]).toEqual([
      77n,
      3n,
      VmExit.Halt,
    ]);
    expect(seen).toEqual([77n]);
    expect(it.machine.rmp.isInUse(vmsa.spa, PageSize.Regular)).toBe(false);
    // Run again, it continues with that state.
    it.guest.onStart((vcpu) => seen.push(vcpu.registers.rax, BigInt(vcpu.cpl)));
    host.run(it.guest);
    expect(seen).toEqual([77n, 77n, 3n]);
  });

  // R24, A19
  test('cannot continue if the hypervisor takes its VMSA during an exit', () => {
    const { it, vmsa, host } = launched();
    it.guest.onStart((vcpu) => {
      vcpu.ghcbMsr = 0x002n;
      // While it is in use it cannot be taken.
      expect(host.rmpupdate(vmsa.spa, { assigned: false })).toBe(RmpResult.FAIL_INUSE);
      const { vmgexit } = host;
      host.vmgexit = (...args) => {
        expect(host.rmpupdate(vmsa.spa, { assigned: false })).toBe(RmpResult.SUCCESS);
        return vmgexit.apply(host, args);
      };
      vcpu.vmgexit();
    });
    expect(thrownBy(() => host.run(it.guest))).toMatchObject({ code: 'VMRUN', details: { exitCode: -1n } });
  });

  // R34, R27
  test('a nested page fault is an exit too', () => {
    const { it, vmsa, host } = launched();
    let vcpu: Vcpu | undefined;
    it.guest.onStart((started) => {
      vcpu = started;
      mapAll(it.guest, started);
      host.handleNestedPageFault = (_, gpa) => {
        const image = it.machine.memory.read(vmsa.spa, 0x1000, it.guest.key);
        expect([readVmsa(image, 'exitCode'), readVmsa(image, 'exitInfo2')]).toEqual([0x400n, gpa]);
        return false;
      };
      it.guest.nested.unmap(physAddr(4 * MiB));
      started.read(gvaOf(4 * MiB), 1);
    });
    expect(codeOf(() => host.run(it.guest))).toBe('NPF');
    expect(vcpu?.isRunning).toBe(false);
  });

  // R33
  test('a VMSA that runs cannot be run on another processor', () => {
    const { it, host } = launched();
    it.guest.onStart(() => host.run(it.guest));
    expect(thrownBy(() => host.run(it.guest))?.details).toMatchObject({ exitCode: VmExit.Busy });
  });

  // P34
  test('PCPU_ID of 0 makes the next VMRUN flush, and set it', () => {
    const { it, vmsa, change, host } = launched();
    let vcpu: Vcpu | undefined;
    it.guest.onStart((started) => {
      if (vcpu === undefined) mapAll(it.guest, started);
      vcpu = started;
      started.read(gvaOf(4 * MiB), 1);
    });
    host.run(it.guest);
    const pcpuId = () => readVmsa(it.machine.memory.read(vmsa.spa, 0x1000, it.guest.key), 'pcpuId');
    expect(pcpuId()).not.toBe(0n);
    // The translation is cached, so a change of the nested page table alone has no effect.
    const { spa } = it.guest.nested.lookup(physAddr(4 * MiB))!;
    it.guest.nested.unmap(physAddr(4 * MiB));
    host.run(it.guest);
    change('pcpuId', 0n);
    expect(codeOf(() => host.run(it.guest))).toBe('NPF');
    expect(pcpuId()).not.toBe(0n);
    it.guest.nested.map(physAddr(4 * MiB), spa, PageSize.Huge);
    host.run(it.guest);
  });

  // C9
  test('a VMSA can enable a virtual top of memory', () => {
    const image = createVmsa({ sevFeatures: 3n, virtualTom: 1n << 46n });
    const { it, host } = launched(image);
    const ran: string[] = [];
    it.guest.onStart((vcpu) => {
      vcpu.loadCr3(1n << 51n);
      ran.push('no C-bit');
    });
    expect(codeOf(() => host.run(it.guest))).toBe('GP');
    it.guest.onStart(() => ran.push('ran'));
    host.run(it.guest);
    expect(ran).toEqual(['ran']);
  });
});

test('run needs a VMSA, and start needs software', () => {
  const { it, host } = launched();
  expect(codeOf(() => host.run(it.guest, 3))).toBe('INVALID_ARGUMENT');
  host.run(it.guest);
  expect(it.guest.start(it.guest.createVcpu())).toBe(false);
  expect(codeOf(() => world({}, { vmsas: [new Uint8Array(5)] }))).toBe('INVALID_ARGUMENT');
});
