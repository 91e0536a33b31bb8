import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { Cr0Flags, Cr4Flags, EferFlags } from '../../src/entry/control-flags.ts';
import {
  CONTROL_FAULTS,
  type ControlFault,
  type ControlWrite,
  type ReadPdpte,
  setCr0,
  setCr3,
  setCr4,
  type TlbFlush,
  writeEfer,
} from '../../src/entry/control-registers.ts';
import { type ControlState, controlState, pagingMode, processorMode } from '../../src/entry/control-state.ts';
import { isPageTableError, type PageTableErrorCode } from '../../src/entry/page-table-error.ts';
import { type ProcessorFeatures, processorFeatures } from '../../src/entry/processor-features.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';

const { Pe, Et, Wp, Nw, Cd, Pg } = Cr0Flags;
const { Pse, Pae, Pge, La57, Pcide, Smep, Smap, Pke, Cet, Pks } = Cr4Flags;
const { Lme, Lma, Nxe } = EferFlags;

const INTEL = processorFeatures({ vendor: 'intel', physicalBits: 40 });
const AMD = processorFeatures({ physicalBits: 40 });
const WITH_LAM = processorFeatures({ ...INTEL, cr4Mask: INTEL.cr4Mask | (1n << 28n) });
const AMD_WITH_BIT_28 = processorFeatures({ ...AMD, cr4Mask: AMD.cr4Mask | (1n << 28n) });

const WRITES = { cr0: setCr0, cr3: setCr3, cr4: setCr4, efer: writeEfer };
type Register = keyof typeof WRITES;

const REAL = controlState();
const PROTECTED = controlState({ cr0: Et | Pe });
const LEGACY = controlState({ cr0: Et | Pe | Pg, cr3: 0x1000n });
const PAE = controlState({ ...LEGACY, cr4: Pae });
const ENABLED = controlState({ ...PROTECTED, cr4: Pae, efer: Lme });
const COMPATIBILITY = controlState({ cr0: Et | Pe | Pg | Wp, cr3: 0x1000n, cr4: Pae, efer: Lme | Lma });
const LONG = controlState({ ...COMPATIBILITY, csL: true });
const WITH_PCIDS = controlState({ ...LONG, cr4: Pae | Pcide, cr3: 0x1007n });

const noEntry: ReadPdpte = () => 0n;

function write(
  state: ControlState,
  register: Register,
  value: bigint,
  cpu: ProcessorFeatures = INTEL,
  readPdpte: ReadPdpte | undefined = noEntry,
): ControlWrite {
  return WRITES[register](state, value, cpu, readPdpte);
}

/** The state after a write that goes ahead. */
function after(...args: Parameters<typeof write>): ControlState {
  const result = write(...args);
  expect(result).toMatchObject({ type: 'written' });
  return result.state;
}

function errorOf(operation: () => unknown): unknown {
  try {
    operation();
  } catch (error) {
    return error;
  }
  return undefined;
}

function detailsOf(code: PageTableErrorCode, operation: () => unknown): unknown {
  const error = errorOf(operation);
  return isPageTableError(error, code) ? error.details : error;
}

// P48, P51
test('from reset to 64-bit mode and back (AMD64 APM vol. 2, §14.6.1, §14.7)', () => {
  const seen: string[] = [];
  let state = REAL;
  const step = (register: Register, value: bigint): void => {
    state = after(state, register, value);
    seen.push(`${processorMode(state)} ${pagingMode(state)}`);
  };
  step('cr0', Pe);
  step('cr4', Pae);
  step('cr3', 0x1000n);
  step('efer', Lme);
  step('cr0', state.cr0 | Pg);
  expect(state.efer).toBe(Lme | Lma);
  state = controlState({ ...state, csL: true });
  seen.push(processorMode(state));
  step('cr3', 0x80_0000_1000n);
  state = controlState({ ...state, csL: false });
  step('cr0', state.cr0 & ~Pg);
  expect(state.efer).toBe(Lme);
  step('efer', 0n);
  step('cr0', state.cr0 | Pg);
  step('cr4', 0n);
  step('cr0', 0n);
  expect(seen).toEqual([
    'protected none',
    'protected none',
    'protected none',
    'protected none',
    'compatibility 4-level',
    '64-bit',
    '64-bit 4-level',
    'protected none',
    'protected none',
    'protected pae',
    'protected 32-bit',
    'real none',
  ]);
});

// P5, P32, P40, P49 to P53
describe('#GP', () => {
  /** For each reason: writes that it refuses, and next to each the nearest write that goes ahead. */
  const FAULTS: readonly (readonly [
    ControlFault,
    Register,
    refused: readonly [ControlState, bigint, ProcessorFeatures?, ReadPdpte?],
    taken: readonly [ControlState, bigint, ProcessorFeatures?, ReadPdpte?],
  ])[] = [
    ['cr0-high-bits', 'cr0', [LONG, LONG.cr0 | (1n << 32n)], [LONG, LONG.cr0]],
    ['cr0-high-bits', 'cr0', [LONG, LONG.cr0 | (1n << 63n)], [LONG, LONG.cr0 | (1n << 28n)]],
    ['paging-needs-protection', 'cr0', [REAL, Pg], [REAL, Pg | Pe]],
    ['paging-needs-protection', 'cr0', [LONG, LONG.cr0 & ~Pe], [LONG, LONG.cr0]],
    ['paging-needs-protection', 'cr0', [COMPATIBILITY, Pg], [COMPATIBILITY, 0n]],
    ['nw-needs-cd', 'cr0', [LONG, LONG.cr0 | Nw], [LONG, LONG.cr0 | Nw | Cd]],
    ['nw-needs-cd', 'cr0', [REAL, Nw], [REAL, Cd]],
    [
      'cet-needs-wp',
      'cr0',
      [controlState({ ...LONG, cr4: Pae | Cet }), LONG.cr0 & ~Wp],
      [controlState({ ...LONG, cr4: Pae }), LONG.cr0 & ~Wp],
    ],
    ['cet-needs-wp', 'cr4', [PROTECTED, Cet], [controlState({ ...PROTECTED, cr0: Et | Pe | Wp }), Cet]],
    ['long-mode-needs-pae', 'cr0', [controlState({ ...ENABLED, cr4: 0n }), Pg | Pe], [ENABLED, Pg | Pe]],
    ['long-mode-needs-pae', 'cr4', [LONG, 0n], [PAE, 0n]],
    ['long-mode-needs-pae', 'cr4', [COMPATIBILITY, Pge], [COMPATIBILITY, Pae | Pge]],
    [
      'long-mode-needs-32-bit-code',
      'cr0',
      [controlState({ ...ENABLED, csL: true }), Pg | Pe],
      [controlState({ ...ENABLED, efer: 0n, csL: true }), Pg | Pe],
    ],
    ['paging-off-in-64-bit-mode', 'cr0', [LONG, LONG.cr0 & ~Pg], [COMPATIBILITY, LONG.cr0 & ~Pg]],
    ['paging-off-in-64-bit-mode', 'cr0', [LONG, 0n], [controlState({ ...LEGACY, csL: true }), 0n]],
    [
      'paging-off-with-pcide',
      'cr0',
      [controlState({ ...WITH_PCIDS, csL: false }), Wp | Pe],
      [controlState({ ...COMPATIBILITY, cr3: 0x1007n }), Wp | Pe],
    ],
    ['cr3-high-bits', 'cr3', [LONG, 1n << 40n], [LONG, 1n << 39n]],
    ['cr3-high-bits', 'cr3', [LONG, 1n << 63n], [WITH_PCIDS, 1n << 63n]],
    ['cr3-high-bits', 'cr3', [WITH_PCIDS, 3n << 62n], [WITH_PCIDS, 1n << 63n]],
    ['cr3-high-bits', 'cr3', [LONG, 1n << 61n, INTEL], [LONG, 3n << 61n, WITH_LAM]],
    ['cr3-high-bits', 'cr3', [LONG, 1n << 61n, AMD_WITH_BIT_28], [LONG, 1n << 61n, WITH_LAM]],
    [
      'cr3-high-bits',
      'cr3',
      [LONG, 1n << 51n],
      [LONG, 1n << 51n, processorFeatures({ physicalBits: 40, cBit: 51 })],
    ],
    ['cr4-reserved-bits', 'cr4', [PROTECTED, 1n << 15n], [PROTECTED, 1n << 13n]],
    ['cr4-reserved-bits', 'cr4', [LONG, Pae | (1n << 63n)], [LONG, Pae | Pks]],
    ['cr4-reserved-bits', 'cr4', [PROTECTED, Pks, AMD], [PROTECTED, Pks, INTEL]],
    ['la57-change-in-long-mode', 'cr4', [LONG, Pae | La57], [PAE, Pae | La57]],
    [
      'la57-change-in-long-mode',
      'cr4',
      [controlState({ ...COMPATIBILITY, cr4: Pae | La57 }), Pae],
      [controlState({ ...COMPATIBILITY, cr4: Pae | La57 }), Pae | La57],
    ],
    ['pcide-needs-long-mode', 'cr4', [PAE, Pae | Pcide], [COMPATIBILITY, Pae | Pcide]],
    ['pcide-needs-long-mode', 'cr4', [PROTECTED, Pcide], [LONG, Pae | Pcide]],
    [
      'pcide-needs-pcid-0',
      'cr4',
      [controlState({ ...LONG, cr3: 0x1008n }), Pae | Pcide],
      [LONG, Pae | Pcide],
    ],
    [
      'pcide-needs-pcid-0',
      'cr4',
      [controlState({ ...LONG, cr3: 0x1800n }), Pae | Pcide],
      [WITH_PCIDS, Pae | Pcide],
    ],
    ['efer-reserved-bits', 'efer', [PROTECTED, 2n], [PROTECTED, 1n]],
    ['efer-reserved-bits', 'efer', [LONG, LONG.efer | (1n << 63n)], [LONG, LONG.efer | Nxe]],
    ['lme-change-with-paging', 'efer', [LONG, 0n], [ENABLED, 0n]],
    ['lme-change-with-paging', 'efer', [PAE, Lme], [PROTECTED, Lme]],
    ['lma-change', 'efer', [LONG, Lme, processorFeatures({ lmaWrites: 'checked' })], [LONG, Lme]],
    [
      'lma-change',
      'efer',
      [ENABLED, Lme | Lma, processorFeatures({ lmaWrites: 'checked' })],
      [ENABLED, Lme, processorFeatures({ lmaWrites: 'checked' })],
    ],
    ['reserved-pdpte', 'cr3', [PAE, 0x2000n, INTEL, () => 3n], [PAE, 0x2000n, INTEL, () => 2n]],
    ['reserved-pdpte', 'cr4', [LEGACY, Pae, INTEL, () => 3n], [LEGACY, Pae, INTEL, () => 1n]],
    [
      'reserved-pdpte',
      'cr0',
      [controlState({ ...PROTECTED, cr4: Pae }), Pg | Pe, INTEL, () => 3n],
      [controlState({ ...PROTECTED, cr4: Pae }), Pg | Pe, INTEL, () => 1n],
    ],
  ];

  test.each(FAULTS)('%s: %s', (reason, register, refused, taken) => {
    const [state, value, cpu, readPdpte] = refused;
    const before = { ...state };
    const result = write(state, register, value, cpu, readPdpte);
    expect(result).toEqual({ type: 'general-protection', errorCode: 0, reason, state });
    expect(result.state).toBe(state);
    expect(state).toEqual(before);
    expect([Object.isFrozen(result), Object.isFrozen(state)]).toEqual([true, true]);
    after(taken[0], register, taken[1], taken[2], taken[3]);
  });

  test('the rows have every reason', () => {
    expect(new Set(FAULTS.map(([reason]) => reason))).toEqual(new Set(Object.keys(CONTROL_FAULTS)));
  });
});

// P1, P5, P49, P50
describe('the value that is kept', () => {
  test.each<[string, ControlState, Register, bigint, Partial<ControlState>]>([
    ['CR0.ET reads as 1', REAL, 'cr0', 0n, { cr0: Et }],
    ['CR0 drops bits 28:19, 17 and 15:6', REAL, 'cr0', 0x1ffa_ffc0n, { cr0: Et }],
    ['CR0 keeps all others', REAL, 'cr0', 0xe005_003fn, { cr0: 0xe005_003fn }],
    ['CR0.PG sets LMA with LME', ENABLED, 'cr0', Pg | Pe, { cr0: Et | Pe | Pg, efer: Lme | Lma }],
    ['CR0.PG does not set LMA without LME', PROTECTED, 'cr0', Pg | Pe, { cr0: LEGACY.cr0, efer: 0n }],
    ['CR0 without PG clears LMA, not LME', COMPATIBILITY, 'cr0', Pe | Wp, { cr0: Et | Pe | Wp, efer: Lme }],
    ['CR3 keeps bits 11:0 without PCIDs', LONG, 'cr3', 0x1fffn, { cr3: 0x1fffn }],
    ['CR3 keeps the PCID', WITH_PCIDS, 'cr3', 0x2fffn, { cr3: 0x2fffn }],
    ['CR3 drops bit 63 with PCIDs', WITH_PCIDS, 'cr3', (1n << 63n) | 0x2001n, { cr3: 0x2001n }],
    ['CR3 keeps bits 11:0 outside long mode', PAE, 'cr3', 0xffff_ffffn, { cr3: 0xffff_ffffn }],
    ['CR4 is kept as it is', LONG, 'cr4', INTEL.cr4Mask & ~(La57 | Pcide), { cr4: 0x3f5_2fffn }],
    ['EFER keeps LMA', LONG, 'efer', Lme | Nxe, { efer: Lme | Lma | Nxe }],
    ['EFER does not take LMA', ENABLED, 'efer', Lme | Lma, { efer: Lme }],
    ['EFER.LME does not become LMA at once', PROTECTED, 'efer', Lme, { efer: Lme }],
  ])('%s', (_, state, register, value, kept) => {
    expect(after(state, register, value)).toEqual({ ...state, [register]: value, ...kept });
  });

  test('CR0 keeps LMA while PG stays set', () => {
    expect(after(LONG, 'cr0', LONG.cr0 | 8n)).toEqual({ ...LONG, cr0: LONG.cr0 | 8n });
  });

  test('the C-bit stays in CR3', () => {
    const cBit = processorFeatures({ physicalBits: 47, cBit: 51 });
    expect(after(LONG, 'cr3', (1n << 51n) | 0x1000n, cBit).cr3).toBe((1n << 51n) | 0x1000n);
    const state = controlState({ ...LONG, cr3: (1n << 51n) | 0x1000n });
    expect(after(state, 'cr4', Pae | Pcide, cBit).cr3).toBe(state.cr3);
  });
});

// P41, P54
describe('the entries that a write drops from a TLB', () => {
  const ALL: TlbFlush = { pcid: undefined, includeGlobal: true };
  const own = (pcid: number): TlbFlush => ({ pcid, includeGlobal: false });
  const full = controlState({ ...WITH_PCIDS, cr4: INTEL.cr4Mask & AMD.cr4Mask & ~La57 });

  test.each<
    [string, ControlState, Register, bigint, intel: TlbFlush | undefined, amd?: TlbFlush | undefined]
  >([
    ['CR0.PG, cleared', COMPATIBILITY, 'cr0', Pe | Wp, ALL],
    ['CR0.PG, set', ENABLED, 'cr0', Pg | Pe, undefined, ALL],
    ['CR0.WP', LONG, 'cr0', LONG.cr0 & ~Wp, undefined],
    ['CR0.CD', LONG, 'cr0', LONG.cr0 | Cd, undefined],
    ['CR0 without paging', PROTECTED, 'cr0', 0n, undefined],
    ['CR3', LONG, 'cr3', 0x1005n, own(0)],
    ['CR3, the same value', LONG, 'cr3', 0x1000n, own(0)],
    ['CR3, another PCID', WITH_PCIDS, 'cr3', 0x1fffn, own(0xfff)],
    ['CR3, the same PCID', WITH_PCIDS, 'cr3', 0x2007n, own(7)],
    ['CR3, bit 63', WITH_PCIDS, 'cr3', (1n << 63n) | 0x2005n, undefined],
    ['CR4.PGE, set', LONG, 'cr4', Pae | Pge, ALL],
    ['CR4.PGE, cleared', full, 'cr4', full.cr4 & ~Pge, ALL],
    ['CR4.PCIDE, cleared', WITH_PCIDS, 'cr4', Pae, ALL],
    ['CR4.PCIDE, set', LONG, 'cr4', Pae | Pcide, undefined],
    ['CR4.SMEP, set', LONG, 'cr4', Pae | Smep, own(0)],
    ['CR4.SMEP, set with a PCID', WITH_PCIDS, 'cr4', Pae | Pcide | Smep, own(7)],
    ['CR4.SMEP, cleared', full, 'cr4', full.cr4 & ~Smep, undefined],
    ['CR4.SMEP and PGE', LONG, 'cr4', Pae | Smep | Pge, ALL],
    ['CR4.PAE, set', LEGACY, 'cr4', Pae, own(0), ALL],
    ['CR4.PAE, cleared', PAE, 'cr4', 0n, own(0), ALL],
    ['CR4.PSE, set', LONG, 'cr4', Pae | Pse, undefined, ALL],
    ['CR4.PSE, cleared', full, 'cr4', full.cr4 & ~Pse, undefined, ALL],
    ['CR4.PKE, set', LONG, 'cr4', Pae | Pke, undefined, ALL],
    ['CR4.PKE, cleared', full, 'cr4', full.cr4 & ~Pke, undefined],
    ['CR4.SMAP', LONG, 'cr4', Pae | Smap, undefined],
    ['CR4.CET', LONG, 'cr4', Pae | Cet, undefined],
    ['CR4.LA57', PROTECTED, 'cr4', La57, undefined],
    ['CR4, the same value', full, 'cr4', full.cr4, undefined],
    ['EFER.NXE', LONG, 'efer', LONG.efer | Nxe, undefined],
    ['EFER.LME', PROTECTED, 'efer', Lme, undefined],
  ])('%s', (_, state, register, value, ...[intel, amd = intel]) => {
    expect(write(state, register, value, INTEL)).toMatchObject({ type: 'written', flush: intel });
    expect(write(state, register, value, AMD)).toMatchObject({ type: 'written', flush: amd });
    const { flush } = write(state, register, value) as { flush?: TlbFlush };
    expect(flush === undefined || Object.isFrozen(flush)).toBe(true);
  });
});

// P53
describe('the PDPTEs of PAE paging', () => {
  const OFF = controlState({ ...PROTECTED, cr3: 0x1000n, cr4: Pae });
  const memory = createPhysMemory({ size: 0x4000 });
  for (let i = 0; i < 4; i += 1) writePhys64(memory, physAddr(0x1020 + 8 * i), BigInt(0x2001 + 0x1000 * i));
  const readPdpte: ReadPdpte = (paddr) => readPhys64(memory, paddr);

  test('lie at bits 31:5 of CR3, and the result has them', () => {
    const result = write(PAE, 'cr3', 0x103fn, INTEL, readPdpte);
    expect(result).toMatchObject({ type: 'written', pdptes: [0x2001n, 0x3001n, 0x4001n, 0x5001n] });
    expect(Object.isFrozen((result as { pdptes?: unknown }).pdptes)).toBe(true);
    const seen: bigint[] = [];
    write(PAE, 'cr3', 0xffff_ffffn, INTEL, (paddr) => BigInt(seen.push(paddr)) & 0n);
    expect(seen).toEqual([0xffff_ffe0n, 0xffff_ffe8n, 0xffff_fff0n, 0xffff_fff8n]);
  });

  test.each<[string, ControlState, Register, bigint, loads: boolean]>([
    ['CR0.PG, set', OFF, 'cr0', Pg | Pe, true],
    ['CR0.CD', PAE, 'cr0', PAE.cr0 | Cd, true],
    ['CR0.NW', controlState({ ...PAE, cr0: PAE.cr0 | Cd }), 'cr0', PAE.cr0 | Cd | Nw, true],
    ['CR0.WP', PAE, 'cr0', PAE.cr0 | Wp, false],
    ['CR0.PG, cleared', PAE, 'cr0', Pe, false],
    ['CR0.PG, set for 32-bit paging', PROTECTED, 'cr0', Pg | Pe, false],
    ['CR0.PG, set for long mode', ENABLED, 'cr0', Pg | Pe, false],
    ['CR3', PAE, 'cr3', PAE.cr3, true],
    ['CR3 without paging', OFF, 'cr3', 0x1000n, false],
    ['CR3 with 32-bit paging', LEGACY, 'cr3', 0x1000n, false],
    ['CR3 in long mode', LONG, 'cr3', 0x1000n, false],
    ['CR4.PAE, set', LEGACY, 'cr4', Pae, true],
    ['CR4.PAE, set without paging', PROTECTED, 'cr4', Pae, false],
    ['CR4.PAE, cleared', PAE, 'cr4', 0n, false],
    ['CR4.PSE', PAE, 'cr4', Pae | Pse, true],
    ['CR4.PGE', PAE, 'cr4', Pae | Pge, true],
    ['CR4.SMEP', PAE, 'cr4', Pae | Smep, true],
    ['CR4.SMEP, cleared', controlState({ ...PAE, cr4: Pae | Smep }), 'cr4', Pae, true],
    ['CR4.SMAP', PAE, 'cr4', Pae | Smap, false],
    ['CR4.PGE in long mode', LONG, 'cr4', Pae | Pge, false],
    ['EFER.NXE', PAE, 'efer', Nxe, false],
  ])('loaded or not: %s', (_, state, register, value, loads) => {
    for (const cpu of [INTEL, AMD]) {
      let reads = 0;
      const count: ReadPdpte = () => {
        reads += 1;
        return 1n;
      };
      const result = write(state, register, value, cpu, count);
      expect(result).toMatchObject({ type: 'written', pdptes: loads ? [1n, 1n, 1n, 1n] : undefined });
      expect(reads).toBe(loads ? 4 : 0);
    }
  });

  test.each([0, 1, 2, 3])('#GP for a reserved bit of entry %i, if it is present', (index) => {
    const cpu = processorFeatures({ physicalBits: 40, cBit: 51 });
    const reserved = [1, 2, 5, 6, 7, 8, ...Array.from({ length: 24 }, (_, i) => 40 + i)].filter(
      (b) => b !== 51,
    );
    for (let bit = 1; bit < 64; bit += 1) {
      const one = (entry: bigint) => (paddr: bigint) => (paddr === 0x1000n + 8n * BigInt(index) ? entry : 1n);
      const { type } = write(PAE, 'cr3', 0x1000n, cpu, one(1n | (1n << BigInt(bit))));
      expect([bit, type]).toEqual([bit, reserved.includes(bit) ? 'general-protection' : 'written']);
      expect(write(PAE, 'cr3', 0x1000n, cpu, one(1n << BigInt(bit))).type).toBe('written');
    }
  });

  test('a processor of AMD reads them on demand if there is no reader, one of Intel needs it', () => {
    expect(setCr3(PAE, 0x1000n, AMD)).toMatchObject({ type: 'written', pdptes: undefined });
    const expected = { field: 'readPdpte', value: undefined, expected: expect.stringContaining('function') };
    for (const operation of [
      () => setCr3(PAE, 0x1000n, INTEL),
      () => setCr0(OFF, Pg | Pe, INTEL),
      () => setCr4(LEGACY, Pae, INTEL),
    ]) {
      expect(detailsOf('INVALID_CPU_STATE', operation)).toEqual(expected);
    }
    expect(setCr3(LONG, 0x1000n, INTEL)).toMatchObject({ type: 'written' });
  });

  test('a reader that is not a function, or does not return 64 bits, is an error', () => {
    for (const cpu of [INTEL, AMD]) {
      const notAFunction = () => setCr3(PAE, 0x1000n, cpu, 7 as never);
      expect(detailsOf('INVALID_CPU_STATE', notAFunction)).toMatchObject({ field: 'readPdpte', value: 7 });
    }
    for (const value of [1, -1n, 1n << 64n, undefined]) {
      const read = (paddr: bigint) => (paddr === 0x1010n ? (value as bigint) : 1n);
      const details = detailsOf('INVALID_CPU_STATE', () => setCr3(PAE, 0x1000n, INTEL, read));
      expect(details).toMatchObject({ field: 'PDPTE 2', value });
    }
  });

  test('an error of the reader goes to the caller', () => {
    const error = errorOf(() => setCr3(PAE, 0x8000n, INTEL, readPdpte));
    expect(isPageTableError(error, 'BUS_ERROR')).toBe(true);
  });
});

describe('input that is not a value of the register', () => {
  const NOT_64_BITS = [0, 1, -1, 2 ** 32, Number.NaN, undefined, null, '0', true, -1n, 1n << 64n];

  test.each(['cr0', 'cr3', 'cr4', 'efer'] as const)(
    '%s: the error names it and what is expected',
    (register) => {
      for (const value of NOT_64_BITS) {
        const error = errorOf(() => write(LONG, register, value as bigint));
        expect(isPageTableError(error, 'INVALID_CPU_STATE') && error.details).toEqual({
          field: register,
          value,
          expected: 'pass a bigint of 64 bits',
        });
        expect((error as Error).message).toContain(register);
        expect((error as Error).message).toContain('pass a bigint of 64 bits');
      }
    },
  );

  test.each(['cr0', 'cr3', 'cr4'] as const)('%s: outside 64-bit mode it has 32 bits', (register) => {
    for (const state of [REAL, PROTECTED, PAE, COMPATIBILITY, controlState({ ...PROTECTED, csL: true })]) {
      const operation = () => write(state, register, 1n << 32n);
      expect(detailsOf('INVALID_CPU_STATE', operation)).toEqual({
        field: register,
        value: 1n << 32n,
        expected: expect.stringContaining('32 bits'),
      });
    }
  });

  test('EFER has 64 bits in every mode', () => {
    for (const state of [REAL, PAE, COMPATIBILITY, LONG]) {
      expect(write(state, 'efer', 1n << 63n)).toMatchObject({ reason: 'efer-reserved-bits' });
    }
  });
});

describe('refuses a state or a processor that cannot exist:', () => {
  const each = (state: ControlState, cpu: ProcessorFeatures = INTEL): (() => unknown)[] =>
    (['cr0', 'cr3', 'cr4', 'efer'] as const).map((register) => () => write(state, register, Pe, cpu));

  test.each<[string, Partial<ControlState>, ProcessorFeatures?]>([
    ['state.cr0', { cr0: Pg }],
    ['state.cr3', { cr3: 1n << 52n }],
    ['state.cr4', { cr4: Pcide | Pae }],
    ['state.efer', { efer: Lma }],
    ['state.csL', { csL: 1 as never }],
    ['state.cr0', { cr0: 0 as never }],
    ['state.cr3', { cr3: undefined as never }],
    // A state of another processor.
    ['state.cr3', { cr3: 1n << 40n }],
    ['state.cr4', { cr4: Pks }, AMD],
    ['state.efer', { efer: 0x1000n }],
  ])('%s, %o', (field, registers, cpu) => {
    const value = Object.values(registers)[0];
    for (const operation of each({ ...REAL, ...registers }, cpu)) {
      expect(detailsOf('INVALID_CPU_STATE', operation)).toMatchObject({ field, value });
    }
  });

  test.each([undefined, null, 7])('the state %o', (state) => {
    for (const operation of each(state as never)) {
      expect(detailsOf('INVALID_CPU_STATE', operation)).toMatchObject({ field: 'state', value: state });
    }
  });

  test('a processor with wrong features', () => {
    for (const operation of each(REAL, null as never)) {
      expect(detailsOf('INVALID_CONFIG', operation)).toMatchObject({ field: 'cpu', value: null });
    }
    for (const operation of each(REAL, { ...INTEL, physicalBits: 60 })) {
      expect(detailsOf('INVALID_CONFIG', operation)).toMatchObject({ field: 'physicalBits', value: 60 });
    }
  });
});
