/** Bits of lists that cross a boundary: page state changes (AMD 56421) and calls of the SVSM (AMD 58019). */
import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  type PscEntry,
  type PscHeader,
} from '../../src/formats/page-state-list.ts';
import {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  type SvsmListEntry,
  type SvsmListHeader,
  svsmEntrySize,
} from '../../src/formats/svsm-protocol.ts';
import { decodeApCreation, encodeApCreation } from '../../src/guest/ap-creation.ts';
import { changedBits, setBits } from '../support/bits.ts';
import { codeOf } from '../support/world.ts';

// Linux `struct psc_hdr` and `struct psc_entry`, EDK2 `SNP_PAGE_STATE_HEADER` and `SNP_PAGE_STATE_ENTRY`.
// G7
describe('a page state change', () => {
  const header: PscHeader = { current: 0, end: 0, reserved: 0 };
  test.each<[keyof PscHeader, number, string]>([
    ['current', 0xffff, '15:0'],
    ['end', 0xffff, '31:16'],
    ['reserved', 0xffff_ffff, '63:32'],
  ])('%s of the header', (field, max, bits) => {
    const bytes = encodePscHeader({ ...header, [field]: max });
    expect(changedBits(encodePscHeader(header), bytes)).toBe(bits);
    expect(decodePscHeader(bytes)).toEqual({ ...header, [field]: max });
  });

  const { Regular, Huge } = PageSize;
  const entry: PscEntry = { gpa: physAddr(0), operation: 0, pageSize: Regular, donePages: 0, reserved: 0 };
  test.each<[keyof PscEntry, PscEntry[keyof PscEntry], string]>([
    ['donePages', 0xfff, '11:0'],
    ['gpa', physAddr(0xf_ffff_ffff_f000n), '51:12'],
    ['operation', 0xf, '55:52'],
    ['pageSize', Huge, '56'],
    ['reserved', 0x7f, '63:57'],
  ])('%s of an entry', (field, max, bits) => {
    const bytes = encodePscEntry({ ...entry, [field]: max });
    expect(changedBits(encodePscEntry(entry), bytes)).toBe(bits);
    expect(decodePscEntry(bytes)).toEqual({ ...entry, [field]: max });
  });

  test.each<[keyof PscEntry, unknown]>([
    ['donePages', 0x1000],
    ['donePages', -1],
    ['donePages', 0.5],
    ['gpa', 0x10_0000_0000_0000n],
    ['gpa', 0x800n],
    ['operation', 16],
    ['reserved', 0x80],
  ])('an entry with %s %s is refused', (field, value) => {
    expect(codeOf(() => encodePscEntry({ ...entry, [field]: value }))).toBe('INVALID_MESSAGE');
  });
});

// Linux `struct svsm_pvalidate_call` and `struct svsm_pvalidate_entry`.
// S7
describe('a list of the SVSM', () => {
  const header: SvsmListHeader = { count: 0, next: 0 };
  test.each<[keyof SvsmListHeader, string]>([
    ['count', '15:0'],
    ['next', '31:16'],
  ])('%s of the header', (field, bits) => {
    const bytes = encodeSvsmListHeader({ ...header, [field]: 0xffff });
    expect(changedBits(new Uint8Array(8), bytes)).toBe(bits);
    expect(decodeSvsmListHeader(bytes)).toEqual({ ...header, [field]: 0xffff });
  });

  const entry: SvsmListEntry = {
    gpa: physAddr(0),
    size: 0,
    validate: false,
    ignoreUnchanged: false,
    reserved: 0,
  };
  test.each<[keyof SvsmListEntry, SvsmListEntry[keyof SvsmListEntry], string]>([
    ['size', 3, '1:0'],
    ['validate', true, '2'],
    ['ignoreUnchanged', true, '3'],
    ['reserved', 0xff, '11:4'],
    ['gpa', 0xffff_ffff_ffff_f000n as PhysAddr, '63:12'],
  ])('%s of an entry', (field, max, bits) => {
    const bytes = encodeSvsmListEntry({ ...entry, [field]: max });
    expect(changedBits(new Uint8Array(8), bytes)).toBe(bits);
    expect(decodeSvsmListEntry(bytes)).toEqual({ ...entry, [field]: max });
  });

  test('sizes 0 and 1 are pages of 4 KiB and 2 MiB, and no other value is a size', () => {
    const sizes = [0, 1, 2, 3].map((size) => svsmEntrySize({ ...entry, size }));
    expect(sizes).toEqual([4096, 0x20_0000, undefined, undefined]);
  });
});

// Linux uapi/asm/svm.h `SVM_VMGEXIT_AP_*`; KVM `sev_snp_ap_creation`.
// GHCB exit 0x8000_0013
describe('a request of AP creation', () => {
  const creation = { request: 0, apicId: 0, vmpl: 0, vmsa: physAddr(0), sevFeatures: 0n } as const;
  test.each<[string, object, string]>([
    ['request', { request: 2 }, '1'],
    ['vmpl', { vmpl: 3 }, '17:16'],
    ['apicId', { apicId: 0xffff_ffff }, '63:32'],
  ])('%s in SW_EXITINFO1', (_, fields, bits) => {
    const { info1, info2, rax } = encodeApCreation({ ...creation, ...fields });
    expect([setBits(info1), info2, rax]).toEqual([bits, 0n, 0n]);
    expect(decodeApCreation(info1, info2, rax)).toEqual({ ...creation, ...fields });
  });

  test('the VMSA in SW_EXITINFO2, SEV_FEATURES in RAX', () => {
    const fields = { vmsa: physAddr(0xf_ffff_ffff_f000n), sevFeatures: 0xffff_ffff_ffff_ffffn };
    const { info1, info2, rax } = encodeApCreation({ ...creation, ...fields });
    expect([info1, info2, rax]).toEqual([0n, fields.vmsa, fields.sevFeatures]);
    expect(decodeApCreation(info1, info2, rax)).toEqual({ ...creation, ...fields });
  });

  test('a request is 0 to 2 in bits 15:0, and bits 31:20 are reserved', () => {
    expect(decodeApCreation(3n, 0n, 0n)).toBeUndefined();
    for (let bit = 2; bit < 32; bit += 1) {
      if (bit >= 16 && bit < 20) continue;
      expect(decodeApCreation(1n << BigInt(bit), 0n, 0n), `bit ${bit}`).toBeUndefined();
    }
  });
});
