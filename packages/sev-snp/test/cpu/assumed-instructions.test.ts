/** The instructions of a guest under each assumption that changes them. */
import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { INIT_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import type { Assumptions } from '../../src/formats/assumptions.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { codeOf, gvaOf, MiB, spaOf, type World, world } from '../support/world.ts';

const { Regular, Huge } = PageSize;
const assuming = (assumptions: Partial<Assumptions>): World => world({ assumptions });
const gva = gvaOf(2 * MiB);

// I2
describe.each(['UD-first', 'GP-first'] as const)('of two exceptions, %s:', (exceptionOrder) => {
  test.each([
    [true, 0, undefined, undefined],
    [true, 3, 'GP', 'GP'],
    [false, 0, 'PF', 'UD'],
    [false, 3, 'GP', exceptionOrder === 'UD-first' ? 'UD' : 'GP'],
  ])('64-bit mode %s, CPL %i: PVALIDATE %s, RMPADJUST and RMPQUERY %s', (is64Bit, cpl, validate, others) => {
    const it = assuming({ exceptionOrder });
    const registers = is64Bit ? { ...it.vcpu.controlRegisters } : INIT_REGISTERS;
    const vcpu = it.guest.createVcpu({ registers, csL: is64Bit });
    vcpu.cpl = cpl;
    const at = is64Bit ? gva : virtAddr(0x7000_0000n);
    const pvalidate = codeOf(() => vcpu.pvalidate(at, Huge, true));
    expect(pvalidate).toBe(validate === 'PF' ? 'NPF' : validate);
    expect(codeOf(() => vcpu.rmpadjust(at, Huge, { vmpl: 1, permissions: 0 }))).toBe(others);
    expect(codeOf(() => vcpu.rmpquery(at, 1))).toBe(others);
  });
});

// I3
test.each([
  ['ignored', RmpResult.SUCCESS],
  ['FAIL_INPUT', RmpResult.FAIL_INPUT],
] as const)('low bits of the address %s', (lowAddressBits, expected) => {
  const { vcpu } = assuming({ lowAddressBits });
  const at = virtAddr(gva + 8n);
  const adjustment = { vmpl: 1, permissions: 1 };
  expect([vcpu.pvalidate(at, Huge, true).result, vcpu.rmpadjust(at, Huge, adjustment)]).toEqual([
    expected,
    expected,
  ]);
  expect([vcpu.pvalidate(gva, Huge, true).result, vcpu.rmpadjust(gva, Huge, adjustment)]).toEqual([0, 0]);
});

test('bits 20:12 of the address of a 2 MiB operand have to be 0', () => {
  const { vcpu } = assuming({});
  for (const offset of [0x1000n, 0xff000n, 0x1ff000n]) {
    const at = virtAddr(gva + offset);
    expect(vcpu.pvalidate(at, Huge, true).result).toBe(RmpResult.FAIL_INPUT);
    expect(vcpu.rmpadjust(at, Huge, { vmpl: 1, permissions: 1 })).toBe(RmpResult.FAIL_INPUT);
  }
});

// I13
test.each([
  [false, RmpResult.SUCCESS],
  [true, RmpResult.FAIL_SIZEMISMATCH],
])('the size of the page in the guest’s own table matters: %s', (guestSizeMatters, expected) => {
  const { vcpu, table } = assuming({ guestSizeMatters });
  const small = virtAddr(0xffff_9000_0000_0000n);
  table.map4k(small, physAddr(2 * MiB), PtePreset.Data);
  expect(vcpu.pvalidate(small, Huge, true).result).toBe(expected);
  expect(vcpu.rmpadjust(small, Huge, { vmpl: 1, permissions: 1 })).toBe(expected);
  expect(vcpu.pvalidate(gva, Huge, true).result).toBe(RmpResult.SUCCESS);
});

// RMPQUERY step 1
test.each([
  ['own-and-lower', [false, true, true, true]],
  ['lower', [false, false, true, true]],
  ['any', [true, true, true, true]],
] as const)('RMPQUERY at VMPL1 accepts %s', (rmpqueryLevels, accepted) => {
  const it = assuming({ rmpqueryLevels });
  it.vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0xf, vmsa: false });
  it.vcpu.rmpadjust(gvaOf(0), Huge, { vmpl: 1, permissions: 0xf });
  const vcpu = it.guest.createVcpu({ vmpl: 1 });
  vcpu.loadCr3(it.vcpu.cr3);
  const masks = [0x1f, 0xf, 0, 0];
  for (const level of [0, 1, 2, 3] as const) {
    const found = { result: 0, permissions: masks[level], vmsa: false, pageSize: Huge };
    const refused = { result: RmpResult.FAIL_PERMISSION, permissions: 0, vmsa: false, pageSize: Regular };
    expect(vcpu.rmpquery(gva, level)).toEqual(accepted[level] ? found : refused);
  }
});

// RMPQUERY step 3
test.each([
  [true, 'VC_NOT_VALIDATED'],
  [false, undefined],
])('RMPQUERY needs a validated page: %s', (rmpqueryNeedsValidated, code) => {
  const { vcpu } = assuming({ rmpqueryNeedsValidated });
  vcpu.pvalidate(gva, Huge, false);
  expect(codeOf(() => vcpu.rmpquery(gva, 1))).toBe(code);
});

// I10
test.each([
  ['clear', false],
  ['set', true],
] as const)('the carry flag of a PVALIDATE that fails: %s', (carryOnFailure, unchanged) => {
  const { vcpu } = assuming({ carryOnFailure });
  expect(vcpu.pvalidate(virtAddr(gva + 0x1000n), Huge, true)).toEqual({ result: 1, unchanged });
});

// RMPADJUST step 1
test.each([
  ['FAIL_INPUT', 1],
  ['ignored', 0],
] as const)('a reserved bit of the mask of RMPADJUST: %s', (rmpadjustReservedBits, result) => {
  const { vcpu } = assuming({ rmpadjustReservedBits });
  expect(vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0x81 })).toBe(result);
  expect(vcpu.rmpquery(gva, 1).permissions).toBe(result === 0 ? 1 : 0);
});

test('an operand of an instruction is an access: it fills the TLB', () => {
  const { vcpu, tlb } = assuming({});
  tlb.flushAll();
  vcpu.translate(gva);
  expect(tlb.lookup(gva)).toBeUndefined();
  vcpu.rmpquery(gva, 1);
  expect(tlb.lookup(gva)).toBeDefined();
});

test('an instruction ends the arrays of its page, and no other', () => {
  for (const act of [
    ({ vcpu }: World) => vcpu.pvalidate(gva, Huge, false),
    ({ vcpu }: World) => vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0 }),
  ]) {
    const it = assuming({});
    const pages = [2 * MiB, 4 * MiB - PAGE_SIZE, 4 * MiB];
    const arrays = pages.map((gpa) => it.vcpu.memory.words(gpa / PAGE_SIZE, true));
    act(it);
    for (const words of arrays) words[0] = 7;
    const contents = pages.map((gpa) => it.machine.memory.read(spaOf(it, gpa), 1, it.guest.key)[0]);
    expect(contents).toEqual([0, 0, 7]);
  }
});

describe('a nested TLB', () => {
  test('answers `translate` with the old page until a flush', () => {
    const nestedTlb = new NestedTlb();
    const it = world({}, { pageSize: Regular }, { nestedTlb });
    const { guest, vcpu } = it;
    vcpu.write(gva, Uint8Array.of(1));
    const old = spaOf(it, 2 * MiB);
    guest.nested.unmap(physAddr(2 * MiB));
    expect(vcpu.translate(gva).spa).toBe(old);
    vcpu.invlpgb();
    expect(codeOf(() => vcpu.translate(gva))).toBe('NPF');
  });

  test('is used by reads and writes of one page: the table of the host is not read again', () => {
    const nestedTlb = new NestedTlb();
    const it = world({}, {}, { nestedTlb });
    const { guest, vcpu } = it;
    vcpu.write(gva, Uint8Array.of(1, 2, 3, 4));
    vcpu.read(gva, 4);
    const walk = guest.nested.walk.bind(guest.nested);
    let walks = 0;
    guest.nested.walk = (gpa) => {
      walks += 1;
      return walk(gpa);
    };
    vcpu.write(virtAddr(gva + 1n), Uint8Array.of(7, 8));
    expect([...vcpu.read(gva, 5), walks]).toEqual([1, 7, 8, 4, 0, 0]);
  });
});

test('a nested walk whose answer is not an address is refused', () => {
  const { guest, vcpu } = world();
  const page = guest.nested.walk(physAddr(2 * MiB)) as object;
  const walk = guest.nested.walk.bind(guest.nested);
  const isData = (gpa: bigint): boolean => gpa >= 2 * MiB;
  guest.nested.walk = (gpa) => (isData(gpa) ? ({ ...page, spa: 'x' } as never) : walk(gpa));
  expect(() => vcpu.read(gva, 1)).toThrow('is not a system-physical address');
  guest.nested.walk = (gpa) => (isData(gpa) ? 'reserved' : walk(gpa));
  expect(codeOf(() => vcpu.read(gva, 1))).toBe('VC_MMIO');
});

describe('the events of a processor', () => {
  test.each<[string, (it: World) => void, object[]]>([
    ['a load of CR3', ({ vcpu }) => vcpu.loadCr3(vcpu.cr3), [{ type: 'flush', gva: undefined }]],
    ['a load of CR0', ({ vcpu }) => vcpu.load('cr0', vcpu.controlRegisters.cr0), []],
    ['INVLPG', ({ vcpu }) => vcpu.invlpg(gva), [{ type: 'flush', gva }]],
    ['INVLPGB', ({ vcpu }) => vcpu.invlpgb(), [{ type: 'flush', gva: undefined }]],
    ['a flush of its TLB', ({ vcpu }) => vcpu.flushTlb(), [{ type: 'flush', gva: undefined }]],
    [
      'RMPADJUST',
      ({ vcpu }) => vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0 }),
      [{ type: 'rmpadjust', gva, result: 0 }],
    ],
    [
      'PVALIDATE',
      ({ vcpu }) => vcpu.pvalidate(gva, Huge, true),
      [{ type: 'pvalidate', gva, pageSize: Huge, validate: true, result: 0, unchanged: true }],
    ],
  ])('%s', (_, act, events) => {
    const it = world();
    act(it);
    expect(it.events).toEqual(events);
  });

  test('a new processor has registers of 0, and does not need a TLB', () => {
    const { guest, table } = world();
    const vcpu = guest.createVcpu();
    expect([vcpu.registers, vcpu.isRunning, vcpu.vmsa]).toEqual([
      { rax: 0n, rcx: 0n, rdx: 0n, r8: 0n, r9: 0n },
      true,
      undefined,
    ]);
    vcpu.loadCr3(table.cr3);
    vcpu.flushTlb();
    vcpu.invlpg(gva);
    vcpu.leave(0n);
    expect([...vcpu.read(gva, 1)]).toEqual([0]);
  });
});
