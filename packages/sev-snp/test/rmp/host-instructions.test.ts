import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { Assumptions } from '../../src/formats/assumptions.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { rmpResultName } from '../../src/formats/rmp-result-name.ts';
import { sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import {
  psmash,
  type RmpState,
  rmpread,
  rmpupdate,
  rmpupdatePages,
} from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import { MiB, rmpOf, snapshot } from '../support/world.ts';

const spa = sysPhysAddr;
const GUEST: RmpState = { assigned: true, asid: 1, gpa: physAddr(0x4000_0000) };
const HUGE: RmpState = { ...GUEST, pageSize: PageSize.Huge };
const FREE: RmpState = { assigned: false };
const FREE_HUGE: RmpState = { assigned: false, pageSize: PageSize.Huge };
const at = 2 * MiB;

/** An RMP after some updates, all of which must succeed. */
function after(...updates: (readonly [number, RmpState])[]): Rmp {
  const rmp = rmpOf();
  for (const [where, state] of updates) expect(rmpupdate(rmp, spa(where), state)).toBe(RmpResult.SUCCESS);
  return rmp;
}

function withSlot(where: number, fields: Partial<RmpEntry>): Rmp {
  const rmp = rmpOf();
  rmp.setRawEntry(spa(where), { ...HYPERVISOR_ENTRY, ...fields });
  return rmp;
}

describe('RMPUPDATE answers', () => {
  const immutable = { assigned: true, immutable: true } as const;
  // Each row breaks its own rule and, where possible, a later one too: the first one wins.
  // RMPUPDATE preconditions, RMPUPDATE step 1, RMPUPDATE step 2, RMPUPDATE step 3, RMPUPDATE step 5,
  // RMPUPDATE step 6, I5, I19
  test.each<[string, keyof typeof RmpResult, Rmp, number, RmpState, number?]>([
    ['a guest executes it', 'FAIL_PERMISSION', rmpOf(), at + 0x1000, HUGE, 1],
    ['2 MiB, misaligned', 'FAIL_INPUT', after([at, HUGE]), at + 0x1000, { ...FREE_HUGE, asid: 1 }],
    ['not assigned, but immutable', 'FAIL_INPUT', withSlot(at, immutable), at, { ...FREE, immutable: true }],
    ['not assigned, but with an ASID', 'FAIL_INPUT', withSlot(at, immutable), at, { ...FREE, asid: 1 }],
    ['an ASID that does not fit', 'FAIL_INPUT', withSlot(at, immutable), at, { ...GUEST, asid: 1024 }],
    [
      'a GPA that does not fit',
      'FAIL_INPUT',
      withSlot(at, immutable),
      at,
      { ...GUEST, gpa: physAddr(2n ** 48n) },
    ],
    ['a GPA within a page', 'FAIL_INPUT', withSlot(at, immutable), at, { ...GUEST, gpa: physAddr(1) }],
    ['not covered', 'FAIL_INPUT', rmpOf(), 8 * MiB, GUEST],
    ['immutable', 'FAIL_PERMISSION', withSlot(at, immutable), at, GUEST],
    [
      'immutable, 2 MiB',
      'FAIL_PERMISSION',
      withSlot(at, { ...immutable, pageSize: PageSize.Huge }),
      at,
      GUEST,
    ],
    ['4 KiB on the start of 2 MiB', 'FAIL_OVERLAP', after([at, HUGE]), at, FREE],
    ['4 KiB inside 2 MiB', 'FAIL_OVERLAP', after([at, HUGE]), at + 0x1000, FREE],
    ['4 KiB at the end of 2 MiB', 'FAIL_OVERLAP', after([at, HUGE]), 2 * at - 0x1000, GUEST],
    ['2 MiB over its first 4 KiB', 'FAIL_OVERLAP', after([at, GUEST]), at, HUGE],
    ['2 MiB over another 4 KiB', 'FAIL_OVERLAP', after([at + 0x5000, GUEST]), at, HUGE],
    ['2 MiB given back over 4 KiB', 'FAIL_OVERLAP', after([at + 0x5000, GUEST]), at, FREE_HUGE],
  ])('%s: %s, and changes nothing', (_, name, rmp, where, state, asid) => {
    const before = snapshot(rmp);
    expect(rmpResultName(rmpupdate(rmp, spa(where), state, asid))).toBe(name);
    expect(snapshot(rmp)).toBe(before);
  });

  test('SUCCESS for the last page that is covered, and for the pages next to a 2 MiB page', () => {
    after([8 * MiB - 0x1000, GUEST], [at, HUGE], [at - 0x1000, GUEST], [2 * at, GUEST]);
  });

  // I3
  test('ignores bits 11:0 of the address', () => {
    const rmp = after([at + 0xfff, { ...HUGE }]);
    expect(rmp.rawEntry(spa(at))).toMatchObject({ assigned: true, pageSize: PageSize.Huge, asid: 1 });
  });

  // I6
  test('with alignedPageBlocksHuge false, an assigned first page does not block 2 MiB', () => {
    const rmp = new Rmp(sysPhysRegion(spa(0), 8 * MiB), { assumptions: { alignedPageBlocksHuge: false } });
    expect(rmpupdate(rmp, spa(at), GUEST)).toBe(RmpResult.SUCCESS);
    expect(rmpupdate(rmp, spa(at), HUGE)).toBe(RmpResult.SUCCESS);
  });
});

describe('RMPUPDATE writes', () => {
  // RMPUPDATE step 7, V2, R13
  test('all fields of a 4 KiB entry', () => {
    const rmp = after([at + 0x1000, { ...GUEST, immutable: true }]);
    expect(rmp.rawEntry(spa(at + 0x1000))).toEqual({
      ...HYPERVISOR_ENTRY,
      assigned: true,
      immutable: true,
      asid: 1,
      gpa: 0x4000_0000n,
      vmplMasks: [0x1f, 0, 0, 0],
    });
    expect(rmp.rawEntry(spa(at))?.subpageCount).toBe(1);
  });

  // RMPUPDATE step 7, R11
  test('only assigned in the other 511 entries of a 2 MiB page', () => {
    const rmp = after([at, HUGE]);
    expect(rmp.rawEntry(spa(at))).toMatchObject({ assigned: true, pageSize: PageSize.Huge, subpageCount: 0 });
    for (let page = at + 0x1000; page < 2 * at; page += 0x1000) {
      expect(rmp.rawEntry(spa(page))).toEqual({ ...HYPERVISOR_ENTRY, assigned: true });
    }
  });

  // I5
  test('512 free entries for a 2 MiB page that is given back', () => {
    const rmp = after([at, HUGE], [at, FREE_HUGE]);
    for (let page = at; page < 2 * at; page += 0x1000) {
      expect(rmp.rawEntry(spa(page))).toMatchObject({ assigned: false, pageSize: PageSize.Regular, asid: 0 });
    }
  });

  const valid: Partial<RmpEntry> = {
    assigned: true,
    asid: 1,
    gpa: physAddr(0x4000_0000),
    validated: true,
    vmsa: true,
    vmplMasks: [0x1f, 0xf, 1, 0],
  };
  // I4, RMPUPDATE step 7
  test.each<[string, RmpState, boolean]>([
    ['the same again', GUEST, true],
    ['only immutable', { ...GUEST, immutable: true }, true],
    ['another GPA', { ...GUEST, gpa: physAddr(0x1000) }, false],
    ['another ASID', { ...GUEST, asid: 2 }, false],
    ['unassigned', FREE, false],
    ['unassigned, the same GPA', { ...FREE, gpa: physAddr(0x4000_0000) }, false],
    ['to the firmware', { ...GUEST, asid: 0 }, false],
  ])('what the guest has set is kept or reset: %s', (_, state, survives) => {
    const rmp = withSlot(at + 0x1000, valid);
    rmpupdate(rmp, spa(at + 0x1000), state);
    const { validated, vmsa, vmplMasks } = rmp.rawEntry(spa(at + 0x1000)) as RmpEntry;
    expect({ validated, vmsa, vmplMasks }).toEqual(
      survives
        ? { validated: true, vmsa: true, vmplMasks: valid.vmplMasks }
        : { validated: false, vmsa: false, vmplMasks: [0x1f, 0, 0, 0] },
    );
  });

  // I4
  test('without an ASID everything is reset, even if nothing changes', () => {
    const rmp = withSlot(at, { assigned: true, vmsa: true, vmplMasks: [1, 1, 1, 1] });
    rmpupdate(rmp, spa(at), { assigned: true });
    expect(rmp.rawEntry(spa(at))).toMatchObject({ vmsa: false, vmplMasks: [0x1f, 0, 0, 0] });
  });

  // I4
  test('another page size resets too', () => {
    const rmp = withSlot(at, valid);
    rmp.setRawEntry(spa(at), { ...HYPERVISOR_ENTRY, ...valid, pageSize: PageSize.Huge });
    rmpupdate(rmp, spa(at), HUGE);
    expect(rmp.rawEntry(spa(at))?.validated).toBe(true);
    rmpupdate(rmp, spa(at), FREE_HUGE);
    rmpupdate(rmp, spa(at), HUGE);
    expect(rmp.rawEntry(spa(at))?.validated).toBe(false);
  });

  // I4
  test('with rmpupdateReset always, every success resets', () => {
    const rmp = new Rmp(sysPhysRegion(spa(0), 8 * MiB), { assumptions: { rmpupdateReset: 'always' } });
    rmp.setRawEntry(spa(at), { ...HYPERVISOR_ENTRY, ...valid });
    rmpupdate(rmp, spa(at), GUEST);
    expect(rmp.rawEntry(spa(at))?.validated).toBe(false);
  });
});

describe('PSMASH answers', () => {
  // PSMASH preconditions, PSMASH step 1, PSMASH step 3, PSMASH step 4
  test.each<[string, keyof typeof RmpResult, Rmp, number, number?]>([
    ['a guest executes it', 'FAIL_PERMISSION', rmpOf(), at + 0x1000, 1],
    ['misaligned', 'FAIL_INPUT', after([at, HUGE]), at + 0x1000],
    ['not covered', 'FAIL_INPUT', rmpOf(), 8 * MiB],
    ['unassigned', 'FAIL_BADADDR', rmpOf(), at],
    ['4 KiB', 'FAIL_BADADDR', after([at, GUEST]), at],
    ['immutable', 'FAIL_BADADDR', after([at, { ...HUGE, immutable: true }]), at],
  ])('%s: %s, and changes nothing', (_, name, rmp, where, asid) => {
    const before = snapshot(rmp);
    expect(rmpResultName(psmash(rmp, spa(where), asid))).toBe(name);
    expect(snapshot(rmp)).toBe(before);
  });

  // PSMASH step 5, I9, R13
  test('SUCCESS once, and copies the entry into 512 entries', () => {
    const rmp = after([at, HUGE]);
    const huge = rmp.rawEntry(spa(at)) as RmpEntry;
    rmp.setRawEntry(spa(at), { ...huge, validated: true, vmplMasks: [0x1f, 3, 2, 1] });
    expect(psmash(rmp, spa(at + 0xfff))).toBe(RmpResult.SUCCESS);
    for (let k = 0; k < 512; k += 1) {
      expect(rmp.entry(spa(at + k * 0x1000))).toEqual({
        ...huge,
        pageSize: PageSize.Regular,
        validated: true,
        vmplMasks: [0x1f, 3, 2, 1],
        gpa: 0x4000_0000n + BigInt(k * 0x1000),
        subpageCount: k === 0 ? 511 : 0,
      });
    }
    expect(psmash(rmp, spa(at))).toBe(RmpResult.FAIL_BADADDR);
    expect(rmpupdate(rmp, spa(at + 0x1000), FREE)).toBe(RmpResult.SUCCESS);
    expect(rmp.rawEntry(spa(at))?.subpageCount).toBe(510);
  });
});

describe('a page in use', () => {
  // R24, RMPUPDATE step 4, PSMASH step 2
  test('makes RMPUPDATE and PSMASH of it, or of its 2 MiB, answer FAIL_INUSE: after the operands, before the entry', () => {
    const rmp = after([at, HUGE], [2 * at + 0x1000, GUEST]);
    rmp.setInUse(spa(at + 0x7000), true);
    rmp.setInUse(spa(2 * at + 0x1234), true);
    expect([psmash(rmp, spa(at)), psmash(rmp, spa(at + 0x1000))].map(rmpResultName)).toEqual([
      'FAIL_INUSE',
      'FAIL_INPUT',
    ]);
    expect(rmpResultName(rmpupdate(rmp, spa(at), FREE_HUGE))).toBe('FAIL_INUSE');
    expect(rmpResultName(rmpupdate(rmp, spa(2 * at + 0x1000), FREE))).toBe('FAIL_INUSE');
    expect(rmpResultName(rmpupdate(rmp, spa(2 * at + 0x2000), GUEST))).toBe('SUCCESS');
    rmp.setRawEntry(spa(2 * at + 0x1000), {
      ...(rmp.rawEntry(spa(2 * at + 0x1000)) as RmpEntry),
      immutable: true,
    });
    expect(rmpResultName(rmpupdate(rmp, spa(2 * at + 0x1000), FREE))).toBe('FAIL_INUSE');
    expect(rmpResultName(rmpupdate(rmp, spa(2 * at + 0x1000), { ...FREE, asid: 1 }))).toBe('FAIL_INPUT');
  });

  // R24
  test('can be changed once it is not in use any more', () => {
    const rmp = after([at, GUEST]);
    rmp.setInUse(spa(at), true);
    expect(rmp.isInUse(spa(at + 0xfff), PageSize.Regular)).toBe(true);
    rmp.setInUse(spa(at), false);
    expect(rmpResultName(rmpupdate(rmp, spa(at), FREE))).toBe('SUCCESS');
  });
});

// I19
test('RMPUPDATE of 2 MiB over an HV-FIXED page is refused, and the page stays as it is', () => {
  const rmp = withSlot(at + 0x5000, { immutable: true });
  expect(rmpResultName(rmpupdate(rmp, spa(at), HUGE))).toBe('FAIL_PERMISSION');
  expect(rmp.rawEntry(spa(at + 0x5000))?.immutable).toBe(true);
});

// I19
test.each<[Partial<RmpState>, string]>([
  [{ asid: 0x3ff }, 'SUCCESS'],
  [{ asid: 0x400 }, 'FAIL_INPUT'],
  [{ asid: -1 }, 'FAIL_INPUT'],
  [{ asid: 0 }, 'SUCCESS'],
  [{ gpa: physAddr(2n ** 48n - 0x1000n) }, 'SUCCESS'],
  [{ gpa: physAddr(2n ** 48n) }, 'FAIL_INPUT'],
])('RMPUPDATE at the limits of the fields of an entry, %o: %s', (fields, result) => {
  const rmp = withSlot(at, {});
  const state: RmpState = { assigned: true, asid: 1, ...fields };
  expect(rmpResultName(rmpupdate(rmp, spa(at), state))).toBe(result);
  if (result === 'SUCCESS') expect(rmp.rawEntry(spa(at))).toMatchObject(state);
});

describe('RMPREAD', () => {
  // RMPREAD step 2, R10
  test('returns the state, without the fields that belong to the guest', () => {
    const rmp = withSlot(at + 0x1000, {
      assigned: true,
      asid: 5,
      gpa: physAddr(0x7000),
      validated: true,
      vmsa: true,
    });
    expect(rmpread(rmp, spa(at + 0x1fff))).toEqual({
      result: RmpResult.SUCCESS,
      state: {
        assigned: true,
        asid: 5,
        gpa: 0x7000n,
        pageSize: PageSize.Regular,
        immutable: false,
        regionStatus: false,
      },
    });
  });

  // R10
  test('of the first page of a region returns whether another page of it is assigned', () => {
    const status = (rmp: Rmp, where = at) => rmpread(rmp, spa(where)).state?.regionStatus;
    const other = after([at + 0x1000, GUEST]);
    expect([status(rmpOf()), status(after([at, GUEST])), status(other), status(after([at, HUGE]))]).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect(status(other, at + 0x1000)).toBe(false);
  });

  // RMPREAD preconditions, RMPREAD step 1, I21
  test('inside a 2 MiB page returns only that it is assigned; a guest, or an uncovered page, gets no state', () => {
    const rmp = after([at, HUGE]);
    expect(rmpread(rmp, spa(at + 0x1000)).state).toMatchObject({
      assigned: true,
      asid: 0,
      pageSize: PageSize.Regular,
    });
    expect(rmpread(rmp, spa(at), 1)).toEqual({ result: RmpResult.FAIL_PERMISSION, state: undefined });
    expect(rmpread(rmp, spa(8 * MiB))).toEqual({ result: RmpResult.FAIL_INPUT, state: undefined });
  });
});

test('each field of the state of a range is read once', () => {
  let reads = 0;
  const state = {
    assigned: true,
    asid: 1,
    get gpa() {
      reads += 1;
      return physAddr(reads === 1 ? 0x1000 : 0x9000);
    },
  };
  const rmp = rmpOf();
  expect(rmpupdatePages(rmp, spa(at), 3, state)).toEqual({ result: RmpResult.SUCCESS, done: 3 });
  expect(reads).toBe(1);
  expect([0, 1, 2].map((k) => rmp.rawEntry(spa(at + k * 0x1000))?.gpa)).toEqual([0x1000n, 0x2000n, 0x3000n]);
});

test('RMPUPDATE of 2 MiB needs an aligned address, whatever is there', () => {
  const rmp = rmpOf();
  for (const offset of [0x1000, 0x10_0000, 0x1f_f000]) {
    expect(rmpResultName(rmpupdate(rmp, spa(at + offset), HUGE))).toBe('FAIL_INPUT');
    expect(rmpResultName(rmpupdate(rmp, spa(at + offset), FREE_HUGE))).toBe('FAIL_INPUT');
  }
});

describe('under an assumption', () => {
  const made = (assumptions: Partial<Assumptions>): Rmp =>
    new Rmp(sysPhysRegion(spa(0), 8 * MiB), { assumptions });
  const huge = { ...HYPERVISOR_ENTRY, assigned: true, immutable: true, pageSize: PageSize.Huge };

  test.each([
    ['bad-page', 'FAIL_BADADDR', 'FAIL_BADADDR'],
    ['bad-page', 'FAIL_OVERLAP', 'FAIL_OVERLAP'],
    ['FAIL_PERMISSION', 'FAIL_OVERLAP', 'FAIL_PERMISSION'],
  ] as const)(
    'PSMASH of an immutable page: %s and %s answer %s',
    (psmashImmutable, psmashBadPage, answer) => {
      const rmp = made({ psmashImmutable, psmashBadPage });
      rmp.setRawEntry(spa(at), huge);
      expect(rmpResultName(psmash(rmp, spa(at)))).toBe(answer);
    },
  );

  test.each(['maintained', 'unmaintained'] as const)('sub-page counts are %s', (subpageCount) => {
    const rmp = made({ subpageCount });
    const count = (where: number): number | undefined => rmp.rawEntry(spa(where))?.subpageCount;
    for (const page of [1, 2]) rmpupdate(rmp, spa(at + page * 0x1000), GUEST);
    rmpupdate(rmp, spa(at + 0x1000), { ...GUEST, gpa: physAddr(0x9000) });
    rmpupdate(rmp, spa(2 * at), HUGE);
    psmash(rmp, spa(2 * at));
    const isCounted = subpageCount === 'maintained';
    expect([count(at), count(2 * at), count(2 * at + 0x1000)]).toEqual(isCounted ? [2, 511, 0] : [0, 0, 0]);
    rmpupdate(rmp, spa(at + 0x1000), FREE);
    expect(count(at)).toBe(isCounted ? 1 : 0);
  });

  test.each(['ignored', 'FAIL_INPUT'] as const)('bits 11:0 of the address: %s', (lowAddressBits) => {
    const rmp = made({ lowAddressBits });
    const answers = [at, at + 1, at + 0xfff].map((where) => rmpResultName(rmpupdate(rmp, spa(where), GUEST)));
    const other = lowAddressBits === 'ignored' ? 'SUCCESS' : 'FAIL_INPUT';
    expect(answers).toEqual(['SUCCESS', other, other]);
  });

  test.each([
    ['first', 'FAIL_INUSE', 'FAIL_INUSE', 'FAIL_INUSE'],
    ['before-entry', 'FAIL_INPUT', 'FAIL_INUSE', 'FAIL_INUSE'],
    ['last', 'FAIL_INPUT', 'FAIL_PERMISSION', 'FAIL_INUSE'],
  ] as const)('the test of pages in use is %s', (inUseTest, input, immutable, plain) => {
    const rmp = made({ inUseTest });
    rmp.setInUse(spa(at), true);
    const answer = (state: RmpState): string => rmpResultName(rmpupdate(rmp, spa(at), state));
    expect(answer({ ...FREE, asid: 1 })).toBe(input);
    expect(answer(GUEST)).toBe(plain);
    rmp.setRawEntry(spa(at), { ...HYPERVISOR_ENTRY, assigned: true, immutable: true });
    expect(answer(GUEST)).toBe(immutable);
  });
});
