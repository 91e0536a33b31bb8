import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { decodeRmpEntry, encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';

describe('the layout of Zen 3 and Zen 4', () => {
  const zero = HYPERVISOR_ENTRY;
  test.each<[string, Partial<RmpEntry>, bigint, bigint]>([
    ['an empty entry', {}, 0n, 0n],
    ['assigned', { assigned: true }, 1n, 0n],
    ['2 MiB', { pageSize: PageSize.Huge }, 2n, 0n],
    ['immutable', { immutable: true }, 4n, 0n],
    ['one sub-page', { subpageCount: 1 }, 8n, 0n],
    ['511 sub-pages', { subpageCount: 511 }, 0xff8n, 0n],
    ['the lowest bit of the GPA', { gpa: physAddr(0x1000) }, 0x1000n, 0n],
    ['a GPA beyond 32 bits', { gpa: physAddr(0x1_0000_0000) }, 1n << 32n, 0n],
    ['the highest bit of the GPA', { gpa: physAddr(1n << 50n) }, 1n << 50n, 0n],
    ['ASID 1', { asid: 1 }, 1n << 51n, 0n],
    ['ASID 1023', { asid: 1023 }, 0x3ffn << 51n, 0n],
    ['VMSA', { vmsa: true }, 1n << 61n, 0n],
    ['validated', { validated: true }, 1n << 62n, 0n],
    ['lock', { lock: true }, 1n << 63n, 0n],
    ['masks', { vmplMasks: [0x1f, 0x02, 0x80, 0xff] }, 0n, 0xff80_021fn],
    ['the bits above the masks', { upper: 0x8000_0001 }, 0n, 0x8000_0001_0000_0000n],
  ])('%s', (_, fields, low, high) => {
    const entry = { ...zero, ...fields };
    expect(encodeRmpEntry(entry)).toEqual({ low, high });
    expect(decodeRmpEntry({ low, high })).toEqual(entry);
  });

  // R9
  test('a firmware entry of a dump (Linux, AMDESE/AMDSEV issue 245)', () => {
    expect(decodeRmpEntry({ low: 0x8000_0000_0000_07fdn, high: 0n })).toMatchObject({
      assigned: true,
      immutable: true,
      lock: true,
      subpageCount: 0xff,
      asid: 0,
      gpa: 0n,
      pageSize: PageSize.Regular,
      validated: false,
      vmsa: false,
    });
  });

  test('entries are frozen', () => {
    const entry = decodeRmpEntry({ low: 1n, high: 0n });
    expect(Object.isFrozen(entry) && Object.isFrozen(entry.vmplMasks)).toBe(true);
  });
});
