import { Cr0Flags, Cr4Flags, EferFlags, has } from './control-flags.ts';
import { allOptional, BOOLEAN, Fields, REGISTER } from './fields.ts';
import { PageTableError } from './page-table-error.ts';

/**
 * CR0, CR3, CR4 and EFER as software reads them, and the bit of the code segment that selects 64-bit mode. Frozen; made by
 * {@link controlState} and by the writes `setCr0`, `setCr3`, `setCr4` and `writeEfer`.
 *
 * `pagingConfigFromRegisters(state, options)` and `cpuStateFromRegisters({ ...state, cpl })` read it.
 */
export interface ControlState {
  readonly cr0: bigint;
  /** The root table, with the C-bit if software loaded it so. Bits 11:0 are the PCID while CR4.PCIDE is 1. */
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  /** The bit L of the code segment. While EFER.LMA is 1, `true` is 64-bit mode and `false` compatibility mode. */
  readonly csL: boolean;
}

/** The mode of the code that runs (AMD64 APM vol. 2, §1.3). Virtual-8086 mode is not distinguished from `protected`. */
export type ProcessorMode = 'real' | 'protected' | 'compatibility' | '64-bit';

/** The kind of tables that a processor walks (Intel SDM vol. 3A, §4.1.1; rule P48). */
export type PagingMode = 'none' | '32-bit' | 'pae' | '4-level' | '5-level';

/** One thing that holds in every state of a processor. */
interface Invariant {
  readonly field: 'cr0' | 'cr3' | 'cr4' | 'efer';
  readonly expected: string;
  readonly holds: (state: ControlState) => boolean;
}

/** Bits 63:32, 28:19, 17 and 15:6 of CR0, which read as 0 (AMD64 APM vol. 2, §3.1.1; rule P49). */
const CR0_ZERO = 0xffff_ffff_1ffa_ffc0n;

/** Rules P42, P49 and P51 to P53: no write leads to a state without them. */
const INVARIANTS: readonly Invariant[] = [
  {
    field: 'cr0',
    expected: 'clear bits 63:32, 28:19, 17 and 15:6',
    holds: ({ cr0 }) => !has(cr0, CR0_ZERO),
  },
  { field: 'cr0', expected: 'set ET, bit 4', holds: ({ cr0 }) => has(cr0, Cr0Flags.Et) },
  {
    field: 'cr0',
    expected: 'set PE, bit 0, with PG, bit 31',
    holds: ({ cr0 }) => !has(cr0, Cr0Flags.Pg) || has(cr0, Cr0Flags.Pe),
  },
  {
    field: 'cr0',
    expected: 'set CD, bit 30, with NW, bit 29',
    holds: ({ cr0 }) => !has(cr0, Cr0Flags.Nw) || has(cr0, Cr0Flags.Cd),
  },
  {
    field: 'cr3',
    expected: 'clear bit 63 and bits 60:52',
    holds: ({ cr3 }) => (cr3 & ~(3n << 61n)) >> 52n === 0n,
  },
  {
    field: 'efer',
    expected: 'set LMA, bit 10, exactly if LME, bit 8, and CR0.PG are set',
    holds: ({ cr0, efer }) => efer === withLma(efer, cr0),
  },
  {
    field: 'cr4',
    expected: 'set PAE, bit 5, while EFER.LMA is 1',
    holds: ({ cr4, efer }) => !has(efer, EferFlags.Lma) || has(cr4, Cr4Flags.Pae),
  },
  {
    field: 'cr4',
    expected: 'clear PCIDE, bit 17, while EFER.LMA is 0',
    holds: ({ cr4, efer }) => has(efer, EferFlags.Lma) || !has(cr4, Cr4Flags.Pcide),
  },
  {
    field: 'cr4',
    expected: 'clear CET, bit 23, while CR0.WP is 0',
    holds: ({ cr0, cr4 }) => has(cr0, Cr0Flags.Wp) || !has(cr4, Cr4Flags.Cet),
  },
];

/**
 * The control registers of a processor, checked and frozen. Default: after reset, so real mode (CR0 is 0x6000_0010 and the
 * others are 0; Intel SDM vol. 3A, §9.1.1; AMD64 APM vol. 2, §14.1.3). O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE` if a processor cannot be in that state; `details.field` names the register
 */
export function controlState(options: Partial<ControlState> = {}): ControlState {
  OPTIONS.require(options);
  const { cr0 = 0x6000_0010n, cr3 = 0n, cr4 = 0n, efer = 0n, csL = false } = options;
  const state = Object.freeze({ cr0, cr3, cr4, efer, csL });
  requirePossible(state, '');
  return state;
}

/**
 * Throws unless a processor can be in that state.
 *
 * @param owner - stands before the name of the register in the error: the empty text, or `state.`
 * @throws PageTableError `INVALID_CPU_STATE`
 */
export function requirePossible(state: ControlState, owner: string): void {
  STATE.require(state);
  for (const { field, expected, holds } of INVARIANTS) {
    if (!holds(state)) throw invalid(`${owner}${field}`, state[field], expected);
  }
}

/** Throws INVALID_CPU_STATE unless the value is a `bigint` of that many bits. */
export function requireRegister(field: string, value: unknown, width: number, expected: string): void {
  if (typeof value !== 'bigint' || BigInt.asUintN(width, value) !== value) {
    throw invalid(field, value, expected);
  }
}

/** The value of CR0 that the processor keeps of a value that it accepts: rule P49. */
export function keptCr0(value: bigint): bigint {
  return (value & ~CR0_ZERO) | Cr0Flags.Et;
}

/** The value of EFER with the LMA that follows from LME and CR0.PG: rule P1. */
export function withLma(efer: bigint, cr0: bigint): bigint {
  const active = has(efer, EferFlags.Lme) && has(cr0, Cr0Flags.Pg);
  return active ? efer | EferFlags.Lma : efer & ~EferFlags.Lma;
}

/** The mode of the code that runs. O(1). @throws PageTableError `INVALID_CPU_STATE` */
export function processorMode(state: ControlState): ProcessorMode {
  STATE.require(state);
  const { cr0, efer, csL } = state;
  if (has(efer, EferFlags.Lma)) return csL ? '64-bit' : 'compatibility';
  return has(cr0, Cr0Flags.Pe) ? 'protected' : 'real';
}

/** The kind of tables that the processor walks; `none` while paging is off. O(1). @throws PageTableError `INVALID_CPU_STATE` */
export function pagingMode(state: ControlState): PagingMode {
  STATE.require(state);
  const { cr0, cr4, efer } = state;
  if (!has(cr0, Cr0Flags.Pg)) return 'none';
  if (has(efer, EferFlags.Lma)) return has(cr4, Cr4Flags.La57) ? '5-level' : '4-level';
  return has(cr4, Cr4Flags.Pae) ? 'pae' : '32-bit';
}

/**
 * The current PCID, 0 to 4095: bits 11:0 of CR3 while CR4.PCIDE is 1, else 0 (Intel SDM vol. 3A, §4.10.1). O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE`
 */
export function currentPcid(state: ControlState): number {
  STATE.require(state);
  const { cr3, cr4 } = state;
  return has(cr4, Cr4Flags.Pcide) ? Number(cr3 & 0xfffn) : 0;
}

/** An INVALID_CPU_STATE. */
export function invalid(
  field: string,
  value: unknown,
  expected: string,
  options?: ErrorOptions,
): PageTableError<'INVALID_CPU_STATE'> {
  return new PageTableError('INVALID_CPU_STATE', { field, value, expected }, options);
}

const FIELDS = { cr0: REGISTER, cr3: REGISTER, cr4: REGISTER, efer: REGISTER, csL: BOOLEAN };
const OPTIONS: Fields = /* @__PURE__ */ new Fields('options', /* @__PURE__ */ allOptional(FIELDS), invalid);
const STATE: Fields = /* @__PURE__ */ new Fields(
  'state',
  FIELDS,
  (field, ...rest) => invalid(field === 'state' ? field : `state.${field}`, ...rest),
  true,
);
