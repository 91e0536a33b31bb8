import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { PageFaultCode, PteFlags, Tlb, writePhys64 } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import type { VcpuOptions } from '../../src/cpu/vcpu-options.ts';
import { ControlBit, START_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import { VmplPermission } from '../../src/formats/vmpl.ts';
import { SevFeature } from '../../src/formats/vmsa.ts';
import { bytesOf, codeOf, gvaOf, MiB, mapAll, spaOf, thrownBy, type World, world } from '../support/world.ts';

const PAGE = 4 * MiB + 0x5000;
const SUPERVISOR = virtAddr(0x40_0000_0000);
const USER = virtAddr(0x40_0000_1000);
const TEXT = bytesOf('return');
const STACK = { shadowStack: 'current' } as const;

const CET = { cr4: START_REGISTERS.cr4 | ControlBit.Cr4Cet };
const VARIANTS: [string, () => VcpuOptions][] = [
  ['with TLBs', () => ({ tlb: new Tlb(), nestedTlb: new NestedTlb() })],
  ['without TLBs', () => ({})],
];

/** A guest with a supervisor and a user shadow stack, both on the page at {@link PAGE}. */
function stacks(options: VcpuOptions): { it: World; vcpu: Vcpu } {
  const it = world({}, { pageSize: PageSize.Regular });
  it.table.map4k(SUPERVISOR, physAddr(PAGE), PteFlags.Dirty);
  it.table.map4k(USER, physAddr(PAGE), PteFlags.Dirty | PteFlags.User);
  const vcpu = it.guest.createVcpu({ registers: CET, ...options });
  vcpu.loadCr3(it.table.cr3);
  return { it, vcpu };
}

describe.each(VARIANTS)('shadow stacks of a guest, %s', (_, caches) => {
  // P36
  test('are written by shadow-stack accesses, and by no other', () => {
    const { vcpu } = stacks(caches());
    for (let round = 0; round < 2; round += 1) {
      vcpu.write(SUPERVISOR, TEXT, STACK);
      expect(vcpu.read(SUPERVISOR, TEXT.length, STACK)).toEqual(TEXT);
      expect(vcpu.read(SUPERVISOR, TEXT.length)).toEqual(TEXT);
      const { Present, Write, ShadowStack, User } = PageFaultCode;
      expect(thrownBy(() => vcpu.write(SUPERVISOR, TEXT))?.details).toMatchObject({
        errorCode: Present | Write,
      });
      expect(thrownBy(() => vcpu.write(gvaOf(PAGE), TEXT, STACK))?.details).toMatchObject({
        errorCode: Present | Write | ShadowStack,
      });
      expect(thrownBy(() => vcpu.write(USER, TEXT, STACK))?.details).toMatchObject({
        errorCode: Present | Write | ShadowStack,
      });
      vcpu.write(USER, TEXT, { shadowStack: 'user' });
      expect(thrownBy(() => vcpu.read(SUPERVISOR, 1, { shadowStack: 'user' }))?.details).toMatchObject({
        errorCode: Present | ShadowStack | User,
      });
      vcpu.cpl = 3;
      vcpu.write(USER, TEXT, STACK);
      expect(codeOf(() => vcpu.read(SUPERVISOR, 1, STACK))).toBe('PF');
      vcpu.cpl = 0;
    }
  });

  // P36
  test('do not exist without CR4.CET: #UD', () => {
    const { vcpu } = stacks(caches());
    vcpu.read(SUPERVISOR, 1);
    vcpu.load('cr4', START_REGISTERS.cr4);
    expect(thrownBy(() => vcpu.read(SUPERVISOR, 1, STACK))).toMatchObject({
      code: 'UD',
      details: { instruction: 'an access to a shadow stack' },
    });
  });

  // P36, R26
  test('set SS in EXITINFO1 of a nested page fault', () => {
    const { it, vcpu } = stacks(caches());
    it.guest.nested.unmap(physAddr(PAGE));
    const { User, FinalAddress, Encrypted, ShadowStack, Write } = NpfInfo;
    const bits = User | FinalAddress | Encrypted;
    const info = (action: () => unknown) => thrownBy(action)?.details['exitInfo1'];
    expect(info(() => vcpu.read(SUPERVISOR, 1, STACK))).toBe(bits | ShadowStack);
    expect(info(() => vcpu.write(SUPERVISOR, TEXT, STACK))).toBe(bits | ShadowStack | Write);
    expect(info(() => vcpu.read(SUPERVISOR, 1))).toBe(bits);
  });

  // V8, R29
  describe('with VMPL SSS', () => {
    const masked = (mask: number): { it: World; vcpu: Vcpu } => {
      const made = stacks({ ...caches(), vmplSss: true });
      const { rmp } = made.it.machine;
      const spa = spaOf(made.it, PAGE);
      rmp.setRawEntry(spa, { ...rmp.entry(spa)!, vmplMasks: [mask, 0, 0, 0] });
      return made;
    };
    const { Read, Write, SupervisorShadowStack } = VmplPermission;
    /** The mask bits that each access needs: R29 as a table. */
    const NEEDS: [string, number, (vcpu: Vcpu) => unknown][] = [
      ['read', Read, (vcpu) => vcpu.read(SUPERVISOR, 1)],
      ['stack read', Read | SupervisorShadowStack, (vcpu) => vcpu.read(SUPERVISOR, 1, STACK)],
      ['stack write', Read | Write | SupervisorShadowStack, (vcpu) => vcpu.write(SUPERVISOR, TEXT, STACK)],
      ['user stack read', Read, (vcpu) => vcpu.read(USER, 1, { shadowStack: 'user' })],
      ['user stack write', Read | Write, (vcpu) => vcpu.write(USER, TEXT, { shadowStack: 'user' })],
    ];

    test.each(Array.from({ length: 32 }, (_, mask) => mask))('mask %i', (mask) => {
      for (const [name, needed, access] of NEEDS) {
        const { vcpu } = masked(mask);
        // Another access before it must not leave a verdict that permits it.
        for (const [, , other] of NEEDS) codeOf(() => other(vcpu));
        for (let round = 0; round < 2; round += 1) {
          const fault = thrownBy(() => access(vcpu));
          expect(fault?.code, name).toBe((mask & needed) === needed ? undefined : 'NPF');
          if (fault === undefined) continue;
          const info = fault.details['exitInfo1'] as bigint;
          expect([fault.details['check'], info & NpfInfo.Vmpl]).toEqual(['vmpl', NpfInfo.Vmpl]);
          expect((info & NpfInfo.SupervisorShadowStack) !== 0n).toBe((mask & SupervisorShadowStack) !== 0);
          expect((info & NpfInfo.ShadowStack) !== 0n).toBe(name.includes('stack'));
        }
      }
    });

    // V8
    test('an access to a shadow stack in shared memory is a #PF with RSVD', () => {
      const { it, vcpu } = masked(VmplPermission.All);
      it.table.setShared4k(SUPERVISOR);
      it.table.setShared4k(USER);
      const { Present, Reserved, ShadowStack, User, Write } = PageFaultCode;
      const code = (action: () => unknown) => thrownBy(action)?.details['errorCode'];
      const bits = Present | Reserved | ShadowStack;
      expect(code(() => vcpu.read(SUPERVISOR, 1, STACK))).toBe(bits);
      expect(code(() => vcpu.write(SUPERVISOR, TEXT, STACK))).toBe(bits | Write);
      expect(code(() => vcpu.read(USER, 1, { shadowStack: 'user' }))).toBe(bits | User);
      vcpu.cpl = 3;
      expect(code(() => vcpu.read(USER, 1, STACK))).toBe(bits | User);
      vcpu.cpl = 0;
      // Ordinary reads of shared memory go on, and without VMPL SSS so do stack reads.
      vcpu.read(SUPERVISOR, 1);
      const plain = it.guest.createVcpu({ registers: CET });
      plain.loadCr3(it.table.cr3);
      plain.read(SUPERVISOR, 1, STACK);
    });
  });

  // R29
  test('need no bit of their own in the mask without VMPL SSS', () => {
    const { it, vcpu } = stacks(caches());
    const { rmp } = it.machine;
    const spa = spaOf(it, PAGE);
    rmp.setRawEntry(spa, { ...rmp.entry(spa)!, vmplMasks: [3, 0, 0, 0] });
    vcpu.write(SUPERVISOR, TEXT, STACK);
    rmp.setRawEntry(spa, { ...rmp.entry(spa)!, vmplMasks: [VmplPermission.SupervisorShadowStack, 0, 0, 0] });
    it.guest.flushTlbs();
    const info = thrownBy(() => vcpu.write(SUPERVISOR, TEXT, STACK))?.details['exitInfo1'] as bigint;
    expect(info & NpfInfo.SupervisorShadowStack).toBe(0n);
  });
});

// V8
test('SEV_FEATURES[8] of a VMSA turns VMPL SSS on', () => {
  const run = (sevFeatures: bigint): string | undefined => {
    const image = createVmsa({ sevFeatures, control: CET });
    const it = world({}, { pageSize: PageSize.Regular, vmsas: [image] });
    const { rmp } = it.machine;
    const spa = spaOf(it, PAGE);
    rmp.setRawEntry(spa, { ...rmp.entry(spa)!, vmplMasks: [0xf, 0, 0, 0] });
    let code: string | undefined;
    it.guest.onStart((vcpu) => {
      const table = mapAll(it.guest, vcpu);
      table.map4k(SUPERVISOR, physAddr(PAGE), PteFlags.Dirty);
      code = codeOf(() => vcpu.write(SUPERVISOR, TEXT, STACK));
    });
    it.machine.hypervisor.handleNestedPageFault = () => false;
    codeOf(() => it.machine.hypervisor.run(it.guest));
    return code;
  };
  expect([run(SevFeature.SnpActive), run(SevFeature.SnpActive | SevFeature.VmplSss)]).toEqual([
    undefined,
    'NPF',
  ]);
});

// P36
test('a page is a shadow stack only while its dirty bit is set', () => {
  const { it, vcpu } = stacks({});
  const { table, index, entry } = it.table.walk(SUPERVISOR).path.at(-1)!;
  writePhys64(it.vcpu.memory, physAddr(table + BigInt(8 * index)), entry.raw & ~0x40n);
  expect(codeOf(() => vcpu.read(SUPERVISOR, 1, STACK))).toBe('PF');
});
