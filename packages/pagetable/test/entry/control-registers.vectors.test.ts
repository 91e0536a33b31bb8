/** Every write to a control register of the vectors, as an emulated processor executed it: see `fixtures/README.md`. */
import type { PhysAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type ControlWrite, setCr0, setCr3, setCr4, writeEfer } from '../../src/entry/control-registers.ts';
import { type ControlState, controlState, processorMode } from '../../src/entry/control-state.ts';
import { type ProcessorFeatures, processorFeatures } from '../../src/entry/processor-features.ts';
import { fixturesOf, fixtureText } from '../support/fixtures.ts';
import { type Register, slowWrite } from '../support/slow-control.ts';

interface Registers {
  readonly cr0: string;
  readonly cr3: string;
  readonly cr4: string;
  readonly efer: string;
}

interface Vector extends Registers {
  readonly id: string;
  readonly cpu: 'amd' | 'intel';
  readonly mode: 'pm32' | 'compat32' | 'long64';
  readonly csl?: 1;
  readonly insn: 'mov-cr0' | 'mov-cr3' | 'mov-cr4' | 'wrmsr-efer';
  readonly val: string;
  readonly maxpa: number;
  readonly cr4mask: string;
  readonly efermask: string;
  readonly pdptes?: readonly string[];
  readonly out: { readonly t: 'gp' } | ({ readonly t: 'ok' } & Registers);
}

const REGISTERS: Record<Vector['insn'], Register> = {
  'mov-cr0': 'cr0',
  'mov-cr3': 'cr3',
  'mov-cr4': 'cr4',
  'wrmsr-efer': 'efer',
};
const WRITES = { cr0: setCr0, cr3: setCr3, cr4: setCr4, efer: writeEfer };
const MODES = { pm32: 'protected', compat32: 'compatibility', long64: '64-bit' };

const stateOf = ({ cr0, cr3, cr4, efer }: Registers, csL: boolean): ControlState =>
  controlState({ cr0: BigInt(cr0), cr3: BigInt(cr3), cr4: BigInt(cr4), efer: BigInt(efer), csL });

const before = (vector: Vector): ControlState =>
  stateOf(vector, vector.mode === 'long64' || vector.csl === 1);

const cpuOf = ({ cpu, maxpa, cr4mask, efermask }: Vector): ProcessorFeatures =>
  processorFeatures({
    vendor: cpu,
    physicalBits: maxpa,
    cr4Mask: BigInt(cr4mask),
    eferMask: BigInt(efermask),
  });

/** The entries that a load would find; not present where the vector does not list them. */
const pdptesOf = ({ pdptes }: Vector): bigint[] => [0, 1, 2, 3].map((i) => BigInt(pdptes?.[i] ?? 0));

function run(vector: Vector): ControlWrite {
  const value = BigInt(vector.val);
  const pdptes = pdptesOf(vector);
  const root = (vector.insn === 'mov-cr3' ? value : BigInt(vector.cr3)) & ~0x1fn;
  const readPdpte = (paddr: PhysAddr): bigint => {
    const pdpte = pdptes[Number(paddr - root) / 8];
    if (pdpte === undefined) throw new Error(`a correct load does not read 0x${paddr.toString(16)}`);
    return pdpte;
  };
  return WRITES[REGISTERS[vector.insn]](before(vector), value, cpuOf(vector), readPdpte);
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;
const ok = ({ cr0, cr3, cr4, efer }: ControlState) => ({
  t: 'ok',
  cr0: hex(cr0),
  cr3: hex(cr3),
  cr4: hex(cr4),
  efer: hex(efer),
});

/** The number of lines of the files in `fixtures/`, so that a file that lost lines is noticed. */
const COUNTS: Record<string, number> = { 'ctl-dev': 851, 'ctl-la57-dev': 161, 'ctl-amd-dev': 667 };

describe.each(fixturesOf('.jsonl.gz').filter((name) => name.startsWith('ctl-')))('%s', (name) => {
  const vectors = fixtureText(`${name}.jsonl.gz`)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Vector);

  test(`all ${vectors.length} writes`, () => {
    const wrong: unknown[] = [];
    for (const vector of vectors) {
      const result = run(vector);
      const outcome = result.type === 'written' ? ok(result.state) : { t: 'gp' };
      if (JSON.stringify(outcome) !== JSON.stringify(vector.out)) wrong.push({ vector, result });
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(vectors).toHaveLength(COUNTS[name] ?? vectors.length);
  });

  test('the mode before each write is the one that the vector names', () => {
    for (const vector of vectors) {
      expect([vector.id, processorMode(before(vector))]).toEqual([vector.id, MODES[vector.mode]]);
    }
  });

  test('the registers after each write are those of a state that a processor can be in', () => {
    for (const { out, mode } of vectors) if (out.t === 'ok') stateOf(out, mode === 'long64');
  });

  test('the slow model agrees with all of them', () => {
    for (const vector of vectors) {
      const slow = slowWrite(
        before(vector),
        REGISTERS[vector.insn],
        BigInt(vector.val),
        cpuOf(vector),
        pdptesOf(vector),
      );
      const outcome = slow.t === 'ok' ? ok(slow.state) : slow;
      expect({ id: vector.id, ...outcome }).toEqual({ id: vector.id, ...vector.out });
    }
  });
});
