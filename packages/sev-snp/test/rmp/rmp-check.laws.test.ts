import { PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Assumptions } from '../../src/formats/assumptions.ts';
import type { RmpEntry, RmpPageSize } from '../../src/formats/rmp-entry.ts';
import { sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import {
  failedAccessCheck,
  failedChecks,
  failedOwnershipCheck,
  failedRmpCheck,
  type RmpAccess,
  type RmpCheck,
} from '../../src/rmp/rmp-check.ts';
import { MiB } from '../support/world.ts';

/*
 * The checks, written down again from table 15-39 of AMD64 APM vol. 2 on the decoded entry: what each access needs, in order.
 */

/** One region is covered, and one is not. A page is the first of its region or another. */
const REGION = 2 * MiB;
const byte = fc.constantFrom(0, 1, 3, 4, 8, 0x10, 0xf, 0x11, 0x13, 0x1f);
const entry = fc.record({
  assigned: fc.boolean(),
  immutable: fc.constantFrom(false, false, true),
  validated: fc.constantFrom(true, true, false),
  vmsa: fc.boolean(),
  asid: fc.constantFrom(0, 7, 7),
  gpa: fc.constantFrom(physAddr(4 * MiB), physAddr(4 * MiB), physAddr(4 * MiB + 0x3000)),
  pageSize: fc.constantFrom<RmpPageSize>(PageSize.Regular, PageSize.Huge),
  vmplMasks: fc.tuple(byte, byte, byte, byte),
  subpageCount: fc.constantFrom(0, 0, 1),
});
const access = fc.record({
  accessor: fc.constantFrom('host', 'non-snp-guest', 'snp-guest-private', 'snp-guest-shared'),
  kind: fc.constantFrom('read', 'write', 'fetch', 'table', 'table-update'),
  translationSize: fc.constantFrom(PageSize.Regular, PageSize.Huge, PageSize.Giant),
  spa: fc
    .constantFrom(REGION, REGION, REGION + 0x3123, REGION + 0x3000, 2 * REGION)
    .map((at) => sysPhysAddr(at)),
  gpa: fc.constantFrom(4 * MiB, 4 * MiB, 4 * MiB + 0x3456).map((at) => physAddr(at)),
  asid: fc.constantFrom(7, 7, 0),
  vmpl: fc.constantFrom(0, 1, 2, 3),
  cpl: fc.constantFrom(0, 2, 3),
  supervisorShadowStack: fc.constantFrom(undefined, false, true),
});
const assumptions = fc.record({
  hostTableReads: fc.constantFrom('checked', 'unchecked'),
  inUseErratum: fc.boolean(),
  subpageCount: fc.constantFrom('maintained', 'unmaintained'),
});

/** The first of the checks that an access fails. `isFirstUsed`: whether the first page of its region is in use. */
function expected(
  rmp: Rmp,
  one: RmpAccess,
  checks: readonly RmpCheck[],
  isFirstUsed: boolean,
): RmpCheck | undefined {
  const found = rmp.entry(one.spa);
  const decides = found ?? HYPERVISOR_ENTRY;
  const isLarge = one.translationSize !== PageSize.Regular;
  const passes: Record<RmpCheck, () => boolean> = {
    covered: () => found !== undefined,
    'hypervisor-owned': () => {
      if (!isLarge || one.kind === 'table-update') return !decides.assigned;
      const isBlocked = rmp.assumptions.inUseErratum && one.accessor === 'host' && isFirstUsed;
      return rmp.isRegionUnassigned(one.spa) && !isBlocked;
    },
    'guest-owned': () => decides.assigned && decides.asid === one.asid,
    'reverse-map': () => {
      const inPage = decides.pageSize === PageSize.Huge ? (one.spa & 0x1f_ffffn) >> 12n : 0n;
      return (decides.gpa >> 12n) + inPage === one.gpa >> 12n;
    },
    mutable: () => !decides.immutable,
    'page-size': () => (decides.pageSize === PageSize.Huge) === isLarge,
    validated: () => decides.validated,
    vmpl: () => {
      const mask = decides.vmplMasks[one.vmpl];
      const stack = one.supervisorShadowStack === true ? 0x10 : 0;
      const needed = {
        read: 1 | stack,
        table: 1 | stack,
        write: 3 | stack,
        'table-update': 3 | stack,
        fetch: one.cpl === 3 ? 4 : 8,
      }[one.kind];
      return (mask & needed) === needed;
    },
    vmsa: () => decides.vmsa,
  };
  return checks.find((check) => !passes[check]());
}

const OWNED = ['hypervisor-owned'] as const;
const OWNERSHIP = ['covered', 'guest-owned', 'reverse-map', 'mutable'] as const;
const PRIVATE = [...OWNERSHIP, 'page-size', 'validated', 'vmpl'] as const;

function checksOf({ accessor, kind }: RmpAccess, hostTableReads: string): readonly RmpCheck[] {
  if (accessor === 'snp-guest-private') return PRIVATE;
  // Fetches and table accesses of an SNP guest are private.
  if (accessor === 'snp-guest-shared') return kind === 'read' ? [] : kind === 'write' ? OWNED : PRIVATE;
  if (kind === 'read' || kind === 'fetch') return [];
  return accessor === 'host' && kind === 'table' && hostTableReads === 'unchecked' ? [] : OWNED;
}

// R2, R3, R20
test('every access fails the first of its checks that its entry fails', () => {
  fc.assert(
    fc.property(
      assumptions,
      entry,
      entry,
      access,
      fc.constantFrom(undefined, REGION, REGION + 0x3000),
      (assumed, first, other, given, used) => {
        const rmp = new Rmp(sysPhysRegion(sysPhysAddr(REGION), REGION), {
          assumptions: assumed as Partial<Assumptions>,
        });
        const plain: RmpEntry = { ...HYPERVISOR_ENTRY, ...first };
        rmp.setRawEntry(sysPhysAddr(REGION), plain);
        const inner: RmpEntry = {
          ...HYPERVISOR_ENTRY,
          ...other,
          pageSize: PageSize.Regular,
          subpageCount: 0,
        };
        rmp.setRawEntry(sysPhysAddr(REGION + 0x3000), inner);
        if (used !== undefined) rmp.setInUse(sysPhysAddr(used), true);
        const { supervisorShadowStack, ...rest } = given;
        const one = {
          ...rest,
          ...(supervisorShadowStack === undefined ? {} : { supervisorShadowStack }),
        } as RmpAccess;
        const isFirstUsed = used === REGION && one.spa < 2 * REGION;
        const own = checksOf(one, assumed.hostTableReads);
        const failed = expected(rmp, one, own, isFirstUsed);
        expect(failedRmpCheck(rmp, one)).toBe(failed);
        expect(failedAccessCheck(rmp, one)).toBe(failed);
        expect(failedOwnershipCheck(rmp, one)).toBe(expected(rmp, one, OWNERSHIP, isFirstUsed));
        expect(failedChecks(rmp, one, ['vmsa'])).toBe(expected(rmp, one, ['vmsa'], isFirstUsed));
      },
    ),
    { numRuns: Math.max(300, Number(process.env['FC_NUM_RUNS'] ?? 0)) },
  );
});
