import { PAGE_SIZE_2M, PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { psmash, type RmpState, rmpupdate } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, type Rmp } from '../../src/rmp/rmp.ts';
import { rmpOf, snapshot } from '../support/world.ts';

// Few places, so that operations meet: the first, second and last page of three regions. The third is not covered.
const place = fc
  .tuple(fc.integer({ min: 0, max: 2 }), fc.constantFrom(0, 1, 511))
  .map(([region, page]) => region * 512 + page);
const state: fc.Arbitrary<RmpState> = fc.record({
  assigned: fc.boolean(),
  immutable: fc.oneof(
    { weight: 9, arbitrary: fc.constant(false) },
    { weight: 1, arbitrary: fc.constant(true) },
  ),
  asid: fc.constantFrom(0, 1, 2),
  gpa: fc.constantFrom(physAddr(0), physAddr(PAGE_SIZE_2M), physAddr(0x1000)),
  pageSize: fc.constantFrom(PageSize.Regular, PageSize.Huge),
});
const command = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: fc.constant('rmpupdate' as const), page: place, state }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('psmash' as const), page: place }) },
);

/** The plain twin: the owner of each 4 KiB page, and whether a 2 MiB page gives it. */
interface Owned {
  readonly asid: number;
  readonly gpa: bigint;
  readonly immutable: boolean;
  readonly huge: boolean;
}

const COVERED = 1024;

/** Makes an update in the twin by plain reasoning. Returns whether it succeeds. */
function updateTwin(twin: Map<number, Owned>, page: number, s: Required<RmpState>): boolean {
  const huge = s.pageSize === PageSize.Huge;
  const region = Array.from({ length: 512 }, (_, k) => page - (page % 512) + k);
  if ((huge && page % 512 !== 0) || (!s.assigned && (s.immutable || s.asid !== 0)) || page >= COVERED)
    return false;
  const first = twin.get(region[0]!);
  const byHuge = first?.huge === true;
  // Inside a 2 MiB page, only its first entry is immutable.
  if (twin.get(page)?.immutable === true && !(byHuge && page % 512 !== 0)) return false;
  if (huge ? !byHuge && region.some((p) => twin.has(p)) : byHuge) return false;
  const pages = huge ? region : [page];
  pages.forEach((p, k) => {
    twin.delete(p);
    const gpa = s.gpa + BigInt(k * 0x1000);
    if (s.assigned) twin.set(p, { asid: s.asid, gpa, immutable: s.immutable, huge });
  });
  return true;
}

function smashTwin(twin: Map<number, Owned>, page: number): boolean {
  const first = twin.get(page);
  if (page % 512 !== 0 || first?.huge !== true || first.immutable) return false;
  for (let k = 0; k < 512; k += 1) twin.set(page + k, { ...(twin.get(page + k) as Owned), huge: false });
  return true;
}

function checkInvariants(rmp: Rmp): void {
  for (let region = 0; region < COVERED; region += 512) {
    const slots = Array.from(
      { length: 512 },
      (_, k) => rmp.rawEntry(sysPhysAddr((region + k) * 0x1000)) as RmpEntry,
    );
    const [first, ...others] = slots as [RmpEntry, ...RmpEntry[]];
    if (first.pageSize === PageSize.Huge) {
      expect(first.assigned && first.subpageCount === 0).toBe(true);
      const odd = others.filter(
        (o) => !o.assigned || o.asid !== 0 || o.gpa !== 0n || o.immutable || o.validated,
      );
      expect(odd).toEqual([]);
    } else {
      expect(first.subpageCount).toBe(others.filter(({ assigned }) => assigned).length);
    }
    expect(others.every((o) => o.subpageCount === 0 && o.pageSize === PageSize.Regular)).toBe(true);
  }
}

// R11, R13, RMPUPDATE step 7, PSMASH step 5
test('programs of RMPUPDATE and PSMASH do what a plain map does and keep the sub-page invariants', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 12 }), (program) => {
      const rmp = rmpOf(4);
      const twin = new Map<number, Owned>();
      for (const step of program) {
        const spa = sysPhysAddr(step.page * 0x1000);
        const before = snapshot(rmp);
        const result = step.op === 'psmash' ? psmash(rmp, spa) : rmpupdate(rmp, spa, step.state);
        const expected =
          step.op === 'psmash'
            ? smashTwin(twin, step.page)
            : updateTwin(twin, step.page, step.state as Required<RmpState>);
        expect(result === RmpResult.SUCCESS).toBe(expected);
        if (!expected) expect(snapshot(rmp)).toBe(before);
        checkInvariants(rmp);
      }
      for (let page = 0; page < COVERED; page += 1) {
        const { assigned, asid, gpa, immutable, pageSize } =
          rmp.entry(sysPhysAddr(page * 0x1000)) ?? HYPERVISOR_ENTRY;
        const owned = twin.get(page);
        const offset = pageSize === PageSize.Huge ? BigInt(page % 512) * 0x1000n : 0n;
        expect(assigned).toBe(owned !== undefined);
        if (owned === undefined) continue;
        const huge = pageSize === PageSize.Huge;
        expect({ asid, gpa: gpa + offset, immutable, huge }).toEqual(owned);
      }
    }),
  );
});
