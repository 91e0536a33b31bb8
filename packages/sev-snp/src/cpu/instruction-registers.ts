import { PageSize, type VirtAddr } from '@svsm/address';
import {
  readArgument,
  refuseArgument,
  requireBoolean,
  requireInteger,
  requireMethods,
  requireOneOf,
  requireUint64,
} from '../formats/arguments.ts';
import type { Assumptions } from '../formats/assumptions.ts';
import { isBytes } from '../formats/byte-fields.ts';
import { type Check, optional, requireFields } from '../formats/options.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { decodeRmpState, encodeRmpState, RMP_STATE_SIZE } from '../formats/rmp-state.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import type { RmpreadAnswer, RmpState } from '../rmp/host-instructions.ts';
import { SnpFault } from '../rmp/snp-fault.ts';
import { requireMachine } from './context-checks.ts';
import type { PvalidateAnswer, RmpAdjustment, RmpqueryAnswer } from './guest-instructions.ts';
import type { SnpPlatform } from './platform.ts';

/** The registers that the RMP instructions read and write. */
export interface InstructionRegisters {
  readonly rax: bigint;
  readonly rcx: bigint;
  readonly rdx: bigint;
  readonly rflags: bigint;
}

/** The flags that the RMP instructions write. */
export const ResultFlag = {
  Carry: 0x1n,
  Parity: 0x4n,
  Auxiliary: 0x10n,
  Zero: 0x40n,
  Sign: 0x80n,
  Overflow: 0x800n,
} as const;

/** The bytes of each instruction, whether the host executes it, and whether it exists in 32-bit mode. */
export const RMP_INSTRUCTIONS: Readonly<
  Record<
    RmpInstruction,
    { readonly bytes: readonly number[]; readonly host: boolean; readonly in32: boolean }
  >
> = /* @__PURE__ */ Object.freeze({
  // Intel XED `xed-amd-snp.txt`, LLVM `X86InstrSNP.td`.
  RMPUPDATE: { bytes: [0xf2, 0x0f, 0x01, 0xfe], host: true, in32: false },
  PSMASH: { bytes: [0xf3, 0x0f, 0x01, 0xff], host: true, in32: false },
  RMPREAD: { bytes: [0xf2, 0x0f, 0x01, 0xfd], host: true, in32: false },
  PVALIDATE: { bytes: [0xf2, 0x0f, 0x01, 0xff], host: false, in32: true },
  RMPADJUST: { bytes: [0xf3, 0x0f, 0x01, 0xfe], host: false, in32: false },
  RMPQUERY: { bytes: [0xf3, 0x0f, 0x01, 0xfd], host: false, in32: false },
});

/** The name of an RMP instruction. */
export type RmpInstruction = 'RMPUPDATE' | 'PSMASH' | 'RMPREAD' | 'PVALIDATE' | 'RMPADJUST' | 'RMPQUERY';

/** The instruction with these four bytes, or `undefined`. @throws SnpError `INVALID_ARGUMENT` unless it is a `Uint8Array` */
export function rmpInstructionOf(bytes: Uint8Array): RmpInstruction | undefined {
  if (!isBytes(bytes)) refuseArgument('the bytes', bytes, 'pass a Uint8Array');
  const names = Object.keys(RMP_INSTRUCTIONS) as RmpInstruction[];
  return names.find((name) => RMP_INSTRUCTIONS[name].bytes.every((byte, i) => bytes[i] === byte));
}

/** The mode in which an instruction is executed. */
export interface ExecutionMode {
  /** The mode of the processor. Not given: a guest's processor tells, and a host has 64-bit mode. */
  readonly bits?: 32 | 64;
  /** Whether SNP is enabled (for the host), or active in the guest: `true` if not given. */
  readonly snp?: boolean;
}

/** The typed instructions of a guest's processor. `Vcpu` has them. */
interface GuestInstructions {
  readonly cpl: number;
  readonly is64Bit: boolean;
  readonly guest: { readonly machine: SnpPlatform };
  pvalidate(gva: VirtAddr, pageSize: RmpPageSize, validate: boolean): PvalidateAnswer;
  rmpadjust(gva: VirtAddr, pageSize: RmpPageSize, adjustment: RmpAdjustment): RmpResult;
  rmpquery(gva: VirtAddr, vmpl: Vmpl): RmpqueryAnswer;
}

/**
 * Executes PVALIDATE, RMPADJUST or RMPQUERY with raw registers. rAX is the address, rCX[0] the size. EDX[0] tells
 * PVALIDATE to validate; for the others RDX has level, mask and VMSA bit. Returns the registers afterwards: EAX and the
 * flags, and RCX and RDX of RMPQUERY. An instruction of the host returns FAIL_PERMISSION.
 *
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type; SnpFault `UD` if the instruction does not exist, `GP`
 *   above CPL 0, and the faults of the typed form
 *
 * @example
 * ```ts
 * import { executeInGuest, SnpMachine } from '@svsm/sev-snp';
 *
 * const { hypervisor } = new SnpMachine({ memorySize: 32 << 20 });
 * const vcpu = hypervisor.launch({ size: 8 << 20 }).createVcpu();
 * // 2 MiB at a multiple of 4 KiB: FAIL_INPUT.
 * const before = { rax: 0x1000n, rcx: 1n, rdx: 1n, rflags: 0x2n };
 * console.log(executeInGuest(vcpu, 'PVALIDATE', before).rax); // => 1n
 * ```
 */
export function executeInGuest(
  cpu: GuestInstructions,
  instruction: RmpInstruction,
  registers: InstructionRegisters,
  mode: ExecutionMode = {},
): InstructionRegisters {
  requireGuestCpu(cpu);
  requireName(instruction);
  requireFields('the mode', mode, MODE);
  const before = registersOperand(registers);
  const { assumptions } = cpu.guest.machine.rmp;
  const { bits = cpu.is64Bit ? 64 : 32, snp } = mode;
  requireExecutable(instruction, cpu.cpl, { bits, ...(snp === undefined ? {} : { snp }) }, assumptions);
  if (RMP_INSTRUCTIONS[instruction].host) {
    return finished(before, RmpResult.FAIL_PERMISSION, assumptions);
  }
  const { rcx, rdx } = before;
  const gva = BigInt.asUintN(bits, before.rax) as VirtAddr;
  const pageSize = (rcx & 1n) === 1n ? PageSize.Huge : PageSize.Regular;
  if (instruction === 'PVALIDATE') {
    const { result, unchanged } = cpu.pvalidate(gva, pageSize, (rdx & 1n) === 1n);
    return finished(before, result, assumptions, { unchanged });
  }
  const level = Number(rdx & 0xffn);
  if (instruction === 'RMPADJUST') {
    const isReserved = rdx >> 17n !== 0n && assumptions.rmpadjustReservedBits === 'FAIL_INPUT';
    if (isReserved) return finished(before, RmpResult.FAIL_INPUT, assumptions);
    const permissions = Number((rdx >> 8n) & 0xffn);
    const adjustment = { vmpl: level, permissions, vmsa: ((rdx >> 16n) & 1n) === 1n };
    return finished(before, cpu.rmpadjust(gva, pageSize, adjustment), assumptions);
  }
  const answer = cpu.rmpquery(gva, level as Vmpl);
  if (answer.result !== RmpResult.SUCCESS) return finished(before, answer.result, assumptions);
  const vmsa = answer.vmsa ? 0x1_0000n : 0n;
  return finished(before, answer.result, assumptions, {
    rcx: (rcx & ~1n) | (answer.pageSize === PageSize.Huge ? 1n : 0n),
    rdx: (rdx & ~0x1_ff00n) | (BigInt(answer.permissions) << 8n) | vmsa,
  });
}

/** The typed instructions of a host, and its memory. `Hypervisor` has them. */
interface HostInstructions {
  readonly machine: SnpPlatform;
  rmpupdate(spa: SysPhysAddr, state: RmpState): RmpResult;
  psmash(spa: SysPhysAddr): RmpResult;
  rmpread(spa: SysPhysAddr): RmpreadAnswer;
  read(spa: SysPhysAddr, length: number): Uint8Array;
  write(spa: SysPhysAddr, bytes: Uint8Array): void;
}

/**
 * Executes RMPUPDATE, PSMASH or RMPREAD with raw registers. RAX is the page. RCX is the address of the 16 bytes that
 * RMPUPDATE reads or RMPREAD writes; here it is system-physical. Returns the registers afterwards: EAX and the flags. An
 * instruction of a guest raises #UD: a host is not an SNP-active guest.
 *
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type; SnpFault `UD`, `GP`, `HOST_PF`; PageTableError
 *   `BUS_ERROR`; AddressError if RAX or RCX is not a system-physical address
 */
export function executeInHost(
  host: HostInstructions,
  instruction: RmpInstruction,
  registers: InstructionRegisters,
  mode: ExecutionMode & { readonly cpl?: number } = {},
): InstructionRegisters {
  requireHost(host);
  requireName(instruction);
  requireFields('the mode', mode, HOST_MODE);
  const before = registersOperand(registers);
  const { assumptions } = host.machine.rmp;
  const isHost = RMP_INSTRUCTIONS[instruction]?.host === true;
  requireExecutable(instruction, mode.cpl ?? 0, isHost ? mode : { snp: false }, assumptions);
  const spa = before.rax as SysPhysAddr;
  const operand = before.rcx as SysPhysAddr;
  if (instruction === 'PSMASH') return finished(before, host.psmash(spa), assumptions);
  if (instruction === 'RMPUPDATE') {
    const { regionStatus: _, ...state } = decodeRmpState(host.read(operand, RMP_STATE_SIZE));
    return finished(before, host.rmpupdate(spa, state), assumptions);
  }
  const { result, state } = host.rmpread(spa);
  if (state !== undefined) host.write(operand, encodeRmpState(state));
  return finished(before, result, assumptions);
}

const requireWidth: Check = /* @__PURE__ */ optional((what, value) => requireOneOf(what, value, [32, 64]));
const requireSnp: Check = /* @__PURE__ */ optional(requireBoolean);
const requireCpl: Check = /* @__PURE__ */ optional((what, value) => requireInteger(what, value, 0, 3));

const MODE: Readonly<Record<keyof ExecutionMode, Check>> = { bits: requireWidth, snp: requireSnp };
const HOST_MODE: typeof MODE & { readonly cpl: Check } = {
  bits: requireWidth,
  snp: requireSnp,
  cpl: requireCpl,
};

/** A copy of the registers, for which each is read once. @throws SnpError `INVALID_ARGUMENT` */
function registersOperand(registers: InstructionRegisters): InstructionRegisters {
  const expected = 'pass an object with rax, rcx, rdx and rflags';
  const copy = readArgument('the registers', registers, expected, () => ({ ...registers }));
  for (const name of REGISTERS) requireUint64(name, copy[name]);
  return copy;
}

const REGISTERS: readonly (keyof InstructionRegisters)[] = ['rax', 'rcx', 'rdx', 'rflags'];

/** Requires a name. One that does not exist is an instruction that no processor has. @throws SnpError `INVALID_ARGUMENT` */
function requireName(instruction: unknown): void {
  if (typeof instruction === 'string') return;
  const expected = `pass one of ${Object.keys(RMP_INSTRUCTIONS).join(', ')}`;
  refuseArgument('the instruction', instruction, expected);
}

/** @throws SnpError `INVALID_ARGUMENT` unless `cpu` is the processor of a guest */
function requireGuestCpu(cpu: GuestInstructions): void {
  requireMethods('the processor', cpu, ['pvalidate', 'rmpadjust', 'rmpquery']);
  requireMachine(readArgument('the processor', cpu, 'pass a Vcpu', () => cpu.guest.machine));
}

/** @throws SnpError `INVALID_ARGUMENT` unless `host` is a hypervisor */
function requireHost(host: HostInstructions): void {
  requireMethods('the host', host, ['rmpupdate', 'psmash', 'rmpread', 'read', 'write']);
  requireMachine(readArgument('the host', host, 'pass a Hypervisor', () => host.machine));
}

function requireExecutable(
  instruction: RmpInstruction,
  cpl: number,
  { bits = 64, snp = true }: ExecutionMode,
  { exceptionOrder }: Assumptions,
): void {
  const isKnown = Object.hasOwn(RMP_INSTRUCTIONS, instruction);
  const exists = isKnown && snp && (bits === 64 || RMP_INSTRUCTIONS[instruction].in32);
  const isUndefined = (): void => {
    if (!exists) throw new SnpFault('UD', { instruction });
  };
  if (exceptionOrder === 'UD-first') isUndefined();
  if (cpl !== 0) throw new SnpFault('GP', { errorCode: 0, reason: `${instruction} at CPL ${cpl}` });
  isUndefined();
}

/** The registers after an instruction: EAX, whose write clears RAX[63:32], and the flags. */
function finished(
  before: InstructionRegisters,
  result: RmpResult,
  { resultFlags }: Assumptions,
  { unchanged, ...after }: { unchanged?: boolean; rcx?: bigint; rdx?: bigint } = {},
): InstructionRegisters {
  const { Carry, Parity, Auxiliary, Zero, Sign, Overflow } = ResultFlag;
  const written = Parity | Auxiliary | Zero | Sign | Overflow | (unchanged === undefined ? 0n : Carry);
  const isEven = ((0x6996 >> result) & 1) === 0;
  const flags =
    (result === RmpResult.SUCCESS ? Zero : 0n) |
    (resultFlags === 'of-EAX' && isEven ? Parity : 0n) |
    (unchanged === true ? Carry : 0n);
  return Object.freeze({
    ...before,
    ...after,
    rax: BigInt(result),
    rflags: (before.rflags & ~written) | flags,
  });
}
