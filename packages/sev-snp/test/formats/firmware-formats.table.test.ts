/** Bytes of the firmware's pages and records, typed out from AMD-ASPFW sev_mcmd.h, sev_rmp.h and Linux asm/sev.h. */
import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type CpuidEntry, decodeCpuidPage, encodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import { encodePageInfo, type PageInfo } from '../../src/formats/launch-digest.ts';
import { announceSvsm, decodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { decodeSwapRecord, encodeSwapRecord, type SwapRecord } from '../../src/formats/swap-record.ts';
import { bitsOfBytes, changedBits } from '../support/bits.ts';

const ALL = 0xff;

/** The last member of `value` along `path`. */
function at(value: unknown, path: string): unknown {
  return path.split('.').reduce((part, name) => (part as Record<string, unknown>)?.[name], value);
}

// Linux `struct snp_secrets_page`.
// L7, S1
describe('the secrets page', () => {
  test.each<[path: string, offset: number, size: number, all: unknown]>([
    ['version', 0x000, 4, 0xffff_ffff],
    ['familyModelStepping', 0x008, 4, 0xffff_ffff],
    ['vmpcks.0', 0x020, 32, new Uint8Array(32).fill(ALL)],
    ['vmpcks.1', 0x040, 32, new Uint8Array(32).fill(ALL)],
    ['vmpcks.2', 0x060, 32, new Uint8Array(32).fill(ALL)],
    ['vmpcks.3', 0x080, 32, new Uint8Array(32).fill(ALL)],
    ['vmsaTweakBitmap', 0x100, 64, new Uint8Array(64).fill(ALL)],
    ['svsm.base', 0x140, 8, 0xffff_ffff_ffff_ffffn],
    ['svsm.size', 0x148, 8, 0xffff_ffff_ffff_ffffn],
    ['svsm.callingArea', 0x150, 8, 0xffff_ffff_ffff_ffffn],
    ['svsm.maxVersion', 0x158, 4, 0xffff_ffff],
    ['svsm.guestVmpl', 0x15c, 1, ALL],
    ['tscFactor', 0x160, 4, 0xffff_ffff],
  ])('%s at byte 0x%x, %i bytes', (path, offset, size, all) => {
    const page = new Uint8Array(4096);
    if (path.startsWith('svsm')) page[0x148] = 1;
    page.fill(ALL, offset, offset + size);
    expect(at(decodeSecretsPage(page), path)).toEqual(all);
    // The bytes beside the field belong to others.
    const beside = new Uint8Array(4096).fill(ALL);
    beside.fill(0, offset, offset + size);
    if (path === 'svsm.size') expect(decodeSecretsPage(beside).svsm).toBeUndefined();
    else expect(Number(BigInt.asUintN(64, sumOf(at(decodeSecretsPage(beside), path))))).toBe(0);
  });

  test('IMI_EN is bit 0 of byte 4', () => {
    const bits = Array.from({ length: 64 }, (_, bit) => {
      const page = new Uint8Array(4096);
      page[bit >> 3] = 1 << (bit & 7);
      return decodeSecretsPage(page).imi;
    });
    expect(bits.flatMap((imi, bit) => (imi ? [bit] : []))).toEqual([32]);
  });

  test('an SVSM writes its own fields at their places, and 0 over the first key', () => {
    const page = new Uint8Array(4096);
    const one = physAddr(0x1000);
    announceSvsm(page, { base: one, size: 2n, callingArea: physAddr(0x3000), maxVersion: 4, guestVmpl: 1 });
    expect([...page.entries()].filter(([, byte]) => byte !== 0)).toEqual([
      [0x141, 0x10],
      [0x148, 2],
      [0x151, 0x30],
      [0x158, 4],
      [0x15c, 1],
    ]);
  });
});

// S1
test.each([
  [0, 'INVALID_MESSAGE'],
  [1, undefined],
  [3, undefined],
  [4, 'INVALID_MESSAGE'],
])('an SVSM at VMPL0 has its guest at VMPL1 to VMPL3: %i', (guestVmpl, code) => {
  const place = { base: physAddr(0), size: 1n, callingArea: physAddr(0), maxVersion: 1, guestVmpl };
  const page = new Uint8Array(4096);
  let thrown: unknown;
  try {
    announceSvsm(page, place);
  } catch (error) {
    thrown = (error as { code?: unknown }).code;
  }
  expect([thrown, page[0x15c]]).toEqual([code, code === undefined ? guestVmpl : 0]);
});

// Linux `struct snp_cpuid_table`, `struct snp_cpuid_fn`.
// L8
describe('the CPUID page', () => {
  const zero: CpuidEntry = { eaxIn: 0, ecxIn: 0, xcr0: 0n, xss: 0n, eax: 0, ebx: 0, ecx: 0, edx: 0 };
  test.each<[keyof CpuidEntry, offset: number, size: number]>([
    ['eaxIn', 0x00, 4],
    ['ecxIn', 0x04, 4],
    ['xcr0', 0x08, 8],
    ['xss', 0x10, 8],
    ['eax', 0x18, 4],
    ['ebx', 0x1c, 4],
    ['ecx', 0x20, 4],
    ['edx', 0x24, 4],
  ])('%s at byte 0x%x of an entry, %i bytes', (field, offset, size) => {
    const value = size === 8 ? 2n ** 64n - 1n : 2 ** 32 - 1;
    for (const index of [0, 1, 63]) {
      const entries = Array.from({ length: 64 }, (_, i) =>
        i === index ? { ...zero, [field]: value } : zero,
      );
      const page = encodeCpuidPage(entries);
      const bits = changedBits(encodeCpuidPage(entries.map(() => zero)), page);
      expect(bits).toBe(bitsOfBytes(16 + 48 * index + offset, size));
      expect(decodeCpuidPage(page)).toEqual(entries);
    }
  });

  test('the count is the first quarter of the header, at most 64', () => {
    expect(changedBits(new Uint8Array(4096), encodeCpuidPage(Array(64).fill(zero)))).toBe('6');
    expect(changedBits(new Uint8Array(4096), encodeCpuidPage(Array(63).fill(zero)))).toBe('5:0');
  });
});

// AMD-ASPFW `snp_metadata_page_t`, `mdata_perm_mask_t`.
// T3
describe('a swap record', () => {
  const zero: SwapRecord = {
    softwareData: 0n,
    iv: 0n,
    tag: new Uint8Array(16),
    valid: false,
    validated: false,
    vmsa: false,
    metadata: false,
    pageSize: PageSize.Regular,
    gpa: physAddr(0),
    vmplMasks: [0, 0, 0, 0],
  };
  const quadword = 8 * 0x20;
  test.each<[keyof SwapRecord, unknown, string]>([
    ['softwareData', 2n ** 64n - 1n, bitsOfBytes(0x00, 8)],
    ['iv', 2n ** 64n - 1n, bitsOfBytes(0x08, 8)],
    ['tag', new Uint8Array(16).fill(ALL), bitsOfBytes(0x10, 16)],
    ['valid', true, `${quadword}`],
    ['validated', true, `${quadword + 1}`],
    ['vmsa', true, `${quadword + 2}`],
    ['metadata', true, `${quadword + 3}`],
    ['pageSize', PageSize.Huge, `${quadword + 4}`],
    ['gpa', physAddr(0xf_ffff_ffff_f000n), `${quadword + 51}:${quadword + 12}`],
    ['vmplMasks', [ALL, 0, 0, 0], bitsOfBytes(0x28, 1)],
    ['vmplMasks', [0, ALL, 0, 0], bitsOfBytes(0x29, 1)],
    ['vmplMasks', [0, 0, ALL, 0], bitsOfBytes(0x2a, 1)],
    ['vmplMasks', [0, 0, 0, ALL], bitsOfBytes(0x2b, 1)],
  ])('%s', (field, all, bits) => {
    const record = encodeSwapRecord({ ...zero, [field]: all });
    expect(record.length).toBe(64);
    expect(changedBits(encodeSwapRecord(zero), record)).toBe(bits);
    expect(decodeSwapRecord(record)).toEqual({ ...zero, [field]: all });
  });
});

// AMD-ASPFW `snp_mcmd_launch_update_page_info_t`.
// L4
describe('PAGE_INFO', () => {
  const none = new Uint8Array(48);
  const full = new Uint8Array(48).fill(ALL);
  const info: PageInfo = { digest: none, contents: none, type: 1, gpa: physAddr(0) };
  test.each<[string, Partial<PageInfo>, string]>([
    ['the digest before', { digest: full }, bitsOfBytes(0x00, 48)],
    ['the contents', { contents: full }, bitsOfBytes(0x30, 48)],
    ['the type', { type: 6 }, `${8 * 0x62 + 2}:${8 * 0x62}`],
    ['IMI', { imi: true }, `${8 * 0x63}`],
    ['the mask of VMPL1', { permissions: [ALL, 0, 0] }, bitsOfBytes(0x65, 1)],
    ['the mask of VMPL2', { permissions: [0, ALL, 0] }, bitsOfBytes(0x66, 1)],
    ['the mask of VMPL3', { permissions: [0, 0, ALL] }, bitsOfBytes(0x67, 1)],
    ['the address', { gpa: physAddr(0xf_ffff_ffff_f000n) }, `${8 * 0x68 + 51}:${8 * 0x68 + 12}`],
  ])('%s', (_, fields, bits) => {
    expect(changedBits(encodePageInfo(info), encodePageInfo({ ...info, ...fields }))).toBe(bits);
  });

  test('its length, 0x70, at byte 0x60', () => {
    const bytes = encodePageInfo({ ...info, type: 0 as never });
    expect([bytes.length, ...[...bytes.entries()].filter(([, byte]) => byte !== 0)]).toEqual([
      0x70,
      [0x60, 0x70],
    ]);
  });
});

/** The sum of the numbers in a decoded value; 0 for a part that is missing. */
function sumOf(value: unknown): bigint {
  if (value instanceof Uint8Array) return BigInt(value.reduce((sum, byte) => sum + byte, 0));
  return BigInt((value as number | bigint | undefined) ?? 0);
}
