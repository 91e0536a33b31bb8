import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import {
  type Accessor,
  failedRmpCheck,
  RMP_CHECKS,
  type RmpAccess,
  type RmpAccessKind,
  type RmpCheck,
} from '../../src/rmp/rmp-check.ts';
import { MiB, rmpOf } from '../support/world.ts';

const page = 2 * MiB + 0x3000;
const good: RmpEntry = {
  ...HYPERVISOR_ENTRY,
  assigned: true,
  asid: 7,
  gpa: physAddr(0x9000),
  validated: true,
  vmplMasks: [0xf, 0x1, 0x3, 0x2],
};
const access: RmpAccess = {
  accessor: 'snp-guest-private',
  kind: 'read',
  translationSize: PageSize.Regular,
  spa: sysPhysAddr(page),
  gpa: physAddr(0x9000),
  asid: 7,
  vmpl: 0,
  cpl: 0,
};

function failed(entry: Partial<RmpEntry>, change: Partial<RmpAccess> = {}): RmpCheck | undefined {
  const rmp = rmpOf();
  rmp.setRawEntry(sysPhysAddr(page), { ...good, ...entry });
  return failedRmpCheck(rmp, { ...access, ...change });
}

// AMD64 APM vol. 2, table 15-39, cell by cell: the checks in their order.
const ALL = 'covered guest-owned reverse-map mutable page-size validated vmpl';
describe('the checks of an access', () => {
  // R2, R3
  test.each<[Accessor, RmpAccessKind, string]>([
    ['host', 'read', ''],
    ['host', 'write', 'hypervisor-owned'],
    ['host', 'fetch', ''],
    ['host', 'table', 'hypervisor-owned'],
    ['host', 'table-update', 'hypervisor-owned'],
    ['non-snp-guest', 'read', ''],
    ['non-snp-guest', 'write', 'hypervisor-owned'],
    ['non-snp-guest', 'fetch', ''],
    ['non-snp-guest', 'table', 'hypervisor-owned'],
    ['non-snp-guest', 'table-update', 'hypervisor-owned'],
    ['snp-guest-private', 'read', ALL],
    ['snp-guest-private', 'write', ALL],
    ['snp-guest-private', 'fetch', ALL],
    ['snp-guest-private', 'table', ALL],
    ['snp-guest-private', 'table-update', ALL],
    ['snp-guest-shared', 'read', ''],
    ['snp-guest-shared', 'write', 'hypervisor-owned'],
  ])('%s %s: %s', (accessor, kind, checks) => {
    expect(RMP_CHECKS[accessor][kind]?.join(' ')).toBe(checks);
  });

  // C1
  test('fetches and table accesses of an SNP guest are never shared', () => {
    expect(Object.keys(RMP_CHECKS['snp-guest-shared'])).toEqual(['read', 'write']);
  });
});

describe('a private access of a guest', () => {
  test('passes if every check passes', () => {
    expect(failed({})).toBeUndefined();
  });

  // Each row breaks its own check and all later ones: the first check must win.
  const wrong: [RmpCheck, Partial<RmpEntry>, Partial<RmpAccess>][] = [
    ['covered', {}, { spa: sysPhysAddr(64 * MiB) }],
    ['guest-owned', { asid: 8 }, {}],
    ['reverse-map', { gpa: physAddr(0xa000) }, {}],
    ['mutable', { immutable: true }, {}],
    ['page-size', {}, { translationSize: PageSize.Huge }],
    ['validated', { validated: false }, {}],
    ['vmpl', { vmplMasks: [0, 0, 0, 0] }, {}],
  ];
  // R20
  test.each(wrong.map(([check], row) => [check, row] as const))(
    '%s comes before all that follow',
    (check, row) => {
      const rest = wrong.slice(row);
      const entry = Object.assign({}, ...rest.map(([, entry]) => entry));
      const change = Object.assign({}, ...rest.map(([, , change]) => change));
      expect(failed(entry, change)).toBe(check);
      const [, onlyEntry, onlyChange] = rest[0]!;
      expect(failed(onlyEntry, onlyChange)).toBe(check);
    },
  );

  // R36
  test('an unassigned page belongs to no guest, whatever its ASID', () => {
    expect(failed({ assigned: false })).toBe('guest-owned');
    expect(failed({ assigned: false, asid: 0 }, { asid: 0 })).toBe('guest-owned');
  });

  // R30
  test('a 1 GiB translation counts as 2 MiB', () => {
    expect(failed({}, { translationSize: PageSize.Giant })).toBe('page-size');
  });
});

describe('2 MiB', () => {
  const rmp = rmpOf();
  rmp.setRawEntry(sysPhysAddr(2 * MiB), { ...good, pageSize: PageSize.Huge, gpa: physAddr(4 * MiB) });
  rmp.setRawEntry(sysPhysAddr(page), { ...HYPERVISOR_ENTRY, assigned: true });
  const huge = { ...access, translationSize: PageSize.Huge, gpa: physAddr(4 * MiB + 0x3000) };

  // R12
  test('its one entry decides for each 4 KiB page of it, at the address of that page', () => {
    expect(failedRmpCheck(rmp, huge)).toBeUndefined();
    expect(failedRmpCheck(rmp, { ...huge, gpa: physAddr(4 * MiB + 0x3fff) })).toBeUndefined();
    expect(failedRmpCheck(rmp, { ...huge, gpa: physAddr(4 * MiB + 0x4000) })).toBe('reverse-map');
    expect(failedRmpCheck(rmp, { ...huge, translationSize: PageSize.Giant })).toBeUndefined();
    expect(failedRmpCheck(rmp, { ...huge, translationSize: PageSize.Regular })).toBe('page-size');
  });

  // R11
  test('the host cannot write to any page of it', () => {
    expect(failedRmpCheck(rmp, { ...access, accessor: 'host', kind: 'write' })).toBe('hypervisor-owned');
  });
});

describe('hypervisor-owned', () => {
  const write = { accessor: 'snp-guest-shared', kind: 'write', gpa: physAddr(0) } as const;
  const neighbour = rmpOf();
  neighbour.setRawEntry(sysPhysAddr(2 * MiB), { ...HYPERVISOR_ENTRY, subpageCount: 1 });
  neighbour.setRawEntry(sysPhysAddr(page + 0x1000), good);

  // R6
  test('passes for a page that is unassigned or not covered', () => {
    expect(failedRmpCheck(neighbour, { ...access, ...write })).toBeUndefined();
    expect(failedRmpCheck(neighbour, { ...access, ...write, spa: sysPhysAddr(64 * MiB) })).toBeUndefined();
  });

  // R21
  test('with 2 MiB, looks at the whole region', () => {
    expect(failedRmpCheck(neighbour, { ...access, ...write, translationSize: PageSize.Huge })).toBe(
      'hypervisor-owned',
    );
    // Accessed and dirty bits are writes of 4 KiB, whatever maps the table.
    const update = { ...access, ...write, translationSize: PageSize.Huge, accessor: 'host' } as const;
    expect(failedRmpCheck(neighbour, { ...update, kind: 'table-update' })).toBeUndefined();
    expect(failedRmpCheck(neighbour, { ...update, kind: 'table' })).toBe('hypervisor-owned');
    const elsewhere = { ...access, ...write, translationSize: PageSize.Huge, spa: sysPhysAddr(0) };
    expect(failedRmpCheck(neighbour, elsewhere)).toBeUndefined();
  });
});

describe('masks', () => {
  // Masks of `good`: VMPL0 R W XU XS, VMPL1 R, VMPL2 R W, VMPL3 W alone, which is illegal.
  // R29, V1
  test.each<[RmpAccessKind, 0 | 3, string]>([
    ['read', 0, 'yes yes yes no'],
    ['write', 0, 'yes no yes no'],
    ['table', 0, 'yes yes yes no'],
    ['table-update', 0, 'yes no yes no'],
    ['fetch', 0, 'yes no no no'],
    ['fetch', 3, 'yes no no no'],
  ])('%s at CPL %i by VMPL0 to 3: %s', (kind, cpl, allowed) => {
    const answers = ([0, 1, 2, 3] as const).map((vmpl) =>
      failed({}, { kind, cpl, vmpl }) === undefined ? 'yes' : 'no',
    );
    expect(answers.join(' ')).toBe(allowed);
  });

  // R29
  test('have separate bits for fetches of users and of supervisors', () => {
    const user = { vmplMasks: [0x4, 0, 0, 0] } as const;
    const supervisor = { vmplMasks: [0x8, 0, 0, 0] } as const;
    const fetch = (entry: Partial<RmpEntry>, cpl: number) => failed(entry, { kind: 'fetch', cpl });
    expect([fetch(user, 3), fetch(user, 0), fetch(supervisor, 3)]).toEqual([undefined, 'vmpl', 'vmpl']);
    expect([fetch(supervisor, 0), fetch(supervisor, 2)]).toEqual([undefined, undefined]);
  });
});
