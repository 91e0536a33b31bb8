import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { failedVmsaCheck } from '../../src/cpu/vmsa-checks.ts';
import { readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';

type Field = Parameters<typeof writeVmsa>[1];
type Fields = Partial<Record<Field, bigint>>;

const C_BIT = 51;

/** The VMSA of a processor in long mode with paging, with other fields. */
function vmsaWith(fields: Fields): Uint8Array {
  const image = createVmsa({ control: { cr3: 0x1234_5000n } });
  for (const [field, value] of Object.entries(fields)) writeVmsa(image, field as Field, value);
  return image;
}

const check = (fields: Fields, physicalBits = 48): string | undefined =>
  failedVmsaCheck(vmsaWith(fields), C_BIT, physicalBits);

const LONG = readVmsa(createVmsa(), 'cr0');

// R32
test('a processor in long mode passes', () => {
  expect(check({})).toBeUndefined();
});

// R32
describe('the condition that fails has its name', () => {
  test.each<[string, Fields]>([
    ['EFER.SVME is 1', { efer: 0xd00n }],
    ['DR6[63:32] are 0', { dr6: 1n << 32n }],
    ['DR6[63:32] are 0', { dr6: 1n << 63n }],
    ['DR7[63:32] are 0', { dr7: 1n << 32n }],
    ['DR7[63:32] are 0', { dr7: 1n << 63n }],
    ['CS.L and CS.D are not both 1 in long mode', { csAttributes: 0x69bn }],
    ['reserved bits of S_CET are 0', { sCet: 4n }],
    ['reserved bits of S_CET are 0', { sCet: 1n << 63n }],
    ['reserved bits of U_CET are 0', { uCet: 4n }],
    ['reserved bits of U_CET are 0', { uCet: 1n << 63n }],
    ['SNP is active', { sevFeatures: 0n }],
    ['SNP is active', { sevFeatures: 0x100n }],
    ['the features are modelled', { sevFeatures: 0x5n }],
    ['the features are modelled', { sevFeatures: 1n | (1n << 63n) }],
    ['the VMPL exists', { vmpl: 4n }],
    ['the VMPL exists', { vmpl: 0xffn }],
    ['no bit of RFLAGS is reserved, and VM is clear', { rflags: 0x2_0002n }],
    ['no bit of RFLAGS is reserved, and VM is clear', { rflags: 0xan }],
    ['no event is injected', { eventInjection: 1n }],
    ['no virtual interrupt waits', { vintrCtrl: 1n }],
    ['XCR0[0] is 1', { xcr0: 0n }],
    ['XCR0[0] is 1', { xcr0: 2n }],
    ['VIRTUAL_TOM is a multiple of 2 MiB', { sevFeatures: 3n, virtualTom: 0x10_0000n }],
    ['VIRTUAL_TOM is a multiple of 2 MiB', { sevFeatures: 3n, virtualTom: (1n << 40n) + 0x1000n }],
    ['the registers are those of a processor', { cr0: 1n << 32n }],
    ['the registers are those of a processor', { cr3: 1n << 48n }],
    ['the registers are those of a processor', { cr3: 1n << 52n }],
    // With VIRTUAL_TOM the C-bit is not a bit of an address.
    ['the registers are those of a processor', { sevFeatures: 3n, virtualTom: 1n << 46n, cr3: 1n << 51n }],
    ['the registers are those of a processor', { cr0: LONG & ~1n }],
  ])('%s: %o', (name, fields) => {
    expect(check(fields)).toBe(name);
  });

  // A guest can write any byte there; `writeVmsa` cannot.
  test.each([4, 0xff])('the CPL exists: %i', (cpl) => {
    const image = vmsaWith({});
    image[0xcb] = cpl;
    expect(failedVmsaCheck(image, C_BIT, 48)).toBe('the CPL exists');
  });

  test.each([0, 1, 2, 3, 4, 5, 6, 7])('each byte of PAT is a memory type: byte %i', (byte) => {
    for (let type = 0n; type < 256n; type += 1n) {
      const isType = [0n, 1n, 4n, 5n, 6n, 7n].includes(type);
      const expected = isType ? undefined : 'each byte of PAT is a memory type';
      expect(check({ pat: type << BigInt(8 * byte) })).toBe(expected);
    }
  });
});

// R32
test.each<[string, Fields]>([
  ['the low halves of DR6 and DR7', { dr6: 0xffff_ffffn, dr7: 0xffff_ffffn }],
  ['shadow stacks', { sCet: 3n, uCet: 3n }],
  ['every level', { vmpl: 3n }],
  ['every CPL', { cpl: 3n }],
  ['VMPL SSS', { sevFeatures: 0x101n }],
  ['a virtual top of memory', { sevFeatures: 3n, virtualTom: 0x20_0000n }],
  ['a virtual top of memory that is not in use', { virtualTom: 0x1000n }],
  ['the C-bit of CR3', { cr3: (1n << 51n) | 0x1000n }],
  ['the highest bit of an address', { cr3: 1n << 47n }],
  ['more features of XCR0', { xcr0: 7n }],
  ['CS.D without CS.L', { csAttributes: 0x49bn }],
  ['CS.L without CS.D', { csAttributes: 0x29bn }],
])('%s: passes', (_, fields) => {
  expect(check(fields)).toBeUndefined();
});

// R32
test('CS.L with CS.D is refused in long mode only', () => {
  const both = { csAttributes: 0x69bn };
  const paged = 0x8000_0000n;
  // LME without paging, as before the switch to long mode.
  const before = { ...both, cr0: LONG & ~paged, efer: 0x1100n };
  expect(check(before)).not.toBe('CS.L and CS.D are not both 1 in long mode');
  // Neither LME nor paging.
  expect(check({ ...before, efer: 0x1000n })).not.toBe('CS.L and CS.D are not both 1 in long mode');
  // Paging without LME, which the model refuses for another reason.
  expect(check({ ...both, efer: 0x1000n })).toBe('the registers are those of a processor');
  expect(check(both)).toBe('CS.L and CS.D are not both 1 in long mode');
});
