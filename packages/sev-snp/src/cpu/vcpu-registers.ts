import {
  CONTROL_FAULTS,
  type ControlState,
  type ControlWrite,
  type CpuState,
  controlState,
  cpuStateFromRegisters,
  isPageTableError,
  type ProcessorFeatures,
  pagingMode,
  processorFeatures,
  processorMode,
  setCr0,
  setCr3,
  setCr4,
  type TlbFlush,
  writeEfer,
} from '@svsm/pagetable';
import { requireUint64 } from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SnpFault } from '../rmp/snp-fault.ts';

/** The registers of a processor that decide how it accesses memory. */
export interface ControlRegisters {
  readonly cr0: bigint;
  /** The root of the page table, with the C-bit if it was loaded with it, and the PCID with CR4.PCIDE. */
  readonly cr3: bigint;
  readonly cr4: bigint;
  readonly efer: bigint;
  readonly rflags: bigint;
  readonly pkru: bigint;
  /** IA32_PKRS: the rights of keys on supervisor pages, with CR4.PKS. */
  readonly pkrs: bigint;
}

/** The name of one of the {@link ControlRegisters}. */
export type ControlRegister = keyof ControlRegisters;

/** Bits of the registers (AMD64 APM vol. 2, §3.1; PKS: Intel SDM vol. 3A, §2.5). */
export const ControlBit = {
  Cr0Pe: 0x1n,
  Cr0Et: 0x10n,
  Cr0Wp: 0x1_0000n,
  Cr0Pg: 0x8000_0000n,
  Cr4Pae: 0x20n,
  Cr4Pge: 0x80n,
  Cr4La57: 0x1000n,
  Cr4Pcide: 0x2_0000n,
  Cr4Smep: 0x10_0000n,
  Cr4Smap: 0x20_0000n,
  Cr4Pke: 0x40_0000n,
  Cr4Cet: 0x80_0000n,
  Cr4Pks: 0x100_0000n,
  EferLme: 0x100n,
  EferLma: 0x400n,
  EferNxe: 0x800n,
  EferSvme: 0x1000n,
  EferUaie: 0x10_0000n,
  RflagsAc: 0x4_0000n,
} as const;

const { Cr0Pe, Cr0Et, Cr0Wp, Cr0Pg, Cr4Pae, Cr4Pge, Cr4Pks } = ControlBit;
const { EferLme, EferLma, EferNxe, EferSvme } = ControlBit;

/**
 * The registers of a new processor: 64-bit mode, CR0.WP, CR4.PGE and EFER.NXE set; SMEP, SMAP and protection keys off.
 */
export const START_REGISTERS: ControlRegisters = /* @__PURE__ */ Object.freeze({
  cr0: Cr0Pe | Cr0Et | Cr0Wp | Cr0Pg,
  cr3: 0n,
  cr4: Cr4Pae | Cr4Pge,
  efer: EferLme | EferLma | EferNxe | EferSvme,
  rflags: 2n,
  pkru: 0n,
  pkrs: 0n,
});

/**
 * The registers of a processor after INIT: real mode, without paging (AMD64 APM vol. 2, §14.1.3). EFER.SVME is set, as each
 * VMSA needs it. Linux and EDK2 start their application processors with these.
 */
export const INIT_REGISTERS: ControlRegisters = /* @__PURE__ */ Object.freeze({
  cr0: 0x6000_0010n,
  cr3: 0n,
  cr4: 0n,
  efer: EferSvme,
  rflags: 2n,
  pkru: 0n,
  pkrs: 0n,
});

const CONTROL_REGISTERS: readonly ControlRegister[] = ['cr0', 'cr3', 'cr4', 'efer', 'rflags', 'pkru', 'pkrs'];

/** The registers that are given. @throws SnpError `INVALID_ARGUMENT` if one does not exist, or is not a bigint of 64 bits */
export function givenRegisters(registers: Partial<ControlRegisters> = {}): Partial<ControlRegisters> {
  requireOptions('registers', registers, CONTROL_REGISTERS);
  const given = CONTROL_REGISTERS.map((name) => [name, registers[name]] as const);
  const defined = given.filter(([, value]) => value !== undefined);
  for (const [name, value] of defined) requireUint64(name, value);
  return Object.fromEntries(defined);
}

/** A load that the processor has taken. */
export interface RegisterLoad {
  readonly registers: ControlRegisters;
  /** The entries that the TLB must drop. */
  readonly flush: TlbFlush | undefined;
}

/**
 * The features of a guest's processor: one of AMD, with PKS, which the manual does not have.
 *
 * @param cBit - the position of the C-bit; `undefined` with VIRTUAL_TOM
 */
export function guestFeatures(
  physicalBits: number,
  cBit: number | undefined,
  lmaWrites: ProcessorFeatures['lmaWrites'] = 'ignored',
): ProcessorFeatures {
  const { cr4Mask } = processorFeatures();
  const encryption = cBit === undefined ? {} : { cBit };
  return processorFeatures({ physicalBits, cr4Mask: cr4Mask | Cr4Pks, lmaWrites, ...encryption });
}

/**
 * A load of `value` into a register: MOV to a control register, WRMSR, POPF, WRPKRU. `@svsm/pagetable` has the rules of CR0,
 * CR3, CR4 and EFER. O(1).
 *
 * @param csL - the bit L of the code segment
 * @throws SnpFault `GP` for a value that the processor refuses; SnpError `INVALID_ARGUMENT` for a value that does not fit
 *   the register, or that turns on paging with 32-bit or PAE tables, which the model does not have
 */
export function loadRegister(
  held: ControlRegisters,
  csL: boolean,
  register: ControlRegister,
  value: bigint,
  features: ProcessorFeatures,
): RegisterLoad {
  requireName(held, register);
  const state: ControlState = { cr0: held.cr0, cr3: held.cr3, cr4: held.cr4, efer: held.efer, csL };
  requireWidth(register, value, widthOf(register, state));
  if (register === 'rflags') requireFlags(value);
  const result = written(state, register, value, features);
  if (result === undefined) return { registers: { ...held, [register]: value }, flush: undefined };
  if (result.type === 'general-protection') {
    throw new SnpFault('GP', { errorCode: 0, reason: CONTROL_FAULTS[result.reason] });
  }
  const { cr0, cr3, cr4, efer } = result.state;
  if (!isModelled(result.state)) {
    const expected = 'set EFER.LME first: the model has no 32-bit and no PAE tables';
    throw new SnpError('INVALID_ARGUMENT', { what: `the value of ${register}`, value, expected });
  }
  return { registers: { ...held, cr0, cr3, cr4, efer }, flush: result.flush };
}

function written(
  state: ControlState,
  register: ControlRegister,
  value: bigint,
  features: ProcessorFeatures,
): ControlWrite | undefined {
  switch (register) {
    case 'cr0':
      return setCr0(state, value, features);
    case 'cr3':
      return setCr3(state, value, features);
    case 'cr4':
      return setCr4(state, value, features);
    case 'efer':
      return writeEfer(state, value, features);
    default:
      return undefined;
  }
}

/** Outside 64-bit mode, the operand of a MOV has 32 bits. */
function widthOf(register: ControlRegister, state: ControlState): number {
  if (register === 'pkru' || register === 'pkrs') return 32;
  return register === 'efer' || register === 'rflags' || processorMode(state) === '64-bit' ? 64 : 32;
}

/** Refuses a register that does not exist: it would become a field of the state. */
function requireName(held: ControlRegisters, register: unknown): void {
  if (typeof register === 'string' && Object.hasOwn(held, register)) return;
  const expected = `pass ${Object.keys(held).join(', ')}`;
  throw new SnpError('INVALID_ARGUMENT', { what: 'the name of a register', value: register, expected });
}

function requireWidth(register: string, value: unknown, width: number): void {
  if (typeof value === 'bigint' && BigInt.asUintN(width, value) === value) return;
  const expected = `pass a bigint of at most ${width} bits`;
  throw new SnpError('INVALID_ARGUMENT', { what: `the value of ${register}`, value, expected });
}

/** Bits 21:0 of RFLAGS without the reserved ones; VM is not modelled (AMD64 APM vol. 2, §3.1.6). */
const RFLAGS_BITS = 0x3d_7fd7n;

/** Whether the model knows a value of RFLAGS: no reserved bit is set, and VM is clear. */
export function isFlags(rflags: bigint): boolean {
  return (rflags & ~RFLAGS_BITS) === 0n;
}

function requireFlags(value: bigint): void {
  if (isFlags(value)) return;
  const expected = 'set no bit that is reserved, and not VM';
  throw new SnpError('INVALID_ARGUMENT', { what: 'the value of rflags', value, expected });
}

/** Whether the model has the kind of tables that the processor walks: those of 4 and 5 levels, and none at all. */
function isModelled(state: ControlState): boolean {
  const mode = pagingMode(state);
  return mode !== '32-bit' && mode !== 'pae';
}

/** Bits 28:19, 17 and 15:6 of CR0, which read as 0 whatever is loaded (AMD64 APM vol. 2, §3.1.1). */
const CR0_ZERO = 0x1ffa_ffc0n;

/**
 * The registers as a processor holds them that gets these at once, as VMRUN loads them: CR0.ET is 1, and EFER.LMA follows from
 * LME and PG. `undefined` if it has no such state, or the model does not know it.
 */
export function heldRegisters(
  registers: ControlRegisters,
  csL: boolean,
  { physicalBits, cBit, cr4Mask, eferMask }: ProcessorFeatures,
): ControlRegisters | undefined {
  const { cr0: given, cr3, cr4, efer: asked } = registers;
  if ([given, cr3, cr4, asked].some((value) => typeof value !== 'bigint')) return undefined;
  const cr0 = (given & ~CR0_ZERO) | Cr0Et;
  const isLong = (asked & EferLme) !== 0n && (cr0 & Cr0Pg) !== 0n;
  const efer = isLong ? asked | EferLma : asked & ~EferLma;
  const cr3Address = cBit === undefined ? cr3 : cr3 & ~(1n << BigInt(cBit));
  if (cr3Address >> BigInt(physicalBits) !== 0n || (cr4 & ~cr4Mask) !== 0n || (efer & ~eferMask) !== 0n) {
    return undefined;
  }
  try {
    const state = controlState({ cr0, cr3, cr4, efer, csL });
    return isModelled(state) ? { ...registers, cr0, efer } : undefined;
  } catch (error) {
    if (isPageTableError(error, 'INVALID_CPU_STATE')) return undefined;
    throw error;
  }
}

/** Whether the registers are those of 64-bit mode. */
export function is64BitMode({ efer }: ControlRegisters, csL: boolean): boolean {
  return csL && (efer & EferLma) !== 0n;
}

/** The rights of the registers at a privilege level. */
export function rightsOf(registers: ControlRegisters, cpl: number): CpuState {
  return cpuStateFromRegisters({ ...registers, cpl: cpl as CpuState['cpl'] });
}
