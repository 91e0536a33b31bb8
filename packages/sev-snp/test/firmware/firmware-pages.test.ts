import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { Firmware } from '../../src/firmware/firmware.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';
import { psmash, rmpupdate } from '../../src/rmp/host-instructions.ts';
import type { Rmp } from '../../src/rmp/rmp.ts';
import { statusOf } from '../support/firmware-runs.ts';
import { MiB, rmpOf, snapshot } from '../support/world.ts';

const spa = sysPhysAddr(2 * MiB);
const at = (page: number) => sysPhysAddr(2 * MiB + page * PAGE_SIZE);
const firmwareOf = (rmp: Rmp) => new Firmware({ rmp, memory: new EncryptedMemory(8 * MiB) }, 9);

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
    firmwareOf(rmp).pageUnsmash(spa);
    expect(rmp.entry(at(7))).toMatchObject({
      pageSize: PageSize.Huge,
      asid: 3,
      validated: true,
      subpageCount: 0,
    });
    firmwareOf(rmp).pageReclaim(spa, PageSize.Huge);
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
      expect(statusOf(() => firmwareOf(rmp).pageUnsmash(spa))).toBe('INVALID_PAGE_STATE');
      expect(snapshot(rmp)).toBe(before);
    }
  });

  // I17
  test('refuses a system or guest address that is not a multiple of 2 MiB', () => {
    expect(statusOf(() => firmwareOf(smashed()).pageUnsmash(at(1)))).toBe('INVALID_PARAM');
    const guest = smashed(4 * MiB + PAGE_SIZE);
    expect(statusOf(() => firmwareOf(guest).pageUnsmash(spa))).toBe('INVALID_PAGE_STATE');
  });
});

// T2
test('PAGE_RECLAIM needs the size and the first address of the page', () => {
  const rmp = rmpOf();
  const firmware = firmwareOf(rmp);
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, pageSize: PageSize.Huge });
  const before = snapshot(rmp);
  expect(statusOf(() => firmware.pageReclaim(spa))).toBe('INVALID_PAGE_SIZE');
  expect(statusOf(() => firmware.pageReclaim(at(1), PageSize.Huge))).toBe('INVALID_PAGE_SIZE');
  expect(statusOf(() => firmware.pageReclaim(sysPhysAddr(spa + 8n), PageSize.Huge))).toBe('INVALID_PARAM');
  // The own entry of a page inside a 2 MiB page is mutable, so it stays as it is.
  expect(statusOf(() => firmware.pageReclaim(at(1)))).toBe('SUCCESS');
  expect(snapshot(rmp)).toBe(before);
  firmware.pageReclaim(spa, PageSize.Huge);
  expect(pageStateOf(rmp.entry(spa))).toBe('GUEST-INVALID');
});

// R13
test('PAGE_SET_STATE keeps the sub-page count correct', () => {
  const rmp = rmpOf();
  const firmware = firmwareOf(rmp);
  for (const k of [0, 1, 2]) rmpupdate(rmp, at(k), { assigned: true, immutable: true });
  expect(rmp.rawEntry(spa)?.subpageCount).toBe(2);
  firmware.pageSetHvFixed(at(1));
  expect([rmp.rawEntry(spa)?.subpageCount, pageStateOf(rmp.rawEntry(at(1)))]).toEqual([1, 'HV-FIXED']);
  firmware.pageSetHvFixed(spa);
  expect([rmp.rawEntry(spa)?.subpageCount, pageStateOf(rmp.rawEntry(spa))]).toEqual([1, 'HV-FIXED']);
});

test('PAGE_SET_STATE and GCTX_CREATE refuse a page of 2 MiB', () => {
  const rmp = rmpOf();
  const huge = sysPhysAddr(2 * PAGE_SIZE_2M);
  rmpupdate(rmp, huge, { assigned: true, immutable: true, pageSize: PageSize.Huge });
  expect(statusOf(() => firmwareOf(rmp).pageSetHvFixed(huge))).toBe('INVALID_PAGE_SIZE');
  expect(statusOf(() => firmwareOf(rmp).guestContextCreate(huge))).toBe('INVALID_PAGE_SIZE');
});
