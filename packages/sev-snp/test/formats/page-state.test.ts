import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { rmpResultName } from '../../src/formats/rmp-result-name.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { psmash, type RmpState, rmpupdate } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import { failedRmpCheck } from '../../src/rmp/rmp-check.ts';
import { PAGE_COMMANDS, pageOutcome } from '../support/firmware-runs.ts';
import { gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

// One page of a guest, GPA 2 MiB + 0x1000, in every state that an entry can be in.
const GPA = 2 * MiB + 0x1000;
const gpa = physAddr(GPA);
const GUEST: Partial<RmpEntry> = { assigned: true, asid: 1, gpa, vmplMasks: [0x1f, 0, 0, 0] };
const OWN: Partial<RmpEntry> = { assigned: true, immutable: true, lock: true };
const STATES: Readonly<Record<Exclude<PageState, 'DEFAULT' | 'INVALID'>, Partial<RmpEntry>>> = {
  HYPERVISOR: {},
  'HV-FIXED': { immutable: true },
  FIRMWARE: OWN,
  RECLAIM: { assigned: true },
  CONTEXT: { ...OWN, vmsa: true },
  METADATA: { ...OWN, gpa: physAddr((1n << 48n) | BigInt(30 * MiB)) },
  'FIRMWARE-IOMMU': { ...OWN, gpa: physAddr((2n << 48n) | 0x1000n) },
  'PRE-GUEST': { ...GUEST, immutable: true },
  'PRE-SWAP': { ...GUEST, immutable: true, validated: true },
  'GUEST-INVALID': GUEST,
  'GUEST-VALID': { ...GUEST, validated: true },
};
const NAMES = Object.keys(STATES) as (keyof typeof STATES)[];

// R36, R9, T7
test('every state is recognized by its fields', () => {
  for (const name of NAMES) expect(pageStateOf({ ...HYPERVISOR_ENTRY, ...STATES[name] })).toBe(name);
  expect(pageStateOf(undefined)).toBe(PageState.Default);
});

test.each<[string, Partial<RmpEntry>]>([
  ['unassigned and validated', { validated: true }],
  ['unassigned with an ASID', { asid: 1 }],
  ['validated without an ASID', { assigned: true, validated: true }],
  ['a context page with an address', { ...OWN, vmsa: true, gpa }],
  ['a page of the firmware, of an unknown kind', { ...OWN, gpa }],
  ['reclaimed, but locked', { assigned: true, lock: true }],
])('%s is not a state', (_, fields) => {
  expect(pageStateOf({ ...HYPERVISOR_ENTRY, ...fields })).toBe(PageState.Invalid);
});

function inState(name: keyof typeof STATES): { it: World; spa: SysPhysAddr } {
  const it = world();
  const spa = spaOf(it, GPA);
  psmash(it.machine.rmp, spaOf(it, 2 * MiB));
  it.guest.nested.split4k(gpa);
  const entry = { ...HYPERVISOR_ENTRY, ...STATES[name] };
  it.machine.rmp.setRawEntry(spa, entry);
  return { it, spa };
}

// What each operation does in each state, by the transitions of docs/hardware.md and the results of the instructions: the
// new state, `=` for success without a new state, or the refusal.
const update = (state: RmpState) => (it: World, spa: SysPhysAddr) =>
  rmpResultName(rmpupdate(it.machine.rmp, spa, state));
const validate = (validate: boolean) => (it: World) => {
  let text = '';
  const fault = thrownBy(() => {
    const { result, unchanged } = it.vcpu.pvalidate(gvaOf(GPA), PageSize.Regular, validate);
    text = unchanged ? 'CF' : rmpResultName(result);
  });
  return fault?.code ?? text;
};
/** The same outcome for every state. */
function everywhere(outcome: string): Record<keyof typeof STATES, string> {
  return Object.fromEntries(NAMES.map((name) => [name, outcome])) as Record<keyof typeof STATES, string>;
}

const assign: RmpState = { assigned: true, asid: 1, gpa };
const NO = 'FAIL_PERMISSION';

const OPERATIONS: Record<
  string,
  { run: (it: World, spa: SysPhysAddr) => string; to: Record<keyof typeof STATES, string> }
> = {
  'RMPUPDATE free': {
    run: update({ assigned: false }),
    to: {
      HYPERVISOR: '=',
      'HV-FIXED': NO,
      FIRMWARE: NO,
      RECLAIM: 'HYPERVISOR',
      CONTEXT: NO,
      METADATA: NO,
      'FIRMWARE-IOMMU': NO,
      'PRE-GUEST': NO,
      'PRE-SWAP': NO,
      'GUEST-INVALID': 'HYPERVISOR',
      'GUEST-VALID': 'HYPERVISOR',
    },
  },
  'RMPUPDATE to the same guest': {
    run: update(assign),
    to: {
      HYPERVISOR: 'GUEST-INVALID',
      'HV-FIXED': NO,
      FIRMWARE: NO,
      RECLAIM: 'GUEST-INVALID',
      CONTEXT: NO,
      METADATA: NO,
      'FIRMWARE-IOMMU': NO,
      'PRE-GUEST': NO,
      'PRE-SWAP': NO,
      'GUEST-INVALID': '=',
      'GUEST-VALID': '=',
    },
  },
  'RMPUPDATE to another address': {
    run: update({ ...assign, gpa: physAddr(GPA + 0x1000) }),
    to: {
      HYPERVISOR: 'GUEST-INVALID',
      'HV-FIXED': NO,
      FIRMWARE: NO,
      RECLAIM: 'GUEST-INVALID',
      CONTEXT: NO,
      METADATA: NO,
      'FIRMWARE-IOMMU': NO,
      'PRE-GUEST': NO,
      'PRE-SWAP': NO,
      'GUEST-INVALID': '=',
      'GUEST-VALID': 'GUEST-INVALID',
    },
  },
  'RMPUPDATE to another guest': {
    run: update({ ...assign, asid: 2 }),
    to: {
      HYPERVISOR: 'GUEST-INVALID',
      'HV-FIXED': NO,
      FIRMWARE: NO,
      RECLAIM: 'GUEST-INVALID',
      CONTEXT: NO,
      METADATA: NO,
      'FIRMWARE-IOMMU': NO,
      'PRE-GUEST': NO,
      'PRE-SWAP': NO,
      'GUEST-INVALID': '=',
      'GUEST-VALID': 'GUEST-INVALID',
    },
  },
  'RMPUPDATE to the same guest, immutable': {
    run: update({ ...assign, immutable: true }),
    to: {
      HYPERVISOR: 'PRE-GUEST',
      'HV-FIXED': NO,
      FIRMWARE: NO,
      RECLAIM: 'PRE-GUEST',
      CONTEXT: NO,
      METADATA: NO,
      'FIRMWARE-IOMMU': NO,
      'PRE-GUEST': NO,
      'PRE-SWAP': NO,
      'GUEST-INVALID': 'PRE-GUEST',
      'GUEST-VALID': 'PRE-SWAP',
    },
  },
  'RMPUPDATE to the firmware': {
    run: update({ assigned: true, immutable: true }),
    to: {
      HYPERVISOR: 'FIRMWARE',
      'HV-FIXED': NO,
      FIRMWARE: NO,
      RECLAIM: 'FIRMWARE',
      CONTEXT: NO,
      METADATA: NO,
      'FIRMWARE-IOMMU': NO,
      'PRE-GUEST': NO,
      'PRE-SWAP': NO,
      'GUEST-INVALID': 'FIRMWARE',
      'GUEST-VALID': 'FIRMWARE',
    },
  },
  'RMPUPDATE to HV-FIXED': {
    run: update({ assigned: false, immutable: true }),
    to: everywhere('FAIL_INPUT'),
  },
  'PVALIDATE 1': {
    run: validate(true),
    to: {
      ...everywhere('NPF'),
      'GUEST-INVALID': 'GUEST-VALID',
      'GUEST-VALID': 'CF',
    },
  },
  'PVALIDATE 0': {
    run: validate(false),
    to: {
      ...everywhere('NPF'),
      'GUEST-INVALID': 'CF',
      'GUEST-VALID': 'GUEST-INVALID',
    },
  },
  RMPADJUST: {
    run: ({ vcpu }) => {
      let text = '';
      const adjustment = { vmpl: 2, permissions: 1 };
      const fault = thrownBy(() => {
        text = rmpResultName(vcpu.rmpadjust(gvaOf(GPA), PageSize.Regular, adjustment));
      });
      return fault?.code ?? text;
    },
    to: {
      ...everywhere('NPF'),
      'GUEST-INVALID': 'VC_NOT_VALIDATED',
      'GUEST-VALID': '=',
    },
  },
  PSMASH: {
    run: ({ machine }, spa) => rmpResultName(psmash(machine.rmp, spa)),
    to: everywhere('FAIL_INPUT'),
  },
  'another guest reads': {
    run: ({ machine, guest }, spa) => {
      const { rmp } = machine;
      const access = { accessor: 'snp-guest-private', kind: 'read', spa, gpa } as const;
      const translation = {
        translationSize: PageSize.Regular,
        asid: guest.asid + 1,
        vmpl: 0,
        cpl: 0,
      } as const;
      return failedRmpCheck(rmp, { ...access, ...translation }) ?? 'SUCCESS';
    },
    to: everywhere('guest-owned'),
  },
  'a guest reads': {
    run: ({ vcpu }) => thrownBy(() => vcpu.read(gvaOf(GPA), 1))?.code ?? 'SUCCESS',
    to: {
      ...everywhere('NPF'),
      'GUEST-INVALID': 'VC_NOT_VALIDATED',
      'GUEST-VALID': '=',
    },
  },
  'the host writes': {
    run: ({ machine }, spa) =>
      thrownBy(() => machine.hypervisor.write(spa, new Uint8Array(1)))?.code ?? 'SUCCESS',
    to: {
      ...everywhere('HOST_PF'),
      HYPERVISOR: '=',
      'HV-FIXED': '=',
    },
  },
};

// T1, T4
describe.each(Object.entries(OPERATIONS))('%s', (_, { run, to }) => {
  test.each(NAMES.map((name) => [name, to[name]] as const))('%s: %s', (name, expected) => {
    const { it, spa } = inState(name);
    const before = it.machine.rmp.rawEntry(spa) as RmpEntry;
    const result = run(it, spa);
    const after = it.machine.rmp.rawEntry(spa) as RmpEntry;
    if (expected in STATES) expect([result, pageStateOf(after)]).toEqual(['SUCCESS', expected]);
    else expect([result, pageStateOf(after)]).toEqual([expected === '=' ? 'SUCCESS' : expected, name]);
    if (result !== 'SUCCESS') expect(after).toEqual(before);
  });
});

// The transitions of docs/hardware.md, each with the operations that make it. There are no others, except that
// SNP_DECOMMISSION of a guest makes its CONTEXT page FIRMWARE.
// T1, T4
// R6
test('every transition has its trigger, and there are no others', () => {
  const seen = new Map<string, string[]>();
  for (const [name, { to }] of Object.entries(OPERATIONS)) {
    for (const [from, state] of Object.entries(to)) {
      if (!(state in STATES)) continue;
      const triggers = seen.get(`${from} > ${state}`) ?? [];
      seen.set(`${from} > ${state}`, [...triggers, name.split(' ')[0]!]);
    }
  }
  for (const [name, run] of Object.entries(PAGE_COMMANDS)) {
    for (const from of NAMES) {
      const [, to] = pageOutcome(run, 'LAUNCH, ASID', from).split('→ ');
      if (to === undefined) continue;
      const triggers = seen.get(`${from} > ${to}`) ?? [];
      seen.set(`${from} > ${to}`, [...triggers, name.split(/[ ,]/)[0]!]);
    }
  }
  const found = Object.fromEntries([...seen].map(([key, names]) => [key, [...new Set(names)].join(' ')]));
  expect(found).toEqual({
    'HYPERVISOR > GUEST-INVALID': 'RMPUPDATE',
    'HYPERVISOR > PRE-GUEST': 'RMPUPDATE',
    'HYPERVISOR > FIRMWARE': 'RMPUPDATE',
    'RECLAIM > HYPERVISOR': 'RMPUPDATE',
    'RECLAIM > GUEST-INVALID': 'RMPUPDATE',
    'RECLAIM > PRE-GUEST': 'RMPUPDATE',
    'RECLAIM > FIRMWARE': 'RMPUPDATE',
    'GUEST-INVALID > HYPERVISOR': 'RMPUPDATE',
    'GUEST-INVALID > PRE-GUEST': 'RMPUPDATE',
    'GUEST-INVALID > FIRMWARE': 'RMPUPDATE',
    'GUEST-INVALID > GUEST-VALID': 'PVALIDATE',
    'GUEST-VALID > HYPERVISOR': 'RMPUPDATE',
    'GUEST-VALID > PRE-SWAP': 'RMPUPDATE',
    'GUEST-VALID > GUEST-INVALID': 'RMPUPDATE PVALIDATE',
    'GUEST-VALID > FIRMWARE': 'RMPUPDATE',
    'PRE-GUEST > GUEST-VALID': 'SNP_LAUNCH_UPDATE SNP_PAGE_MOVE',
    'PRE-GUEST > GUEST-INVALID': 'SNP_PAGE_RECLAIM SNP_PAGE_MOVE',
    'PRE-GUEST > PRE-SWAP': 'SNP_SWAP_IN',
    'PRE-SWAP > GUEST-VALID': 'SNP_PAGE_RECLAIM',
    'PRE-SWAP > PRE-GUEST': 'SNP_SWAP_OUT',
    'PRE-SWAP > GUEST-INVALID': 'SNP_PAGE_MOVE',
    'FIRMWARE > CONTEXT': 'SNP_GCTX_CREATE',
    'FIRMWARE > METADATA': 'SNP_MD_INIT SNP_SWAP_IN SNP_PAGE_MOVE',
    'METADATA > FIRMWARE': 'SNP_SWAP_OUT SNP_PAGE_MOVE',
    'FIRMWARE > RECLAIM': 'SNP_PAGE_RECLAIM',
    'METADATA > RECLAIM': 'SNP_PAGE_RECLAIM',
    'FIRMWARE > HV-FIXED': 'SNP_PAGE_SET_STATE',
  });
});

// The twelfth state: a page that the RMP does not cover belongs to the hypervisor, and no operation changes that.
describe('DEFAULT', () => {
  const outside = sysPhysAddr(28 * MiB);
  const uncovered = (): World => {
    const it = world({ rmpCovers: 24 * MiB });
    it.guest.nested.unmap(physAddr(2 * MiB));
    it.guest.nested.map(physAddr(2 * MiB), outside, PageSize.Huge);
    return it;
  };

  test.each(Object.entries(OPERATIONS).filter(([name]) => !/reads$|ADJUST/.test(name)))(
    '%s is refused',
    (name, { run }) => {
      const it = uncovered();
      const result = run(it, outside);
      const expected = name.startsWith('PVALIDATE') ? 'NPF' : 'FAIL_INPUT';
      expect(result).toBe(name === 'the host writes' ? 'SUCCESS' : expected);
      expect(pageStateOf(it.machine.rmp.entry(outside))).toBe(PageState.Default);
    },
  );

  test('a guest cannot use it as private memory', () => {
    expect(thrownBy(() => uncovered().vcpu.read(gvaOf(GPA), 1))?.details).toMatchObject({ check: 'covered' });
  });
});
