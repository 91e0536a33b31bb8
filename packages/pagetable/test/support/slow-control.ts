/**
 * Writes to control registers in another way than the package: a set of bit numbers for each register. A write makes a
 * candidate of the next state. It faults if the value has a bit that cannot be set, if the candidate is a state that a
 * processor is never in, or if the step from the old state to the candidate is forbidden.
 */
import type { ControlState } from '../../src/entry/control-state.ts';
import type { ProcessorFeatures } from '../../src/entry/processor-features.ts';

export type Register = 'cr0' | 'cr3' | 'cr4' | 'efer';
type Bits = ReadonlySet<number>;
type Machine = Readonly<Record<Register, Bits>> & { readonly csL: boolean };

export type SlowWrite =
  | { readonly t: 'gp' }
  | {
      readonly t: 'ok';
      readonly state: ControlState;
      readonly flush: 'nothing' | 'everything' | number;
      readonly loads: boolean;
    };

const PE = 0;
const ET = 4;
const WP = 16;
const NW = 29;
const CD = 30;
const PG = 31;
const PSE = 4;
const PAE = 5;
const PGE = 7;
const LA57 = 12;
const PCIDE = 17;
const SMEP = 20;
const PKE = 22;
const CET = 23;
const LME = 8;
const LMA = 10;

const bitsOf = (value: bigint): Bits =>
  new Set(Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (value >> BigInt(bit)) % 2n === 1n));
const sumOf = (bits: Bits): bigint => [...bits].reduce((sum, bit) => sum + 2n ** BigInt(bit), 0n);
const keep = (bits: Bits, which: (bit: number) => boolean): Bits => new Set([...bits].filter(which));
const range = (high: number, low: number): number[] =>
  Array.from({ length: high - low + 1 }, (_, i) => low + i);
const inRange = (bit: number, high: number, low: number): boolean => bit >= low && bit <= high;

/** The bits of a value that a register of this processor cannot take. */
function hasImpossibleBits(
  register: Register,
  value: Bits,
  before: Machine,
  cpu: ProcessorFeatures,
): boolean {
  return [...value].some((bit) => {
    if (register === 'cr0') return bit > 31;
    if (register === 'cr4') return !bitsOf(cpu.cr4Mask).has(bit);
    if (register === 'efer') return !bitsOf(cpu.eferMask).has(bit);
    return bit >= cpu.physicalBits && bit !== cpu.cBit && !(bit === 63 && before.cr4.has(PCIDE));
  });
}

function candidateOf(register: Register, value: Bits, before: Machine): Machine {
  const next: Record<Register, Bits> & { csL: boolean } = { ...before };
  if (register === 'cr0') {
    const dropped = [...range(28, 19), 17, ...range(15, 6)];
    next.cr0 = new Set([ET, ...keep(value, (bit) => !dropped.includes(bit))]);
    // LMA is LME and PG; LME itself stays.
    const withoutLma = keep(before.efer, (bit) => bit !== LMA);
    next.efer = next.cr0.has(PG) && withoutLma.has(LME) ? new Set([...withoutLma, LMA]) : withoutLma;
  }
  if (register === 'cr3') next.cr3 = before.cr4.has(PCIDE) ? keep(value, (bit) => bit !== 63) : value;
  if (register === 'cr4') next.cr4 = value;
  if (register === 'efer') {
    // LMA stays.
    const withoutLma = keep(value, (bit) => bit !== LMA);
    next.efer = before.efer.has(LMA) ? new Set([...withoutLma, LMA]) : withoutLma;
  }
  return next;
}

/** "A without B" for each pair that no processor is ever in. */
function isImpossible({ cr0, cr4, efer }: Machine): boolean {
  return (
    (cr0.has(PG) && !cr0.has(PE)) ||
    (cr0.has(NW) && !cr0.has(CD)) ||
    (cr4.has(CET) && !cr0.has(WP)) ||
    (cr4.has(PCIDE) && !efer.has(LMA)) ||
    (efer.has(LMA) && !cr4.has(PAE)) ||
    efer.has(LMA) !== (efer.has(LME) && cr0.has(PG))
  );
}

function isForbidden(before: Machine, after: Machine): boolean {
  const { cr3, cr4, efer } = before;
  const entersLongMode = !efer.has(LMA) && after.efer.has(LMA);
  const leavesLongMode = efer.has(LMA) && !after.efer.has(LMA);
  return (
    (entersLongMode && before.csL) ||
    (leavesLongMode && before.csL) ||
    (efer.has(LMA) && cr4.has(LA57) !== after.cr4.has(LA57)) ||
    (!cr4.has(PCIDE) && after.cr4.has(PCIDE) && [...cr3].some((bit) => bit < 12))
  );
}

const isPae = ({ cr0, cr4, efer }: Machine): boolean => cr0.has(PG) && cr4.has(PAE) && !efer.has(LMA);

function loadsPdptes(register: Register, before: Machine, after: Machine): boolean {
  const changes = (name: Register, bits: number[]): boolean =>
    bits.some((bit) => before[name].has(bit) !== after[name].has(bit));
  return (
    isPae(after) &&
    (register === 'cr3' || changes('cr0', [PG, CD, NW]) || changes('cr4', [PAE, PGE, PSE, SMEP]))
  );
}

function isReserved(pdpte: Bits, cpu: ProcessorFeatures): boolean {
  return (
    pdpte.has(0) &&
    [...pdpte].some(
      (bit) => inRange(bit, 2, 1) || inRange(bit, 8, 5) || (bit >= cpu.physicalBits && bit !== cpu.cBit),
    )
  );
}

/** The PCID whose entries go, without global ones; `everything`, with global ones; or `nothing`. */
function flushOf(
  register: Register,
  value: Bits,
  before: Machine,
  after: Machine,
  { vendor }: ProcessorFeatures,
): 'nothing' | 'everything' | number {
  const amd = vendor === 'amd';
  const sets = (name: Register, bit: number): boolean => !before[name].has(bit) && after[name].has(bit);
  const clears = (name: Register, bit: number): boolean => before[name].has(bit) && !after[name].has(bit);
  const toggles = (name: Register, bit: number): boolean => sets(name, bit) || clears(name, bit);
  const pcid = after.cr4.has(PCIDE) ? Number(sumOf(keep(after.cr3, (bit) => bit < 12))) : 0;
  if (register === 'cr3') return before.cr4.has(PCIDE) && value.has(63) ? 'nothing' : pcid;
  if (clears('cr0', PG) || (amd && sets('cr0', PG))) return 'everything';
  if (toggles('cr4', PGE) || clears('cr4', PCIDE)) return 'everything';
  if (amd && (toggles('cr4', PAE) || toggles('cr4', PSE) || sets('cr4', PKE))) return 'everything';
  if (toggles('cr4', PAE) || sets('cr4', SMEP)) return pcid;
  return 'nothing';
}

/** The outcome of a write. `pdptes` are the four entries that PAE paging would load. */
export function slowWrite(
  state: ControlState,
  register: Register,
  value: bigint,
  cpu: ProcessorFeatures,
  pdptes: readonly bigint[],
): SlowWrite {
  const before: Machine = {
    cr0: bitsOf(state.cr0),
    cr3: bitsOf(state.cr3),
    cr4: bitsOf(state.cr4),
    efer: bitsOf(state.efer),
    csL: state.csL,
  };
  const bits = bitsOf(value);
  const after = candidateOf(register, bits, before);
  if (hasImpossibleBits(register, bits, before, cpu) || isImpossible(after) || isForbidden(before, after)) {
    return { t: 'gp' };
  }
  if (register === 'efer' && cpu.lmaWrites === 'checked' && bits.has(LMA) !== before.efer.has(LMA)) {
    return { t: 'gp' };
  }
  const loads = loadsPdptes(register, before, after);
  if (loads && pdptes.some((pdpte) => isReserved(bitsOf(pdpte), cpu))) return { t: 'gp' };
  return {
    t: 'ok',
    state: {
      cr0: sumOf(after.cr0),
      cr3: sumOf(after.cr3),
      cr4: sumOf(after.cr4),
      efer: sumOf(after.efer),
      csL: after.csL,
    },
    flush: flushOf(register, bits, before, after, cpu),
    loads,
  };
}
