/** Sequences of writes to control registers, against the slow model and against laws. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type ControlWrite,
  type ReadPdpte,
  setCr0,
  setCr3,
  setCr4,
  writeEfer,
} from '../../src/entry/control-registers.ts';
import {
  type ControlState,
  controlState,
  currentPcid,
  pagingMode,
  processorMode,
} from '../../src/entry/control-state.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type ProcessorFeatures, processorFeatures } from '../../src/entry/processor-features.ts';
import { type Register, slowWrite } from '../support/slow-control.ts';

const WRITES = { cr0: setCr0, cr3: setCr3, cr4: setCr4, efer: writeEfer };

/** Bits that have rules of their own, by register: a random write changes them more often than others. */
const KEY_BITS: Record<Register, readonly number[]> = {
  cr0: [0, 4, 16, 17, 29, 30, 31],
  cr3: [0, 3, 11, 12, 32, 40, 51, 63],
  cr4: [4, 5, 7, 12, 17, 20, 22, 23],
  efer: [8, 10, 11],
};

const SIX_TIMES = { weight: 6, arbitrary: fc.constant(undefined) };

const processor: fc.Arbitrary<ProcessorFeatures> = fc
  .record({
    vendor: fc.constantFrom<'amd' | 'intel'>('amd', 'intel'),
    physicalBits: fc.constantFrom(36, 40, 46, 52),
    cBit: fc.oneof(SIX_TIMES, { weight: 2, arbitrary: fc.constantFrom(47, 51) }),
    // Some processors lack a bit that most have.
    lacks: fc.oneof(SIX_TIMES, { weight: 2, arbitrary: fc.constantFrom(5, 7, 12, 17, 20, 23) }),
    lmaWrites: fc.constantFrom<'ignored' | 'checked'>('ignored', 'checked'),
  })
  .map(({ vendor, physicalBits, cBit, lacks, lmaWrites }) => {
    const { cr4Mask } = processorFeatures({ vendor });
    return processorFeatures({
      vendor,
      physicalBits,
      lmaWrites,
      ...(cBit === undefined ? {} : { cBit }),
      cr4Mask: lacks === undefined ? cr4Mask : cr4Mask & ~(1n << BigInt(lacks)),
    });
  });

/** A write: bits to change in the value that is read, or in rare cases any value. Before it, CS.L may change. */
const step = fc.record({
  register: fc.constantFrom<Register>('cr0', 'cr3', 'cr4', 'efer'),
  flips: fc.array(
    fc.oneof(
      { weight: 8, arbitrary: fc.nat(7).map((i) => ({ key: true, i })) },
      { weight: 1, arbitrary: fc.nat(63).map((i) => ({ key: false, i })) },
    ),
    { maxLength: 3 },
  ),
  any: fc.oneof(
    { weight: 19, arbitrary: fc.constant(undefined) },
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  ),
  togglesCsL: fc.nat(4).map((n) => n === 0),
});

const pdpte = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom(0n, 0x1001n, 0x2019n) },
  { weight: 1, arbitrary: fc.nat(63).map((bit) => 1n | (1n << BigInt(bit))) },
);

/** The states from which sequences start: reset, and one for each kind of paging. */
const STARTS: readonly Partial<ControlState>[] = [
  {},
  { cr0: 0x8000_0011n, cr3: 0x1000n },
  { cr0: 0x8000_0011n, cr3: 0x1000n, cr4: 0x20n },
  { cr0: 0x8001_0011n, cr3: 0x1000n, cr4: 0x20n, efer: 0x500n },
  { cr0: 0x8001_0011n, cr3: 0x1000n, cr4: 0x20n, efer: 0x500n, csL: true },
  { cr0: 0x8001_0011n, cr3: 0x1007n, cr4: 0x92_1020n, efer: 0x500n, csL: true },
];

/** The start for a processor: without bits that it lacks, and after reset if it lacks PAE. */
const startFor = (start: Partial<ControlState>, { cr4Mask }: ProcessorFeatures): ControlState =>
  controlState((cr4Mask & 0x20n) === 0n ? {} : { ...start, cr4: (start.cr4 ?? 0n) & cr4Mask });

const campaign = fc.record({
  cpu: processor,
  start: fc.constantFrom(...STARTS),
  pdptes: fc.array(pdpte, { minLength: 4, maxLength: 4 }),
  steps: fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }),
});

type Campaign = typeof campaign extends fc.Arbitrary<infer Value> ? Value : never;
type Step = Campaign['steps'][number];

const widthOf = (state: ControlState, register: Register): number =>
  register === 'efer' || processorMode(state) === '64-bit' ? 64 : 32;

function valueFor(state: ControlState, { register, flips, any }: Step): bigint {
  let value = any ?? state[register];
  for (const { key, i } of flips) {
    const bits = KEY_BITS[register];
    value ^= 1n << BigInt(key ? bits[i % bits.length]! : i);
  }
  return BigInt.asUintN(widthOf(state, register), value);
}

interface Written {
  readonly before: ControlState;
  readonly register: Register;
  readonly value: bigint;
  readonly result: ControlWrite;
}

/** Makes the writes one after the other, each on the state that the one before has left. */
function* run({ cpu, start, pdptes, steps }: Campaign): Generator<Written, void, undefined> {
  let state = startFor(start, cpu);
  for (const one of steps) {
    if (one.togglesCsL) state = controlState({ ...state, csL: !state.csL });
    const { register } = one;
    const value = valueFor(state, one);
    const result = WRITES[register](state, value, cpu, readerOf(pdptes));
    yield { before: state, register, value, result };
    state = result.state;
  }
}

const readerOf =
  (pdptes: readonly bigint[]): ReadPdpte =>
  (paddr) =>
    pdptes[Number(paddr % 32n) / 8]!;

test('each write ends as the slow model says', () => {
  fc.assert(
    fc.property(campaign, (plan) => {
      for (const { before, register, value, result } of run(plan)) {
        const slow = slowWrite(before, register, value, plan.cpu, plan.pdptes);
        if (result.type === 'general-protection') {
          expect(slow).toEqual({ t: 'gp' });
          continue;
        }
        const { flush } = result;
        const drops = flush === undefined ? 'nothing' : (flush.pcid ?? 'everything');
        expect(flush?.includeGlobal ?? false).toBe(drops === 'everything');
        expect({ t: 'ok', state: result.state, flush: drops, loads: result.pdptes !== undefined }).toEqual(
          slow,
        );
        expect(result.pdptes ?? plan.pdptes).toEqual(plan.pdptes);
      }
    }),
  );
});

test('a refused write changes nothing: the result has the same frozen state', () => {
  fc.assert(
    fc.property(campaign, (plan) => {
      for (const { before, result } of run(plan)) {
        expect(Object.isFrozen(result) && Object.isFrozen(result.state)).toBe(true);
        if (result.type === 'general-protection') expect(result.state).toBe(before);
        else expect(Object.isFrozen(result.state)).toBe(true);
      }
    }),
  );
});

test('every state that writes lead to is one that a processor can be in, and changes one register and LMA', () => {
  fc.assert(
    fc.property(campaign, (plan) => {
      for (const { before, register, result } of run(plan)) {
        const { state } = result;
        expect(controlState(state)).toEqual(state);
        const others = { ...before, [register]: state[register] };
        expect({ ...state, efer: 0n }).toEqual({ ...others, efer: 0n });
        if (register === 'cr3' || register === 'cr4') expect(state.efer).toBe(before.efer);
        else expect((state.efer ^ others.efer) & ~0x400n).toBe(0n);
        expect(currentPcid(state)).toBe((state.cr4 >> 17n) & 1n ? Number(state.cr3 % 4096n) : 0);
      }
    }),
  );
});

test('a value that was taken can be read back and written again: the state stays', () => {
  fc.assert(
    fc.property(campaign, (plan) => {
      for (const { register, result } of run(plan)) {
        if (result.type !== 'written') continue;
        // Good entries: PAE paging loads them for another change, too.
        const again = WRITES[register](result.state, result.state[register], plan.cpu, () => 0n);
        expect(again).toMatchObject({ type: 'written', state: result.state });
        if (register === 'cr3') continue;
        expect(again).toMatchObject({ flush: undefined, pdptes: undefined });
      }
    }),
  );
});

test('the state that is not changed can be written again, register by register', () => {
  fc.assert(
    fc.property(campaign, (plan) => {
      for (const { result } of run(plan)) {
        const { state } = result;
        for (const register of ['cr0', 'cr3', 'cr4', 'efer'] as const) {
          // MOV to a 32-bit register loses the high half of CR3.
          if (state[register] >> BigInt(widthOf(state, register)) !== 0n) continue;
          const again = WRITES[register](state, state[register], plan.cpu, () => 0n);
          expect(again).toMatchObject({ type: 'written', state });
        }
      }
    }),
  );
});

test('sequences reach every kind of paging and every mode', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(campaign, (plan) => {
      for (const { result } of run(plan)) {
        seen.add(pagingMode(result.state)).add(processorMode(result.state));
      }
    }),
  );
  expect([...seen].sort()).toEqual(
    ['none', '32-bit', 'pae', '4-level', '5-level', 'real', 'protected', 'compatibility', '64-bit'].sort(),
  );
});

test('input that is not a value of the register is INVALID_CPU_STATE, which names it', () => {
  const hostile = fc.oneof(
    fc.anything().filter((value) => typeof value !== 'bigint'),
    fc.bigInt({ max: -1n }),
    fc.bigInt({ min: 2n ** 64n }),
  );
  const registers = fc.constantFrom<Register>('cr0', 'cr3', 'cr4', 'efer');
  fc.assert(
    fc.property(registers, hostile, fc.constantFrom(...STARTS), (register, value, start) => {
      let error: unknown;
      try {
        WRITES[register](controlState(start), value as bigint, processorFeatures(), () => 0n);
      } catch (thrown) {
        error = thrown;
      }
      expect(isPageTableError(error, 'INVALID_CPU_STATE') && error.details).toMatchObject({
        field: register,
      });
      expect((error as Error).message).toContain(register);
    }),
  );
});
