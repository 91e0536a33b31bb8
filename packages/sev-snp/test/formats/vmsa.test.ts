import { expect, test } from 'vitest';
import {
  readVmsa,
  SevFeature,
  VMSA_AREAS,
  VMSA_FIELDS,
  type VmsaField,
  writeVmsa,
} from '../../src/formats/vmsa.ts';
import { codeOf, thrownBy } from '../support/world.ts';

const FIELDS = Object.keys(VMSA_FIELDS) as VmsaField[];

// R35
test('fields and areas leave the reserved bytes of the page, and no others', () => {
  const named = [...Object.values(VMSA_FIELDS), ...Object.values(VMSA_AREAS)];
  const reserved: number[] = [];
  for (let at = 0; at < 0x7c8; at += 1)
    if (!named.some(([offset, size]) => offset <= at && at < offset + size)) reserved.push(at);
  const runs: [first: number, length: number][] = [];
  for (const at of reserved) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] + last[1] === at) last[1] += 1;
    else runs.push([at, 1]);
  }
  expect(runs).toEqual([
    [0x0c8, 2],
    [0x0cc, 4],
    [0x0d8, 104],
    [0x1c0, 24],
    [0x248, 32],
    [0x298, 72],
    [0x320, 8],
    [0x380, 16],
    [0x3f0, 16],
  ]);
});

// R35
test('each field keeps the value that is written to it, in its own bytes', () => {
  const vmsa = new Uint8Array(4096);
  const taken = new Set<number>();
  for (const field of FIELDS) {
    const [offset, size] = VMSA_FIELDS[field];
    for (let k = 0; k < size; k += 1) {
      expect(taken.has(offset + k), field).toBe(false);
      taken.add(offset + k);
    }
    // The CPL is at most 3.
    const value = field === 'cpl' ? 3n : (BigInt(offset) % 251n) | (1n << BigInt(8 * size - 1));
    writeVmsa(vmsa, field, value);
    expect(readVmsa(vmsa, field)).toBe(value);
  }
  expect([...vmsa.keys()].filter((k) => vmsa[k] !== 0).every((k) => taken.has(k))).toBe(true);
});

test('refuses bytes of another length, and a value that does not fit', () => {
  expect(codeOf(() => readVmsa(new Uint8Array(4095), 'rax'))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => writeVmsa(new Uint8Array(4097), 'rax', 0n))).toBe('INVALID_ARGUMENT');
  expect(codeOf(() => writeVmsa(new Uint8Array(4096), 'vmpl', 256n))).toBe('INVALID_MESSAGE');
  expect(codeOf(() => writeVmsa(new Uint8Array(4096), 'rax', -1n))).toBe('INVALID_MESSAGE');
});

// C11
test('SEV_FEATURES has its bits (AMD64 APM vol. 2, appendix B)', () => {
  expect(SevFeature).toEqual({
    SnpActive: 1n << 0n,
    VirtualTom: 1n << 1n,
    ReflectVc: 1n << 2n,
    RestrictedInjection: 1n << 3n,
    AlternateInjection: 1n << 4n,
    DebugVirtualization: 1n << 5n,
    VmplSss: 1n << 8n,
  });
});

test('a refused length is named', () => {
  const what = 'the length of a VMSA';
  expect(thrownBy(() => readVmsa(new Uint8Array(5), 'rax'))?.details).toMatchObject({ what, value: 5 });
  expect(thrownBy(() => writeVmsa(new Uint8Array(5), 'rax', 0n))?.details).toMatchObject({ what, value: 5 });
});
