import { describe, expect, test } from 'vitest';
import { createResetVmsa, createSvsmResetVmsa, type ResetVmsaOptions } from '../../src/formats/reset-vmsa.ts';
import { readVmsa, VMSA_FIELDS, type VmsaField } from '../../src/formats/vmsa.ts';
import { codeOf } from '../support/world.ts';

/** The fields that are not 0. */
function fieldsOf(vmsa: Uint8Array): Record<string, bigint> {
  const values = Object.keys(VMSA_FIELDS).map((name) => [name, readVmsa(vmsa, name as VmsaField)] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== 0n));
}

const data = (name: string, attributes = 0x93n) => ({
  [`${name}Attributes`]: attributes,
  [`${name}Limit`]: 0xffffn,
});
const QEMU = {
  ...data('es'),
  ...data('ss'),
  ...data('ds'),
  ...data('fs'),
  ...data('gs'),
  csSelector: 0xf000n,
  csAttributes: 0x9bn,
  csLimit: 0xffffn,
  csBase: 0xffff_0000n,
  gdtrLimit: 0xffffn,
  ...data('ldtr', 0x82n),
  idtrLimit: 0xffffn,
  ...data('tr', 0x8bn),
  efer: 0x1000n,
  cr4: 0x40n,
  cr0: 0x10n,
  dr7: 0x400n,
  dr6: 0xffff_0ff0n,
  rflags: 2n,
  rip: 0xfff0n,
  pat: 0x0007_0406_0007_0406n,
  rdx: 0xa0_0f11n,
  sevFeatures: 1n,
  xcr0: 1n,
  mxcsr: 0x1f80n,
  x87Control: 0x37fn,
};

// L12
describe('a processor at reset has the state', () => {
  const { mxcsr, x87Control, ...others } = QEMU;
  test.each<[string, ResetVmsaOptions, Record<string, bigint>]>([
    ['of QEMU', { cpuSignature: 0xa0_0f11 }, QEMU],
    [
      'of QEMU, of an application processor',
      { cpuSignature: 0xa0_0f11, eip: 0x80_b004, sevFeatures: 0x21n },
      { ...QEMU, csBase: 0x80_0000n, rip: 0xb004n, sevFeatures: 0x21n },
    ],
    [
      'of EC2',
      { vmm: 'ec2', cpuSignature: 5 },
      { ...others, rdx: 0x600n, csAttributes: 0x9an, ssAttributes: 0x92n, trAttributes: 0x83n },
    ],
    [
      'of EC2, of an application processor',
      { vmm: 'ec2', eip: 0x80_b004 },
      { ...others, rdx: 0x600n, ssAttributes: 0x92n, trAttributes: 0x83n, csBase: 0x80_0000n, rip: 0xb004n },
    ],
    ['of GCE', { vmm: 'gce' }, { ...others, rdx: 0x600n, pat: 0x0007_0106n }],
  ])('%s', (_, options, expected) => {
    const vmsa = createResetVmsa(options);
    expect(vmsa.length).toBe(4096);
    expect(fieldsOf(vmsa)).toEqual(expected);
  });

  test('of QEMU of COCONUT-SVSM: protected mode, at a flat address', () => {
    const flat = (name: string) => ({
      [`${name}Selector`]: 16n,
      [`${name}Attributes`]: 0xc93n,
      [`${name}Limit`]: 0xffff_ffffn,
    });
    const { csBase, x87Control: _, ...rest } = QEMU;
    expect(fieldsOf(createSvsmResetVmsa({ cpuSignature: 0xa0_0f11, eip: 0xffae_a010 }))).toEqual({
      ...rest,
      ...flat('es'),
      ...flat('ss'),
      ...flat('ds'),
      ...flat('fs'),
      csSelector: 8n,
      csAttributes: 0xc9bn,
      csLimit: 0xffff_ffffn,
      cr0: 0x11n,
      rip: 0xffae_a010n,
    });
  });
});

test.each<[string, ResetVmsaOptions, string]>([
  ['no signature for QEMU', {}, 'INVALID_ARGUMENT'],
  ['a signature of 33 bits', { cpuSignature: 2 ** 32 }, 'INVALID_ARGUMENT'],
  ['an address of 33 bits', { cpuSignature: 1, eip: 2 ** 32 }, 'INVALID_ARGUMENT'],
  ['an address that is not an integer', { cpuSignature: 1, eip: 0.5 }, 'INVALID_ARGUMENT'],
  ['other software', { vmm: 'xen' as never }, 'INVALID_ARGUMENT'],
  ['features of 65 bits', { cpuSignature: 1, sevFeatures: 1n << 64n }, 'INVALID_MESSAGE'],
])('refuses %s', (_, options, code) => {
  expect(codeOf(() => createResetVmsa(options))).toBe(code);
  if (options.vmm === undefined) expect(codeOf(() => createSvsmResetVmsa(options))).toBe(code);
});
