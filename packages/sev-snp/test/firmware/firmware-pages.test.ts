import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { metadataInit, pageReclaim, pageSetHvFixed, pageUnsmash } from '../../src/firmware/firmware-pages.ts';
import { pageStateOf } from '../../src/formats/page-state.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { psmash, rmpupdate } from '../../src/rmp/host-instructions.ts';
import type { Rmp } from '../../src/rmp/rmp.ts';
import { MiB, rmpOf, snapshot, thrownBy } from '../support/world.ts';

const spa = sysPhysAddr(2 * MiB);
const at = (page: number) => sysPhysAddr(2 * MiB + page * PAGE_SIZE);

/** 512 pages of a guest, at consecutive addresses, valid, and immutable. */
function smashed(gpa = 4 * MiB): Rmp {
  const rmp = rmpOf();
  const state = { assigned: true, asid: 3, gpa: physAddr(gpa), pageSize: PageSize.Huge };
  rmpupdate(rmp, spa, state);
  rmp.setRawEntry(spa, { ...(rmp.rawEntry(spa) as RmpEntry), validated: true });
  psmash(rmp, spa);
  for (let k = 0; k < 512; k += 1)
    rmp.setRawEntry(at(k), { ...(rmp.rawEntry(at(k)) as RmpEntry), immutable: true });
  return rmp;
}

// I17
describe('PAGE_UNSMASH', () => {
  test('undoes a PSMASH; the page has to be reclaimed afterwards', () => {
    const rmp = smashed();
    pageUnsmash(rmp, spa);
    expect(rmp.entry(at(7))).toMatchObject({
      pageSize: PageSize.Huge,
      asid: 3,
      validated: true,
      subpageCount: 0,
    });
    pageReclaim(rmp, spa, PageSize.Huge);
    expect(pageStateOf(rmp.entry(at(511)))).toBe('GUEST-VALID');
    const twin = rmpOf();
    rmpupdate(twin, spa, { assigned: true, asid: 3, gpa: physAddr(4 * MiB), pageSize: PageSize.Huge });
    twin.setRawEntry(spa, { ...(twin.rawEntry(spa) as RmpEntry), validated: true });
    expect(snapshot(rmp)).toBe(snapshot(twin));
  });

  // I17
  test.each<[string, Partial<RmpEntry>]>([
    ['mutable', { immutable: false }],
    ['another’s', { asid: 4 }],
    ['at another address', { gpa: physAddr(0x1000) }],
    ['not validated', { validated: false }],
    ['of other permissions', { vmplMasks: [0x1f, 1, 0, 0] }],
    ['a VMSA', { vmsa: true }],
  ])('refuses pages of which one is %s', (_, fields) => {
    for (const page of [1, 511]) {
      const rmp = smashed();
      rmp.setRawEntry(at(page), { ...(rmp.rawEntry(at(page)) as RmpEntry), ...fields });
      const before = snapshot(rmp);
      expect(thrownBy(() => pageUnsmash(rmp, spa))?.details).toMatchObject({ status: 'INVALID_PAGE_STATE' });
      expect(snapshot(rmp)).toBe(before);
    }
  });

  // I17
  test('refuses a system or guest address that is not a multiple of 2 MiB', () => {
    expect(thrownBy(() => pageUnsmash(smashed(), at(1)))?.details).toMatchObject({
      status: 'INVALID_ADDRESS',
    });
    const guest = smashed(4 * MiB + PAGE_SIZE);
    expect(thrownBy(() => pageUnsmash(guest, spa))?.details).toMatchObject({ status: 'INVALID_ADDRESS' });
  });
});

// T2
test('PAGE_RECLAIM needs the size and the first address of the page', () => {
  const rmp = rmpOf();
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, pageSize: PageSize.Huge });
  const status = (action: () => void) => thrownBy(action)?.details['status'];
  expect(status(() => pageReclaim(rmp, spa, PageSize.Regular))).toBe('INVALID_PAGE_SIZE');
  expect(status(() => pageReclaim(rmp, at(1), PageSize.Regular))).toBe('INVALID_PAGE_SIZE');
  expect(status(() => pageReclaim(rmp, sysPhysAddr(spa + 8n), PageSize.Huge))).toBe('INVALID_ADDRESS');
  pageReclaim(rmp, spa, PageSize.Huge);
  expect(pageStateOf(rmp.entry(spa))).toBe('GUEST-INVALID');
});

// R13
test('PAGE_SET_STATE keeps the sub-page count correct', () => {
  const rmp = rmpOf();
  for (const k of [0, 1, 2]) rmpupdate(rmp, at(k), { assigned: true, immutable: true });
  expect(rmp.rawEntry(spa)?.subpageCount).toBe(2);
  pageSetHvFixed(rmp, at(1));
  expect([rmp.rawEntry(spa)?.subpageCount, pageStateOf(rmp.rawEntry(at(1)))]).toEqual([1, 'HV-FIXED']);
  pageSetHvFixed(rmp, spa);
  expect([rmp.rawEntry(spa)?.subpageCount, pageStateOf(rmp.rawEntry(spa))]).toEqual([1, 'HV-FIXED']);
});

// T5
test('MD_INIT needs a context page, and PAGE_SET_STATE refuses a page of 2 MiB', () => {
  const rmp = rmpOf();
  rmpupdate(rmp, at(0), { assigned: true, immutable: true });
  expect(thrownBy(() => metadataInit(rmp, at(0), at(1)))?.details).toMatchObject({ status: 'INVALID_GUEST' });
  const huge = sysPhysAddr(2 * PAGE_SIZE_2M);
  rmpupdate(rmp, huge, { assigned: true, immutable: true, pageSize: PageSize.Huge });
  expect(thrownBy(() => pageSetHvFixed(rmp, huge))?.details).toMatchObject({ status: 'INVALID_PAGE_SIZE' });
});
