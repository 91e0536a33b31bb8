import { describe, expect, test } from 'vitest';
import { Cr0Flags, Cr4Flags, EferFlags } from '../../src/entry/control-flags.ts';
import {
  type ControlState,
  controlState,
  currentPcid,
  pagingMode,
  processorMode,
  requirePossible,
} from '../../src/entry/control-state.ts';
import { cpuState, cpuStateFromRegisters } from '../../src/entry/cpu-state.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { pagingConfigFromRegisters } from '../../src/entry/paging-config.ts';

const { Pe, Et, Wp, Nw, Cd, Pg } = Cr0Flags;
const { Pae, Pge, La57, Pcide, Smep, Cet } = Cr4Flags;
const { Lme, Lma, Nxe } = EferFlags;

/** The `details` of the error with which a state is refused. */
function refusal(options: Partial<ControlState>): unknown {
  try {
    controlState(options);
  } catch (error) {
    return isPageTableError(error, 'INVALID_CPU_STATE') ? error.details : error;
  }
  return undefined;
}

const REAL = controlState();
const PROTECTED = controlState({ cr0: Et | Pe });
const LEGACY = controlState({ cr0: Et | Pe | Pg });
const PAE = controlState({ cr0: Et | Pe | Pg, cr4: Pae });
const COMPATIBILITY = controlState({ cr0: Et | Pe | Pg | Wp, cr4: Pae, efer: Lme | Lma });
const LONG = controlState({ ...COMPATIBILITY, csL: true });

test('the default is the state after reset, frozen', () => {
  expect(REAL).toEqual({ cr0: 0x6000_0010n, cr3: 0n, cr4: 0n, efer: 0n, csL: false });
  expect(Object.isFrozen(REAL)).toBe(true);
  expect([processorMode(REAL), pagingMode(REAL), currentPcid(REAL)]).toEqual(['real', 'none', 0]);
});

// P48
test.each<[string, ControlState, string, string]>([
  ['PE', PROTECTED, 'protected', 'none'],
  ['PE, CS.L', controlState({ ...PROTECTED, csL: true }), 'protected', 'none'],
  ['PG', LEGACY, 'protected', '32-bit'],
  ['PG, PAE', PAE, 'protected', 'pae'],
  ['PG, PAE, LA57', controlState({ ...PAE, cr4: Pae | La57 }), 'protected', 'pae'],
  ['PG, LA57', controlState({ ...LEGACY, cr4: La57 }), 'protected', '32-bit'],
  ['PAE, LME', controlState({ ...PROTECTED, cr4: Pae, efer: Lme }), 'protected', 'none'],
  ['LMA', COMPATIBILITY, 'compatibility', '4-level'],
  ['LMA, LA57', controlState({ ...COMPATIBILITY, cr4: Pae | La57 }), 'compatibility', '5-level'],
  ['LMA, CS.L', LONG, '64-bit', '4-level'],
  ['LMA, CS.L, LA57', controlState({ ...LONG, cr4: Pae | La57 }), '64-bit', '5-level'],
])('with %s, the modes are right', (_, state, mode, paging) => {
  expect([processorMode(state), pagingMode(state)]).toEqual([mode, paging]);
});

test('the current PCID is bits 11:0 of CR3 while CR4.PCIDE is 1', () => {
  const cr3 = 0x8_0000_1fffn;
  expect(currentPcid(controlState({ ...LONG, cr3 }))).toBe(0);
  expect(currentPcid(controlState({ ...LONG, cr3, cr4: Pae | Pcide }))).toBe(0xfff);
});

test('it feeds the paging configuration and the state that judges rights', () => {
  const state = controlState({ ...LONG, cr4: Pae | La57 | Pge | Smep, efer: Lme | Lma | Nxe });
  expect(pagingConfigFromRegisters(state)).toMatchObject({ levels: 5, globalPages: true, noExecute: true });
  expect(pagingConfigFromRegisters(LONG)).toMatchObject({ levels: 4, globalPages: false, noExecute: false });
  expect(cpuStateFromRegisters({ ...state, cpl: 3 })).toEqual(cpuState({ cpl: 3, smap: false }));
});

// P1, P42, P49, P51, P52
describe('refuses a state that a processor cannot be in', () => {
  test.each<[keyof ControlState, string, Partial<ControlState>]>([
    ['cr0', 'bits 63:32', { cr0: Et | (1n << 32n) }],
    ['cr0', 'bits 63:32', { cr0: Et | (1n << 63n) }],
    ['cr0', '28:19', { cr0: Et | (1n << 28n) }],
    ['cr0', '28:19', { cr0: Et | (1n << 19n) }],
    ['cr0', '17', { cr0: Et | (1n << 17n) }],
    ['cr0', '15:6', { cr0: Et | (1n << 15n) }],
    ['cr0', '15:6', { cr0: Et | (1n << 6n) }],
    ['cr0', 'ET', { cr0: Pe }],
    ['cr0', 'PE', { cr0: Et | Pg }],
    ['cr0', 'CD', { cr0: Et | Nw }],
    ['cr3', '60:52', { cr3: 1n << 52n }],
    ['cr3', '60:52', { cr3: 1n << 60n }],
    ['cr3', 'bit 63', { cr3: 1n << 63n }],
    ['efer', 'LMA', { ...PROTECTED, efer: Lma }],
    ['efer', 'LMA', { ...PROTECTED, efer: Lme | Lma }],
    ['efer', 'LMA', { ...PAE, efer: Lme }],
    ['efer', 'LMA', { ...PAE, efer: Lma }],
    ['cr4', 'PAE', { ...LEGACY, efer: Lme | Lma }],
    ['cr4', 'PCIDE', { ...PAE, cr4: Pae | Pcide }],
    ['cr4', 'CET', { ...PAE, cr4: Pae | Cet }],
  ])('%s: %s, %o', (field, words, options) => {
    const value = options[field];
    expect(refusal(options)).toEqual({ field, value, expected: expect.stringContaining(words) });
  });

  test.each(['cr0', 'cr3', 'cr4', 'efer'] as const)('%s that is not a bigint of 64 bits', (field) => {
    for (const value of [0, -1n, 1n << 64n, null, Number.NaN, '0x10']) {
      const options = { [field]: value } as Partial<ControlState>;
      expect(refusal(options)).toEqual({ field, value, expected: 'pass a bigint of 64 bits' });
    }
  });

  test('a bit of the code segment that is not a boolean', () => {
    expect(refusal({ csL: 1 as never })).toEqual({
      field: 'csL',
      value: 1,
      expected: 'pass true or false',
    });
  });

  test('and takes its nearest neighbours', () => {
    expect(refusal({ cr0: Et | Pe | Pg | Wp | Nw | Cd | 0x4_002en })).toBeUndefined();
    expect(refusal({ cr3: (1n << 52n) - 1n })).toBeUndefined();
    expect(refusal({ cr4: (1n << 64n) - 1n, cr0: COMPATIBILITY.cr0, efer: Lme | Lma })).toBeUndefined();
    expect(refusal({ ...PROTECTED, efer: (1n << 64n) - 1n - Lma })).toBeUndefined();
  });
});

test.each([undefined, null, 'state', {}, { ...LONG, csL: 1 }, { ...LONG, efer: 0 }])(
  'refuses %o for a state, whatever is asked of it',
  (state) => {
    const require = (it: ControlState) => requirePossible(it, 'state.');
    for (const ask of [processorMode, pagingMode, currentPcid, require]) {
      expect(() => ask(state as never)).toThrow(/^state/);
    }
  },
);

test('a state may have other fields', () => {
  const state = { ...controlState({ ...LONG, cr4: Pae | Pcide, cr3: 5n }), cpl: 3 };
  expect([processorMode(state), pagingMode(state), currentPcid(state)]).toEqual(['64-bit', '4-level', 5]);
});
