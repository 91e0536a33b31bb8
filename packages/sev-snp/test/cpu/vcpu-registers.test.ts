import { physAddr } from '@svsm/address';
import { CONTROL_FAULTS, Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import {
  ControlBit,
  type ControlRegister,
  type ControlRegisters,
  guestFeatures,
  heldRegisters,
  INIT_REGISTERS,
  is64BitMode,
  START_REGISTERS,
} from '../../src/cpu/vcpu-registers.ts';
import { codeOf, gvaOf, MiB, thrownBy, world } from '../support/world.ts';

const { Cr0Pg, Cr0Pe, Cr0Wp, Cr4Pae, Cr4Pge, Cr4La57, Cr4Pcide, Cr4Smep, Cr4Smap, Cr4Pke } = ControlBit;
const { EferLme, EferNxe } = ControlBit;
const { cr0, cr4, efer } = START_REGISTERS;

// P5, P32, P40, P49, P50, P51, P52
describe('a load that raises #GP(0)', () => {
  test.each<[string, ControlRegister, bigint]>([
    ['CR0 without paging', 'cr0', cr0 & ~Cr0Pg],
    ['CR0 without protection', 'cr0', cr0 & ~Cr0Pe],
    ['CR0 wider than 32 bits', 'cr0', cr0 | (1n << 32n)],
    ['CR4 without PAE', 'cr4', cr4 & ~Cr4Pae],
    ['a change of LA57', 'cr4', cr4 | Cr4La57],
    ['EFER without LME', 'efer', efer & ~EferLme],
    ['a bit of CR4 that processors of AMD do not have, LAM_SUP', 'cr4', cr4 | (1n << 28n)],
    ['a bit of EFER that no processor has', 'efer', efer | (1n << 40n)],
    ['CET without WP', 'cr4', cr4 | ControlBit.Cr4Cet],
    ['CR3 beyond 52 bits', 'cr3', 1n << 52n],
    ['bit 63 of CR3 without PCIDs', 'cr3', 1n << 63n],
  ])('%s', (_, register, value) => {
    const { vcpu } = world();
    if (value === (cr4 | ControlBit.Cr4Cet)) vcpu.load('cr0', cr0 & ~Cr0Wp);
    const before = vcpu.controlRegisters;
    expect(codeOf(() => vcpu.load(register, value))).toBe('GP');
    expect(vcpu.controlRegisters).toEqual(before);
  });

  test('has the reason of the state machine of @svsm/pagetable', () => {
    const { vcpu } = world();
    expect(thrownBy(() => vcpu.load('cr0', cr0 & ~Cr0Pg))?.details).toEqual({
      errorCode: 0,
      reason: CONTROL_FAULTS['paging-off-in-64-bit-mode'],
    });
  });

  // P32
  test('CR4.PCIDE while bits 11:0 of CR3 are not 0', () => {
    const { vcpu, table } = world();
    vcpu.loadCr3(table.cr3 | 5n);
    expect(codeOf(() => vcpu.load('cr4', cr4 | Cr4Pcide))).toBe('GP');
  });
});

test('a value that does not fit the register is refused with a coded error', () => {
  const { vcpu } = world();
  expect(codeOf(() => vcpu.load('cr4', 1n << 64n))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => vcpu.load('pkru', 1n << 32n))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => vcpu.load('cr4', 32 as never))).toBe('INVALID_ARGUMENT');
});

// P41, P30, P54
describe('the pages that stay in the TLB after a load of', () => {
  // One global page, and one that is not.
  const GLOBAL = gvaOf(2 * MiB);
  const OWN = gvaOf(64 * MiB);
  const filled = () => {
    const it = world();
    it.table.map4k(OWN, physAddr(2 * MiB), 0x62);
    const touch = () => [GLOBAL, OWN].map((gva) => it.vcpu.read(gva, 1)[0]);
    touch();
    return { it, held: () => [GLOBAL, OWN].map((gva) => it.tlb.lookup(gva) !== undefined) };
  };
  const BOTH = [true, true];

  test.each<[string, ControlRegister, (old: bigint) => bigint, boolean[]]>([
    ['CR0.WP', 'cr0', (old) => old & ~Cr0Wp, BOTH],
    ['CR3', 'cr3', (old) => old, [true, false]],
    ['CR4.SMAP', 'cr4', (old) => old | Cr4Smap, BOTH],
    ['CR4.PKE, set', 'cr4', (old) => old | Cr4Pke, [false, false]],
    ['CR4.SMEP, set', 'cr4', (old) => old | Cr4Smep, [true, false]],
    ['CR4.PGE', 'cr4', (old) => old & ~Cr4Pge, [false, false]],
    ['CR4.PCIDE, set', 'cr4', (old) => old | Cr4Pcide, BOTH],
    ['EFER.NXE', 'efer', (old) => old & ~EferNxe, BOTH],
    ['EFLAGS.AC', 'rflags', (old) => old | ControlBit.RflagsAc, BOTH],
    ['PKRU', 'pkru', () => 0xcn, BOTH],
  ])('%s', (_, register, change, expected) => {
    const { it, held } = filled();
    it.vcpu.load(register, change(it.vcpu.controlRegisters[register]));
    expect(held()).toEqual(expected);
  });

  test('CR4.PKE, cleared', () => {
    const { it, held } = filled();
    it.vcpu.load('cr4', cr4 | Cr4Pke);
    for (const gva of [GLOBAL, OWN]) it.vcpu.read(gva, 1);
    it.vcpu.load('cr4', cr4);
    expect(held()).toEqual(BOTH);
  });

  test('CR4.SMEP, cleared, or CR4.PCIDE, cleared', () => {
    const { it, held } = filled();
    it.vcpu.load('cr4', cr4 | Cr4Smep);
    it.vcpu.read(OWN, 1);
    it.vcpu.load('cr4', cr4 | Cr4Pcide);
    expect(held()).toEqual(BOTH);
    it.vcpu.load('cr4', cr4);
    expect(held()).toEqual([false, false]);
  });

  // P5
  test('CR3 with PCIDs: each PCID keeps its pages, and bit 63 drops nothing and is not stored', () => {
    const { it, held } = filled();
    it.vcpu.load('cr4', cr4 | Cr4Pcide);
    it.vcpu.loadCr3(it.table.cr3 | 7n);
    expect(held()).toEqual([true, false]);
    it.vcpu.loadCr3(it.table.cr3 | (1n << 63n));
    expect(held()).toEqual(BOTH);
    expect(it.vcpu.cr3).toBe(it.table.cr3);
    it.vcpu.loadCr3(it.table.cr3);
    expect(held()).toEqual([true, false]);
  });

  // P30
  test('CR3 while CR4.PGE is 0: no page is global then', () => {
    const { it, held } = filled();
    it.vcpu.load('cr4', cr4 & ~Cr4Pge);
    for (const gva of [GLOBAL, OWN]) it.vcpu.read(gva, 1);
    it.vcpu.loadCr3(it.table.cr3);
    expect(held()).toEqual([false, false]);
  });

  test('CR4.PCIDE, cleared: PCID 0 is current', () => {
    const { it } = filled();
    it.vcpu.load('cr4', cr4 | Cr4Pcide);
    it.vcpu.loadCr3(it.table.cr3 | 7n);
    expect([it.tlb.pcid, it.tlb.pcids]).toEqual([7, true]);
    it.vcpu.load('cr4', cr4);
    expect([it.tlb.pcid, it.tlb.pcids]).toEqual([0, false]);
  });

  test('CR3, in a TLB without PCIDs: no page stays', () => {
    const plain = new Tlb();
    const cache = {
      lookup: plain.lookup.bind(plain),
      insert: plain.insert.bind(plain),
      flushPage: plain.flushPage.bind(plain),
      flushAll: plain.flushAll.bind(plain),
    };
    const it = world({}, {}, { tlb: cache });
    it.vcpu.read(GLOBAL, 1);
    it.vcpu.loadCr3(it.table.cr3);
    expect(plain.lookup(GLOBAL)).toBeUndefined();
  });
});

// P49, P50
test('CR0.ET stays 1, and EFER.LMA does not change by a write', () => {
  const { vcpu } = world();
  vcpu.load('cr0', cr0 & ~ControlBit.Cr0Et);
  expect(vcpu.controlRegisters.cr0).toBe(cr0);
  vcpu.load('efer', efer & ~ControlBit.EferLma);
  expect(vcpu.controlRegisters.efer).toBe(efer);
});

// R32, P42
test.each<[string, Partial<Record<ControlRegister, bigint>>]>([
  ['PAE paging', { efer: 0x1000n }],
  ['32-bit paging', { efer: 0x1000n, cr4: 0n }],
  ['long mode without PAE', { cr4: 0n }],
  ['CR3 beyond 52 bits', { cr3: 1n << 52n }],
  ['a bit of CR4 that it does not have', { cr4: cr4 | (1n << 28n) }],
  ['a bit of EFER that it does not have', { efer: efer | (1n << 40n) }],
  ['CR0 wider than 32 bits', { cr0: cr0 | (1n << 32n) }],
  ['a register that is not a bigint', { cr4: 1 as never }],
])('a processor cannot be made with %s', (_, registers) => {
  expect(codeOf(() => world().guest.createVcpu({ registers }))).toBe('INVALID_ARGUMENT');
});

describe('outside of 64-bit mode', () => {
  const compatibility = () => world().guest.createVcpu({ csL: false });

  test.each<[ControlRegister, number]>([
    ['cr0', 32],
    ['cr3', 32],
    ['cr4', 32],
    ['efer', 64],
    ['rflags', 64],
    ['pkru', 32],
    ['pkrs', 32],
  ])('a load of %s takes %d bits', (register, width) => {
    const vcpu = compatibility();
    const refusal = thrownBy(() => vcpu.load(register, 1n << 64n));
    expect(refusal).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { what: `the value of ${register}`, expected: `pass a bigint of at most ${width} bits` },
    });
  });
});

test('a load of PKRU or PKRS takes 32 bits in 64-bit mode too, and changes that register alone', () => {
  const { vcpu } = world();
  for (const register of ['pkru', 'pkrs'] as const) {
    expect(codeOf(() => vcpu.load(register, 1n << 32n))).toBe('INVALID_ARGUMENT');
    const before = vcpu.controlRegisters;
    vcpu.load(register, 0xffff_fffcn);
    expect(vcpu.controlRegisters).toEqual({ ...before, [register]: 0xffff_fffcn });
  }
});

test('a load of RFLAGS refuses reserved bits and VM, and takes the others', () => {
  const { vcpu } = world();
  for (const bit of [3n, 5n, 15n, 17n, 22n, 32n]) {
    expect(thrownBy(() => vcpu.load('rflags', 1n << bit))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { what: 'the value of rflags', expected: 'set no bit that is reserved, and not VM' },
    });
  }
  vcpu.load('rflags', 0x3d_7fd7n);
  expect(vcpu.controlRegisters.rflags).toBe(0x3d_7fd7n);
});

describe('registers that a processor gets at once', () => {
  const features = guestFeatures(48, 51);
  const held = (registers: Partial<ControlRegisters>, csL = true) =>
    heldRegisters({ ...START_REGISTERS, ...registers }, csL, features);

  test.each<[string, Partial<ControlRegisters>]>([
    ['CR0 that is not a bigint', { cr0: 0 as never }],
    ['CR3 that is not a bigint', { cr3: 0 as never }],
    ['CR4 that is not a bigint', { cr4: 0 as never }],
    ['EFER that is not a bigint', { efer: 0 as never }],
    ['CR3 beyond the physical bits', { cr3: 1n << 48n }],
    ['a bit of CR4 that does not exist', { cr4: cr4 | (1n << 28n) }],
    ['a bit of EFER that does not exist', { efer: efer | (1n << 40n) }],
    ['paging without protection', { cr0: cr0 & ~Cr0Pe }],
    ['PAE paging', { efer: 0x1000n }],
  ])('are none with %s', (_, registers) => {
    expect(held(registers)).toBeUndefined();
  });

  test('keep the C-bit of CR3, and the other registers', () => {
    const given = { cr3: (1n << 51n) | (0x3n << 46n), rflags: 0x46n, pkru: 5n, pkrs: 6n };
    expect(held(given)).toEqual({ ...START_REGISTERS, ...given });
    expect(
      heldRegisters({ ...START_REGISTERS, cr3: 1n << 51n }, true, guestFeatures(52, undefined))?.cr3,
    ).toBe(1n << 51n);
  });

  test('pass on an error that is not about the state', () => {
    const broken = Object.defineProperty({ ...START_REGISTERS }, 'rflags', {
      enumerable: true,
      get: () => {
        throw new RangeError('mine');
      },
    });
    expect(() => heldRegisters(broken, true, features)).toThrow(RangeError);
  });

  test('get EFER.LMA from EFER.LME and CR0.PG', () => {
    const { EferLma } = ControlBit;
    const off = { cr0: cr0 & ~Cr0Pg };
    expect(held({ efer: efer & ~EferLma })?.efer).toBe(efer);
    expect(held({ ...off, efer }, false)?.efer).toBe(efer & ~EferLma);
    expect(held({ ...INIT_REGISTERS, efer: EferLma | ControlBit.EferSvme }, false)?.efer).toBe(
      ControlBit.EferSvme,
    );
  });

  test('get CR0.ET, and 0 for the bits of CR0 that read as 0', () => {
    expect(held({ cr0: (cr0 & ~ControlBit.Cr0Et) | 0x1ffa_ffc0n })?.cr0).toBe(cr0);
  });
});

test('64-bit mode needs the bit L of the code segment, and EFER.LMA', () => {
  const without = { ...START_REGISTERS, efer: efer & ~ControlBit.EferLma };
  const modes = [START_REGISTERS, without].flatMap((it) => [is64BitMode(it, true), is64BitMode(it, false)]);
  expect(modes).toEqual([true, false, false, false]);
});
