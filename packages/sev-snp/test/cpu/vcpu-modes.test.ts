import { PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PteFlags, PtePreset, Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { ControlBit, INIT_REGISTERS, START_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import { readVmsa } from '../../src/formats/vmsa.ts';
import { bytesOf, codeOf, gvaOf, MiB, thrownBy, type World, world } from '../support/world.ts';

const { Cr0Pe, Cr0Pg, Cr4Pae, Cr4Cet, EferLme, EferNxe, EferSvme, EferUaie } = ControlBit;
const PAGE = 4 * MiB + 0x5000;
/** The address at which the guest's table maps its memory one to one, as the code that turns paging on needs it. */
const LOW = virtAddr(PAGE);
const TEXT = bytesOf('start');

/** A guest whose table maps memory from 0 on too, and with a text at {@link PAGE}. */
function prepared(vmsas: readonly Uint8Array[] = []): World {
  const it = world({}, vmsas.length === 0 ? {} : { vmsas });
  for (let gpa = 0; gpa < 8 * MiB; gpa += PageSize.Huge) {
    it.table.map2m(virtAddr(gpa), physAddr(gpa), PtePreset.Data - PteFlags.NoExecute);
  }
  it.vcpu.write(gvaOf(PAGE), TEXT);
  return it;
}

/** The way of Linux and EDK2 from INIT to 64-bit mode. `between` runs after each step, with the step's name. */
function enterLongMode(it: World, vcpu: Vcpu, between: (step: string) => void): void {
  const steps: [string, () => void][] = [
    ['real', () => {}],
    ['protected', () => vcpu.load('cr0', INIT_REGISTERS.cr0 | Cr0Pe)],
    ['PAE', () => vcpu.load('cr4', Cr4Pae)],
    // A MOV to CR3 has 32 bits here, so it cannot have the C-bit. Walks are private all the same.
    ['CR3', () => vcpu.loadCr3(it.table.root)],
    ['LME', () => vcpu.load('efer', EferLme | EferNxe | EferSvme)],
    ['compatibility', () => vcpu.load('cr0', INIT_REGISTERS.cr0 | Cr0Pe | Cr0Pg)],
    [
      '64-bit',
      () => {
        vcpu.csL = true;
      },
    ],
  ];
  for (const [name, step] of steps) {
    step();
    between(name);
  }
}

describe.each([
  ['with TLBs', true],
  ['without TLBs', false],
])('a processor after INIT, %s', (_, hasTlbs) => {
  const started = (): { it: World; ap: Vcpu; tlb: Tlb | undefined } => {
    const it = prepared();
    const tlb = hasTlbs ? new Tlb() : undefined;
    const caches = tlb === undefined ? {} : { tlb, nestedTlb: new NestedTlb() };
    return { it, ap: it.guest.createVcpu({ registers: INIT_REGISTERS, ...caches }), tlb };
  };

  // P48, P51, P82
  test('goes to long mode step by step, and reads private memory in every mode', () => {
    const { it, ap } = started();
    const seen: unknown[] = [];
    enterLongMode(it, ap, (step) => {
      expect(ap.read(LOW, TEXT.length)).toEqual(TEXT);
      expect(ap.fetch(LOW, TEXT.length)).toEqual(TEXT);
      ap.write(virtAddr(PAGE + 0x100), TEXT);
      expect(it.vcpu.read(gvaOf(PAGE + 0x100), TEXT.length)).toEqual(TEXT);
      it.vcpu.write(gvaOf(PAGE + 0x100), new Uint8Array(TEXT.length));
      seen.push([step, codeOf(() => ap.read(gvaOf(PAGE), 1)) ?? 'read']);
    });
    expect(seen).toEqual([
      ['real', 'GP'],
      ['protected', 'GP'],
      ['PAE', 'GP'],
      ['CR3', 'GP'],
      ['LME', 'GP'],
      ['compatibility', 'GP'],
      ['64-bit', 'read'],
    ]);
    expect(ap.controlRegisters.efer & ControlBit.EferLma).not.toBe(0n);
    // 64-bit mode takes the C-bit.
    ap.loadCr3(it.table.cr3);
    expect(ap.read(gvaOf(PAGE), TEXT.length)).toEqual(TEXT);
  });

  // P82
  test('uses no page table and no rights before paging is on, and the TLB neither', () => {
    const { it, ap, tlb } = started();
    it.table.unmap2m(virtAddr(4 * MiB));
    expect(ap.read(LOW, TEXT.length)).toEqual(TEXT);
    expect(tlb?.lookup(LOW)).toBeUndefined();
    ap.cpl = 3;
    expect(ap.read(LOW, TEXT.length)).toEqual(TEXT);
    ap.cpl = 0;
    expect(ap.read(virtAddr(PAGE + 0xffe), 4)).toHaveLength(4);
    expect(ap.translate(LOW)).toMatchObject({ gpa: BigInt(PAGE), isPrivate: true });
    // The nested page table and the RMP are asked as ever.
    expect(thrownBy(() => ap.read(virtAddr(16 * MiB), 1))).toMatchObject({
      code: 'NPF',
      details: { gpa: 16n << 20n },
    });
    enterLongMode(it, ap, () => {});
    expect(codeOf(() => ap.read(LOW, 1))).toBe('PF');
  });

  // P49, P51
  test('refuses steps in another order, and keeps its state', () => {
    const { it, ap } = started();
    const before = ap.controlRegisters;
    expect(codeOf(() => ap.load('cr0', INIT_REGISTERS.cr0 | Cr0Pg))).toBe('GP');
    ap.load('efer', EferLme | EferSvme);
    expect(codeOf(() => ap.load('cr0', INIT_REGISTERS.cr0 | Cr0Pe | Cr0Pg))).toBe('GP');
    ap.load('cr4', Cr4Pae);
    ap.csL = true;
    expect(codeOf(() => ap.load('cr0', INIT_REGISTERS.cr0 | Cr0Pe | Cr0Pg))).toBe('GP');
    ap.csL = false;
    ap.load('efer', EferSvme);
    expect(ap.controlRegisters).toEqual({ ...before, cr4: Cr4Pae });
    // PAE paging is legal on a processor. The model does not have it.
    expect(codeOf(() => ap.load('cr0', INIT_REGISTERS.cr0 | Cr0Pe | Cr0Pg))).toBe('INVALID_ARGUMENT');
    expect(ap.controlRegisters.cr0).toBe(INIT_REGISTERS.cr0);
    expect(codeOf(() => ap.loadCr3(it.table.cr3))).toBe('INVALID_ARGUMENT');
  });

  // P2, P48
  test('has addresses of 32 bits outside 64-bit mode, also if the TLB holds a longer one', () => {
    const { it, ap } = started();
    enterLongMode(it, ap, () => {});
    expect(ap.read(gvaOf(PAGE), TEXT.length)).toEqual(TEXT);
    ap.csL = false;
    expect(thrownBy(() => ap.read(gvaOf(PAGE), 1))?.message).toContain('is not an address of 32 bits');
    expect(codeOf(() => ap.translate(gvaOf(PAGE)))).toBe('GP');
    const high = 0xffff_fffen as VirtAddr;
    expect(codeOf(() => ap.read(high, 4))).toBe('GP');
    // The last 4 bytes of the segment: nothing is mapped there.
    expect(codeOf(() => ap.read((high - 2n) as VirtAddr, 4))).toBe('PF');
    ap.csL = true;
    expect(ap.read(gvaOf(PAGE), TEXT.length)).toEqual(TEXT);
  });

  // P54
  test('drops every page when paging is turned off, and again when it is turned on', () => {
    const { it, ap, tlb } = started();
    enterLongMode(it, ap, () => {});
    ap.read(gvaOf(PAGE), 1);
    ap.csL = false;
    ap.load('cr0', INIT_REGISTERS.cr0 | Cr0Pe);
    expect(tlb?.lookup(gvaOf(PAGE))).toBeUndefined();
    expect(ap.controlRegisters.efer & ControlBit.EferLma).toBe(0n);
    expect(ap.read(LOW, TEXT.length)).toEqual(TEXT);
  });
});

// R32, R34, P48
test('a VMSA holds the mode of its processor over exits', () => {
  const it = prepared([createVmsa({ control: INIT_REGISTERS })]);
  const { hypervisor } = it.machine;
  const vmsa = hypervisor.vmsaOf(it.guest, 0)!;
  const saved = () =>
    readVmsa(it.machine.memory.read(vmsa.spa, 0x1000, it.guest.key), 'csAttributes') & 0x200n;
  const steps: [string, bigint][] = [];
  it.guest.onStart((vcpu) =>
    enterLongMode(it, vcpu, (step) => {
      vcpu.ghcbMsr = 0x002n;
      vcpu.vmgexit();
      expect(vcpu.read(LOW, TEXT.length)).toEqual(TEXT);
      steps.push([step, saved()]);
    }),
  );
  hypervisor.run(it.guest);
  expect(steps.at(-1)).toEqual(['64-bit', 0x200n]);
  expect(steps.filter(([, bit]) => bit !== 0n)).toHaveLength(1);
});

// R32
test.each<[string, Parameters<typeof createVmsa>[0]]>([
  ['PAE paging', { control: { efer: EferSvme } }],
  ['a bit of CR3 that must be 0', { control: { cr3: 1n << 52n } }],
  [
    'a C-bit in CR3 with a virtual top of memory',
    { control: { cr3: 1n << 51n }, sevFeatures: 3n, virtualTom: 1n << 46n },
  ],
  ['a bit of CR4 that must be 0', { control: { cr4: START_REGISTERS.cr4 | (1n << 28n) } }],
  ['a bit of EFER that must be 0', { control: { efer: START_REGISTERS.efer | (1n << 40n) } }],
  ['CR0.NW without CD', { control: { cr0: START_REGISTERS.cr0 | 0x2000_0000n } }],
])('VMRUN refuses %s', (_, vmsa) => {
  const it = world({}, { vmsas: [createVmsa(vmsa)] });
  expect(thrownBy(() => it.machine.hypervisor.run(it.guest))?.details).toMatchObject({
    exitCode: VmExit.Invalid,
  });
});

// R32
test('VMRUN refuses a code segment with L and D in long mode', () => {
  const image = createVmsa();
  image[0x013]! |= 0x4;
  const it = world({}, { vmsas: [image] });
  expect(thrownBy(() => it.machine.hypervisor.run(it.guest))?.details).toMatchObject({
    exitCode: VmExit.Invalid,
  });
});

// P1, P49
test('VMRUN loads CR0 with ET set and reserved bits clear, and EFER with the LMA of the mode', () => {
  const loaded = (control: { cr0?: bigint; efer?: bigint }): bigint[] => {
    const it = world({}, { vmsas: [createVmsa({ control })] });
    let registers: bigint[] = [];
    it.guest.onStart((vcpu) => {
      const { cr0, efer } = vcpu.controlRegisters;
      registers = [cr0, efer];
    });
    it.machine.hypervisor.run(it.guest);
    return registers;
  };
  const { efer } = START_REGISTERS;
  expect(loaded({ cr0: 0x8001_0001n | 0x100n })).toEqual([0x8001_0011n, efer]);
  expect(loaded({ efer: efer & ~ControlBit.EferLma })).toEqual([START_REGISTERS.cr0, efer]);
  expect(loaded({ cr0: 0x11n })).toEqual([0x11n, efer & ~ControlBit.EferLma]);
});

// P81
describe.each([
  ['with TLBs', true],
  ['without TLBs', false],
])('EFER.UAIE, %s', (_, hasTlbs) => {
  const TAG = 0x2an << 57n;
  const user = 0x7f00_0000_1000n as VirtAddr;
  const tagged = (TAG | user) as VirtAddr;
  const masked = (): { it: World; vcpu: Vcpu; tlb: Tlb | undefined } => {
    const it = world();
    it.table.map4k(user, physAddr(PAGE), PteFlags.Writable);
    const tlb = hasTlbs ? new Tlb() : undefined;
    const vcpu = it.guest.createVcpu(tlb === undefined ? {} : { tlb, nestedTlb: new NestedTlb() });
    vcpu.loadCr3(it.table.cr3);
    return { it, vcpu, tlb };
  };

  test('masks bits 63:57 of data accesses, which share the pages in the TLB', () => {
    const { vcpu, tlb } = masked();
    expect(codeOf(() => vcpu.write(tagged, TEXT))).toBe('GP');
    vcpu.load('efer', START_REGISTERS.efer | EferUaie);
    vcpu.write(tagged, TEXT);
    expect(vcpu.read(user, TEXT.length)).toEqual(TEXT);
    expect(vcpu.read((tagged ^ (1n << 60n)) as VirtAddr, TEXT.length)).toEqual(TEXT);
    expect(vcpu.translate(tagged).gpa).toBe(BigInt(PAGE));
    if (tlb !== undefined) expect(tlb.lookup(user)).toBeDefined();
    expect(vcpu.rmpquery(tagged, 1).result).toBe(0);
    // Across two pages: only the first is mapped. CR2 has the address without the tag.
    expect(codeOf(() => vcpu.read((tagged + 0xffen) as VirtAddr, 4))).toBe('PF');
    expect(vcpu.cr2).toBe(user + 0x1000n);
    // Bits 56:47 are not masked.
    expect(codeOf(() => vcpu.read((tagged | (1n << 50n)) as VirtAddr, 1))).toBe('GP');
    expect(codeOf(() => vcpu.read((tagged + (1n << 64n)) as VirtAddr, 1))).toBe('GP');
    for (const wrong of ['x', 5, undefined]) expect(codeOf(() => vcpu.read(wrong as never, 1))).toBe('GP');
    vcpu.load('efer', START_REGISTERS.efer);
    expect(codeOf(() => vcpu.read(tagged, 1))).toBe('GP');
    expect(vcpu.read(user, TEXT.length)).toEqual(TEXT);
  });

  test('masks no fetch, no implicit access and no access to a shadow stack', () => {
    const { vcpu } = masked();
    vcpu.load('efer', START_REGISTERS.efer | EferUaie);
    vcpu.load('cr4', START_REGISTERS.cr4 | Cr4Cet);
    expect(codeOf(() => vcpu.fetch(tagged, 1))).toBe('GP');
    expect(codeOf(() => vcpu.read(tagged, 1, { implicit: true }))).toBe('GP');
    expect(codeOf(() => vcpu.read(tagged, 1, { shadowStack: 'current' }))).toBe('GP');
    expect(codeOf(() => vcpu.read(user, 1, { implicit: true }))).toBeUndefined();
  });
});

// P80
test('LAM does not exist in a guest on AMD: loads of its bits raise #GP(0)', () => {
  const { vcpu, table } = world();
  for (const bit of [61n, 62n]) expect(codeOf(() => vcpu.loadCr3(table.cr3 | (1n << bit)))).toBe('GP');
  expect(codeOf(() => vcpu.load('cr4', vcpu.controlRegisters.cr4 | (1n << 28n)))).toBe('GP');
});
