import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type GuestCpu, pvalidate, rmpadjust, rmpquery } from '../../src/cpu/guest-instructions.ts';
import type { Assumptions } from '../../src/formats/assumptions.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import type { RmpEntry, RmpPageSize } from '../../src/formats/rmp-entry.ts';
import type { RmpResult } from '../../src/formats/rmp-result.ts';
import { rmpResultName } from '../../src/formats/rmp-result-name.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Vmpl } from '../../src/formats/vmpl.ts';
import { psmash } from '../../src/rmp/host-instructions.ts';
import { gvaOf, MiB, snapshot, spaOf, thrownBy, type World, world } from '../support/world.ts';

const { Regular, Huge } = PageSize;
const HUGE_PAGE = 4 * MiB;

/** GPA 4 MiB is a 2 MiB page; of the 2 MiB from GPA 2 MiB on, RMP and nested page table have 4 KiB pages. */
function small(assumptions: Partial<Assumptions> = {}): World {
  const it = world({ assumptions });
  psmash(it.machine.rmp, spaOf(it, 2 * MiB));
  it.guest.nested.split4k(physAddr(2 * MiB));
  return it;
}

/** `vcpu` as if it ran at another level: the instructions see that level, the walk of the page table does not. */
function at(it: World, vmpl: Vmpl, cpl = 0): GuestCpu {
  const translate = (gva: VirtAddr) => it.vcpu.translate(gva);
  return { guest: it.guest, vmpl, cpl, is64Bit: true, translate };
}

function change(it: World, gpa: number, fields: Partial<RmpEntry>): void {
  const { rmp } = it.machine;
  const spa = spaOf(it, gpa);
  const entry = rmp.entry(spa) as RmpEntry;
  rmp.setRawEntry((spa & -BigInt(entry.pageSize)) as SysPhysAddr, { ...entry, ...fields });
}

/** The name of the result; or the code of the fault, its check, and SIZEM if that bit is set. */
function outcome(it: World, action: () => RmpResult | { result: RmpResult; unchanged?: boolean }): string {
  const before = snapshot(it.machine.rmp);
  let text = '';
  const fault = thrownBy(() => {
    const answer = action();
    const { result, unchanged } = typeof answer === 'number' ? { result: answer, unchanged: false } : answer;
    text = rmpResultName(result) + (unchanged === true ? ' unchanged' : '');
  });
  if (fault !== undefined) {
    const { exitInfo1 = 0n, check = '' } = fault.details as { exitInfo1?: bigint; check?: string };
    text = `${fault.code} ${check}${(exitInfo1 & NpfInfo.SizeMismatch) !== 0n ? ' SIZEM' : ''}`.trim();
    if (fault.code === 'NPF') {
      expect(exitInfo1 & (NpfInfo.Rmp | NpfInfo.FinalAddress)).toBe(NpfInfo.Rmp | NpfInfo.FinalAddress);
    }
  }
  if (text !== 'SUCCESS') expect(snapshot(it.machine.rmp)).toBe(before);
  return text;
}

/** Pages with something wrong, and the fault that every instruction on them raises; by priority. */
const WRONG_PAGES: [string, (it: World, gpa: number) => void, string][] = [
  ['mapped shared', (it, gpa) => it.table.setShared4k(gvaOf(gpa)), 'NPF guest-owned'],
  ['another guest’s', (it, gpa) => change(it, gpa, { asid: 9 }), 'NPF guest-owned'],
  ['unassigned', (it, gpa) => change(it, gpa, { assigned: false, asid: 0 }), 'NPF guest-owned'],
  ['assigned for another address', (it, gpa) => change(it, gpa, { gpa: physAddr(0) }), 'NPF reverse-map'],
  ['immutable', (it, gpa) => change(it, gpa, { immutable: true }), 'NPF mutable'],
];

describe('PVALIDATE', () => {
  const run = (it: World, gpa: number, size: RmpPageSize, validate: boolean, cpu = at(it, 0)) =>
    outcome(it, () => pvalidate(cpu, gvaOf(gpa), size, validate));

  // PVALIDATE step 6, I10, I11
  test('changes validated, and reports whether it did, for both sizes', () => {
    const it = small();
    for (const [gpa, size] of [
      [2 * MiB + 0x1000, Regular],
      [HUGE_PAGE, Huge],
    ] as const) {
      const before = it.machine.rmp.entry(spaOf(it, gpa));
      const program = [true, false, false, true, true].map((validate) => run(it, gpa, size, validate));
      expect(program).toEqual([
        'SUCCESS unchanged',
        'SUCCESS',
        'SUCCESS unchanged',
        'SUCCESS',
        'SUCCESS unchanged',
      ]);
      expect(it.machine.rmp.entry(spaOf(it, gpa))).toEqual(before);
    }
  });

  // PVALIDATE step 2, PVALIDATE step 3
  test.each(WRONG_PAGES)('a page that is %s', (state, spoil, fault) => {
    const it = small();
    spoil(it, 2 * MiB + 0x1000);
    expect(run(it, 2 * MiB + 0x1000, Regular, false)).toBe(fault);
    // Owner and address are checked before sizes. Sharing has split the page, so that case would be the same.
    if (state === 'mapped shared') return;
    const huge = world();
    spoil(huge, HUGE_PAGE);
    expect(run(huge, HUGE_PAGE, Regular, false)).toBe(fault);
  });

  // PVALIDATE step 3
  test('a page that is not covered', () => {
    const it = small();
    it.guest.nested.unmap(physAddr(2 * MiB));
    it.guest.nested.map(physAddr(2 * MiB), 0x4000_0000n as SysPhysAddr, Regular);
    expect(run(it, 2 * MiB, Regular, true)).toBe('NPF covered');
  });

  // PVALIDATE step 1, PVALIDATE step 4, PVALIDATE step 5, I3, I12
  test.each<[string, number, RmpPageSize, string]>([
    ['4 KiB of a 2 MiB page', HUGE_PAGE + 0x5000, Regular, 'NPF page-size SIZEM'],
    ['2 MiB of 4 KiB pages', 2 * MiB, Huge, 'FAIL_SIZEMISMATCH'],
    ['2 MiB, misaligned', HUGE_PAGE + 0x1000, Huge, 'FAIL_INPUT'],
    ['2 MiB, misaligned within a page only', HUGE_PAGE + 0xfff, Huge, 'SUCCESS'],
  ])('%s: %s', (_, gpa, size, expected) => {
    expect(run(small(), gpa, size, false)).toBe(expected);
  });

  // PVALIDATE step 4, PVALIDATE step 5
  test('the sizes of the nested page table count like the sizes in the RMP', () => {
    const nestedSmall = world();
    nestedSmall.guest.nested.split4k(physAddr(HUGE_PAGE));
    expect(run(nestedSmall, HUGE_PAGE, Huge, false)).toBe('FAIL_SIZEMISMATCH');
    expect(run(nestedSmall, HUGE_PAGE, Regular, false)).toBe('NPF page-size SIZEM');
    const entrySmall = world();
    psmash(entrySmall.machine.rmp, spaOf(entrySmall, HUGE_PAGE));
    expect(run(entrySmall, HUGE_PAGE, Regular, false)).toBe('NPF page-size SIZEM');
    expect(run(entrySmall, HUGE_PAGE, Huge, false)).toBe('FAIL_SIZEMISMATCH');
  });

  // I20
  test('2 MiB whose GPA is not a multiple of 2 MiB', () => {
    const it = world();
    const odd = gvaOf(256 * MiB);
    it.table.map4k(odd, physAddr(HUGE_PAGE + 0x1000), 2);
    expect(outcome(it, () => pvalidate(at(it, 0), odd, Huge, false))).toBe('NPF reverse-map');
  });

  // PVALIDATE preconditions, V5
  test('needs VMPL0 and CPL 0, which it checks first', () => {
    const it = small();
    expect(run(it, HUGE_PAGE + 0x1000, Huge, true, at(it, 0, 3))).toBe('GP');
    expect(run(it, HUGE_PAGE + 0x1000, Huge, true, at(it, 1))).toBe('GP');
    const switched = small({ pvalidateAboveVmpl0: 'FAIL_PERMISSION' });
    expect(run(switched, HUGE_PAGE + 0x1000, Huge, true, at(switched, 1))).toBe('FAIL_PERMISSION');
    expect(run(switched, HUGE_PAGE + 0x1000, Huge, true, at(switched, 1, 3))).toBe('GP');
  });

  // PVALIDATE step 2
  test('needs a translation', () => {
    const it = small();
    expect(run(it, 512 * MiB, Regular, true)).toBe('PF');
    expect(outcome(it, () => pvalidate(at(it, 0), 0x8000_0000_0000n as VirtAddr, Regular, true))).toBe('GP');
    it.table.map4k(gvaOf(512 * MiB), physAddr(512 * MiB), 2);
    expect(thrownBy(() => pvalidate(at(it, 0), gvaOf(512 * MiB), Regular, true))?.details).toMatchObject({
      check: 'nested-not-present',
    });
  });
});

describe('RMPADJUST', () => {
  const page = 2 * MiB + 0x1000;
  const run = (
    it: World,
    gpa: number,
    size: RmpPageSize,
    vmpl: number,
    permissions: number,
    cpu = at(it, 0),
  ) => outcome(it, () => rmpadjust(cpu, gvaOf(gpa), size, { vmpl, permissions }));
  const masks = (it: World, gpa: number) => it.machine.rmp.entry(spaOf(it, gpa))?.vmplMasks;

  // RMPADJUST step 8, I15, I16
  test('sets one mask, as it is given', () => {
    const it = small();
    expect(run(it, page, Regular, 2, 0x2)).toBe('SUCCESS');
    expect(masks(it, page)).toEqual([0x1f, 0, 0x2, 0]);
    expect(run(it, HUGE_PAGE, Huge, 3, 0xf)).toBe('SUCCESS');
    expect(masks(it, HUGE_PAGE + 0x1000)).toEqual([0x1f, 0, 0, 0xf]);
  });

  // RMPADJUST step 7, V3
  test('gives no more rights than the current level has', () => {
    const it = small();
    run(it, page, Regular, 1, 0x5);
    expect(run(it, page, Regular, 2, 0x4, at(it, 1))).toBe('SUCCESS');
    expect(run(it, page, Regular, 2, 0x2, at(it, 1))).toBe('FAIL_PERMISSION');
  });

  // RMPADJUST step 8, I14
  test('changes the VMSA bit at VMPL0, and ignores it at other levels', () => {
    const it = small();
    const adjust = (vmsa: boolean, vmpl: Vmpl) =>
      rmpadjust(at(it, vmpl), gvaOf(page), Regular, { vmpl: vmpl + 1, permissions: 0, vmsa });
    const isVmsa = () => it.machine.rmp.entry(spaOf(it, page))?.vmsa;
    expect([adjust(true, 1), isVmsa()]).toEqual([0, false]);
    expect([adjust(true, 0), isVmsa()]).toEqual([0, true]);
    expect([adjust(false, 1), isVmsa()]).toEqual([0, true]);
    expect([adjust(false, 0), isVmsa()]).toEqual([0, false]);
  });

  // Each breaks its own rule and those further down where it can.
  // RMPADJUST step 1, RMPADJUST step 2, RMPADJUST step 4, RMPADJUST step 6
  test.each<[string, number, RmpPageSize, number, number, string]>([
    ['2 MiB, misaligned', HUGE_PAGE + 0x1000, Huge, 4, 0x20, 'FAIL_INPUT'],
    ['a level that does not exist', HUGE_PAGE + 0x1000, Regular, 4, 0, 'FAIL_INPUT'],
    ['a reserved bit', HUGE_PAGE + 0x1000, Regular, 0, 0x20, 'FAIL_INPUT'],
    ['its own level', HUGE_PAGE + 0x1000, Regular, 0, 0, 'FAIL_PERMISSION'],
    ['4 KiB of a 2 MiB page', HUGE_PAGE + 0x1000, Regular, 1, 0, 'NPF page-size SIZEM'],
    ['2 MiB of 4 KiB pages', 2 * MiB, Huge, 1, 0, 'FAIL_SIZEMISMATCH'],
  ])('%s', (_, gpa, size, vmpl, permissions, expected) => {
    const it = small();
    change(it, gpa, { vmplMasks: [0, 0, 0, 0] });
    expect(run(it, gpa, size, vmpl, permissions)).toBe(expected);
  });

  // RMPADJUST step 5
  test('a page that is not validated faults after the checks of its owner and before those of its size', () => {
    const it = small();
    change(it, 2 * MiB, { validated: false });
    expect(run(it, 2 * MiB, Huge, 1, 0)).toBe('VC_NOT_VALIDATED');
    change(it, 2 * MiB, { asid: 9 });
    expect(run(it, 2 * MiB, Huge, 1, 0)).toBe('NPF guest-owned');
  });

  // RMPADJUST step 3, RMPADJUST step 4
  test.each(WRONG_PAGES)('a page that is %s', (_, spoil, fault) => {
    const it = small();
    spoil(it, page);
    expect(run(it, page, Regular, 1, 0)).toBe(fault);
  });

  // RMPADJUST preconditions
  test('needs CPL 0, and works at every level that has a less privileged one', () => {
    const it = small();
    expect(run(it, page, Regular, 1, 0, at(it, 0, 3))).toBe('GP');
    expect(run(it, page, Regular, 3, 0, at(it, 2))).toBe('SUCCESS');
    expect(run(it, page, Regular, 3, 0, at(it, 3))).toBe('FAIL_PERMISSION');
  });

  // RMPADJUST step 1
  test('with rmpadjustReservedBits ignored, ignores reserved bits', () => {
    const it = small({ rmpadjustReservedBits: 'ignored' });
    expect(run(it, page, Regular, 1, 0x21)).toBe('SUCCESS');
    expect(masks(it, page)).toEqual([0x1f, 1, 0, 0]);
    expect(run(it, page, Regular, 4, 0)).toBe('FAIL_INPUT');
  });
});

describe('RMPQUERY', () => {
  const page = 2 * MiB + 0x1000;

  // RMPQUERY step 4
  test('returns mask, VMSA bit and size', () => {
    const it = small();
    rmpadjust(at(it, 0), gvaOf(page), Regular, { vmpl: 1, permissions: 0x3, vmsa: true });
    const regular = { result: 0, permissions: 0x3, vmsa: true, pageSize: Regular };
    expect(rmpquery(at(it, 0), gvaOf(page), 1)).toEqual(regular);
    expect(rmpquery(at(it, 0), gvaOf(HUGE_PAGE + 0x1000), 0)).toMatchObject({
      permissions: 0x1f,
      pageSize: Huge,
    });
  });

  // RMPQUERY step 1
  test('refuses a more privileged level; with rmpqueryLevels lower, its own level too', () => {
    const it = small();
    const result = (it: World, vmpl: Vmpl) => outcome(it, () => rmpquery(at(it, 1), gvaOf(page), vmpl));
    expect([result(it, 0), result(it, 1), result(it, 2)]).toEqual(['FAIL_PERMISSION', 'SUCCESS', 'SUCCESS']);
    const switched = small({ rmpqueryLevels: 'lower' });
    expect([result(switched, 1), result(switched, 2)]).toEqual(['FAIL_PERMISSION', 'SUCCESS']);
  });

  // RMPQUERY step 3
  test('needs a validated page, unless rmpqueryNeedsValidated is false', () => {
    const run = (it: World) => {
      change(it, page, { validated: false });
      return outcome(it, () => rmpquery(at(it, 0), gvaOf(page), 1));
    };
    expect([run(small()), run(small({ rmpqueryNeedsValidated: false }))]).toEqual([
      'VC_NOT_VALIDATED',
      'SUCCESS',
    ]);
  });

  // RMPQUERY step 2
  test.each(WRONG_PAGES)('a page that is %s', (_, spoil, fault) => {
    const it = small();
    spoil(it, page);
    expect(outcome(it, () => rmpquery(at(it, 0), gvaOf(page), 1))).toBe(fault);
  });

  // RMPQUERY preconditions
  test('needs CPL 0', () => {
    const it = small();
    expect(outcome(it, () => rmpquery(at(it, 0, 1), gvaOf(page), 1))).toBe('GP');
  });
});
