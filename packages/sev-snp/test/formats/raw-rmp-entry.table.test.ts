/** Bits of both formats of an RMP entry: the raw one of Zen 3 and Zen 4, and the architectural one of RMPUPDATE. */
import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { decodeRmpEntry, encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import {
  asidOfWord,
  gpaFrameOfWords,
  isAssignedWord,
  isHugeWord,
  isImmutableWord,
  isValidatedWord,
  isVmsaWord,
  type RmpEntry,
} from '../../src/formats/rmp-entry.ts';
import {
  flatRmpCoverage,
  flatRmpEntryAddress,
  segmentedRmpEntryAddress,
} from '../../src/formats/rmp-location.ts';
import { decodeRmpState, encodeRmpState, type RmpStateFields } from '../../src/formats/rmp-state.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import { changedBits, setBits } from '../support/bits.ts';
import { codeOf } from '../support/world.ts';

// AMD-ASPFW `rmp_fields_t`, `rmp_quadword2_t`; Linux `struct rmpentry_raw`.
// R9
describe('a raw entry', () => {
  test.each<[keyof RmpEntry, unknown, low: string, high: string]>([
    ['assigned', true, '0', ''],
    ['pageSize', PageSize.Huge, '1', ''],
    ['immutable', true, '2', ''],
    ['subpageCount', 0x1ff, '11:3', ''],
    ['gpa', physAddr(0x7_ffff_ffff_f000n), '50:12', ''],
    ['asid', 0x3ff, '60:51', ''],
    ['vmsa', true, '61', ''],
    ['validated', true, '62', ''],
    ['lock', true, '63', ''],
    ['vmplMasks', [0xff, 0, 0, 0], '', '7:0'],
    ['vmplMasks', [0, 0xff, 0, 0], '', '15:8'],
    ['vmplMasks', [0, 0, 0xff, 0], '', '23:16'],
    ['vmplMasks', [0, 0, 0, 0xff], '', '31:24'],
    ['upper', 0xffff_ffff, '', '63:32'],
  ])('%s', (field, all, low, high) => {
    const entry = { ...HYPERVISOR_ENTRY, [field]: all };
    const raw = encodeRmpEntry(entry);
    expect([setBits(raw.low), setBits(raw.high)]).toEqual([low, high]);
    expect(decodeRmpEntry(raw)).toEqual(entry);
  });

  test('the checks of single words read the same bits', () => {
    const flags = Array.from({ length: 32 }, (_, bit) => {
      const word = (1 << bit) >>> 0;
      return [isAssignedWord, isHugeWord, isImmutableWord, isVmsaWord, isValidatedWord].map((is) => is(word));
    });
    const bits = [0, 1, 2, 3, 4].map((k) => flags.flatMap((has, bit) => (has[k] ? [bit] : [])));
    expect(bits).toEqual([[0], [1], [2], [29], [30]]);
    expect([asidOfWord(0xffff_ffff), asidOfWord(1 << 19), asidOfWord(1 << 29)]).toEqual([0x3ff, 1, 0]);
    expect(gpaFrameOfWords(0xffff_ffff, 0xffff_ffff)).toBe(0x7f_ffff_ffff);
    expect(gpaFrameOfWords(0xfff, 0)).toBe(0);
  });
});

// Linux `struct rmp_state`, and `struct rmpentry` for the region's status.
// RMPREAD step 1
describe('an architectural state', () => {
  const zero: RmpStateFields = {
    gpa: physAddr(0),
    assigned: false,
    pageSize: PageSize.Regular,
    immutable: false,
    asid: 0,
    regionStatus: false,
  };
  test.each<[keyof RmpStateFields, unknown, string]>([
    ['gpa', 0xffff_ffff_ffff_ffffn, '63:0'],
    ['assigned', true, '64'],
    ['pageSize', PageSize.Huge, '72'],
    ['regionStatus', true, '73'],
    ['immutable', true, '80'],
    ['asid', 0xffff_ffff, '127:96'],
  ])('%s', (field, all, bits) => {
    const state = { ...zero, [field]: all };
    expect(changedBits(encodeRmpState(zero), encodeRmpState(state))).toBe(bits);
    expect(decodeRmpState(encodeRmpState(state))).toEqual(state);
  });
});

// AMD-ASPFW `snp_page_state_t` and its columns: assigned, validated, ASID, immutable, lock, GPA, VMSA.
// T7
describe('the page states', () => {
  const metadata = physAddr(1n << 48n);
  const iommu = physAddr(2n << 48n);
  test.each<[PageState, Partial<RmpEntry>]>([
    [PageState.Hypervisor, {}],
    [PageState.HvFixed, { immutable: true }],
    [PageState.Firmware, { assigned: true, immutable: true }],
    [PageState.FirmwareIommu, { assigned: true, immutable: true, gpa: iommu }],
    [PageState.Reclaim, { assigned: true }],
    [PageState.Context, { assigned: true, immutable: true, vmsa: true }],
    [PageState.Metadata, { assigned: true, immutable: true, gpa: metadata }],
    [PageState.PreGuest, { assigned: true, immutable: true, asid: 1 }],
    [PageState.PreSwap, { assigned: true, immutable: true, asid: 1, validated: true }],
    [PageState.GuestInvalid, { assigned: true, asid: 1 }],
    [PageState.GuestValid, { assigned: true, asid: 1, validated: true }],
    // Next to the kinds of firmware pages: bits 50:48 of the address.
    [PageState.Invalid, { assigned: true, immutable: true, gpa: physAddr(3n << 48n) }],
    [PageState.Invalid, { assigned: true, immutable: true, gpa: physAddr((1n << 48n) - 0x1000n) }],
    [PageState.Metadata, { assigned: true, immutable: true, gpa: physAddr((2n << 48n) - 0x1000n) }],
    [PageState.Invalid, { assigned: true, immutable: true, vmsa: true, gpa: physAddr(0x1000) }],
    [PageState.Invalid, { assigned: true, lock: true }],
    [PageState.Invalid, { assigned: true, validated: true }],
    [PageState.Invalid, { validated: true }],
    [PageState.Invalid, { asid: 1 }],
  ])('%s: %o', (state, fields) => {
    expect(pageStateOf({ ...HYPERVISOR_ENTRY, ...fields })).toBe(state);
  });
});

// AMD64 APM vol. 2, §15.36.4 and §15.36.22.
// R6, R7, R8
describe('the address of an entry', () => {
  const base = 0x10_0000n;

  test('a flat table: base + 0x4000 + 16 for each page, up to its last byte', () => {
    const end = base + 0x4000n + 16n * 3n - 1n;
    const found = [0, 0x1000, 0x2fff, 0x3000].map((spa) =>
      flatRmpEntryAddress(sysPhysAddr(spa), { base, end }),
    );
    expect(found).toEqual([0x10_4000n, 0x10_4010n, 0x10_4020n, undefined]);
    // One byte less, and the last entry is not whole.
    expect(flatRmpEntryAddress(sysPhysAddr(0x2000), { base, end: end - 1n })).toBeUndefined();
    expect(flatRmpCoverage({ base, end })).toBe(0x3000n);
    expect(flatRmpCoverage({ base, end: end - 1n })).toBe(0x2000n);
    expect(flatRmpCoverage({ base, end: base + 0x4000n - 1n })).toBe(0n);
    expect(flatRmpCoverage({ base, end: base })).toBe(0n);
  });

  const GiB = 1n << 30n;
  const segmented = (spa: bigint, segment: bigint, more: object = {}) => {
    const asked: bigint[] = [];
    const read = (at: bigint): bigint => {
      asked.push(at);
      return segment;
    };
    const found = segmentedRmpEntryAddress(sysPhysAddr(spa), { base, segmentShift: 36, read, ...more });
    return [found, ...asked];
  };

  test('segments: a quadword each from base + 0x4000, its size in GiB in bits 19:0, its address in bits 51:20', () => {
    const two = 0x20_0000n | 2n;
    expect(segmented(0n, two)).toEqual([0x20_0000n, 0x10_4000n]);
    expect(segmented(2n * GiB - 1n, two)).toEqual([0x20_0000n + 16n * 0x7_ffffn, 0x10_4000n]);
    expect(segmented(2n * GiB, two)).toEqual([undefined, 0x10_4000n]);
    expect(segmented((1n << 36n) + 0x1000n, two)).toEqual([0x20_0010n, 0x10_4008n]);
    expect(segmented(0n, 0xf_ffff_fff0_0000n | 1n)).toEqual([0xf_ffff_fff0_0000n, 0x10_4000n]);
    expect(segmented(0n, 0xf_ffffn)).toEqual([0n, 0x10_4000n]);
    for (let bit = 52n; bit < 64n; bit += 1n) {
      expect(
        codeOf(() => segmented(0n, (1n << bit) | 1n)),
        `bit ${bit}`,
      ).toBe('INVALID_RMP_SEGMENT');
    }
  });

  test('segments have 2^30 to 2^51 bytes, and at most 512 are used', () => {
    const one = 0x20_0000n | 1n;
    expect(segmented(0n, one, { segmentShift: 30 })[0]).toBe(0x20_0000n);
    expect(segmented(0n, one, { segmentShift: 51 })[0]).toBe(0x20_0000n);
    expect(segmented(0n, one, { segmentShift: 10, unit: 'MiB' })[0]).toBe(0x20_0000n);
    for (const segmentShift of [29, 52, 36.5]) {
      expect(codeOf(() => segmented(0n, one, { segmentShift }))).toBe('INVALID_ARGUMENT');
    }
    for (const segments of [-1, 513, 1.5]) {
      expect(codeOf(() => segmented(0n, one, { segments }))).toBe('INVALID_ARGUMENT');
    }
    expect(segmented(0n, one, { segments: 0 })).toEqual([undefined]);
    expect(segmented(0n, one, { segments: 512 })[0]).toBe(0x20_0000n);
    expect(segmented(512n * GiB, one, { segmentShift: 30 })).toEqual([undefined]);
    expect(segmented(511n * GiB, one, { segmentShift: 30 })).toEqual([0x20_0000n, 0x10_4000n + 8n * 511n]);
    for (const base of [0x10_1000n, 0x18_0000n]) {
      expect(codeOf(() => segmented(0n, one, { base }))).toBe('INVALID_ARGUMENT');
    }
    const most = 0x20_0000n | 0xf_ffffn;
    const at = (0xf_fffen * GiB) / 4096n;
    expect(segmented(0xf_fffen * GiB, most, { segmentShift: 51 })[0]).toBe(0x20_0000n + 16n * at);
    expect(segmented(0xf_ffffn * GiB, most, { segmentShift: 51 })[0]).toBeUndefined();
  });
});
